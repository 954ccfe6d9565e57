/* SPDX-License-Identifier: MIT
 *
 * All memory that clients can make the server take is counted here, so that there can be a limit:
 * keys, values, tables, and the buffers of connections. Any thread. What grows by a client's wish
 * asks memory_fits() before; who asks at the same time may both be right, so the limit is about.
 */
#ifndef KV_MEMORY_H
#define KV_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

void memory_limit(size_t bytes); /* 0: none */
size_t memory_most(void);
size_t memory_used(void);
bool memory_fits(size_t bytes);

void *memory_get(size_t bytes); /* NULL: the system has none; the limit is not looked at */
void memory_put(void *memory, size_t bytes);

/* Bytes in a row: requests that have come, replies that are to go. Zeroed: empty. */
struct buffer {
        char *data;
        size_t bytes, room;
};

enum { BUFFER_FIRST = 4096, BUFFER_FREE = 65536 }; /* up to the latter the limit does not count */

/* Makes room behind what is there; false: no memory, or the limit is reached. */
bool buffer_room(struct buffer *b, size_t bytes);
void buffer_free(struct buffer *b);

#endif
