/* SPDX-License-Identifier: MIT
 *
 * Timers; see timer.h. The node of a timer or of a delayed job lies in the words of the job that
 * only forks use. When a delayed job has expired, these are free again: for its own deadline and
 * its strand.
 */
#include "io/timer.h"

#include <string.h>

#include "core/runtime.h"
#include "core/strand.h"
#include "core/worker.h"
#include "io/io.h"
#include "io/watch.h"
#include "limits/blocking.h"
#include "wait/await.h"

/* In state_ of a timer: its job is queued; and shall see itself cancelled. */
enum { TIMER_QUEUED = 1, TIMER_CANCELLED = 2 };

/* The home of a timer that has never been armed. */
#define NOWHERE UINT16_MAX

#define NODE_AT offsetof(struct skua_job, state_)
static_assert(offsetof(struct skua_job, index_) - NODE_AT == offsetof(struct wheel_node, link), "");
static_assert(offsetof(struct skua_job, flags_) - NODE_AT == offsetof(struct wheel_node, flags),
              "");
static_assert(offsetof(struct skua_job, thief_) - NODE_AT == offsetof(struct wheel_node, home), "");
static_assert(sizeof(struct skua_job) - NODE_AT == sizeof(struct wheel_node), "");
static_assert(sizeof(struct wheel_node) == sizeof((struct skua_io *)0)->timer_, "");
static_assert((int)RUNTIME_WORKERS_MAX < NOWHERE, "home has 16 bits");
static_assert(sizeof(struct skua_timer) == 80, "part of the binary interface");

static struct wheel_node *node_of(struct skua_job *job)
{
        return (struct wheel_node *)(void *)&job->state_;
}

static struct skua_job *job_of(struct wheel_node *node)
{
        return (struct skua_job *)(void *)((char *)node - NODE_AT);
}

static struct word32 *state_of(struct skua_job *job)
{
        struct skua_timer *t = skua_container(job, struct skua_timer, job);

        return (struct word32 *)(void *)&t->state_;
}

/* ------------------------------------------------------------------ the wheel and its lock */

static struct timers *lock(struct worker *w)
{
        uint32_t locked = 0;

        /* [TM1] acquire pairs with unlock(). Bound: the holder's few steps. */
        while (!cas_acquire_u32(&w->timers.lock, &locked, 1)) {
                locked = 0;
                kernel_yield();
        }
        shared_write(&w->timers.wheel.tick, sizeof w->timers.wheel.tick);
        return &w->timers;
}

static void unlock(struct timers *t)
{
        /* relaxed: behind the armer's fence [PK1], or own; a spinning owner looks again. */
        store_relaxed_u64(&t->next_ns, (uint64_t)wheel_next_ns(&t->wheel));
        /* [TM1] release pairs with lock(): the wheel and the nodes. */
        store_release_u32(&t->lock, 0);
}

static void count_armed(struct timers *t, uint64_t change)
{
        /* relaxed, both: under the lock; a drain reads it when all workers are idle and nobody
         * outside is in a call [AC1]. */
        store_relaxed_u64(&t->count, load_relaxed_u64(&t->count) + change);
}

/* Arms it or moves it within the wheel. True: that has something to do earlier than before. */
static bool arm(struct worker *w, struct wheel_node *node, int64_t deadline_ns)
{
        struct timers *t = lock(w);
        int64_t before = wheel_next_ns(&t->wheel), after;

        if (node->link) {
                wheel_remove(&t->wheel, node);
                count_armed(t, -(uint64_t)1);
        }
        node->home = (uint16_t)w->index;
        node->deadline_ns = deadline_ns > 0 ? deadline_ns : 1;
        if (!before)
                wheel_forward(&t->wheel, kernel_now_ns());
        if (t->stopped && !(node->flags & (TIMER_IO | TIMER_AWAIT)))
                wheel_add_due(&t->wheel, node);
        else
                wheel_add(&t->wheel, node);
        count_armed(t, 1);
        if (!before && !w->alone)
                watch_want(w->runtime);
        after = wheel_next_ns(&t->wheel);
        unlock(t);
        return !before || after < before;
}

/* False: it was not armed. */
static bool disarm(struct worker *home, struct wheel_node *node)
{
        struct timers *t = lock(home);
        bool armed = node->link;

        if (armed) {
                wheel_remove(&t->wheel, node);
                count_armed(t, -(uint64_t)1);
        }
        unlock(t);
        return armed;
}

void timers_stop(struct worker *w)
{
        struct timers *t = lock(w);

        t->stopped = true;
        wheel_end(&t->wheel, TIMER_IO | TIMER_AWAIT);
        unlock(t);
}

/* ------------------------------------------------------------------ expiry */

/* A timer's job is queued, unless it still is from its last time: then it is called for both. */
static struct skua_job *expire_timer(struct worker *taker, struct skua_job *job, bool stopped)
{
        uint32_t state = TIMER_QUEUED | (stopped ? TIMER_CANCELLED : 0);

        /* [TM2] acq_rel pairs with the exchange in timer_run(): either it sees this expiry, or we
         * see that it has begun. */
        if (exchange_acq_rel_u32(state_of(job), state))
                return NULL;
        count_add(&taker->count.delivered, 1);
        return job;
}

/* The job that a node stands for, when it has been taken out; NULL: none is to be queued. */
static struct skua_job *expire(struct worker *w, struct worker *taker, struct wheel_node *node)
{
        struct skua_job *job = job_of(node);
        int64_t deadline_ns;

        count_armed(&w->timers, -(uint64_t)1);
        if (node->flags & TIMER_IO) {
                io_expired(w, node);
                return NULL;
        }
        if (node->flags & TIMER_AWAIT) {
                await_expired(node);
                return NULL;
        }
        if (node->flags & TIMER_TIMER)
                return expire_timer(taker, job, w->timers.stopped);
        deadline_ns = w->timers.stopped ? 1 : (int64_t)(intptr_t)job->next_;
        if (deadline_ns)
                job_limit(job, deadline_ns);
        return job;
}

/* A delayed job with a strand enters it only now. True: it is to be queued. */
static bool enter_strand(struct worker *w, struct skua_job *job)
{
        uint32_t flags = node_of(job)->flags;
        struct skua_strand *strand = flags & TIMER_TIMER ? NULL : (void *)job->younger_;

        if (!strand)
                return true;
        strand_bind(strand, job,
                    flags & TIMER_BLOCKING ? STRAND_BLOCKING
                    : flags & TIMER_BOUND  ? w->index + 1
                                           : 0);
        return strand_enter(strand, job);
}

/* To the worker that its target named, or to those that come from outside and with completions,
 * which are taken in order. */
static void queue(struct worker *w, struct worker *taker, struct skua_job *job)
{
        uint32_t flags = node_of(job)->flags;

        if (!enter_strand(w, job))
                return;
        if (flags & TIMER_BLOCKING)
                blocking_turn(w->runtime, job);
        else if (flags & TIMER_BOUND)
                worker_send(w->runtime, w->index, job);
        else
                queue_push(&taker->batch, job); /* there is room */
}

void timers_serve(struct worker *w, struct worker *taker, int64_t now_ns)
{
        unsigned most = BATCH_SLOTS - (unsigned)queue_count(&taker->batch), count = 0;
        struct skua_job *jobs[BATCH_SLOTS];
        struct wheel_node *node;
        struct timers *t;

        if (!most)
                return; /* what is due waits for room */
        t = lock(w);
        wheel_turn(&t->wheel, now_ns, most);
        while (count < most && (node = wheel_take(&t->wheel)))
                if ((jobs[count] = expire(w, taker, node)))
                        count++;
        unlock(t);
        count_add(&taker->count.completions, count);
        for (unsigned i = 0; i < count; i++)
                queue(w, taker, jobs[i]);
}

struct skua_job *timers_take(struct worker *w)
{
        struct timers *t = lock(w);
        struct skua_job *job = NULL;
        struct wheel_node *node;

        while (!job && (node = wheel_take(&t->wheel))) { /* bound: those that are due */
                job = expire(w, w, node);
                if (job && !enter_strand(w, job)) {
                        job = NULL;
                } else if (job && node->flags & TIMER_BLOCKING) {
                        blocking_turn(w->runtime, job);
                        job = NULL;
                }
        }
        unlock(t);
        return job;
}

/* ------------------------------------------------------------------ arming */

bool timers_delay(struct worker *w, struct skua_job *job, const struct timer_delay *delay)
{
        struct wheel_node *node = node_of(job);

        job->next_ = (struct skua_job *)(intptr_t)delay->deadline_ns;
        job->younger_ = (struct skua_job *)(void *)delay->strand;
        node->link = NULL;
        node->flags = JOB_QUEUED | (delay->bound ? TIMER_BOUND : 0) |
                      (delay->blocking ? TIMER_BLOCKING : 0);
        return arm(w, node, delay->at_ns);
}

void timers_arm_io(struct worker *w, uint64_t *timer, int64_t deadline_ns)
{
        struct wheel_node *node = (struct wheel_node *)(void *)timer;

        node->link = NULL;
        node->flags = TIMER_IO;
        arm(w, node, deadline_ns);
}

void timers_disarm_io(struct worker *home, uint64_t *timer)
{
        disarm(home, (struct wheel_node *)(void *)timer);
}

void timers_arm_await(struct worker *w, struct wheel_node *node, int64_t deadline_ns)
{
        arm(w, node, deadline_ns);
}

void timers_disarm_await(struct worker *w, struct wheel_node *node)
{
        disarm(w, node);
}

/* What a timer's job is called with. */
static void timer_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_timer *t = skua_container(job, struct skua_timer, job);
        skua_fn *run = t->run_;
        /* [TM2] acquire pairs with expire_timer(). From here on it may be queued again. */
        uint32_t state = exchange_acq_rel_u32(state_of(job), 0);

        if (state & TIMER_CANCELLED)
                scope_limit(worker_of(self), 1);
        worker_of(self)->running = run;
        run(self, job);
}

SKUA_API void skua_timer_init(struct skua_timer *t, skua_fn *run)
{
        memset(t, 0, sizeof *t);
        t->job.run_ = timer_run;
        t->run_ = run;
        node_of(&t->job)->flags = TIMER_TIMER;
        node_of(&t->job)->home = NOWHERE;
}

SKUA_API void skua_timer_start(struct skua_worker *self, struct skua_timer *t, int64_t deadline_ns)
{
        struct worker *w = worker_of(self);
        struct wheel_node *node = node_of(&t->job);

        if (node->home != w->index)
                skua_timer_cancel(self, t);
        arm(w, node, deadline_ns);
}

SKUA_API bool skua_timer_cancel(struct skua_worker *self, struct skua_timer *t)
{
        struct wheel_node *node = node_of(&t->job);

        return node->home != NOWHERE && disarm(worker_of(self)->runtime->workers[node->home], node);
}
