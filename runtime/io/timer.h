/* SPDX-License-Identifier: MIT
 *
 * Timers of a worker: what is to happen at a time stands in its wheel. Timers and delayed jobs
 * become jobs when they expire, operations with a deadline are cancelled. The owner arms nearly
 * all and lets them expire; others arm too (delayed jobs from outside and for another worker), and
 * any worker cancels and moves, hence the lock. When the runtime stops, all but the deadlines of
 * operations are due at once.
 *
 * The owner sleeps until next_ns; who lowers that of another's wheel wakes it: see [PK1].
 */
#ifndef IO_TIMER_H
#define IO_TIMER_H

#include <stdbool.h>

#include "arch.h"
#include "io/wheel.h"

struct skua_job;
struct skua_strand;
struct worker;

struct timers {
        _Alignas(ARCH_APART) struct word64 next_ns; /* of the wheel; written under the lock */
        struct word64 count;                        /* armed: read by a drain */
        struct word32 lock;                         /* of all below, and of the nodes */
        bool stopped;
        struct wheel wheel;
};

/* What a node is, in its flags. Others are the debug build's, of jobs. */
enum {
        TIMER_IO = 1u << 31,      /* of an operation */
        TIMER_TIMER = 1u << 30,   /* of a struct skua_timer; else of a delayed job */
        TIMER_BOUND = 1u << 29,   /* a job that runs at its home only */
        TIMER_AWAIT = 1u << 28,   /* of an await */
        TIMER_BLOCKING = 1u << 27 /* a job for the blocking pool */
};

/* A delayed job: what its target said. */
struct timer_delay {
        int64_t at_ns;
        int64_t deadline_ns;        /* of the job itself; 0: none */
        struct skua_strand *strand; /* or NULL */
        bool bound, blocking;
};

/* Queues jobs of w's timers that have expired in the batch of `taker`, which is w itself or who
 * looks after it while it is busy; as many as there is room for. Under the io's lock, if w has I/O.
 */
void timers_serve(struct worker *w, struct worker *taker, int64_t now_ns);

static inline void timers_turn(struct worker *w, int64_t now_ns)
{
        timers_serve(w, w, now_ns);
}

/* The runtime stops: from now on what is armed and what will be expires at once, and its job sees
 * itself cancelled. The stopping thread; w is to be woken. */
void timers_stop(struct worker *w);

/* After a stop: the next job of a worker that has no thread, to be queued by the caller; or NULL.
 */
struct skua_job *timers_take(struct worker *w);

/* Arms a delayed job, which has been accepted. Any thread. True: w must be woken, if that is not
 * the caller: it may sleep longer than it should. */
bool timers_delay(struct worker *w, struct skua_job *job, const struct timer_delay *delay);

/* The deadline of an operation. Owner; any thread. */
void timers_arm_io(struct worker *w, uint64_t *node, int64_t deadline_ns);
void timers_disarm_io(struct worker *home, uint64_t *node);

/* That of an await, before anybody else knows it. */
static inline void timers_init_await(struct wheel_node *node)
{
        node->link = NULL;
        node->flags = TIMER_AWAIT;
}

/* Armed or moved; after disarm nobody is about to tell it any more. Owner. */
void timers_arm_await(struct worker *w, struct wheel_node *node, int64_t deadline_ns);
void timers_disarm_await(struct worker *w, struct wheel_node *node);

#endif
