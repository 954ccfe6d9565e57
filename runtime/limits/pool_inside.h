/* SPDX-License-Identifier: MIT
 *
 * Between the two halves of the blocking pool: its queues (pool.c) and its threads (pool_thread.c).
 */
#ifndef LIMITS_POOL_INSIDE_H
#define LIMITS_POOL_INSIDE_H

#include "limits/pool.h"

/* What has been taken off a queue. */
struct pool_item {
        struct pool_call *call;
        struct skua_job *job;
};

/* To be done without the lock. */
struct pool_wakes {
        struct pool_thread *thread;
        struct waiter *waiter;
        bool room;
};

/* ---- pool.c */

void pool_lock(struct pool *p);
void pool_unlock(struct pool *p);
void pool_unlock_and_wake(struct pool *p, const struct pool_wakes *wakes);

/* All below: with the lock.
 *
 * The next thing to do, of the highest priority that has some; jobs and calls in turns. */
bool pool_pop(struct pool *p, struct pool_item *item);

/* After a job has been taken: the one that waits longest has its job queued. */
void pool_admit(struct pool *p, struct pool_wakes *wakes);

/* ---- pool_thread.c */

/* 0: there is a thread; or -EAGAIN. */
int pool_have_thread(struct pool *p);

/* When something may be queued for which nobody comes: the thread to be woken, or NULL. */
struct pool_thread *pool_summon(struct pool *p);

#endif
