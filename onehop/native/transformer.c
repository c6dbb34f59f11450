// A Transformer on a processor: encoder, projected source, one step of the decoder, vocabulary. Called by ctypes.

#include "additive.h"

#define EXPORT __attribute__((visibility("default")))
#define FEW 4       // rows of a thread below which columns are shared out
#define TIMES_HELD 32  // steps of a block of the cache

EXPORT int64_t kernel_lanes(void) { return LANES; }
EXPORT int64_t kernel_panel(void) { return PANEL; }
EXPORT int64_t kernel_int8(void) { return INT8; }
EXPORT int64_t kernel_bfloat16(void) { return BFLOAT16; }
EXPORT int64_t kernel_tiles(void) {
#if AMX
    return tiles_allowed;
#else
    return 0;
#endif
}
EXPORT int64_t kernel_times(void) { return TIMES_HELD; }

EXPORT int64_t packed_bytes(int64_t kind, int64_t outputs, int64_t inputs) {
    Matrix a = {kind, outputs, inputs};
    return panels(&a) * PANEL * groups(&a) * group(kind) * weight_bytes(kind);
}

EXPORT void pack_weights(int64_t kind, const void *from, int64_t outputs, int64_t inputs, void *to) {
    pack(kind, from, outputs, inputs, to);
}

// ------------------------------------------------------------------------------------------------ one linear map

typedef struct { const Matrix *a; const float *x; int64_t rows; float *out; } LinearJob;

static void linear_work(int thread, int threads, void *what) {
    const LinearJob *job = what;
    Team team = {thread, threads, job->rows < threads * FEW};
    int64_t begin = 0, end = job->rows, first, last;
    if (!team.split) share(job->rows, &team, &begin, &end);
    share_columns(panels(job->a), &team, &first, &last);
    int64_t rows = end - begin, k = job->a->inputs;
    take_scratch(rows * (row_bytes(job->a) + 4) + 256);
    void *rounded = part(rows * row_bytes(job->a));
    float *factors = part(rows * 4);
    const float *x = job->x + begin * k;
    round_rows(job->a, x, k, rows, rounded, factors);
    Into into = {job->out + begin * job->a->outputs, job->a->outputs, PLAIN};
    product(job->a, job->a->kind == FLOAT ? (const void *)x : rounded, k, factors, rows, first, last, &into);
}

EXPORT void linear(const Matrix *a, int threads, const float *x, int64_t rows, float *out) {
    LinearJob job = {a, x, rows, out};
    run(threads, linear_work, &job);
}

// The scores of additive attention, in the shapes of TanhJob.
EXPORT void tanh_sum(int threads, int64_t rows, int64_t heads, int64_t queries, int64_t keys, int64_t width,
                     const float *q, const float *k, const float *weight, float *out) {
    TanhJob job = {rows, heads, queries, keys, width, q, k, weight, out};
    run(threads, tanh_work, &job);
}

// ------------------------------------------------------------------------------------------------ encoder

typedef struct {
    const Stack *s;
    int64_t count;            // sentences
    const int64_t *tokens;    // of all of them, one behind the other; none where they come embedded
    const float *embedded;    // (tokens, D)
    const int64_t *begins;    // (count + 1,) where each begins
    float *out;               // (tokens, D)
    Room first;
} EncodeJob;

// Share out sentences so that each thread has about as many tokens.
static void share_sentences(const EncodeJob *job, const Team *team, int64_t *first, int64_t *last) {
    int64_t all = job->begins[job->count];
    int64_t from = all * team->thread / team->threads, to = all * (team->thread + 1) / team->threads, i = 0;
    while (i < job->count && job->begins[i] < from) i++;
    *first = i;
    while (i < job->count && job->begins[i] < to) i++;
    *last = team->thread == team->threads - 1 ? job->count : i;
}

static void encode_work(int thread, int threads, void *what) {
    EncodeJob *job = what;
    const Stack *s = job->s;
    Team team = {thread, threads, job->count < threads};
    int64_t first = 0, last = job->count, dim = s->dim, wide = joint_width(s), heads = s->heads / s->groups, longest = 0;
    if (!team.split) share_sentences(job, &team, &first, &last);
    int64_t begin = job->begins[first], rows = job->begins[last] - begin, group_first, group_last;
    for (int64_t i = first; i < last; i++) {
        int64_t size = job->begins[i + 1] - job->begins[i];
        longest = size > longest ? size : longest;
    }
    Room room;
    take_scratch(room_bytes(s, rows, 0) + panel_bytes(longest, s->width));
    take_room(s, rows, 0, &room);
    int64_t keys = (longest + PANEL - 1) / PANEL * PANEL, values = (s->width + PANEL - 1) / PANEL * PANEL;
    Panels panel = {part(keys * s->width * 4), part(values * longest * 4), part(QUERIES * keys * 4)};
    join_rooms(&team, &room, &job->first);
    share_columns(s->groups, &team, &group_first, &group_last);
    if (job->embedded) memcpy(room.x, job->embedded + begin * dim, rows * dim * 4);
    else
        for (int64_t i = first; i < last; i++)
            for (int64_t t = job->begins[i]; t < job->begins[i + 1]; t++)
                embed(s, job->tokens[t], t - job->begins[i], room.x + (t - begin) * dim);
    for (int64_t l = 0; l < s->layers; l++) {
        const Layer *layer = s->layer + l;
        const Norm *before = s->before ? &layer->norms[0] : 0;
        read_rows(before, &layer->joint, &room, rows, dim);
        multiply(&team, &layer->joint, &room, before ? room.y : room.x, rows, (Into){room.wide, wide, PLAIN});
        meet_team(&team);
        for (int64_t i = first; i < last; i++) {
            int64_t size = job->begins[i + 1] - job->begins[i], at = job->begins[i] - begin;
            for (int64_t g = group_first; g < group_last; g++) {
                float *q = room.wide + at * wide + g * heads * s->width;
                float *k = room.wide + at * wide + (s->heads + g) * s->width, *v = k + s->groups * s->width;
                for (int64_t t = 0; t < size && layer->cosines; t++) {
                    turn_heads(s, layer, q + t * wide, heads, t);
                    turn_heads(s, layer, k + t * wide, 1, t);
                }
                float *to = room.context + (at * s->heads + g * heads) * s->width;
                read_itself(q, k, v, wide, size, s->width, heads, (float)s->self_scale, layer->window, &panel, to,
                            s->heads * s->width);
            }
        }
        meet_team(&team);
        add_and_norm(&team, &layer->out, s->before ? 0 : &layer->norms[0], &room, room.context, rows, dim);
        feed_forward(&team, s, layer, &room, rows);
    }
    if (!team.split || thread == 0)
        for (int64_t i = 0; i < rows; i++) normalise(&s->last, room.x + i * dim, job->out + (begin + i) * dim, dim);
}

EXPORT void encode(const Stack *s, int threads, int64_t count, const int64_t *tokens, const float *embedded,
                   const int64_t *begins, float *out) {
    EncodeJob job = {s, count, tokens, embedded, begins, out};
    run(threads, encode_work, &job);
}

// ------------------------------------------------------------------------------------------------ the source, projected

typedef struct {
    const Stack *s;
    int64_t count;
    const float *states;      // (tokens, D)
    const int64_t *begins;
    float *const *kept;       // of each sentence: (L, 2, G K, S')
    Room first;
} KeepJob;

EXPORT int64_t kept_floats(const Stack *s, int64_t size) {
    return s->layers * 2 * s->cross_groups * s->width * whole_lanes(size);
}

static void keep_work(int thread, int threads, void *what) {
    KeepJob *job = what;
    const Stack *s = job->s;
    Team team = {thread, threads, job->count < threads};
    EncodeJob sentences = {.begins = job->begins, .count = job->count};
    int64_t first = 0, last = job->count, numbers = s->cross_groups * s->width, from, to;
    if (!team.split) share_sentences(&sentences, &team, &first, &last);
    int64_t begin = job->begins[first], rows = job->begins[last] - begin;
    Room room;
    take_scratch(room_bytes(s, rows, 0));
    take_room(s, rows, 0, &room);
    join_rooms(&team, &room, &job->first);
    share_columns(numbers, &team, &from, &to);
    const float *states = job->states + begin * s->dim;
    for (int64_t l = 0; l < s->layers; l++) {
        const Matrix *source = &s->layer[l].source;
        round_rows(source, states, s->dim, rows, room.rounded, room.factors);
        multiply(&team, source, &room, states, rows, (Into){room.wide, 2 * numbers, PLAIN});
        meet_team(&team);
        for (int64_t i = first; i < last; i++) {
            int64_t size = job->begins[i + 1] - job->begins[i], at = job->begins[i] - begin;
            float *kept = job->kept[i] + l * 2 * numbers * whole_lanes(size);
            keep_source(room.wide + at * 2 * numbers, size, numbers, from, to, kept);
        }
        meet_team(&team);
    }
}

EXPORT void keep(const Stack *s, int threads, int64_t count, const float *states, const int64_t *begins, float **kept) {
    KeepJob job = {s, count, states, begins, kept};
    run(threads, keep_work, &job);
}

// ------------------------------------------------------------------------------------------------ one step

typedef struct {
    const Stack *s;
    int64_t rows, beams, slots, stride;
    const int64_t *tokens, *times, *own, *past;  // (R,); (R,) tokens before; (R,) slots; (R, stride) slots of the past
    float *const *blocks;                        // of the cache, by time: (L, TIMES_HELD, 2, slots, G K)
    float *const *sources;                       // of the examples, from `keep`
    const int64_t *sizes;                        // of their sources
    float *hidden;                               // (R, D)
    Room first;
} StepJob;

INLINE float *cell(const StepJob *job, int64_t layer, int64_t time, int64_t which, int64_t slot) {
    int64_t row = ((layer * TIMES_HELD + time % TIMES_HELD) * 2 + which) * job->slots + slot;
    return job->blocks[time / TIMES_HELD] + row * job->s->groups * job->s->width;
}

#define AHEAD 3  // keys that are on their way while one is read

INLINE void fetch(const float *at, int64_t width) {
    for (int64_t d = 0; d < width; d += 16) __builtin_prefetch(at + d);
}

static void recall(const StepJob *job, int64_t l, int64_t row, int64_t first, int64_t last, float *joint, float *scores,
                   float *out) {
    const Stack *s = job->s;
    int64_t time = job->times[row], width = s->width, heads = s->heads / s->groups;
    const int64_t *past = job->past + row * job->stride;
    for (int64_t g = first; g < last; g++) {
        float *q = joint + g * heads * width, *k = joint + (s->heads + g) * width, *v = k + s->groups * width;
        turn_heads(s, s->layer + l, q, heads, time);
        turn_heads(s, s->layer + l, k, 1, time);
        memcpy(cell(job, l, time, 0, job->own[row]) + g * width, k, width * 4);
        memcpy(cell(job, l, time, 1, job->own[row]) + g * width, v, width * 4);
        for (int64_t h = 0; h < heads; h++) {
            const float *query = q + h * width;
            for (int64_t t = 0; t < time; t++) {
                if (t + AHEAD < time) fetch(cell(job, l, t + AHEAD, 0, past[t + AHEAD]) + g * width, width);
                fetch(cell(job, l, t, 1, past[t]) + g * width, width);
                scores[t] = dot(query, cell(job, l, t, 0, past[t]) + g * width, width) * (float)s->self_scale;
            }
            scores[time] = dot(query, k, width) * (float)s->self_scale;
            softmax(scores, time + 1);
            AVERAGE(out + (g * heads + h) * width, width, time + 1, scores,
                    i < time ? cell(job, l, i, 1, past[i]) + g * width : v);
        }
    }
}

static void step_work(int thread, int threads, void *what) {
    StepJob *job = what;
    const Stack *s = job->s;
    Team team = {thread, threads, job->rows < threads * FEW};
    int64_t begin = 0, end = job->rows, dim = s->dim, wide = joint_width(s), most = 0, first, last;
    if (!team.split) share(job->rows, &team, &begin, &end);
    int64_t rows = end - begin, context = s->heads * s->width;
    for (int64_t i = begin; i < end; i++) {
        int64_t size = job->sizes[i / job->beams], time = job->times[i] + 1;
        most = most > size ? most : size, most = most > time ? most : time;
    }
    Room room;
    most = whole_lanes(most);
    take_scratch(room_bytes(s, rows, most));
    take_room(s, rows, most, &room);
    join_rooms(&team, &room, &job->first);
    for (int64_t i = 0; i < rows; i++) embed(s, job->tokens[begin + i], job->times[begin + i], room.x + i * dim);
    for (int64_t l = 0; l < s->layers; l++) {
        const Layer *layer = s->layer + l;
        const Norm *norms = layer->norms, *before = s->before ? norms : 0, *after = s->before ? 0 : norms;
        read_rows(before, &layer->joint, &room, rows, dim);
        multiply(&team, &layer->joint, &room, before ? room.y : room.x, rows, (Into){room.wide, wide, PLAIN});
        meet_team(&team);
        share_columns(s->groups, &team, &first, &last);
        for (int64_t i = 0; i < rows; i++)
            recall(job, l, begin + i, first, last, room.wide + i * wide, room.scores, room.context + i * context);
        meet_team(&team);
        add_and_norm(&team, &layer->out, after, &room, room.context, rows, dim);

        read_rows(before ? norms + 1 : 0, &layer->ask, &room, rows, dim);
        multiply(&team, &layer->ask, &room, before ? room.y : room.x, rows, (Into){room.wide, context, PLAIN});
        meet_team(&team);
        share_columns(s->heads, &team, &first, &last);
        int64_t numbers = s->cross_groups * s->width, heads = s->heads / s->cross_groups;
        for (int64_t i = 0; i < rows; i++) {
            int64_t example = (begin + i) / job->beams, size = job->sizes[example], padded = whole_lanes(size);
            const float *keys = job->sources[example] + l * 2 * numbers * padded, *values = keys + numbers * padded;
            for (int64_t h = first; h < last; h++) {
                int64_t g = h / heads * s->width, at = i * context + h * s->width;
                read_source(room.wide + at, (float)s->cross_scale, keys + g * padded, values + g, s->width, numbers,
                            size, room.scores, room.context + at);
            }
        }
        meet_team(&team);
        add_and_norm(&team, &layer->tell, after ? norms + 1 : 0, &room, room.context, rows, dim);
        feed_forward(&team, s, layer, &room, rows);
    }
    if (!team.split || thread == 0)
        for (int64_t i = 0; i < rows; i++) normalise(&s->last, room.x + i * dim, job->hidden + (begin + i) * dim, dim);
}

EXPORT void step(const Stack *s, int threads, int64_t rows, int64_t beams, int64_t slots, int64_t stride,
                 const int64_t *tokens, const int64_t *times, const int64_t *own, const int64_t *past, float **blocks,
                 float **sources, const int64_t *sizes, float *hidden) {
    StepJob job = {s, rows, beams, slots, stride, tokens, times, own, past, blocks, sources, sizes, hidden};
    run(threads, step_work, &job);
}

// ------------------------------------------------------------------------------------------------ the vocabulary

#define MOST_BEST 64
#define AT_ONCE 16  // panels whose logits are held at once

typedef struct { float top, total, score[MOST_BEST]; int64_t token[MOST_BEST]; int count; } Best;

typedef struct {
    const Matrix *a;
    const float *hidden;
    int64_t rows, count;
    int split;
    Best *all;  // (threads, R) where columns are shared out, else (R,)
} BestJob;

static void offer(Best *best, int wanted, float score, int64_t token) {
    if (best->count == wanted && !(score > best->score[wanted - 1])) return;
    int at = best->count < wanted ? best->count++ : wanted - 1;
    for (; at && best->score[at - 1] < score; at--)
        best->score[at] = best->score[at - 1], best->token[at] = best->token[at - 1];
    best->score[at] = score, best->token[at] = token;
}

// Take `count` logits of a row, of the tokens from `first`: the best of them, and the sum of their exponentials.
static void see(Best *best, int wanted, float *logits, int64_t count, int64_t first) {
    int64_t whole = whole_lanes(count);
    for (int64_t i = count; i < whole; i++) logits[i] = -INFINITY;
    vf tops = all(-INFINITY), total = {0};
    for (int64_t i = 0; i < whole; i += LANES) tops = larger(tops, load(logits + i));
    float top = greatest(tops);
    if (top > best->top) best->total *= expf(best->top - top), best->top = top;
    vf highest = all(best->top);
    for (int64_t i = 0; i < whole; i += LANES) {
        vf x = load(logits + i);
        total += choose(x == all(-INFINITY), all(0), exponential(x - highest));
    }
    best->total += sum(total);
    float least = best->count == wanted ? best->score[wanted - 1] : -INFINITY;
    if (!(top > least) && best->count == wanted) return;
    for (int64_t i = 0; i < whole; i += LANES) {
        if (best->count == wanted && !any_above(load(logits + i), all(best->score[wanted - 1]))) continue;
        for (int64_t j = i; j < i + LANES && j < count; j++) offer(best, wanted, logits[j], first + j);
    }
}

static void best_work(int thread, int threads, void *what) {
    const BestJob *job = what;
    const Matrix *a = job->a;
    Team team = {thread, threads, job->split};
    int64_t begin = 0, end = job->rows, first, last;
    if (!team.split) share(job->rows, &team, &begin, &end);
    share_columns(panels(a), &team, &first, &last);
    int64_t rows = end - begin, k = a->inputs, chunk = AT_ONCE * PANEL;
    take_scratch(rows * (row_bytes(a) + 4 + chunk * 4) + 512);
    void *rounded = part(rows * row_bytes(a));
    float *factors = part(rows * 4), *logits = part(rows * chunk * 4);
    Best *best = job->all + (team.split ? thread * rows : begin);
    const float *x = job->hidden + begin * k;
    round_rows(a, x, k, rows, rounded, factors);
    for (int64_t panel = first; panel < last; panel += AT_ONCE) {
        int64_t to = panel + AT_ONCE < last ? panel + AT_ONCE : last, token = panel * PANEL;
        int64_t count = to * PANEL < a->outputs ? (to - panel) * PANEL : a->outputs - token;
        Into into = {logits - token, chunk, PLAIN};
        product(a, a->kind == FLOAT ? (const void *)x : rounded, k, factors, rows, panel, to, &into);
        for (int64_t i = 0; i < rows; i++) see(best + i, (int)job->count, logits + i * chunk, count, token);
    }
}

static void join_best(Best *one, const Best *other, int wanted) {
    float top = other->top > one->top ? other->top : one->top;
    if (!other->count) return;
    one->total = one->total * expf(one->top - top) + other->total * expf(other->top - top);
    one->top = top;
    for (int j = 0; j < other->count; j++) offer(one, wanted, other->score[j], other->token[j]);
}

// The `count` best tokens of each row, best first, and their log-probabilities.
EXPORT void best(const Matrix *a, int threads, const float *hidden, int64_t rows, int64_t count, float *scores,
                 int64_t *tokens) {
    int split = rows < threads * FEW, parts = split ? threads : 1;
    if (count > MOST_BEST) abort();
    if (!rows || count < 1) return;
    BestJob job = {a, hidden, rows, count, split, malloc(parts * rows * sizeof(Best))};
    if (!job.all) abort();
    for (int64_t i = 0; i < parts * rows; i++) job.all[i].top = -INFINITY, job.all[i].total = 0, job.all[i].count = 0;
    run(threads, best_work, &job);
    for (int64_t row = 0; row < rows; row++) {
        Best *one = job.all + row;
        for (int t = 1; t < parts; t++) join_best(one, job.all + t * rows + row, (int)count);
        float total = one->top + logf(one->total);
        for (int64_t i = 0; i < count; i++) {
            int known = i < one->count;
            scores[row * count + i] = known ? one->score[i] - total : NAN;
            tokens[row * count + i] = known ? one->token[i] : 0;
        }
    }
    free(job.all);
}
