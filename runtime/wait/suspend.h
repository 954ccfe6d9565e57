/* SPDX-License-Identifier: MIT
 *
 * Suspension: a job that waits gives up its stack, and the worker goes on with its loop on another
 * one. It is resumed on the same worker, in the order of the wake-ups.
 */
#ifndef WAIT_SUSPEND_H
#define WAIT_SUSPEND_H

#include "core/job.h"

struct worker;

/* What C++ keeps for a thread: the exceptions that are being handled, and how many are on their way
 * to a handler (Itanium C++ ABI, 2.2.2). It belongs to the stack. */
struct exceptions {
        void *caught;
        unsigned uncaught;
};

/* Where they are for the calling thread; `none` if the program has no C++. */
struct exceptions *exceptions_here(struct exceptions *none);

/* From the thread's own stack: the worker's first stack; returns when the loop has been left. */
void suspend_first(struct worker *w);

/* Suspends the running stack, for which a waiter has been registered somewhere; returns when
 * waiter_wake() has been called for it and the worker has come back to it. Keeps errno and the
 * state of C++ exceptions. Not inside skua_isolated(). */
void suspend(struct worker *w);

/* The same when it is to go on at once, behind those that are to be resumed already. */
void suspend_ready(struct worker *w);

/* Leaves the running stack, whose frames nobody needs any more, for the worker's loop or a stack to
 * be resumed. Does not return. */
void suspend_for_good(struct worker *w);

/* From the worker's loop: goes on with the oldest stack that is to be resumed. There is one.
 * Returns when this stack has been taken from the cache, to be the loop's again; anything may have
 * happened meanwhile. */
void resume_ready(struct worker *w);

/* Takes what has been left at the gate to the list of stacks to resume. */
void ready_take(struct worker *w);

/* Publishes forks of suspended stacks that did not fit the ring when they suspended. */
void suspend_relieve(struct worker *w);

/* As waiter_wake(), and async-signal-safe: it does not matter what it interrupts. */
void waiter_wake_signal(struct waiter *waiter);

/* Sleeps as a thread until waiter_wake() or the deadline (0: none). True: woken. */
bool waiter_sleep(struct waiter *waiter, int64_t deadline_ns);

#endif
