/* SPDX-License-Identifier: MIT
 *
 * Stacks are switched as the host does it, the runtime's and those of virtual threads alike. The
 * scheduler keeps the thread words apart for each virtual thread.
 */
#if defined(__x86_64__)
#include "../x86_64/switch.h"
#elif defined(__aarch64__)
#include "../aarch64/switch.h"
#else
#include "../builtin/switch.h"
#endif
