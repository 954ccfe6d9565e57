/* SPDX-License-Identifier: MIT
 *
 * Stacks: touched lazily, with a guard at the low end, carved from slabs, cached per worker and
 * pooled per node (slab.h). The control part lies at the high end, on one page with the first
 * frames: [guard][ ... frames grow down ][struct stack].
 *
 * A stack is carved, in the pool, in a worker's cache, running, or suspended. In the cache it may
 * stand in the middle of its worker's loop, where it has given way to a stack that was to be
 * resumed; who takes it goes on there. Before it leaves its worker that context is ended.
 */
#ifndef WAIT_STACK_H
#define WAIT_STACK_H

#include "arch.h"
#include "core/job.h"
#include "wait/slab.h"

struct runtime;
struct worker;

struct stack {
        /* one line where contexts are small: what a switch needs */
        struct arch_context context;
        struct stack *next; /* in a cache or pool, or in the list of those to be resumed */
        struct worker *home;
        /* kept while suspended; running: NULL in the loop, so that it tells a waiting job */
        struct skua_job *top, *public;
        struct scope *scope;
        skua_fn *running;
        struct exit_frame *exits;
        /* the rest */
        struct stack *crowded; /* next one whose forks did not all fit the ring */
        struct slab *slab;
        struct stack *older;  /* the one that was carved before it */
        char *low;            /* the guard begins here */
        bool used;            /* context is initialised */
        bool spent;           /* but its frames are a job's that has ended by skua_exit() */
        bool unguarded;       /* the kernel gives no more guards */
        struct skua_job base; /* the end of the list of forks; owner_: the root scope */
};

/* What the high end of a stack has to hold. */
enum { STACK_SLAB_BYTES = 128, STACK_CONTROL_BYTES = sizeof(struct stack) + STACK_SLAB_BYTES + 64 };
static_assert(sizeof(struct slab) <= STACK_SLAB_BYTES, "the slab lies above its first stack");

static inline struct stack *stack_of_memory(char *low, size_t stride)
{
        uintptr_t end = (uintptr_t)low + stride - STACK_SLAB_BYTES;

        return (struct stack *)((end - sizeof(struct stack)) & ~(uintptr_t)63);
}

/* Memory for the stack of a thread, on the worker's node, with a guard of KERNEL_GUARD_BYTES at its
 * low end; the caller's to unmap. NULL: no memory. */
char *stack_memory(struct worker *w, size_t bytes);

/* The runtime begins: what the slot's last one has left is put to use, if it has the size. Before
 * the worker's thread starts. */
void stacks_begin(struct worker *w);

/* The runtime has ended, and no thread is left: all is unmapped but a slab for each worker, of
 * which the first few pages stay, so that programs which start and stop often do not fault them in
 * anew. */
void stacks_retire(struct runtime *rt);

/* A stack of at least the runtime's stack_bytes, to be switched to: in the worker's loop. NULL: no
 * memory. */
struct stack *stack_take(struct worker *w);

/* For the cache; may be the running one, which is about to give way. */
void stack_give(struct worker *w, struct stack *stack);

/* Is stack_max reached, so that new jobs wait while others can go on? */
bool stacks_short(const struct worker *w);

/* The worker, whose trim_wanted is set, is about to sleep: if it has lately had little to do for
 * long, memory of stacks that are not in use goes back to the system; else that is due at
 * w->trim_ns. */
void stacks_idle(struct worker *w, int64_t now_ns);

/* Of a free stack: all memory but its first page. */
void stack_discard(struct stack *stack);

/* guard.c: reports of overruns. A process-wide handler, installed once, and an alternate signal
 * stack for the calling thread (memory NULL: no more). */
int guard_install(void);
size_t guard_thread_bytes(void);
void guard_thread(void *memory, size_t bytes);

/* guard.c: on the thread's own stack, after a fault has been found: reports and aborts. */
void guard_report(struct worker *w);

#endif
