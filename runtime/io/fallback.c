/* SPDX-License-Identifier: MIT
 *
 * The ring without io_uring.
 */
#include "io/fallback.h"

#include <errno.h>

int fallback_open(struct io_ring *ring, unsigned entries)
{
        (void)ring;
        (void)entries;
        return -EOPNOTSUPP;
}

void fallback_close(struct io_ring *ring)
{
        (void)ring;
}

int fallback_enter(struct io_ring *ring, bool wait, int64_t deadline_ns)
{
        (void)ring;
        (void)wait;
        (void)deadline_ns;
        return -EOPNOTSUPP;
}
