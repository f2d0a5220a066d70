// The gated sum of the three branches, out = sum over c of gates[c] * branch c, and its gradients.
//
// Legend: B batch, T queries, H query heads, Dv width. Every tensor is (B, T, H, Dv); gates are (B, T, H, 3), float32.
#include <algorithm>

#include "../native/include/parallel.h"
#include "../native/include/tensor.h"

namespace {

using namespace weft;

constexpr int BRANCHES = 3;
constexpr int64_t TOKENS = 32;  // of a task

// body(b, t, thread) for all tokens
template <class F>
void each_token(const Tensor& x, int64_t threads, F body) {
    const int64_t T = x.size[1], parts = (T + TOKENS - 1) / TOKENS;
    parallel_tasks(x.size[0] * parts, (int)threads, [&](int64_t task, int thread) {
        const int64_t b = task / parts, first = task % parts * TOKENS;
        for (int64_t t = first; t < std::min(first + TOKENS, T); ++t) body(b, t, thread);
    });
}

}  // namespace

extern "C" int weft_gated_sum(const weft::Tensor* out, const weft::Tensor* gates, const weft::Tensor* compressed,
                              const weft::Tensor* selected, const weft::Tensor* sliding, int64_t threads) {
    return weft::guarded([&] {
        const Tensor* branches[BRANCHES] = {compressed, selected, sliding};
        const int64_t width = out->size[3];
        const Scratch<float> rows((int)threads, 2 * width);
        each_token(*out, threads, [&](int64_t b, int64_t t, int thread) {
            float *sum = rows[thread], *row = sum + width;
            for (int64_t h = 0; h < out->size[2]; ++h) {
                std::fill(sum, sum + width, 0.0f);
                for (int c = 0; c < BRANCHES; ++c) {
                    const float gate = gates->at(b, t, h)[c];
                    branches[c]->read(row, b, t, h, width);
                    for (int64_t d = 0; d < width; ++d) sum[d] += gate * row[d];
                }
                out->write(sum, b, t, h, width);
            }
        });
    });
}

// For branch c: scaled = gates[c] * grad_out, its gradient, and grad_gates[c] = <grad_out, branch>.
extern "C" int weft_gated_sum_backward(const weft::Tensor* grad_out, const weft::Tensor* gates,
                                       const weft::Tensor* branch, int64_t c, const weft::Tensor* scaled,
                                       const weft::Tensor* grad_gates, int64_t threads) {
    return weft::guarded([&] {
        const int64_t width = branch->size[3], padded = (width + LANES - 1) / LANES * LANES;
        const Scratch<float> rows((int)threads, 2 * padded);
        each_token(*branch, threads, [&](int64_t b, int64_t t, int thread) {
            float *slope = rows[thread], *row = slope + padded;
            std::fill(slope, slope + 2 * padded, 0.0f);
            for (int64_t h = 0; h < branch->size[2]; ++h) {
                grad_out->read(slope, b, t, h, width);
                branch->read(row, b, t, h, width);
                vec sum = {};
                for (int64_t d = 0; d < padded; d += LANES) sum += load(slope + d) * load(row + d);
                grad_gates->at(b, t, h)[c] = reduce_add(sum);
                const float gate = gates->at(b, t, h)[c];
                for (int64_t d = 0; d < width; ++d) slope[d] *= gate;
                scaled->write(slope, b, t, h, width);
            }
        });
    });
}
