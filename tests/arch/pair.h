/* SPDX-License-Identifier: MIT
 *
 * For the tests of contexts: a thread's own flow of control and one other.
 */
#ifndef TESTS_ARCH_PAIR_H
#define TESTS_ARCH_PAIR_H

#include "arch.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Sanitizers make frames several times as large. */
#define STACK_BYTES (128 * 1024)

static inline void *map_stack(size_t bytes)
{
        void *low = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (low == MAP_FAILED)
                abort();
        return low;
}

struct pair {
        struct arch_context thread, other;
        void *stack;
        void (*body)(struct pair *pair);
        long result; /* of the body, for the test */
};

/* Frames of their own, which backtraces can tell apart: neither inlined nor left by a jump. */
__attribute__((noinline)) static void leave(struct pair *pair)
{
        arch_switch(&pair->other, &pair->thread);
        __asm__ volatile("");
}

__attribute__((noinline)) static void enter(struct pair *pair)
{
        arch_switch(&pair->thread, &pair->other);
        __asm__ volatile("");
}

static void pair_entry(void *arg)
{
        struct pair *pair = arg;

        pair->body(pair);
        for (;;)
                leave(pair);
}

static inline void pair_init(struct pair *pair, void (*body)(struct pair *pair))
{
        *pair = (struct pair){.body = body, .stack = map_stack(STACK_BYTES)};
        arch_context_thread(&pair->thread);
        arch_context_init(&pair->other, pair->stack, STACK_BYTES, pair_entry, pair);
}

static inline void pair_fini(struct pair *pair)
{
        arch_context_fini(&pair->other);
        munmap(pair->stack, STACK_BYTES);
}

#endif
