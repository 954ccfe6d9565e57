/* SPDX-License-Identifier: MIT
 *
 * Events: a permit or none. Posting one that is set changes nothing; taking it clears it.
 */
#include <errno.h>
#include <string.h>

#include "wait/permits.h"

static const struct permits_kind kind = {.most = 0, .binary = true, .signal = true};

static_assert(sizeof(struct skua_event) == 64, "part of the binary interface");
static_assert(sizeof(struct permits) <= offsetof(struct skua_event, reserved_), "of its parts");

static struct permits *permits_of(struct skua_event *e)
{
        return (struct permits *)(void *)e;
}

SKUA_API void skua_event_init(struct skua_event *e)
{
        memset(e, 0, sizeof *e);
}

SKUA_API bool skua_try_event(struct skua_event *e)
{
        return permits_take(permits_of(e), kind.most);
}

SKUA_API int skua_await_event_until(struct skua_worker *self, struct skua_event *e,
                                    int64_t deadline_ns)
{
        struct worker *w = worker_of(self);

        if (await_unhindered(w) && permits_step(permits_of(e), -PERMITS_ONE, 0))
                return 0;
        return permits_await(w, permits_of(e), &kind, deadline_ns);
}

SKUA_API int skua_await_event(struct skua_worker *self, struct skua_event *e)
{
        return skua_await_event_until(self, e, 0);
}

SKUA_API int skua_wait_event(struct skua_event *e, int64_t timeout_ns)
{
        return permits_wait(permits_of(e), &kind, timeout_ns);
}

static __attribute__((noinline)) void post_slowly(struct skua_event *e)
{
        int saved = errno;

        permits_give(permits_of(e), &kind);
        errno = saved;
}

SKUA_API void skua_event_post(struct skua_event *e)
{
        if (!permits_step(permits_of(e), 0, -PERMITS_ONE))
                post_slowly(e);
}
