// Attention while a model learns: sentences are short, so a head of one fits into the nearest memory, forward and back.
//
// Queries, keys and values are read where their joint product wrote them, and gradients are written as that product's
// way back reads them. Keys that no query of a block may read are not looked at: what is packed into one row costs what
// its sentences cost. Numbers between loading and storing are float32.

#pragma once

#include "learn_product.h"

#define BLOCK (2 * LANES)  // queries at most, of one block
#define MERGED 8    // queries that share a block even if they begin to read at different keys
#define CHUNK 16    // heads that a thread takes at once

// A tensor (B, H, T, width): bytes of nothing but numbers, the last axis without gaps; strides in numbers.
typedef struct { char *at; int64_t batch, head, row; } Tensor;

// Queries from `first` on, `rows` of them, read the keys [key, key + keys). Their weights stand at `offset` among those of
// a head, (keys, width): a lane is a query, so that what is summed over keys needs no sums within vectors.
typedef struct { int64_t first, rows, key, keys, width, offset; } Block;

// One call. `plan` holds the blocks of all rows, or of one for all; those of row b end at ends[b]. `ranges` are the first
// key and the first behind the last, for each query. `weights` has `size` numbers for each head.
typedef struct {
    int64_t type, batch, heads, groups, queries, keys, width, value_width, plans, size;
    float scale;
    Dropping dropping;
    const Block *plan;
    const int64_t *ends;
    const int32_t *ranges;
    float *weights;
    Tensor query, key, value, bias, out, out_gradient, query_gradient, key_gradient, value_gradient;
    atomic_long next;
} Job;

INLINE char *row_of(const Tensor *x, int64_t type, int64_t b, int64_t h, int64_t t) {
    return x->at + (b * x->batch + h * x->head + t * x->row) * bytes_of(type);
}

INLINE void read_row(int64_t type, const char *from, int64_t count, float *to) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store(to + i, load_as(type, from + i * bytes_of(type)));
    for (; i < count; i++)
        if (type == FLOAT32) to[i] = ((const float *)from)[i];
        else ((uint32_t *)to)[i] = (uint32_t)((const uint16_t *)from)[i] << 16;
}

INLINE void write_row(int64_t type, const float *from, int64_t count, char *to) {
    char rest[4 * LANES];
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) store_as(type, to + i * bytes_of(type), load(from + i));
    if (i == count) return;
    store_as(type, rest, load(from + i));  // rows are filled up to whole vectors
    memcpy(to + i * bytes_of(type), rest, (count - i) * bytes_of(type));
}

// Rows as float32, `stride` numbers from one to the next: where they lie, if they are such and fill vectors, or copied.
typedef struct { float *at; int64_t stride; } Rows;

INLINE int in_place(const Job *job, int64_t width) { return job->type == FLOAT32 && width % LANES == 0; }

INLINE Rows rows_for(const Job *job, const Tensor *x, int64_t b, int64_t h, int64_t first, int64_t width, float *room) {
    if (in_place(job, width)) return (Rows){(float *)row_of(x, FLOAT32, b, h, first), x->row};
    return (Rows){room, whole(width)};
}

static Rows read_rows(const Job *job, const Tensor *x, int64_t b, int64_t h, int64_t first, int64_t count, int64_t width,
                      float *room) {
    Rows rows = rows_for(job, x, b, h, first, width, room);
    if (rows.at != room) return rows;
    for (int64_t t = 0; t < count; t++) {
        float *to = room + t * rows.stride;
        read_row(job->type, row_of(x, job->type, b, h, first + t), width, to);
        for (int64_t i = width; i < rows.stride; i++) to[i] = 0;
    }
    return rows;
}

// The way back of `rows_for`: nothing is left to do for rows that were written where they lie.
static void write_rows(const Job *job, const Tensor *x, int64_t b, int64_t h, int64_t first, int64_t count,
                       int64_t width, Rows rows, const float *room) {
    if (rows.at != room) return;
    for (int64_t t = 0; t < count; t++)
        write_row(job->type, room + t * rows.stride, width, row_of(x, job->type, b, h, first + t));
}

// The transpose (width, count) of rows, whose rows are filled up to whole vectors with 0.
static void turn_over(Rows from, int64_t count, int64_t width, float *to, int64_t stride) {
    int64_t s = 0;
    for (; s + LANES <= count; s += LANES)
        for (int64_t d = 0; d < width; d += LANES)
            turn_square(from.at + s * from.stride + d, from.stride, to + d * stride + s, stride);
    if (s == count) return;
    float last[LANES * LANES];
    for (int64_t d = 0; d < width; d += LANES) {
        for (int64_t i = 0; i < LANES; i++)
            store(last + i * LANES, s + i < count ? load(from.at + (s + i) * from.stride + d) : all(0));
        turn_square(last, LANES, to + d * stride + s, stride);
    }
}

// Weights from products, in place. Of each query `ranges` says the first key that it may read, and the one behind.
INLINE void weigh(const Job *job, const Block *block, const int32_t *ranges, const Tensor *bias, int64_t b, int64_t h,
                  float *weights) {
    float wide[BLOCK];
    int32_t begin[BLOCK] = {0}, end[BLOCK] = {0};
    for (int64_t t = 0; t < block->rows; t++)
        begin[t] = ranges[2 * t] - (int32_t)block->key, end[t] = ranges[2 * t + 1] - (int32_t)block->key;
    for (int64_t lane = 0; lane < block->width; lane += LANES) {
        vi from = *(const viu *)(begin + lane), to = *(const viu *)(end + lane), one = (vi){0} + 1, s = {0};
        vf most = all(-INFINITY), total = {0}, scale = all(job->scale);
        float *at = weights + lane;
        for (int64_t key = 0; key < block->keys; key++, at += block->width, s += one) {
            vf score = load(at) * scale;
            if (bias->at) {
                for (int64_t t = 0; t < LANES; t++)
                    wide[t] = lane + t < block->rows ? ((const float *)row_of(bias, FLOAT32, b, h, block->first + lane + t))
                                                           [block->key + key] : 0;
                score += load(wide);
            }
            score = choose((s >= from) & (s < to), score, all(-INFINITY));
            most = larger(most, score);
            store(at, score);
        }
        at = weights + lane;
        for (int64_t key = 0; key < block->keys; key++, at += block->width) {
            vf score = load(at), e = choose(score == all(-INFINITY), all(0), exponential(score - most));
            total += e;
            store(at, e);
        }
        vf share = choose(total == all(0), all(0), 1.0f / total);
        at = weights + lane;
        for (int64_t key = 0; key < block->keys; key++, at += block->width) store(at, load(at) * share);
    }
}

// Weights of a block, some set to zero; they are its at `place` among all weights.
INLINE const float *drop_weights(const Job *job, const Block *block, int64_t place, const float *weights, float *to) {
    if (!job->dropping.least) return weights;
    for (int64_t i = 0; i < block->keys * block->width; i += LANES)
        store(to + i, dropped(&job->dropping, (place + i) / LANES, load(weights + i)));
    return to;
}

// In place of the gradients of weights, those of products.
INLINE void unweigh(const Block *block, const float *weights, float scale, float *gradients) {
    for (int64_t lane = 0; lane < block->width; lane += LANES) {
        vf inner = {0}, factor = all(scale);
        const float *weight = weights + lane;
        float *at = gradients + lane;
        for (int64_t i = 0; i < block->keys * block->width; i += block->width) inner += load(at + i) * load(weight + i);
        for (int64_t key = 0; key < block->keys; key++, at += block->width, weight += block->width)
            store(at, (load(at) - inner) * load(weight) * factor);
    }
}

// What a thread needs of memory, in floats.
static int64_t room(const Job *job) {
    int64_t wide = whole(job->width) + whole(job->value_width);
    return 2 * job->keys * wide + BLOCK * (3 * wide + 2 * job->keys) + 16 * 16;
}

static void attend_part(void *data) {
    Job *job = data;
    int64_t wide = whole(job->width), value_wide = whole(job->value_width);
    int64_t share = job->heads / job->groups, heads = job->batch * job->groups;
    take_scratch(4 * room(job));
    float *key_room = part(4 * job->keys * wide), *value_room = part(4 * job->keys * value_wide);
    float *query_room = part(4 * BLOCK * wide), *out_room = part(4 * BLOCK * value_wide);
    float *turned = part(4 * BLOCK * wide), *kept = part(4 * BLOCK * job->keys);
    for (int64_t at; (at = atomic_fetch_add(&job->next, CHUNK)) < heads;)
        for (int64_t i = at; i < heads && i < at + CHUNK; i++) {
            int64_t b = i / job->groups, g = i % job->groups, plan = job->plans == 1 ? 0 : b;
            Rows key = read_rows(job, &job->key, b, g, 0, job->keys, job->width, key_room);
            Rows value = read_rows(job, &job->value, b, g, 0, job->keys, job->value_width, value_room);
            for (int64_t h = g * share; h < (g + 1) * share; h++) {
                int64_t place = (b * job->heads + h) * job->size;
                for (int64_t n = plan ? job->ends[plan - 1] : 0; n < job->ends[plan]; n++) {
                    const Block *block = job->plan + n;
                    int64_t first = block->first, rows = block->rows;
                    float *here = job->weights + place + block->offset;
                    Rows query = read_rows(job, &job->query, b, h, first, rows, job->width, query_room);
                    Rows out = rows_for(job, &job->out, b, h, first, job->value_width, out_room);
                    turn_over(query, rows, wide, turned, block->width);
                    product(block->keys, block->width, job->width, key.at + block->key * key.stride, key.stride, 1, turned,
                            block->width, here, block->width, 0);
                    weigh(job, block, job->ranges + 2 * (plan * job->queries + first), &job->bias, b, h, here);
                    const float *some = drop_weights(job, block, place + block->offset, here, kept);
                    product(rows, value_wide, block->keys, some, 1, block->width, value.at + block->key * value.stride,
                            value.stride, out.at, out.stride, 0);
                    write_rows(job, &job->out, b, h, first, rows, job->value_width, out, out_room);
                }
            }
        }
}

static void attend_back_part(void *data) {
    Job *job = data;
    int64_t wide = whole(job->width), value_wide = whole(job->value_width);
    int64_t share = job->heads / job->groups, heads = job->batch * job->groups;
    take_scratch(4 * room(job));
    float *key_room = part(4 * job->keys * wide), *value_room = part(4 * job->keys * value_wide);
    float *to_key_room = part(4 * job->keys * wide), *to_value_room = part(4 * job->keys * value_wide);
    float *query_room = part(4 * BLOCK * wide), *out_room = part(4 * BLOCK * value_wide);
    float *to_query_room = part(4 * BLOCK * wide), *scores = part(4 * BLOCK * job->keys);
    float *turned = part(4 * BLOCK * value_wide), *kept = part(4 * BLOCK * job->keys);
    for (int64_t at; (at = atomic_fetch_add(&job->next, CHUNK)) < heads;)
        for (int64_t i = at; i < heads && i < at + CHUNK; i++) {
            int64_t b = i / job->groups, g = i % job->groups, plan = job->plans == 1 ? 0 : b;
            int64_t from = plan ? job->ends[plan - 1] : 0;
            Rows key = read_rows(job, &job->key, b, g, 0, job->keys, job->width, key_room);
            Rows value = read_rows(job, &job->value, b, g, 0, job->keys, job->value_width, value_room);
            Rows to_key = rows_for(job, &job->key_gradient, b, g, 0, job->width, to_key_room);
            Rows to_value = rows_for(job, &job->value_gradient, b, g, 0, job->value_width, to_value_room);
            int more = share > 1 || job->ends[plan] - from != 1 || job->plan[from].keys != job->keys;
            for (int64_t s = 0; more && s < job->keys; s++) {
                memset(to_key.at + s * to_key.stride, 0, 4 * wide);
                memset(to_value.at + s * to_value.stride, 0, 4 * value_wide);
            }
            for (int64_t h = g * share; h < (g + 1) * share; h++) {
                int64_t place = (b * job->heads + h) * job->size;
                for (int64_t n = from; n < job->ends[plan]; n++) {
                    const Block *block = job->plan + n;
                    const float *here = job->weights + place + block->offset;
                    int64_t first = block->first, rows = block->rows, width = block->width, at = block->key;
                    Rows query = read_rows(job, &job->query, b, h, first, rows, job->width, query_room);
                    Rows out = read_rows(job, &job->out_gradient, b, h, first, rows, job->value_width, out_room);
                    Rows to_query = rows_for(job, &job->query_gradient, b, h, first, job->width, to_query_room);
                    turn_over(out, rows, value_wide, turned, width);
                    product(block->keys, width, job->value_width, value.at + at * value.stride, value.stride, 1, turned,
                            width, scores, width, 0);
                    drop_weights(job, block, place + block->offset, scores, scores);
                    const float *some = drop_weights(job, block, place + block->offset, here, kept);
                    unweigh(block, here, job->scale, scores);
                    product(rows, wide, block->keys, scores, 1, width, key.at + at * key.stride, key.stride,
                            to_query.at, to_query.stride, 0);
                    product(block->keys, wide, rows, scores, width, 1, query.at, query.stride,
                            to_key.at + at * to_key.stride, to_key.stride, more);
                    product(block->keys, value_wide, rows, some, width, 1, out.at, out.stride,
                            to_value.at + at * to_value.stride, to_value.stride, more);
                    write_rows(job, &job->query_gradient, b, h, first, rows, job->width, to_query, to_query_room);
                }
            }
            write_rows(job, &job->key_gradient, b, g, 0, job->keys, job->width, to_key, to_key_room);
            write_rows(job, &job->value_gradient, b, g, 0, job->keys, job->value_width, to_value, to_value_room);
        }
}

// Blocks of each row of queries, from the first and last keys that they may read; returns how many floats the weights
// of one head take. `plan` has room for a block for each query.
static int64_t plan_blocks(const int32_t *ranges, int64_t rows, int64_t queries, Block *plan, int64_t *ends) {
    int64_t size = 0, n = 0;
    for (int64_t b = 0; b < rows; b++, ranges += 2 * queries) {
        int64_t offset = 0;
        for (int64_t t = 0; t < queries;) {
            int64_t begin = INT64_MAX, end = 0, first = t;
            for (; t < queries && t - first < BLOCK; t++) {
                int64_t from = ranges[2 * t], to = ranges[2 * t + 1];
                if (from >= to) continue;
                if (end && from != begin && t - first >= MERGED) break;
                begin = from < begin ? from : begin, end = to > end ? to : end;
            }
            if (!end) begin = 0;
            int64_t width = whole(t - first);
            plan[n++] = (Block){first, t - first, begin, end - begin, width, offset};
            offset += width * (end - begin);
        }
        ends[b] = n;
        size = offset > size ? offset : size;
    }
    return size;
}
