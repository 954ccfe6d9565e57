/* SPDX-License-Identifier: MIT
 *
 * Fork and join: the inline half. Included by skua.h, never alone.
 *
 * Outstanding forks form a list through the jobs themselves, youngest first, that only the owner
 * touches. The older ones may have been published for thieves: `public` is the youngest of those. A
 * fork is linked by four stores, a join unlinks by one and compares the job with `public`;
 * everything else is the slow path (runtime/core/deque.c). `quiet` is the one word that others
 * write: 0 says "somebody is hungry", and makes the next fork take the slow path.
 *
 * Define SKUA_LINKABLE to get declarations instead of inlines, for bindings: the library has
 * symbols of the same names.
 */
#ifndef SKUA_FORK_H
#define SKUA_FORK_H

#ifndef SKUA_H
#error "include skua.h, not skua_fork.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The part of a worker that the inlines need; the rest is the library's. */
struct skua_worker {
        struct skua_job *fork_top_;    /* owner only: the youngest outstanding fork */
        struct skua_job *fork_public_; /* owner only: the youngest published one */
        uintptr_t fork_quiet_;         /* 0, by the owner or a hungry thief: publish */
};

SKUA_API void skua_fork_slow_(struct skua_worker *self);
SKUA_API bool skua_join_slow_(struct skua_worker *self, struct skua_job *job);
SKUA_API bool skua_join_checked_(struct skua_worker *self, struct skua_job *job);

#ifndef SKUA_FORK_INLINE_
#define SKUA_FORK_INLINE_ static inline
#endif

#ifdef SKUA_LINKABLE
SKUA_API void skua_fork(struct skua_worker *self, struct skua_job *job, skua_fn *run);
SKUA_API bool skua_join(struct skua_worker *self, struct skua_job *job);
#else

/* Makes `job` available to idle workers, to run `run`; it must be joined by the same job, in
 * reverse order of the forks, before the function returns. Initialises what it needs of *job, which
 * the caller does not zero and keeps until the join. Never fails. */
SKUA_FORK_INLINE_ void skua_fork(struct skua_worker *self, struct skua_job *job, skua_fn *run)
{
        struct skua_job *older = self->fork_top_;

        job->run_ = run;
        job->next_ = older;
        older->younger_ = job;
        self->fork_top_ = job;
        /* [FD1] relaxed: a hint. What a thief's 0 asks for is ordered by the slow path's own
         * fence; seeing it late only delays a publication to the next fork. */
        if (__builtin_expect(__atomic_load_n(&self->fork_quiet_, __ATOMIC_RELAXED) == 0, 0))
                skua_fork_slow_(self);
}

/* Ends the youngest fork. True: nobody took it, and the caller does its work itself, best by a
 * direct call. False: another worker has done it and its writes are visible. May suspend. */
SKUA_FORK_INLINE_ bool skua_join(struct skua_worker *self, struct skua_job *job)
{
#ifdef SKUA_DEBUG
        return skua_join_checked_(self, job);
#else
        self->fork_top_ = job->next_;
        if (__builtin_expect(job == self->fork_public_, 0))
                return skua_join_slow_(self, job);
        return true;
#endif
}

#endif /* SKUA_LINKABLE */

#ifdef __cplusplus
}
#endif

#endif
