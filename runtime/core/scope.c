/* SPDX-License-Identifier: MIT
 *
 * What the running job can say and ask of itself: errors, cancellation, isolation; and the scopes
 * that loops put around a part of it.
 */
#include <errno.h>

#include "core/runtime.h"
#include "core/worker.h"

SKUA_API void skua_fail(struct skua_worker *self, int error)
{
        if (error != (int16_t)error)
                error = -EINVAL;
        scope_fail(worker_of(self)->scope, error);
}

SKUA_API bool skua_cancelled(struct skua_worker *self)
{
        struct worker *w = worker_of(self);

        return w && scope_cancelled(w->runtime, w->scope);
}

SKUA_API void skua_isolated(struct skua_worker *self,
                            void (*fn)(struct skua_worker *self, void *arg), void *arg)
{
        struct worker *w = worker_of(self);

        w->isolated++;
        fn(self, arg);
        w->isolated--;
}

void scope_enter(struct skua_worker *self, struct scope_frame *frame)
{
        struct worker *w = worker_of(self);

        shared_new(frame, sizeof *frame);
        frame->outer = w->scope;
        frame->scope.group = w->scope->group;
        /* relaxed: nobody else knows it yet. */
        store_relaxed_u32(&frame->scope.error, 0);
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
