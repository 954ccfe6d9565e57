/* SPDX-License-Identifier: MIT
 *
 * A runtime: what its workers share, and its life cycle. The struct lies in a slot of memory that
 * is never unmapped and only ever used for runtimes (slot.c), so that a thread preempted inside a
 * call on a runtime that is stopped meanwhile touches nothing foreign. A handle carries the slot's
 * generation; what such a thread may write is only changed by RMW, never set anew by stores.
 */
#ifndef CORE_RUNTIME_H
#define CORE_RUNTIME_H

#include <limits.h>

#include "core/injector.h"
#include "core/park.h"
#include "io/source.h"
#include "limits/pool.h"
#include "place/placement.h"
#include "skua.h"
#include "wait/slab.h"

enum { RUNTIME_WORKERS_MAX = 4096, RUNTIME_CPUS = SIZE_CPUS, RUNTIME_NODES = SIZE_NODES };

struct slot;

struct runtime_node {
        struct injector *injectors; /* INJECTOR_PRIORITIES, on the node's memory */
        unsigned *order;            /* nodes by distance, this one first */
        uint64_t *worker_bits;      /* which workers live here, as in idle_bits */
        unsigned id;                /* the system's number */
        struct stack_pool stacks;
};

enum runtime_phase { RUNTIME_FREE, RUNTIME_RUNNING, RUNTIME_DRAINING, RUNTIME_CANCELLING };

/* The phase word is [generation][phase:8], so that a late call cannot stop the slot's next runtime.
 */
enum { RUNTIME_PHASE_BITS = 8, RUNTIME_PHASE_MASK = 255 };

struct runtime {
        /* written when somebody parks, starts or stops searching: park.h */
        _Alignas(ARCH_APART) struct word64 summary;
        struct word64 *idle_bits;
        /* read by everybody, written at start and stop */
        _Alignas(ARCH_APART) struct gate *gates;
        struct worker **workers;
        struct runtime_node *nodes;
        unsigned worker_count, node_count, idle_words;
        struct word32 thread_count; /* threads that exist: fewer only while a start fails */
        uint64_t generation;        /* of the handle that is valid now */
        struct word32 terminate;    /* drained: workers leave their loops */
        struct word32 orphan;       /* we are the child of a fork */
        struct word64 phase;        /* what it does, see RUNTIME_PHASE_BITS */
        int64_t spin_ns;
        uint16_t *cpu_node;   /* CPU number -> node index; RUNTIME_CPUS of them */
        int16_t *system_node; /* system's node number -> node index, -1: none; RUNTIME_NODES */
        unsigned cpus_settled, nodes_settled; /* above: as slot_map() made them */
        size_t stack_bytes, stack_stride, stack_max;
        unsigned ring_entries;
        bool no_ring;                        /* I/O by the fallback */
        int kick_signal;                     /* 0: none */
        struct word32 ring_path, ring_error; /* as in struct skua_stats */
        struct placement placement;
        struct skua *handle;
        char name[8];
        void *user;
        void (*on_thread)(struct skua *rt, int starting, void *user);
        void (*on_log)(int level, const char *message, void *user);
        /* accepted, but in no injector: targeted jobs, jobs after groups. As an injector's door. */
        _Alignas(ARCH_APART) struct word64 door;
        struct word64 direct;  /* jobs accepted by it, ever */
        struct word64 refused; /* submissions */
        /* the stopping thread sleeps here */
        _Alignas(ARCH_APART) struct word32 drain_event;
        _Alignas(ARCH_APART) struct word64 stack_count; /* stacks with the workers */
        struct word64 stack_most;                       /* that there have been at once */
        struct word32 stack_warned;
        struct word32 watch_wanted; /* there is a ring or a timer that somebody should look after */
        struct word32 rings;        /* made, ever */
        struct word32 sentinel;     /* index + 1 of who looks after busy workers: io/watch.h */
        _Alignas(ARCH_APART) struct sources sources;
        struct pool pool;  /* for what blocks */
        struct slot *slot; /* slot.c */
};

/* The runtime behind a handle; its memory always exists. NULL for NULL. */
static inline struct runtime *runtime_of(const struct skua *rt)
{
        return (struct runtime *)((uintptr_t)rt & 0x0000fffffffff000u);
}

static inline uint64_t generation_of(const struct skua *rt)
{
        return ((uintptr_t)rt >> 48) << 12 | ((uintptr_t)rt & 0xfff);
}

static inline struct skua *handle_of(struct runtime *rt, uint64_t generation)
{
        return (struct skua *)((uintptr_t)rt | (uintptr_t)(generation >> 12) << 48 |
                               (generation & 0xfff));
}

/* Is everything being cancelled? */
static inline bool runtime_cancelling(const struct runtime *rt)
{
        /* [ST5] acquire pairs with begin_stop(): what the stopping thread has written before. */
        return (load_acquire_u64(&rt->phase) & RUNTIME_PHASE_MASK) == RUNTIME_CANCELLING;
}

/* Has a drain ended, or is it about to? For a worker that has just left the idle set. */
static inline bool runtime_sealed(const struct runtime *rt)
{
        /* [ST7] pairs with seal(): behind the RMW by which the worker has left the idle set. */
        fence_seq_cst_after_rmw();
        return load_relaxed_u64(&rt->door) / DOOR_GENERATION_ONE !=
               rt->generation; /* relaxed: [ST7] */
}

/* Is it stopping at all? */
static inline bool runtime_stopping(const struct runtime *rt)
{
        /* relaxed: behind a fence, or the request that was left after the change. */
        return (load_relaxed_u64(&rt->phase) & RUNTIME_PHASE_MASK) > RUNTIME_RUNNING;
}

/* The node whose injector the calling thread should use. */
static inline unsigned runtime_node_here(const struct runtime *rt)
{
        unsigned cpu;

        if (rt->node_count == 1)
                return 0;
        cpu = kernel_cpu();
        return cpu < RUNTIME_CPUS ? rt->cpu_node[cpu] : 0;
}

/* After a publication and a full fence: wakes one worker if nobody searches and somebody is idle.
 */
static inline void park_publish(struct runtime *rt, unsigned node_index)
{
        /* [PK1] relaxed, behind the caller's full fence, which pairs with [PK2]. */
        uint64_t summary = load_relaxed_u64(&rt->summary);

        if (__builtin_expect(park_idle_of(summary) && !park_searching_of(summary), 0))
                park_wake_one(rt, node_index);
}

/* Takes responsibility for a job that is in no injector yet, or never will be: a drain waits until
 * runtime_unaccept(). 0, or -ESHUTDOWN: the runtime has ended, or is closed and the call comes from
 * outside. Any thread. */
int runtime_accept(struct runtime *rt, uint64_t generation, bool outside);
void runtime_unaccept(struct runtime *rt);

/* Queues a job accepted so, and gives the acceptance back. Any thread. */
void runtime_push_accepted(struct runtime *rt, struct skua_job *job);

/* Queues a job in a node's injector, past its door and bound; while the runtime cannot end. */
void runtime_forward(struct runtime *rt, unsigned node, struct skua_job *job);

/* Something changed on which the end of a drain may depend. */
void runtime_maybe_drained(struct runtime *rt);

/* Of what the process has once; held briefly, and never in the child of a fork. */
void process_lock(void);
void process_unlock(void);

/* Has all awaits look whether they are cancelled, of one runtime or of all. Async-signal-safe. */
void runtime_ask(struct runtime *rt);
void runtimes_ask(void);

/* How often fork(2) has led to this process: a number that its parent does not share. */
unsigned runtime_process(void);

__attribute__((format(printf, 3, 4))) void runtime_log(struct runtime *rt, int level,
                                                       const char *format, ...);

/* Jobs called as cancelled so far (observe/stats.c). */
uint64_t runtime_cancelled(struct runtime *rt);

/* In the child of fork: nothing of it works here. */
void runtime_orphan(struct runtime *rt);

/* slot.c: memory for a runtime of this shape, with the arrays in place, as an earlier runtime of
 * the same shape left it at rest; NULL: no memory. */
struct slot_shape {
        unsigned workers, nodes;
        const unsigned *worker_nodes; /* node index of each worker */
        const unsigned *node_ids;     /* the system's numbers */
};
struct runtime *slot_take(const struct slot_shape *shape);
void slot_give(struct runtime *rt);

#endif
