/* SPDX-License-Identifier: MIT
 *
 * Files and memory that are registered with a worker's ring.
 */
#include <errno.h>

#include "io/io.h"

SKUA_API int skua_io_register_files(struct skua_worker *self, const int *fds, unsigned count)
{
        struct io *io = io_have(worker_of(self));

        if (!io)
                return -ENOMEM;
        if (io->ring.fallback)
                return -EOPNOTSUPP;
        return count ? io_uring_register_files(&io->ring.uring, fds, count)
                     : io_uring_unregister_files(&io->ring.uring);
}

SKUA_API int skua_io_register_buffers(struct skua_worker *self, const struct iovec *buffers,
                                      unsigned count)
{
        struct io *io = io_have(worker_of(self));

        if (!io)
                return -ENOMEM;
        if (io->ring.fallback)
                return -EOPNOTSUPP;
        return count ? io_uring_register_buffers(&io->ring.uring, buffers, count)
                     : io_uring_unregister_buffers(&io->ring.uring);
}
