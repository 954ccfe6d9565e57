/* SPDX-License-Identifier: MIT
 *
 * The blocking pool's queues and its lock; see pool.h. Wake-ups are sent after the lock has been
 * given back, to an address alone: the thread may be gone by then.
 */
#include "limits/pool_inside.h"

#include <errno.h>
#include <limits.h>

#include "core/runtime.h"
#include "core/submit.h"

enum { LOCK_FREE = 0, LOCK_HELD = 1, LOCK_WAITED = 2, LOCK_LOOKS = SIZE_LOOKS };

/* ------------------------------------------------------------------ the lock */

void pool_lock(struct pool *p)
{
        uint32_t found = LOCK_FREE;

        for (unsigned i = 0; i < LOCK_LOOKS; i++) {
                /* [BP1] acquire pairs with pool_unlock(). relaxed: the CAS checks it. */
                if (load_relaxed_u32(&p->lock) == LOCK_FREE &&
                    cas_acquire_u32(&p->lock, &found, LOCK_HELD)) {
                        shared_write(&p->waiting, sizeof p->waiting);
                        return;
                }
                found = LOCK_FREE;
                spin_hint();
        }
        /* [BP1] acquire as above. From now on whoever gives it back wakes somebody, at worst in
         * vain. Bound: the holder's few steps. */
        while (exchange_acq_rel_u32(&p->lock, LOCK_WAITED) != LOCK_FREE)
                kernel_futex_wait(&p->lock, LOCK_WAITED, 0);
        shared_write(&p->waiting, sizeof p->waiting);
}

void pool_unlock(struct pool *p)
{
        /* [BP1] release pairs with pool_lock(): all that is under it. */
        if (exchange_acq_rel_u32(&p->lock, LOCK_FREE) == LOCK_WAITED)
                kernel_futex_wake(&p->lock, 1);
}

void pool_unlock_and_wake(struct pool *p, const struct pool_wakes *wakes)
{
        pool_unlock(p);
        if (wakes->thread)
                kernel_futex_wake(&wakes->thread->state, 1);
        if (wakes->waiter)
                waiter_wake(wakes->waiter);
        if (wakes->room)
                kernel_futex_wake(&p->room, INT_MAX);
}

/* ------------------------------------------------------------------ queues */

static void queued_add(struct pool *p, uint32_t n)
{
        /* relaxed, both: under the lock; one that spins looks again with it. */
        store_relaxed_u32(&p->queued, load_relaxed_u32(&p->queued) + n);
}

static void push_job(struct pool *p, struct skua_job *job)
{
        struct pool_queue *q = &p->queues[INJECTOR_NORMAL];

        job->next_ = NULL;
        if (!q->jobs)
                q->jobs_end = &q->jobs;
        *q->jobs_end = job;
        q->jobs_end = &job->next_;
        shared_write(&job->next_, sizeof job->next_);
        p->jobs++;
        queued_add(p, 1);
        /* relaxed, both: under the lock; a drain cannot end yet, see pool.h. */
        store_relaxed_u64(&p->busy, load_relaxed_u64(&p->busy) + 1);
}

/* A job that is accepted in this step. */
static void take_in(struct pool *p, const struct order *order, size_t i)
{
        push_job(p, order_take(order, i));
        /* relaxed, both: a figure, written under the lock. */
        store_relaxed_u64(&p->placed, load_relaxed_u64(&p->placed) + 1);
}

static struct skua_job *pop_job(struct pool *p, struct pool_queue *q)
{
        struct skua_job *job = q->jobs;

        shared_read(&job->next_, sizeof job->next_);
        q->jobs = job->next_;
        p->jobs--;
        queued_add(p, -1u);
        /* relaxed, both: a figure, written under the lock. */
        store_relaxed_u64(&p->entered, load_relaxed_u64(&p->entered) + 1);
        return job;
}

static void push_call(struct pool *p, struct pool_call *call)
{
        struct pool_queue *q = &p->queues[INJECTOR_NORMAL];

        if (!q->calls)
                q->calls_end = &q->calls;
        call->next = NULL;
        call->link = q->calls_end;
        *q->calls_end = call;
        q->calls_end = &call->next;
        queued_add(p, 1);
}

static void remove_call(struct pool *p, struct pool_queue *q, struct pool_call *call)
{
        *call->link = call->next;
        if (call->next)
                call->next->link = call->link;
        else
                q->calls_end = call->link;
        call->link = NULL;
        queued_add(p, -1u);
}

/* The next one, of the highest priority that has some; jobs and calls in turns. */
bool pool_pop(struct pool *p, struct pool_item *item)
{
        *item = (struct pool_item){0};
        for (unsigned i = 0; i < INJECTOR_PRIORITIES; i++) {
                struct pool_queue *q = &p->queues[i];

                if (q->calls && (p->calls_next || !q->jobs)) {
                        item->call = q->calls;
                        remove_call(p, q, item->call);
                } else if (q->jobs) {
                        item->job = pop_job(p, q);
                } else {
                        continue;
                }
                p->calls_next = item->job;
                return true;
        }
        return false;
}

static bool is_full(const struct pool *p)
{
        return p->waiting || p->jobs >= p->limit;
}

static void list(struct pool *p, struct pool_wait *wait)
{
        if (!p->waiting)
                p->waiting_end = &p->waiting;
        wait->next = NULL;
        wait->link = p->waiting_end;
        *p->waiting_end = wait;
        p->waiting_end = &wait->next;
}

static void unlist(struct pool *p, struct pool_wait *wait)
{
        *wait->link = wait->next;
        if (wait->next)
                wait->next->link = wait->link;
        else
                p->waiting_end = wait->link;
        wait->link = NULL;
}

/* With the lock, after a job has been taken: the one that waits longest has its job queued. */
void pool_admit(struct pool *p, struct pool_wakes *wakes)
{
        struct pool_wait *wait = p->waiting;

        if (!wait || p->jobs >= p->limit)
                return;
        unlist(p, wait);
        take_in(p, wait->order, wait->index);
        wakes->waiter = wait->waiter;
        wakes->room = !wait->waiter;
        if (wakes->room)
                /* [BP2] pairs with the acquire in pool_job_wait(): a thread that looked before
                 * sleeps on a value that is no longer there. */
                fetch_add_acq_rel_u32(&p->room, 1);
}

/* ------------------------------------------------------------------ what comes in */

void pool_close(struct pool *p)
{
        /* [BP2] release pairs with the acquire in pool_job_wait(): the door before it. */
        fetch_add_acq_rel_u32(&p->room, 1);
        kernel_futex_wake(&p->room, INT_MAX);
}

int pool_call(struct pool *p, struct pool_call *call)
{
        struct pool_wakes wakes = {0};
        int result;

        pool_lock(p);
        result = pool_have_thread(p);
        if (!result) {
                push_call(p, call);
                wakes.thread = pool_summon(p);
        }
        pool_unlock_and_wake(p, &wakes);
        return result;
}

bool pool_withdraw(struct pool *p, struct pool_call *call)
{
        bool queued;

        pool_lock(p);
        queued = call->link;
        if (queued)
                remove_call(p, &p->queues[INJECTOR_NORMAL], call);
        pool_unlock(p);
        return queued;
}

/* With the lock. */
static int place(struct pool *p, const struct order *order, size_t i, struct pool_wakes *wakes)
{
        int result = pool_have_thread(p);

        if (result)
                return result;
        take_in(p, order, i);
        wakes->thread = pool_summon(p);
        return POOL_QUEUED;
}

int pool_job(struct pool *p, const struct order *order, size_t i, bool bounded)
{
        struct pool_wakes wakes = {0};
        int result = POOL_FULL;

        pool_lock(p);
        if (!bounded || !is_full(p))
                result = place(p, order, i, &wakes);
        pool_unlock_and_wake(p, &wakes);
        return result;
}

static bool is_shut(const struct runtime *rt)
{
        /* [AC1] acquire pairs with door_close(). */
        return load_acquire_u64(&rt->door) & DOOR_CLOSED;
}

/* With the lock: 0, an error, or POOL_FULL: sleep. */
static int try_waiting(struct pool *p, struct pool_wait *wait, bool listed,
                       struct pool_wakes *wakes)
{
        if (listed && !wait->link)
                return POOL_QUEUED;
        if (is_shut(p->rt)) {
                if (listed)
                        unlist(p, wait);
                return -ESHUTDOWN;
        }
        if (listed)
                return POOL_FULL;
        if (!is_full(p))
                return place(p, wait->order, wait->index, wakes);
        list(p, wait);
        return POOL_FULL;
}

int pool_job_wait(struct pool *p, const struct order *order, size_t i)
{
        struct pool_wait wait = {.order = order, .index = i};
        struct pool_wakes wakes = {0};
        bool listed = false;
        uint32_t look;
        int result;

        for (;;) {
                /* [BP2] acquire pairs with pool_admit() and pool_close(): what comes after this
                 * look ends the sleep. */
                look = load_acquire_u32(&p->room);
                pool_lock(p);
                result = try_waiting(p, &wait, listed, &wakes);
                pool_unlock_and_wake(p, &wakes);
                if (result != POOL_FULL)
                        return result;
                listed = true;
                kernel_futex_wait(&p->room, look, 0);
        }
}

int pool_job_list(struct pool *p, struct pool_wait *wait)
{
        struct pool_wakes wakes = {0};
        int result = POOL_FULL;

        pool_lock(p);
        if (is_full(p))
                list(p, wait);
        else
                result = place(p, wait->order, wait->index, &wakes);
        pool_unlock_and_wake(p, &wakes);
        return result;
}

bool pool_unlist(struct pool *p, struct pool_wait *wait)
{
        bool listed;

        pool_lock(p);
        listed = wait->link;
        if (listed)
                unlist(p, wait);
        pool_unlock(p);
        return listed;
}

int pool_oblige(struct pool *p, size_t count)
{
        int result;

        pool_lock(p);
        result = pool_have_thread(p);
        if (!result)
                p->obliged += count;
        pool_unlock(p);
        return result;
}

void pool_job_obliged(struct pool *p, struct skua_job *job)
{
        struct pool_wakes wakes = {0};

        pool_lock(p);
        p->obliged--;
        push_job(p, job);
        wakes.thread = pool_summon(p);
        pool_unlock_and_wake(p, &wakes);
}
