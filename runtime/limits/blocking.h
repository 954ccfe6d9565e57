/* SPDX-License-Identifier: MIT
 *
 * Jobs of the blocking pool, from their submission to their end. They run with self == NULL; what
 * one asks of itself then finds the thread's scope through the arch word pool_get().
 */
#ifndef LIMITS_BLOCKING_H
#define LIMITS_BLOCKING_H

#include "core/submit.h"

/* Queues an order's jobs: how many, or an error; from outside waits for room unless the order says
 * otherwise. */
ssize_t blocking_submit(const struct order *order);

/* The same for one job from a job that waits, and suspends while the queue is full. */
int blocking_await_submit(struct worker *w, const struct order *order, int64_t deadline_ns);

/* A job of a strand or with a delay, for which pool_oblige() has been called: its turn has come.
 * Any thread, while the runtime cannot end. */
void blocking_turn(struct runtime *rt, struct skua_job *job);

/* Of the calling thread's job, if it is one of the pool's: its runtime, or NULL; and what the
 * public calls do with self == NULL. */
struct runtime *blocking_runtime(void);
bool blocking_cancelled(void);
void blocking_fail(int error);
void blocking_limit(int64_t deadline_ns); /* as scope_limit() */

#endif
