/* SPDX-License-Identifier: MIT
 *
 * For tests only: fills every register that arch_switch() must keep, switches, and returns which of
 * them came back changed, a bit each. Included by one file of a program.
 */
#ifndef ARCH_PROBE_H
#define ARCH_PROBE_H

#define PROBE_UNWINDS_MID_SWITCH true

unsigned probe_switch(struct arch_context *from, struct arch_context *to, uint64_t seed)
        __attribute__((visibility("hidden")));

/* clang-format off */
__asm__(".text\n"
        ".type probe_switch, @function\n"
        ".globl probe_switch\n"
        ".hidden probe_switch\n"
        "probe_switch:\n"
        "        .cfi_startproc\n"
        "        pushq %rbx\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        pushq %rbp\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        pushq %r12\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        pushq %r13\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        pushq %r14\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        pushq %r15\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        pushq %rdx\n"
        "        .cfi_adjust_cfa_offset 8\n"
        "        leaq 1(%rdx), %rbx\n"
        "        leaq 2(%rdx), %rbp\n"
        "        leaq 3(%rdx), %r12\n"
        "        leaq 4(%rdx), %r13\n"
        "        leaq 5(%rdx), %r14\n"
        "        leaq 6(%rdx), %r15\n"
        "        call arch_switch\n"
        "        popq %rdx\n"
        "        .cfi_adjust_cfa_offset -8\n"
        "        xorl %eax, %eax\n"
        "        xorl %ecx, %ecx\n"
        "        addq $6, %rdx\n"
        "        .irp register, r15, r14, r13, r12, rbp, rbx\n"
        "        cmpq %rdx, %\\register\n"
        "        setne %cl\n"
        "        leal (%rcx, %rax, 2), %eax\n"
        "        decq %rdx\n"
        "        popq %\\register\n"
        "        .cfi_adjust_cfa_offset -8\n"
        "        .endr\n"
        "        ret\n"
        "        .cfi_endproc\n"
        "        .size probe_switch, . - probe_switch\n");
/* clang-format on */

#endif
