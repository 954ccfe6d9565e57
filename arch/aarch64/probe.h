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
        ".type probe_switch, %function\n"
        ".globl probe_switch\n"
        ".hidden probe_switch\n"
        "probe_switch:\n"
        "        .cfi_startproc\n"
        "        stp x29, x30, [sp, #-176]!\n"
        "        .cfi_def_cfa_offset 176\n"
        "        .cfi_offset x30, -168\n"
        "        stp x19, x20, [sp, #16]\n"
        "        stp x21, x22, [sp, #32]\n"
        "        stp x23, x24, [sp, #48]\n"
        "        stp x25, x26, [sp, #64]\n"
        "        stp x27, x28, [sp, #80]\n"
        "        stp d8, d9, [sp, #96]\n"
        "        stp d10, d11, [sp, #112]\n"
        "        stp d12, d13, [sp, #128]\n"
        "        stp d14, d15, [sp, #144]\n"
        "        str x2, [sp, #160]\n"
        "        .irp n, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "        add x3, x2, #\\n\n"
        "        fmov d\\n, x3\n"
        "        .endr\n"
        "        .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29\n"
        "        add x\\n, x2, #\\n\n"
        "        .endr\n"
        "        bl arch_switch\n"
        "        ldr x2, [sp, #160]\n"
        "        mov w0, #0\n"
        "        .irp n, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "        add x3, x2, #\\n\n"
        "        fmov x4, d\\n\n"
        "        cmp x3, x4\n"
        "        cset w4, ne\n"
        "        orr w0, w4, w0, lsl #1\n"
        "        .endr\n"
        "        .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29\n"
        "        add x3, x2, #\\n\n"
        "        cmp x3, x\\n\n"
        "        cset w4, ne\n"
        "        orr w0, w4, w0, lsl #1\n"
        "        .endr\n"
        "        ldp x19, x20, [sp, #16]\n"
        "        ldp x21, x22, [sp, #32]\n"
        "        ldp x23, x24, [sp, #48]\n"
        "        ldp x25, x26, [sp, #64]\n"
        "        ldp x27, x28, [sp, #80]\n"
        "        ldp d8, d9, [sp, #96]\n"
        "        ldp d10, d11, [sp, #112]\n"
        "        ldp d12, d13, [sp, #128]\n"
        "        ldp d14, d15, [sp, #144]\n"
        "        ldp x29, x30, [sp], #176\n"
        "        .cfi_def_cfa_offset 0\n"
        "        ret\n"
        "        .cfi_endproc\n"
        "        .size probe_switch, . - probe_switch\n");
/* clang-format on */

#endif
