/* SPDX-License-Identifier: MIT
 *
 * The life of a worker. Each turn looks at what has arrived (stacks to resume, targeted jobs), then
 * takes the newest job of the own run queue, a detached fork of an own suspended stack, or a job
 * of the injector batch; then it searches, spins and parks.
 */
#include "core/worker.h"

#include <stdlib.h>

#include "core/group.h"
#include "core/runtime.h"
#include "io/io.h"
#include "io/watch.h"
#include "wait/await.h"
#include "wait/stack.h"
#include "wait/held.h"
#include "wait/suspend.h"

enum { FAIR_TURNS = SIZE_TURNS, FAIR_SOURCES = 4 };
enum { BATCH_MOST = SIZE_BATCH_MOST, REMOTE_MOST = 64 };
enum { BATCH_SMALL = 16, PAUSES_MOST = 31 };
/* Spinning pays after sleeps shorter than so many spins; else a share of it must do. */
enum { SPIN_PAYS = 5, SPIN_SHARE = 8, SPIN_PAUSES = 8 };
#define FAIR_NS      200000
#define JOBS_LONG_NS 20000

/* Something to run; or nothing, but the loop has been left and has come back: it begins anew. */
enum find_kind { FIND_JOB, FIND_FORK, FIND_ANEW };
struct find {
        struct skua_job *job;
        enum find_kind kind;
};

/* ------------------------------------------------------------------ running */

/* Of a job without a deadline. */
static inline bool cancelled(const struct runtime *rt, const struct skua_group *group)
{
        return runtime_cancelling(rt) || (group && skua_group_cancelled(group));
}

bool scope_cancelled(const struct runtime *rt, const struct scope *scope)
{
        return cancelled(rt, scope->group) ||
               (scope->deadline_ns && kernel_now_ns() >= scope->deadline_ns);
}

void worker_flush(struct worker *w)
{
        struct skua_group *group = w->due_group;
        uint64_t count = w->due_count;

        if (!group)
                return;
        w->due_group = NULL;
        w->due_count = 0;
        group_release(group, count, 0);
}

static void end_in_group(struct worker *w, struct scope *scope)
{
        int error = scope_error(scope);

        if (w->due_group != scope->group || error)
                worker_flush(w);
        if (error) {
                group_release(scope->group, 1, error);
                return;
        }
        w->due_group = scope->group;
        w->due_count++;
}

/* Calls the job's function; afterwards the job may be gone. */
static void enter(struct worker *w, struct skua_job *job, struct scope *scope)
{
        shared_read(&job->run_, sizeof job->run_);
        w->scope = w->stack->base.owner_ = scope;
        w->running = job->run_;
#ifdef SKUA_DEBUG
        unsigned held = w->held;

        if (job->flags_ & JOB_QUEUED) /* else it is a timer's */
                job->flags_ = 0;      /* may be queued again */
        w->held = held_count();
#endif
        job->run_(&w->face, job);
#ifdef SKUA_DEBUG
        w->held = held;
        if (w->face.fork_top_ != &w->stack->base) {
                worker_report(w, "a job has returned with an unjoined fork");
                abort();
        }
#endif
        w->scope = NULL;
        w->running = NULL;
}

static void run_job(struct worker *w, struct skua_job *job)
{
        struct scope scope = {.group = job->owner_};

        shared_new(&scope, sizeof scope);
        shared_read(&job->owner_, sizeof job->owner_);
        if (w->due_group != scope.group)
                worker_flush(w);
        count_add(cancelled(w->runtime, scope.group) ? &w->count.cancelled : &w->count.run, 1);
        enter(w, job, &scope);
        if (scope.group)
                end_in_group(w, &scope);
        shared_gone(&scope, sizeof scope);
}

struct fork_frame {
        struct exit_frame exit;
        struct skua_job *job;
};

static void leave_fork(struct worker *w, struct exit_frame *frame)
{
        (void)w;
        fork_done(skua_container(frame, struct fork_frame, exit)->job);
}

static void run_fork(struct worker *w, struct skua_job *job)
{
        struct fork_frame frame = {.job = job};

        worker_flush(w);
        exit_push(w, &frame.exit, leave_fork);
        /* relaxed: a hint for the joiner, which waits for `done` in any case. */
        store_relaxed_u32(job_thief(job), w->index);
        shared_read(&job->owner_, sizeof job->owner_);
        enter(w, job, job->owner_);
        exit_pop(w, &frame.exit);
        fork_done(job);
}

void worker_end_job(struct worker *w)
{
        struct scope *scope = w->stack->base.owner_;
        struct exit_frame *frame;
        bool fork = false;

        w->scope = NULL;
        w->running = NULL;
        while ((frame = w->exits)) { /* bound: what the job has been wrapped in */
                exit_pop(w, frame);
                fork = frame->leave == leave_fork;
                frame->leave(w, frame);
        }
        if (fork)
                return;
        if (scope->group)
                end_in_group(w, scope);
        shared_gone(scope, sizeof *scope);
}

static void run(struct worker *w, struct find found)
{
        if (found.kind == FIND_FORK)
                run_fork(w, found.job);
        else
                run_job(w, found.job);
}

/* ------------------------------------------------------------------ own queues */

/* What has come from several threads as a stack goes to the end of the list, oldest first. */
static __attribute__((noinline)) void mail_take(struct worker *w)
{
        /* [GT1] acquire pairs with the CAS in worker_send(): the job before its pointer. */
        struct skua_job *job = exchange_acq_rel_ptr(&w->gate->jobs, NULL), *next;
        struct skua_job *first = NULL, **end = NULL;

        for (; job; job = next) {
                shared_read(&job->next_, sizeof job->next_);
                next = job->next_;
                if (!first)
                        end = &job->next_;
                job->next_ = first;
                first = job;
        }
        if (!w->mail)
                w->mail_end = &w->mail;
        *w->mail_end = first;
        w->mail_end = end;
}

static struct skua_job *mail_next(struct worker *w)
{
        struct skua_job *job = w->mail;

        if (job)
                w->mail = job->next_;
        return job;
}

void worker_send(struct runtime *rt, unsigned index, struct skua_job *job)
{
        struct wordptr *jobs = &rt->gates[index].jobs;
        /* relaxed: the CAS checks it. */
        void *old = load_relaxed_ptr(jobs);

        do {
                job->next_ = old;
                shared_write(&job->next_, sizeof job->next_);
                /* [GT1] release pairs with the exchange in mail_take(). Bound: lock-free. */
        } while (!cas_acq_rel_ptr(jobs, &old, job));
        /* [PK1] pairs with the parker's second look at its gate. */
        fence_seq_cst_after_rmw();
        park_wake_worker(rt, index);
}

void worker_overflow(struct worker *w)
{
        struct injector *injector = &w->runtime->nodes[w->node_index].injectors[INJECTOR_NORMAL];
        struct skua_job *jobs[QUEUE_SLOTS / 2];
        size_t count = queue_claim(&w->run, jobs, QUEUE_SLOTS / 2);

        if (!count)
                return;
        for (size_t i = 0; i + 1 < count; i++)
                /* relaxed: published with the chain. */
                store_relaxed_ptr(job_next(jobs[i]), jobs[i + 1]);
        injector_enter_inside(injector, count);
        injector_link(injector, jobs[0], jobs[count - 1]);
        count_add(&w->count.overflowed, count);
}

static inline __attribute__((always_inline)) struct skua_job *from_batch(struct worker *w)
{
        return w->alone ? queue_take_alone(&w->batch) : queue_take(&w->batch);
}

/* How long to leave producers alone before the next look at their queue: each look takes the door's
 * line away from them, so looking at once keeps batches small and every submission slow. Grows
 * while small batches follow one another without a pause; a queue seen empty ends it. */
static void set_pause(struct worker *w, size_t count)
{
        if (count < BATCH_SMALL)
                w->pauses = w->pauses < PAUSES_MOST ? w->pauses * 2 + 1 : PAUSES_MOST;
        else if (count == BATCH_MOST)
                w->pauses /= 2;
}

void worker_moved(struct worker *w)
{
        if (w->alone || w->searching)
                return;
        /* [PK1] pairs with [PK2]: what was moved is visible before our look. */
        fence_seq_cst();
        park_publish(w->runtime, w->node_index);
}

/* Fills the batch, which is empty, from a node's injectors; its first job. */
static __attribute__((noinline)) struct skua_job *refill(struct worker *w, unsigned node_index)
{
        struct injector *injectors = w->runtime->nodes[node_index].injectors;

        for (unsigned i = 0; i < INJECTOR_PRIORITIES; i++) {
                size_t most = i == INJECTOR_HIGH ? 1 : BATCH_MOST;
                size_t count = injector_take(&injectors[i], &w->batch, most);
                struct skua_job *job = count ? from_batch(w) : NULL;

                if (count)
                        set_pause(w, count);
                if (count > 1)
                        worker_moved(w);
                if (job)
                        return job;
        }
        return NULL;
}

/* Fills the empty batch from a node's injectors, if they have something; its first job. */
static inline struct skua_job *refill_visible(struct worker *w, unsigned node_index)
{
        for (unsigned i = 0; i < w->pauses; i++)
                spin_hint();
        if (injectors_visible(w->runtime->nodes[node_index].injectors))
                return refill(w, node_index);
        w->pauses = 0;
        return NULL;
}

/* The next job of a node's injectors; the batch comes along. */
static struct skua_job *from_injector(struct worker *w, unsigned node_index)
{
        struct skua_job *job = from_batch(w);

        return job ? job : refill_visible(w, node_index);
}

/* The first of the completions; the others come along. */
static struct skua_job *from_ring(struct worker *w)
{
        struct skua_job *job = io_turn(w) ? from_batch(w) : NULL;

        if (job && queue_count(&w->batch))
                worker_moved(w);
        return job;
}

/* From the own ring or the node's injectors, whose turn it is first. The batch is empty. */
static __attribute__((noinline)) struct skua_job *refill_with_ring(struct worker *w)
{
        struct skua_job *job;

        w->ring_first = !w->ring_first;
        if (w->ring_first && (job = from_ring(w)))
                return job;
        if ((job = refill_visible(w, w->node_index)) || w->ring_first)
                return job;
        return from_ring(w);
}

/* What comes from outside: of the batch, else of where that is filled from. */
static inline struct skua_job *from_outside(struct worker *w)
{
        struct skua_job *job = from_batch(w);

        if (job)
                return job;
        return w->io ? refill_with_ring(w) : refill_visible(w, w->node_index);
}

/* One of the places where something may wait while newer work goes on coming. */
static struct find fair_source(struct worker *w, unsigned source)
{
        struct find found = {NULL, FIND_JOB};

        switch (source) {
        case 0:
                found.job = from_outside(w);
                break;
        case 1:
                found.job = w->alone ? queue_take_alone(&w->run) : queue_steal(&w->run);
                break;
        case 2:
                found.job = mail_next(w);
                break;
        default:
                if (w->outstanding && (found.job = deque_steal(w)))
                        found.kind = FIND_FORK;
        }
        return found;
}

/* Jobs of timers that have expired go to the batch. */
static void timers_look(struct worker *w, int64_t now)
{
        int64_t next = timers_next_ns(w);
        uint64_t queued = queue_count(&w->batch);

        if (!next || now < next)
                return;
        io_clock(w, now);
        if (queue_count(&w->batch) > queued)
                worker_moved(w);
}

static __attribute__((noinline)) void requests_take(struct worker *w)
{
        /* [GT3] acquire pairs with gate_request(): what is wanted, and the phase. */
        uint32_t requests = exchange_acq_rel_u32(&w->gate->requests, 0);

        /* It may be a late one, for the slot's runtime before. */
        if (!runtime_stopping(w->runtime))
                requests &= ~(uint32_t)GATE_REQUEST_STOP;
        if (requests & GATE_REQUEST_ASKED)
                awaits_asked(w);
        if (requests & (GATE_REQUEST_AWAITS | GATE_REQUEST_STOP))
                awaits_look(w);
        io_requests(w, requests);
}

/* Targeted jobs and stacks that others have left at the gate. */
static void arrivals(struct worker *w)
{
        struct gate *gate = w->gate;

        /* relaxed: whoever left something wakes us if we sleep. */
        if (load_relaxed_ptr(&gate->jobs))
                mail_take(w);
        /* relaxed: as above. */
        if (load_relaxed_ptr(&gate->stacks))
                ready_take(w);
        /* relaxed: as above. */
        if (load_relaxed_u32(&gate->requests))
                requests_take(w);
}

void worker_look(struct worker *w)
{
        arrivals(w);
        timers_look(w, kernel_now_ns());
        if (w->io && !queue_count(&w->batch) && io_turn(w))
                worker_moved(w);
}

/* At the bound of stacks every turn comes here, and new jobs wait while there is a stack that can
 * go on. */
static bool can_resume(struct worker *w)
{
        w->budget = w->budget_full = 1;
        if (!w->ready)
                worker_look(w);
        return w->ready;
}

/* The turn that keeps old work from starving, whatever comes newly: each time another source is
 * asked first. By count, or, when jobs are long, by the clock, as the last turns went. */
static __attribute__((noinline)) struct find fair(struct worker *w)
{
        int64_t now = kernel_now_ns(), turn_ns = (now - w->budget_start_ns) / w->budget_full;
        struct find found = {NULL, FIND_JOB};

        w->budget_start_ns = now;
        w->jobs_long = w->turns_long && turn_ns - w->entered_ns / w->budget_full >= JOBS_LONG_NS;
        w->budget_full = turn_ns * FAIR_TURNS <= FAIR_NS ? FAIR_TURNS
                         : turn_ns >= FAIR_NS            ? 1
                                                         : (unsigned)(FAIR_NS / turn_ns);
        w->budget = w->budget_full;
        w->turns_long = turn_ns >= JOBS_LONG_NS;
        w->entered_ns = 0;
        timers_look(w, now);
        if (sources_any(&w->runtime->sources))
                sources_poll(w);
        if (stacks_short(w) && can_resume(w))
                return found;
        for (unsigned i = 0; i < FAIR_SOURCES && !found.job; i++)
                found = fair_source(w, (w->fair_turn + i) % FAIR_SOURCES);
        w->fair_turn++;
        return found;
}

/* Ends a search with success. */
static void worker_busy(struct worker *w)
{
        if (!w->searching)
                return;
        w->searching = false;
        /* relaxed: for the figures only. */
        store_relaxed_u64(&w->count.busy_since_ns, (uint64_t)kernel_now_ns());
        if (w->sources.watcher)
                sources_leave(w);
        park_found(w);
        if (w->sentinel)
                watch_leave(w);
}

bool worker_has_work(const struct worker *w)
{
        /* relaxed, all: a hint. */
        return w->ready || w->mail || load_relaxed_ptr(&w->gate->stacks) ||
               load_relaxed_ptr(&w->gate->jobs) || queue_count(&w->run) || queue_count(&w->batch) ||
               injectors_visible(w->runtime->nodes[w->node_index].injectors) || io_visible(w);
}

/* Goes on with the oldest stack to be resumed, until this one is the loop's again. */
static struct find resume(struct worker *w)
{
        worker_busy(w);
        resume_ready(w);
        return (struct find){.kind = FIND_ANEW};
}

static inline __attribute__((always_inline)) struct find own(struct worker *w)
{
        struct find found = {NULL, FIND_JOB};

        arrivals(w);
        if (w->io)
                io_between(w);
        if (--w->budget == 0 && (found = fair(w)).job)
                return found;
        if (w->crowded) {
                suspend_relieve(w);
                found.kind = FIND_FORK;
                if ((found.job = deque_steal(w)))
                        return found;
                found.kind = FIND_JOB;
        }
        if (w->ready)
                return resume(w);
        if ((found.job = mail_next(w)) || (found.job = queue_pop(&w->run, w->alone)))
                return found;
        if (w->outstanding && (found.job = deque_steal(w))) {
                found.kind = FIND_FORK;
                return found;
        }
        found.job = from_outside(w);
        if (!found.job && w->ready) /* a completion was awaited */
                return resume(w);
        return found;
}

/* ------------------------------------------------------------------ others' queues */

/* Takes along up to half of a distant run queue. */
static void rob_half(struct worker *w, struct worker *victim)
{
        uint64_t most = queue_count(&victim->run) / 2;
        struct skua_job *job;

        for (uint64_t i = 0; i < most && i < REMOTE_MOST; i++) {
                if (!(job = queue_steal(&victim->run)))
                        break;
                queue_push(&w->run, job); /* the own queue is empty: there is room */
                count_add(&w->count.stolen_remote, 1);
        }
        if (most)
                worker_moved(w);
}

static struct find rob(struct worker *w, struct worker *victim)
{
        struct find found = {deque_steal(victim), FIND_FORK};
        bool remote = victim->node_index != w->node_index;

        if (!found.job) {
                found.kind = FIND_JOB;
                if (!(found.job = queue_steal(&victim->run)))
                        found.job = queue_take(&victim->batch);
                else if (remote)
                        rob_half(w, victim);
        }
        if (found.job)
                count_add(remote ? &w->count.stolen_remote : &w->count.stolen_local, 1);
        return found;
}

static struct find rob_all(struct worker *w)
{
        struct runtime *rt = w->runtime;
        const struct placement_worker *place = w->place;
        struct find found = {NULL, FIND_JOB};

        if (w->prefer != w->index) {
                found = rob(w, rt->workers[w->prefer]);
                w->prefer = w->index;
        }
        for (unsigned i = 0; i < place->ring_count && !found.job; i++) {
                const struct placement_ring *ring = &place->rings[i];
                unsigned count = ring->end - ring->begin;
                unsigned start = (unsigned)(worker_random(w) % count);

                for (unsigned k = 0; k < count && !found.job; k++)
                        found = rob(w,
                                    rt->workers[place->victims[ring->begin + (start + k) % count]]);
        }
        for (unsigned i = 1; i < rt->node_count && !found.job; i++) {
                found.job = from_injector(w, rt->nodes[w->node_index].order[i]);
                if (found.job)
                        count_add(&w->count.stolen_remote, 1);
        }
        return found;
}

static struct find look_around(struct worker *w)
{
        struct find found = own(w);

        return found.job || found.kind == FIND_ANEW ? found : rob_all(w);
}

/* ------------------------------------------------------------------ the loop */

static void leave_loop(struct worker *w)
{
        struct arch_context *here = &w->stack->context;

        /* [PK5] see park_search(): we do not search any more. */
        fetch_add_acq_rel_u64(&w->runtime->summary, -PARK_SEARCH_ONE);
        stack_give(w, w->stack);
        w->stack = NULL;
        arch_switch(here, &w->thread_context);
}

/* Searches by the clock, growing the pauses. Counted in the summary. Spins in full only while that
 * pays: a worker whose last sleep was long would most likely spin in vain, and a spinner keeps its
 * waker's next wake-up from being a cheap one on the waker's own CPU. */
static struct find spin(struct worker *w)
{
        int64_t now = kernel_now_ns(), full_ns = w->runtime->spin_ns;
        bool pays = w->slept_ns < full_ns * SPIN_PAYS;
        int64_t deadline = now + (pays ? full_ns : full_ns / SPIN_SHARE);
        struct find found;
        unsigned pause = 1;

        /* Who waits for its ring is told at once, and a look a little later finds more to do in one
         * go. */
        if (w->io && (w->alone || w->slept_ns >= full_ns))
                deadline = now;
        do {
                timers_look(w, now);
                if (sources_any(&w->runtime->sources) && !runtime_sealed(w->runtime))
                        sources_poll(w);
                found = look_around(w);
                if (found.job || found.kind == FIND_ANEW)
                        return found;
                for (unsigned i = 0; i < pause; i++)
                        spin_hint();
                if (pause < SPIN_PAUSES)
                        pause *= 2;
        } while ((now = kernel_now_ns()) < deadline);
        w->slept_ns = now; /* when the sleep begins */
        return found;
}

static void worker_idle(struct worker *w)
{
        int64_t now = kernel_now_ns();

        /* relaxed, both: for the figures only. */
        count_add(&w->count.busy_ns, (uint64_t)now - load_relaxed_u64(&w->count.busy_since_ns));
        store_relaxed_u64(&w->count.busy_since_ns, 0);
        park_search(w);
        w->searching = true;
}

/* Until there is something to run, asleep if need be. */
static struct find search(struct worker *w)
{
        struct find found;

        worker_flush(w);
        if ((found = rob_all(w)).job)
                return found;
        worker_idle(w);
        while (found = spin(w), !found.job && found.kind != FIND_ANEW) {
                uint64_t parks = load_relaxed_u64(&w->count.parks); /* relaxed: own */

                if (watch_turn(w))
                        continue;
                if (w->trim_wanted)
                        stacks_idle(w, w->slept_ns);
                if (sources_arm(w))
                        park(w);
                /* relaxed: set before we were woken for it, or seen at the next park. */
                if (load_relaxed_u32(&w->runtime->terminate))
                        leave_loop(w);
                /* relaxed: own. Something is visible but cannot be had, as a job whose producer
                 * has been preempted: let it go on. */
                if (parks == load_relaxed_u64(&w->count.parks))
                        kernel_yield();
                w->slept_ns = kernel_now_ns() - w->slept_ns;
                w->budget_start_ns += w->slept_ns; /* turns are measured without it */
                if (w->io)
                        io_woken(w);
        }
        worker_busy(w);
        return found;
}

void worker_loop(void *arg)
{
        struct worker *w = arg;

        for (;;) {
                struct find found = own(w);

                if (!found.job && found.kind != FIND_ANEW)
                        found = search(w);
                if (found.job)
                        run(w, found);
        }
}
