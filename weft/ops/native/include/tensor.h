// A view of a torch tensor of up to four dimensions, float32 or bfloat16, as native/tensor.py hands it over.
#pragma once
#include <cstdint>
#include <cstring>

#include "vec.h"

namespace weft {

constexpr int64_t FLOAT32 = 0;
constexpr int64_t BFLOAT16 = 1;

// Missing leading dimensions have size 1 and stride 0. The last dimension is contiguous. Strides count elements.
struct Tensor {
    void* data;
    int64_t dtype;
    int64_t size[4];
    int64_t stride[4];

    int64_t offset(int64_t i, int64_t j, int64_t k) const { return i * stride[0] + j * stride[1] + k * stride[2]; }

    // Of the numbers, for a tensor without gaps.
    int64_t bytes() const { return (dtype == FLOAT32 ? 4 : 2) * size[0] * size[1] * size[2] * size[3]; }

    // Element 0 of the last dimension, for a float32 tensor.
    float* at(int64_t i, int64_t j, int64_t k) const { return static_cast<float*>(data) + offset(i, j, k); }

    // n numbers from (i, j, k, 0) on, as float32.
    void read(float* out, int64_t i, int64_t j, int64_t k, int64_t n) const { read_at(out, offset(i, j, k), n); }

    // The same from a place as `offset` gives it.
    void read_at(float* out, int64_t place, int64_t n) const {
        if (dtype == FLOAT32) {
            std::memcpy(out, static_cast<const float*>(data) + place, 4 * n);
        } else {
            widen(out, static_cast<const uint16_t*>(data) + place, n);
        }
    }

    // Writes n float32 numbers from (i, j, k, 0) on, rounded to the tensor's dtype.
    void write(const float* in, int64_t i, int64_t j, int64_t k, int64_t n) const {
        if (dtype == FLOAT32) {
            std::memcpy(at(i, j, k), in, 4 * n);
        } else {
            narrow(static_cast<uint16_t*>(data) + offset(i, j, k), in, n);
        }
    }
};

}  // namespace weft
