/* SPDX-License-Identifier: MIT
 *
 * Stacks; see stack.h for the layout.
 */
#include "wait/stack.h"

#include <syslog.h>

#include "core/runtime.h"
#include "core/worker.h"
#include "place/memory.h"

enum { CACHED_MOST = 64, KEPT_BYTES = 16384 };

static size_t mapping_bytes(const struct runtime *rt)
{
        size_t bytes = KERNEL_GUARD_BYTES + rt->stack_bytes + sizeof(struct stack);

        return (bytes + 4095) & ~(size_t)4095;
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

static struct stack *stack_map(struct worker *w)
{
        struct runtime *rt = w->runtime;
        size_t bytes = mapping_bytes(rt);
        struct stack *stack;
        char *low = stack_memory(w, bytes);

        if (!low)
                return NULL;
        stack = (struct stack *)(((uintptr_t)low + bytes - sizeof *stack) & ~(uintptr_t)63);
        stack->low = low;
        stack->bytes = bytes;
        stack->home = w;
        /* relaxed: a bound that need not be exact to the moment. */
        fetch_add_relaxed_u64(&rt->stack_count, 1);
        return stack;
}

static void stack_unmap(struct worker *w, struct stack *stack)
{
        /* relaxed: see stack_map(). */
        fetch_add_relaxed_u64(&w->runtime->stack_count, -(uint64_t)1);
        if (stack->used)
                arch_context_fini(&stack->context);
        memory_unmap(stack->low, stack->bytes);
}

/* What the slot's last runtime has left, if it has the size. */
static struct stack *stack_revive(struct worker *w)
{
        struct stack *stack = w->stack_kept;

        w->stack_kept = NULL;
        /* relaxed, both: see stack_map(). */
        fetch_add_relaxed_u64(&w->runtime->stack_count, stack != NULL);
        if (stack && stack->bytes != mapping_bytes(w->runtime)) {
                stack_unmap(w, stack);
                stack = NULL;
        }
        return stack;
}

/* New jobs wait to start while stacks can be resumed instead; this worker has none of those. */
static void watch_bound(struct worker *w)
{
        struct runtime *rt = w->runtime;
        uint32_t first = 0;

        /* relaxed: see stack_map(). */
        if (load_relaxed_u64(&rt->stack_count) < rt->stack_max)
                return;
        count_add(&w->count.beyond, 1);
        /* relaxed: once, whoever it is. */
        if (cas_relaxed_u32(&rt->stack_warned, &first, 1))
                runtime_log(rt, LOG_WARNING,
                            "stack_max (%zu) reached: taking stacks beyond it so that jobs go on",
                            rt->stack_max);
}

/* From the cache, which holds one. */
static struct stack *uncache(struct worker *w)
{
        struct stack *stack = w->stack_cache;

        w->stack_cache = stack->next;
        w->stack_cached--;
        return stack;
}

struct stack *stack_take(struct worker *w)
{
        struct stack *stack;
        char *frames;

        if (w->stack_cache) {
                stack = uncache(w);
        } else {
                watch_bound(w);
                if (!(stack = stack_revive(w)) && !(stack = stack_map(w)))
                        return NULL;
        }
        if (stack->used)
                arch_context_fini(&stack->context);
        frames = stack->low + KERNEL_GUARD_BYTES;
        arch_context_init(&stack->context, frames, (size_t)((char *)stack - frames), worker_loop,
                          w);
        stack->used = true;
        stack->top = stack->public = &stack->base;
        stack->scope = NULL;
        stack->running = NULL;
        stack->exits = NULL;
        stack->isolated = 0;
        return stack;
}

void stack_give(struct worker *w, struct stack *stack)
{
        stack->next = w->stack_cache;
        w->stack_cache = stack;
        w->stack_cached++;
}

void stack_trim(struct worker *w)
{
        while (w->stack_cached > CACHED_MOST)
                stack_unmap(w, uncache(w));
}

void stack_retire(struct worker *w)
{
        while (w->stack_cache) {
                struct stack *stack = uncache(w);

                if (w->stack_kept) {
                        stack_unmap(w, stack);
                        continue;
                }
                w->stack_kept = stack;
                if (stack->used)
                        arch_context_fini(&stack->context);
                stack->used = false;
                if (stack->bytes > KERNEL_GUARD_BYTES + KEPT_BYTES)
                        kernel_discard(stack->low + KERNEL_GUARD_BYTES,
                                       stack->bytes - KERNEL_GUARD_BYTES - KEPT_BYTES);
        }
}
