/* SPDX-License-Identifier: MIT
 *
 * A worker's thread: name, place, callbacks, first and last switch; and reports that name the job's
 * function.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "io/io.h"
#include "wait/stack.h"
#include "wait/suspend.h"

static pthread_key_t exit_key;
static bool exit_key_made;

/* A small stack_max is for stacks in use. */
static unsigned cache_most(const struct runtime *rt)
{
        size_t share = rt->stack_max / (4 * (size_t)rt->worker_count);

        return share < 1 ? 1 : share < SIZE_STACKS ? (unsigned)share : SIZE_STACKS;
}

void worker_init(struct worker *w, struct runtime *rt, unsigned index)
{
        const struct placement_worker *place = &rt->placement.workers[index];

        w->runtime = rt;
        w->gate = &rt->gates[index];
        w->place = place;
        w->index = w->prefer = index;
        w->node_index = place->node_index;
        w->alone = rt->worker_count == 1;
        w->random = 0x9e3779b97f4a7c15u * (index + 1);
        w->budget = w->budget_full = 1;
        w->searching = w->callback = false;
        w->pauses = 0;
        w->jobs_long = w->turns_long = w->ring_first = w->sentinel = false;
        w->slept_ns = INT64_MAX; /* a spinner would only be in the way of those who start */
        w->fault = NULL;
        w->stack_cache = w->crowded = NULL;
        w->awaits = NULL;
        w->fair_turn = 0;
        w->stack_cached = 0;
        w->cache_most = cache_most(rt);
        w->trim_wanted = false;
        w->trim_ns = 0;
        w->run.slots = w->run_slots;
        w->run.mask = QUEUE_SLOTS - 1;
        w->batch.slots = w->batch_slots;
        w->batch.mask = BATCH_SLOTS - 1;
        w->timers.stopped = false; /* else at rest: empty */
        memset(&w->count, 0, sizeof w->count);
}

/* What function `address` is in, for people. */
static void describe(char *text, size_t bytes, void (*address)(void))
{
        Dl_info info;

        if (!dladdr((void *)(uintptr_t)address, &info))
                snprintf(text, bytes, "%p", (void *)(uintptr_t)address);
        else if (info.dli_sname && info.dli_saddr == (void *)(uintptr_t)address)
                snprintf(text, bytes, "%s", info.dli_sname);
        else
                snprintf(text, bytes, "%s+0x%zx", info.dli_fname,
                         (size_t)((uintptr_t)address - (uintptr_t)info.dli_fbase));
}

void worker_report(struct worker *w, const char *what)
{
        char name[256] = "none";

        if (w->running)
                describe(name, sizeof name, (void (*)(void))w->running);
        runtime_log(w->runtime, LOG_CRIT, "worker %u: %s; job function: %s", w->index, what, name);
}

/* The destructor of a worker's thread-specific value: the thread ends where it must not. */
static void on_thread_exit(void *arg)
{
        worker_report(arg, "a job has ended its thread (pthread_exit)");
        abort();
}

static void make_exit_key(void)
{
        exit_key_made = !pthread_key_create(&exit_key, on_thread_exit);
}

static void watch_exit(void *value)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, make_exit_key);
        if (exit_key_made)
                pthread_setspecific(exit_key, value);
}

static void call_on_thread(struct worker *w, int starting)
{
        struct runtime *rt = w->runtime;

        w->callback = true;
        if (rt->on_thread)
                rt->on_thread(rt->handle, starting, rt->user);
        w->callback = false;
}

bool worker_map_thread(struct worker *w)
{
        if (!w->thread.stack)
                w->thread.stack = stack_memory(w, kernel_thread_bytes());
        return w->thread.stack;
}

void worker_main(void *arg)
{
        struct worker *w = arg;
        struct runtime *rt = w->runtime;
        size_t alternate_bytes = guard_thread_bytes();
        char alternate[alternate_bytes], name[16];
        int result;

        self_set(w);
        w->error = &errno;
        w->exceptions = exceptions_here(&w->no_exceptions);
        snprintf(name, sizeof name, "%.6s-w%02u/n%u", rt->name, w->index,
                 rt->nodes[w->node_index].id);
        kernel_thread_name(name);
        result = placement_bind_thread(&rt->placement, w->index);
        if (result)
                runtime_log(rt, LOG_WARNING, "worker %u: cannot be bound to its CPU: %s", w->index,
                            strerror(-result));
        guard_thread(alternate, alternate_bytes);
        watch_exit(w);
        call_on_thread(w, 1);
        /* relaxed: for the figures only. */
        store_relaxed_u64(&w->count.busy_since_ns, (uint64_t)kernel_now_ns());
        arch_context_thread(&w->thread_context);
        suspend_first(w);
        if (w->fault)
                guard_report(w);
        io_close(w);
        call_on_thread(w, 0);
        watch_exit(NULL);
        guard_thread(NULL, 0);
        self_set(NULL);
}
