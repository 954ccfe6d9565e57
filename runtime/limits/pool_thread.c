/* SPDX-License-Identifier: MIT
 *
 * The blocking pool's threads; see pool.h. A thread's stack is mapped for it and holds its struct;
 * who ends is joined and unmapped by the next one that ends, so at most one is left over.
 */
#include <errno.h>
#include <stdio.h>

#include "core/options.h"
#include "core/runtime.h"
#include "limits/pool_inside.h"
#include "place/memory.h"

enum { POOL_AWAKE = 0, POOL_ASLEEP = 1 };

/* ------------------------------------------------------------------ threads come and go */

/* Where the struct lies. */
#define THREAD_ROOM ((sizeof(struct pool_thread) + 63) & ~(size_t)63)

static size_t memory_bytes(const struct pool *p)
{
        return (kernel_thread_bytes() + p->rt->stack_bytes + THREAD_ROOM + 4095) & ~(size_t)4095;
}

static void serve(void *arg);

/* With the lock. 0 or a negative errno. */
static int add_thread(struct pool *p)
{
        size_t bytes = memory_bytes(p);
        char *low = memory_map(bytes, -1);
        struct pool_thread *t;
        int result;

        if (!low)
                return -ENOMEM;
        t = (struct pool_thread *)(void *)(low + bytes - THREAD_ROOM);
        t->thread.stack = low;
        t->thread.extra_bytes = p->rt->stack_bytes;
        t->pool = p;
        t->number = p->number++;
        t->coming = true;
        result = kernel_guard(low, KERNEL_GUARD_BYTES, bytes);
        if (!result)
                result = kernel_thread_start(&t->thread, serve, t);
        if (result) {
                memory_unmap(low, bytes);
                return result;
        }
        p->coming++;
        /* relaxed, both: under the lock. */
        store_relaxed_u32(&p->threads, load_relaxed_u32(&p->threads) + 1);
        return 0;
}

/* relaxed: under the lock. */
static unsigned thread_count(const struct pool *p)
{
        return load_relaxed_u32(&p->threads);
}

/* With the lock: there is a thread. */
int pool_have_thread(struct pool *p)
{
        if (thread_count(p))
                return 0;
        return p->most && !add_thread(p) ? 0 : -EAGAIN;
}

static void link_idle(struct pool *p, struct pool_thread *t)
{
        t->next = p->idle;
        t->link = &p->idle;
        if (t->next)
                t->next->link = &t->next;
        p->idle = t;
}

static void unlink_idle(struct pool_thread *t)
{
        *t->link = t->next;
        if (t->next)
                t->next->link = t->link;
}

/* With the lock, when something may be queued for which nobody comes. One at a time is enough: who
 * has come and leaves something behind summons the next. So what is short is done by few, and it is
 * the pool that pays for waking its threads. One that cannot be started is done without: there is
 * another. */
struct pool_thread *pool_summon(struct pool *p)
{
        struct pool_thread *t = p->idle;

        if (!pool_wanted(p) || p->coming)
                return NULL;
        if (!t) {
                if (thread_count(p) < p->most)
                        add_thread(p);
                return NULL;
        }
        unlink_idle(t);
        t->coming = true;
        p->coming++;
        store_relaxed_u32(&t->state, POOL_AWAKE); /* relaxed: it looks again with the lock */
        return t;
}

static void bury(struct pool_thread *t)
{
        size_t bytes = memory_bytes(t->pool);
        char *low = t->thread.stack;

        kernel_thread_join(&t->thread);
        memory_unmap(low, bytes);
}

/* ------------------------------------------------------------------ the life of a thread */

static void come_to_nothing(struct pool_thread *t)
{
        if (t->coming)
                t->pool->coming--;
        t->coming = false;
}

/* With the lock: may it end? */
static bool is_spare(const struct pool *p)
{
        unsigned count = thread_count(p);

        return count > p->least && (count > 1 || !p->obliged);
}

/* With the lock. One of the threads without work watches the queue for a moment, as a worker does:
 * what comes soon needs no wake-up. False: nothing came. */
static bool spin(struct pool_thread *t)
{
        struct pool *p = t->pool;
        int64_t deadline;

        if (p->spinner || !p->spin_ns || p->ends)
                return false;
        p->spinner = true;
        if (!t->coming)
                p->coming++;
        t->coming = true;
        pool_unlock(p);
        deadline = kernel_now_ns() + p->spin_ns;
        do
                for (unsigned i = 0; i < 16 && !pool_wanted(p); i++)
                        spin_hint();
        while (!pool_wanted(p) && kernel_now_ns() < deadline);
        pool_lock(p);
        p->spinner = false;
        return pool_wanted(p);
}

/* With the lock. True: somebody has woken it; false: it ends. */
static bool sleep_idle(struct pool_thread *t)
{
        struct pool *p = t->pool;

        come_to_nothing(t);
        link_idle(p, t);
        store_relaxed_u32(&t->state, POOL_ASLEEP); /* relaxed: under the lock */
        while (!p->ends) {
                bool spare = is_spare(p);
                int64_t deadline = spare ? kernel_now_ns() + p->idle_ns : 0;
                int result = spare && !p->idle_ns ? -ETIMEDOUT : 0;

                if (!result) {
                        pool_unlock(p);
                        result = kernel_futex_wait(&t->state, POOL_ASLEEP, deadline);
                        pool_lock(p);
                }
                /* relaxed: under the lock. */
                if (load_relaxed_u32(&t->state) == POOL_AWAKE)
                        return true;
                if (result == -ETIMEDOUT && is_spare(p))
                        break;
        }
        unlink_idle(t);
        return false;
}

/* With the lock. The next thing to do, without it; false: the thread ends, still with it. */
static bool next(struct pool_thread *t, struct pool_item *item)
{
        struct pool *p = t->pool;
        struct pool_wakes wakes = {0};

        while (!pool_pop(p, item))
                if (!spin(t) && !sleep_idle(t))
                        return false;
        come_to_nothing(t);
        t->job = item->job;
        if (t->job)
                pool_admit(p, &wakes);
        wakes.thread = pool_summon(p);
        pool_unlock_and_wake(p, &wakes);
        return true;
}

/* After something has been done: takes the lock. */
static void back(struct pool_thread *t)
{
        struct pool *p = t->pool;
        bool last;

        pool_lock(p);
        if (!t->job)
                return;
        t->job = false;
        /* relaxed: under the lock. */
        last = load_relaxed_u64(&p->busy) == 1;
        /* [BP4] release pairs with pool_busy(). */
        store_release_u64(&p->busy, load_relaxed_u64(&p->busy) - 1);
        if (!last)
                return;
        pool_unlock(p);
        /* [ST1] behind the RMW of the unlocking: a drain sees the count, or we the drain. */
        runtime_maybe_drained(p->rt);
        pool_lock(p);
}

/* With the lock. */
static void leave(struct pool_thread *t)
{
        struct pool *p = t->pool;
        struct pool_thread *before = p->ended;
        unsigned left = thread_count(p) - 1;

        p->ended = t;
        /* [BP3] release pairs with pool_end(): who has ended. */
        store_release_u32(&p->threads, left);
        pool_unlock(p);
        if (!left)
                kernel_futex_wake(&p->threads, 1);
        if (before)
                bury(before);
}

static void serve(void *arg)
{
        struct pool_thread *t = arg;
        struct pool_item item;
        char name[16];

        snprintf(name, sizeof name, "%.6s-b%02u", t->pool->rt->name, t->number);
        kernel_thread_name(name);
        /* Failing that it stays where the worker is that has started it. */
        placement_unbind_thread(&t->pool->rt->placement);
        pool_set(t);
        pool_lock(t->pool);
        while (next(t, &item)) {
                if (item.call) {
                        t->scope = item.call->scope;
                        item.call->run(item.call);
                        t->scope = NULL;
                } else {
                        blocking_run(t, item.job);
                }
                back(t);
        }
        leave(t);
        pool_set(NULL);
}

void pool_settle(struct pool *p, struct runtime *rt, const struct settings *settings)
{
        uint64_t idle_ns = (uint64_t)settings->blocking_idle_ms * 1000000;

        p->rt = rt;
        p->least = settings->blocking_min;
        p->most = settings->blocking_max;
        p->limit = settings->blocking_queue_limit;
        p->idle_ns = (int64_t)idle_ns;
        p->spin_ns = settings->spin_ns;
        p->ends = p->spinner = p->calls_next = false;
        p->number = 0;
        /* relaxed, both: for the figures. */
        store_relaxed_u64(&p->entered, 0);
        store_relaxed_u64(&p->placed, 0);
        store_relaxed_u64(&p->cancelled, 0);
}

int pool_start(struct pool *p)
{
        int result = 0;

        pool_lock(p);
        while (!result && thread_count(p) < p->least)
                result = add_thread(p);
        pool_unlock(p);
        return result;
}

void pool_end(struct pool *p)
{
        struct pool_thread *t;
        uint32_t left;

        pool_lock(p);
        p->ends = true;
        while ((t = p->idle)) { /* bound: the threads */
                unlink_idle(t);
                store_relaxed_u32(&t->state, POOL_AWAKE); /* relaxed: under the lock */
                kernel_futex_wake(&t->state, 1);
        }
        pool_unlock(p);
        /* [BP3] acquire pairs with leave(). */
        while ((left = load_acquire_u32(&p->threads)))
                kernel_futex_wait(&p->threads, left, 0);
        pool_lock(p);
        t = p->ended;
        p->ended = NULL;
        pool_unlock(p);
        if (t)
                bury(t);
}
