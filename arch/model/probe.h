/* SPDX-License-Identifier: MIT
 *
 * The host's probe of the switch; see switch.h.
 */
#if defined(__x86_64__)
#include "../x86_64/probe.h"
#elif defined(__aarch64__)
#include "../aarch64/probe.h"
#else
#include "../builtin/probe.h"
#endif
