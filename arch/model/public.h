/* SPDX-License-Identifier: MIT
 *
 * Read before everything else in a modelled build: the one atomic access of the public header,
 * which stands above arch.h, becomes a step too.
 */
#ifndef ARCH_PUBLIC_H
#define ARCH_PUBLIC_H

#include <stdint.h>

uint64_t model_public_load(const void *word);

#define __atomic_load_n(pointer, order) ((void)(order), model_public_load(pointer))

#endif
