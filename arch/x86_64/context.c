/* SPDX-License-Identifier: MIT
 *
 * Making and ending contexts on x86_64: the first saved frame of a stack, as switch.S takes it.
 */
#include "arch.h"
#include "valgrind.h"

__thread void *arch_self_;
__thread void *arch_pool_;

void arch_context_start_(void) __attribute__((visibility("hidden")));

struct frame {
        uint32_t mxcsr;
        uint16_t x87_control, unused;
        void *r15, *r14, *r13, *r12, *rbx, *rbp;
        void *return_address;
        void *outermost[2]; /* 0: where unwinders by frame pointer stop */
};

_Static_assert(offsetof(struct frame, return_address) == 56, "switch.S pops this layout");
_Static_assert(sizeof(struct frame) % 16 == 0, "the stack is aligned where entry is called");

#define MXCSR_CONTROL 0xffc0u /* without the sticky exception flags */

/* A new context computes with the control words of the thread that makes it, as a new thread does
 * with its creator's; so -ffast-math's flush to zero holds in contexts too. */
void arch_context_init(struct arch_context *context, void *stack_low, size_t stack_bytes,
                       void (*entry)(void *arg), void *arg)
{
        uintptr_t top = ((uintptr_t)stack_low + stack_bytes) & ~(uintptr_t)15;
        struct frame *frame = (struct frame *)top - 1;

        *frame = (struct frame){
                .r12 = arg,
                .rbx = (void *)entry,
                .return_address = (void *)arch_context_start_,
        };
        __asm__ volatile("stmxcsr %0" : "=m"(frame->mxcsr));
        __asm__ volatile("fnstcw %0" : "=m"(frame->x87_control));
        frame->mxcsr &= MXCSR_CONTROL;
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

/* RDSSPQ does nothing where there is none. */
bool arch_shadow_stack(void)
{
        uint64_t pointer = 0;

        __asm__ volatile("rdsspq %0" : "+r"(pointer));
        return pointer != 0;
}
