/* SPDX-License-Identifier: MIT
 *
 * A few threads for the calls that block whatever one does: regular files without io_uring. They
 * belong to one ring, whose owner gives them calls and takes the results; they come when they are
 * needed and end after some idle time. A result waits in a list behind a lock; an owner that sleeps
 * is told by an eventfd, one that is busy by a flag of its ring.
 */
#ifndef IO_BLOCKING_H
#define IO_BLOCKING_H

#include <pthread.h>
#include <stdbool.h>

#include "core/kernel.h"

enum { BLOCKING_THREADS = 16 };

struct blocking_call {
        struct blocking_call *next;
        void (*run)(struct blocking_call *call); /* on one of the threads */
};

enum blocking_slot { BLOCKING_FREE, BLOCKING_RUNS, BLOCKING_ENDED };

struct blocking_thread {
        struct kernel_thread thread;
        struct blocking *blocking;
        enum blocking_slot slot; /* under the lock */
};

struct blocking {
        pthread_mutex_t lock;
        pthread_cond_t work;
        struct blocking_call *queue, **queue_end, *done, **done_end;
        unsigned threads, idle, queued; /* of the threads, idle ones wait for work */
        bool stop;
        bool asleep;           /* the owner has to be told by the event */
        int event;             /* an eventfd; -1: no call yet */
        struct word32 *notice; /* set when there are results */
        uint32_t notice_bits;
        struct blocking_thread slots[BLOCKING_THREADS];
};

/* All are the owner's. 0 or a negative errno. */
int blocking_open(struct blocking *b, struct word32 *notice, uint32_t notice_bits);

/* No call is under way. */
void blocking_close(struct blocking *b);

/* The descriptor that wakes a sleeping owner, or a negative errno. Before the first call. */
int blocking_event(struct blocking *b);

/* 0, or a negative errno when there is no thread at all to be had. */
int blocking_submit(struct blocking *b, struct blocking_call *call);

/* True: it will not be run. */
bool blocking_withdraw(struct blocking *b, struct blocking_call *call);

/* The calls that have been run, oldest first. */
struct blocking_call *blocking_take(struct blocking *b);

/* Around a sleep. False: there are results, do not sleep. */
bool blocking_sleep(struct blocking *b);
void blocking_awake(struct blocking *b);

#endif
