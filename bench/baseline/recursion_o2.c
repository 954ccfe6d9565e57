/* SPDX-License-Identifier: MIT
 *
 * Plain recursion at -O2. The level is set in bench/flags.mk.
 */
#define RECURSION(name) name##_o2
#include "recursion_body.h"
