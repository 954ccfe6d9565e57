/* SPDX-License-Identifier: MIT
 *
 * The fork deque's slow paths; see deque.h for the rules and skua_fork.h for the fast ones.
 */
#include "core/deque.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/park.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "wait/held.h"
#include "wait/suspend.h"

enum { RING_MASK = RING_SLOTS - 1 };

/* How long a joiner looks before it gives up its stack: about the price of suspending. */
#define JOIN_SPIN_NS 1000
/* As a number of forks to publish: all, whatever it costs. */
#define SUSPENDING   (SIZE_MAX - 1)

static struct word64 *quiet_word(struct worker *w)
{
        return (struct word64 *)(void *)&w->face.fork_quiet_;
}

/* Drops dead entries (taken back by the owner) from the thieves' end. Bound: RING_SLOTS. */
static void ring_trim(struct ring *ring, uint64_t bottom)
{
        /* relaxed: the CAS below checks it. */
        uint64_t top = load_relaxed_u64(&ring->top);

        while (top != bottom) {
                /* relaxed: nobody has won `top`, so NULL there means dead, now and later. */
                if (load_relaxed_ptr(&ring->slots[top & RING_MASK]))
                        return;
                /* [FD4] relaxed: top only hands out indexes; slots carry the data. Pairs with the
                 * CAS in deque_steal(): one winner for each index. */
                if (cas_relaxed_u64(&ring->top, &top, top + 1))
                        top++;
        }
}

static bool ring_full(const struct ring *ring, uint64_t bottom)
{
        /* relaxed, both: an old top only makes the ring look fuller; and NULL in the slot was put
         * there by a take that no later one undoes. */
        return bottom - load_relaxed_u64(&ring->top) >= RING_SLOTS ||
               load_relaxed_ptr(&ring->slots[bottom & RING_MASK]);
}

/* Lets thieves see a fork. There is room. */
static void ring_lay(struct ring *ring, uint64_t bottom, struct skua_job *job)
{
        job->index_ = bottom;
        /* [FD2] release pairs with the exchange in deque_steal(): the job before the pointer. */
        store_release_ptr(&ring->slots[bottom & RING_MASK], job);
        /* [FD3] release pairs with the acquire in deque_steal(): the slot before the index; else a
         * thief would find NULL there and the fork would be passed over. */
        store_release_u64(&ring->bottom, bottom + 1);
}

/* The owner takes a published fork out of the ring, if no thief was faster. */
static bool take_back(struct ring *ring, struct skua_job *job)
{
        void *expected = job;

        /* [FD2] pairs with the exchange in deque_steal(): the slot has one last taker. relaxed: the
         * owner gets back what it wrote itself. */
        return cas_relaxed_ptr(&ring->slots[job->index_ & RING_MASK], &expected, NULL);
}

/* Dead entries lie behind live ones: moves live ones from the thieves' end to the owner's, until
 * there is room. False: all are live. The order does not matter, only that each stands somewhere.
 */
static bool ring_compact(struct ring *ring)
{
        for (unsigned i = 0; i < RING_SLOTS; i++) {
                /* relaxed, all: only the owner writes bottom and puts jobs into slots; what thieves
                 * change meanwhile makes room. */
                uint64_t bottom = load_relaxed_u64(&ring->bottom), top;
                struct skua_job *job;

                ring_trim(ring, bottom);
                if (!ring_full(ring, bottom))
                        return true;
                top = load_relaxed_u64(&ring->top); /* relaxed: as above */
                /* The slot at the owner's end must be free, or the one that is emptied here. Not
                 * so: a late thief holds it. */
                if ((bottom - top) % RING_SLOTS &&
                    load_relaxed_ptr(&ring->slots[bottom & RING_MASK])) /* relaxed: as above */
                        return false;
                job = load_relaxed_ptr(&ring->slots[top & RING_MASK]); /* relaxed: as above */
                if (!job || job->index_ != top || !take_back(ring, job))
                        continue;
                ring_trim(ring, bottom);
                ring_lay(ring, bottom, job);
        }
        return false;
}

static bool ring_put(struct worker *w, struct skua_job *job, bool must)
{
        struct ring *ring = &w->ring;
        /* relaxed: only the owner writes bottom. */
        uint64_t bottom = load_relaxed_u64(&ring->bottom);

        if (ring_full(ring, bottom)) {
                ring_trim(ring, bottom);
                /* Half of it dead, or no choice: else it is not worth while. */
                if (ring_full(ring, bottom) &&
                    !((must || w->outstanding < RING_SLOTS / 2) && ring_compact(ring)))
                        return false;
                bottom = load_relaxed_u64(&ring->bottom); /* relaxed: as above */
        }
        job->owner_ = job->next_->owner_;
        shared_write(&job->owner_, sizeof job->owner_);
        /* relaxed, both: published with the slot. */
        store_relaxed_u64(job_state(job), JOB_PENDING);
        store_relaxed_u32(job_thief(job), w->index); /* nobody yet */
        ring_lay(ring, bottom, job);
        w->outstanding++;
        count_add(&w->count.forked, 1);
        return true;
}

static bool ring_empty(const struct ring *ring)
{
        /* relaxed, both: a hint, or behind a full fence ([FD5], [PK2]). */
        uint64_t top = load_relaxed_u64(&ring->top);

        return (int64_t)(load_relaxed_u64(&ring->bottom) - top) <= 0;
}

bool deque_visible(const struct worker *victim)
{
        return !ring_empty(&victim->ring);
}

/* Publishes up to `most` private forks between *public and top, oldest first; how many it were. */
static size_t publish_oldest(struct worker *w, struct skua_job **public, struct skua_job *top,
                             size_t most)
{
        /* Later, while the stack is suspended, the worker makes room itself, fork by fork. */
        bool must = most == SUSPENDING;
        size_t count = 0;

        while (count < most && *public != top) {
                struct skua_job *job = (*public)->younger_;
                bool marker = !job->run_;

                if (!marker && !ring_put(w, job, must))
                        break;
                *public = job;
                count += !marker;
        }
        return count;
}

static size_t publish_own(struct worker *w, size_t most)
{
        return publish_oldest(w, &w->face.fork_public_, w->face.fork_top_, most);
}

void deque_publish(struct worker *w)
{
        struct runtime *rt = w->runtime;
        size_t count = 0;

        if (w->alone) {
                /* relaxed: nobody else writes it. */
                store_relaxed_u64(quiet_word(w), 1);
                return;
        }
        if (park_hungry(rt))
                count = publish_own(w, SIZE_MAX);
        else if (ring_empty(&w->ring))
                count = publish_own(w, 1);
        /* relaxed: ordered by the fence. */
        store_relaxed_u64(quiet_word(w), 1);
        /* [FD5] pairs with the fences in ask() and hunger(): either we see that somebody is
         * hungry or took what was public, or their 0 comes after our 1. [PK1] pairs with [PK2] in
         * enter_idle(): either we see the parker or it sees what we have published. */
        fence_seq_cst();
        if (park_hungry(rt) || ring_empty(&w->ring))
                /* relaxed: our own next fork reads it. */
                store_relaxed_u64(quiet_word(w), 0);
        if (count)
                park_publish(rt, w->node_index);
}

/* What has just been published may be wanted. */
static void announce(struct worker *w)
{
        if (w->alone)
                return;
        /* [PK1] as in deque_publish(). */
        fence_seq_cst();
        park_publish(w->runtime, w->node_index);
}

bool deque_detach(struct worker *w)
{
        if (publish_own(w, SUSPENDING))
                announce(w);
        return w->face.fork_public_ == w->face.fork_top_;
}

bool deque_relieve(struct worker *w, struct skua_job **public, struct skua_job *top)
{
        if (publish_oldest(w, public, top, SIZE_MAX))
                announce(w);
        return *public == top;
}

/* A thief asks the owner for more, once for each state of the ring. */
static void ask(struct worker *victim, uint64_t bottom)
{
        /* relaxed: only thieves use it, and asking twice or by another is as good. */
        if (load_relaxed_u64(&victim->ring.asked) == bottom)
                return;
        /* relaxed: see above. */
        store_relaxed_u64(&victim->ring.asked, bottom);
        /* [FD5] pairs with the fence in deque_publish(): what this thief took or saw empty comes
         * before its 0, so that the owner cannot overwrite the 0 without seeing the ring empty. */
        fence_seq_cst();
        /* [FD1] relaxed: see skua_fork(). */
        store_relaxed_u64(quiet_word(victim), 0);
}

struct skua_job *deque_steal(struct worker *victim)
{
        struct ring *ring = &victim->ring;
        /* relaxed: the CAS checks it. */
        uint64_t top = load_relaxed_u64(&ring->top);

        for (;;) {
                struct skua_job *job;
                /* [FD3] acquire pairs with ring_put(): index won, slot filled. */
                uint64_t bottom = load_acquire_u64(&ring->bottom);

                if ((int64_t)(bottom - top) <= 0) {
                        ask(victim, bottom);
                        return NULL;
                }
                /* [FD4] relaxed: hands out the index, no data. A failure means that another thief
                 * or the owner moved on: bounded by the ring. */
                if (!cas_relaxed_u64(&ring->top, &top, top + 1))
                        continue;
                /* [FD2] acquire pairs with the release in ring_lay(). */
                job = exchange_acq_rel_ptr(&ring->slots[top & RING_MASK], NULL);
                top++;
                if (top == bottom)
                        ask(victim, bottom);
                if (job)
                        return job;
        }
}

SKUA_API void skua_fork_slow_(struct skua_worker *self)
{
        deque_publish(worker_of(self));
}

/* Looks for a moment whether the thief finishes. */
static bool spin_for_done(struct skua_job *job, int64_t spin_ns)
{
        int64_t deadline = kernel_now_ns() + spin_ns;

        do {
                for (unsigned i = 0; i < 16; i++) {
                        /* [JN1] acquire pairs with the exchange in fork_done(): the thief's writes
                         * before `done`. */
                        if (load_acquire_u64(job_state(job)) == JOB_DONE)
                                return true;
                        spin_hint();
                }
        } while (kernel_now_ns() < deadline);
        return false;
}

/* Waits until the thief has finished. The fork's line is the thief's, so every look at it costs a
 * miss: with other work at hand there is one, the CAS. */
static void await_done(struct worker *w, struct skua_job *job)
{
        struct waiter waiter = {.stack = w->isolated ? NULL : w->stack};
        uint64_t pending = JOB_PENDING;

        waiter_begin(&waiter);
        if (w->isolated ? spin_for_done(job, w->runtime->spin_ns)
                        : !worker_has_work(w) && spin_for_done(job, JOIN_SPIN_NS))
                return;
        /* [JN2] release pairs with the exchange in fork_done(): the waiter is written before the
         * thief can find it. */
        if (!cas_acq_rel_u64(job_state(job), &pending, (uintptr_t)&waiter)) {
                /* Done meanwhile. [JN1] the acquire that a failed CAS does not give. */
                while (load_acquire_u64(job_state(job)) != JOB_DONE)
                        spin_hint();
                return;
        }
        /* The wake-up comes behind `done` and brings the thief's writes with it: by [GT2] or [WT1].
         */
        if (!waiter.stack) {
                waiter_sleep(&waiter, 0);
        } else {
                /* relaxed: a hint whom to rob while we wait. */
                w->prefer = load_relaxed_u32(job_thief(job));
                suspend(w);
        }
        waiter_end(&waiter);
}

/* The thief's last access to the fork is the exchange. */
void fork_done(struct skua_job *job)
{
        /* [JN1] release pairs with the joiner's acquire; [JN2] acquire pairs with its CAS. */
        uint64_t found = exchange_acq_rel_u64(job_state(job), JOB_DONE);

        if (found != JOB_PENDING)
                waiter_wake((struct waiter *)(uintptr_t)found);
}

/* A published fork has been joined: no dead entry may look like work, and when nothing is public
 * any more, the next fork is to be published. */
static void settle(struct worker *w)
{
        /* relaxed: only the owner writes bottom. */
        ring_trim(&w->ring, load_relaxed_u64(&w->ring.bottom));
        if (ring_empty(&w->ring) && !w->alone)
                /* relaxed: our own next fork reads it. */
                store_relaxed_u64(quiet_word(w), 0);
}

SKUA_API bool skua_join_slow_(struct skua_worker *self, struct skua_job *job)
{
        struct worker *w = worker_of(self);
        bool mine = take_back(&w->ring, job);

        self->fork_public_ = job->next_;
        w->outstanding--;
        settle(w);
        if (!mine)
                await_done(w, job);
        return mine;
}

/* The join of debug builds: the youngest fork, and no other. */
SKUA_API bool skua_join_checked_(struct skua_worker *self, struct skua_job *job)
{
        if (self->fork_top_ != job) {
                worker_report(worker_of(self), "skua_join: not the youngest fork of this job");
                abort();
        }
        held_check(worker_of(self), "skua_join: the job holds a pthread mutex");
        self->fork_top_ = job->next_;
        return job == self->fork_public_ ? skua_join_slow_(self, job) : true;
}
