/* SPDX-License-Identifier: MIT
 *
 * Users' own queues of completions. Each has a turn: who has it, and nobody else, calls poll and
 * arm. Workers that search poll all of them every round, busy ones at their fairness turns.
 *
 * Asleep, one worker at a time watches those that are for anybody; one that is for a single worker
 * is watched by that one. A source that nobody watches counts as visible work: so a worker looks
 * for the watch, arms and only then sleeps, and one that finds work gives the watch up before it
 * looks whether more is visible, and wakes another for it [SO3].
 *
 * What is watched is an epoll instance, so that a file descriptor goes with its source, whatever
 * rings have been told.
 */
#ifndef IO_SOURCE_H
#define IO_SOURCE_H

#include "arch.h"

struct runtime;
struct worker;

enum { SOURCES_MAX = 64, SOURCES_TURN = 16 };

struct source_slot {
        struct wordptr source; /* struct skua_source, or NULL; written in the turn */
        struct word32 turn;    /* 1: taken */
        struct word32 worker;  /* SKUA_WORKER(i), or 0 */
        int fd;
};

struct sources {
        struct word64 set;     /* slots that are in use */
        struct word64 anybody; /* of them, those that any worker polls */
        struct word64 epoch;   /* how often one has been added */
        struct word32 watcher; /* index + 1 of who watches those of anybody; 0: nobody */
        struct word32 epoll;   /* for those of anybody: descriptor + 1; 0: not yet needed */
        struct word32 lock;    /* of add */
        struct source_slot slots[SOURCES_MAX];
};

/* Of a worker. */
struct source_watch {
        _Alignas(8) struct word32 armed; /* its ring looks at the runtime's epoll instance */
        _Alignas(8) struct word32 own_armed;
        struct word32 own_epoll; /* for those of this worker: descriptor + 1, or 0 */
        bool watcher;            /* it has the watch */
        bool inside;             /* in a poll or arm */
        uint64_t epoch;          /* as it was before the last look */
        int64_t next_ns;         /* when to look again at the latest; 0: never */
};

/* Polls what the worker may poll, those aside that somebody else is polling. */
void sources_poll(struct worker *w);

/* Before the worker sleeps. False: something has come, or may have. */
bool sources_arm(struct worker *w);

/* The worker has found work and gives up the watch. */
void sources_leave(struct worker *w);

/* When all threads and their rings have gone. */
void sources_retire(struct runtime *rt);

static inline bool sources_any(const struct sources *sources)
{
        /* relaxed: a hint; who adds one wakes a worker. */
        return load_relaxed_u64(&sources->set);
}

/* Is there one that somebody should watch? Behind a full fence. */
static inline bool sources_unwatched(const struct sources *sources)
{
        /* [SO3] relaxed, both: behind the fence of a parker or finder, [PK2]. */
        return load_relaxed_u64(&sources->anybody) && !load_relaxed_u32(&sources->watcher);
}

/* Has one been added since this worker has looked? Behind a full fence. */
static inline bool sources_changed(const struct sources *sources, const struct source_watch *watch)
{
        /* relaxed: behind the parker's fence, [PK2]. */
        return load_relaxed_u64(&sources->epoch) != watch->epoch;
}

#endif
