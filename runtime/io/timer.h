/* SPDX-License-Identifier: MIT
 *
 * Timers of a worker.
 */
#ifndef IO_TIMER_H
#define IO_TIMER_H

#include "arch.h"

struct worker;

struct timers {
        struct word64 count; /* armed: read by a drain */
};

/* When there will be something to do, 0: never. Owner. */
static inline int64_t timers_next_ns(const struct worker *w)
{
        (void)w;
        return 0;
}

/* Queues the jobs of timers that have expired; owner. */
static inline void timers_turn(struct worker *w, int64_t now_ns)
{
        (void)w;
        (void)now_ns;
}

/* The runtime stops: all of them expire, and their jobs see themselves cancelled. Owner. */
static inline void timers_stop(struct worker *w)
{
        (void)w;
}

static inline void timers_arm_io(struct worker *w, uint64_t *node, int64_t deadline_ns)
{
        (void)w, (void)node, (void)deadline_ns;
}

static inline void timers_disarm_io(struct worker *home, uint64_t *node)
{
        (void)home, (void)node;
}

#endif
