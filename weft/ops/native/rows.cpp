// Products of scattered rows: blocks of sums in registers, as in gemm.cpp.
#include "include/rows.h"

#include <type_traits>

// Without being told to unroll, GCC keeps arrays of vectors in memory.
#define UNROLL _Pragma("GCC unroll 8")

namespace weft {
namespace {

template <int M, int V, bool SCALED>
void rows_block(float* const* c, int64_t column, const float* factor, const float* const* a, const float* b,
                int64_t ldb, int64_t depth) {
    vec sum[M][V];
    const float* row[M];
    UNROLL for (int i = 0; i < M; ++i) row[i] = a[i];
    UNROLL for (int i = 0; i < M; ++i) {
        UNROLL for (int j = 0; j < V; ++j) {
            if constexpr (SCALED)
                sum[i][j] = load(c[i] + column + j * LANES) * factor[i];
            else
                sum[i][j] = vec{};
        }
    }
    b += column;
    for (int64_t k = 0; k < depth; ++k, b += ldb) {
        vec x[V];
        UNROLL for (int j = 0; j < V; ++j) x[j] = load(b + j * LANES);
        UNROLL for (int i = 0; i < M; ++i) {
            const vec y = splat(row[i][k]);
            UNROLL for (int j = 0; j < V; ++j) sum[i][j] += y * x[j];
        }
    }
    UNROLL for (int i = 0; i < M; ++i) {
        UNROLL for (int j = 0; j < V; ++j) store(c[i] + column + j * LANES, sum[i][j]);
    }
}

template <int M, int V>
void columns_block(float* c, int64_t ldc, int64_t column, const float* a, int64_t lda, const float* const* b,
                   int64_t depth) {
    vec sum[M][V];
    UNROLL for (int i = 0; i < M; ++i) {
        UNROLL for (int j = 0; j < V; ++j) sum[i][j] = load(c + i * ldc + column + j * LANES);
    }
    for (int64_t k = 0; k < depth; ++k, a += lda) {
        const float* row = b[k] + column;
        vec x[V];
        UNROLL for (int j = 0; j < V; ++j) x[j] = load(row + j * LANES);
        UNROLL for (int i = 0; i < M; ++i) {
            const vec y = splat(a[i]);
            UNROLL for (int j = 0; j < V; ++j) sum[i][j] += y * x[j];
        }
    }
    UNROLL for (int i = 0; i < M; ++i) {
        UNROLL for (int j = 0; j < V; ++j) store(c + i * ldc + column + j * LANES, sum[i][j]);
    }
}

// body(whole number V): the next vectors, BLOCK_VECS of them while there are as many.
template <class F>
void by_vectors(int vecs, F body) {
    for (int first = 0; first < vecs; first += BLOCK_VECS) {
        const int64_t column = (int64_t)first * LANES;
        const int left = vecs - first;
        if constexpr (BLOCK_VECS >= 4) {
            if (left >= 4) body(column, std::integral_constant<int, 4>());
            if (left == 3) body(column, std::integral_constant<int, 3>());
            if (left == 2) body(column, std::integral_constant<int, 2>());
        } else if (left >= 2) {
            body(column, std::integral_constant<int, 2>());
        }
        if (left == 1) body(column, std::integral_constant<int, 1>());
    }
}

template <int V, bool SCALED>
void some_rows(float* const* c, int64_t column, const float* factor, const float* const* a, const float* b, int64_t ldb,
               int rows, int64_t depth) {
    switch (rows) {
        case 1: return rows_block<1, V, SCALED>(c, column, factor, a, b, ldb, depth);
        case 2: return rows_block<2, V, SCALED>(c, column, factor, a, b, ldb, depth);
        case 3: return rows_block<3, V, SCALED>(c, column, factor, a, b, ldb, depth);
        case 4: return rows_block<4, V, SCALED>(c, column, factor, a, b, ldb, depth);
        case 5: return rows_block<5, V, SCALED>(c, column, factor, a, b, ldb, depth);
        case 6: return rows_block<6, V, SCALED>(c, column, factor, a, b, ldb, depth);
    }
}

}  // namespace

void rows_product(float* const* c, const float* factor, const float* const* a, const float* b, int64_t ldb, int rows,
                  int vecs, int64_t depth) {
    by_vectors(vecs, [&](int64_t column, auto V) {
        if (factor)
            some_rows<V, true>(c, column, factor, a, b, ldb, rows, depth);
        else
            some_rows<V, false>(c, column, factor, a, b, ldb, rows, depth);
    });
}

void columns_product(float* c, int64_t ldc, const float* a, int64_t lda, const float* const* b, int rows, int vecs,
                     int64_t depth) {
    by_vectors(vecs, [&](int64_t column, auto V) {
        int m = 0;
        for (; m + BLOCK_ROWS <= rows; m += BLOCK_ROWS)
            columns_block<BLOCK_ROWS, V>(c + m * ldc, ldc, column, a + m, lda, b, depth);
        float* rest = c + m * ldc;
        switch (rows - m) {
            case 1: return columns_block<1, V>(rest, ldc, column, a + m, lda, b, depth);
            case 2: return columns_block<2, V>(rest, ldc, column, a + m, lda, b, depth);
            case 3: return columns_block<3, V>(rest, ldc, column, a + m, lda, b, depth);
            case 4: return columns_block<4, V>(rest, ldc, column, a + m, lda, b, depth);
            case 5: return columns_block<5, V>(rest, ldc, column, a + m, lda, b, depth);
        }
    });
}

}  // namespace weft
