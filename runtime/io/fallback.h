/* SPDX-License-Identifier: MIT
 *
 * A ring without io_uring: its entries are carried out by epoll and by a few threads that block.
 */
#ifndef IO_FALLBACK_H
#define IO_FALLBACK_H

#include <stdint.h>

#include "io/ring.h"

/* The operations that it knows; others complete with -EOPNOTSUPP. */

/* Fills in a ring whose error is set. 0 or a negative errno. */
int fallback_open(struct io_ring *ring, unsigned entries);
void fallback_close(struct io_ring *ring);

/* As ring_enter(). */
int fallback_enter(struct io_ring *ring, bool wait, int64_t deadline_ns);

#endif
