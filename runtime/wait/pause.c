/* SPDX-License-Identifier: MIT
 *
 * Waiting for nothing but the clock or one's turn, and the mask.
 */
#include <errno.h>

#include "wait/await.h"
#include "wait/suspend.h"

SKUA_API int skua_await_yield(struct skua_worker *self)
{
        struct worker *w = worker_of(self);
        int error;

        /* relaxed: set in the child of a fork by its only thread. */
        if (w->isolated || load_relaxed_u32(&w->runtime->orphan) || !await_unhindered(w)) {
                error = await_refused(w, 0);
                if (error)
                        return error;
        }
        suspend_ready(w);
        return 0;
}

static bool withdraw(struct worker *w, struct await *a)
{
        (void)w, (void)a; /* nobody else knows it */
        return true;
}

SKUA_API int skua_await_sleep_until(struct skua_worker *self, int64_t deadline_ns)
{
        struct worker *w = worker_of(self);
        struct await a;
        int result = await_refused(w, 0);

        if (result)
                return result;
        if (deadline_ns <= kernel_now_ns())
                return 0;
        await_begin(w, &a, withdraw);
        result = await_suspend(w, &a, deadline_ns);
        return result == -ETIMEDOUT ? 0 : result;
}

SKUA_API int skua_await_sleep(struct skua_worker *self, int64_t ns)
{
        return skua_await_sleep_until(self, ns > 0 ? later_ns(kernel_now_ns(), ns) : 0);
}

SKUA_API bool skua_cancel_mask(struct skua_worker *self, bool masked)
{
        struct worker *w = worker_of(self);
        struct word32 *word = scope_mask(w->scope);
        /* relaxed: only this job sets it and takes it away. */
        uint32_t before = load_relaxed_u32(word);

        if (masked && !before)
                /* relaxed: its forks may look at any time. */
                store_relaxed_u32(word, SCOPE_MASKED);
        /* [MK1] pairs with watch_mask(): who waits under the mask. */
        if (!masked && before && exchange_acq_rel_u32(word, 0) & SCOPE_WATCHED)
                runtime_ask(w->runtime);
        return before;
}
