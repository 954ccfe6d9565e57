/* SPDX-License-Identifier: MIT
 *
 * Plain recursion at -O3. The level is set in bench/flags.mk.
 */
#define RECURSION(name) name##_o3
#include "recursion_body.h"
