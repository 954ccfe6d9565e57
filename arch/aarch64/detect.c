/* SPDX-License-Identifier: MIT
 *
 * What this processor has, from the kernel, once, before main().
 */
#include "arch.h"

#include <asm/hwcap.h>
#include <sys/auxv.h>

struct arch_features arch_features_;

/* First of the constructors a program may have (lower numbers are the implementation's). One that
 * ran earlier still would be right too, only slower: the flags are then false. */
__attribute__((constructor(101))) static void detect(void)
{
        unsigned long capabilities = getauxval(AT_HWCAP);

        arch_features_.lse = (capabilities & HWCAP_ATOMICS) != 0;
        arch_features_.ldapr = (capabilities & HWCAP_LRCPC) != 0;
}
