/* SPDX-License-Identifier: MIT
 *
 * The host's switch; see switch.h.
 */
#if defined(__x86_64__)
#include "../x86_64/switch.S"
#elif defined(__aarch64__)
#include "../aarch64/switch.S"
#endif
