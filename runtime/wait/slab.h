/* SPDX-License-Identifier: MIT
 *
 * Slabs: one mapping for many stacks, so that 10^6 of them are a few thousand mappings; and the
 * pool of a node, where stacks that their worker has no use for wait for any worker of the node.
 *
 *   low [guard][ ... frames grow down ][struct stack] ... [guard][ ... ][struct stack][struct slab]
 *
 * The next stack's guard follows directly on a stack's first page, so that in the end both need one
 * page of the page tables. Stacks are carved from the high end by the one worker that has mapped
 * the slab; a guard is made when its stack is carved. Invariants of the pool, under its lock: slabs
 * with free stacks come first in its list; a slab all of whose stacks are free stays only while the
 * pool has few.
 */
#ifndef WAIT_SLAB_H
#define WAIT_SLAB_H

#include "arch.h"

struct stack;

struct slab {
        /* under the pool's lock */
        struct slab *next, *previous;
        struct stack *free;
        unsigned free_count;
        bool dirty; /* free stacks may have more memory than trimmed ones */
        /* of whoever has taken it out of the pool, or its free stacks out of it */
        struct slab *chain;
        struct stack *trimmed;
        /* of the worker that carves */
        unsigned carved, guarded; /* from the high end; guarded: also in an earlier life */
        struct stack *youngest;   /* of those that have been carved; for debuggers */
        unsigned mapped_guards;
        bool unguarded; /* some have none */
        /* constant */
        unsigned count;
        char *low;
        size_t stride;
};

struct stack_pool {
        _Alignas(ARCH_APART) struct word32 lock;
        struct word64 free_count; /* written under the lock */
        struct slab *first, *last;
};

/* From one stack to the next. */
size_t slab_stride(size_t stack_bytes);

/* A new slab of up to `count` stacks, at least one, on the system's node `node_id`; it belongs to
 * no pool. NULL: no memory. */
struct slab *slab_map(unsigned count, size_t stride, int node_id);
void slab_unmap(struct slab *slab);

/* The next one of a slab that is not used up; with its guard, touched nowhere else. NULL: no
 * memory. */
struct stack *slab_carve(struct slab *slab);

/* All of the slab's stacks are out of use and none is to be used again as it is: as new, but for
 * the guards and the first `kept_bytes` of the first stack. */
void slab_reset(struct slab *slab, size_t kept_bytes);

void stack_pool_add(struct stack_pool *pool, struct slab *slab);

/* Up to `most` free stacks, as a list; how many. */
unsigned stack_pool_take(struct stack_pool *pool, struct stack **list, unsigned most);

/* Takes a list of stacks whose contexts have ended. */
void stack_pool_give(struct stack_pool *pool, struct stack *list);

/* Gives the memory of free stacks back to the system, but for the first page of each in slabs that
 * are partly in use. Takes a while. */
void stack_pool_trim(struct stack_pool *pool);

/* Takes all slabs out: the runtime has ended. Any of them; NULL: there are none. */
struct slab *stack_pool_empty(struct stack_pool *pool);

#endif
