// A linear map and its gradients in float32. Its states come from far memory and go there, while its weights are small:
// rows go by once, in their order, and blocks of the weights stay near. A library that first copies rows into an order of
// its own waits for memory twice.

#pragma once

#include "learn_product.h"

#define STRIPE 96      // rows that a thread takes at once, at most
#define DEPTH 512      // of a block of the second matrix
#define NEAR 65536     // floats of one, at most
#define TOGETHER 128   // rows of states that add to the gradient of the weights at once

// out (rows, columns) = states (rows, depth) by weights (depth, columns), and `bias`, if there is one, to each row.
typedef struct {
    int64_t rows, depth, columns, stripe;
    const float *states, *weights, *bias;
    float *out;
    atomic_long next;
} Map;

static void map_part(void *data) {
    Map *job = data;
    int64_t deep = job->depth < DEPTH ? job->depth : DEPTH, wide = NEAR / deep / (2 * LANES) * 2 * LANES;
    for (int64_t first; (first = atomic_fetch_add(&job->next, job->stripe)) < job->rows;) {
        int64_t rows = job->rows - first < job->stripe ? job->rows - first : job->stripe;
        const float *states = job->states + first * job->depth;
        float *out = job->out + first * job->columns;
        for (int64_t c = 0; c < job->columns; c += wide)
            for (int64_t k = 0; k < job->depth; k += deep) {
                int64_t columns = job->columns - c < wide ? job->columns - c : wide;
                int64_t depth = job->depth - k < deep ? job->depth - k : deep;
                product(rows, columns, depth, states + k, job->depth, 1, job->weights + k * job->columns + c,
                        job->columns, out + c, job->columns, k > 0);
            }
        for (int64_t t = 0; job->bias && t < rows; t++)
            for (int64_t c = 0; c < job->columns; c += LANES)
                store(out + t * job->columns + c, load(out + t * job->columns + c) + load(job->bias + c));
    }
}

// out (columns, depth) = the gradients (rows, columns) of what a map returned, turned over, by its states (rows, depth).
typedef struct {
    int64_t rows, depth, columns, stripe;
    const float *gradients, *states;
    float *out;
    atomic_long next;
} Weighing;

static void weighing_part(void *data) {
    Weighing *job = data;
    for (int64_t first; (first = atomic_fetch_add(&job->next, job->stripe)) < job->columns;) {
        int64_t columns = job->columns - first < job->stripe ? job->columns - first : job->stripe;
        for (int64_t r = 0; r < job->rows; r += TOGETHER)
            product(columns, job->depth, job->rows - r < TOGETHER ? job->rows - r : TOGETHER,
                    job->gradients + r * job->columns + first, 1, job->columns, job->states + r * job->depth, job->depth,
                    job->out + first * job->depth, job->depth, r > 0);
    }
}

// Parts that all threads have about as many of, each of whole tiles.
INLINE int64_t even_stripe(int64_t count, int64_t most, int threads) {
    int64_t parts = (count + most - 1) / most, each;
    parts = (parts + threads - 1) / threads * threads;
    each = (count + parts - 1) / parts;
    return (each + ROWS - 1) / ROWS * ROWS;
}

// (rows, columns) the other way round, both multiples of LANES.
static void turn_matrix(const float *from, int64_t rows, int64_t columns, float *to) {
    for (int64_t r = 0; r < rows; r += LANES)
        for (int64_t c = 0; c < columns; c += LANES) turn_square(from + r * columns + c, columns, to + c * rows + r, rows);
}
