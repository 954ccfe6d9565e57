/* SPDX-License-Identifier: MIT
 *
 * Files and memory that are registered with a worker's ring.
 */
#include <errno.h>

#include "io/io.h"

/* The calling worker's ring, if it is io_uring's. 0 or an error. */
static int own_uring(struct skua_worker *self, struct io_uring **uring)
{
        struct io *io = io_have(worker_of(self));

        if (!io)
                return -ENOMEM;
        *uring = &io->ring.uring;
        return io->ring.fallback ? -EOPNOTSUPP : 0;
}

SKUA_API int skua_io_register_files(struct skua_worker *self, const int *fds, unsigned count)
{
        struct io_uring *uring;
        int result = own_uring(self, &uring);

        if (result)
                return result;
        /* The kernel may wait for what is under way, and a kick interrupts that. Bound: the
         * signals that come. */
        do
                result = count ? io_uring_register_files(uring, fds, count)
                               : io_uring_unregister_files(uring);
        while (result == -EINTR);
        return result;
}

SKUA_API int skua_io_register_buffers(struct skua_worker *self, const struct iovec *buffers,
                                      unsigned count)
{
        struct io_uring *uring;
        int result = own_uring(self, &uring);

        if (result)
                return result;
        do /* as above */
                result = count ? io_uring_register_buffers(uring, buffers, count)
                               : io_uring_unregister_buffers(uring);
        while (result == -EINTR);
        return result;
}
