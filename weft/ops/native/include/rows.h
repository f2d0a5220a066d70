// Matrix products of rows that lie anywhere in memory, for one thread: what gemm.h does for strided matrices. The code is
// in rows.cpp.
//
// Every number of a result is one chain of fused multiply-adds in the order of the depth: its bits depend on nothing but
// its own row and column, whatever rows are taken together. Columns come in whole vectors.
#pragma once
#include <cstdint>

#include "vec.h"

namespace weft {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int BLOCK_ROWS = 6, BLOCK_VECS = 4;  // 24 sums, 4 of b and 1 of a in 32 registers
#else
constexpr int BLOCK_ROWS = 6, BLOCK_VECS = 2;  // 12 sums, 2 of b and 1 of a in 16 registers
#endif

// c[i][0 .. vecs * LANES) = factor[i] * c[i] + sum over k < depth of a[i][k] * b[k * ldb ..], of up to BLOCK_ROWS rows.
// Without factors c is only written.
void rows_product(float* const* c, const float* factor, const float* const* a, const float* b, int64_t ldb, int rows,
                  int vecs, int64_t depth);

// c (rows, row stride ldc, vecs * LANES) += sum over k < depth of a[k * lda + i] * b[k][..]: columns of a, rows of b.
void columns_product(float* c, int64_t ldc, const float* a, int64_t lda, const float* const* b, int rows, int vecs,
                     int64_t depth);

}  // namespace weft
