// Products of float32 matrices that are read once, and the transposes they need.

#pragma once

#include "learning.h"

#define ROWS 6  // of a tile of a product

#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

// LANES rows of so many numbers, the other way round: blocks of 1, 2, 4, ... numbers change places across the diagonal.
INLINE void turn_square(const float *from, int64_t from_stride, float *to, int64_t stride) {
    vf x[LANES], y[LANES] = {{0}};
    for (int i = 0; i < LANES; i++) x[i] = load(from + i * from_stride);
#if LANES == 16
#define STAGE(STEP, LOW, HIGH) \
    for (int i = 0; i < LANES; i++) \
        if (!(i & STEP)) y[i] = MIX(x[i], x[i + STEP], LOW), y[i + STEP] = MIX(x[i], x[i + STEP], HIGH); \
    for (int i = 0; i < LANES; i++) x[i] = y[i];
#define LIST(...) __VA_ARGS__
    STAGE(1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
    STAGE(2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    STAGE(4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
          LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    STAGE(8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
          LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#undef STAGE
#else
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++) y[i][j] = x[j][i];
    for (int i = 0; i < LANES; i++) x[i] = y[i];
#endif
    for (int i = 0; i < LANES; i++) store(to + i * stride, x[i]);
}

// out (rows, vectors) of a (rows, depth) and b (depth, vectors), or that much more; rows and vectors are constants.
#define TILE(R, V) \
    INLINE void tile_##R##_##V(const float *a, int64_t a_row, int64_t a_deep, const float *b, int64_t b_row, \
                               int64_t depth, float *out, int64_t out_row, int more) { \
        vf sums[R][V]; \
        for (int r = 0; r < R; r++) \
            for (int v = 0; v < V; v++) sums[r][v] = more ? load(out + r * out_row + v * LANES) : all(0); \
        for (int64_t k = 0; k < depth; k++, a += a_deep, b += b_row) { \
            vf right[V]; \
            for (int v = 0; v < V; v++) right[v] = load(b + v * LANES); \
            for (int r = 0; r < R; r++) { \
                vf left = all(a[r * a_row]); \
                for (int v = 0; v < V; v++) sums[r][v] += left * right[v]; \
            } \
        } \
        for (int r = 0; r < R; r++) \
            for (int v = 0; v < V; v++) store(out + r * out_row + v * LANES, sums[r][v]); \
    }
TILE(6, 2) TILE(5, 2) TILE(4, 2) TILE(3, 2) TILE(2, 2) TILE(1, 2)
TILE(6, 1) TILE(5, 1) TILE(4, 1) TILE(3, 1) TILE(2, 1) TILE(1, 1)

// out (rows, columns) = a (rows, depth) b (depth, columns), or += ; columns fill vectors, a's strides are free.
static void product(int64_t rows, int64_t columns, int64_t depth, const float *a, int64_t a_row, int64_t a_deep,
                    const float *b, int64_t b_row, float *out, int64_t out_row, int more) {
#define CASE(R, V) case R: tile_##R##_##V(a_at, a_row, a_deep, b + c, b_row, depth, to, out_row, more); break;
    for (int64_t r = 0; r < rows; r += ROWS) {
        int64_t some = rows - r < ROWS ? rows - r : ROWS, c = 0;
        const float *a_at = a + r * a_row;
        for (; c + 2 * LANES <= columns; c += 2 * LANES) {
            float *to = out + r * out_row + c;
            switch (some) { CASE(6, 2) CASE(5, 2) CASE(4, 2) CASE(3, 2) CASE(2, 2) CASE(1, 2) }
        }
        if (c < columns) {
            float *to = out + r * out_row + c;
            switch (some) { CASE(6, 1) CASE(5, 1) CASE(4, 1) CASE(3, 1) CASE(2, 1) CASE(1, 1) }
        }
    }
#undef CASE
}
