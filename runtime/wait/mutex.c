/* SPDX-License-Identifier: MIT
 *
 * Mutexes of jobs: one permit, taken while it is locked. Debug builds know who has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wait/permits.h"
#include "wait/stack.h"

static const struct permits_kind kind = {.most = 1, .barging = true};

static_assert(sizeof(struct skua_mutex) == 64, "part of the binary interface");
static_assert(sizeof(struct permits) <= offsetof(struct skua_mutex, owner_), "of its parts");

static struct permits *permits_of(struct skua_mutex *m)
{
        return (struct permits *)(void *)m;
}

/* ------------------------------------------------------------------ who has it */

#ifdef SKUA_DEBUG
static struct wordptr *owner_of(struct skua_mutex *m)
{
        return (struct wordptr *)(void *)&m->owner_;
}

static void misused(struct worker *w, const char *what)
{
        worker_report(w, what);
        abort();
}

/* relaxed, all: only whether it is the caller's own stack matters, which it has written itself. */
static void owner_wants(struct worker *w, struct skua_mutex *m)
{
        if (load_relaxed_ptr(owner_of(m)) == w->stack)
                misused(w, "skua_await_lock: the job has locked the mutex already");
}

static void owner_has(struct worker *w, struct skua_mutex *m)
{
        store_relaxed_ptr(owner_of(m), w->stack); /* relaxed: as above */
}

static void owner_gives(struct worker *w, struct skua_mutex *m)
{
        if (load_relaxed_ptr(owner_of(m)) != w->stack) /* relaxed: as above */
                misused(w, "skua_unlock: the job has not locked the mutex");
        store_relaxed_ptr(owner_of(m), NULL); /* relaxed: as above */
}
#else
#define owner_wants(w, m) ((void)0)
#define owner_has(w, m)   ((void)0)
#define owner_gives(w, m) ((void)0)
#endif

/* ------------------------------------------------------------------ calls */

SKUA_API void skua_mutex_init(struct skua_mutex *m)
{
        memset(m, 0, sizeof *m);
}

SKUA_API bool skua_try_lock(struct skua_worker *self, struct skua_mutex *m)
{
        (void)self;
        if (!permits_step(permits_of(m), 0, PERMITS_ONE) && !permits_take(permits_of(m), kind.most))
                return false;
        owner_has(worker_of(self), m);
        return true;
}

static __attribute__((noinline)) int lock_slowly(struct worker *w, struct skua_mutex *m,
                                                 int64_t deadline_ns)
{
        int result;

        owner_wants(w, m);
        result = permits_await(w, permits_of(m), &kind, deadline_ns);
        if (!result)
                owner_has(w, m);
        return result;
}

SKUA_API int skua_await_lock_until(struct skua_worker *self, struct skua_mutex *m,
                                   int64_t deadline_ns)
{
        struct worker *w = worker_of(self);

        if (!await_unhindered(w) || !permits_step(permits_of(m), 0, PERMITS_ONE))
                return lock_slowly(w, m, deadline_ns);
        owner_has(w, m);
        return 0;
}

SKUA_API int skua_await_lock(struct skua_worker *self, struct skua_mutex *m)
{
        return skua_await_lock_until(self, m, 0);
}

SKUA_API void skua_unlock(struct skua_worker *self, struct skua_mutex *m)
{
        (void)self;
        owner_gives(worker_of(self), m);
        if (!permits_step(permits_of(m), PERMITS_ONE, 0))
                permits_give(permits_of(m), &kind);
}
