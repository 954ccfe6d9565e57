/* SPDX-License-Identifier: MIT
 *
 * The host's contexts; see switch.h.
 */
#if defined(__x86_64__)
#include "../x86_64/context.c"
#elif defined(__aarch64__)
#include "../aarch64/context.c"
#else
#include "../builtin/switch.c"
#endif
