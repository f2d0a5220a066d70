// The cut of queries into tiles, and what forward and backward do alike with a tile's rows.
#pragma once
#include <cstdint>

#include "../native/include/rows.h"
#include "../native/include/tensor.h"

namespace weft {

// [0, total) in parts of equal length but the last. Looks at shapes only.
struct Cut {
    int64_t total, length, parts;

    Cut(int64_t total, int64_t most) : total(total) {
        const int64_t wanted = (total + most - 1) / most;
        length = wanted ? (total + wanted - 1) / wanted : 1;
        parts = (total + length - 1) / length;
    }
    int64_t begin(int64_t part) const { return part * length; }
    int64_t end(int64_t part) const { return begin(part + 1) < total ? begin(part + 1) : total; }
};

// Bytes of a tile's rows. Forward, measured: they share a second-level cache of 2 MiB with a few blocks; backward, where
// a block brings five times the memory, more rows for each meeting are worth rows that come from the third level.
constexpr int64_t FORWARD_BYTES = 1 << 20, BACKWARD_BYTES = 6 << 20;

// Queries of a tile whose R rows each have `width` numbers.
inline int64_t tile_of(int64_t bytes, int64_t R, int64_t width) {
    const int64_t queries = bytes / (4 * R * width);
    return queries > 1 ? queries : 1;
}

// Rows to take next of those that are left: BLOCK_ROWS, but the last two blocks share evenly.
inline int share(int64_t left) {
    if (left >= 2 * BLOCK_ROWS) return BLOCK_ROWS;
    return (int)(left > BLOCK_ROWS ? (left + 1) / 2 : left);
}

// The rows of some queries of a tile, one after the other: the R rows of the first, those of the second, ...
class RowWalk {
   public:
    RowWalk(const int32_t* queries, const int64_t* ends, int64_t R, int64_t first, int64_t keys)
        : query_(queries), ends_(ends), R_(R), first_(first), keys_(keys) {}

    // Takes `count` rows: their indices in the tile, and how many of `keys` keys from `first` on each sees. Gives the
    // largest of these.
    int64_t take(int64_t* row, int64_t* visible, int64_t count) {
        int64_t most = 0;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t query = *query_, seen = ends_[query] - first_;
            row[i] = query * R_ + r_;
            visible[i] = seen < keys_ ? seen : keys_;
            most = visible[i] > most ? visible[i] : most;
            if (++r_ == R_) {
                r_ = 0;
                ++query_;
            }
        }
        return most;
    }

   private:
    const int32_t* query_;
    const int64_t* ends_;
    int64_t R_, first_, keys_, r_ = 0;
};

// Scores past the visible ones become -inf.
inline void hide(float* scores, int64_t visible, int vecs) {
    for (int64_t j = visible; j < (int64_t)vecs * LANES; ++j) scores[j] = -INFINITY;
}

// 2^x of up to BLOCK_ROWS numbers, in place.
inline void powers_of_two(float* x, int count) {
    float padded[(BLOCK_ROWS + LANES - 1) / LANES * LANES] = {};
    for (int i = 0; i < count; ++i) padded[i] = x[i];
    for (int i = 0; i < BLOCK_ROWS; i += LANES) store(padded + i, exp2_approx(load(padded + i)));
    for (int i = 0; i < count; ++i) x[i] = padded[i];
}

// The rows of queries [t0, t1) of x (B, Tq, H, D) and group g, in float32, `stride` numbers apart.
inline void read_rows(float* out, int64_t stride, const Tensor& x, int64_t b, int64_t g, int64_t R, int64_t t0,
                      int64_t t1) {
    for (int64_t t = t0; t < t1; ++t)
        for (int64_t r = 0; r < R; ++r, out += stride) {
            x.read(out, b, t, g * R + r, x.size[3]);
            for (int64_t d = x.size[3]; d < stride; ++d) out[d] = 0.0f;
        }
}

}  // namespace weft
