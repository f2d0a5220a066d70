// Sums of dk and dv, one for each strip of queries: nobody shares one, and they are added in the strips' order.
#pragma once
#include <cstdint>
#include <vector>

#include "cpu_pack.h"

namespace weft {

// data (B, G, strips, Tk, stride): Dk numbers filled up to whole vectors, then Dv. Only touched blocks are ever written.
class Strips {
   public:
    Strips(float* data, const Lists& lists, int64_t count, int64_t keys, int64_t Dk, int64_t Dv)
        : stride(whole_vectors(Dk) + whole_vectors(Dv)),
          data_(data),
          lists_(lists),
          count_(count),
          keys_(keys),
          touched_(lists.batch * lists.groups * count * lists.blocks, 0) {}

    const int64_t stride;

    // The strip's sums of a block, set to 0 when it is met first.
    float* open(int64_t b, int64_t g, int64_t strip, int64_t block) const {
        const int64_t first = lists_.firsts[block], last = lists_.last(b, block);
        float* sums = at(b, g, strip, first);
        uint8_t& touched = touched_[index(b, g, strip) * lists_.blocks + block];
        if (!touched) {
            touched = 1;
            for (int64_t i = 0; i < (last - first) * stride; ++i) sums[i] = 0.0f;
        }
        return sums;
    }

    // Writes the sums over all strips; keys that nobody read get 0.
    void write(const Tensor& grad_k, const Tensor& grad_v, int threads) const {
        const int64_t J = lists_.blocks, G = lists_.groups, runs = (J + RUN - 1) / RUN;
        Scratch<float> scratch(threads, stride);
        parallel_tasks(lists_.batch * G * runs, threads, [&](int64_t task, int thread) {
            const int64_t b = task / runs / G, g = task / runs % G, begin = task % runs * RUN;
            for (int64_t j = begin; j < begin + RUN && j < J; ++j) {
                const int64_t end = j + 1 < J ? lists_.firsts[j + 1] : keys_, last = lists_.last(b, j);
                for (int64_t key = lists_.firsts[j]; key < end; ++key) {
                    float* total = scratch[thread];
                    for (int64_t i = 0; i < stride; ++i) total[i] = 0.0f;
                    for (int64_t strip = 0; strip < count_ && key < last; ++strip) {
                        if (!touched_[index(b, g, strip) * J + j]) continue;
                        const float* sums = at(b, g, strip, key);
                        for (int64_t i = 0; i < stride; ++i) total[i] += sums[i];
                    }
                    grad_k.write(total, b, key, g, grad_k.size[3]);
                    grad_v.write(total + whole_vectors(grad_k.size[3]), b, key, g, grad_v.size[3]);
                }
            }
        });
    }

   private:
    static constexpr int64_t RUN = 16;  // blocks of a task

    int64_t index(int64_t b, int64_t g, int64_t strip) const { return (b * lists_.groups + g) * count_ + strip; }
    float* at(int64_t b, int64_t g, int64_t strip, int64_t key) const {
        return data_ + (index(b, g, strip) * keys_ + key) * stride;
    }

    float* data_;
    const Lists& lists_;
    int64_t count_, keys_;
    mutable std::vector<uint8_t> touched_;  // bytes, not bits: strips run side by side
};

}  // namespace weft
