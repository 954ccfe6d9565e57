/* SPDX-License-Identifier: MIT
 *
 * Figures: sums over what each worker counts for itself.
 */
#include <errno.h>
#include <string.h>

#include "core/runtime.h"
#include "core/worker.h"

/* relaxed: figures, written by one thread each and read at any time. */
static uint64_t figure(const struct word64 *word)
{
        return load_relaxed_u64(word);
}

uint64_t runtime_cancelled(struct runtime *rt)
{
        uint64_t sum = 0;

        for (unsigned i = 0; i < rt->worker_count; i++)
                sum += figure(&rt->workers[i]->count.cancelled);
        return sum + figure(&rt->pool.cancelled);
}

static void sum_injectors(const struct runtime *rt, struct skua_stats *sum)
{
        for (unsigned i = 0; i < rt->node_count; i++)
                for (unsigned k = 0; k < INJECTOR_PRIORITIES; k++) {
                        const struct injector *injector = &rt->nodes[i].injectors[k];
                        uint64_t queued = injector_count(injector);

                        sum->queued += queued;
                        sum->submitted += figure(&injector->taken) + queued;
                }
}

static void sum_workers(const struct runtime *rt, struct skua_stats *sum)
{
        for (unsigned i = 0; i < rt->worker_count; i++) {
                const struct worker *w = rt->workers[i];

                sum->submitted += figure(&w->count.spawned) + figure(&w->count.delivered) -
                                  figure(&w->count.overflowed);
                sum->run += figure(&w->count.run);
                sum->cancelled += figure(&w->count.cancelled);
                sum->suspended += figure(&w->count.suspended) - figure(&w->count.resumed);
                sum->stacks_beyond += figure(&w->count.beyond);
                sum->workers_active += !load_relaxed_u32(&w->count.parked); /* relaxed: a figure */
        }
}

static void sum_pool(const struct pool *p, struct skua_stats *sum)
{
        /* In this order, so that no more are cancelled than entered. */
        uint64_t cancelled = figure(&p->cancelled), entered = figure(&p->entered);

        sum->submitted += figure(&p->placed);
        sum->run += entered - cancelled;
        sum->cancelled += cancelled;
        /* relaxed, both: figures. */
        sum->blocking_threads = load_relaxed_u32(&p->threads);
        sum->blocking_queued = load_relaxed_u32(&p->queued);
}

/* Gives the caller as much of the struct as it knows. */
static int give(void *theirs, size_t theirs_bytes, void *ours, size_t ours_bytes)
{
        memset((char *)theirs + sizeof(size_t), 0, theirs_bytes - sizeof(size_t));
        memcpy((char *)theirs + sizeof(size_t), (char *)ours + sizeof(size_t),
               (theirs_bytes < ours_bytes ? theirs_bytes : ours_bytes) - sizeof(size_t));
        return 0;
}

static int check(const struct runtime *rt, const void *out, size_t size, size_t least)
{
        if (!rt || !out || size < least)
                return -EINVAL;
        /* relaxed: set in the child of a fork by its only thread. */
        return load_relaxed_u32(&rt->orphan) ? -EOWNERDEAD : 0;
}

SKUA_API int skua_stats_read(struct skua *handle, struct skua_stats *out)
{
        struct runtime *rt = runtime_of(handle);
        struct skua_stats sum = {.size = sizeof sum};
        /* As far as the first version of the struct went. */
        int result = check(rt, out, out ? out->size : 0, offsetof(struct skua_stats, stacks));

        if (result)
                return result;
        sum.stacks = figure(&rt->stack_count);
        sum.stacks_most = figure(&rt->stack_most);
        sum.submitted = figure(&rt->direct);
        sum.refused = figure(&rt->refused);
        sum_pool(&rt->pool, &sum);
        sum_injectors(rt, &sum);
        sum_workers(rt, &sum);
        /* relaxed, both: figures. */
        sum.ring_path = load_relaxed_u32(&rt->ring_path);
        sum.ring_error = (int32_t)load_relaxed_u32(&rt->ring_error);
        return give(out, out->size, &sum, sizeof sum);
}

SKUA_API int skua_stats_worker(struct skua *handle, unsigned index, struct skua_worker_stats *out)
{
        struct runtime *rt = runtime_of(handle);
        struct skua_worker_stats stats = {.size = sizeof stats};
        int result = check(rt, out, out ? out->size : 0, sizeof stats);
        const struct worker_count *count;
        uint64_t busy_since, now;

        if (result)
                return result;
        if (index >= rt->worker_count)
                return -EINVAL;
        count = &rt->workers[index]->count;
        stats.run = figure(&count->run) + figure(&count->cancelled);
        stats.forked = figure(&count->forked);
        stats.stolen_local = figure(&count->stolen_local);
        stats.stolen_remote = figure(&count->stolen_remote);
        stats.parks = figure(&count->parks);
        stats.completions = figure(&count->completions);
        stats.busy_ns = figure(&count->busy_ns);
        busy_since = figure(&count->busy_since_ns);
        now = (uint64_t)kernel_now_ns();
        if (busy_since && now > busy_since)
                stats.busy_ns += now - busy_since;
        stats.running = !load_relaxed_u32(&count->parked); /* relaxed: a figure */
        return give(out, out->size, &stats, sizeof stats);
}
