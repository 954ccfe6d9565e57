/* SPDX-License-Identifier: MIT
 *
 * Slots: the memory of runtimes. A slot is mapped for one shape (workers, their nodes) and is never
 * unmapped; a stopped runtime's slot serves the next one of the same shape. So a thread that was
 * preempted inside a call finds, however late, the same structure in the same place.
 */
#include "core/runtime.h"

#include <pthread.h>
#include <string.h>

#include "core/worker.h"
#include "place/memory.h"

struct slot {
        struct slot *next;
        struct runtime *rt;
        unsigned *worker_nodes, *node_ids;
        bool used;
};

static struct wordptr slots; /* grows under the lock */
static pthread_mutex_t process_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct word32 process;

/* A child must not find it held by a thread that it does not have. */
static void before_fork(void)
{
        pthread_mutex_lock(&process_mutex);
}

static void after_fork_parent(void)
{
        pthread_mutex_unlock(&process_mutex);
}

/* The child shares the events with its parent: what one reads the other misses. */
static void forget_events(struct runtime *rt)
{
        for (unsigned i = 0; i < rt->worker_count; i++) {
                struct word32 *event = &rt->gates[i].event;

                /* relaxed, both: the only thread. */
                if (load_relaxed_u32(event))
                        kernel_event_close(load_relaxed_u32(event));
                store_relaxed_u32(event, 0);
        }
}

static void after_fork_child(void)
{
        /* relaxed, all: one thread. */
        store_relaxed_u32(&process, load_relaxed_u32(&process) + 1);
        for (struct slot *slot = load_relaxed_ptr(&slots); slot; slot = slot->next) {
                forget_events(slot->rt);
                if (slot->used)
                        runtime_orphan(slot->rt);
        }
        after_fork_parent();
}

/* Also slots that are not used: what is asked of them their next runtime finds harmless. */
void runtime_ask(struct runtime *rt)
{
        for (unsigned i = 0; i < rt->worker_count; i++)
                gate_request(rt, i, GATE_REQUEST_AWAITS);
}

void runtimes_ask(void)
{
        /* [SL2] pairs with slot_take(): either the slot is seen here, or what waits in its runtime
         * sees what the caller has done before. */
        fence_seq_cst();
        /* [SL1] acquire pairs with slot_take(). */
        for (struct slot *slot = load_acquire_ptr(&slots); slot; slot = slot->next)
                runtime_ask(slot->rt);
}

unsigned runtime_process(void)
{
        return load_relaxed_u32(&process); /* relaxed: changes only in a child of fork */
}

static void watch_forks(void)
{
        pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void process_lock(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, watch_forks);
        pthread_mutex_lock(&process_mutex);
}

void process_unlock(void)
{
        pthread_mutex_unlock(&process_mutex);
}

/* A bump allocator over the slot's mapping; with base 0 it only measures. */
struct bump {
        uintptr_t base, offset;
};

static void *bump(struct bump *b, size_t count, size_t bytes)
{
        uintptr_t at = (b->offset + ARCH_APART - 1) & ~(uintptr_t)(ARCH_APART - 1);

        b->offset = at + count * bytes;
        return (void *)(b->base + at);
}

static struct slot *lay_out(struct bump *b, const struct slot_shape *shape, struct runtime *into)
{
        size_t words = (shape->workers + 63) / 64;
        struct runtime scratch, *rt = into ? into : &scratch;
        struct slot *slot;

        bump(b, 1, sizeof *rt);
        rt->idle_bits = bump(b, words, sizeof *rt->idle_bits);
        rt->gates = bump(b, shape->workers, sizeof *rt->gates);
        rt->workers = bump(b, shape->workers, sizeof *rt->workers);
        rt->nodes = bump(b, shape->nodes, sizeof *rt->nodes);
        rt->cpu_node = bump(b, RUNTIME_CPUS, sizeof *rt->cpu_node);
        rt->system_node = bump(b, RUNTIME_NODES, sizeof *rt->system_node);
        slot = bump(b, 1, sizeof *slot);
        for (unsigned i = 0; i < shape->nodes; i++) {
                unsigned *order = bump(b, shape->nodes, sizeof *order);
                uint64_t *bits = bump(b, words, sizeof *bits);

                if (into) {
                        rt->nodes[i].order = order;
                        rt->nodes[i].worker_bits = bits;
                        rt->nodes[i].id = shape->node_ids[i];
                }
        }
        unsigned *worker_nodes = bump(b, shape->workers, sizeof *worker_nodes);
        unsigned *node_ids = bump(b, shape->nodes, sizeof *node_ids);

        if (into) {
                rt->worker_count = shape->workers;
                rt->node_count = shape->nodes;
                rt->idle_words = (unsigned)words;
                memcpy(worker_nodes, shape->worker_nodes, shape->workers * sizeof *worker_nodes);
                memcpy(node_ids, shape->node_ids, shape->nodes * sizeof *node_ids);
                slot->rt = rt;
                slot->worker_nodes = worker_nodes;
                slot->node_ids = node_ids;
        }
        return slot;
}

/* The parts that live on their nodes. */
static bool map_parts(struct runtime *rt, const struct slot_shape *shape)
{
        for (unsigned i = 0; i < shape->nodes; i++) {
                struct injector *injectors = memory_map(INJECTOR_PRIORITIES * sizeof *injectors,
                                                        (int)shape->node_ids[i]);

                rt->nodes[i].injectors = injectors;
                if (!injectors)
                        return false;
                for (unsigned k = 0; k < INJECTOR_PRIORITIES; k++)
                        injector_init(&injectors[k], rt);
        }
        for (unsigned i = 0; i < shape->workers; i++) {
                unsigned node = shape->worker_nodes[i];

                rt->workers[i] = memory_map(sizeof **rt->workers, (int)shape->node_ids[node]);
                if (!rt->workers[i])
                        return false;
                rt->nodes[node].worker_bits[i / 64] |= (uint64_t)1 << (i & 63);
        }
        return true;
}

/* Before anybody has seen the memory. */
static void unmap_parts(struct runtime *rt)
{
        for (unsigned i = 0; i < rt->node_count; i++)
                memory_unmap(rt->nodes[i].injectors,
                             INJECTOR_PRIORITIES * sizeof *rt->nodes[i].injectors);
        for (unsigned i = 0; i < rt->worker_count; i++)
                memory_unmap(rt->workers[i], sizeof **rt->workers);
}

static struct slot *slot_map(const struct slot_shape *shape)
{
        struct bump measure = {0, 0};
        struct bump real = {0, 0};
        struct slot *slot;
        struct runtime *rt;

        lay_out(&measure, shape, NULL);
        rt = memory_map(measure.offset, -1);
        if (!rt)
                return NULL;
        real.base = (uintptr_t)rt;
        slot = lay_out(&real, shape, rt);
        for (unsigned i = 0; i < RUNTIME_NODES; i++)
                rt->system_node[i] = -1;
        if (!map_parts(rt, shape)) {
                unmap_parts(rt);
                memory_unmap(rt, measure.offset);
                return NULL;
        }
        store_relaxed_u64(&rt->door, DOOR_CLOSED); /* relaxed: nobody knows it yet */
        return slot;
}

static bool fits(const struct slot *slot, const struct slot_shape *shape)
{
        const struct runtime *rt = slot->rt;

        return !slot->used && rt->worker_count == shape->workers &&
               rt->node_count == shape->nodes &&
               !memcmp(slot->worker_nodes, shape->worker_nodes,
                       shape->workers * sizeof *slot->worker_nodes) &&
               !memcmp(slot->node_ids, shape->node_ids, shape->nodes * sizeof *slot->node_ids);
}

struct runtime *slot_take(const struct slot_shape *shape)
{
        struct slot *slot;

        process_lock();
        /* relaxed: under the lock. */
        for (slot = load_relaxed_ptr(&slots); slot && !fits(slot, shape); slot = slot->next)
                ;
        if (!slot && (slot = slot_map(shape))) {
                slot->next = load_relaxed_ptr(&slots); /* relaxed: as above */
                /* [SL1] release pairs with runtimes_ask(): the slot, which stays as it is. */
                store_release_ptr(&slots, slot);
                /* [SL2] pairs with runtimes_ask(): the slot before all that its jobs look at. */
                fence_seq_cst();
        }
        if (slot) {
                slot->used = true;
                slot->rt->slot = slot;
        }
        process_unlock();
        return slot ? slot->rt : NULL;
}

void slot_give(struct runtime *rt)
{
        process_lock();
        rt->slot->used = false;
        process_unlock();
}
