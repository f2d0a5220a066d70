// The matrix product behind every kernel: blocks of C in registers, panels of B in the first-level cache.
#include "include/gemm.h"

#include "include/vec.h"

namespace weft {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS = 6, VECS = 4;  // 24 sums, 4 of B and 1 of A in 32 registers
#else
constexpr int ROWS = 6, VECS = 2;  // 12 sums, 2 of B and 1 of A in 16 registers
#endif
constexpr int DEPTH = 256;  // rows of B in a panel: 64 KiB at most, half of it for the usual K

// R rows by V vectors of C; the last vector has `tail` columns. Loops over them are unrolled by name: left to itself, GCC
// does so too late to keep the sums out of memory.
template <int R, int V, bool PARTIAL>
inline void block(float* C, int64_t ldc, const float* A, int64_t a_row, int64_t a_col, const float* B, int64_t ldb,
                  int K, int tail, bool accumulate) {
    vec sum[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            const float* c = C + r * ldc + v * LANES;
            if (!accumulate)
                sum[r][v] = vec{};
            else
                sum[r][v] = PARTIAL && v == V - 1 ? load_partial(c, tail) : load(c);
        }
    for (int k = 0; k < K; ++k) {
        vec b[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) b[v] = PARTIAL && v == V - 1 ? load_partial(B + v * LANES, tail) : load(B + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const vec a = splat(A[r * a_row]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sum[r][v] += a * b[v];
        }
        A += a_col;
        B += ldb;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
            float* c = C + r * ldc + v * LANES;
            if (PARTIAL && v == V - 1)
                store_partial(c, sum[r][v], tail);
            else
                store(c, sum[r][v]);
        }
}

// All M rows of a panel of V vectors.
template <int V, bool PARTIAL>
void panel(float* C, int64_t ldc, const float* A, int64_t a_row, int64_t a_col, const float* B, int64_t ldb, int M,
           int K, int tail, bool accumulate) {
    int m = 0;
    for (; m + ROWS <= M; m += ROWS)
        block<ROWS, V, PARTIAL>(C + m * ldc, ldc, A + m * a_row, a_row, a_col, B, ldb, K, tail, accumulate);
    C += m * ldc;
    A += m * a_row;
    switch (M - m) {
        case 1: return block<1, V, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, K, tail, accumulate);
        case 2: return block<2, V, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, K, tail, accumulate);
        case 3: return block<3, V, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, K, tail, accumulate);
        case 4: return block<4, V, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, K, tail, accumulate);
        case 5: return block<5, V, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, K, tail, accumulate);
    }
}

template <bool PARTIAL>
void panel_of(int vecs, float* C, int64_t ldc, const float* A, int64_t a_row, int64_t a_col, const float* B,
              int64_t ldb, int M, int K, int tail, bool accumulate) {
    if constexpr (VECS >= 4) {
        if (vecs == 4) return panel<4, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, M, K, tail, accumulate);
        if (vecs == 3) return panel<3, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, M, K, tail, accumulate);
    }
    if (vecs == 2) return panel<2, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, M, K, tail, accumulate);
    panel<1, PARTIAL>(C, ldc, A, a_row, a_col, B, ldb, M, K, tail, accumulate);
}

}  // namespace

void gemm(float* C, int64_t ldc, const float* A, int64_t a_row, int64_t a_col, const float* B, int64_t ldb, int M,
          int N, int K, bool accumulate) {
    for (int k = 0; k < K || k == 0; k += DEPTH) {
        const int depth = K - k < DEPTH ? K - k : DEPTH;
        const bool add = accumulate || k > 0;
        for (int n = 0; n < N; n += VECS * LANES) {
            const int columns = N - n < VECS * LANES ? N - n : VECS * LANES;
            const int vecs = (columns + LANES - 1) / LANES, tail = columns - (vecs - 1) * LANES;
            const float *a = A + k * a_col, *b = B + k * ldb + n;
            if (tail == LANES)
                panel_of<false>(vecs, C + n, ldc, a, a_row, a_col, b, ldb, M, depth, tail, add);
            else
                panel_of<true>(vecs, C + n, ldc, a, a_row, a_col, b, ldb, M, depth, tail, add);
        }
    }
}

void transpose(float* out, int64_t ld_out, const float* in, int64_t ld_in, int rows, int cols) {
    constexpr int SIDE = 16;  // a block's lines of both sides stay in the first-level cache
    for (int r = 0; r < rows; r += SIDE)
        for (int c = 0; c < cols; c += SIDE) {
            const int height = rows - r < SIDE ? rows - r : SIDE, width = cols - c < SIDE ? cols - c : SIDE;
            for (int j = 0; j < width; ++j)
                for (int i = 0; i < height; ++i) out[(c + j) * ld_out + r + i] = in[(r + i) * ld_in + c + j];
        }
}

}  // namespace weft
