/* SPDX-License-Identifier: MIT
 *
 * The stack switch by ucontext, and what the sanitizers have to be told about it. Two system calls
 * a switch, for the signal mask: setjmp would save them, but the sanitizers' setjmp takes a jump to
 * another stack for an error, and who needs speed has a folder in assembly.
 */
#include "arch.h"
#include "valgrind.h"

#include <signal.h>

#ifndef __has_feature
#define __has_feature(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ASAN 1
#else
#define ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define TSAN 1
#else
#define TSAN 0
#endif

__thread void *arch_self_;
__thread void *arch_pool_;

#if ASAN
/* Whom this thread is just leaving, so that the other side can note the bounds of its stack. */
static __thread struct arch_context *leaving;

static void asan_leave(struct arch_context *from, const struct arch_context *to)
{
        leaving = from;
        __sanitizer_start_switch_fiber(&from->asan_fake_stack, to->stack_low, to->stack_bytes);
}

static void asan_arrive(void *fake_stack)
{
        const void *low;

        __sanitizer_finish_switch_fiber(fake_stack, &low, &leaving->stack_bytes);
        leaving->stack_low = (void *)low;
}

/* What is left of frames in this memory would be reported to its next user, a stack or not. */
static void asan_forget_frames(void *stack_low, size_t stack_bytes)
{
        __asan_unpoison_memory_region(stack_low, stack_bytes);
}

/* ASan frees a fake stack (detect_stack_use_after_return) only for a context that says goodbye
 * itself. So it is made to believe that we are there for a moment, leave for good and are back;
 * nothing here may have a frame that it watches. */
__attribute__((no_sanitize_address)) static void asan_drop_fake_stack(struct arch_context *context)
{
        void *own_fake_stack = NULL;
        const void *own_low;
        size_t own_bytes;

        if (!context->asan_fake_stack)
                return;
        __sanitizer_start_switch_fiber(&own_fake_stack, context->stack_low, context->stack_bytes);
        __sanitizer_finish_switch_fiber(context->asan_fake_stack, &own_low, &own_bytes);
        __sanitizer_start_switch_fiber(NULL, own_low, own_bytes);
        __sanitizer_finish_switch_fiber(own_fake_stack, NULL, NULL);
}
#else
static void asan_leave(struct arch_context *from, const struct arch_context *to)
{
        (void)from;
        (void)to;
}

static void asan_arrive(void *fake_stack)
{
        (void)fake_stack;
}

static void asan_forget_frames(void *stack_low, size_t stack_bytes)
{
        (void)stack_low;
        (void)stack_bytes;
}

static void asan_drop_fake_stack(struct arch_context *context)
{
        (void)context;
}
#endif

/* makecontext() passes ints, so the pointer comes in halves. */
static void start(unsigned high, unsigned low)
{
        uintptr_t address = (uintptr_t)((uint64_t)high << 32 | low);
        struct arch_context *context = (struct arch_context *)address;

        asan_arrive(NULL);
        context->entry(context->arg);
        __builtin_trap();
}

void arch_context_init(struct arch_context *context, void *stack_low, size_t stack_bytes,
                       void (*entry)(void *arg), void *arg)
{
        uint64_t address = (uintptr_t)context;

        *context = (struct arch_context){
                .entry = entry,
                .arg = arg,
                .stack_low = stack_low,
                .stack_bytes = stack_bytes,
                .valgrind_stack = valgrind_stack_add(stack_low, stack_bytes),
        };
        asan_forget_frames(stack_low, stack_bytes);
#if TSAN
        context->tsan_fiber = __tsan_create_fiber(0);
#endif
        /* Takes the floating-point control words of the caller along, like the other folders. */
        getcontext(&context->ucontext);
        context->ucontext.uc_stack.ss_sp = stack_low;
        context->ucontext.uc_stack.ss_size = stack_bytes;
        makecontext(&context->ucontext, (void (*)(void))start, 2, (unsigned)(address >> 32),
                    (unsigned)address);
        /* Only makecontext() needed them. ASan's swapcontext() would clear all marks of a stack
         * that it finds here, live frames included. */
        context->ucontext.uc_stack.ss_sp = NULL;
        context->ucontext.uc_stack.ss_size = 0;
}

void arch_context_thread(struct arch_context *context)
{
        *context = (struct arch_context){0};
#if TSAN
        context->tsan_fiber = __tsan_get_current_fiber();
#endif
}

void arch_switch(struct arch_context *from, struct arch_context *to)
{
        /* swapcontext() sets the signal mask that was saved with `to`; the mask belongs to the
         * thread and must stay, so the present one is put there first. */
        pthread_sigmask(SIG_SETMASK, NULL, &to->ucontext.uc_sigmask);
        asan_leave(from, to);
#if TSAN
        __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
        swapcontext(&from->ucontext, &to->ucontext);
        asan_arrive(from->asan_fake_stack);
}

void arch_context_fini(struct arch_context *context)
{
        bool own_stack = context->valgrind_stack == 0;

        if (!own_stack) {
                asan_drop_fake_stack(context);
                asan_forget_frames(context->stack_low, context->stack_bytes);
        }
#if TSAN
        if (!own_stack)
                __tsan_destroy_fiber(context->tsan_fiber);
#endif
        valgrind_stack_remove(context->valgrind_stack);
        *context = (struct arch_context){0};
}

/* The C library's swapcontext() keeps it. */
bool arch_shadow_stack(void)
{
        return false;
}
