/* SPDX-License-Identifier: MIT
 *
 * Provided buffers: sets of one worker each, and operations that wait because a set is empty.
 */
#ifndef IO_BUFFERS_H
#define IO_BUFFERS_H

#include "io/io.h"

/* The operation has found its set empty, says a completion that `taker` has taken; it waits until
 * there is a buffer. Under the lock. */
void buffers_wait(struct io *io, const struct worker *taker, struct skua_io *op);

/* A completion carries a buffer of the operation's set with so many bytes. Under the lock. */
void buffers_taken(struct skua_io *op, int32_t bytes);

/* All that wait are to be cancelled. Under the lock. */
void buffers_stop(struct io *io);

/* Issues those that wait, as far as there are buffers; io->hungry: call it again when that has been
 * sent and what came back is taken. Owner. */
void buffers_reissue(struct io *io);

/* Those that wait for data of this descriptor are to be cancelled. Under the lock. */
void buffers_ask(struct io *io, int fd);

/* The ring is about to go. */
void buffers_retire(struct io *io);

/* For a ring in plain memory, in the place of the kernel: takes a buffer of a group. False: none is
 * left, or there is no such group. */
struct buffer_pick {
        void *data;
        size_t bytes;
        uint32_t number;
};
bool buffers_pick(struct io_ring *ring, unsigned group, struct buffer_pick *out);

/* Nothing came of it: the last one goes back. */
void buffers_unpick(struct io_ring *ring, unsigned group);

#endif
