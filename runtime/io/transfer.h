/* SPDX-License-Identifier: MIT
 *
 * Moving bytes for requests of the ring without io_uring: vectors that are partly done, files that
 * cannot be asked not to wait, and what threads do that may block.
 */
#ifndef IO_TRANSFER_H
#define IO_TRANSFER_H

#include <stddef.h>
#include <sys/types.h>

#include "io/request.h"

/* What the request wants to move in all. */
size_t transfer_bytes(const struct request *r);

/* recvmsg or sendmsg of what is left; as they return. */
ssize_t transfer_message(struct request *r, int flags);

/* One attempt at a READ, WRITE, READV or WRITEV. */
enum verdict transfer_attempt(struct request *r, uint32_t ready);

#endif
