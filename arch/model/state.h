/* SPDX-License-Identifier: MIT
 *
 * The state of the modelled machine, all of it: one struct, set anew for each execution.
 *
 * A view says, for each location, which of its stores is the oldest that may still be read, by the
 * store's place in modification order; its first entries are a vector clock, for races of plain
 * accesses. After "A Promising Semantics for Relaxed-Memory Concurrency" (Kang et al., POPL 2017)
 * without promises: no load reads a store that comes later in time, so load buffering is not seen.
 */
#ifndef ARCH_STATE_H
#define ARCH_STATE_H

#include "arch.h"
#include "model.h"

enum { LOCATIONS = 1016, HISTORY = 16, GAP = 8 };
enum { TABLE_SHIFT = 19, TABLE = 1 << (32 - TABLE_SHIFT), CELLS = 4096 };
enum { ENTRIES = MODEL_THREADS + LOCATIONS, ARENA_BYTES = 16 << 20, PATH = 4096 };
enum { MODEL_STACK_BYTES = 256 << 10 };

/* Immutable: the view that comes with a store. Length is a multiple of 8. */
struct message {
        _Alignas(16) unsigned length;
        _Alignas(16) int16_t at[];
};

struct store {
        uint64_t value;
        const struct message *message; /* NULL: brings nothing */
        int16_t at;                    /* place in modification order */
        uint8_t thread;
        bool joined; /* the next one is an RMW that has read this one: nothing comes between */
        unsigned step;
};

struct location {
        const void *address;
        uint8_t bytes;
        uint16_t index;                /* in views */
        unsigned count;                /* stores kept, by rising place; 0: a new life */
        int16_t access[MODEL_THREADS]; /* clock of each thread's last access */
        struct store stores[HISTORY];
};

enum thread_state { THREAD_DONE, THREAD_READY, THREAD_ASLEEP, THREAD_JOINING };

struct thread {
        _Alignas(16) int16_t seen[ENTRIES];    /* what it must read at least; its clock */
        _Alignas(16) int16_t pending[ENTRIES]; /* comes with the next acquire fence */
        bool has_pending;
        const struct message *released; /* at its last release fence */
        const struct message *at_rmw;   /* at its last acq_rel RMW */
        bool rmw_was_fence;             /* and that has been taken for a full fence */
        enum thread_state state;
        unsigned stale; /* how many more old values it may be shown */
        const void *futex;
        int64_t deadline_ns;
        int wait_result;
        unsigned joining; /* a set of threads */
        bool chosen;
        int priority;
        void *self, *pool;          /* the thread words */
        void (*signal)(int number); /* has come, and waits for the thread's next step */
        struct arch_context context;
        void (*entry)(void *arg);
        void *arg;
        char *stack;
};

/* Of the table by address. */
struct slot {
        unsigned run; /* which execution it belongs to */
        unsigned gone_line;
        const char *gone; /* the file where it was said so */
        struct location *location;
        const void *address;
};

struct event {
        unsigned step;
        uint8_t thread;
        const char *file, *operation;
        int line;
        const void *address;
        uint64_t value, before;
        unsigned from_step;          /* when the store that was read was made */
        uint8_t from_thread, choice; /* choice: so many stores before the newest */
        bool reads, writes;
};

struct model {
        bool running, failed, tracing;
        bool in_kernel; /* the current thread is not switched */
        unsigned run;   /* executions begun */
        struct thread *current;
        unsigned alive, ready, spinning, timed; /* sets of threads */
        unsigned threads;                       /* ever in this execution */
        uint64_t random;
        enum model_search search;
        unsigned steps, steps_max, idle_rounds;
        unsigned stay_mask; /* random: switch where these bits of a draw are 0 */
        unsigned early;     /* how many more stores may go to an earlier place */
        unsigned whims;     /* how many more spurious returns and time-outs */
        unsigned changes[4], change_count;
        int lowest;
        uint64_t hash, choices_made;
        int64_t now_ns, clock_step_ns; /* a look at the clock takes so long */
        /* depth-first search: the choices of this execution and how many there were */
        unsigned char path[PATH], path_of[PATH];
        unsigned path_length, path_known, preemptions, preemptions_max;
        bool overlong, whimsical;
        unsigned entries; /* of views in use, a multiple of 8 */
        unsigned locations, slots, arena_used;
        struct arch_context home;
        void *home_self, *home_pool;
        char reason[256];
        _Alignas(16) int16_t sc[ENTRIES]; /* what all full fences have seen */
};

extern struct model model;
extern struct thread model_threads[MODEL_THREADS];
extern struct location model_locations[LOCATIONS];

static inline unsigned thread_index(const struct thread *t)
{
        return (unsigned)(t - model_threads);
}

static inline uint64_t model_draw(void)
{
        uint64_t x = model.random;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        return model.random = x;
}

/* schedule.c: the scheduler may switch here; the step counts. */
void model_step(void);

/* A choice of 0 .. count - 1, of which 0 is what happens mostly. */
unsigned model_choose(unsigned count);
unsigned model_choose_evenly(unsigned count);

/* Something rare that makes no schedule of its own; not in an exhaustive search unless asked for.
 */
bool model_whim(void);

/* Something has been written: who spins looks again. */
static inline void model_written(void)
{
        model.ready |= model.spinning;
        model.spinning = 0;
        model.idle_rounds = 0;
}

/* Ends the execution. */
_Noreturn void model_leave(void);

/* memory.c */
void model_memory_begin(void);
void model_join_views(int16_t *to, const struct message *from);
const struct message *model_message(const int16_t *view);
struct location *model_location(const void *address, unsigned bytes);
uint64_t model_newest(const void *address, unsigned bytes);
void model_memory_gone(const void *address, size_t bytes, const char *file, int line);
void model_memory_new(const void *address, size_t bytes);

/* plain.c */
void model_plain_begin(void);

/* trace.c */
void model_trace_begin(void);
void model_record(const struct event *event);
void model_trace_print(void);

#endif
