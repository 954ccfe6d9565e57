/* SPDX-License-Identifier: MIT
 *
 * What the running job can say and ask of itself: errors, cancellation, isolation; its deadline;
 * and the scopes that loops put around a part of it.
 */
#include <errno.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "limits/blocking.h"
#include "wait/held.h"
#include "wait/stack.h"
#include "wait/suspend.h"

SKUA_API void skua_fail(struct skua_worker *self, int error)
{
        if (error != (int16_t)error)
                error = -EINVAL;
        if (self)
                scope_fail(worker_of(self)->scope, error);
        else
                blocking_fail(error);
}

SKUA_API bool skua_cancelled(struct skua_worker *self)
{
        struct worker *w = worker_of(self);

        return w ? scope_cancelled(w->runtime, w->scope) : blocking_cancelled();
}

SKUA_API void skua_isolated(struct skua_worker *self,
                            void (*fn)(struct skua_worker *self, void *arg), void *arg)
{
        struct worker *w = worker_of(self);

        w->isolated++;
        fn(self, arg);
        w->isolated--;
}

/* Joins what the running job has forked, or drops it, from inside any number of loops. */
static void settle_forks(struct worker *w)
{
        struct skua_worker *self = &w->face;

        while (self->fork_top_ != &w->stack->base) { /* bound: what has been forked */
                struct skua_job *job = self->fork_top_;

                if (job->run_)
                        skua_join(self, job);
                else
                        scope_leave(self, skua_container(job, struct scope_frame, marker));
        }
}

SKUA_API void skua_exit(struct skua_worker *self, int error)
{
        struct worker *w = worker_of(self);

        settle_forks(w);
        skua_fail(self, error);
        w->isolated = 0;
        worker_end_job(w);
        suspend_for_good(w);
        __builtin_unreachable();
}

/* What a job with a deadline is called with. */
static void limited_run(struct skua_worker *self, struct skua_job *job)
{
        skua_fn *run = (skua_fn *)(uintptr_t)job->state_;

        shared_read(&job->state_, sizeof job->state_);
        job->run_ = run; /* it may be submitted again, also without a deadline */
        if (self) {
                scope_limit(worker_of(self), (int64_t)job->reserved_);
                worker_of(self)->running = run;
        } else {
                blocking_limit((int64_t)job->reserved_);
        }
        run(self, job);
}

void job_limit(struct skua_job *job, int64_t deadline_ns)
{
        job->state_ = (uintptr_t)job->run_;
        job->reserved_ = (uint64_t)deadline_ns;
        job->run_ = limited_run;
        shared_write(&job->state_, sizeof job->state_);
}

bool scope_set_deadline(const struct runtime *rt, struct scope *scope, int64_t deadline_ns)
{
        bool before = scope_cancelled(rt, scope);

        scope->deadline_ns = deadline_ns;
        return !before && scope_cancelled(rt, scope);
}

void scope_limit(struct worker *w, int64_t deadline_ns)
{
        if (!scope_set_deadline(w->runtime, w->scope, deadline_ns))
                return;
        /* It has been counted as it looked without the deadline. */
        count_add(&w->count.run, -(uint64_t)1);
        count_add(&w->count.cancelled, 1);
}

void scope_enter(struct skua_worker *self, struct scope_frame *frame)
{
        struct worker *w = worker_of(self);

        held_check(w, "a job loops and holds a pthread mutex");
        shared_new(frame, sizeof *frame);
        frame->outer = w->scope;
        frame->scope.group = w->scope->group;
        frame->scope.deadline_ns = w->scope->deadline_ns;
        store_relaxed_u32(&frame->scope.error, 0); /* relaxed: nobody else knows it yet */
        frame->scope.mask = scope_mask(w->scope);
        w->scope = &frame->scope;
        frame->marker.run_ = NULL;
        frame->marker.owner_ = &frame->scope;
        frame->marker.next_ = self->fork_top_;
        self->fork_top_->younger_ = &frame->marker;
        /* Behind nothing private it is public at once: its forks need not pass it. */
        if (self->fork_public_ == self->fork_top_)
                self->fork_public_ = &frame->marker;
        self->fork_top_ = &frame->marker;
}

int scope_leave(struct skua_worker *self, struct scope_frame *frame)
{
        self->fork_top_ = frame->marker.next_;
        if (self->fork_public_ == &frame->marker)
                self->fork_public_ = frame->marker.next_;
        worker_of(self)->scope = frame->outer;
        return scope_error(&frame->scope);
}
