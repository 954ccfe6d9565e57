/* SPDX-License-Identifier: MIT
 *
 * The stack switch on x86_64, System V ABI. A suspended context's sp points at this frame:
 *
 *      0 MXCSR   4 x87 control word   8 r15   16 r14   24 r13   32 r12   40 rbx   48 rbp
 *     56 return address                                  (context.c builds a first one)
 *
 * Both stacks have the same layout at the moment of the switch, so one description (CFI) is true on
 * both sides of it. A debugger that sets rsp to a context's sp and rip to arch_switch_resume_ can
 * unwind that context.
 *
 * This object says nothing in .note.gnu.property: the switch does not keep a shadow stack, so the
 * linker must not mark as SHSTK what contains it. For indirect branch tracking it is ready.
 */
        .text
        .p2align 4
        .globl arch_switch
        .hidden arch_switch
        .type arch_switch, @function
arch_switch:
        .cfi_startproc
        endbr64
        movq (%rsp), %rcx
        pushq %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw 4(%rsp)
        movq %rsp, (%rdi)

        movq (%rsi), %rsp
        .globl arch_switch_resume_
        .hidden arch_switch_resume_
arch_switch_resume_:
        /* Loading them always was measured to be quicker than comparing first. */
        ldmxcsr (%rsp)
        fldcw 4(%rsp)
        addq $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp

        /* The processor predicts that RET goes back to our own caller. That is right when both
         * contexts called from the same place, and then it is the quickest way. Otherwise RET would
         * be mispredicted every time (measured: 11 ns a switch in place of 6), while an indirect
         * jump is predicted from history. */
        cmpq %rcx, (%rsp)
        jne 1f
        ret
1:
        popq %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size arch_switch, . - arch_switch

/* Where a new context begins: the outermost frame of its stack, which has no return address. The
 * description starts one byte early, because unwinders look up the instruction before a return
 * address, and until its first run a context's return address is arch_context_start_. */
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        nop
        .globl arch_context_start_
        .hidden arch_context_start_
        .type arch_context_start_, @function
arch_context_start_:
        movq %r12, %rdi
        callq *%rbx
        ud2
        .cfi_endproc
        .size arch_context_start_, . - arch_context_start_

        .section .note.GNU-stack, "", @progbits
