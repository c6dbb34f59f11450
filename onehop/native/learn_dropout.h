// Dropout, alone or of what is added to a residual stream: one pass over the numbers, and nothing kept for the way back.

#pragma once

#include "learning.h"

#define STRIP 16384  // numbers that a thread takes at once

// to = base + what is dropped of from, or without a base. `type` is that of `from`, `to_type` that of base and `to`.
typedef struct {
    int64_t type, to_type, count;
    Dropping dropping;
    const char *from, *base;
    char *to;
    atomic_long next;
} Strip;

INLINE void drop_strip(const Strip *strip, int64_t type, int64_t to_type, int based, int64_t first, int64_t last) {
    int64_t i = first;
    for (; i + LANES <= last; i += LANES) {
        vf x = dropped(&strip->dropping, i / LANES, load_as(type, strip->from + i * bytes_of(type)));
        if (based) x += load_as(to_type, strip->base + i * bytes_of(to_type));
        store_as(to_type, strip->to + i * bytes_of(to_type), x);
    }
    if (i == last) return;
    char from[4 * LANES] = {0}, base[4 * LANES] = {0}, to[4 * LANES];
    memcpy(from, strip->from + i * bytes_of(type), (last - i) * bytes_of(type));
    if (based) memcpy(base, strip->base + i * bytes_of(to_type), (last - i) * bytes_of(to_type));
    vf x = dropped(&strip->dropping, i / LANES, load_as(type, from));
    store_as(to_type, to, based ? x + load_as(to_type, base) : x);
    memcpy(strip->to + i * bytes_of(to_type), to, (last - i) * bytes_of(to_type));
}

static void drop_part(void *data) {
    Strip *s = data;
    for (int64_t first; (first = atomic_fetch_add(&s->next, STRIP)) < s->count;) {
        int64_t last = first + STRIP < s->count ? first + STRIP : s->count;
#define CASE(A, B) if (s->type == A && s->to_type == B) { \
            if (s->base) drop_strip(s, A, B, 1, first, last); \
            else drop_strip(s, A, B, 0, first, last); \
        }
        CASE(FLOAT32, FLOAT32) CASE(FLOAT32, BFLOAT16) CASE(BFLOAT16, FLOAT32) CASE(BFLOAT16, BFLOAT16)
#undef CASE
    }
}
