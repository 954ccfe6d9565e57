/* SPDX-License-Identifier: MIT
 *
 * Semaphores: as many permits as have been given.
 */
#include <errno.h>
#include <string.h>

#include "wait/permits.h"

static const struct permits_kind kind = {.most = 0};

static_assert(sizeof(struct skua_semaphore) == 64, "part of the binary interface");
static_assert(sizeof(struct permits) <= offsetof(struct skua_semaphore, reserved_), "its parts");

static struct permits *permits_of(struct skua_semaphore *s)
{
        return (struct permits *)(void *)s;
}

SKUA_API void skua_semaphore_init(struct skua_semaphore *s, unsigned count)
{
        memset(s, 0, sizeof *s);
        /* relaxed: nobody else knows it yet. */
        store_relaxed_u64(&permits_of(s)->word, -(uint64_t)count * PERMITS_ONE);
}

SKUA_API bool skua_try_semaphore(struct skua_semaphore *s)
{
        return permits_take(permits_of(s), kind.most);
}

SKUA_API int skua_await_semaphore_until(struct skua_worker *self, struct skua_semaphore *s,
                                        int64_t deadline_ns)
{
        struct worker *w = worker_of(self);

        if (await_unhindered(w) && permits_take(permits_of(s), kind.most))
                return 0;
        return permits_await(w, permits_of(s), &kind, deadline_ns);
}

SKUA_API int skua_await_semaphore(struct skua_worker *self, struct skua_semaphore *s)
{
        return skua_await_semaphore_until(self, s, 0);
}

SKUA_API int skua_wait_semaphore(struct skua_semaphore *s, int64_t timeout_ns)
{
        return permits_wait(permits_of(s), &kind, timeout_ns);
}

SKUA_API void skua_semaphore_post(struct skua_semaphore *s)
{
        struct permits *p = permits_of(s);
        /* relaxed: the CAS checks it. */
        uint64_t word = load_relaxed_u64(&p->word);

        if (word & (PERMITS_WAITED | PERMITS_LOCKED) || !permits_step(p, word, word - PERMITS_ONE))
                permits_give(p, &kind);
}
