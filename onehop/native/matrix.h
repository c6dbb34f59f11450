// Products with weights that were packed once: float32, bfloat16, and int8 with a scale for each output.
//
// Weights (N, K) lie in panels of `PANEL` outputs, a group of inputs after the other, as the inner loop reads them.
// Each output is summed over its inputs in an order that their number decides, whatever stands in the other rows and
// however the work is shared out: a row gives the same bits alone and in any batch. Of bfloat16, products below the
// least normal number of float32 are zero.
//
//     FLOAT   [panel][input][PANEL]             float32 inputs
//     PAIR    [panel][input / 2][PANEL][2]      int8; inputs rounded to as many bits as the sum has room for (13 to 15)
//     QUAD    [panel][input / 4][PANEL][4]      int8; inputs rounded to 8 bits, for processors that multiply four at once
//     HALF    [panel][input / 2][PANEL][2]      bfloat16, inputs too, for processors that multiply two at once

#pragma once

#include "tiles.h"

enum { FLOAT, PAIR, QUAD, HALF };
enum { PLAIN, RELU, GELU, SILU, SIGMOID, TIMES, GELU_TANH, TANH };  // what becomes of a product

#ifndef INT8
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define INT8 QUAD
#else
#define INT8 PAIR
#endif
#endif

#if LANES == 16 && defined(__AVX512BF16__)
#define BFLOAT16 1
#else
#define BFLOAT16 0
#endif

#define WIDE 2  // vectors of a panel
#define PANEL (WIDE * LANES)
#if LANES == 16
#define TALL 12  // rows of a tile: sums that fit the registers
#else
#define TALL 6
#endif
#define BLOCK 96  // rows for which a panel stays in the cache
#define ENOUGH 8   // rows from which a matrix unit multiplies int8

typedef struct {
    int64_t kind, outputs, inputs;
    const void *weights;
    const float *scale;   // (N,) of int8
    const int32_t *sums;  // (N,) of QUAD: 128 times the sum of the weights
    const float *bias;    // (N,) or none
} Matrix;

INLINE int64_t panels(const Matrix *a) { return (a->outputs + PANEL - 1) / PANEL; }
INLINE int64_t group(int64_t kind) { return kind == QUAD ? 4 : kind == FLOAT ? 1 : 2; }
INLINE int64_t weight_bytes(int64_t kind) { return kind == FLOAT ? 4 : kind == HALF ? 2 : 1; }
INLINE int64_t groups(const Matrix *a) {
    int64_t count = (a->inputs + group(a->kind) - 1) / group(a->kind);
#if AMX
    if (a->kind == QUAD || a->kind == HALF) count = (count + DEEP - 1) / DEEP * DEEP;
#endif
    return count;
}
INLINE size_t row_bytes(const Matrix *a) { return groups(a) * 4; }  // of rounded inputs: every group is four bytes

// ------------------------------------------------------------------------------------------------ rounding

#define INFINITE 0x7f800000  // the bits of infinity
#define LEAST 1e-30f  // largest size of a row whose factor is still a number

// To bfloat16, to the nearest, of two the even; what is no number stays none.
static void halve_rows(const Matrix *a, const float *x, int64_t stride, int64_t rows, uint16_t *out) {
    int64_t filled = 2 * groups(a);
    for (int64_t i = 0; i < rows; i++, x += stride, out += filled) {
        int64_t p = 0;
#if BFLOAT16
        for (; p + LANES <= a->inputs; p += LANES)
            _mm256_storeu_si256((__m256i *)(out + p), (__m256i)_mm512_cvtneps_pbh((__m512)load(x + p)));
#endif
        for (; p < a->inputs; p++) {
            uint32_t bits;
            memcpy(&bits, x + p, 4);
            out[p] = x[p] == x[p] ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fc0;
        }
        for (; p < filled; p++) out[p] = 0;
    }
}

// Round rows (M, K) for a matrix: `rounded` and a factor for each row of int8. FLOAT takes rows as they are.
static void round_rows(const Matrix *a, const float *x, int64_t stride, int64_t rows, void *rounded, float *factors) {
    if (a->kind == FLOAT) return;
    if (a->kind == HALF) {
        halve_rows(a, x, stride, rows, rounded);
        return;
    }
    int64_t k = a->inputs, filled = groups(a) * group(a->kind);
    float most = 127;
    if (a->kind == PAIR) {
        most = floorf(2147483647.0f / 127 / filled) - 1;
        if (most > 32767) most = 32767;
    }
    for (int64_t i = 0; i < rows; i++) {
        const float *row = x + i * stride;
        float top = 0;
        int64_t p = 0;
        int32_t bits = 0, one;  // of the largest size: as whole numbers, infinity and what is no number come behind all
        vi tops = {0};
        for (; p + LANES <= k; p += LANES) tops = larger_whole(tops, (vi)load(row + p) & 0x7fffffff);
        for (int lane = 0; lane < LANES; lane++) bits = tops[lane] > bits ? tops[lane] : bits;
        for (; p < k; p++) {
            memcpy(&one, row + p, 4);
            bits = (one & 0x7fffffff) > bits ? one & 0x7fffffff : bits;
        }
        memcpy(&top, &bits, 4);
        factors[i] = top / most;
        if (bits >= INFINITE || top < LEAST) {  // nothing to round: NaN stays NaN, what is next to nothing becomes it
            if (bits >= INFINITE) factors[i] = NAN;
            memset((char *)rounded + i * row_bytes(a), a->kind == PAIR ? 0 : 128, row_bytes(a));
            continue;
        }
        float by = most / top;
        if (a->kind == PAIR) {
            int16_t *out = (int16_t *)rounded + i * filled;
            for (p = 0; p < k; p++) out[p] = (int16_t)(int32_t)(row[p] * by + (row[p] < 0 ? -0.5f : 0.5f));
            for (; p < filled; p++) out[p] = 0;
        } else {
            uint8_t *out = (uint8_t *)rounded + i * filled;
            for (p = 0; p < k; p++) out[p] = (uint8_t)(128 + (int32_t)(row[p] * by + (row[p] < 0 ? -0.5f : 0.5f)));
            for (; p < filled; p++) out[p] = 128;
        }
    }
}

// ------------------------------------------------------------------------------------------------ inner loops

// Weights of a group as they are multiplied, and the two sums of a row + their products with its group `x`.
#if LANES == 16 && defined(__AVX512BW__)
typedef __m512i vp;
INLINE vp pairs(const int8_t *at) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)at)); }
INLINE void add_pairs(vi *one, vi *two, vp w0, vp w1, const int32_t *x) {
    __m512i b = _mm512_set1_epi32(*x);
    *one = (vi)_mm512_add_epi32((__m512i)*one, _mm512_madd_epi16(w0, b));
    *two = (vi)_mm512_add_epi32((__m512i)*two, _mm512_madd_epi16(w1, b));
}
#elif LANES == 8 && defined(__AVX2__)
typedef __m256i vp;
INLINE vp pairs(const int8_t *at) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at)); }
// Twelve sums, two vectors of weights and two for this fill all sixteen registers: left to itself, gcc keeps a sum in
// memory, and the loop takes 1.6 times as long.
INLINE void add_pairs(vi *one, vi *two, vp w0, vp w1, const int32_t *x) {
    __m256i b, t;
    __asm__("vpbroadcastd %4, %2\n\tvpmaddwd %5, %2, %3\n\tvpaddd %3, %0, %0\n\tvpmaddwd %6, %2, %2\n\tvpaddd %2, %1, %1"
            : "+x"(*one), "+x"(*two), "=&x"(b), "=&x"(t) : "m"(*x), "x"(w0), "x"(w1));
}
#else
typedef const int8_t *vp;
INLINE vp pairs(const int8_t *at) { return at; }
INLINE void add_pairs(vi *one, vi *two, vp w0, vp w1, const int32_t *x) {
    int16_t pair[2];
    memcpy(pair, x, 4);
    for (int j = 0; j < LANES; j++) {
        (*one)[j] += w0[2 * j] * pair[0] + w0[2 * j + 1] * pair[1];
        (*two)[j] += w1[2 * j] * pair[0] + w1[2 * j + 1] * pair[1];
    }
}
#endif

#if LANES == 16 && defined(__AVX512VNNI__)
typedef __m512i vq;
INLINE vq quads(const int8_t *at) { return _mm512_loadu_si512(at); }
INLINE void add_quads(vi *one, vi *two, vq w0, vq w1, const int32_t *x) {
    __m512i b = _mm512_set1_epi32(*x);
    *one = (vi)_mm512_dpbusd_epi32((__m512i)*one, b, w0);
    *two = (vi)_mm512_dpbusd_epi32((__m512i)*two, b, w1);
}
#elif LANES == 8 && defined(__AVXVNNI__)
typedef __m256i vq;
INLINE vq quads(const int8_t *at) { return _mm256_loadu_si256((const __m256i *)at); }
INLINE void add_quads(vi *one, vi *two, vq w0, vq w1, const int32_t *x) {
    __m256i b = _mm256_set1_epi32(*x);
    *one = (vi)_mm256_dpbusd_avx_epi32((__m256i)*one, b, w0);
    *two = (vi)_mm256_dpbusd_avx_epi32((__m256i)*two, b, w1);
}
#else
typedef const int8_t *vq;
INLINE vq quads(const int8_t *at) { return at; }
INLINE void add_quads(vi *one, vi *two, vq w0, vq w1, const int32_t *x) {
    uint8_t quad[4];
    memcpy(quad, x, 4);
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < 4; i++) {
            (*one)[j] += w0[4 * j + i] * quad[i];
            (*two)[j] += w1[4 * j + i] * quad[i];
        }
}
#endif

#if BFLOAT16
typedef __m512bh vh;
INLINE vh halves(const int8_t *at) { return (vh)_mm512_loadu_si512(at); }
INLINE void add_halves(vi *one, vi *two, vh w0, vh w1, const int32_t *x) {
    vh b = (vh)_mm512_set1_epi32(*x);
    *one = (vi)_mm512_dpbf16_ps((__m512)*one, b, w0);
    *two = (vi)_mm512_dpbf16_ps((__m512)*two, b, w1);
}
#endif

#define GROUPS(LOAD, ADD) \
    for (int64_t p = 0; p < count; p++, w += PANEL * each) { \
        const __typeof__(LOAD(w)) w0 = LOAD(w), w1 = LOAD(w + LANES * each); \
        _Pragma("GCC unroll 16") \
        for (int i = 0; i < m; i++) ADD(&acc[i][0], &acc[i][1], w0, w1, rows + i * count + p); \
    }

// What a sum of whole numbers stands for; those of HALF are floats already.
INLINE vf as_floats(int kind, const Matrix *a, vi total, int64_t column, const float *factors, int row) {
    if (kind == HALF) return (vf)total;
    if (kind == QUAD) total -= *(const viu *)(a->sums + column);
    return __builtin_convertvector(total, vf) * (load(a->scale + column) * factors[row]);
}

// Sums of `m` rows with one panel, as floats. `m` is a constant wherever this is used, so that all loops unroll.
INLINE void tile(const int m, const int kind, const Matrix *a, const void *x, int64_t stride, const float *factors,
                 int64_t panel, vf out[TALL][WIDE]) {
    if (kind == FLOAT) {
        const float *w = (const float *)a->weights + panel * a->inputs * PANEL, *rows = x;
        vf acc[TALL][WIDE];
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) acc[i][0] = acc[i][1] = (vf){0};
        for (int64_t p = 0; p < a->inputs; p++, w += PANEL) {
            vf w0 = load(w), w1 = load(w + LANES);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                vf b = all(rows[i * stride + p]);
                acc[i][0] += b * w0;
                acc[i][1] += b * w1;
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) out[i][0] = acc[i][0], out[i][1] = acc[i][1];
        return;
    }
    const int each = kind == PAIR ? 2 : 4;  // bytes of a group of weights
    const int64_t count = groups(a);
    const int8_t *w = (const int8_t *)a->weights + panel * count * PANEL * each;
    const int32_t *rows = x;
    vi acc[TALL][WIDE];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) acc[i][0] = acc[i][1] = (vi){0};
    if (kind == PAIR) {
        GROUPS(pairs, add_pairs)
#if BFLOAT16
    } else if (kind == HALF) {
        GROUPS(halves, add_halves)
#endif
    } else {
        GROUPS(quads, add_quads)
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
        for (int j = 0; j < WIDE; j++) out[i][j] = as_floats(kind, a, acc[i][j], panel * PANEL + j * LANES, factors, i);
}

// The error function to 4e-7, by a quotient of polynomials fitted to it on [0, 3.95].
INLINE vf error_function(vf x) {
    x = larger(all(-3.95f), smaller(all(3.95f), x));
    vf z = x * x;
    vf above = z * 2.0258448828e-6f + 2.8469926482e-4f;
    above = above * z + 3.8086101348e-3f;
    above = above * z + 5.2876814640e-2f;
    above = above * z + 1.9156057814e-1f;
    above = above * z + 1.1283791433f;
    vf below = z * 3.7831757126e-5f + 1.1708376972e-3f;
    below = below * z + 1.5055978854e-2f;
    below = below * z + 1.1456388063e-1f;
    below = below * z + 5.0309881369e-1f;
    below = below * z + 1.0f;
    return x * above / below;
}

INLINE vf hyperbolic_tangent(vf x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

INLINE vf shaped(vf x, int shape, vf there) {
    if (shape == RELU) return larger(all(0), x);  // the second, where one is NaN
    if (shape == SILU) return x / (1.0f + exponential(-x));
    if (shape == SIGMOID) return 1.0f / (1.0f + exponential(-x));
    if (shape == TIMES) return x * there;
    if (shape == GELU) return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
    if (shape == GELU_TANH) return 0.5f * x * (1.0f + hyperbolic_tangent(0.79788456f * (x + 0.044715f * x * x * x)));
    if (shape == TANH) return hyperbolic_tangent(x);
    return x;
}

typedef struct {
    float *at;
    int64_t stride;
    int shape;
    const float *beside;  // added, or none; with TIMES the factor is what stands at `at`
    int64_t beside_stride;
} Into;

static void finish(int m, const Matrix *a, int64_t panel, int64_t row, vf sums[TALL][WIDE], const Into *into) {
    int64_t column = panel * PANEL, left = a->outputs - column;
    for (int i = 0; i < m; i++) {
        float *to = into->at + (row + i) * into->stride + column;
        const float *beside = into->beside ? into->beside + (row + i) * into->beside_stride + column : 0;
        for (int j = 0; j < WIDE; j++) {
            vf x = sums[i][j];
            if (a->bias) x += load(a->bias + column + j * LANES);
            if (left >= PANEL) {
                x = shaped(x, into->shape, into->shape == TIMES ? load(to + j * LANES) : x);
                if (beside) x += load(beside + j * LANES);
                store(to + j * LANES, x);
            } else {
                vf other = x;
                int64_t n = left - j * LANES;
                n = n > LANES ? LANES : n;
                if (into->shape == TIMES) for (int64_t c = 0; c < n; c++) other[c] = to[j * LANES + c];
                x = shaped(x, into->shape, other);
                for (int64_t c = 0; c < n; c++) to[j * LANES + c] = x[c] + (beside ? beside[j * LANES + c] : 0);
            }
        }
    }
}

// A function for each number of rows: inside a larger one, gcc has no registers left for the sums.
#define TILE(NAME, KIND, M) \
    static __attribute__((noinline)) void NAME##_##M(const Matrix *a, const void *x, int64_t stride, \
                                                     const float *factors, int64_t panel, vf out[TALL][WIDE]) { \
        tile(M, KIND, a, x, stride, factors, panel, out); \
    }
#define TILES(NAME, KIND) \
    TILE(NAME, KIND, 1) TILE(NAME, KIND, 2) TILE(NAME, KIND, 3) TILE(NAME, KIND, 4) TILE(NAME, KIND, 5) \
    TILE(NAME, KIND, 6)
#define TILE_NAMES(NAME) 0, NAME##_1, NAME##_2, NAME##_3, NAME##_4, NAME##_5, NAME##_6
#if TALL == 12
#define MORE_TILES(NAME, KIND) \
    TILE(NAME, KIND, 7) TILE(NAME, KIND, 8) TILE(NAME, KIND, 9) TILE(NAME, KIND, 10) TILE(NAME, KIND, 11) \
    TILE(NAME, KIND, 12)
#define MORE_NAMES(NAME) , NAME##_7, NAME##_8, NAME##_9, NAME##_10, NAME##_11, NAME##_12
#else
#define MORE_TILES(NAME, KIND)
#define MORE_NAMES(NAME)
#endif
TILES(floats, FLOAT) MORE_TILES(floats, FLOAT)
TILES(whole, INT8) MORE_TILES(whole, INT8)
#if BFLOAT16
TILES(half, HALF) MORE_TILES(half, HALF)
#endif

typedef void (*Tile)(const Matrix *, const void *, int64_t, const float *, int64_t, vf[TALL][WIDE]);
static const Tile float_tiles[] = {TILE_NAMES(floats) MORE_NAMES(floats)};
static const Tile int8_tiles[] = {TILE_NAMES(whole) MORE_NAMES(whole)};
#if BFLOAT16
static const Tile half_tiles[] = {TILE_NAMES(half) MORE_NAMES(half)};
#else
static const Tile *const half_tiles = 0;  // nothing is packed for it
#endif

static void block(const Matrix *a, const char *inputs, int64_t stride, const float *all_factors, int64_t begin,
                  int64_t end, int64_t panel, const Into *into) {
    int64_t bytes = a->kind == FLOAT ? stride * 4 : (int64_t)row_bytes(a);
    const Tile *tiles = a->kind == FLOAT ? float_tiles : a->kind == HALF ? half_tiles : int8_tiles;
    for (int64_t row = begin; row < end; row += TALL) {
        vf sums[TALL][WIDE];
        int count = end - row < TALL ? (int)(end - row) : TALL;
        tiles[count](a, inputs + row * bytes, stride, all_factors ? all_factors + row : 0, panel, sums);
        finish(count, a, panel, row, sums, into);
    }
}

#if AMX
// Up to 32 rows with a panel by the matrix unit, which must have been shaped for them.
static void matrix_unit(const Matrix *a, const char *rows, const float *factors, int64_t panel, int64_t row, int count,
                        const Into *into) {
    int32_t sums[ROWS_OF_TWO * PANEL] __attribute__((aligned(64)));
    vf out[ROWS_OF_TWO][WIDE];
    const char *w = (const char *)a->weights + panel * groups(a) * PANEL * 4;
    int half = a->kind == HALF;
    add_tiles(half, w, groups(a), rows, count > HIGH ? count - HIGH : 0, sums);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < WIDE; j++) {
            vi total = *(const vi *)(sums + i * PANEL + j * LANES);
            out[i][j] = as_floats(half ? HALF : QUAD, a, total, panel * PANEL + j * LANES, factors, i);
        }
    finish(count, a, panel, row, out, into);
}

static void tiled_block(const Matrix *a, const char *x, const float *factors, int64_t begin, int64_t end, int64_t first,
                        int64_t last, const Into *into) {
    int64_t bytes = row_bytes(a), whole = begin + (end - begin) / ROWS_OF_TWO * ROWS_OF_TWO;
    int rest = (int)(end - whole);
    if (whole > begin) shape_tiles(HIGH, HIGH);
    for (int64_t panel = first; panel < last; panel++)
        for (int64_t row = begin; row < whole; row += ROWS_OF_TWO)
            matrix_unit(a, x + row * bytes, factors + row, panel, row, ROWS_OF_TWO, into);
    if (!rest) return;
    shape_tiles(rest < HIGH ? rest : HIGH, rest > HIGH ? rest - HIGH : 0);
    for (int64_t panel = first; panel < last; panel++)
        matrix_unit(a, x + whole * bytes, factors + whole, panel, whole, rest, into);
}

// Of int8 the sums are the same either way; of few rows, vectors are as fast. Those of bfloat16 are not the same.
INLINE int by_tiles(const Matrix *a, int64_t rows) {
    return tiles_allowed && (a->kind == HALF || (a->kind == QUAD && rows >= ENOUGH));
}
#endif

// Rows (M, K), rounded as the matrix wants them, times the panels from `first` to `last`.
static void product(const Matrix *a, const void *x, int64_t stride, const float *factors, int64_t rows, int64_t first,
                    int64_t last, const Into *into) {
#if AMX
    if (by_tiles(a, rows)) {
        for (int64_t begin = 0; begin < rows; begin += BLOCK)
            tiled_block(a, x, factors, begin, begin + BLOCK < rows ? begin + BLOCK : rows, first, last, into);
        _tile_release();
        return;
    }
#endif
    for (int64_t begin = 0; begin < rows; begin += BLOCK) {
        int64_t end = begin + BLOCK < rows ? begin + BLOCK : rows;
        for (int64_t panel = first; panel < last; panel++) block(a, x, stride, factors, begin, end, panel, into);
    }
}

// ------------------------------------------------------------------------------------------------ packing

// Put weights (N, K) into panels; what is missing of a panel or a group is zero.
static void pack(int64_t kind, const void *from, int64_t outputs, int64_t inputs, void *to) {
    Matrix a = {kind, outputs, inputs};
    int64_t each = group(kind), count = groups(&a), size = weight_bytes(kind);
    for (int64_t panel = 0; panel < panels(&a); panel++)
        for (int64_t p = 0; p < count; p++)
            for (int64_t j = 0; j < PANEL; j++)
                for (int64_t i = 0; i < each; i++) {
                    int64_t n = panel * PANEL + j, k = p * each + i, at = ((panel * count + p) * PANEL + j) * each + i;
                    int there = n < outputs && k < inputs;
                    const char *weight = (const char *)from + (n * inputs + k) * size;
                    if (there) memcpy((char *)to + at * size, weight, size);
                    else memset((char *)to + at * size, 0, size);
                }
}
