/* SPDX-License-Identifier: MIT
 *
 * Slabs of stacks and the pool of a node; see slab.h.
 */
#include "wait/slab.h"

#include "core/kernel.h"
#include "place/memory.h"
#include "wait/stack.h"

/* Free stacks that a pool keeps when slabs could be unmapped, until somebody is idle. */
enum { POOL_KEPT = 1024 };

/* ------------------------------------------------------------------ slabs */

size_t slab_stride(size_t stack_bytes)
{
        size_t page_bytes = kernel_page_bytes();
        size_t bytes = KERNEL_GUARD_BYTES + stack_bytes + STACK_CONTROL_BYTES;
        size_t pages = (bytes + page_bytes - 1) / page_bytes;

        /* An odd number: else the first pages of all stacks would compete for a few places of the
         * TLB. */
        return (pages | 1) * page_bytes;
}

struct slab *slab_map(unsigned count, size_t stride, int node_id)
{
        struct slab *slab;
        char *low;

        for (; !(low = memory_map(count * stride, node_id)); count /= 2)
                if (count <= 1)
                        return NULL;
        kernel_small_pages(low, count * stride);
        slab = (struct slab *)(void *)(low + count * stride - STACK_SLAB_BYTES);
        *slab = (struct slab){.count = count, .low = low, .stride = stride};
        return slab;
}

void slab_unmap(struct slab *slab)
{
        kernel_guards_gone(slab->mapped_guards);
        memory_unmap(slab->low, slab->count * slab->stride);
}

struct stack *slab_carve(struct slab *slab)
{
        char *low = slab->low + (slab->count - 1 - slab->carved) * slab->stride;
        struct stack *stack = stack_of_memory(low, slab->stride);

        if (slab->carved == slab->guarded) {
                int kind = kernel_guard_stack(low);

                if (kind < 0)
                        return NULL;
                slab->guarded++;
                slab->mapped_guards += kind == KERNEL_GUARD_MAPPED;
                stack->unguarded = kind == KERNEL_GUARD_NONE;
                slab->unguarded |= stack->unguarded;
        }
        slab->carved++;
        stack->older = slab->youngest;
        slab->youngest = stack;
        stack->running = NULL;
        stack->low = low;
        stack->slab = slab;
        return stack;
}

void slab_reset(struct slab *slab, size_t kept_bytes)
{
        size_t bytes = slab->count * slab->stride;

        slab->free = NULL;
        slab->youngest = NULL;
        slab->free_count = slab->carved = 0;
        slab->dirty = false;
        if (bytes > kept_bytes)
                kernel_discard(slab->low, bytes - kept_bytes);
}

/* ------------------------------------------------------------------ the pool */

static void stack_pool_lock(struct stack_pool *pool)
{
        uint32_t free = 0;

        /* [SP1] acquire pairs with stack_pool_unlock(): the lists. Bound: the holder's few steps.
         */
        for (; !cas_acquire_u32(&pool->lock, &free, 1); free = 0)
                kernel_yield();
        shared_write(&pool->first, sizeof pool->first);
}

static void stack_pool_unlock(struct stack_pool *pool)
{
        /* [SP1] release pairs with stack_pool_lock(). */
        store_release_u32(&pool->lock, 0);
}

static void unlink_slab(struct stack_pool *pool, struct slab *slab)
{
        *(slab->previous ? &slab->previous->next : &pool->first) = slab->next;
        *(slab->next ? &slab->next->previous : &pool->last) = slab->previous;
}

static void link_first(struct stack_pool *pool, struct slab *slab)
{
        slab->previous = NULL;
        slab->next = pool->first;
        *(slab->next ? &slab->next->previous : &pool->last) = slab;
        pool->first = slab;
}

static void link_last(struct stack_pool *pool, struct slab *slab)
{
        slab->next = NULL;
        slab->previous = pool->last;
        *(slab->previous ? &slab->previous->next : &pool->first) = slab;
        pool->last = slab;
}

static void count_free(struct stack_pool *pool, uint64_t change)
{
        /* relaxed, both: under the lock; others take it for a hint. */
        store_relaxed_u64(&pool->free_count, load_relaxed_u64(&pool->free_count) + change);
}

void stack_pool_add(struct stack_pool *pool, struct slab *slab)
{
        stack_pool_lock(pool);
        link_last(pool, slab);
        stack_pool_unlock(pool);
}

unsigned stack_pool_take(struct stack_pool *pool, struct stack **list, unsigned most)
{
        struct stack *stack;
        struct slab *slab;
        unsigned count = 0;

        *list = NULL;
        /* relaxed: who misses some makes others. */
        if (!load_relaxed_u64(&pool->free_count))
                return 0;
        stack_pool_lock(pool);
        for (; count < most && (slab = pool->first) && (stack = slab->free); count++) {
                slab->free = stack->next;
                stack->next = *list;
                *list = stack;
                if (!--slab->free_count) {
                        unlink_slab(pool, slab);
                        link_last(pool, slab);
                }
        }
        count_free(pool, -(uint64_t)count);
        stack_pool_unlock(pool);
        return count;
}

/* Back to its slab, which comes to the front with its first one. */
static struct slab *put_back(struct stack_pool *pool, struct stack *stack)
{
        struct slab *slab = stack->slab;

        stack->next = slab->free;
        slab->free = stack;
        if (!slab->free_count++) {
                unlink_slab(pool, slab);
                link_first(pool, slab);
        }
        count_free(pool, 1);
        return slab;
}

/* A slab whose stacks are all free leaves the pool. */
static struct slab *take_out(struct stack_pool *pool, struct slab *slab, struct slab *chain)
{
        unlink_slab(pool, slab);
        count_free(pool, -(uint64_t)slab->count);
        slab->chain = chain;
        return slab;
}

static void unmap_chain(struct slab *chain)
{
        while (chain) {
                struct slab *slab = chain;

                chain = slab->chain;
                slab_unmap(slab);
        }
}

void stack_pool_give(struct stack_pool *pool, struct stack *list)
{
        struct slab *gone = NULL;

        stack_pool_lock(pool);
        while (list) {
                struct stack *stack = list;
                struct slab *slab;

                list = stack->next;
                slab = put_back(pool, stack);
                slab->dirty = true;
                /* relaxed: under the lock. */
                if (slab->free_count == slab->count &&
                    load_relaxed_u64(&pool->free_count) >= POOL_KEPT + slab->count)
                        gone = take_out(pool, slab, gone);
        }
        stack_pool_unlock(pool);
        unmap_chain(gone);
}

/* Takes apart what can be given back: `gone`, and the free stacks of the chain that it returns,
 * which nobody else sees meanwhile. */
static struct slab *detach_dirty(struct stack_pool *pool, struct slab **gone)
{
        struct slab *chain = NULL, *slab, *next;

        for (slab = pool->first; slab && slab->free; slab = next) {
                next = slab->next;
                if (slab->free_count == slab->count) {
                        *gone = take_out(pool, slab, *gone);
                } else if (slab->dirty && !slab->trimmed) { /* else somebody else has some of it */
                        slab->dirty = false;
                        slab->trimmed = slab->free;
                        slab->free = NULL;
                        count_free(pool, -(uint64_t)slab->free_count);
                        slab->free_count = 0;
                        unlink_slab(pool, slab);
                        link_last(pool, slab);
                        slab->chain = chain;
                        chain = slab;
                }
                /* A slab that came to the end has no free stacks: the loop ends there. */
        }
        return chain;
}

static void attach(struct stack_pool *pool, struct slab *slab)
{
        struct stack *stack, *next;

        for (stack = slab->trimmed; stack; stack = next) {
                next = stack->next;
                put_back(pool, stack);
        }
        slab->trimmed = NULL;
}

void stack_pool_trim(struct stack_pool *pool)
{
        struct slab *chain, *slab;

        stack_pool_lock(pool);
        /* Another round for what has come back to those slabs meanwhile, which all others have left
         * to us. Bound: each needs that. */
        for (;;) {
                struct slab *gone = NULL;

                chain = detach_dirty(pool, &gone);
                stack_pool_unlock(pool);
                unmap_chain(gone);
                if (!chain)
                        return;
                for (slab = chain; slab; slab = slab->chain)
                        for (struct stack *stack = slab->trimmed; stack; stack = stack->next)
                                stack_discard(stack);
                stack_pool_lock(pool);
                for (slab = chain; slab; slab = slab->chain)
                        attach(pool, slab);
        }
}

struct slab *stack_pool_empty(struct stack_pool *pool)
{
        struct slab *slab;

        stack_pool_lock(pool);
        if ((slab = pool->first))
                unlink_slab(pool, slab);
        store_relaxed_u64(&pool->free_count, 0); /* relaxed: under the lock */
        stack_pool_unlock(pool);
        return slab;
}
