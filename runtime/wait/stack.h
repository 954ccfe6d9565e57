/* SPDX-License-Identifier: MIT
 *
 * Stacks: mapped lazily, with a guard at the low end, cached per worker. The control part lies at
 * the high end, on one page with the first frames: [guard][ ... frames grow down ][struct stack].
 */
#ifndef WAIT_STACK_H
#define WAIT_STACK_H

#include "arch.h"
#include "core/job.h"

struct runtime;
struct worker;

struct stack {
        struct arch_context context;
        struct stack *next; /* in a cache, or in the list of those to be resumed */
        struct worker *home;
        char *low; /* of the mapping; the guard begins here */
        size_t bytes;
        bool used;            /* context is initialised */
        struct skua_job base; /* the end of the list of forks; owner_: the root scope */
        /* kept while suspended */
        struct skua_job *top, *public;
        struct stack *crowded; /* next one whose forks did not all fit the ring */
        struct scope *scope;
        skua_fn *running;
        struct exit_frame *exits;
        unsigned isolated;
        int error;
};

/* Memory for a stack, on the worker's node, with a guard of KERNEL_GUARD_BYTES at its low end; the
 * caller's to unmap. NULL: no memory. */
char *stack_memory(struct worker *w, size_t bytes);

/* A stack of at least the runtime's stack_bytes whose first switch enters the worker's loop.
 * NULL: no memory. */
struct stack *stack_take(struct worker *w);

/* For the cache; may be the running one, which is then about to be left for good. */
void stack_give(struct worker *w, struct stack *stack);

/* Unmaps what the cache holds beyond its bound; call on a stack that is not in it. */
void stack_trim(struct worker *w);

/* When the worker's thread has ended: unmaps the cache but for one stack, of which it keeps the
 * first few pages, so that programs which start and stop often do not fault them in anew. */
void stack_retire(struct worker *w);

/* guard.c: reports of overruns. A process-wide handler, installed once, and an alternate signal
 * stack for the calling thread (memory NULL: no more). */
int guard_install(void);
size_t guard_thread_bytes(void);
void guard_thread(void *memory, size_t bytes);

/* guard.c: on the thread's own stack, after a fault has been found: reports and aborts. */
void guard_report(struct worker *w);

#endif
