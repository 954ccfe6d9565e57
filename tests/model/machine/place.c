/* SPDX-License-Identifier: MIT
 *
 * Topology, placement and memory of the modelled machine, in place of place/: workers go to the
 * nodes in turn, memory comes from the execution's own.
 */
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "model.h"
#include "place/memory.h"
#include "place/placement.h"
#include "wait/stack.h"

enum { WORKERS = 4, NODES = 2, STACKS = 24, STACK_ROOM = 128 << 10, LARGE = 64 << 10 };

unsigned machine_nodes = 1;

static char stacks[STACKS][STACK_ROOM] __attribute__((aligned(4096)));
static unsigned stacks_used;

static struct placement_worker workers[WORKERS];
static struct placement_node nodes[NODES];
static struct placement_ring rings[WORKERS][2];
static unsigned victims[WORKERS][WORKERS], orders[NODES][NODES], cpu_nodes[NODES];
static int system_nodes[NODES];

void machine_begin(unsigned node_count)
{
        machine_nodes = node_count;
        stacks_used = 0;
        slots_forget();
        rings_forget();
}

int topology_read(struct topology *out, const struct topology_input *input)
{
        (void)input;
        memset(out, 0, sizeof *out);
        return 0;
}

void topology_fini(struct topology *t)
{
        (void)t;
}

unsigned placement_default_workers(const struct topology *t)
{
        (void)t;
        return 2;
}

/* Those of the own node, then the others. */
static void place_worker(unsigned index, unsigned count)
{
        struct placement_worker *w = &workers[index];
        unsigned k = 0;

        *w = (struct placement_worker){.cpu = index % machine_nodes,
                                       .node_index = index % machine_nodes,
                                       .victims = victims[index],
                                       .rings = rings[index]};
        for (unsigned remote = 0; remote < 2; remote++) {
                unsigned begin = k;

                for (unsigned i = 0; i < count; i++)
                        if (i != index && (i % machine_nodes != w->node_index) == remote)
                                w->victims[k++] = i;
                if (k > begin)
                        w->rings[w->ring_count++] = (struct placement_ring){
                                begin, k, remote ? PLACE_RING_REMOTE : PLACE_RING_CACHE, remote};
        }
        w->victim_count = k;
}

int placement_make(struct placement *out, const struct placement_input *input)
{
        unsigned count = input->workers ? input->workers : 2;

        *out = (struct placement){.worker_count = count,
                                  .workers = workers,
                                  .node_count = machine_nodes,
                                  .nodes = nodes,
                                  .cpu_limit = machine_nodes,
                                  .cpu_node = cpu_nodes,
                                  .system_node_limit = machine_nodes,
                                  .system_node = system_nodes,
                                  .binding = PLACE_BIND_NONE};
        for (unsigned i = 0; i < machine_nodes; i++) {
                nodes[i] = (struct placement_node){.id = i, .order = orders[i], .worker_count = 1};
                orders[i][0] = i;
                orders[i][1] = 1 - i;
                cpu_nodes[i] = i;
                system_nodes[i] = (int)i;
        }
        for (unsigned i = 0; i < count; i++)
                place_worker(i, count);
        return 0;
}

void placement_fini(struct placement *p)
{
        (void)p;
}

int placement_bind_thread(const struct placement *p, unsigned index)
{
        (void)p;
        (void)index;
        return 0;
}

int placement_unbind_thread(const struct placement *p)
{
        (void)p;
        return 0;
}

/* A stack is cleared where its control part will be, the rest is never read before it is written.
 */
void *memory_map(size_t bytes, int node_id)
{
        (void)node_id;
        if (bytes < LARGE)
                return model_memory((bytes + 4095) & ~(size_t)4095);
        if (stacks_used == STACKS || bytes > STACK_ROOM)
                return NULL;
        memset(stacks[stacks_used] + bytes - 1024, 0, 1024);
        return stacks[stacks_used++];
}

void memory_unmap(void *memory, size_t bytes)
{
        (void)memory;
        (void)bytes;
}

int guard_install(void)
{
        return 0;
}

size_t guard_thread_bytes(void)
{
        return 64;
}

void guard_thread(void *memory, size_t bytes)
{
        (void)memory;
        (void)bytes;
}

void guard_report(struct worker *w)
{
        (void)w;
        abort();
}
