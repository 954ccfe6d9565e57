/* SPDX-License-Identifier: MIT
 *
 * The yardstick: about the least that a pool for outside jobs can do. One bounded ring for many
 * producers and consumers (Vyukov), no allocation, sleeping in a futex, a short spin by the clock,
 * and never more than one wake-up in flight: while anybody is searching nobody is woken, and the
 * last searcher that finds work wakes the next.
 *
 * `state` counts the searching (upper half) and the parked (lower half) threads. Who takes one off
 * the parked count owes one token in `tokens`, the futex word; a parked thread leaves with a token
 * and is then counted as searching already. A full ring: an outside producer yields, a thread of
 * the pool runs a job itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pool.h"
#include "measure.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CELLS = 4096, SPIN_NS = 5000 };

#define SEARCHING UINT64_C(0x100000000)
#define PARKED    UINT64_C(1)

struct cell {
        _Atomic uint64_t turn; /* position: free for it; position + 1: holds its job */
        struct pool_job *job;
};

struct pool {
        _Alignas(128) _Atomic uint64_t tail;  /* producers */
        _Alignas(128) _Atomic uint64_t head;  /* consumers */
        _Alignas(128) _Atomic uint64_t state; /* written only by who parks, searches or wakes */
        _Alignas(128) _Atomic uint32_t tokens;
        _Atomic bool stopping;
        bool pin;
        unsigned threads;
        _Atomic unsigned started;
        pthread_t *ids;
        _Alignas(128) struct cell cells[CELLS];
};

static _Thread_local struct pool *pool_of_thread; /* which pool's worker this thread is */

static long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
        return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* ---------------------------------------------------------------- the ring */

static bool push(struct pool *p, struct pool_job *job)
{
        uint64_t at = atomic_load_explicit(&p->tail, memory_order_relaxed);

        for (;;) {
                struct cell *c = &p->cells[at % CELLS];
                uint64_t turn = atomic_load_explicit(&c->turn, memory_order_acquire);
                if (turn == at) {
                        if (!atomic_compare_exchange_weak_explicit(&p->tail, &at, at + 1,
                                                                   memory_order_relaxed,
                                                                   memory_order_relaxed))
                                continue;
                        c->job = job;
                        /* Publishes the job, and is the full fence before `state` is read. */
                        atomic_exchange(&c->turn, at + 1);
                        return true;
                }
                if (turn < at)
                        return false;
                at = atomic_load_explicit(&p->tail, memory_order_relaxed);
        }
}

static struct pool_job *pop(struct pool *p)
{
        uint64_t at = atomic_load_explicit(&p->head, memory_order_relaxed);

        for (;;) {
                struct cell *c = &p->cells[at % CELLS];
                uint64_t turn = atomic_load_explicit(&c->turn, memory_order_acquire);
                if (turn == at + 1) {
                        if (!atomic_compare_exchange_weak_explicit(&p->head, &at, at + 1,
                                                                   memory_order_relaxed,
                                                                   memory_order_relaxed))
                                continue;
                        struct pool_job *job = c->job;
                        atomic_store_explicit(&c->turn, at + CELLS, memory_order_release);
                        return job;
                }
                if (turn < at + 1)
                        return NULL;
                at = atomic_load_explicit(&p->head, memory_order_relaxed);
        }
}

static bool has_work(struct pool *p)
{
        uint64_t at = atomic_load_explicit(&p->head, memory_order_relaxed);

        return atomic_load_explicit(&p->cells[at % CELLS].turn, memory_order_acquire) != at ||
               atomic_load_explicit(&p->stopping, memory_order_relaxed);
}

/* ---------------------------------------------------------------- waking and parking */

static void wake_one(struct pool *p)
{
        uint64_t s = atomic_load_explicit(&p->state, memory_order_relaxed);

        do {
                if (s >= SEARCHING || s == 0)
                        return;
        } while (!atomic_compare_exchange_weak(&p->state, &s, s + SEARCHING - PARKED));
        atomic_fetch_add(&p->tokens, 1);
        futex(&p->tokens, FUTEX_WAKE, 1);
}

static void wait_token(struct pool *p)
{
        for (;;) {
                uint32_t n = atomic_load(&p->tokens);
                if (n == 0)
                        futex(&p->tokens, FUTEX_WAIT, 0);
                else if (atomic_compare_exchange_weak(&p->tokens, &n, n - 1))
                        return;
        }
}

/* The caller is counted as searching, before and after. */
static void park(struct pool *p)
{
        atomic_fetch_add(&p->state, PARKED - SEARCHING);
        if (has_work(p)) {
                uint64_t s = atomic_load(&p->state);
                while (s % SEARCHING != 0)
                        if (atomic_compare_exchange_weak(&p->state, &s, s + SEARCHING - PARKED))
                                return;
        }
        wait_token(p);
}

static struct pool_job *search(struct pool *p)
{
        struct pool_job *job = NULL;

        atomic_fetch_add(&p->state, SEARCHING);
        while (!atomic_load_explicit(&p->stopping, memory_order_relaxed)) {
                int64_t end = bench_now_ns() + SPIN_NS;
                while (!has_work(p) && bench_now_ns() < end)
                        bench_pause();
                job = pop(p);
                if (job != NULL)
                        break;
                if (!has_work(p))
                        park(p);
        }
        if (atomic_fetch_sub(&p->state, SEARCHING) < 2 * SEARCHING && has_work(p))
                wake_one(p);
        return job;
}

static void *work(void *arg)
{
        struct pool *p = arg;
        struct pool_job *job;

        pool_of_thread = p;
        if (p->pin)
                bench_pin_thread(atomic_fetch_add(&p->started, 1));
        while ((job = pop(p)) != NULL || (job = search(p)) != NULL)
                job->run(job);
        return NULL;
}

/* ---------------------------------------------------------------- the pool */

static struct pool *ring_pool_start(unsigned threads, bool pin)
{
        struct pool *p = aligned_alloc(128, sizeof *p);

        if (p == NULL)
                abort();
        atomic_init(&p->tail, 0);
        atomic_init(&p->head, 0);
        atomic_init(&p->state, 0);
        atomic_init(&p->tokens, 0);
        atomic_init(&p->stopping, false);
        atomic_init(&p->started, 0);
        for (uint64_t i = 0; i < CELLS; i++)
                atomic_init(&p->cells[i].turn, i);
        p->pin = pin;
        p->threads = threads;
        p->ids = calloc(threads, sizeof *p->ids);
        for (unsigned i = 0; i < threads; i++)
                if (p->ids == NULL || pthread_create(&p->ids[i], NULL, work, p) != 0)
                        abort();
        return p;
}

static void ring_pool_submit(struct pool *p, struct pool_job *job)
{
        while (!push(p, job)) {
                struct pool_job *other = pool_of_thread == p ? pop(p) : NULL;
                if (other != NULL)
                        other->run(other);
                else
                        sched_yield();
        }
        uint64_t s = atomic_load_explicit(&p->state, memory_order_relaxed);
        if (s != 0 && s < SEARCHING)
                wake_one(p);
}

static void ring_pool_submit_many(struct pool *p, void *first, size_t count, size_t stride)
{
        for (size_t i = 0; i < count; i++)
                ring_pool_submit(p, (struct pool_job *)(void *)((char *)first + i * stride));
}

struct awaited {
        struct pool_job job;
        pool_fn *fn;
        _Atomic uint32_t done; /* 1: done; 2: the waiter sleeps */
};

static void run_awaited(struct pool_job *job)
{
        struct awaited *a = (struct awaited *)job;
        _Atomic uint32_t *done = &a->done;

        a->fn(job);
        if (atomic_exchange(done, 1) == 2)
                futex(done, FUTEX_WAKE, 1); /* of an address: harmless if it is gone by now */
}

static void ring_pool_run(struct pool *p, pool_fn *fn)
{
        struct awaited a = {.job.run = run_awaited, .fn = fn};
        uint32_t unset = 0;

        ring_pool_submit(p, &a.job);
        int64_t end = bench_now_ns() + SPIN_NS;
        while (atomic_load_explicit(&a.done, memory_order_acquire) == 0 && bench_now_ns() < end)
                bench_pause();
        if (atomic_compare_exchange_strong(&a.done, &unset, 2))
                while (atomic_load(&a.done) != 1)
                        futex(&a.done, FUTEX_WAIT, 2);
}

static void ring_pool_stop(struct pool *p)
{
        while (atomic_load(&p->head) != atomic_load(&p->tail))
                sched_yield();
        atomic_store(&p->stopping, true);
        atomic_fetch_add(&p->tokens, p->threads);
        futex(&p->tokens, FUTEX_WAKE, INT_MAX);
        for (unsigned i = 0; i < p->threads; i++)
                pthread_join(p->ids[i], NULL);
        free(p->ids);
        free(p);
}

const struct pool_kind ring_pool = {"ring pool (yardstick)", ring_pool_start, ring_pool_submit,
                                    ring_pool_submit_many,   ring_pool_run,   ring_pool_stop};
