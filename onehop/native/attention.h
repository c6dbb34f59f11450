// Attention of one query over keys that lie where they were written, and of whole sentences over themselves.

#pragma once

#include "matrix.h"

INLINE int64_t whole_lanes(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

INLINE float dot(const float *a, const float *b, int64_t width) {
    vf one = {0}, two = {0};
    int64_t d = 0;
    for (; d + 2 * LANES <= width; d += 2 * LANES) {
        one += load(a + d) * load(b + d);
        two += load(a + d + LANES) * load(b + d + LANES);
    }
    for (; d + LANES <= width; d += LANES) one += load(a + d) * load(b + d);
    float total = sum(one + two);
    for (; d < width; d++) total += a[d] * b[d];
    return total;
}

// out = the values, `width` numbers each, averaged by `weights`; `at(i)` is where value i stands.
#define AVERAGE(out, width, count, weights, at) do { \
    int64_t d_ = 0; \
    for (; d_ + 4 * LANES <= (width); d_ += 4 * LANES) { \
        vf a_ = {0}, b_ = {0}, c_ = {0}, e_ = {0}; \
        for (int64_t i = 0; i < (count); i++) { \
            const float *v_ = (at) + d_; vf w_ = all((weights)[i]); \
            a_ += w_ * load(v_); b_ += w_ * load(v_ + LANES); \
            c_ += w_ * load(v_ + 2 * LANES); e_ += w_ * load(v_ + 3 * LANES); \
        } \
        store((out) + d_, a_); store((out) + d_ + LANES, b_); \
        store((out) + d_ + 2 * LANES, c_); store((out) + d_ + 3 * LANES, e_); \
    } \
    for (; d_ + LANES <= (width); d_ += LANES) { \
        vf a_ = {0}; \
        for (int64_t i = 0; i < (count); i++) a_ += all((weights)[i]) * load((at) + d_); \
        store((out) + d_, a_); \
    } \
    for (; d_ < (width); d_++) { \
        float a_ = 0; \
        for (int64_t i = 0; i < (count); i++) a_ += (weights)[i] * (at)[d_]; \
        (out)[d_] = a_; \
    } \
} while (0)

// Turn each pair of numbers by the angle of its position (rotary positions).
static void turn(float *x, int64_t width, const float *cosines, const float *sines) {
    for (int64_t i = 0; i < width / 2; i++) {
        float even = x[2 * i], odd = x[2 * i + 1];
        x[2 * i] = even * cosines[i] - odd * sines[i];
        x[2 * i + 1] = even * sines[i] + odd * cosines[i];
    }
}

// The source of an example, for one layer: keys (G K, S') with the position last, then values (S', G K); S' is S up to
// whole vectors. One query over its group's part of it; `scores` has room for S'.
static void read_source(const float *query, float scale, const float *keys, const float *values, int64_t width,
                        int64_t stride, int64_t size, float *scores, float *out) {
    int64_t padded = whole_lanes(size);
    for (int64_t s = 0; s < padded; s += LANES) {
        vf a = {0}, b = {0}, c = {0}, e = {0};
        const float *k = keys + s;
        int64_t d = 0;
        for (; d + 4 <= width; d += 4, k += 4 * padded) {
            a += all(query[d]) * load(k);
            b += all(query[d + 1]) * load(k + padded);
            c += all(query[d + 2]) * load(k + 2 * padded);
            e += all(query[d + 3]) * load(k + 3 * padded);
        }
        for (; d < width; d++, k += padded) a += all(query[d]) * load(k);
        store(scores + s, ((a + b) + (c + e)) * scale);
    }
    softmax(scores, size);
    AVERAGE(out, width, size, scores, values + i * stride);
}

// Keys and values (S, 2 G K) of a source, as they come from their product, into the form that `read_source` reads.
static void keep_source(const float *both, int64_t size, int64_t numbers, int64_t first, int64_t last, float *to) {
    int64_t padded = whole_lanes(size);
    float *values = to + numbers * padded;
    for (int64_t d = first; d < last; d++) {
        for (int64_t s = 0; s < size; s++) to[d * padded + s] = both[s * 2 * numbers + d];
        for (int64_t s = size; s < padded; s++) to[d * padded + s] = 0;
    }
    for (int64_t s = 0; s < size; s++)
        for (int64_t d = first; d < last; d++) values[s * numbers + d] = both[s * 2 * numbers + numbers + d];
}

#define QUERIES 48  // read at once: memory grows with the length, not with its square

typedef struct {
    float *keys, *values, *scores;  // a group's, in panels; and the scores of `QUERIES`
} Panels;

INLINE size_t panel_bytes(int64_t size, int64_t width) {
    int64_t keys = (size + PANEL - 1) / PANEL * PANEL, wide = (width + PANEL - 1) / PANEL * PANEL;
    return (keys * width + wide * size + QUERIES * keys) * 4 + 3 * 64;
}

// A sentence over itself: heads of one group. Rows of `joint` hold queries, keys and values of all heads. With a
// `window` a position reads so many on either side of it, and no product is made of panels that none of its rows reads.
static void read_itself(const float *queries, const float *keys, const float *values, int64_t stride, int64_t size,
                        int64_t width, int64_t heads, float scale, int64_t window, Panels *room, float *out,
                        int64_t out_stride) {
    Matrix k = {FLOAT, size, width, room->keys}, v = {FLOAT, width, size, room->values};
    int64_t wide = panels(&k) * PANEL;
    memset(room->keys, 0, wide * width * 4);
    for (int64_t s = 0; s < size; s++) {
        float *to = room->keys + s / PANEL * PANEL * width + s % PANEL;
        for (int64_t d = 0; d < width; d++) to[d * PANEL] = keys[s * stride + d];
    }
    for (int64_t p = 0; p < panels(&v); p++) {
        int64_t there = width - p * PANEL < PANEL ? width - p * PANEL : PANEL;
        for (int64_t s = 0; s < size; s++) {
            float *to = room->values + (p * size + s) * PANEL;
            memcpy(to, values + s * stride + p * PANEL, there * 4);
            for (int64_t j = there; j < PANEL; j++) to[j] = 0;
        }
    }
    for (int64_t h = 0; h < heads; h++)
        for (int64_t begin = 0; begin < size; begin += QUERIES) {
            int64_t rows = size - begin < QUERIES ? size - begin : QUERIES;
            int64_t from = window < 0 || begin < window ? 0 : (begin - window) / PANEL * PANEL, to = size;
            if (window >= 0 && begin + rows + window < size) to = begin + rows + window;
            Into scores = {room->scores, wide, PLAIN};
            product(&k, queries + h * width + begin * stride, stride, 0, rows, from / PANEL, (to + PANEL - 1) / PANEL,
                    &scores);
            for (int64_t i = 0; i < rows; i++) {
                float *row = room->scores + i * wide;
                for (int64_t s = from; s < to; s += LANES) store(row + s, load(row + s) * scale);
                if (window >= 0) {
                    for (int64_t s = from; s < begin + i - window; s++) row[s] = -INFINITY;
                    for (int64_t s = begin + i + window + 1; s < to; s++) row[s] = -INFINITY;
                }
                softmax(row + from, to - from);
            }
            Into context = {out + h * width + begin * out_stride, out_stride, PLAIN};
            if (to - from == size) {
                product(&v, room->scores, wide, 0, rows, 0, panels(&v), &context);
                continue;
            }
            for (int64_t p = 0; p < panels(&v); p++) {
                int64_t columns = width - p * PANEL < PANEL ? width - p * PANEL : PANEL;
                Matrix part = {FLOAT, columns, to - from, room->values + (p * size + from) * PANEL};
                context.at = out + h * width + begin * out_stride + p * PANEL;
                product(&part, room->scores + from, wide, 0, rows, 0, 1, &context);
            }
        }
}
