/* SPDX-License-Identifier: MIT
 *
 * Pages near a worker. The preference is a policy of the mapping, so it holds for pages that are
 * touched later, by whomever; without it, or where the kernel refuses it, the first touch decides.
 */
#define _GNU_SOURCE
#include "place/memory.h"

#include <limits.h>
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NODE_MAX = 1024, WORD_BITS = sizeof(unsigned long) * CHAR_BIT };

static pthread_once_t nodes_once = PTHREAD_ONCE_INIT;
static bool many_nodes;

/* Counting them takes longer than mapping memory does. */
static void count_nodes(void)
{
        many_nodes = numa_num_configured_nodes() > 1 && numa_available() == 0;
}

static size_t whole_pages(size_t bytes)
{
        size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);

        return bytes > SIZE_MAX - page_bytes ? 0 : (bytes + page_bytes - 1) & ~(page_bytes - 1);
}

/* mbind itself: libnuma's own allocators bind strictly and print when they cannot. */
static void prefer_node(void *memory, size_t bytes, unsigned node_id)
{
        unsigned long nodes[NODE_MAX / WORD_BITS] = {0};

        nodes[node_id / WORD_BITS] = 1ul << node_id % WORD_BITS;
        /* Advice: the memory is good without it. The kernel looks at one bit less than it is told.
         */
        (void)!mbind(memory, bytes, MPOL_PREFERRED, nodes, NODE_MAX + 1, 0);
}

void *memory_map(size_t bytes, int node_id)
{
        size_t mapped_bytes = whole_pages(bytes);
        void *memory = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (memory == MAP_FAILED)
                return NULL;
        pthread_once(&nodes_once, count_nodes);
        if (many_nodes && node_id >= 0 && node_id < NODE_MAX)
                prefer_node(memory, mapped_bytes, (unsigned)node_id);
        return memory;
}

void memory_unmap(void *memory, size_t bytes)
{
        if (memory)
                munmap(memory, whole_pages(bytes));
}
