// What runs in kernels while a model learns on a processor; called by ctypes. See `onehop.nn.kernels`.

#include "learn_attention.h"
#include "learn_dropout.h"
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
