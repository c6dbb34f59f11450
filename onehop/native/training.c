// What runs in kernels while a model learns on a processor; called by ctypes. See `onehop.nn.kernels`.

#include "learn_attention.h"
#include "learn_dropout.h"
#include "learn_linear.h"
#include "learn_loss.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int64_t attend_plan(const int32_t *ranges, int64_t rows, int64_t queries, Block *plan, int64_t *ends) {
    return plan_blocks(ranges, rows, queries, plan, ends);
}

EXPORT void attend_forward(Job *job, int threads) {
    atomic_store(&job->next, 0);
    share_out(threads, attend_part, job);
}

EXPORT void attend_backward(Job *job, int threads) {
    atomic_store(&job->next, 0);
    share_out(threads, attend_back_part, job);
}

EXPORT void drop(Strip *strip, int threads) {
    atomic_store(&strip->next, 0);
    share_out(strip->count > STRIP ? threads : 1, drop_part, strip);
}

EXPORT void losses(Losses *job, int threads) {
    atomic_store(&job->next, 0);
    share_out(threads, loss_part, job);
}

// All sizes but the number of rows are multiples of `learn_lanes`.
EXPORT int64_t learn_lanes(void) { return LANES; }

EXPORT void turn(const float *from, int64_t rows, int64_t columns, float *to) { turn_matrix(from, rows, columns, to); }

EXPORT void map_rows(int64_t rows, int64_t depth, int64_t columns, const float *states, const float *weights,
                     const float *bias, float *out, int threads) {
    Map job = {rows, depth, columns, even_stripe(rows, STRIPE, threads), states, weights, bias, out};
    share_out(threads, map_part, &job);
}

EXPORT void weigh_rows(int64_t rows, int64_t depth, int64_t columns, const float *gradients, const float *states,
                       float *out, int threads) {
    Weighing job = {rows, depth, columns, even_stripe(columns, columns, threads), gradients, states, out};
    share_out(threads, weighing_part, &job);
}
