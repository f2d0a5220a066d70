// Entry points of the library's own tests: the primitives, called from Python.
#include "include/gemm.h"
#include "include/parallel.h"
#include "include/tensor.h"

using namespace weft;

extern "C" {

int64_t weft_lanes() { return LANES; }

int weft_check_gemm(float* C, int64_t ldc, const float* A, int64_t a_row, int64_t a_col, const float* B, int64_t ldb,
                    int64_t M, int64_t N, int64_t K, int64_t accumulate, int64_t repeats) {
    for (int64_t i = 0; i < repeats; ++i)
        gemm(C, ldc, A, a_row, a_col, B, ldb, (int)M, (int)N, (int)K, accumulate != 0);
    return OK;
}

int weft_check_transpose(float* out, int64_t ld_out, const float* in, int64_t ld_in, int64_t rows, int64_t cols) {
    transpose(out, ld_out, in, ld_in, (int)rows, (int)cols);
    return OK;
}

// n a multiple of LANES.
int weft_check_exp2(float* out, const float* in, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) store(out + i, exp2_approx(load(in + i)));
    return OK;
}

// Copies a tensor through float32, row by row, as parallel tasks; `owner` gets the thread of each task.
int weft_check_copy(const Tensor* out, const Tensor* in, int64_t* owner, int64_t threads) {
    return guarded([&] {
        Scratch<float> rows((int)threads, in->size[3]);
        const int64_t J = in->size[1], K = in->size[2];
        parallel_tasks(in->size[0] * J * K, (int)threads, [&](int64_t task, int thread) {
            const int64_t i = task / (J * K), j = task / K % J, k = task % K;
            owner[task] = thread;
            in->read(rows[thread], i, j, k, in->size[3]);
            out->write(rows[thread], i, j, k, in->size[3]);
        });
    });
}

}  // extern "C"
