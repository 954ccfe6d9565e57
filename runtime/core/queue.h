/* SPDX-License-Identifier: MIT
 *
 * The run queue: a bounded ring of ready jobs that one worker owns and all may rob.
 * Chase and Lev, "Dynamic circular work-stealing deque" (SPAA 2005), with the orderings of Le,
 * Pop, Cohen, Zappa Nardelli (PPoPP 2013), except that every store of `bottom` is a release: the
 * release sequence that a relaxed restore in pop relied on is gone from C++20.
 *
 * Indexes are 64 bits wide and `top` never goes back. Invariant: the owner fills slot i only while
 * i - top < QUEUE_SLOTS, so a thief that reads a slot being overwritten fails its CAS.
 *
 *   owner   push (newest), pop (newest), or take (oldest)
 *   anyone  steal (oldest), look
 *
 * A queue from which the owner never pops (the injector batch) may use take() from any thread:
 * without pop there is no race for the last entry, and the fence of steal() is not needed.
 */
#ifndef CORE_QUEUE_H
#define CORE_QUEUE_H

#include "core/job.h"
#include "core/sizes.h"

enum { QUEUE_SLOTS = SIZE_QUEUE, BATCH_SLOTS = SIZE_BATCH };

struct queue {
        _Alignas(ARCH_APART) struct word64 top;    /* thieves: index of the oldest */
        _Alignas(ARCH_APART) struct word64 bottom; /* owner: one past the newest */
        uint64_t mask;
        struct wordptr *slots;
};

static inline bool queue_push(struct queue *q, struct skua_job *job)
{
        /* relaxed: only the owner writes bottom. */
        uint64_t bottom = load_relaxed_u64(&q->bottom);

        /* relaxed: an old value of top only makes the queue look fuller. */
        if (bottom - load_relaxed_u64(&q->top) > q->mask)
                return false;
        /* relaxed: published by the next store. */
        store_relaxed_ptr(&q->slots[bottom & q->mask], job);
        /* [RQ1] pairs with the acquire of bottom in steal() and take(): the slot and the job come
         * before the index. */
        store_release_u64(&q->bottom, bottom + 1);
        return true;
}

/* Owner only: lays job number `i` behind the newest, for a push of several at once, for which there
 * is room; queue_lay_done() makes them visible. */
static inline void queue_lay(struct queue *q, size_t i, struct skua_job *job)
{
        /* relaxed, both: only the owner writes bottom; published by queue_lay_done(). */
        store_relaxed_ptr(&q->slots[(load_relaxed_u64(&q->bottom) + i) & q->mask], job);
}

static inline void queue_lay_done(struct queue *q, size_t count)
{
        /* [RQ1] as in push. relaxed: only the owner writes bottom. */
        store_release_u64(&q->bottom, load_relaxed_u64(&q->bottom) + count);
}

/* Owner only. `alone`: the runtime has one worker, nobody can steal. */
static inline struct skua_job *queue_pop(struct queue *q, bool alone)
{
        /* relaxed: only the owner writes bottom. */
        uint64_t bottom = load_relaxed_u64(&q->bottom) - 1;
        /* relaxed: top never goes back, so empty now is empty. */
        uint64_t top = load_relaxed_u64(&q->top);
        struct skua_job *job;

        if ((int64_t)(bottom - top) < 0)
                return NULL;
        /* [RQ1] release: a thief that reads this value instead of push's sees older slots all the
         * same. */
        store_release_u64(&q->bottom, bottom);
        /* relaxed: the owner wrote the slot itself. */
        job = load_relaxed_ptr(&q->slots[bottom & q->mask]);
        if (alone)
                return job;
        /* [RQ2] pairs with the fence in steal(): either the thief sees the lowered bottom or the
         * owner sees the raised top; without it both may take the last job. */
        fence_seq_cst();
        /* relaxed: ordered by [RQ2]. */
        top = load_relaxed_u64(&q->top);
        if ((int64_t)(bottom - top) > 0)
                return job;
        /* The last one: the CAS of top decides. [RQ3] pairs with the CAS in steal(). */
        if (bottom != top || !cas_acq_rel_u64(&q->top, &top, top + 1))
                job = NULL;
        /* [RQ1] release, as in push. */
        store_release_u64(&q->bottom, bottom + 1);
        return job;
}

/* The oldest, from a queue that is never popped. Any thread. */
static inline struct skua_job *queue_take(struct queue *q)
{
        /* relaxed: the CAS checks it. */
        uint64_t top = load_relaxed_u64(&q->top);

        for (;;) {
                struct skua_job *job;

                /* [RQ1] pairs with push. */
                if ((int64_t)(load_acquire_u64(&q->bottom) - top) <= 0)
                        return NULL;
                /* relaxed: behind the acquire above; discarded if the CAS fails. */
                job = load_relaxed_ptr(&q->slots[top & q->mask]);
                /* [RQ3] one taker wins the index. A failure is another's success: lock-free. */
                if (cas_acq_rel_u64(&q->top, &top, top + 1))
                        return job;
        }
}

/* The same for the owner of a runtime of one worker: nobody competes. */
static inline struct skua_job *queue_take_alone(struct queue *q)
{
        /* relaxed, all three: one thread uses the queue, others only look. */
        uint64_t top = load_relaxed_u64(&q->top);

        if (load_relaxed_u64(&q->bottom) == top)
                return NULL;
        /* relaxed: see above. */
        store_relaxed_u64(&q->top, top + 1);
        /* relaxed: see above. */
        return load_relaxed_ptr(&q->slots[top & q->mask]);
}

/* The oldest, from a queue that its owner may pop. Any thread. NULL: empty or lost a race. */
static inline struct skua_job *queue_steal(struct queue *q)
{
        /* relaxed: ordered before the load of bottom by the fence. */
        uint64_t top = load_relaxed_u64(&q->top);
        struct skua_job *job;

        /* [RQ2] pairs with the fence in pop(). */
        fence_seq_cst();
        /* [RQ1] pairs with push and pop. */
        if ((int64_t)(load_acquire_u64(&q->bottom) - top) <= 0)
                return NULL;
        /* relaxed: behind the acquire above; discarded if the CAS fails. */
        job = load_relaxed_ptr(&q->slots[top & q->mask]);
        /* [RQ3] one taker wins the index. */
        return cas_acq_rel_u64(&q->top, &top, top + 1) ? job : NULL;
}

/* The owner takes `count` of the oldest at once; 0: fewer are there. */
static inline size_t queue_claim(struct queue *q, struct skua_job **jobs, size_t count)
{
        /* relaxed: the CAS checks it. */
        uint64_t top = load_relaxed_u64(&q->top);

        do {
                /* relaxed: only the owner writes bottom, and does not pop meanwhile. */
                if (load_relaxed_u64(&q->bottom) - top < count)
                        return 0;
                for (size_t i = 0; i < count; i++)
                        /* relaxed: the owner wrote the slots itself. */
                        jobs[i] = load_relaxed_ptr(&q->slots[(top + i) & q->mask]);
                /* [RQ3] the range is ours if no thief took its first. Bound: each failure is a
                 * theft, and the owner adds nothing meanwhile. */
        } while (!cas_acq_rel_u64(&q->top, &top, top + count));
        return count;
}

/* How many, as far as can be seen: exact for the owner of an unrobbed queue. Any thread. */
static inline uint64_t queue_count(const struct queue *q)
{
        /* relaxed, both: a hint, or behind the full fence [PK2] of a parker: there bottom is at
         * least what was published before, and what top has passed is taken. */
        uint64_t top = load_relaxed_u64(&q->top);
        int64_t count = (int64_t)(load_relaxed_u64(&q->bottom) - top);

        return count > 0 ? (uint64_t)count : 0;
}

#endif
