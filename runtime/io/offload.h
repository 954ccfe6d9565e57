/* SPDX-License-Identifier: MIT
 *
 * The calls of a ring without io_uring that block whatever one does: regular files. The runtime's
 * blocking pool runs them, a few at a time, so that one ring's files leave threads to others: up to
 * OFFLOAD_RUNNERS entries of the pool take the ring's calls one after the other. The owner gives
 * calls and takes the results. A result waits in a list behind a lock; an owner that sleeps is told
 * by an eventfd, one that is busy by a flag of its ring.
 */
#ifndef IO_OFFLOAD_H
#define IO_OFFLOAD_H

#include <pthread.h>
#include <stdbool.h>

#include "limits/pool.h"

enum { OFFLOAD_RUNNERS = 16 };

struct offload_call {
        struct offload_call *next;
        void (*run)(struct offload_call *call); /* on a thread of the pool */
};

struct offload_runner {
        struct pool_call call;
        struct offload *offload;
        bool busy; /* queued or running; under the lock */
};

struct offload {
        pthread_mutex_t lock;
        struct pool *pool; /* NULL: a ring by itself, which cannot block */
        struct offload_call *queue, **queue_end, *done, **done_end;
        unsigned busy;         /* runners */
        bool asleep;           /* the owner has to be told by the event */
        int event;             /* an eventfd; -1: no call yet */
        struct word32 *notice; /* set when there are results */
        uint32_t notice_bits;
        struct offload_runner runners[OFFLOAD_RUNNERS];
};

/* All are the owner's. 0 or a negative errno. */
int offload_open(struct offload *o, struct pool *pool, struct word32 *notice, uint32_t notice_bits);

/* No call has ever been under way, or the pool has ended. */
void offload_close(struct offload *o);

/* The descriptor that wakes a sleeping owner, or a negative errno. Before the first call. */
int offload_event(struct offload *o);

/* 0, or a negative errno when there is no thread at all to be had. */
int offload_submit(struct offload *o, struct offload_call *call);

/* True: it will not be run. */
bool offload_withdraw(struct offload *o, struct offload_call *call);

/* The calls that have been run, oldest first. */
struct offload_call *offload_take(struct offload *o);

/* Around a sleep. False: there are results, do not sleep. */
bool offload_sleep(struct offload *o);
void offload_awake(struct offload *o);

#endif
