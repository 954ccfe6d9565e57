/* SPDX-License-Identifier: MIT
 *
 * Awaits: the one way in which a job waits for something other than a join. What it waits for has
 * it enlisted somewhere and wakes it by its waiter; that the job is cancelled, that the runtime
 * stops, or that the time is up ends it early. All early ends are decided and brought about on the
 * home worker, so that they need no protocol of their own: others only ask it to look again.
 *
 * An await is
 *      try without waiting; done if that succeeds
 *      if ((error = await_refused(w, until_ns))) return error;
 *      enlist a->waiter with the object, or find it ready now
 *      return await_suspend(w, a, until_ns);
 *
 * A group lists the awaits of its jobs, so that cancelling it finds them; awaits of groups below it
 * are found by all workers' looking through theirs.
 */
#ifndef WAIT_AWAIT_H
#define WAIT_AWAIT_H

#include "core/group.h"
#include "core/job.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "io/wheel.h"

enum { AWAIT_OVER = 1 }; /* in `early`: it has ended, by itself */

struct await {
        struct waiter waiter; /* first; listed with what is awaited */
        /* Takes it off where it is enlisted. True: nobody will wake it any more. False: somebody
         * has taken it and wakes it, or its end has been asked for and will wake it. */
        bool (*withdraw)(struct worker *w, struct await *await);
        int64_t until_ns; /* 0: none */
        int early;        /* why its end has been asked for; 0: it has not */
        bool firm;        /* neither cancelled nor ended by a stop */
        struct scope *scope;
        struct await *next, **link; /* of the home's awaits */
        bool timed;                 /* the timer has been armed, and may be about to tell */
        struct wheel_node timer;
        /* with a group, under its lock */
        struct skua_group *group; /* NULL: with none */
        struct await *group_next, **group_link;
        /* on its way to the home worker */
        struct word32 asked;
        struct await *asked_next;
};

/* An await of the running stack, not yet enlisted. */
static inline void await_begin(struct worker *w, struct await *a,
                               bool (*withdraw)(struct worker *w, struct await *await))
{
        a->waiter.stack = w->stack;
        a->waiter.result = 0;
        a->withdraw = withdraw;
        a->early = 0;
        a->firm = false;
        waiter_begin(&a->waiter);
}

/* Are awaits of what runs in the scope to end, as far as the mask lets them? */
static inline bool await_scope_ends(const struct runtime *rt, const struct scope *scope,
                                    uint32_t masked)
{
        if (runtime_cancelling(rt))
                return true;
        return (scope->group || scope->deadline_ns) && !masked && scope_cancelled(rt, scope);
}

/* Is the running job not to wait any more? */
static inline bool await_cancelled(const struct worker *w)
{
        /* relaxed: who changes it is the job, before or after. */
        return await_scope_ends(w->runtime, w->scope, load_relaxed_u32(scope_mask(w->scope)));
}

/* Surely not, at a glance: what is ready need not look further. */
static inline bool await_unhindered(const struct worker *w)
{
        const struct scope *scope = w->scope;
        const struct skua_group *group = scope->group;

        if (__builtin_expect(runtime_cancelling(w->runtime) || scope->deadline_ns, 0))
                return false;
        /* [GR3] pairs with skua_group_cancel() and skua_group_cancel_at(). */
        return !group || (!group->parent_ &&
                          !(load_acquire_u64(group_word(group)) & (GROUP_CANCELLED | GROUP_TIMED)));
}

/* Why an await that is not ready must not begin: -EOWNERDEAD, -EDEADLK (isolated), -ECANCELED,
 * -ETIMEDOUT (until_ns, unless 0, has passed); or 0. */
int await_refused(const struct worker *w, int64_t until_ns);

/* Waits until it is woken, which may have happened already, or ended early: waiter.result, or
 * -ECANCELED or -ETIMEDOUT. */
int await_suspend(struct worker *w, struct await *a, int64_t until_ns);

/* Its home is to look whether it is to end early. Any thread that keeps it alive: with the lock of
 * its group or of the timers. Async-signal-safe. */
void await_ask(struct await *a);

/* The timer's part: the deadline of the await with this node has come. */
void await_expired(struct wheel_node *node);

/* Of those that have been asked for at the own gate; of all. Owner. */
void awaits_asked(struct worker *w);
void awaits_look(struct worker *w);

#endif
