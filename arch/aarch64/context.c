/* SPDX-License-Identifier: MIT
 *
 * Making and ending contexts on aarch64: the first saved frame of a stack, as switch.S takes it.
 */
#include "arch.h"
#include "valgrind.h"

__thread void *arch_self_;
__thread void *arch_pool_;

void arch_context_start_(void) __attribute__((visibility("hidden")));

struct frame {
        void *x29; /* 0: where unwinders by frame pointer stop */
        void *x30;
        void *x19, *x20;
        void *x21_x28[8];
        uint64_t d8_d15[8];
        uint64_t fpcr, unused;
};

_Static_assert(sizeof(struct frame) == 176, "switch.S pops this layout");
_Static_assert(offsetof(struct frame, fpcr) == 160, "switch.S pops this layout");

/* A new context computes with the control word of the thread that makes it, as a new thread does
 * with its creator's; so -ffast-math's flush to zero holds in contexts too. */
void arch_context_init(struct arch_context *context, void *stack_low, size_t stack_bytes,
                       void (*entry)(void *arg), void *arg)
{
        uintptr_t top = ((uintptr_t)stack_low + stack_bytes) & ~(uintptr_t)15;
        struct frame *frame = (struct frame *)top - 1;

        *frame = (struct frame){
                .x19 = arg,
                .x20 = (void *)entry,
                .x30 = (void *)arch_context_start_,
        };
        __asm__ volatile("mrs %0, fpcr" : "=r"(frame->fpcr));
        context->sp = frame;
        context->valgrind_stack = valgrind_stack_add(stack_low, stack_bytes);
}

void arch_context_thread(struct arch_context *context)
{
        *context = (struct arch_context){0};
}

void arch_context_fini(struct arch_context *context)
{
        valgrind_stack_remove(context->valgrind_stack);
        *context = (struct arch_context){0};
}

/* CHKFEAT clears the bits of what is on, and does nothing where it is not known. */
bool arch_shadow_stack(void)
{
        register uint64_t features __asm__("x16") = 1; /* the guarded control stack */

        __asm__ volatile("hint #40" : "+r"(features));
        return !features;
}
