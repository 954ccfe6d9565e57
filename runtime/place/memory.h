/* SPDX-License-Identifier: MIT
 *
 * Page-granular memory on a node. Zeroed, touched lazily. Called by core and wait.
 */
#ifndef PLACE_MEMORY_H
#define PLACE_MEMORY_H

#include <stddef.h>

/* A mapping of `bytes` (rounded up to pages), preferably on the system's node `node_id` (negative:
 * wherever first touched). A node that refuses is no error: the memory is then wherever it is.
 * NULL: no memory. */
void *memory_map(size_t bytes, int node_id);
void memory_unmap(void *memory, size_t bytes);

#endif
