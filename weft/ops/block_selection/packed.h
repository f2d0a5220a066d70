// What attention over compressed blocks and the choice of blocks are given, and keys and values packed for their tiles.
//
// Legend: B batch, T queries, H query heads, G groups, R = H/G, C compressed blocks, Dk and Dv widths, n chosen blocks.
#pragma once
#include <algorithm>
#include <vector>

#include "../native/include/gemm.h"
#include "../native/include/parallel.h"
#include "../native/include/tensor.h"
#include "choice.h"

namespace weft::selection {

constexpr int64_t CHUNK = 128;  // compressed blocks in a chunk
constexpr int64_t ROWS = 64;    // rows of a tile, heads times tokens, unless one token has more heads

struct Problem {
    const Tensor *q, *k, *v, *out;  // v and out null: only the choice
    const float* given_lse;         // (B, T, H), natural, for the choice alone; else null
    float* lse;                     // (B, T, H), natural, or null
    int32_t* lists;                 // (B, T, G, n)
    const int32_t* ranges;          // (4, B, T): a query sees the entries [ranges[2], ranges[3]) of its row
    const int64_t* positions;       // (B, T), -1 for a query that sees nothing
    ChoiceSizes sizes;
    float scale;

    int64_t first(int64_t b, int64_t t) const { return ranges[(2 * batch() + b) * tokens() + t]; }
    int64_t end(int64_t b, int64_t t) const { return ranges[(3 * batch() + b) * tokens() + t]; }
    int64_t batch() const { return q->size[0]; }
    int64_t tokens() const { return q->size[1]; }
    int64_t heads() const { return q->size[2]; }
    int64_t groups() const { return k->size[2]; }
    int64_t per_group() const { return heads() / groups(); }
    int64_t key_width() const { return q->size[3]; }
    int64_t value_width() const { return v ? v->size[3] : 0; }
    int64_t chunks() const { return (k->size[1] + CHUNK - 1) / CHUNK; }
    int64_t tile_tokens() const { return std::max<int64_t>(1, ROWS / per_group()); }
};

// Keys transposed and values, as float32 and chunk by chunk: (B, G, chunks, Dk, CHUNK) and (B, G, chunks, CHUNK, Dv).
struct Packed {
    std::vector<int64_t> used;  // (B,): entries that any query of the row sees; the rest may hold anything
    Scratch<float> keys, values;

    explicit Packed(const Problem& p)
        : used(p.batch(), 0),
          keys(1, p.batch() * p.groups() * p.chunks() * CHUNK * p.key_width()),
          values(1, p.batch() * p.groups() * p.chunks() * CHUNK * p.value_width()) {
        for (int64_t b = 0; b < p.batch(); ++b)
            for (int64_t t = 0; t < p.tokens(); ++t) used[b] = std::max(used[b], p.end(b, t));
    }
    static int64_t index(const Problem& p, int64_t b, int64_t g, int64_t c) {
        return ((b * p.groups() + g) * p.chunks() + c) * CHUNK;
    }
    float* key(const Problem& p, int64_t b, int64_t g, int64_t c) const {
        return keys[0] + index(p, b, g, c) * p.key_width();
    }
    float* value(const Problem& p, int64_t b, int64_t g, int64_t c) const {
        return values[0] + index(p, b, g, c) * p.value_width();
    }

    void fill(const Problem& p, int64_t b, int64_t g, int64_t c, float* rows) const {
        const int64_t n = std::clamp<int64_t>(used[b] - c * CHUNK, 0, CHUNK), width = p.key_width();
        for (int64_t i = 0; i < n; ++i) p.k->read(rows + i * width, b, c * CHUNK + i, g, width);
        transpose(key(p, b, g, c), CHUNK, rows, width, (int)n, (int)width);
        if (p.v)
            for (int64_t i = 0; i < n; ++i)
                p.v->read(value(p, b, g, c) + i * p.value_width(), b, c * CHUNK + i, g, p.value_width());
    }
};

}  // namespace weft::selection
