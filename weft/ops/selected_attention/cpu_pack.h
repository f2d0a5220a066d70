// Keys and values as the kernels read them: in float32, each block contiguous, for one batch row and group at a time.
#pragma once
#include <cstdint>

#include "../native/include/tensor.h"
#include "cpu_lists.h"

namespace weft {

constexpr int64_t CHUNK = 64;  // keys of a block taken at once, a multiple of LANES
constexpr float LOG2_E = 1.44269504088896340736f;

inline int64_t whole_vectors(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

// A block's columns (D x its keys), chunk after chunk: D rows of `width` keys each, filled up with zeros.
struct Panel {
    const float* data;
    int64_t width;
};

// Columns of x (B, Tk, G, D), times a factor, of the blocks that were chosen: (B, G, D * panels[J]).
class Panels {
   public:
    Panels(float* data, const Lists& lists, int64_t width)
        : data_(data), lists_(lists), width_(width), size_(width * lists.panels[lists.blocks]) {}

    float* block(int64_t b, int64_t g, int64_t block) const {
        return data_ + (b * lists_.groups + g) * size_ + width_ * lists_.panels[block];
    }
    Panel chunk(int64_t b, int64_t g, int64_t block, int64_t first) const {
        const int64_t columns = lists_.panels[block + 1] - lists_.panels[block];
        return {this->block(b, g, block) + width_ * first, columns - first < CHUNK ? columns - first : CHUNK};
    }

   private:
    float* data_;
    const Lists& lists_;
    int64_t width_, size_;
};

// Rows of x (B, Tk, G, D) by group: (B, G, Tk, D filled up with zeros to whole vectors).
struct Rows {
    float* data;
    int64_t groups, keys, stride;

    float* at(int64_t b, int64_t g, int64_t key) const { return data + ((b * groups + g) * keys + key) * stride; }
};

// What to fill for each chosen block; a null pointer: nothing.
struct Packing {
    const Tensor *k, *v;
    const Panels *k_panels, *v_panels;
    const Rows *k_rows, *v_rows;
    float k_factor;  // on k_panels
};

void pack(const Packing& packing, const Lists& lists, int threads);

}  // namespace weft
