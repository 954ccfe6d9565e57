/* SPDX-License-Identifier: MIT
 *
 * io/ring.h on the modelled machine, in place of io/ring.c.
 */
#include "io/ring.h"

#include <errno.h>

int ring_open(struct io_ring *ring, const struct ring_wish *wish)
{
        (void)ring;
        (void)wish;
        return -ENOSYS;
}

void ring_leave(struct io_ring *ring)
{
        (void)ring;
}

void ring_close(struct io_ring *ring)
{
        (void)ring;
}

int ring_enter(struct io_ring *ring, bool wait, int64_t deadline_ns)
{
        (void)ring;
        (void)wait;
        (void)deadline_ns;
        return -ENOSYS;
}

int ring_register_buffers(struct io_ring *ring, struct io_uring_buf_reg *registration)
{
        (void)ring;
        (void)registration;
        return -ENOSYS;
}

void ring_unregister_buffers(struct io_ring *ring, unsigned group)
{
        (void)ring;
        (void)group;
}
