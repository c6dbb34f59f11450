// A stack of Transformer blocks as numbers and addresses, and what its sublayers have in common.

#pragma once

#include "attention.h"
#include "pool.h"

typedef struct { const float *weight, *bias; double eps; int64_t centred; } Norm;  // no weight: none; else the mean is taken off

typedef struct {
    Matrix joint, out;          // of self-attention: queries, keys and values in one; and behind the heads
    Matrix ask, source, tell;   // of cross-attention: queries; keys and values of the source; behind the heads
    Matrix up, gate, down;      // of the feed-forward network; `gate` has no weights where there is none
    Norm norms[3];
    int64_t window;             // positions on either side that self-attention reads; -1 for all
    const float *cosines, *sines;  // by which it turns queries and keys, by position; none where it does not
} Layer;

typedef struct {
    int64_t dim, width, heads, groups, cross_groups, layers, before, shape, vocabulary;
    double self_scale, cross_scale, embedding_scale;
    const float *embedding, *codes;  // tables by token and by position; none where there are none
    const Layer *layer;
    Norm last;
    Matrix output;
} Stack;

// Who shares a job. `split`: all threads have the same few rows and share out the columns; else each has rows of its own.
typedef struct { int thread, threads, split; } Team;

INLINE void share(int64_t all, const Team *team, int64_t *first, int64_t *last) {
    *first = all * team->thread / team->threads;
    *last = all * (team->thread + 1) / team->threads;
}

INLINE void share_columns(int64_t all, const Team *team, int64_t *first, int64_t *last) {
    *first = 0, *last = all;
    if (team->split) share(all, team, first, last);
}

INLINE void meet_team(const Team *team) { if (team->split) meet(team->threads); }

// What a team of rows works with. Where columns are shared out, `total`, `wide`, `context` and `inner` are everybody's.
typedef struct {
    float *x, *y, *own, *total, *wide, *context, *inner, *scores, *factors;
    char *rounded;
} Room;

static void normalise(const Norm *norm, const float *from, float *to, int64_t dim) {
    if (!norm->weight) {
        if (to != from) memcpy(to, from, dim * 4);
        return;
    }
    vf total = {0};
    float mean = 0, squares = 0;
    int64_t d = 0, whole = dim / LANES * LANES;
    if (norm->centred) {
        for (d = 0; d < whole; d += LANES) total += load(from + d);
        mean = sum(total);
        for (; d < dim; d++) mean += from[d];
        mean /= dim;
    }
    total = (vf){0};
    for (d = 0; d < whole; d += LANES) total += (load(from + d) - mean) * (load(from + d) - mean);
    squares = sum(total);
    for (; d < dim; d++) squares += (from[d] - mean) * (from[d] - mean);
    float scale = 1.0f / sqrtf(squares / dim + (float)norm->eps);
    for (d = 0; d < dim; d++) to[d] = (from[d] - mean) * scale * norm->weight[d] + (norm->bias ? norm->bias[d] : 0);
}

// y = what a sublayer reads of x, rounded for `a` too.
static void read_rows(const Norm *before, const Matrix *a, Room *room, int64_t rows, int64_t dim) {
    if (before) for (int64_t i = 0; i < rows; i++) normalise(before, room->x + i * dim, room->y + i * dim, dim);
    round_rows(a, before ? room->y : room->x, dim, rows, room->rounded, room->factors);
}

static void multiply(const Team *team, const Matrix *a, const Room *room, const float *x, int64_t rows, Into into) {
    int64_t first, last;
    share_columns(panels(a), team, &first, &last);
    product(a, a->kind == FLOAT ? (const void *)x : room->rounded, a->inputs, room->factors, rows, first, last, &into);
}

// x + a(rows), and the norm behind the sum.
static void add_and_norm(const Team *team, const Matrix *a, const Norm *after, Room *room, const float *rows_in,
                         int64_t rows, int64_t dim) {
    round_rows(a, rows_in, a->inputs, rows, room->rounded, room->factors);
    multiply(team, a, room, rows_in, rows, (Into){room->total, dim, PLAIN, room->x, dim});
    meet_team(team);
    for (int64_t i = 0; i < rows; i++) {
        const float *from = room->total + i * dim;
        float *to = room->x + i * dim;
        if (after) normalise(after, from, to, dim);
        else if (to != from) memcpy(to, from, dim * 4);
    }
}

static void feed_forward(const Team *team, const Stack *s, const Layer *layer, Room *room, int64_t rows) {
    const Norm *norm = &layer->norms[2], *before = s->before ? norm : 0;
    int64_t inner = layer->up.outputs;
    const float *in = before ? room->y : room->x;
    read_rows(before, &layer->up, room, rows, s->dim);
    if (layer->gate.weights) {
        multiply(team, &layer->gate, room, in, rows, (Into){room->inner, inner, (int)s->shape});
        multiply(team, &layer->up, room, in, rows, (Into){room->inner, inner, TIMES});
    } else {
        multiply(team, &layer->up, room, in, rows, (Into){room->inner, inner, (int)s->shape});
    }
    meet_team(team);
    add_and_norm(team, &layer->down, s->before ? 0 : norm, room, room->inner, rows, s->dim);
}

static void embed(const Stack *s, int64_t token, int64_t position, float *to) {
    const float *from = s->embedding + token * s->dim, *code = s->codes ? s->codes + position * s->dim : 0;
    float scale = (float)s->embedding_scale;
    if (token < 0 || token >= s->vocabulary) {  // no token: no numbers come of it
        for (int64_t d = 0; d < s->dim; d++) to[d] = NAN;
        return;
    }
    for (int64_t d = 0; d < s->dim; d++) to[d] = from[d] * scale + (code ? code[d] : 0);
}

static void turn_heads(const Stack *s, const Layer *layer, float *x, int64_t heads, int64_t position) {
    if (!layer->cosines) return;
    int64_t at = position * (s->width / 2);
    for (int64_t h = 0; h < heads; h++) turn(x + h * s->width, s->width, layer->cosines + at, layer->sines + at);
}

// ------------------------------------------------------------------------------------------------ memory

INLINE int64_t widest_inner(const Stack *s) {
    int64_t most = 0;
    for (int64_t l = 0; l < s->layers; l++)
        if (s->layer[l].up.outputs > most) most = s->layer[l].up.outputs;
    return most;
}

INLINE int64_t joint_width(const Stack *s) { return (s->heads + 2 * s->groups) * s->width; }

INLINE int64_t widest(const Stack *s) {
    int64_t own = joint_width(s), read = 2 * s->cross_groups * s->width;
    return own > read ? own : read;
}

static size_t room_bytes(const Stack *s, int64_t rows, int64_t scores) {
    int64_t inner = widest_inner(s), most = inner > s->dim ? inner : s->dim;
    int64_t context = s->heads * s->width;
    most = most > context ? most : context;
    return rows * (3 * s->dim + widest(s) + context + inner + 2 * most + 64) * 4 + scores * 4 + 1024;
}

static void take_room(const Stack *s, int64_t rows, int64_t scores, Room *room) {
    int64_t inner = widest_inner(s), most = inner > s->dim ? inner : s->dim, context = s->heads * s->width;
    most = most > context ? most : context;
    room->x = part(rows * s->dim * 4), room->y = part(rows * s->dim * 4), room->own = part(rows * s->dim * 4);
    room->wide = part(rows * widest(s) * 4), room->context = part(rows * context * 4);
    room->inner = part(rows * inner * 4), room->rounded = part(rows * (most + 64) * 2);  // groups are filled up
    room->factors = part(rows * 4), room->scores = part(scores * 4);
    room->total = room->x;
}

// Where columns are shared out, the first thread's room lends what all write to.
static void join_rooms(const Team *team, Room *room, Room *first) {
    if (!team->split) return;
    if (team->thread == 0) {
        *first = *room;
        first->total = room->own;
    }
    meet(team->threads);
    room->total = first->total, room->wide = first->wide, room->context = first->context, room->inner = first->inner;
}
