/* SPDX-License-Identifier: MIT
 *
 * A ring without io_uring: its entries are carried out by epoll and by threads of the blocking
 * pool; results are those of io_uring. See request.h for how it is made.
 *
 * Operations: NOP, READ, WRITE, READV, WRITEV, FSYNC, OPENAT, CLOSE, STATX; RECV, SEND, RECVMSG,
 * SENDMSG, ACCEPT, CONNECT, SOCKET, SHUTDOWN; POLL_ADD, POLL_REMOVE; TIMEOUT, TIMEOUT_REMOVE;
 * ASYNC_CANCEL by name, descriptor, ALL and ANY. Multishot: accept, recv, poll, timeout. Provided
 * buffers: recv and read. Chains: IOSQE_IO_LINK and IO_HARDLINK. Anything else, and flags that are
 * not known, complete with -EOPNOTSUPP: LINK_TIMEOUT, IOSQE_IO_DRAIN, timeouts by count, updates of
 * polls and timeouts, zero-copy sends, splicing, multishot read and recvmsg. Registered files give
 * -EBADF, as no ring has any here.
 *
 * Limits. A listening socket is made O_NONBLOCK. Files that cannot be asked not to wait (terminals;
 * pipes before Linux 6.4) are read and written when poll says so: another reader may be quicker,
 * and then the worker waits with it. What a thread has begun is not cancelled: -EALREADY. Up to 16
 * threads of the blocking pool per ring; opening a FIFO that nobody writes keeps one of them. A
 * descriptor that is closed while operations wait for it: CLOSE ends them with -ECANCELED, close(2)
 * leaves them waiting until they are cancelled, or the number is used again.
 */
#ifndef IO_FALLBACK_H
#define IO_FALLBACK_H

#include <stdint.h>

#include "io/ring.h"

/* Fills in a ring whose error is set. 0 or a negative errno. */
int fallback_open(struct io_ring *ring, const struct ring_wish *wish);
void fallback_close(struct io_ring *ring);

/* As ring_enter(). */
int fallback_enter(struct io_ring *ring, bool wait, int64_t deadline_ns);

#endif
