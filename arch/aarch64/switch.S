/* SPDX-License-Identifier: MIT
 *
 * The stack switch on aarch64, AAPCS64. A suspended context's sp points at this frame:
 *
 *      0 x29   8 x30 (where to go on)   16 x19 ... 88 x28   96 d8 ... 152 d15   160 FPCR
 *
 * context.c builds a first one. Both stacks have the same layout at the moment of the switch, so
 * one description (CFI) is true on both sides of it. A debugger that sets sp to a context's sp and
 * pc to arch_switch_resume_ can unwind that context.
 *
 * This object has no GNU property note, and so claims neither BTI nor PAC: the linker must not turn
 * branch target checks on for what contains it. x18 belongs to the platform and stays.
 */
        .text
        .p2align 4
        .globl arch_switch
        .hidden arch_switch
        .type arch_switch, %function
arch_switch:
        .cfi_startproc
        mov x9, x30
        stp x29, x30, [sp, #-176]!
        .cfi_def_cfa_offset 176
        .cfi_offset x29, -176
        .cfi_offset x30, -168
        stp x19, x20, [sp, #16]
        .cfi_offset x19, -160
        .cfi_offset x20, -152
        stp x21, x22, [sp, #32]
        .cfi_offset x21, -144
        .cfi_offset x22, -136
        stp x23, x24, [sp, #48]
        .cfi_offset x23, -128
        .cfi_offset x24, -120
        stp x25, x26, [sp, #64]
        .cfi_offset x25, -112
        .cfi_offset x26, -104
        stp x27, x28, [sp, #80]
        .cfi_offset x27, -96
        .cfi_offset x28, -88
        stp d8, d9, [sp, #96]
        .cfi_offset b8, -80
        .cfi_offset b9, -72
        stp d10, d11, [sp, #112]
        .cfi_offset b10, -64
        .cfi_offset b11, -56
        stp d12, d13, [sp, #128]
        .cfi_offset b12, -48
        .cfi_offset b13, -40
        stp d14, d15, [sp, #144]
        .cfi_offset b14, -32
        .cfi_offset b15, -24
        mrs x10, fpcr
        str x10, [sp, #160]
        mov x11, sp
        str x11, [x0]

        ldr x11, [x1]
        mov sp, x11
        .globl arch_switch_resume_
        .hidden arch_switch_resume_
arch_switch_resume_:
        /* Reading FPCR is cheap; writing it may drain the pipeline, and nearly all contexts have
         * the same value. */
        ldr x11, [sp, #160]
        cmp x11, x10
        b.eq 1f
        msr fpcr, x11
1:
        ldp x19, x20, [sp, #16]
        ldp x21, x22, [sp, #32]
        ldp x23, x24, [sp, #48]
        ldp x25, x26, [sp, #64]
        ldp x27, x28, [sp, #80]
        ldp d8, d9, [sp, #96]
        ldp d10, d11, [sp, #112]
        ldp d12, d13, [sp, #128]
        ldp d14, d15, [sp, #144]
        ldp x29, x30, [sp], #176
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore b8
        .cfi_restore b9
        .cfi_restore b10
        .cfi_restore b11
        .cfi_restore b12
        .cfi_restore b13
        .cfi_restore b14
        .cfi_restore b15

        /* The processor predicts that RET goes back to our own caller. That is right when both
         * contexts called from the same place; otherwise an indirect branch, predicted from
         * history, spares a certain misprediction (measured on x86_64: half the cost). */
        cmp x30, x9
        b.ne 2f
        ret
2:
        br x30
        .cfi_endproc
        .size arch_switch, . - arch_switch

/* Where a new context begins: the outermost frame of its stack, which has no return address. The
 * description starts one instruction early, because unwinders look up the instruction before a
 * return address, and until its first run a context's return address is arch_context_start_. */
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        nop
        .globl arch_context_start_
        .hidden arch_context_start_
        .type arch_context_start_, %function
arch_context_start_:
        mov x0, x19
        blr x20
        brk #1
        .cfi_endproc
        .size arch_context_start_, . - arch_context_start_

        .section .note.GNU-stack, "", %progbits
