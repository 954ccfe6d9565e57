/* SPDX-License-Identifier: MIT
 *
 * One count for all workers: it is written only when memory is taken or given back, which most
 * requests do not.
 */
#include "memory.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_size_t used;
static size_t most;

void memory_limit(size_t bytes)
{
        most = bytes;
}

size_t memory_most(void)
{
        return most;
}

/* Relaxed, here and below: a figure by itself; what the memory holds is ordered by the locks. */
size_t memory_used(void)
{
        return atomic_load_explicit(&used, memory_order_relaxed);
}

bool memory_fits(size_t bytes)
{
        return !most || (bytes <= most && memory_used() <= most - bytes);
}

void *memory_get(size_t bytes)
{
        void *memory = malloc(bytes);

        if (memory)
                atomic_fetch_add_explicit(&used, bytes, memory_order_relaxed);
        return memory;
}

void memory_put(void *memory, size_t bytes)
{
        free(memory);
        if (memory)
                atomic_fetch_sub_explicit(&used, bytes, memory_order_relaxed);
}

bool buffer_room(struct buffer *b, size_t bytes)
{
        size_t room = b->room ? b->room : BUFFER_FIRST;
        char *data;

        if (b->room - b->bytes >= bytes)
                return true;
        while (room - b->bytes < bytes)
                room *= 2;
        if (room > BUFFER_FREE && !memory_fits(room - b->room))
                return false;
        data = realloc(b->data, room);
        if (!data)
                return false;
        atomic_fetch_add_explicit(&used, room - b->room, memory_order_relaxed);
        b->data = data;
        b->room = room;
        return true;
}

void buffer_free(struct buffer *b)
{
        memory_put(b->data, b->room);
        *b = (struct buffer){NULL, 0, 0};
}
