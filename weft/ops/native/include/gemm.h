// Matrix products of tiles that lie in a core's caches, for one thread. The code is in gemm.cpp.
#pragma once
#include <cstdint>

namespace weft {

// C (M x N, row stride ldc) = A (M x K, any strides) * B (K x N, row stride ldb, contiguous along N); += if accumulate.
//
// Each number of C is one chain of fused multiply-adds over k = 0 .. K-1: its bits depend on nothing but its own row of
// A and column of B. Row strides that are large powers of two make cache lines collide: pad them by a vector.
void gemm(float* C, int64_t ldc, const float* A, int64_t a_row, int64_t a_col, const float* B, int64_t ldb, int M,
          int N, int K, bool accumulate);

// out (cols x rows) = in (rows x cols) transposed.
void transpose(float* out, int64_t ld_out, const float* in, int64_t ld_in, int rows, int cols);

}  // namespace weft
