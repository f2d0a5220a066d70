// The choice of blocks once shares are there: mapping to selection blocks, forced blocks, the best others.
//
// Legend: l compressed block, d its stride, l' selection block, n blocks in a list, t a query's position.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../native/include/vec.h"

namespace weft {

struct ChoiceSizes {
    int64_t compress_block, compress_stride, select_block, num_selected;  // l, d, l', n

    // Compressed blocks that end at or before position t.
    int64_t visible(int64_t t) const {
        const int64_t past = t + 1 - compress_block;
        return past < 0 ? 0 : past / compress_stride + 1;
    }
    // The selection block that holds position t, -1 for a query that sees nothing (t < 0).
    int64_t current(int64_t t) const { return t < 0 ? -1 : t / select_block; }
    // Selection block j overlaps the compressed blocks j * step() + o, o = -before() .. step() - 1, each by the same
    // share for every j.
    int64_t step() const { return select_block / compress_stride; }
    int64_t before() const { return compress_block / compress_stride - 1; }
    float overlap(int64_t o) const {
        const int64_t first = o * compress_stride, end = std::min(first + compress_block, select_block);
        return float(end - std::max<int64_t>(first, 0)) / float(compress_block);
    }
};

// Eq. 9 of arXiv 2502.11089 (0-based): importance of blocks 0 .. blocks - 1 from `count` shares, summed over heads.
inline void map_importance(float* importance, const float* shares, int64_t blocks, int64_t count,
                           const ChoiceSizes& sizes) {
    const int64_t step = sizes.step();
    std::fill(importance, importance + blocks, 0.0f);
    for (int64_t o = -sizes.before(); o < step; ++o) {
        const float overlap = sizes.overlap(o);
        const int64_t end = std::min(blocks, count > o ? (count - o - 1) / step + 1 : 0);
        if (step == 4) {  // the usual sizes: with a constant step the compiler finds vector code
            for (int64_t j = o < 0; j < end; ++j) importance[j] += overlap * shares[j * 4 + o];
        } else {
            for (int64_t j = o < 0; j < end; ++j) importance[j] += overlap * shares[j * step + o];
        }
    }
}

// The list of a query with no more candidates than n: all of them, then -1.
inline void choose_all(int32_t* list, int64_t current, int64_t num_selected) {
    for (int64_t i = 0; i < num_selected; ++i) list[i] = i <= current ? (int32_t)i : -1;
}

// The list of a query with current >= n >= 3: blocks 0, current - 1, current, and the best of those between, ascending.
// Of equal importances the lower index wins. `best` is scratch for n numbers.
inline void choose_best(int32_t* list, float* best, const float* importance, int64_t current, int64_t num_selected) {
    const int64_t free = num_selected - 3, end = current - 1;
    int64_t kept = 0, j = 1;  // list[0 .. kept) and best hold the best blocks before j, the best of them first
    const auto insert = [&](int64_t block) {
        const float score = importance[block];
        int64_t at = kept < free ? kept++ : free - 1;
        for (; at > 0 && best[at - 1] < score; --at) {
            best[at] = best[at - 1];
            list[at] = list[at - 1];
        }
        best[at] = score;
        list[at] = (int32_t)block;
    };
    for (; kept < free; ++j) insert(j);
    if (free > 0) {
        constexpr int64_t WIDTH = 4 * LANES;  // most of them hold nothing that is good enough
        for (; j + WIDTH <= end; j += WIDTH) {
            const float* x = importance + j;
            const vec most = max(max(load(x), load(x + LANES)), max(load(x + 2 * LANES), load(x + 3 * LANES)));
            if (!(reduce_max(most) > best[free - 1])) continue;
            for (int64_t i = j; i < j + WIDTH; ++i)
                if (importance[i] > best[free - 1]) insert(i);
        }
        for (; j < end; ++j)
            if (importance[j] > best[free - 1]) insert(j);
    }
    std::sort(list, list + kept);
    std::copy_backward(list, list + kept, list + kept + 1);
    list[0] = 0;
    list[kept + 1] = (int32_t)(current - 1);
    list[kept + 2] = (int32_t)current;
}

}  // namespace weft
