// v^T tanh(q + k): the score of additive attention, whose hidden layer is never held.

#pragma once

#include "stack.h"

typedef struct {
    int64_t rows, heads, queries, keys, width;  // rows: examples times heads
    const float *q, *k, *weight;                // (rows, queries, width), (rows, keys, width), (heads, width)
    float *out;                                 // (rows, queries, keys)
} TanhJob;

INLINE float tanh_sum_of(const float *q, const float *k, const float *weight, int64_t width) {
    vf total = {0};
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) total += load(weight + d) * hyperbolic_tangent(load(q + d) + load(k + d));
    float sum_of_all = sum(total);
    for (; d < width; d++) sum_of_all += weight[d] * tanhf(q[d] + k[d]);
    return sum_of_all;
}

static void tanh_work(int thread, int threads, void *what) {
    const TanhJob *job = what;
    Team team = {thread, threads, 0};
    int64_t begin, end, width = job->width;
    share(job->rows, &team, &begin, &end);
    for (int64_t row = begin; row < end; row++) {
        const float *weight = job->weight + row % job->heads * width;
        for (int64_t t = 0; t < job->queries; t++)
            for (int64_t s = 0; s < job->keys; s++)
                job->out[(row * job->queries + t) * job->keys + s] = tanh_sum_of(
                    job->q + (row * job->queries + t) * width, job->k + (row * job->keys + s) * width, weight, width);
    }
}
