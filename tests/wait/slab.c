/* SPDX-License-Identifier: MIT
 *
 * The pool of stacks by itself: what happens to it while it gives memory back to the system, which
 * it does without its lock.
 */
/* link: -Wl,--wrap=madvise */
#include "wait/slab.h"

#include <sys/mman.h>

#include "rig.h"
#include "wait/stack.h"

enum { CHECKS = 8, STACKS = 8 };

static struct stack_pool pool;
static void (*meanwhile)(void); /* at the next discard, once */
static unsigned discards, in_use;
static struct stack *taken; /* while memory is given back */

int __real_madvise(void *low, size_t bytes, int advice);

int __wrap_madvise(void *low, size_t bytes, int advice)
{
        if (advice == MADV_DONTNEED) {
                void (*fn)(void) = meanwhile;

                meanwhile = NULL;
                if (fn)
                        fn();
                discards++;
                for (struct stack *stack = taken; stack; stack = stack->next)
                        in_use += (char *)low >= stack->low && (char *)low < (char *)stack;
        }
        return __real_madvise(low, bytes, advice);
}

static void give_one(struct stack *stack)
{
        stack->next = NULL;
        stack_pool_give(&pool, stack);
}

static unsigned take_all(struct stack **list)
{
        return stack_pool_take(&pool, list, STACKS + 1);
}

static unsigned distinct(struct stack *list)
{
        unsigned count = 0;

        for (struct stack *stack = list; stack; stack = stack->next, count++)
                for (struct stack *other = stack->next; other; other = other->next)
                        if (other == stack)
                                return 0;
        return count;
}

static struct stack *carved[STACKS];

static void give_and_trim(void)
{
        give_one(carved[3]);
        give_one(carved[4]);
        stack_pool_trim(&pool);
}

static void give_trim_and_take(void)
{
        give_and_trim();
        take_all(&taken);
}

/* Another worker does something while one trims with three free stacks of eight. */
static unsigned trim_beside(void (*fn)(void))
{
        discards = in_use = 0;
        taken = NULL;
        for (unsigned i = 0; i < 3; i++)
                give_one(carved[i]);
        meanwhile = fn;
        stack_pool_trim(&pool);
        return discards;
}

static void test_trim(void)
{
        struct stack *list;

        tap_is(trim_beside(NULL), 3, "each free stack is trimmed");
        tap_ok(take_all(&list) == 3 && distinct(list) == 3, "and stays in the pool");
        tap_ok(trim_beside(give_and_trim) >= 5, "what comes meanwhile is trimmed, too");
        tap_ok(take_all(&list) == 5 && distinct(list) == 5,
               "none is lost when more come and another worker trims meanwhile");
        trim_beside(give_trim_and_take);
        tap_is(distinct(taken), 2, "those that have come can be taken");
        tap_is(in_use, 0, "and what they hold stays");
        tap_ok(take_all(&list) == 3 && distinct(list) == 3, "the others come back");
        for (unsigned i = 0; i < STACKS; i++)
                give_one(carved[i]);
        stack_pool_trim(&pool);
        tap_is(take_all(&list), 0, "a slab with all its stacks is unmapped");
}

int main(void)
{
        struct slab *slab = slab_map(STACKS, slab_stride((size_t)64 << 10), -1);

        tap_plan(CHECKS, 60);
        if (!slab || slab->count != STACKS) {
                printf("Bail out! no memory\n");
                return 3;
        }
        stack_pool_add(&pool, slab);
        for (unsigned i = 0; i < STACKS; i++)
                carved[i] = slab_carve(slab);
        test_trim();
        return tap_done();
}
