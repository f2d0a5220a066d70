// Attention of the R queries of a group over one run of keys, the softmax not yet divided by its sum.
//
// Queries lie across the lanes: keys are read once, in the order of memory, and the softmax needs no sum across lanes.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../native/include/gemm.h"
#include "../native/include/tensor.h"
#include "../native/include/vec.h"

namespace weft::decode {

constexpr int64_t RUN = 256;   // keys of a run at most
constexpr int64_t TILE = 64;   // keys at once: their values stay in the first-level cache while all heads read them
constexpr int64_t AHEAD = 8;   // keys between the one that is read and the one that is fetched
constexpr int64_t LINE = 16;   // floats in a cache line
constexpr int64_t LINE_BYTES = 64;
constexpr int64_t SHORT = 16;  // slots of a page below which its keys are copied

inline int64_t whole_lanes(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Keys or values of a branch: x (B, keys, G, D), or x (P, slots of a page, G, D) with a table of each row's pages.
struct Cache {
    const Tensor* x;
    const int32_t* table = nullptr;  // (B, pages), -1 where a row has none; null where nothing is paged
    int64_t pages = 0;
    int64_t empty = 0;  // slots before a row's first key

    // Whether the row has a page for the key.
    bool has(int64_t b, int64_t key) const {
        if (!table) return true;
        const int64_t page = (key + empty) / x->size[1];
        return page < pages && table[b * pages + page] >= 0;
    }
    // Keys from this one on that lie side by side, the stride of dimension 1 apart.
    int64_t together(int64_t key) const { return table ? x->size[1] - (key + empty) % x->size[1] : INT64_MAX - key; }

    // Keys of the next tile, of `left`: not past the end of a page, so that nothing needs to be copied; where pages are
    // short, a whole tile that is copied is faster than many small products.
    int64_t tile(int64_t key, int64_t left) const {
        const int64_t most = std::min(TILE, left);
        return table && x->dtype == FLOAT32 && x->size[1] >= SHORT ? std::min(most, together(key)) : most;
    }

    int64_t offset(int64_t b, int64_t key, int64_t g) const {
        if (!table) return x->offset(b, key, g);
        const int64_t slot = key + empty, slots = x->size[1];
        return x->offset(table[b * pages + slot / slots], slot % slots, g);
    }
};

// Fetches rows of a cache while something else is computed, in the order of memory: the hardware fetches along.
class RowsAhead {
   public:
    RowsAhead(const Cache& cache, int64_t b, int64_t first, int64_t g, int64_t count)
        : cache_(&cache), b_(b), g_(g), next_(first), left_(count) {
        const Tensor& x = *cache.x;
        size_ = x.dtype == FLOAT32 ? 4 : 2;
        row_ = size_ * x.size[3];
        dense_ = x.stride[1] == x.size[3];
    }
    // The next lines; this stands in the innermost loops, where a test for each line would cost more than it fetches.
    void fetch(int64_t lines) {
        if (lines * LINE_BYTES > room_) return fetch_across(lines);
#pragma GCC unroll 8
        for (int64_t i = 0; i < lines; ++i) __builtin_prefetch(at_ + i * LINE_BYTES, 0, 3);
        at_ += lines * LINE_BYTES;
        room_ -= lines * LINE_BYTES;
    }

   private:
    void fetch_across(int64_t lines) {
        for (; lines > 0 && (room_ > 0 || enter()); --lines) {
            __builtin_prefetch(at_, 0, 3);
            at_ += LINE_BYTES;
            room_ -= LINE_BYTES;
        }
    }
    // To the next stretch of memory without gaps: one row, or all that lie side by side. False past the last row or page.
    bool enter() {
        if (left_ <= 0 || !cache_->has(b_, next_)) return false;
        const int64_t rows = dense_ ? std::min(left_, cache_->together(next_)) : 1;
        at_ = static_cast<const char*>(cache_->x->data) + size_ * cache_->offset(b_, next_, g_);
        room_ = rows * row_;
        next_ += rows;
        left_ -= rows;
        return true;
    }

    const Cache* cache_;
    const char* at_ = nullptr;
    int64_t b_, g_, next_, left_, size_, row_, room_ = 0;
    bool dense_;
};

// scores (KEYS x PANELS vectors) = keys (KEYS x width) * queries (width x PANELS vectors); meanwhile as many keys are
// fetched, and `value_lines` lines of values for each line of a key.
template <int KEYS, int PANELS>
inline void score_block(float* scores, int64_t ld, const float* keys, int64_t stride, const float* queries,
                        int64_t width, RowsAhead& next_keys, RowsAhead& values, int64_t value_lines) {
    vec sums[KEYS][PANELS] = {};
    for (int64_t line = 0; line < width; line += LINE) {
        next_keys.fetch(KEYS);
        values.fetch(value_lines);
        const int64_t end = std::min(line + LINE, width);
        for (int64_t d = line; d < end; ++d) {
            vec q[PANELS];
#pragma GCC unroll 8
            for (int p = 0; p < PANELS; ++p) q[p] = load(queries + d * ld + p * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < KEYS; ++i)
#pragma GCC unroll 8
                for (int p = 0; p < PANELS; ++p) sums[i][p] += keys[i * stride + d] * q[p];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < KEYS; ++i)
#pragma GCC unroll 8
        for (int p = 0; p < PANELS; ++p) store(scores + i * ld + p * LANES, sums[i][p]);
}

// The same for any number of keys.
template <int PANELS>
inline void score_panels(float* scores, int64_t ld, const float* keys, int64_t stride, const float* queries,
                         int64_t width, int64_t count, RowsAhead& next_keys, RowsAhead& values, int64_t value_width) {
    constexpr int KEYS = (LANES == 16 ? 16 : 8) / (PANELS == 1 ? 2 : PANELS);  // sums that fit the registers
    const int64_t lines = (KEYS * value_width + width - 1) / width;
    int64_t i = 0;
    for (; i + KEYS <= count; i += KEYS)
        score_block<KEYS, PANELS>(scores + i * ld, ld, keys + i * stride, stride, queries, width, next_keys, values,
                                  lines);
    for (; i < count; ++i)
        score_block<1, PANELS>(scores + i * ld, ld, keys + i * stride, stride, queries, width, next_keys, values,
                               (lines + KEYS - 1) / KEYS);
}

// Rows [first, first + count) of a cache, of one batch row and group, as float32; `buffer` holds what must be widened
// or lies in several pages.
struct Rows {
    const float* data;
    int64_t stride;

    Rows(const Cache& cache, int64_t b, int64_t first, int64_t g, int64_t count, float* buffer) {
        const Tensor& x = *cache.x;
        if (x.dtype == FLOAT32 && count <= cache.together(first)) {
            data = static_cast<const float*>(x.data) + cache.offset(b, first, g);
            stride = x.stride[1];
            return;
        }
        data = buffer;
        stride = x.size[3];
        for (int64_t i = 0; i < count;) {
            int64_t at = cache.offset(b, first + i, g);
            const int64_t end = i + std::min(count - i, cache.together(first + i));
            for (; i < end; ++i, at += x.stride[1]) x.read_at(buffer + i * stride, at, stride);
        }
    }
};

// A group's queries transposed (width x lanes), scaled for powers of two; lanes past the heads hold 0.
struct GroupQueries {
    const float* data;
    int64_t heads, lanes;
};

// What a run leaves: peaks and totals (lanes) of the softmax and values (heads x whole_lanes(Dv)), one after the other.
inline int64_t run_result_size(int64_t lanes, int64_t heads, int64_t value_width) {
    return 2 * lanes + heads * whole_lanes(value_width);
}

// For keys [first, first + count) of batch row b and group g, count <= RUN: weights (count x lanes) = 2^(score - peak),
// and what a run leaves, with values = weights^T * v. `buffer` has TILE * max(Dk, Dv) numbers.
inline void attend_run(const GroupQueries& q, const Cache& k, const Cache& v, int64_t b, int64_t g, int64_t first,
                       int64_t count, float* weights, float* result, float* buffer) {
    const int64_t ld = q.lanes, width = k.x->size[3], value_width = v.x->size[3];
    RowsAhead next_keys(k, b, first + AHEAD, g, count), values(v, b, first, g, count);
    for (int64_t i = 0, n; i < count; i += n) {
        n = k.tile(first + i, count - i);
        const Rows rows(k, b, first + i, g, n, buffer);
        float* w = weights + i * ld;
        int64_t p = 0;
        for (; p + 4 * LANES <= ld; p += 4 * LANES)
            score_panels<4>(w + p, ld, rows.data, rows.stride, q.data + p, width, n, next_keys, values,
                            value_width);
        for (; p + 2 * LANES <= ld; p += 2 * LANES)
            score_panels<2>(w + p, ld, rows.data, rows.stride, q.data + p, width, n, next_keys, values,
                            value_width);
        for (; p < ld; p += LANES)
            score_panels<1>(w + p, ld, rows.data, rows.stride, q.data + p, width, n, next_keys, values,
                            value_width);
    }
    for (int64_t p = 0; p < ld; p += LANES) {
        vec peak = load(weights + p), total = {};
        for (int64_t i = 1; i < count; ++i) peak = max(peak, load(weights + i * ld + p));
        for (int64_t i = 0; i < count; ++i) {
            const vec w = exp2_approx(load(weights + i * ld + p) - peak);
            store(weights + i * ld + p, w);
            total += w;
        }
        store(result + p, peak);
        store(result + ld + p, total);
    }
    for (int64_t i = 0, n; i < count; i += n) {
        n = v.tile(first + i, count - i);
        const Rows rows(v, b, first + i, g, n, buffer);
        gemm(result + 2 * ld, whole_lanes(value_width), weights + i * ld, 1, ld, rows.data, rows.stride, (int)q.heads,
             (int)value_width, (int)n, i > 0);
    }
}

}  // namespace weft::decode
