/* SPDX-License-Identifier: MIT
 *
 * Skua: a work-stealing runtime for Linux.
 *
 * This header is the whole public interface, in the order in which a program meets it: start a
 * runtime, give it jobs, count them in groups, fork and join inside them, loop, look at the
 * figures, stop. It is clean C11 and C++17 and needs nothing but libc.
 *
 * Two rules hold everywhere:
 *   - A function that takes `struct skua_worker *self` may be called only from a job, with the
 *     handle that the job was given. A function that takes `struct skua *rt` or a group may be
 *     called from any thread unless it says otherwise.
 *   - Every int result is 0 or a count, or a negative errno. Nothing prints, nothing exits.
 */
#ifndef SKUA_H
#define SKUA_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SKUA_VERSION_MAJOR 0
#define SKUA_VERSION_MINOR 1
#define SKUA_VERSION_PATCH 0

#if defined(__GNUC__)
#define SKUA_API __attribute__((visibility("default")))
#else
#define SKUA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct skua;        /* a runtime: workers, queues, parking */
struct skua_worker; /* the worker that runs the calling job */
struct skua_job;
struct skua_group;
struct skua_strand;

/* ---------------------------------------------------------------- life cycle */

/* Assigned to a field of options it means "really none", where 0 means "the default". */
#define SKUA_NONE (-1)

enum skua_stop_how {
        SKUA_DRAIN = 1, /* finish everything that was accepted */
        SKUA_CANCEL = 2 /* also: queued jobs are called with skua_cancelled() true */
};

enum {
        SKUA_PIN = 1u << 0,    /* bind each worker to its one home CPU */
        SKUA_NO_PIN = 1u << 1, /* bind nothing */
        SKUA_NO_RING = 1u << 2,
        SKUA_NO_KICK = 1u << 3,
        SKUA_TIME_JOBS = 1u << 4,
        SKUA_CATCH_FAULTS = 1u << 5
};

/* How a runtime is to be. Zero in a field takes its default; a field or flag that this version
 * does not build yet gives -EOPNOTSUPP, an absurd value -EINVAL. The struct may grow at its end:
 * `size` tells the library which version the program was compiled with. */
struct skua_options {
        size_t size;
        unsigned workers;        /* how many; default: the CPUs that this process may really use */
        unsigned min_workers;    /* not built yet */
        unsigned worker_idle_ms; /* not built yet */
        unsigned flags;          /* SKUA_PIN, SKUA_NO_PIN */
        unsigned spin_ns;        /* how long an idle worker searches before it parks; 10 us */
        unsigned ring_entries;   /* not built yet */
        unsigned stall_ms;       /* not built yet */
        const cpu_set_t *cpus;   /* the CPUs to use, within the thread's affinity; default: all */
        size_t cpus_size;        /* bytes of *cpus */
        size_t stack_bytes;      /* address space of a job stack, touched lazily; 8 MiB */
        size_t stack_max;        /* stacks at once before new jobs wait to start; 100,000 */
        size_t queue_limit;      /* outside submissions waiting per node and priority; none */
        unsigned blocking_min, blocking_max, blocking_idle_ms; /* not built yet */
        size_t blocking_queue_limit;                           /* not built yet */
        int kick_signal;                                       /* not built yet */
        const char *name; /* threads are called name-w00/n0; up to 6 bytes count; "skua" */
        void *user;       /* handed to the functions below, see skua_user() */
        /* Called on each worker's own thread before its first and after its last job. */
        void (*on_thread)(struct skua *rt, int starting, void *user);
        void (*on_stall)(struct skua *rt, unsigned worker, const char *job_name, int64_t running_ns,
                         void *user); /* not built yet */
        /* The library's own messages, one line without a newline; level as in syslog(3). Default:
         * standard error, and only what precedes an abort. */
        void (*on_log)(int level, const char *message, void *user);
};

#define SKUA_OPTIONS_INIT                                                                          \
        {                                                                                          \
                sizeof(struct skua_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
                        0, 0, 0, 0                                                                 \
        }

/* Starts a runtime and writes its handle to *rt. `options` may be NULL and is not kept. Any
 * thread; blocks until the threads exist; allocates.
 * Errors: -EINVAL (NULL, unknown flags, absurd sizes, SKUA_PIN with SKUA_NO_PIN, no usable CPU in
 * cpus), -EOPNOTSUPP, -ENOMEM, -EAGAIN (no threads left), -EMFILE or -ENFILE (the machine cannot be
 * read), -ENOSYS (nor can the clock), the error of opening $SKUA_SYSROOT; nothing is left behind.
 */
SKUA_API int skua_start(struct skua **rt, const struct skua_options *options);

/* Shuts the door: from now on submissions from outside get -ESHUTDOWN, those that wait for room
 * too. Jobs go on, and may spawn and submit. Returns at once; the handle stays valid.
 * Async-signal-safe. Errors: -EINVAL, -EOWNERDEAD (in a child of fork). */
SKUA_API int skua_close(struct skua *rt);

/* Stops a runtime and frees it; blocks until its last job has returned and its last thread is
 * gone. SKUA_DRAIN finishes every accepted job. SKUA_CANCEL calls those still queued as cancelled
 * and makes skua_cancelled() true in those that run. A drain in progress may be raised by another
 * thread with SKUA_CANCEL, which then returns 0 at once.
 * Calls on rt must have begun before this returns; those that have are safe.
 * Errors: -EINVAL, -EDEADLK (called from a job or callback of rt), -EALREADY (somebody else is
 * stopping it), -EOWNERDEAD. */
SKUA_API int skua_stop(struct skua *rt, enum skua_stop_how how);

/* As skua_stop(SKUA_DRAIN), and raised to SKUA_CANCEL when grace_ns has passed. Returns how many
 * jobs were called as cancelled after that (0: the drain was enough), or an error of skua_stop. */
SKUA_API int skua_stop_within(struct skua *rt, int64_t grace_ns);

/* Before start: how many CPUs and NUMA nodes a runtime would use here, after affinity and cgroup
 * quota. Either pointer may be NULL. Any thread; reads /sys, /proc and the cgroup files. */
SKUA_API int skua_advise(unsigned *cpus, unsigned *nodes);

/* In the child of fork(2), where the runtime's threads do not exist: forget it. Any other call
 * there that returns int gives -EOWNERDEAD. The memory is lost to the child. */
SKUA_API void skua_abandon(struct skua *rt);

SKUA_API unsigned skua_workers(const struct skua *rt); /* the maximum; indexes are below it */
SKUA_API void *skua_user(const struct skua *rt);
SKUA_API struct skua_worker *skua_self(void); /* this thread's worker, NULL outside */
SKUA_API struct skua *skua_runtime(const struct skua_worker *self);
SKUA_API unsigned skua_worker_index(const struct skua_worker *self);
SKUA_API unsigned skua_worker_node(const struct skua_worker *self); /* the system's node number */
SKUA_API int64_t skua_now_ns(void); /* CLOCK_MONOTONIC, the clock of every deadline */

/* ---------------------------------------------------------------- jobs */

/* What a job does. `self` is the permission to call what needs a worker; it is valid until the
 * function returns, also after it has waited. From the moment the function is entered the runtime
 * never touches *job again: the function may free it, or submit it anew. */
typedef void skua_fn(struct skua_worker *self, struct skua_job *job);

/* A job lives in the caller's memory, usually as the first member of something larger. Nothing in
 * it but through the functions below. */
struct skua_job {
        skua_fn *run_;
        struct skua_job *next_;    /* in a queue; of a fork: the next older one */
        struct skua_job *younger_; /* of a fork: the next younger one */
        void *owner_;              /* group of a submitted job, scope of a published fork */
        uint64_t state_;           /* of a published fork: 0, the waiting joiner, or done */
        uint64_t index_;           /* of a published fork: its place in the ring */
        uint32_t flags_;
        uint32_t thief_;
        uint64_t reserved_;
};

/* Prepares a job to be submitted. Once is enough: after its function has been entered it may be
 * submitted again. Not needed before skua_fork(). */
SKUA_API void skua_job_init(struct skua_job *job, skua_fn *run);

/* The structure that contains `ptr` as its member. */
#define skua_container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { SKUA_NORMAL = 0, SKUA_HIGH = 1, SKUA_LOW = -1 }; /* priorities: not built yet */
enum {
        SKUA_TRY = 1,     /* -EAGAIN instead of waiting for room */
        SKUA_BLOCKING = 2 /* not built yet */
};
#define SKUA_NODE(n)   ((unsigned)(n) + 1u)
#define SKUA_WORKER(i) ((unsigned)(i) + 1u)

/* Where and how a job is to run. Zero in a field: no wish. */
struct skua_target {
        size_t size;
        unsigned flags;             /* SKUA_TRY */
        int priority;               /* not built yet */
        unsigned node;              /* SKUA_NODE(n): queued there, may be stolen by others */
        unsigned worker;            /* SKUA_WORKER(i): runs there, never stolen */
        struct skua_group *group;   /* counted there until it has returned */
        struct skua_strand *strand; /* not built yet */
        int64_t delay_ns;           /* not built yet */
        int64_t deadline_ns;        /* not built yet */
};
#define SKUA_TARGET_INIT                                           \
        {                                                          \
                sizeof(struct skua_target), 0, 0, 0, 0, 0, 0, 0, 0 \
        }

/* Hands a job to the runtime. After success the job may already have run and be gone; after an
 * error neither it nor any count has been touched. From outside, waits (blocks the thread) while
 * queue_limit is reached; from a job of rt it is skua_spawn() and never waits. Any thread.
 * Errors: -EINVAL, -ESHUTDOWN (closed or stopped), -EOWNERDEAD. */
SKUA_API int skua_submit(struct skua *rt, struct skua_job *job);

/* The same without waiting: -EAGAIN when the bound is reached. */
SKUA_API int skua_try_submit(struct skua *rt, struct skua_job *job);

/* The same with a target (NULL: none). More errors: -EINVAL (node or worker that does not exist,
 * unknown flag), -EOPNOTSUPP (a field that is not built yet), -EAGAIN with SKUA_TRY. */
SKUA_API int skua_submit_to(struct skua *rt, struct skua_job *job, const struct skua_target *where);

/* Submits `count` jobs that lie `stride` bytes apart, in order, with one decision whom to wake.
 * Returns how many were accepted, always a prefix: fewer than `count` only if the runtime closed
 * meanwhile or, with SKUA_TRY, the bound was reached. An error only if none was. */
SKUA_API ssize_t skua_submit_array(struct skua *rt, void *first, size_t count, size_t stride,
                                   const struct skua_target *where);

/* From a job, with the bound respected: while the queue is full the job waits and its worker goes
 * on with other work. May suspend. Errors as skua_submit_to. */
SKUA_API int skua_await_submit(struct skua_worker *self, struct skua_job *job,
                               const struct skua_target *where);

/* From a job: queues another one on the own worker, where idle workers may steal it. Cannot fail,
 * does not wait, is not bound by queue_limit and inherits no group. */
SKUA_API void skua_spawn(struct skua_worker *self, struct skua_job *job);

/* Runs one function on a worker and waits for it. Outside threads only.
 * Returns 0 or what the function gave to skua_fail(); -EDEADLK on a worker of rt, -ESHUTDOWN. */
SKUA_API int skua_run(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg), void *arg);

/* Copies `size` bytes at `arg` and returns; the function gets the copy, which lives until it
 * returns. The one call that may allocate. Errors as skua_submit, and -ENOMEM. */
SKUA_API int skua_post(struct skua *rt, void (*fn)(struct skua_worker *self, void *arg),
                       const void *arg, size_t size);

/* Records an error for the running job and returns; the first one in time is kept and goes to the
 * job's group, to the loop or to the caller of skua_run(). A negative errno; 0 is ignored, and what
 * does not fit 16 bits is recorded as -EINVAL. In a stolen fork it belongs to the job that joins.
 */
SKUA_API void skua_fail(struct skua_worker *self, int error);

/* Should the running job give up? Live: its group and the group's parents, the runtime's stop.
 * Never true by itself, costs two loads. NULL: outside of any worker, false. */
SKUA_API bool skua_cancelled(struct skua_worker *self);

/* Calls fn(self, arg), and inside it nothing foreign runs on this thread: a join of a stolen job
 * waits on the same frames. For code that holds a lock or thread-local state over a parallel
 * section. Inside, awaits that would suspend give -EDEADLK, and only forks made inside may be
 * joined. */
SKUA_API void skua_isolated(struct skua_worker *self,
                            void (*fn)(struct skua_worker *self, void *arg), void *arg);

/* ---------------------------------------------------------------- groups */

/* A group counts jobs until all have returned, keeps their first error, and can be cancelled. It
 * lives in the caller's memory. Any thread may call any of these on a group at the same time,
 * with two exceptions: init, and the memory may go only when no call is under way.
 *
 *                    | with submit, hold   | with wait, await, then | with cancel
 *   submit, hold     | yes                 | yes                    | yes: accepted, cancelled
 *   release          | yes, own hold       | yes: the last one wakes| yes
 *   wait, await      | yes                 | yes, all are woken     | yes
 *   freeing          | after wait returned 0 or an error other than -ETIMEDOUT
 */
struct skua_group {
        uint64_t word_; /* error, flags and count in one word: every change is one step */
        struct skua_group *parent_;
        void *waiters_;
        struct skua_job *after_;
        struct skua *after_rt_;
        uint32_t process_; /* counts forks of the process */
        uint32_t reserved_[9];
};

SKUA_API void skua_group_init(struct skua_group *g);

/* The same under a parent: while g is not empty it counts as one in its parent, and it is
 * cancelled when the parent is. Errors do not rise. */
SKUA_API void skua_group_init_under(struct skua_group *g, struct skua_group *parent);

SKUA_API int skua_group_submit(struct skua *rt, struct skua_group *g, struct skua_job *job);
SKUA_API void skua_group_spawn(struct skua_worker *self, struct skua_group *g,
                               struct skua_job *job);

/* Counts something that is not a job, like a wait group's add. Does not block. */
SKUA_API void skua_group_hold(struct skua_group *g, unsigned count);

/* Gives one hold back, with 0 or an error to record. It is the caller's last touch of g. */
SKUA_API void skua_group_release(struct skua_group *g, int error);

/* Submits `after` to rt once, when g is empty (at once, if it is). rt accepts it here: a drain
 * waits for it. `after` may read skua_group_error(g) until the group is used again; from when it is
 * entered, the group may be used, initialised anew or freed. One at a time per group: a second one
 * aborts in debug builds and else waits until the first has gone. Must not begin when stop has
 * returned. Any thread. */
SKUA_API void skua_group_then(struct skua *rt, struct skua_group *g, struct skua_job *after);

/* Blocks the calling thread until g is empty. timeout_ns < 0: for ever; 0: only look. Returns the
 * group's result: 0, -ECANCELED if it was cancelled, else its first error; the group is then fresh
 * and its memory may go. -ETIMEDOUT: it goes on. -EDEADLK on a worker (use skua_await_group). */
SKUA_API int skua_group_wait(struct skua_group *g, int64_t timeout_ns);

/* The same from a job, which gives up its stack while it waits. May suspend. -EDEADLK inside
 * skua_isolated() if g is not empty. Never ended early by cancellation. */
SKUA_API int skua_await_group(struct skua_worker *self, struct skua_group *g);

/* Asks the group's jobs and those of all groups under it to give up: skua_cancelled() becomes true
 * in them, those not yet started are called all the same, and submissions are still accepted.
 * Does not block. Async-signal-safe. */
SKUA_API void skua_group_cancel(struct skua_group *g);
SKUA_API bool skua_group_cancelled(const struct skua_group *g); /* or a parent */
SKUA_API int skua_group_error(const struct skua_group *g);      /* first error so far, or 0 */

/* ---------------------------------------------------------------- loops */

/* A part of a loop: indexes from `begin` up to, not including, `end`. */
typedef void skua_range_fn(struct skua_worker *self, size_t begin, size_t end, void *arg);

/* Calls body over [begin, end) in disjoint parts, in parallel when somebody is idle, and returns
 * when all are done. A part has at most `grain` indexes; 0: chosen while running, by the clock.
 * Returns 0, the first skua_fail() of a body, or -ECANCELED if the job was cancelled, in which
 * case parts not yet begun are left out. An error leaves nothing out. May suspend. -EINVAL: body is
 * NULL. Lazy splitting after Tzannes, Caragea, Barua, Vishkin (PPoPP 2010). */
SKUA_API int skua_for(struct skua_worker *self, size_t begin, size_t end, size_t grain,
                      skua_range_fn *body, void *arg);

/* The same from an outside thread, which blocks. Errors of skua_run too. */
SKUA_API int skua_run_for(struct skua *rt, size_t begin, size_t end, size_t grain,
                          skua_range_fn *body, void *arg);

/* A fold over a range. An accumulator is acc_bytes of memory, aligned like malloc's, that starts
 * as a copy of *identity (NULL: zero bytes). body folds [begin, end) into it; combine folds a
 * later range's accumulator into an earlier one's. The order is kept from left to right, so
 * combine need not commute, only associate. */
struct skua_reduction {
        size_t acc_bytes;
        const void *identity;
        void (*body)(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg);
        void (*combine)(void *acc, const void *other, void *arg);
        void *arg;
};

/* Writes the fold of [begin, end) to *result (acc_bytes). Allocates only for accumulators above
 * 1 KiB, one per split. Returns as skua_for; -EINVAL: a function or result is NULL, or acc_bytes
 * is 0. After -ECANCELED the result is that of the parts that ran. */
SKUA_API int skua_reduce(struct skua_worker *self, size_t begin, size_t end, size_t grain,
                         const struct skua_reduction *r, void *result);

/* ---------------------------------------------------------------- observation */

/* Any thread, at any time, at no cost to the workers; figures of one call need not belong to the
 * same instant. Set size before the call. */
struct skua_worker_stats {
        size_t size;
        uint64_t run;           /* submitted, spawned and posted jobs entered, cancelled included */
        uint64_t forked;        /* forks published for thieves; private ones are not counted */
        uint64_t stolen_local;  /* taken from a worker or queue of the same node */
        uint64_t stolen_remote; /* of another node */
        uint64_t parks;         /* went to sleep in the kernel */
        uint64_t busy_ns;       /* not searching, not parked */
        uint64_t completions;   /* not built yet: 0 */
        uint32_t running;       /* 1: not parked */
        uint32_t replaced;      /* not built yet: 0 */
};

struct skua_stats {
        size_t size;
        uint64_t submitted; /* accepted: submitted from anywhere, spawned, posted */
        uint64_t run;       /* entered, not cancelled */
        uint64_t cancelled; /* entered with skua_cancelled() true */
        uint64_t refused;   /* -EAGAIN and -ESHUTDOWN */
        uint64_t queued;    /* in the injectors now */
        uint64_t suspended; /* jobs waiting with a stack now */
        uint64_t workers_active;
        uint64_t blocking_threads, blocking_queued; /* not built yet: 0 */
        uint64_t queue_ns_sum, run_ns_sum;          /* not built yet: 0 */
        uint32_t ring_path;                         /* 0: no I/O in this version */
        uint32_t reserved_;
};

/* Errors: -EINVAL (NULL, size too small, index out of range), -EOWNERDEAD. */
SKUA_API int skua_stats_read(struct skua *rt, struct skua_stats *out);
SKUA_API int skua_stats_worker(struct skua *rt, unsigned index, struct skua_worker_stats *out);

#ifdef __cplusplus
}
#endif

#include "skua_fork.h"

#endif
