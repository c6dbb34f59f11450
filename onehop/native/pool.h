// Threads that wait for work. One job at a time: whoever comes while another runs does its job alone.

#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MOST_THREADS 64
#define LARGE_PAGE ((size_t)1 << 21)
#ifndef SPINS  // so that another number can be measured: CC="cc -DSPINS=20000"
#define SPINS 4000  // looks at the next job before a thread goes to sleep: the gap between two steps
#endif

typedef void (*Work)(int thread, int threads, void *job);

static struct {
    pthread_mutex_t busy, lock;
    pthread_cond_t wake;
    int started, threads;
    atomic_int round, left, arrived, sense;
    Work work;
    void *job;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void pause_briefly(int *spins) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (++*spins % 1024 == 0) sched_yield();
}

// Wait until all threads of the job have come here.
static void meet(int threads) {
    if (threads < 2) return;
    int sense = atomic_load(&pool.sense), spins = 0;
    if (atomic_fetch_add(&pool.arrived, 1) == threads - 1) {
        atomic_store(&pool.arrived, 0);
        atomic_store(&pool.sense, !sense);
    } else {
        while (atomic_load(&pool.sense) == sense) pause_briefly(&spins);
    }
}

static void *serve(void *number) {
    int thread = (int)(intptr_t)number, seen = 0;
    for (;;) {
        for (int spins = 0; atomic_load(&pool.round) == seen && spins < SPINS;) pause_briefly(&spins);
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.round) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
        seen = atomic_load(&pool.round);
        int wanted = thread < pool.threads;
        pthread_mutex_unlock(&pool.lock);
        if (!wanted) continue;
        pool.work(thread, pool.threads, pool.job);
        atomic_fetch_sub(&pool.left, 1);
    }
    return 0;
}

// After a fork the threads are gone, and locks may have been held by them.
static void forget(void) {
    pthread_mutex_init(&pool.busy, 0);
    pthread_mutex_init(&pool.lock, 0);
    pthread_cond_init(&pool.wake, 0);
    pool.started = 0;
    atomic_store(&pool.round, 0);
    atomic_store(&pool.arrived, 0);
    atomic_store(&pool.sense, 0);
}

// Do a job by `threads` threads, the caller's among them, and return when it is done.
static void run(int threads, Work work, void *job) {
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads < 2 || pthread_mutex_trylock(&pool.busy)) {
        work(0, 1, job);
        return;
    }
    static int told;
    if (!told) told = 1, pthread_atfork(0, 0, forget);
    pthread_mutex_lock(&pool.lock);
    while (pool.started < threads - 1) {
        pthread_t id;
        if (pthread_create(&id, 0, serve, (void *)(intptr_t)(pool.started + 1))) break;
        pthread_detach(id);
        pool.started++;
    }
    if (threads > pool.started + 1) threads = pool.started + 1;
    pool.work = work, pool.job = job, pool.threads = threads;
    atomic_store(&pool.left, threads - 1);
    atomic_fetch_add(&pool.round, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    work(0, threads, job);
    for (int spins = 0; atomic_load(&pool.left);) pause_briefly(&spins);
    pthread_mutex_unlock(&pool.busy);
}

// Memory of a thread that is taken once, used again by every job, and freed when the thread ends.
static _Thread_local struct { char *at; size_t size, used; } scratch;
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static void make_scratch_key(void) { if (pthread_key_create(&scratch_key, free)) abort(); }

static void take_scratch(size_t size) {
    if (size > scratch.size) {
        free(scratch.at);
        size_t page = size < LARGE_PAGE ? 4096 : LARGE_PAGE;
        scratch.size = (size + page - 1) / page * page;
        scratch.at = aligned_alloc(page, scratch.size);
        if (!scratch.at) abort();
        pthread_once(&scratch_once, make_scratch_key);
        pthread_setspecific(scratch_key, scratch.at);
#ifdef MADV_HUGEPAGE
        if (page == LARGE_PAGE) madvise(scratch.at, scratch.size, MADV_HUGEPAGE);
#endif
    }
    scratch.used = 0;
}

static void *part(size_t bytes) {
    void *at = scratch.at + scratch.used;
    scratch.used += (bytes + 63) / 64 * 64;
    if (scratch.used > scratch.size) abort();
    return at;
}
