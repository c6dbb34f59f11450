// Losses of rows of logits, and their gradients in place of the logits: what lies in the nearest memory is read thrice,
// where torch would write a row several times.

#pragma once

#include "learning.h"

#define SOME 4  // rows or pairs that a thread takes at once

// Row i has `targets[i]`, and its loss is the cross-entropy without the part of the smoothed target that is the same for
// every token: `share` is the target's part. With `paired`, rows 2i and 2i + 1 are one position read twice (R-Drop), and
// `alpha / 2` times both divergences between them come to the first one's loss.
typedef struct {
    int64_t type, rows, size, row, paired;
    float share, alpha;
    char *logits;
    const int64_t *targets;
    float *losses;
    atomic_long next;
} Losses;

typedef struct { float largest, total, norm; } Norm;

INLINE vf part_of(int64_t type, const char *row, int64_t at, int64_t size, float fill) {
    if (at + LANES <= size) return load_as(type, row + at * bytes_of(type));
    char few[4 * LANES];
    memcpy(few, row + at * bytes_of(type), (size - at) * bytes_of(type));
    vf x = load_as(type, few);
    vi lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return choose(lane < (vi){0} + (int32_t)(size - at), x, all(fill));
}

INLINE void put_part(int64_t type, char *row, int64_t at, int64_t size, vf x) {
    if (at + LANES <= size) {
        store_as(type, row + at * bytes_of(type), x);
        return;
    }
    char few[4 * LANES];
    store_as(type, few, x);
    memcpy(row + at * bytes_of(type), few, (size - at) * bytes_of(type));
}

INLINE float number_at(int64_t type, const char *row, int64_t at) {
    if (type == FLOAT32) return ((const float *)row)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)row)[at] << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

INLINE Norm norm_of(int64_t type, const char *row, int64_t size) {
    vf most = all(-INFINITY), total = {0};
    for (int64_t i = 0; i < size; i += LANES) most = larger(part_of(type, row, i, size, -INFINITY), most);
    float top = greatest(most);
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) total += exponential(load_as(type, row + i * bytes_of(type)) - top);
    if (i < size) {
        vf x = part_of(type, row, i, size, -INFINITY);
        total += choose(x == all(-INFINITY), all(0), exponential(x - top));
    }
    float whole_sum = sum(total);
    return (Norm){top, whole_sum, top + logf(whole_sum)};
}

INLINE void loss_of_row(const Losses *job, int64_t type, int64_t i) {
    char *row = job->logits + i * job->row * bytes_of(type);
    int64_t target = job->targets[i];
    Norm norm = norm_of(type, row, job->size);
    float chosen = number_at(type, row, target), scale = 1.0f / norm.total;
    job->losses[i] = norm.norm - job->share * chosen;
    for (int64_t s = 0; s < job->size; s += LANES) {
        vf probability = exponential(part_of(type, row, s, job->size, 0) - norm.largest) * scale;
        vi lane;
        for (int j = 0; j < LANES; j++) lane[j] = j;
        if ((uint64_t)(target - s) < LANES)
            probability = choose(lane == (vi){0} + (int32_t)(target - s), probability - job->share, probability);
        put_part(type, row, s, job->size, probability);
    }
}

INLINE void loss_of_pair(const Losses *job, int64_t type, int64_t i) {
    char *one = job->logits + i * job->row * bytes_of(type), *two = one + job->row * bytes_of(type);
    int64_t size = job->size, target = job->targets[i];
    Norm a = norm_of(type, one, size), b = norm_of(type, two, size);
    vf there = {0}, back = {0};
    for (int64_t s = 0; s < size; s += LANES) {
        vf x = part_of(type, one, s, size, -INFINITY) - a.norm, y = part_of(type, two, s, size, -INFINITY) - b.norm;
        vi real = (x > all(-INFINITY)) & (y > all(-INFINITY));
        vf gap = choose(real, x - y, all(0));
        there += exponential(x) * gap;
        back -= exponential(y) * gap;
    }
    float forth = sum(there), home = sum(back), half = job->alpha / 2;
    job->losses[i] = a.norm - job->share * number_at(type, one, target) + half * (forth + home);
    job->losses[i + 1] = b.norm - job->share * number_at(type, two, target);
    for (int64_t s = 0; s < size; s += LANES) {
        vf x = part_of(type, one, s, size, 0) - a.norm, y = part_of(type, two, s, size, 0) - b.norm;
        vf p = exponential(x), q = exponential(y), gap = x - y, apart = p - q;
        vf for_p = p + (p * (gap - forth) + apart) * half, for_q = q + (q * (-gap - home) - apart) * half;
        if ((uint64_t)(target - s) < LANES) {
            vi lane;
            for (int j = 0; j < LANES; j++) lane[j] = j;
            vi hit = lane == (vi){0} + (int32_t)(target - s);
            for_p = choose(hit, for_p - job->share, for_p), for_q = choose(hit, for_q - job->share, for_q);
        }
        put_part(type, one, s, size, for_p);
        put_part(type, two, s, size, for_q);
    }
}

INLINE void losses_of(const Losses *job, int64_t type, int paired, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i += paired ? 2 : 1)
        if (paired) loss_of_pair(job, type, i);
        else loss_of_row(job, type, i);
}

static void loss_part(void *data) {
    Losses *job = data;
    int64_t some = job->paired ? 2 * SOME : SOME;
    for (int64_t first; (first = atomic_fetch_add(&job->next, some)) < job->rows;) {
        int64_t last = first + some < job->rows ? first + some : job->rows;
        if (job->type == FLOAT32)
            if (job->paired) losses_of(job, FLOAT32, 1, first, last);
            else losses_of(job, FLOAT32, 0, first, last);
        else if (job->paired) losses_of(job, BFLOAT16, 1, first, last);
        else losses_of(job, BFLOAT16, 0, first, last);
    }
}
