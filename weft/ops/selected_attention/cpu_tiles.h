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

// Queries of a tile whose rows of q and out take `bytes`.
inline int64_t tile_of(int64_t bytes, int64_t R, int64_t width) {
    const int64_t queries = bytes / (4 * R * width);
    return queries > 1 ? queries : 1;
}

#ifndef FWD_TILE
#define FWD_TILE 1024
#endif
#ifndef BWD_TILE
#define BWD_TILE 6144
#endif
inline int64_t forward_tile(int64_t R, int64_t Dk, int64_t Dv) { return tile_of(FWD_TILE << 10, R, Dk + Dv); }
inline int64_t backward_tile(int64_t R, int64_t Dk, int64_t Dv) { return tile_of(BWD_TILE << 10, R, 2 * Dk + Dv); }

// Rows to take next of those that are left: BLOCK_ROWS, but the last two blocks share evenly.
inline int share(int64_t left) {
    if (left >= 2 * BLOCK_ROWS) return BLOCK_ROWS;
    return (int)(left > BLOCK_ROWS ? (left + 1) / 2 : left);
}

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
