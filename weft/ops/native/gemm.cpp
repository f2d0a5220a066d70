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

#if !defined(__clang__)
// LANES by LANES numbers in registers: squares of half the side change places, then their own halves, down to numbers.
inline void transpose_square(float* out, int64_t ld_out, const float* in, int64_t ld_in) {
    vec x[LANES];
    for (int i = 0; i < LANES; ++i) x[i] = load(in + i * ld_in);
#pragma GCC unroll 4
    for (int half = LANES / 2; half; half /= 2) {
        ivec low, high;  // lanes of two rows side by side, the second one's from LANES on
        for (int i = 0; i < LANES; ++i) {
            low[i] = i & half ? i - half + LANES : i;
            high[i] = i & half ? i + LANES : i + half;
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i) {
            if (i & half) continue;
            const vec upper = x[i], lower = x[i + half];
            x[i] = __builtin_shuffle(upper, lower, low);
            x[i + half] = __builtin_shuffle(upper, lower, high);
        }
    }
    for (int i = 0; i < LANES; ++i) store(out + i * ld_out, x[i]);
}
#endif

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
    int whole_rows = 0, whole_cols = 0;
#if !defined(__clang__)
    whole_rows = rows / LANES * LANES, whole_cols = cols / LANES * LANES;
    for (int r = 0; r < whole_rows; r += LANES)
        for (int c = 0; c < whole_cols; c += LANES) transpose_square(out + c * ld_out + r, ld_out, in + r * ld_in + c, ld_in);
#endif
    for (int r = 0; r < rows; ++r)
        for (int c = r < whole_rows ? whole_cols : 0; c < cols; ++c) out[c * ld_out + r] = in[r * ld_in + c];
}

}  // namespace weft
