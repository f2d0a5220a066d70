// Vectors of floats of the machine's own width, through the vector extensions of GCC and Clang.
//
// AVX-512, AVX and anything else share one source; intrinsics appear only where the extensions have no word for it.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace weft {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));  // also the type of a mask: all bits set where true

template <int N>
struct Lanes {
    typedef float type __attribute__((vector_size(4 * N)));
};

typedef vec loose_vec __attribute__((aligned(4), may_alias));  // anywhere in memory

inline vec load(const float* p) { return *reinterpret_cast<const loose_vec*>(p); }

inline void store(float* p, vec x) { *reinterpret_cast<loose_vec*>(p) = x; }

inline ivec load(const int32_t* p) {
    ivec x;
    std::memcpy(&x, p, sizeof x);
    return x;
}

inline vec splat(float x) { return x - vec{}; }  // x + 0 is not x where x is -0: the addition would stay

inline ivec splat_int(int32_t x) { return ivec{} + x; }

// The first `count` lanes, 0 <= count <= LANES; nothing past them is read, the others are 0.
inline vec load_partial(const float* p, int count) {
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#else
    vec x = {};
    std::memcpy(&x, p, 4 * count);
    return x;
#endif
}

// Writes the first `count` lanes only.
inline void store_partial(float* p, vec x, int count) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)x);
#else
    std::memcpy(p, &x, 4 * count);
#endif
}

// y where one of them is NaN, as the machine's own instruction has it. (The masked form, here and below, because GCC 12
// warns of its own header's unmasked one.)
inline vec max(vec x, vec y) {
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_max_ps((__mmask16)-1, (__m512)x, (__m512)y);
#elif defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)x, (__m256)y);
#else
    return x > y ? x : y;
#endif
}

inline vec select(ivec mask, vec yes, vec no) { return mask ? yes : no; }

// Combines all lanes by halves: the order is the same on every call. Through memcpy, compilers take half a register.
template <int N, class Op>
inline float fold(const typename Lanes<N>::type x, Op combine) {
    if constexpr (N == 2) {
        return combine(x[0], x[1]);
    } else {
        typename Lanes<N / 2>::type half[2];
        std::memcpy(half, &x, sizeof x);
        return fold<N / 2>(combine(half[0], half[1]), combine);
    }
}

inline float reduce_max(vec x) {
    return fold<LANES>(x, [](auto a, auto b) { return a > b ? a : b; });
}

inline float reduce_add(vec x) {
    return fold<LANES>(x, [](auto a, auto b) { return a + b; });
}

inline float dot(const float* x, const float* y, int64_t n) {
    vec sum = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) sum += load(x + i) * load(y + i);
    if (i < n) sum += load_partial(x + i, (int)(n - i)) * load_partial(y + i, (int)(n - i));
    return reduce_add(sum);
}

// 2^x to 1 ulp, exactly 1 at 0 and exactly 0 at and below -126 (no subnormal numbers), inf from 128 on; NaN stays NaN.
// 2^x = 2^n 2^f with |f| <= 1/2: the polynomial is a minimax fit of relative error 2e-9, and 1 at f = 0.
inline vec exp2_approx(vec x) {
    const vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
    const vec low = splat(-126.0f), high = splat(128.0f);
    vec bounded = max(low, x);
    bounded = high < bounded ? high : bounded;
    const vec shifted = bounded + magic;
    const vec n = shifted - magic;
    const vec f = bounded - n;
    vec p = splat(0.00015353361959569156f);
    p = p * f + 0.0013398873852565885f;
    p = p * f + 0.00961843691766262f;
    p = p * f + 0.055503323674201965f;
    p = p * f + 0.24022647738456726f;
    p = p * f + 0.6931471824645996f;
    p = p * f + 1.0f;
#if defined(__AVX512F__)
    const vec y = (vec)_mm512_maskz_scalef_ps((__mmask16)-1, (__m512)p, (__m512)n);
#else
    // Adds n to the exponent. At both ends f has the sign that keeps the sum in range: 128 gives inf, and f = 0, there.
    const vec y = x == x ? (vec)((ivec)p + ((ivec)shifted << 23)) : x;
#endif
    return x <= low ? vec{} : y;
}

inline float bf16_to_float(uint16_t x) {
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}

// Rounds to nearest, ties to even; NaN stays NaN.
inline uint16_t float_to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Branch-free, so that the compiler turns them into vector code.
inline void widen(float* __restrict out, const uint16_t* __restrict in, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_float(in[i]);
}

inline void narrow(uint16_t* __restrict out, const float* __restrict in, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        uint32_t bits;
        std::memcpy(&bits, &in[i], 4);
        const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
        const uint32_t nan = (bits >> 16) | 0x40;
        out[i] = (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded);
    }
}

}  // namespace weft
