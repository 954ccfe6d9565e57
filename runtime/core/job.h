/* SPDX-License-Identifier: MIT
 *
 * A job as the core sees it: the atomic words inside the public struct, and what runs with it.
 *
 *   scope    what a submitted job or a loop owns: group, deadline and first error. Stolen forks
 *            share their parent's scope, so that cancellation and errors follow the work.
 *   waiter   somebody who waits: a suspended stack or a sleeping thread. Lives on its own frame
 *            until it is woken.
 */
#ifndef CORE_JOB_H
#define CORE_JOB_H

#include <assert.h>

#include "arch.h"
#include "core/kernel.h"
#include "skua.h"

static_assert(sizeof(struct skua_job) == 64, "the public job is one cache line for ever");

struct stack;

/* The mask: awaits do not mind cancellation. */
enum {
        SCOPE_MASKED = 1,
        SCOPE_WATCHED = 2 /* and a stolen fork waits meanwhile */
};

struct scope {
        struct skua_group *group; /* or NULL */
        struct word32 error;      /* first error, as a positive pattern of the int; 0: none */
        struct word32 own_mask;   /* see scope_mask() */
        int64_t deadline_ns;      /* cancelled from then on; 0: none */
        struct word32 *mask;      /* the job's, in the scope of a loop of it; NULL: the own */
};

/* Of the job, its forks and its loops: one for all of them. Only the job itself changes it. */
static inline struct word32 *scope_mask(struct scope *scope)
{
        return scope->mask ? scope->mask : &scope->own_mask;
}

struct waiter {
        struct waiter *next;
        struct stack *stack; /* NULL: a thread, sleeping on `woken` */
        struct word32 woken;
        int result;
};

/* Values of a published fork's state word; anything else is its joiner's struct waiter. */
enum { JOB_PENDING = 0, JOB_DONE = 1 };

/* In flags_: the job is queued (debug builds check it). */
enum { JOB_QUEUED = 1u << 0 };

static inline struct word64 *job_state(struct skua_job *job)
{
        return (struct word64 *)(void *)&job->state_;
}

static inline struct wordptr *job_next(struct skua_job *job)
{
        return (struct wordptr *)(void *)&job->next_;
}

static inline struct word32 *job_thief(struct skua_job *job)
{
        return (struct word32 *)(void *)&job->thief_;
}

/* Marks of its life, for who checks: it is about to be found by others; it has been woken, or found
 * by nobody. */
static inline void waiter_begin(struct waiter *waiter)
{
        (void)waiter;
        shared_new(waiter, sizeof *waiter);
        shared_write(&waiter->stack, sizeof waiter->stack);
}

static inline int waiter_end(struct waiter *waiter)
{
        int result = waiter->result;

        shared_read(&waiter->result, sizeof waiter->result);
        shared_gone(waiter, sizeof *waiter);
        return result;
}

/* Wakes whoever `waiter` stands for. The caller's last touch of it. */
void waiter_wake(struct waiter *waiter);

/* First one in time wins; 0 is no error. */
static inline void scope_fail(struct scope *scope, int error)
{
        uint32_t none = 0;

        if (error)
                /* [SC1] acq_rel pairs with the acquire load in scope_error(): who sees the error
                 * sees what the failing job wrote before it. */
                cas_acq_rel_u32(&scope->error, &none, (uint32_t)error);
}

static inline int scope_error(const struct scope *scope)
{
        /* [SC1] pairs with the CAS in scope_fail(). */
        return (int)load_acquire_u32(&scope->error);
}

/* Gives a job, which is not queued yet, a deadline of its own. */
void job_limit(struct skua_job *job, int64_t deadline_ns);

/* A scope of its own for a part of a job, as loops have: errors of what runs in it, stolen parts
 * included, stay in it. Its marker stands in the list of forks, so that younger forks are published
 * with this scope and older ones with theirs. */
struct scope_frame {
        struct scope scope, *outer;
        struct skua_job marker; /* run_ is NULL, owner_ the scope */
};
void scope_enter(struct skua_worker *self, struct scope_frame *frame);
int scope_leave(struct skua_worker *self, struct scope_frame *frame); /* its first error */

#endif
