/* SPDX-License-Identifier: MIT
 *
 * Waiting and its early ends; see await.h.
 */
#include "wait/await.h"

#include <errno.h>

#include "core/group.h"
#include "io/timer.h"
#include "wait/stack.h"
#include "wait/suspend.h"

/* What others may write. */
#define ASKED_BYTES (sizeof(struct await) - offsetof(struct await, asked))

int await_refused(const struct worker *w, int64_t until_ns)
{
        /* relaxed: set in the child of a fork by its only thread. */
        if (load_relaxed_u32(&w->runtime->orphan))
                return -EOWNERDEAD;
        if (await_cancelled(w))
                return -ECANCELED;
        if (w->isolated)
                return -EDEADLK;
        return until_ns && kernel_now_ns() >= until_ns ? -ETIMEDOUT : 0;
}

/* ------------------------------------------------------------------ early ends */

/* When it is to be looked at again; 0: not by the clock. */
static int64_t next_look_ns(const struct await *a, uint32_t masked)
{
        if (a->firm || masked)
                return a->until_ns;
        return earlier_ns(a->until_ns,
                          earlier_ns(a->scope->deadline_ns, group_deadline_ns(a->group)));
}

/* The mask, to be asked once for each look. A stolen fork may wait under the mask of a job that
 * stands on another stack and takes it off meanwhile: that one then has all look again. */
static uint32_t watch_mask(struct await *a)
{
        struct word32 *word = scope_mask(a->scope);
        const struct stack *stack = a->waiter.stack;
        bool others = (const char *)word < stack->low || (const char *)word >= (const char *)stack;
        uint32_t mask = load_relaxed_u32(word); /* relaxed: the CAS checks it */

        while (others && mask == SCOPE_MASKED) /* bound: as often as the job changes it */
                /* [MK1] pairs with skua_cancel_mask(): either that finds it, or we find the mask
                 * gone. */
                if (cas_acq_rel_u32(word, &mask, SCOPE_MASKED | SCOPE_WATCHED))
                        return SCOPE_MASKED;
        return mask;
}

/* Ends it if it is to end; else sees to it that the next deadline is noticed. */
static void look(struct worker *w, struct await *a)
{
        uint32_t masked;
        int64_t next_ns;
        int early = 0;

        if (a->early)
                return; /* on its way */
        masked = a->firm ? 0 : watch_mask(a);
        if (!a->firm && await_scope_ends(w->runtime, a->scope, masked))
                early = -ECANCELED;
        else if (a->until_ns && kernel_now_ns() >= a->until_ns)
                early = -ETIMEDOUT;
        if (early) {
                a->early = early;
                if (a->withdraw(w, a)) {
                        a->waiter.result = early;
                        waiter_wake(&a->waiter);
                }
                return;
        }
        next_ns = next_look_ns(a, masked);
        if (next_ns) {
                a->timed = true;
                timers_arm_await(w, &a->timer, next_ns);
        }
}

void await_ask(struct await *a)
{
        struct worker *home = a->waiter.stack->home;
        struct gate *gate = home->gate;
        void *old;

        /* [AW1] acq_rel pairs with the exchange in awaits_asked(): asked again from when the home
         * begins to look, so that it sees what this one is about. */
        if (exchange_acq_rel_u32(&a->asked, 1))
                return;
        old = load_relaxed_ptr(&gate->awaits); /* relaxed: the CAS checks it */
        do {
                a->asked_next = old;
                shared_write(&a->asked_next, sizeof a->asked_next);
                /* [GT4] release pairs with the exchange in awaits_asked(). Bound: lock-free. */
        } while (!cas_acq_rel_ptr(&gate->awaits, &old, a));
        gate_request(home->runtime, home->index, GATE_REQUEST_ASKED);
}

void await_expired(struct wheel_node *node)
{
        await_ask(skua_container(node, struct await, timer));
}

void awaits_asked(struct worker *w)
{
        /* [GT4] acquire pairs with the CAS in await_ask(). */
        struct await *a = exchange_acq_rel_ptr(&w->gate->awaits, NULL), *next;

        for (; a; a = next) {
                shared_read(&a->asked_next, sizeof a->asked_next);
                next = a->asked_next;
                /* [AW1] acquire pairs with await_ask(): what has happened before it. */
                exchange_acq_rel_u32(&a->asked, 0);
                look(w, a);
        }
}

void awaits_look(struct worker *w)
{
        struct await *a, *next;

        /* Waking one only makes its stack ready: all stay in the list. */
        for (a = w->awaits; a; a = next) {
                next = a->next;
                look(w, a);
        }
}

/* ------------------------------------------------------------------ waiting */

static void enlist(struct worker *w, struct await *a)
{
        a->next = w->awaits;
        a->link = &w->awaits;
        if (a->next)
                a->next->link = &a->next;
        w->awaits = a;
        if (a->group)
                group_await(a->group, a);
}

/* From here on nobody knows it, whoever has asked. */
static void delist(struct worker *w, struct await *a)
{
        *a->link = a->next;
        if (a->next)
                a->next->link = a->link;
        if (a->group)
                group_unawait(a->group, a);
        if (a->timed)
                timers_disarm_await(w, &a->timer);
        /* [AW1] relaxed: who may have asked did so under a lock that we have had since. */
        if (load_relaxed_u32(&a->asked)) {
                /* It has ended: not to be ended by them, nor its timer to be armed again. */
                if (!a->early)
                        a->early = AWAIT_OVER;
                awaits_asked(w);
        }
}

int await_suspend(struct worker *w, struct await *a, int64_t until_ns)
{
        a->until_ns = until_ns;
        a->scope = w->scope;
        a->group = a->firm ? NULL : w->scope->group;
        a->timed = false;
        timers_init_await(&a->timer);
        shared_new(&a->asked, ASKED_BYTES);
        store_relaxed_u32(&a->asked, 0); /* relaxed: nobody knows it yet */
        enlist(w, a);
        look(w, a);
        suspend(w);
        delist(w, a);
        shared_gone(&a->asked, ASKED_BYTES);
        return waiter_end(&a->waiter);
}
