/* SPDX-License-Identifier: MIT
 *
 * The inlines of skua_fork.h as symbols, for bindings and for programs that define SKUA_LINKABLE.
 */
#define SKUA_FORK_INLINE_ SKUA_API
#include "skua.h"
