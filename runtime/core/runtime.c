/* SPDX-License-Identifier: MIT
 *
 * The life cycle of a runtime: start, close, drain, cancel, stop, and what is left in the child of
 * a fork.
 *
 * A drain ends when all workers are in the idle set at once, nothing is queued or accepted
 * anywhere and no stack is suspended. Nobody can then make new work: outside doors are closed and
 * no job runs. The summary's epoch shows that no worker left the idle set during the look.
 */
#include "core/runtime.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "core/options.h"
#include "core/worker.h"
#include "io/io.h"
#include "limits/blocking.h"
#include "wait/stack.h"

static int begin_stop(struct skua *handle, enum skua_stop_how how);
static int64_t stop(struct runtime *rt, int64_t grace_ns);

/* ------------------------------------------------------------------ messages */

void runtime_log(struct runtime *rt, int level, const char *format, ...)
{
        char message[512];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(message, sizeof message, format, arguments);
        va_end(arguments);
        if (rt->on_log)
                rt->on_log(level, message, rt->user);
        else if (level <= LOG_CRIT)
                fprintf(stderr, "skua: %s\n", message);
}

/* ------------------------------------------------------------------ acceptance */

static uint64_t phase_word(uint64_t generation, enum runtime_phase phase)
{
        return generation << RUNTIME_PHASE_BITS | phase;
}

/* The door says that the runtime has ended. It has, or that is only being tried: until it is known.
 * True: it goes on. */
static bool goes_on(struct runtime *rt, uint64_t generation)
{
        uint64_t draining = phase_word(generation, RUNTIME_DRAINING);

        /* relaxed, all: the next steps of who stops it, whom the child of a fork does not have. */
        while (!load_relaxed_u32(&rt->terminate) && !load_relaxed_u32(&rt->orphan) &&
               load_relaxed_u64(&rt->phase) >= draining &&
               load_relaxed_u64(&rt->phase) >> RUNTIME_PHASE_BITS == generation) {
                /* [AC1] acquire pairs with seal(), which has taken it back. */
                if (load_acquire_u64(&rt->door) / DOOR_GENERATION_ONE == generation)
                        return true;
                kernel_yield();
        }
        return false;
}

int runtime_accept(struct runtime *rt, uint64_t generation, bool outside)
{
        /* [AC1] acq_rel pairs with close and stop, as for an injector's door. */
        uint64_t door = fetch_add_acq_rel_u64(&rt->door, 1);
        struct worker *self = worker_self();

        /* While a job calls, its runtime has not ended, whatever seal() tries at the moment. */
        if ((self && self->runtime == rt) || blocking_runtime() == rt)
                return 0;
        if (door / DOOR_GENERATION_ONE == generation && !(outside && door & DOOR_CLOSED))
                return 0;
        if (!outside && door / DOOR_GENERATION_ONE == generation + 1 && goes_on(rt, generation))
                return 0;
        runtime_unaccept(rt);
        return -ESHUTDOWN;
}

void runtime_unaccept(struct runtime *rt)
{
        /* [AC1] release pairs with the acquire in queues_empty(): what was accepted has been
         * pushed. The runtime may end from here on. */
        if ((fetch_add_acq_rel_u64(&rt->door, -(uint64_t)1) & DOOR_COUNT_MASK) == 1)
                runtime_maybe_drained(rt);
}

void runtime_forward(struct runtime *rt, unsigned node, struct skua_job *job)
{
        struct injector *injector = &rt->nodes[node].injectors[INJECTOR_NORMAL];

        injector_enter_inside(injector, 1);
        injector_link(injector, job, job);
        /* [PK1] pairs with [PK2]: the injector's count comes before our look. */
        fence_seq_cst_after_rmw();
        park_publish(rt, node);
}

void runtime_push_accepted(struct runtime *rt, struct skua_job *job)
{
        job->owner_ = NULL;
        runtime_forward(rt, runtime_node_here(rt), job);
        runtime_unaccept(rt);
}

/* ------------------------------------------------------------------ start */

static unsigned larger(unsigned a, unsigned b)
{
        return a > b ? a : b;
}

/* A late caller of the runtime before may read the maps: they are written only where the machine
 * has changed, and every value is an index of the slot. Entries that no runtime of the slot has had
 * are as slot_map() made them; going over all of them would take longer than starting a thread. */
static void settle_maps(struct runtime *rt, const struct placement *placement)
{
        rt->cpus_settled = larger(rt->cpus_settled, placement->cpu_limit);
        rt->nodes_settled = larger(rt->nodes_settled, placement->system_node_limit);
        for (unsigned i = 0; i < rt->cpus_settled && i < RUNTIME_CPUS; i++) {
                uint16_t node = i < placement->cpu_limit ? (uint16_t)placement->cpu_node[i] : 0;

                if (rt->cpu_node[i] != node)
                        rt->cpu_node[i] = node;
        }
        for (unsigned i = 0; i < rt->nodes_settled && i < RUNTIME_NODES; i++) {
                int16_t node = i < placement->system_node_limit ? (int16_t)placement->system_node[i]
                                                                : -1;

                if (rt->system_node[i] != node)
                        rt->system_node[i] = node;
        }
}

/* Prepares the slot's memory; everything that others may still touch from the runtime before is
 * left as it is, at rest. */
static void settle(struct runtime *rt, const struct settings *settings)
{
        const struct placement *placement = &rt->placement;

        settle_maps(rt, placement);
        rt->spin_ns = settings->spin_ns;
        rt->stack_bytes = settings->stack_bytes;
        rt->stack_stride = slab_stride(settings->stack_bytes);
        rt->stack_max = settings->stack_max;
        rt->ring_entries = settings->ring_entries;
        rt->no_ring = settings->flags & SKUA_NO_RING;
        rt->kick_signal = settings->kick_signal;
        pool_settle(&rt->pool, rt, settings);
        rt->user = settings->user;
        rt->on_thread = settings->on_thread;
        rt->on_log = settings->on_log;
        memcpy(rt->name, settings->name, sizeof rt->name);
        for (unsigned i = 0; i < rt->node_count; i++)
                memcpy(rt->nodes[i].order, placement->nodes[i].order,
                       rt->node_count * sizeof *rt->nodes[i].order);
        /* relaxed, all: threads that are started later see them; the handle is not yet known. */
        store_relaxed_u32(&rt->terminate, 0);
        store_relaxed_u32(&rt->stack_warned, 0);
        store_relaxed_u32(&rt->sentinel, 0);
        store_relaxed_u32(&rt->watch_wanted, 0);
        store_relaxed_u32(&rt->rings, 0);
        store_relaxed_u64(&rt->stack_count, 0);
        /* relaxed, all: as above. */
        store_relaxed_u64(&rt->stack_most, 0);
        store_relaxed_u32(&rt->ring_path, SKUA_RING_UNUSED);
        store_relaxed_u32(&rt->ring_error, 0);
        store_relaxed_u64(&rt->direct, 0);
        store_relaxed_u64(&rt->refused, 0);
        /* relaxed: the generation changes in seal(), before slot_give(). */
        rt->generation = load_relaxed_u64(&rt->door) / DOOR_GENERATION_ONE;
        rt->handle = handle_of(rt, rt->generation);
        for (unsigned i = 0; i < rt->worker_count; i++)
                worker_init(rt->workers[i], rt, i);
}

static void open_doors(struct runtime *rt, size_t queue_limit)
{
        for (unsigned i = 0; i < rt->node_count; i++)
                for (unsigned k = 0; k < INJECTOR_PRIORITIES; k++)
                        injector_open(&rt->nodes[i].injectors[k], queue_limit);
        /* [AC1] no store: see injector_open(). */
        fetch_and_acq_rel_u64(&rt->door, ~DOOR_CLOSED);
        /* [ST2] release pairs with the CAS in begin_stop(). */
        store_release_u64(&rt->phase, phase_word(rt->generation, RUNTIME_RUNNING));
}

/* Ends the threads: they are idle, or will be. */
static void end_threads(struct runtime *rt)
{
        unsigned count = load_relaxed_u32(&rt->thread_count); /* relaxed: own or constant */

        /* [ST1] release; the fence pairs with [PK2]: a parker that does not see it is idle for
         * us. */
        store_release_u32(&rt->terminate, 1);
        fence_seq_cst();
        for (unsigned i = 0; i < count; i++)
                park_wake_worker(rt, i);
        for (unsigned i = 0; i < count; i++)
                kernel_thread_join(&rt->workers[i]->thread);
        pool_end(&rt->pool);
        for (unsigned i = 0; i < count; i++)
                io_retire(rt->workers[i]);
        stacks_retire(rt);
        sources_retire(rt);
}

static int start_thread(struct worker *w)
{
        int result;

        if (!worker_map_thread(w) || !(w->first_stack = stack_take(w)))
                return -ENOMEM;
        result = kernel_thread_start(&w->thread, worker_main, w);
        if (result)
                stack_give(w, w->first_stack);
        return result;
}

/* All of them, or after an error as many as thread_count says. */
static int start_threads(struct runtime *rt)
{
        int result = 0;

        for (unsigned i = 0; i < rt->worker_count; i++)
                stacks_begin(rt->workers[i]);
        for (unsigned i = 0; i < rt->worker_count; i++)
                if ((result = start_thread(rt->workers[i]))) {
                        store_relaxed_u32(&rt->thread_count, i); /* relaxed: before the drain */
                        return result;
                }
        return 0;
}

/* A slot of the placement's shape. */
static struct runtime *take_slot(const struct placement *placement)
{
        unsigned *numbers = malloc((placement->worker_count + placement->node_count) *
                                   sizeof *numbers);
        struct slot_shape shape = {.workers = placement->worker_count,
                                   .nodes = placement->node_count,
                                   .worker_nodes = numbers,
                                   .node_ids = numbers ? numbers + placement->worker_count : NULL};
        struct runtime *rt;

        if (!numbers)
                return NULL;
        for (unsigned i = 0; i < placement->worker_count; i++)
                numbers[i] = placement->workers[i].node_index;
        for (unsigned i = 0; i < placement->node_count; i++)
                numbers[placement->worker_count + i] = placement->nodes[i].id;
        rt = slot_take(&shape);
        free(numbers);
        return rt;
}

static int start(struct skua **out, const struct settings *settings)
{
        struct topology topology;
        struct topology_input input = {.cpus = settings->cpus, .cpus_size = settings->cpus_size};
        struct placement_input wish = {.topology = &topology,
                                       .workers = settings->workers,
                                       .pin = settings->flags & SKUA_PIN,
                                       .no_pin = settings->flags & SKUA_NO_PIN,
                                       .rotation = kernel_process()};
        struct placement placement;
        struct runtime *rt;
        int result = topology_read(&topology, &input);

        if (result)
                return result;
        result = placement_make(&placement, &wish);
        topology_fini(&topology);
        if (result)
                return result;
        if (!(rt = take_slot(&placement))) {
                placement_fini(&placement);
                return -ENOMEM;
        }
        rt->placement = placement;
        settle(rt, settings);
        *out = rt->handle;
        open_doors(rt, settings->queue_limit);
        store_relaxed_u32(&rt->thread_count, rt->worker_count); /* relaxed: no thread yet */
        result = start_threads(rt);
        if (!result)
                result = pool_start(&rt->pool);
        if (result) {
                /* What on_thread may have submitted already is run. */
                begin_stop(rt->handle, SKUA_DRAIN);
                stop(rt, -1);
                *out = NULL;
        }
        return result;
}

/* The switch of stacks would end the process at its first return. */
static int refuse_shadow_stack(const struct settings *settings)
{
        if (settings->on_log)
                settings->on_log(LOG_ERR,
                                 "this thread has a shadow stack (CET, GCS), which Skua's stacks "
                                 "do not have: start the program without it",
                                 settings->user);
        return -EOPNOTSUPP;
}

SKUA_API int skua_start(struct skua **rt, const struct skua_options *options)
{
        struct settings settings;
        int result;

        if (!rt)
                return -EINVAL;
        result = settings_read(&settings, options);
        if (!result && !kernel_now_ns())
                result = -ENOSYS;
        if (!result && arch_shadow_stack())
                result = refuse_shadow_stack(&settings);
        if (!result)
                result = guard_install();
        return result ? result : start(rt, &settings);
}

/* ------------------------------------------------------------------ stop */

/* Async-signal-safe. Nothing happens to another generation. */
static void close_doors(struct runtime *rt, uint64_t generation)
{
        uint64_t found;

        door_close(&rt->door, generation, &found);
        for (unsigned i = 0; i < rt->node_count; i++)
                for (unsigned k = 0; k < INJECTOR_PRIORITIES; k++)
                        injector_close(&rt->nodes[i].injectors[k], generation);
        pool_close(&rt->pool);
}

/* relaxed: set in the child of a fork by its only thread. */
static bool is_orphan(struct runtime *rt)
{
        return load_relaxed_u32(&rt->orphan);
}

SKUA_API int skua_close(struct skua *handle)
{
        struct runtime *rt = runtime_of(handle);

        if (!rt)
                return -EINVAL;
        if (is_orphan(rt))
                return -EOWNERDEAD;
        close_doors(rt, generation_of(handle));
        return 0;
}

void runtime_maybe_drained(struct runtime *rt)
{
        /* [ST1] pairs with the fence in drain(): callers come after an RMW of what they changed;
         * either they see that somebody stops, or its look sees the change. */
        fence_seq_cst_after_rmw();
        /* relaxed: ordered by the fence. */
        if ((load_relaxed_u64(&rt->phase) & RUNTIME_PHASE_MASK) < RUNTIME_DRAINING)
                return;
        /* [ST3] pairs with the load in drain(). */
        fetch_add_acq_rel_u32(&rt->drain_event, 1);
        kernel_futex_wake(&rt->drain_event, INT_MAX);
}

static bool queues_empty(struct runtime *rt)
{
        /* [AC1] pairs with runtime_unaccept(): what was accepted stands in a queue. */
        if (load_acquire_u64(&rt->door) & DOOR_COUNT_MASK)
                return false;
        if (pool_busy(&rt->pool))
                return false;
        for (unsigned i = 0; i < rt->node_count; i++)
                if (injectors_visible(rt->nodes[i].injectors))
                        return false;
        for (unsigned i = 0; i < rt->worker_count; i++) {
                const struct worker *w = rt->workers[i];

                /* relaxed, all: as above. */
                if (load_relaxed_ptr(&w->gate->jobs) || load_relaxed_ptr(&w->gate->stacks) ||
                    queue_count(&w->run) || queue_count(&w->batch) ||
                    load_relaxed_u64(&w->count.suspended) != load_relaxed_u64(&w->count.resumed) ||
                    load_relaxed_u64(&w->count.io_begun) != load_relaxed_u64(&w->count.io_ended) ||
                    load_relaxed_u64(&w->timers.count))
                        return false;
        }
        return true;
}

static bool drained(struct runtime *rt)
{
        /* [PK5] acquire pairs with the RMWs of the parkers: what they did before. */
        uint64_t summary = load_acquire_u64(&rt->summary);

        if (park_idle_of(summary) != load_relaxed_u32(&rt->thread_count) ||
            park_searching_of(summary) || !queues_empty(rt))
                return false;
        /* [ST4] acquire fence: the second read of the summary comes after the look. Equal: no
         * worker left the idle set between, so what was seen empty stayed so. */
        fence_acquire();
        return load_relaxed_u64(&rt->summary) == summary; /* relaxed: [ST4] */
}

/* The last step of a drain: from here on nothing is accepted. False: something has been since the
 * look, and perhaps it has been pushed and its acceptance given back already, so that the door is
 * as it was: hence a second look behind the closed door. */
static bool seal(struct runtime *rt)
{
        uint64_t door = rt->generation * DOOR_GENERATION_ONE | DOOR_CLOSED;

        /* [AC1] pairs with the RMWs in runtime_accept(); acquire: with that in runtime_unaccept(),
         * so that the second look sees what was pushed before it. */
        if (!cas_acq_rel_u64(&rt->door, &door, door + DOOR_GENERATION_ONE))
                return false;
        /* [ST7] pairs with runtime_sealed(): who leaves the idle set now makes the look fail, or
         * finds the door sealed. */
        fence_seq_cst();
        if (drained(rt))
                return true;
        fetch_add_acq_rel_u64(&rt->door, -DOOR_GENERATION_ONE); /* [AC1] as above */
        return false;
}

/* Where a start has failed some workers have no thread: what was sent to one of them is run by any
 * that has. */
static void forward_mail(struct runtime *rt)
{
        /* relaxed: constant by now. */
        for (unsigned i = load_relaxed_u32(&rt->thread_count); i < rt->worker_count; i++) {
                unsigned node = rt->workers[i]->node_index;
                /* [GT1] acquire pairs with the CAS in worker_send(): the job before its pointer. */
                struct skua_job *job = exchange_acq_rel_ptr(&rt->gates[i].jobs, NULL), *next;

                for (; job; job = next) {
                        next = job->next_;
                        runtime_forward(rt, node, job);
                }
                while ((job = timers_take(rt->workers[i]))) /* bound: those that were armed */
                        runtime_forward(rt, node, job);
        }
}

/* Until the drain has ended (true) or the deadline has passed (0: none). */
static bool drain(struct runtime *rt, int64_t deadline_ns)
{
        for (;;) {
                /* [ST3] pairs with runtime_maybe_drained(): a change after this read ends the
                 * sleep. */
                uint32_t event = load_acquire_u32(&rt->drain_event);

                forward_mail(rt);
                /* [ST1] pairs with the fences of those who change something. */
                fence_seq_cst();
                if (drained(rt) && seal(rt))
                        return true;
                if (deadline_ns && kernel_now_ns() >= deadline_ns)
                        return false;
                kernel_futex_wait(&rt->drain_event, event, deadline_ns);
        }
}

/* Tells the workers that have I/O or timers of their own that the phase has changed; all of them,
 * if what waits there is to be cancelled. A worker that has not seen the phase when it begins an
 * await sees the request after it. */
static void request_all(struct runtime *rt)
{
        bool all = runtime_cancelling(rt);

        /* [ST6] pairs with the fences of those who begin what a stop must end: either they see the
         * phase, or we see them. */
        fence_seq_cst();
        for (unsigned i = 0; i < rt->worker_count; i++) {
                const struct worker *w = rt->workers[i];

                /* relaxed, both: ordered by the fence. */
                if (all || load_relaxed_ptr(&w->io_seen) || load_relaxed_u64(&w->timers.count))
                        gate_request(rt, i, GATE_REQUEST_STOP);
        }
}

/* 0: this thread stops it. 1: another does, and now cancels. */
static int begin_stop(struct skua *handle, enum skua_stop_how how)
{
        struct runtime *rt = runtime_of(handle);
        uint64_t generation = generation_of(handle);
        uint64_t phase = phase_word(generation, RUNTIME_RUNNING);
        uint64_t draining = phase_word(generation, RUNTIME_DRAINING);
        uint64_t wish = how == SKUA_CANCEL ? phase_word(generation, RUNTIME_CANCELLING) : draining;

        /* [ST2] acquire pairs with open_doors(); release with the other stopper's CAS. [ST5] pairs
         * with scope_cancelled(). */
        if (cas_acq_rel_u64(&rt->phase, &phase, wish)) {
                for (unsigned i = 0; i < rt->worker_count; i++)
                        timers_stop(rt->workers[i]);
                request_all(rt);
                return 0;
        }
        /* [ST2] [ST5] as above. */
        if (how != SKUA_CANCEL || !cas_acq_rel_u64(&rt->phase, &draining, wish))
                return -EALREADY;
        request_all(rt);
        return 1;
}

/* Raises the drain that this thread does. */
static void cancel(struct runtime *rt)
{
        /* [ST5] release pairs with the acquire in scope_cancelled(): what was before. [ST2]:
         * another thread's raise may have been first. */
        store_release_u64(&rt->phase, phase_word(rt->generation, RUNTIME_CANCELLING));
        request_all(rt);
}

/* After a drain, which has sealed the door, and when the threads have gone: the slot at rest. */
static void retire(struct runtime *rt)
{
        for (unsigned i = 0; i < rt->node_count; i++)
                for (unsigned k = 0; k < INJECTOR_PRIORITIES; k++)
                        injector_retire(&rt->nodes[i].injectors[k]);
        /* [ST2] release: the next runtime in this slot starts from here. */
        store_release_u64(&rt->phase, phase_word(rt->generation, RUNTIME_FREE));
        placement_fini(&rt->placement);
        slot_give(rt);
}

static int check_stop(struct skua *handle)
{
        struct runtime *rt = runtime_of(handle);
        struct worker *self = self_get();

        if (!rt)
                return -EINVAL;
        if (is_orphan(rt))
                return -EOWNERDEAD;
        return (self && self->runtime == rt) || blocking_runtime() == rt ? -EDEADLK : 0;
}

/* grace_ns < 0: no limit. Returns the number cancelled after the grace. */
static int64_t stop(struct runtime *rt, int64_t grace_ns)
{
        int64_t deadline = timeout_deadline_ns(kernel_now_ns(), grace_ns);
        uint64_t before = 0, cancelled = 0;

        close_doors(rt, rt->generation);
        if (!drain(rt, deadline)) {
                before = runtime_cancelled(rt);
                cancel(rt);
                drain(rt, 0);
                cancelled = runtime_cancelled(rt) - before;
        }
        end_threads(rt);
        retire(rt);
        return cancelled > INT_MAX ? INT_MAX : (int64_t)cancelled;
}

SKUA_API int skua_stop(struct skua *handle, enum skua_stop_how how)
{
        struct runtime *rt = runtime_of(handle);
        int result = check_stop(handle);

        if (result)
                return result;
        if (how != SKUA_DRAIN && how != SKUA_CANCEL)
                return -EINVAL;
        result = begin_stop(handle, how);
        if (!result)
                stop(rt, -1);
        return result < 0 ? result : 0;
}

SKUA_API int skua_stop_within(struct skua *handle, int64_t grace_ns)
{
        struct runtime *rt = runtime_of(handle);
        int result = check_stop(handle);

        if (!result && grace_ns < 0)
                result = -EINVAL;
        if (!result)
                result = begin_stop(handle, SKUA_DRAIN);
        return result ? result : (int)stop(rt, grace_ns);
}

/* ------------------------------------------------------------------ fork(2) */

void runtime_orphan(struct runtime *rt)
{
        /* relaxed, all: the child has one thread. What its parent has forgotten stays so. */
        if (load_relaxed_u32(&rt->orphan))
                return;
        store_relaxed_u32(&rt->orphan, 1);
        /* relaxed: as above. The doors refuse without looking at anything else. */
        for (unsigned i = 0; i < rt->node_count; i++)
                for (unsigned k = 0; k < INJECTOR_PRIORITIES; k++)
                        fetch_or_acq_rel_u64(&rt->nodes[i].injectors[k].door, DOOR_CLOSED);
        fetch_or_acq_rel_u64(&rt->door, DOOR_CLOSED); /* [AC1] */
}

SKUA_API void skua_abandon(struct skua *handle)
{
        struct runtime *rt = runtime_of(handle);
        struct worker *self = self_get();

        /* relaxed, here and below: the only thread. */
        if (!rt || load_relaxed_u32(&rt->orphan) != 1)
                return;
        /* 2: forgotten. The slot stays in use for ever. */
        store_relaxed_u32(&rt->orphan, 2);
        if (self && self->runtime == rt)
                self_set(NULL);
        if (blocking_runtime() == rt)
                pool_set(NULL);
}
