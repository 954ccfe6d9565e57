/* SPDX-License-Identifier: MIT
 *
 * Tells valgrind where stacks are, so that it takes a switch for a switch and not for one enormous
 * frame. For the arch folders only. Outside valgrind a request is four rotates and an exchange of
 * registers; where the build machine lacks valgrind's header it is nothing.
 */
#ifndef ARCH_VALGRIND_H
#define ARCH_VALGRIND_H

#include <stddef.h>

#ifdef __has_include
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif

/* The result is for valgrind_stack_remove(); never 0, so that 0 can mean "no stack of ours". */
static inline unsigned valgrind_stack_add(void *low, size_t bytes)
{
#ifdef VALGRIND_STACK_REGISTER
        return (unsigned)VALGRIND_STACK_REGISTER(low, (char *)low + bytes - 1) + 1;
#else
        (void)low;
        (void)bytes;
        return 1;
#endif
}

static inline void valgrind_stack_remove(unsigned stack)
{
#ifdef VALGRIND_STACK_DEREGISTER
        if (stack)
                VALGRIND_STACK_DEREGISTER(stack - 1);
#else
        (void)stack;
#endif
}

#endif
