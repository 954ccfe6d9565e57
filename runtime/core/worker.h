/* SPDX-License-Identifier: MIT
 *
 * A worker: one thread, its deques and its figures. Lives in the runtime's slot.
 */
#ifndef CORE_WORKER_H
#define CORE_WORKER_H

#include "core/deque.h"
#include "core/kernel.h"
#include "core/park.h"
#include "core/queue.h"
#include "io/source.h"
#include "io/timer.h"
#include "place/placement.h"
#include "skua.h"
#include "wait/suspend.h"

struct await;
struct io;
struct runtime;

/* Figures: written by the worker alone, read by anyone. */
struct worker_count {
        struct word64 spawned, run, cancelled, forked, stolen_local, stolen_remote, parks, busy_ns;
        struct word64 overflowed; /* own jobs moved to the injector */
        struct word64 suspended, resumed;
        struct word64 beyond;        /* stacks taken beyond the bound */
        struct word64 busy_since_ns; /* 0: idle */
        struct word64 delivered;     /* jobs of completions and timers */
        struct word64 completions;
        struct word64 kicks;              /* of others that were busy */
        struct word64 io_begun, io_ended; /* operations; ended: by who holds the io's lock */
        struct word32 parked;
};

struct worker {
        struct skua_worker face;  /* first: the handle is its address */
        struct scope *scope;      /* innermost, of the running job; NULL in the loop */
        skua_fn *running;         /* for reports: the function that the loop entered */
        struct stack *stack;      /* the running one */
        struct exit_frame *exits; /* of the running job, innermost first */
        uint64_t outstanding;     /* published forks, not joined */
        bool alone;               /* the runtime's only worker */
        bool searching;           /* counted in the summary */
        bool callback;            /* in on_thread: not a job */
        bool jobs_long;           /* of late: what is to be sent shall not wait for them */
        bool turns_long;          /* of late: jobs, or what the kernel does for their I/O */
        bool sentinel;            /* looks after the others' rings while idle */
        bool ring_first;          /* its completions before the injector, in turns */
        struct io *io;            /* NULL: no I/O yet */
        unsigned pauses;          /* before the next look at an injector */
        unsigned isolated;        /* depth of skua_isolated on this stack */
        unsigned held;            /* debug builds: mutexes of the thread as its job was entered */
        unsigned budget;          /* turns until the next fairness turn */
        unsigned fair_turn;       /* which source is asked first then */
        unsigned budget_full;     /* as it was set last */
        int64_t budget_start_ns;
        int64_t entered_ns; /* in the kernel since then, where turns are long */
        /* jobs of one group that have ended but are not yet counted down, see worker_flush() */
        struct skua_group *due_group;
        uint64_t due_count;
        /* suspended stacks and targeted jobs that have arrived */
        struct stack *ready, **ready_end;
        struct await *awaits;  /* of suspended stacks */
        struct stack *crowded; /* suspended with forks that did not fit the ring */
        struct skua_job *mail, **mail_end;
        /* what suspend() saves of the thread */
        int *error; /* errno */
        struct exceptions *exceptions, no_exceptions;
        /* stacks to be used again; those that were used last come first */
        struct stack *stack_cache;
        unsigned stack_cached, cache_most;
        struct slab *slab; /* to carve from; at rest: for the slot's next runtime */
        unsigned slab_room;
        bool trim_wanted;
        int64_t trim_ns;                    /* when memory is to be given back; 0: not known yet */
        struct arch_context thread_context; /* the thread's own stack */
        const char *fault;                  /* set by guard.c before it switches there */
        uintptr_t fault_address;
        /* who and where; constant */
        struct runtime *runtime;
        struct gate *gate;
        const struct placement_worker *place;
        unsigned index, node_index;
        unsigned prefer; /* index of the thief whose entries are wanted, or own index: none */
        uint64_t random;
        int64_t slept_ns; /* length of the last sleep; while asleep: when it began */
        struct kernel_thread thread;
        struct stack *first_stack;

        struct wordptr io_seen; /* io, for the others */
        struct source_watch sources;

        _Alignas(ARCH_APART) struct worker_count count;
        struct queue run;   /* spawned here; newest first for the owner */
        struct queue batch; /* from the injector; oldest first for all */
        struct ring ring;
        struct wordptr run_slots[QUEUE_SLOTS];
        struct wordptr batch_slots[BATCH_SLOTS];
        struct timers timers;
};

static inline struct worker *worker_of(const struct skua_worker *self)
{
        return (struct worker *)(uintptr_t)self;
}

/* The worker whose job calls, or NULL. */
static inline struct worker *worker_self(void)
{
        struct worker *w = self_get();

        return w && !w->callback ? w : NULL;
}

/* When the worker's timers have something for it to do; 1: now, 0: never. */
static inline int64_t timers_next_ns(const struct worker *w)
{
        /* relaxed: behind the parker's fence [PK2], or a look that is taken again. */
        return (int64_t)load_relaxed_u64(&w->timers.next_ns);
}

static inline void count_add(struct word64 *figure, uint64_t n)
{
        /* relaxed: one writer; readers want a figure, not an order. */
        store_relaxed_u64(figure, load_relaxed_u64(figure) + n);
}

static inline uint64_t worker_random(struct worker *w)
{
        w->random ^= w->random << 13;
        w->random ^= w->random >> 7;
        w->random ^= w->random << 17;
        return w->random;
}

/* Prepares the struct for a new runtime. */
void worker_init(struct worker *w, struct runtime *rt, unsigned index);

/* The thread's entry; arg is the worker. */
void worker_main(void *arg);

/* The stack of the worker's thread, on its node; it stays with the slot. False: no memory. */
bool worker_map_thread(struct worker *w);

/* What is to be done when a job is ended by skua_exit() instead of returning to the function that
 * has put this in place, on that function's frame. */
struct exit_frame {
        struct exit_frame *outer;
        void (*leave)(struct worker *w, struct exit_frame *frame);
};

static inline void exit_push(struct worker *w, struct exit_frame *frame,
                             void (*leave)(struct worker *w, struct exit_frame *frame))
{
        frame->outer = w->exits;
        frame->leave = leave;
        w->exits = frame;
}

static inline void exit_pop(struct worker *w, const struct exit_frame *frame)
{
        w->exits = frame->outer;
}

/* The running job, whose forks are settled, ends here. */
void worker_end_job(struct worker *w);

/* The loop: never returns, leaves its stack by switching. Entry of every pooled stack. */
void worker_loop(void *arg);

/* Looks at what has arrived, so that stacks can be resumed, and runs nothing. */
void worker_look(struct worker *w);

/* Moves the oldest half of the full run queue to the injector. */
void worker_overflow(struct worker *w);

/* Jobs have come to the own queues from where a parker does not look: decides anew whom to wake. A
 * worker that searches does so when it has found something. */
void worker_moved(struct worker *w);

/* Queues a job on the own run queue; _again: one that has been counted when it was accepted. */
static inline void worker_push_again(struct worker *w, struct skua_job *job)
{
        while (__builtin_expect(!queue_push(&w->run, job), 0))
                worker_overflow(w); /* bound: thieves only make room */
}

static inline void worker_push(struct worker *w, struct skua_job *job)
{
        worker_push_again(w, job);
        count_add(&w->count.spawned, 1);
}

/* Leaves a job that only this worker may run; any thread. */
void worker_send(struct runtime *rt, unsigned index, struct skua_job *job);

/* Counts down the jobs that have ended, before the worker does anything but a job of the same
 * group. A job's group cannot become empty while another of its jobs runs, so counting the first
 * one late, within a run of jobs of one group, is seen by nobody. */
void worker_flush(struct worker *w);

/* Is there anything of its own that the worker could do at once? A hint. */
bool worker_has_work(const struct worker *w);

/* The thief's last act for a fork. */
void fork_done(struct skua_job *job);

/* Logs an error with the name of the function that the worker runs. */
void worker_report(struct worker *w, const char *what);

bool scope_cancelled(const struct runtime *rt, const struct scope *scope);

/* Gives a scope its deadline. True: that has passed, and cancels what was not cancelled before. */
bool scope_set_deadline(const struct runtime *rt, struct scope *scope, int64_t deadline_ns);

/* The job that the worker has just entered has a deadline. */
void scope_limit(struct worker *w, int64_t deadline_ns);

#endif
