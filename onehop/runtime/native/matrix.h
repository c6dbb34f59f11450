// Products with weights that were packed once: float32, and int8 with a scale for each output.
//
// Weights (N, K) lie in panels of `PANEL` outputs, a group of inputs after the other, as the inner loop reads them.
// Each output is summed over its inputs in their order, whatever stands in the other rows and however the work is
// shared out: a row gives the same bits alone and in any batch.
//
//     FLOAT   [panel][input][PANEL]             float32 inputs
//     PAIR    [panel][input / 2][PANEL][2]      int8; inputs rounded to as many bits as the sum has room for (13 to 15)
//     QUAD    [panel][input / 4][PANEL][4]      int8; inputs rounded to 8 bits, for processors that multiply four at once

#pragma once

#include "vector.h"

enum { FLOAT, PAIR, QUAD };
enum { PLAIN, RELU, GELU, SILU, SIGMOID, TIMES };  // what becomes of a product

#ifndef INT8
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define INT8 QUAD
#else
#define INT8 PAIR
#endif
#endif

#define WIDE 2  // vectors of a panel
#define PANEL (WIDE * LANES)
#if LANES == 16
#define TALL 12  // rows of a tile: sums that fit the registers
#else
#define TALL 6
#endif
#define BLOCK 96  // rows for which a panel stays in the cache

typedef struct {
    int64_t kind, outputs, inputs;
    const void *weights;
    const float *scale;   // (N,) of int8
    const int32_t *sums;  // (N,) of QUAD: 128 times the sum of the weights
    const float *bias;    // (N,) or none
} Matrix;

INLINE int64_t panels(const Matrix *a) { return (a->outputs + PANEL - 1) / PANEL; }
INLINE int64_t group(int64_t kind) { return kind == QUAD ? 4 : kind == PAIR ? 2 : 1; }
INLINE int64_t groups(const Matrix *a) { return (a->inputs + group(a->kind) - 1) / group(a->kind); }
INLINE size_t row_bytes(const Matrix *a) { return groups(a) * 4; }  // of rounded inputs: every group is four bytes

// ------------------------------------------------------------------------------------------------ rounding

// Round rows (M, K) for a matrix: `rounded` and a factor for each row. FLOAT takes rows as they are.
static void round_rows(const Matrix *a, const float *x, int64_t stride, int64_t rows, void *rounded, float *factors) {
    if (a->kind == FLOAT) return;
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
        vf tops = {0};
        for (; p + LANES <= k; p += LANES) tops = larger(tops, (vf)((vi)load(row + p) & 0x7fffffff));
        top = greatest(tops);
        for (; p < k; p++) top = fabsf(row[p]) > top ? fabsf(row[p]) : top;
        float by = top > 0 ? most / top : 0;
        factors[i] = top / most;
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

// acc += the products of a group: pairs of int16.
INLINE vi add_pairs(vi acc, const int8_t *weights, int32_t x) {
#if LANES == 16 && defined(__AVX512BW__)
    __m512i w = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)weights));
    return (vi)_mm512_add_epi32((__m512i)acc, _mm512_madd_epi16(w, _mm512_set1_epi32(x)));
#elif LANES == 8 && defined(__AVX2__)
    __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights));
    return (vi)_mm256_add_epi32((__m256i)acc, _mm256_madd_epi16(w, _mm256_set1_epi32(x)));
#else
    int16_t pair[2];
    memcpy(pair, &x, 4);
    for (int j = 0; j < LANES; j++) acc[j] += weights[2 * j] * pair[0] + weights[2 * j + 1] * pair[1];
    return acc;
#endif
}

// acc += the products of a group: four int8 weights and four bytes.
INLINE vi add_quads(vi acc, const int8_t *weights, int32_t x) {
#if LANES == 16 && defined(__AVX512VNNI__)
    return (vi)_mm512_dpbusd_epi32((__m512i)acc, _mm512_set1_epi32(x), _mm512_loadu_si512(weights));
#elif LANES == 8 && defined(__AVXVNNI__)
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)acc, _mm256_set1_epi32(x), _mm256_loadu_si256((const __m256i *)weights));
#else
    uint8_t quad[4];
    memcpy(quad, &x, 4);
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < 4; i++) acc[j] += weights[4 * j + i] * quad[i];
    return acc;
#endif
}

// Sums of `m` rows with one panel, as floats. `m` is a constant wherever this is used, so that all loops unroll.
INLINE void tile(const int m, const int kind, const Matrix *a, const void *x, int64_t stride, const float *factors,
                 int64_t panel, vf out[TALL][WIDE]) {
    if (kind == FLOAT) {
        const float *w = (const float *)a->weights + panel * a->inputs * PANEL, *rows = x;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
            for (int j = 0; j < WIDE; j++) out[i][j] = (vf){0};
        for (int64_t p = 0; p < a->inputs; p++, w += PANEL) {
            vf w0 = load(w), w1 = load(w + LANES);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                vf b = all(rows[i * stride + p]);
                out[i][0] += b * w0;
                out[i][1] += b * w1;
            }
        }
        return;
    }
    const int each = kind == PAIR ? 2 : 4;
    const int64_t count = groups(a);
    const int8_t *w = (const int8_t *)a->weights + panel * count * PANEL * each;
    const int32_t *rows = x;
    vi acc[TALL][WIDE];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) acc[i][0] = acc[i][1] = (vi){0};
    for (int64_t p = 0; p < count; p++, w += PANEL * each) {
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            int32_t b = rows[i * count + p];
            acc[i][0] = kind == PAIR ? add_pairs(acc[i][0], w, b) : add_quads(acc[i][0], w, b);
            acc[i][1] = kind == PAIR ? add_pairs(acc[i][1], w + LANES * each, b) : add_quads(acc[i][1], w + LANES * each, b);
        }
    }
    const float *scale = a->scale + panel * PANEL;
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
        for (int j = 0; j < WIDE; j++) {
            vi total = acc[i][j];
            if (kind == QUAD) total -= *(const viu *)(a->sums + panel * PANEL + j * LANES);
            out[i][j] = __builtin_convertvector(total, vf) * (load(scale + j * LANES) * factors[i]);
        }
}

static float normal_share(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }

INLINE vf shaped(vf x, int shape, vf there) {
    if (shape == RELU) return larger(x, all(0));
    if (shape == SILU) return x / (1.0f + exponential(-x));
    if (shape == SIGMOID) return 1.0f / (1.0f + exponential(-x));
    if (shape == TIMES) return x * there;
    if (shape == GELU)
        for (int i = 0; i < LANES; i++) x[i] *= normal_share(x[i]);
    return x;
}

typedef struct {
    float *at;
    int64_t stride;
    int shape;
    const float *beside;  // added, or none; with TIMES the factor is what stands at `at`
    int64_t beside_stride;
} Into;

INLINE void finish(const int m, const Matrix *a, int64_t panel, int64_t row, vf sums[TALL][WIDE], const Into *into) {
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

#define ROWS(M) \
    case M: tile(M, kind, a, x, stride, factors, panel, sums); finish(M, a, panel, row, sums, into); break;

INLINE void block(const int kind, const Matrix *a, const char *inputs, int64_t stride, const float *all_factors,
                  int64_t begin, int64_t end, int64_t panel, const Into *into) {
    int64_t bytes = kind == FLOAT ? stride * 4 : (int64_t)row_bytes(a);
    for (int64_t row = begin; row < end; row += TALL) {
        vf sums[TALL][WIDE];
        const void *x = inputs + row * bytes;
        const float *factors = all_factors ? all_factors + row : 0;
        switch (end - row) {
            ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5)
#if TALL == 12
            ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11)
#endif
            default: tile(TALL, kind, a, x, stride, factors, panel, sums); finish(TALL, a, panel, row, sums, into);
        }
    }
}

// Rows (M, K), rounded as the matrix wants them, times the panels from `first` to `last`.
static void product(const Matrix *a, const void *x, int64_t stride, const float *factors, int64_t rows, int64_t first,
                    int64_t last, const Into *into) {
    for (int64_t begin = 0; begin < rows; begin += BLOCK) {
        int64_t end = begin + BLOCK < rows ? begin + BLOCK : rows;
        for (int64_t panel = first; panel < last; panel++) {
            if (a->kind == FLOAT) block(FLOAT, a, x, stride, factors, begin, end, panel, into);
            else block(INT8, a, x, stride, factors, begin, end, panel, into);
        }
    }
}

// ------------------------------------------------------------------------------------------------ packing

// Put whole numbers or floats (N, K) into panels; what is missing of a panel or a group is zero.
static void pack(int64_t kind, const void *from, int64_t outputs, int64_t inputs, void *to) {
    Matrix a = {kind, outputs, inputs};
    int64_t each = group(kind), count = groups(&a);
    for (int64_t panel = 0; panel < panels(&a); panel++)
        for (int64_t p = 0; p < count; p++)
            for (int64_t j = 0; j < PANEL; j++)
                for (int64_t i = 0; i < each; i++) {
                    int64_t n = panel * PANEL + j, k = p * each + i, at = ((panel * count + p) * PANEL + j) * each + i;
                    int there = n < outputs && k < inputs;
                    if (kind == FLOAT) ((float *)to)[at] = there ? ((const float *)from)[n * inputs + k] : 0;
                    else ((int8_t *)to)[at] = there ? ((const int8_t *)from)[n * inputs + k] : 0;
                }
}
