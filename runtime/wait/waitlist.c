/* SPDX-License-Identifier: MIT
 *
 * What the objects for waiting jobs share beside the list itself; see waitlist.h.
 */
#include "wait/waitlist.h"

#include <errno.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "wait/suspend.h"

/* How often a lock is looked at before its holder is thought to have lost its CPU. */
enum { LOCK_SPINS = 100 };

void wakelist_wake(struct wakelist *list, bool signal)
{
        struct waiter *waiter = list->first, *next;

        for (; waiter; waiter = next) {
                shared_read(&waiter->next, sizeof waiter->next);
                next = waiter->next;
                if (signal)
                        waiter_wake_signal(waiter);
                else
                        waiter_wake(waiter);
        }
}

int thread_refused(void)
{
        const struct worker *w = self_get();

        if (!w)
                return 0;
        /* relaxed: set in the child of a fork by its only thread. */
        return load_relaxed_u32(&w->runtime->orphan) ? -EOWNERDEAD : -EDEADLK;
}

void lock_pause(unsigned *rounds)
{
        if (++*rounds % LOCK_SPINS)
                spin_hint();
        else
                kernel_yield();
}
