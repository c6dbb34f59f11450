// What learning in kernels is made of: numbers of two types, random bits, and threads that torch has already.

#pragma once

#include "pool.h"
#include "vector.h"

enum { FLOAT32 = 0, BFLOAT16 = 1 };

INLINE int64_t whole(int64_t count) { return (count + LANES - 1) / LANES * LANES; }
INLINE int64_t bytes_of(int64_t type) { return type == BFLOAT16 ? 2 : 4; }

// Sixteen bits of each number, of `LANES` of them, to float32 and back: to the nearest, to even where two are.
#if LANES == 16 && defined(__AVX512F__)
INLINE vf widened(const uint16_t *from) {
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
}
INLINE void narrowed(vf x, uint16_t *to) {
    __m512i bits = (__m512i)x, odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
    __mmask16 none = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
    near = _mm512_mask_or_epi32(near, none, bits, _mm512_set1_epi32(1 << 22));
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(near, 16)));
}
#else
INLINE vf widened(const uint16_t *from) {
    vi bits;
    for (int i = 0; i < LANES; i++) bits[i] = (int32_t)((uint32_t)from[i] << 16);
    return (vf)bits;
}
INLINE void narrowed(vf x, uint16_t *to) {
    vi bits = (vi)x, near = bits + ((bits >> 16) & 1) + 0x7fff;
    vi none = x != x;
    near = (none & (bits | 1 << 22)) | (~none & near);
    for (int i = 0; i < LANES; i++) to[i] = (uint16_t)((uint32_t)near[i] >> 16);
}
#endif

INLINE vf load_as(int64_t type, const char *from) {
    return type == FLOAT32 ? load((const float *)from) : widened((const uint16_t *)from);
}

INLINE void store_as(int64_t type, char *to, vf x) {
    if (type == FLOAT32) store((float *)to, x);
    else narrowed(x, (uint16_t *)to);
}

// Which numbers are kept (dropout): each is decided by sixteen bits of a hash of its place, so that they need not be
// kept for the way back, and no thread waits for another's. The hash multiplies and shifts until every bit of the place
// and the seed has changed about half of the bits; a hash decides two vectors.
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));

typedef struct {
    uint64_t seed;
    uint32_t least;  // bits below it are dropped; 0 keeps all
    float scale;     // of what is kept
} Dropping;

INLINE vi is_kept(const Dropping *dropping, uint64_t vector) {
    vu x;
    for (int i = 0; i < LANES; i++) x[i] = i;
    uint64_t place = vector / 2 * LANES;
    uint32_t high = (uint32_t)(place >> 32) * 0x85ebca6bu + (uint32_t)(dropping->seed >> 32);
    x = (x + (uint32_t)place) * 0x9e3779b1u + (uint32_t)dropping->seed;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) + high;
    x = (x ^ x >> 16) * 0x846ca68bu;
    x = (x ^ x >> 15) * 0xc2b2ae35u;
    x = x ^ x >> 16;
    x = vector & 1 ? x >> 16 : x & 0xffff;
    return (vi)(x >= dropping->least);
}

INLINE vf dropped(const Dropping *dropping, uint64_t vector, vf x) {
    return choose(is_kept(dropping, vector), x * dropping->scale, all(0));
}

// torch's threads are OpenMP's, which go on looking for work between its operations: a second team would wait for cores
// that they hold. Where the process has such a team it does this work, too. Whoever is free takes the next part.
#if defined(__linux__)
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) __attribute__((weak));
#else
static void (*const GOMP_parallel)(void (*)(void *), void *, unsigned, unsigned) = 0;
#endif

typedef struct {
    void (*work)(void *job);
    void *job;
} Shared;

static void take_part(int thread, int threads, void *shared) {
    (void)thread, (void)threads;
    ((Shared *)shared)->work(((Shared *)shared)->job);
}

static void share_out(int threads, void (*work)(void *job), void *job) {
    Shared shared = {work, job};
    if (threads > 1 && GOMP_parallel) GOMP_parallel(work, job, threads, 0);
    else run(threads, take_part, &shared);
}
