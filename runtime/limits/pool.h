/* SPDX-License-Identifier: MIT
 *
 * The blocking pool: threads apart from the workers, for what blocks in the kernel. One per
 * runtime, in its slot. A thread is woken or started when something is queued and none is on its
 * way to it, up to a limit, and ends when it has been idle for some time; the one that went idle
 * last is used first, so those that are not needed grow cold and end.
 *
 * Jobs and calls wait in queues of their own and are taken in turns, each first in, first out.
 * Calls lie in the frame of somebody who waits for them, so they can be taken back, and are few;
 * jobs are bounded. Everything is under one lock, held for a few steps, or while a thread is
 * started.
 *
 * Invariant: while something is queued a thread comes for it, or all threads that may be have
 * something to do. While anything is queued or obliged there is a thread.
 */
#ifndef LIMITS_POOL_H
#define LIMITS_POOL_H

#include "core/injector.h"
#include "core/kernel.h"

struct order;
struct pool;
struct runtime;
struct scope;
struct settings;

struct pool_call {
        struct pool_call *next, **link;      /* link: the pointer to this one; NULL: not queued */
        void (*run)(struct pool_call *call); /* its last touch of the call may be a wake-up */
        struct scope *scope;                 /* of the job for which it is done, or NULL */
};

/* Somebody who waits before a full queue, with a job to be queued when its turn has come. */
struct pool_wait {
        struct pool_wait *next, **link; /* link: NULL: not listed */
        const struct order *order;
        size_t index;
        struct waiter *waiter; /* a stack to be woken; NULL: a thread, which sleeps on `room` */
};

/* Lies at the upper end of its own stack mapping. */
struct pool_thread {
        struct kernel_thread thread;
        struct pool *pool;
        struct pool_thread *next, **link; /* idle: the one that has been so for longer */
        struct word32 state;              /* POOL_ASLEEP until somebody has use for it */
        unsigned number;
        bool coming;         /* counted there */
        bool job;            /* it has one, counted in busy */
        struct scope *scope; /* of what it runs; NULL: of nobody */
};

struct pool_queue {
        struct pool_call *calls, **calls_end;
        struct skua_job *jobs, **jobs_end;
};

struct pool {
        _Alignas(ARCH_APART) struct word32 lock;
        struct word32 queued; /* written under the lock, watched by a thread that spins */
        struct word32 room;   /* counts what threads before a full queue wait for */
        struct word32 threads;
        struct word64 busy;      /* jobs queued or running: a drain waits for them */
        struct word64 entered;   /* jobs, ever; these are written under the lock */
        struct word64 placed;    /* of them, those that were submitted straight to here */
        struct word64 cancelled; /* of them, as they began */
        /* all below is under the lock */
        struct pool_queue queues[INJECTOR_PRIORITIES];
        struct pool_wait *waiting, **waiting_end;
        struct pool_thread *idle;  /* the warmest first */
        struct pool_thread *ended; /* the last one; it has buried the one before */
        uint64_t jobs;             /* of what is queued */
        uint64_t obliged;          /* jobs accepted whose turn to be queued has not come */
        unsigned coming;           /* threads started, woken or spinning that have nothing yet: in
                                      most cases one, or none */
        unsigned number;           /* threads started, ever */
        bool calls_next, spinner, ends;
        /* constant in a generation */
        struct runtime *rt;
        unsigned least, most;
        uint64_t limit; /* of jobs */
        int64_t idle_ns, spin_ns;
};

enum pool_answer { POOL_QUEUED = 0, POOL_FULL = 1 }; /* or a negative errno */

/* For a new generation; nobody uses it. */
void pool_settle(struct pool *p, struct runtime *rt, const struct settings *settings);

/* The threads that are always there. 0 or a negative errno. */
int pool_start(struct pool *p);

/* Nothing is queued any more but calls that have nothing to do; its threads end. Late callers of
 * pool_close() touch `room` alone. */
void pool_end(struct pool *p);

/* The runtime's door has been shut: threads that wait before a full queue look again.
 * Async-signal-safe. */
void pool_close(struct pool *p);

/* All below: any thread, while the runtime cannot end.
 *
 * 0, or -EAGAIN: there is no thread, and none to be had. */
int pool_call(struct pool *p, struct pool_call *call);

/* False: a thread has it. */
bool pool_withdraw(struct pool *p, struct pool_call *call);

/* The i-th job of an order, which is prepared when it is queued. POOL_FULL if `bounded` and the
 * queue is full or others wait. */
int pool_job(struct pool *p, const struct order *order, size_t i, bool bounded);

/* The same from a thread that waits for room: 0, -EAGAIN (no thread), or -ESHUTDOWN once the
 * runtime's door is shut. */
int pool_job_wait(struct pool *p, const struct order *order, size_t i);

/* The same from a suspending job: POOL_FULL: `wait` is listed, and its waiter woken when the job
 * has been queued. pool_unlist() takes it off again; false: that has happened. */
int pool_job_list(struct pool *p, struct pool_wait *wait);
bool pool_unlist(struct pool *p, struct pool_wait *wait);

/* So many jobs will come later and must find a thread: 0 or -EAGAIN. Then each of them. */
int pool_oblige(struct pool *p, size_t count);
void pool_job_obliged(struct pool *p, struct skua_job *job);

/* Does something wait for a thread? A hint. */
static inline bool pool_wanted(const struct pool *p)
{
        return load_relaxed_u32(&p->queued); /* relaxed: a hint */
}

/* The calling thread, if it is one of a blocking pool. */
static inline struct pool_thread *pool_thread_self(void)
{
        return pool_get();
}

/* Is a job there? For a drain, which looks here after it has found the runtime's door without
 * callers and before it looks at the injectors. */
static inline bool pool_busy(const struct pool *p)
{
        /* [BP4] acquire pairs with the release when a job has ended: what it has submitted. */
        return load_acquire_u64(&p->busy);
}

/* blocking.c: runs a job that has been taken. */
void blocking_run(struct pool_thread *t, struct skua_job *job);

#endif
