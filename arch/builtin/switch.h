/* SPDX-License-Identifier: MIT
 *
 * Stack switch and thread word of arch.h by ucontext. A context must stay where it was initialised:
 * a ucontext_t points into itself. The fields for the sanitizers are there without them too, so
 * that the layout does not depend on how a file is compiled.
 */
#ifndef ARCH_SWITCH_H
#define ARCH_SWITCH_H

#include <ucontext.h>

struct arch_context {
        ucontext_t ucontext;
        void (*entry)(void *arg);
        void *arg;
        void *stack_low; /* of a thread: NULL, until ASan has said */
        size_t stack_bytes;
        void *asan_fake_stack; /* while suspended */
        void *tsan_fiber;
        unsigned valgrind_stack; /* 0 for a thread's own stack */
};

#pragma GCC visibility push(hidden)

void arch_context_init(struct arch_context *context, void *stack_low, size_t stack_bytes,
                       void (*entry)(void *arg), void *arg);
void arch_context_thread(struct arch_context *context);
void arch_switch(struct arch_context *from, struct arch_context *to);
void arch_context_fini(struct arch_context *context);
bool arch_shadow_stack(void);

/* Initial-exec: one load at a fixed offset from the thread pointer, no call that might allocate, so
 * a signal handler can use it, in a shared library too. The compiler may keep the word's address
 * across arch_switch(); that is sound because a context never moves to another thread. */
extern __thread void *arch_self_ __attribute__((tls_model("initial-exec")));
extern __thread void *arch_pool_ __attribute__((tls_model("initial-exec")));

#pragma GCC visibility pop

static inline void *self_get(void)
{
        return arch_self_;
}

/* Volatile, so that each value is there for a signal handler, also one that is soon replaced. */
static inline void self_set(void *self)
{
        *(void *volatile *)&arch_self_ = self;
}

static inline void *pool_get(void)
{
        return arch_pool_;
}

static inline void pool_set(void *pool)
{
        arch_pool_ = pool;
}

#endif
