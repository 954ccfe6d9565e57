/* SPDX-License-Identifier: MIT
 *
 * A worker's stacks: its cache, the bound, and what is given back; see stack.h and slab.h.
 */
#include "wait/stack.h"

#include <syslog.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "place/memory.h"

enum { SLAB_FIRST = SIZE_SLAB < 2 ? SIZE_SLAB : 2, KEPT_BYTES = 16384, IDLE_CACHED = 2 };

static struct stack_pool *pool_of(const struct worker *w)
{
        return &w->runtime->nodes[w->node_index].stacks;
}

char *stack_memory(struct worker *w, size_t bytes)
{
        char *low = memory_map(bytes, (int)w->runtime->nodes[w->node_index].id);

        if (low && kernel_guard(low, KERNEL_GUARD_BYTES, bytes)) {
                memory_unmap(low, bytes);
                return NULL;
        }
        return low;
}

/* ------------------------------------------------------------------ counting */

bool stacks_short(const struct worker *w)
{
        const struct runtime *rt = w->runtime;

        /* Each worker has one beside those that wait. relaxed: a bound that need not be exact to
         * the moment. */
        return load_relaxed_u64(&rt->stack_count) >= rt->stack_max + rt->worker_count;
}

/* So many more are with the workers. */
static void count_taken(struct runtime *rt, uint64_t count)
{
        /* relaxed, all: see stacks_short(); and figures. */
        uint64_t now = fetch_add_relaxed_u64(&rt->stack_count, count) + count;
        uint64_t most = load_relaxed_u64(&rt->stack_most);

        while (now > most && !cas_relaxed_u64(&rt->stack_most, &most, now)) /* relaxed: as above */
                ; /* bound: it only grows */
}

static void count_given(struct runtime *rt, uint64_t count)
{
        /* relaxed: see stacks_short(). */
        fetch_add_relaxed_u64(&rt->stack_count, -count);
}

/* All that can go on has gone on, and this worker would sleep while jobs wait for a stack. */
static void go_beyond(struct worker *w)
{
        struct runtime *rt = w->runtime;
        uint32_t first = 0;

        count_add(&w->count.beyond, 1);
        w->budget = 1; /* see fair() in worker.c */
        /* relaxed: once, whoever it is. */
        if (cas_relaxed_u32(&rt->stack_warned, &first, 1))
                runtime_log(rt, LOG_WARNING,
                            "stack_max (%zu) reached: taking stacks beyond it so that jobs go on",
                            rt->stack_max);
}

/* ------------------------------------------------------------------ taking */

/* The worker's next one from its slab, or from a new one. */
static struct stack *carve(struct worker *w)
{
        struct runtime *rt = w->runtime;
        struct slab *slab = w->slab;
        struct stack *stack;

        if (!slab) {
                slab = slab_map(w->slab_room, rt->stack_stride, (int)rt->nodes[w->node_index].id);
                if (!slab)
                        return NULL;
                w->slab_room = slab->count * 2 < SIZE_SLAB ? slab->count * 2 : SIZE_SLAB;
                w->slab = slab;
                stack_pool_add(pool_of(w), slab);
        }
        stack = slab_carve(slab);
        if (slab->carved == slab->count)
                w->slab = NULL; /* from here on anybody may unmap it */
        return stack;
}

/* For the empty cache, from the node's pool, or else one that is new. */
static bool refill(struct worker *w)
{
        unsigned count;

        if (stacks_short(w))
                go_beyond(w);
        count = stack_pool_take(pool_of(w), &w->stack_cache, w->cache_most / 4 + 1);
        if (!count && (w->stack_cache = carve(w))) {
                w->stack_cache->next = NULL;
                w->stack_cache->used = w->stack_cache->spent = false;
                count = 1;
        }
        w->stack_cached = count;
        count_taken(w->runtime, count);
        return count;
}

static void prepare(struct worker *w, struct stack *stack)
{
        char *frames = stack->low + KERNEL_GUARD_BYTES;

        arch_context_init(&stack->context, frames, (size_t)((char *)stack - frames), worker_loop,
                          w);
        stack->used = true;
        stack->home = w;
        stack->top = stack->public = &stack->base;
        stack->scope = NULL;
        stack->running = NULL;
        stack->exits = NULL;
}

static void end_context(struct stack *stack)
{
        if (stack->used)
                arch_context_fini(&stack->context);
        stack->used = stack->spent = false;
}

struct stack *stack_take(struct worker *w)
{
        struct stack *stack;

        if (!w->stack_cache && !refill(w))
                return NULL;
        stack = w->stack_cache;
        w->stack_cache = stack->next;
        w->stack_cached--;
        if (stack->spent)
                end_context(stack);
        if (!stack->used)
                prepare(w, stack);
        return stack;
}

/* ------------------------------------------------------------------ giving */

/* Those that were used last stay, the first `kept` of the cache; at least one, which may be the
 * running one. */
static void unload(struct worker *w, unsigned kept)
{
        struct stack *last = w->stack_cache, *rest;
        unsigned count = 0;

        for (unsigned i = 1; i < kept && last; i++)
                last = last->next;
        if (!last || !last->next)
                return;
        rest = last->next;
        last->next = NULL;
        for (struct stack *stack = rest; stack; stack = stack->next, count++)
                end_context(stack);
        w->stack_cached -= count;
        count_given(w->runtime, count);
        stack_pool_give(pool_of(w), rest);
}

/* Without a guard nothing has stopped the job when it overran its stack. */
static void check_unguarded(struct worker *w, const struct stack *stack)
{
        if (kernel_touched(stack->low, KERNEL_GUARD_BYTES)) {
                w->fault = "stack overflow, found late (see stack_bytes in struct skua_options)";
                guard_report(w);
        }
}

void stack_give(struct worker *w, struct stack *stack)
{
        if (stack->unguarded)
                check_unguarded(w, stack);
        stack->top = stack->public = &stack->base;
        stack->scope = NULL;
        stack->running = NULL;
        stack->exits = NULL;
        stack->next = w->stack_cache;
        w->stack_cache = stack;
        w->trim_wanted = true;
        if (++w->stack_cached > w->cache_most)
                unload(w, w->cache_most / 2);
}

/* ------------------------------------------------------------------ idleness */

void stack_discard(struct stack *stack)
{
        char *frames = stack->low + KERNEL_GUARD_BYTES;
        char *page = (char *)((uintptr_t)stack & ~(uintptr_t)(kernel_page_bytes() - 1));

        if (page > frames)
                kernel_discard(frames, (size_t)(page - frames));
}

/* Of the running stack: what lies below its frames, and is not used at the moment. */
static __attribute__((noinline)) void discard_below(const struct stack *stack)
{
        char *frames = stack->low + KERNEL_GUARD_BYTES;
        uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(KEPT_BYTES - 1);
        char *end = (char *)here - KEPT_BYTES;

        if (end > frames)
                kernel_discard(frames, (size_t)(end - frames));
}

static __attribute__((noinline)) void trim(struct worker *w)
{
        unload(w, IDLE_CACHED);
        for (struct stack *stack = w->stack_cache; stack; stack = stack->next) {
                end_context(stack);
                stack_discard(stack);
        }
        discard_below(w->stack);
        stack_pool_trim(pool_of(w));
}

void stacks_idle(struct worker *w, int64_t now_ns)
{
        if (!SIZE_IDLE_NS)
                return;
        if (!w->trim_ns) {
                w->trim_ns = now_ns + SIZE_IDLE_NS;
        } else if (now_ns >= w->trim_ns) {
                w->trim_ns = 0;
                w->trim_wanted = false;
                trim(w);
        }
}

/* ------------------------------------------------------------------ begin and end */

void stacks_begin(struct worker *w)
{
        struct slab *slab = w->slab;

        w->slab_room = SLAB_FIRST;
        if (!slab)
                return;
        if (slab->stride == w->runtime->stack_stride) {
                stack_pool_add(pool_of(w), slab);
                return;
        }
        slab_unmap(slab);
        w->slab = NULL;
}

static void forget_cache(struct worker *w)
{
        for (struct stack *stack = w->stack_cache; stack; stack = stack->next)
                end_context(stack);
        w->stack_cache = NULL;
        w->stack_cached = 0;
        w->slab = NULL;
}

/* For the slot's next runtime, by the first worker of the node that has none. Those of the size
 * that each worker begins with, so that what stays mapped does not depend on what has happened. */
static bool keep(struct runtime *rt, unsigned node_index, struct slab *slab)
{
        if (slab->count != SLAB_FIRST || slab->unguarded)
                return false;
        for (unsigned i = 0; i < rt->worker_count; i++) {
                struct worker *w = rt->workers[i];

                if (w->node_index != node_index || w->slab)
                        continue;
                slab_reset(slab, KEPT_BYTES);
                w->slab = slab;
                return true;
        }
        return false;
}

void stacks_retire(struct runtime *rt)
{
        struct slab *slab;

        for (unsigned i = 0; i < rt->worker_count; i++)
                forget_cache(rt->workers[i]);
        for (unsigned i = 0; i < rt->node_count; i++)
                while ((slab = stack_pool_empty(&rt->nodes[i].stacks)))
                        if (!keep(rt, i, slab))
                                slab_unmap(slab);
}
