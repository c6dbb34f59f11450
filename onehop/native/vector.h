// Vectors of the processor's own width, by the compiler's vector types: the same source for AVX2, AVX-512 and others.

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef LANES  // floats of a vector; a test may ask for others than the processor has
#if defined(__AVX512F__) && defined(__AVX512BW__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#endif

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef float vfu __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t viu __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *at) { return *(const vfu *)at; }
INLINE void store(float *at, vf x) { *(vfu *)at = x; }
INLINE vf all(float x) { return x - (vf){0}; }
INLINE vf choose(vi yes, vf a, vf b) { return (vf)((yes & (vi)a) | (~yes & (vi)b)); }

// The same by instructions of their own, which gcc does not find by itself. Of two numbers of which one is none, the
// second is taken; sums are taken in the same order.
#if LANES == 16 && defined(__AVX512F__)
INLINE vf larger(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE int any_above(vf x, vf least) { return _mm512_cmp_ps_mask((__m512)x, (__m512)least, _CMP_GT_OQ) != 0; }
INLINE vi larger_whole(vi a, vi b) { return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b); }
INLINE float sum(vf x) { return _mm512_reduce_add_ps((__m512)x); }
INLINE float greatest(vf x) { return _mm512_reduce_max_ps((__m512)x); }
#elif LANES == 8 && defined(__AVX2__)
INLINE vi larger_whole(vi a, vi b) { return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b); }
INLINE vf larger(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf smaller(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE int any_above(vf x, vf least) {
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)x, (__m256)least, _CMP_GT_OQ)) != 0;
}
INLINE float sum(vf x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
INLINE float greatest(vf x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
#else
INLINE vi larger_whole(vi a, vi b) { vi yes = a > b; return (yes & a) | (~yes & b); }
INLINE vf larger(vf a, vf b) { return choose(a > b, a, b); }
INLINE vf smaller(vf a, vf b) { return choose(a < b, a, b); }
INLINE float sum(vf x) {
    float total[LANES];
    store(total, x);
    for (int step = LANES / 2; step; step /= 2)
        for (int i = 0; i < step; i++) total[i] += total[i + step];
    return total[0];
}
INLINE float greatest(vf x) {
    float best = x[0];
    for (int i = 1; i < LANES; i++) best = x[i] > best ? x[i] : best;
    return best;
}
INLINE int any_above(vf x, vf least) { return greatest(choose(x > least, all(1), all(0))) > 0; }
#endif

// e^x to about one unit in the last place, by a polynomial on [-ln 2 / 2, ln 2 / 2]; below -87 it is e^-87.
INLINE vf exponential(vf x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
    x = smaller(all(88.0f), larger(all(-87.0f), x));
    vf shifted = x * 1.44269504f + magic, n = shifted - magic;
    vf f = x - n * 0.693359375f + n * 2.12194440e-4f;
    vf y = f * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * f + 8.3334519073e-3f;
    y = y * f + 4.1665795894e-2f;
    y = y * f + 1.6666665459e-1f;
    y = y * f + 5.0000001201e-1f;
    y = y * (f * f) + f + 1.0f;
    vi power = ((vi)shifted - (vi)all(magic) + 127) << 23;
    return y * (vf)power;
}

// Weights from scores: softmax in place of `count` numbers; what stands behind them up to a whole vector becomes 0.
INLINE void softmax(float *scores, int count) {
    int whole = (count + LANES - 1) / LANES * LANES;
    for (int i = count; i < whole; i++) scores[i] = -INFINITY;
    vf most = all(-INFINITY);
    for (int i = 0; i < whole; i += LANES) most = larger(most, load(scores + i));
    vf top = all(greatest(most)), total = {0};
    for (int i = 0; i < whole; i += LANES) {
        vf x = load(scores + i), e = exponential(x - top);
        e = choose(x == all(-INFINITY), all(0), e);
        store(scores + i, e);
        total += e;
    }
    float scale = 1.0f / sum(total);
    for (int i = 0; i < whole; i += LANES) store(scores + i, load(scores + i) * scale);
}
