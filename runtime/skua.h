/* SPDX-License-Identifier: MIT
 *
 * Skua: a work-stealing runtime for Linux.
 *
 * This header is the whole public interface, in the order in which a program meets it: start a
 * runtime, give it jobs, count them in groups, fork and join inside them, loop, do I/O, wait for
 * the clock, look at the figures, stop. It is clean C11 and C++17 and needs nothing but libc.
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
#include <sys/socket.h>
#include <sys/types.h>

#define SKUA_VERSION_MAJOR 0
#define SKUA_VERSION_MINOR 1
#define SKUA_VERSION_PATCH 0

#if defined(__GNUC__)
#define SKUA_API       __attribute__((visibility("default")))
#define SKUA_NORETURN_ __attribute__((__noreturn__))
#else
#define SKUA_API
#define SKUA_NORETURN_
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct skua;        /* a runtime: workers, queues, parking */
struct skua_worker; /* the worker that runs the calling job */
struct skua_job;
struct skua_group;
struct skua_strand;
struct io_uring_sqe; /* of <liburing.h> or <linux/io_uring.h> */

/* ---------------------------------------------------------------- life cycle */

/* Assigned to a field of options it means "really none", where 0 means "the default". */
#define SKUA_NONE (-1)

enum skua_stop_how {
        SKUA_DRAIN = 1, /* finish everything that was accepted */
        SKUA_CANCEL = 2 /* also: queued jobs are called with skua_cancelled() true */
};

enum {
        SKUA_PIN = 1u << 0,     /* bind each worker to its one home CPU */
        SKUA_NO_PIN = 1u << 1,  /* bind nothing */
        SKUA_NO_RING = 1u << 2, /* I/O without io_uring: epoll and a few threads */
        SKUA_NO_KICK = 1u << 3, /* no signals: rings that others can look into, at some cost */
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
        unsigned flags;          /* SKUA_PIN, SKUA_NO_PIN, SKUA_NO_RING, SKUA_NO_KICK */
        unsigned spin_ns;        /* how long an idle worker searches before it parks; 10 us */
        unsigned ring_entries;   /* of each worker's submission ring; 256, at most 32,768 */
        unsigned stall_ms;       /* not built yet */
        const cpu_set_t *cpus;   /* the CPUs to use, within the thread's affinity; default: all */
        size_t cpus_size;        /* bytes of *cpus */
        size_t stack_bytes;      /* address space of a job stack, touched lazily; 64 MiB */
        size_t stack_max;        /* stacks at once before new jobs wait to start; 100,000 */
        size_t queue_limit;      /* outside submissions waiting per node and priority; none */
        unsigned blocking_min;   /* threads for what blocks that are always there; 0 */
        unsigned blocking_max;   /* and at most; 512, at most 32,768. SKUA_NONE: none at all */
        unsigned blocking_idle_ms;   /* how long one without work stays; 10,000. SKUA_NONE: not */
        size_t blocking_queue_limit; /* SKUA_BLOCKING submissions waiting for a thread; none */
        int kick_signal;  /* interrupts a worker that keeps completions from others; a real-time
                             signal: default SIGRTMAX - 2. SKUA_NONE: as SKUA_NO_KICK */
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
 * cpus), -EOPNOTSUPP (see above; or the thread has a shadow stack, as the log says), -ENOMEM,
 * -EAGAIN (no threads left), -EMFILE or -ENFILE (the machine cannot be read), -ENOSYS (nor can the
 * clock), the error of opening $SKUA_SYSROOT; nothing is left behind.
 */
SKUA_API int skua_start(struct skua **rt, const struct skua_options *options);

/* Shuts the door: from now on submissions from outside get -ESHUTDOWN, those that wait for room
 * too. Jobs go on, and may spawn and submit. Returns at once; the handle stays valid.
 * Async-signal-safe. Errors: -EINVAL, -EOWNERDEAD (in a child of fork). */
SKUA_API int skua_close(struct skua *rt);

/* Stops a runtime and frees it; blocks until its last job has returned, on the blocking pool too,
 * and its last thread is gone. SKUA_DRAIN finishes every accepted job; timers and delayed jobs not
 * yet due are called as cancelled, I/O: see there. SKUA_CANCEL calls those still queued as
 * cancelled and makes skua_cancelled() true in those that run. A drain in progress may be raised by
 * another thread with SKUA_CANCEL, which then returns 0 at once. Calls on rt must have begun before
 * this returns; those that have are safe. Errors: -EINVAL, -EDEADLK (called from a job or callback
 * of rt), -EALREADY (somebody else is stopping it), -EOWNERDEAD. */
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
        struct skua_job *younger_; /* of a fork: the next younger one; else its strand */
        void *owner_;              /* group of a submitted job, scope of a published fork */
        uint64_t state_;           /* of a published fork: 0, the waiting joiner, or done */
        uint64_t index_;           /* of a published fork: its place in the ring; else run_ */
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
        SKUA_BLOCKING = 2 /* on a thread that may block, see skua_submit_to() */
};
#define SKUA_NODE(n)   ((unsigned)(n) + 1u)
#define SKUA_WORKER(i) ((unsigned)(i) + 1u)

/* Where and how a job is to run. Zero in a field: no wish. */
struct skua_target {
        size_t size;
        unsigned flags;             /* SKUA_TRY, SKUA_BLOCKING */
        int priority;               /* not built yet */
        unsigned node;              /* SKUA_NODE(n): queued there, may be stolen by others */
        unsigned worker;            /* SKUA_WORKER(i): runs there, never stolen */
        struct skua_group *group;   /* counted there until it has returned */
        struct skua_strand *strand; /* one at a time with the others of the strand */
        int64_t delay_ns;           /* not before so long from now; not bound by queue_limit */
        int64_t deadline_ns;        /* absolute: cancelled from then on; of I/O: see there */
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

/* The same with a target (NULL: none). A delayed job is accepted at once and counted in its group;
 * when its time has come it goes where the target says. If the runtime stops before, it is called
 * at once, with skua_cancelled() true, as is at any time a job whose deadline has passed. More
 * errors: -EINVAL (node or worker that does not exist, unknown flag), -EOPNOTSUPP (a field that is
 * not built yet), -EAGAIN with SKUA_TRY.
 *
 * SKUA_BLOCKING: the job runs on a thread of the runtime's blocking pool, with self == NULL, and
 * may block there as long as it likes. Then skua_fail(NULL, error) and skua_cancelled(NULL) are
 * about it, and it may call whatever needs no self, as from a job of rt; a wait for what itself
 * needs a thread of the pool may be for ever, when there are no more. What waits for a thread is
 * bounded by blocking_queue_limit: from outside the call waits then, from a job (also one of the
 * pool) it goes beyond the bound unless SKUA_TRY says otherwise. Group, strand (whose other jobs
 * may run anywhere), delay and deadline are as ever; jobs with a strand or a delay are not bound by
 * the limit. The node does not matter; with a worker it is -EINVAL. -EAGAIN also if there is no
 * thread, and none to be had. Such a job is not ended by skua_exit(). */
SKUA_API int skua_submit_to(struct skua *rt, struct skua_job *job, const struct skua_target *where);

/* Submits `count` jobs that lie `stride` bytes apart, in order, with one decision whom to wake.
 * Returns how many were accepted, always a prefix: fewer than `count` only if the runtime closed
 * meanwhile or, with SKUA_TRY, the bound was reached. An error only if none was. */
SKUA_API ssize_t skua_submit_array(struct skua *rt, void *first, size_t count, size_t stride,
                                   const struct skua_target *where);

/* From a job, with the bound respected: while the queue is full the job waits and its worker goes
 * on with other work. Errors as skua_submit_to, and those of awaits (see "waiting" below), if it
 * would have to wait. */
SKUA_API int skua_await_submit(struct skua_worker *self, struct skua_job *job,
                               const struct skua_target *where);
SKUA_API int skua_await_submit_until(struct skua_worker *self, struct skua_job *job,
                                     const struct skua_target *where, int64_t deadline_ns);

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

/* Records an error for the running job (self == NULL: of the blocking pool's calling thread; on
 * another thread nothing happens) and returns; the first one in time is kept and goes to the
 * job's group, to the loop or to the caller of skua_run(). A negative errno; 0 is ignored, and what
 * does not fit 16 bits is recorded as -EINVAL. In a stolen fork it belongs to the job that joins.
 */
SKUA_API void skua_fail(struct skua_worker *self, int error);

/* Ends the running job here and now, with an error or 0, as if its function had returned; from any
 * depth, also from inside loops. Its forks that nobody has begun are dropped, the others waited
 * for. Functions on its stack are not returned to and clean up nothing: what they hold stays held,
 * and no destructor of C++ runs. A stolen fork or part of a loop ends itself alone; its error goes
 * where that of skua_fail() does. Does not return. */
SKUA_API SKUA_NORETURN_ void skua_exit(struct skua_worker *self, int error);

/* Should the running job give up? Live: its group and the group's parents, its deadline, the
 * runtime's stop. Costs two loads, and a look at the clock if there is a deadline. NULL: of the
 * calling thread's job on the blocking pool, or of who awaits what runs there; elsewhere false. */
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
        uint32_t reserved_;
        int64_t deadline_ns_;
        void *awaits_; /* of its jobs */
        uint64_t reserved2_[2];
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

/* The same, no longer than until a time of skua_now_ns() (0: none): -ETIMEDOUT, it goes on. */
SKUA_API int skua_await_group_until(struct skua_worker *self, struct skua_group *g,
                                    int64_t deadline_ns);

/* Asks the group's jobs and those of all groups under it to give up: skua_cancelled() becomes true
 * in them, those not yet started are called all the same, and submissions are still accepted.
 * Does not block. Async-signal-safe. */
SKUA_API void skua_group_cancel(struct skua_group *g);
SKUA_API bool skua_group_cancelled(const struct skua_group *g); /* or a parent */
SKUA_API int skua_group_error(const struct skua_group *g);      /* first error so far, or 0 */

/* Cancels the group by itself at an absolute time of skua_now_ns(); 0: not any more. What has
 * happened is not taken back. Belongs to the present use of the group: whoever takes its result
 * takes the deadline too; the result is -ECANCELED if the time had passed when the group became
 * empty. Nobody is woken at that time: who asks looks at the clock. Any thread; does not block. */
SKUA_API void skua_group_cancel_at(struct skua *rt, struct skua_group *g, int64_t deadline_ns);

/* A strand: its jobs run one at a time, first in, first out, on any worker. What several
 * completions or jobs share needs no lock if all of them name its strand in their targets. It lives
 * in the caller's memory. Any thread may submit to it at any time; all of its jobs belong to one
 * runtime. The memory may go when its last job has been entered and has left, which waiting for the
 * job's group shows: the strand is left before the group is counted down. A job that waits keeps
 * its strand, so it must not wait for another job of it. Jobs that are cancelled are called in turn
 * too. queue_limit does not count a strand's jobs, and SKUA_TRY refuses none. The target's worker
 * holds whenever the job's turn comes; its node only if that is at once, else the next job is
 * queued where the one before it has ended. No call blocks or allocates.
 *
 *            | with submit              | with a job of it that runs
 *   submit   | yes, also completions    | yes, also from it
 *   init     | no                       | no
 *   freeing  | after a wait for the group of its last job; not by a job of it
 */
struct skua_strand {
        void *word_; /* NULL: idle; else jobs that wait, newest first */
        struct skua_job *ready_;
        void *reserved_[2];
};
SKUA_API void skua_strand_init(struct skua_strand *s);

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

/* ---------------------------------------------------------------- I/O */

/* An operation on files, sockets or whatever else io_uring knows. It lives in the caller's memory,
 * from prepare on belongs to the kernel, and comes back as a job: `done` is called on any worker,
 * like any job, with what the kernel said. Then, if SKUA_IO_MORE is not set in flags, the operation
 * is the caller's again, and so are its buffers; done may free it or prepare it anew. Operations
 * with several completions (multishot; zero-copy sends, whose notification is the last) call done
 * once for each, in order, never two at once.
 *
 * The worker that prepares an operation is its home: its ring issues it. A ring is made at its
 * first use, which allocates, and closed when its thread ends. Without io_uring (see
 * skua_stats.ring_path) the operations listed in skua_io(3) work all the same, others complete with
 * -EOPNOTSUPP. A drain cancels accepts, multishot operations and those that wait for a buffer, and
 * waits for the others; SKUA_CANCEL cancels all but closes (but see skua_io(3)). All calls are for
 * jobs; none waits for an operation.
 *
 * Of one operation, from prepare to the last call of done:
 *                  | with cancel | with done         | with its deadline
 *   cancel         | yes         | yes, until its    | yes
 *                  |             | last one begins   |
 *   filling in     | no          | cannot be         | yes
 *   prepare anew   | no          | in its last one,  | cannot be
 *                  |             | or after it       |
 *   freeing        | no          | the same          | cannot be
 */
struct skua_io {
        struct skua_job job; /* first: what done is called with */
        int32_t res;         /* 0, a count or a file descriptor, or a negative errno */
        uint32_t flags;      /* IORING_CQE_F_* */
        skua_fn *done_;
        struct skua_group *group_;
        struct skua_strand *strand_;
        void *next_, **link_; /* in lists of the home */
        void *later_;         /* completions that wait for the one that runs: newest first */
        void *kept_;          /* and those that are taken already: oldest first */
        uint32_t home_, state_, pending_, ready_;
        void *set_; /* of buffers */
        uint64_t timer_[4];
        uint64_t reserved_;
        uint64_t sqe_[8]; /* to issue it again when there are buffers */
};

enum { SKUA_IO_MORE = 1u << 1 }; /* IORING_CQE_F_MORE */

/* Begins an operation, which calls done, or, if that is NULL, is for skua_await_io(); the answer is
 * filled in by an io_uring_prep_* function of liburing, then its
 * flags, before the next call of Skua by this job and before the job returns or waits. user_data is
 * Skua's; IOSQE_CQE_SKIP_SUCCESS is taken back, as every operation completes. With IOSQE_IO_DRAIN
 * it completes with -EINVAL: it would wait for operations of Skua's own. What has been prepared is
 * submitted together, before the worker turns to other work or sleeps. NULL: no memory or file
 * descriptor for a ring; nothing has begun. From jobs only; may enter the kernel, does not wait,
 * but for a kernel that takes no submissions. */
SKUA_API struct io_uring_sqe *skua_io_prepare(struct skua_worker *self, struct skua_io *io,
                                              skua_fn *done);

/* The same with wishes (NULL: none): counted in a group until its last completion has been handled;
 * its completions one at a time with the others of a strand; cancelled at deadline_ns, when res is
 * -ETIMEDOUT, or at once if that has passed. A result that is there already wins, and a transfer
 * cut short says how much it has moved. Other fields must be 0: else the operation completes with
 * -EINVAL. Cancelling the group does not cancel it; in done skua_cancelled() is then true. */
SKUA_API struct io_uring_sqe *skua_io_prepare_to(struct skua_worker *self, struct skua_io *io,
                                                 skua_fn *done, const struct skua_target *where);

/* Makes room so that the next `sqes` operations go to the kernel in one batch: chains of
 * IOSQE_IO_LINK stay whole. 0; -EINVAL: more than the ring has; -ENOMEM; -EAGAIN or another error
 * of the kernel, which takes no submissions at the moment. */
SKUA_API int skua_io_reserve(struct skua_worker *self, unsigned sqes);

/* Submits what this worker has prepared, now; enters the kernel. 0, or an error of the kernel as
 * above: what has been prepared is kept for later. */
SKUA_API int skua_io_flush(struct skua_worker *self);

/* Asks for an early end; done still comes as many times as it would, the last time with -ECANCELED
 * in res, or with the result, if there was one already. On any worker of the runtime, while the
 * operation is not yet the caller's again. Does not wait or allocate. What stands in a chain behind
 * another operation is not found by the kernel, and goes on. */
SKUA_API void skua_io_cancel(struct skua_worker *self, struct skua_io *io);

/* Closes a descriptor whatever is under way on it: cancels the operations on it on all workers,
 * waits until they have ended, then closes it. done comes once, after the last completion of those
 * operations has been queued; io->res is the result of close(2). Nothing new may be prepared on fd
 * meanwhile. Not waited for are transfers that a disk is at, and with IOSQE_ASYNC, whatever the
 * kernel has not begun: they complete by themselves. */
SKUA_API void skua_io_close(struct skua_worker *self, struct skua_io *io, int fd, skua_fn *done);

/* Registers files or memory with the calling worker's ring (see io_uring_register(2)): operations
 * that use them must be prepared on this worker, so a job that does has it as its target. 0, or the
 * kernel's error; -ENOMEM: no ring; -EOPNOTSUPP: no io_uring. count 0: gives them back. Enters the
 * kernel, which may wait until earlier ones are free. */
struct iovec;
SKUA_API int skua_io_register_files(struct skua_worker *self, const int *fds, unsigned count);
SKUA_API int skua_io_register_buffers(struct skua_worker *self, const struct iovec *buffers,
                                      unsigned count);

/* Buffers that the kernel chooses from when data has come, so that silent connections need none:
 * `count` (a power of two up to 32,768) of `bytes` each per worker, mapped at a worker's first use.
 * While all are taken, operations that want one wait for a return instead of failing with -ENOBUFS.
 * Any worker may read and return a buffer; bound to one runtime.
 *
 *            | with use               | with data, return            | with fini
 *   use      | yes, on other workers  | yes                          | no
 *   data     | yes                    | yes, of another completion   | no
 *   return   | yes                    | yes, each number once        | no
 */
struct skua_buffers {
        struct skua *rt_;
        void **sets_;
        size_t bytes_;
        uint32_t count_, group_;
        void *reserved_[4];
};

/* -EINVAL (NULL, count, or bytes that are 0 or above 2^31 - 1), -ENOMEM, -EAGAIN (the process has
 * 65,472 of them). Any thread; allocates, does not block. */
SKUA_API int skua_buffers_init(struct skua *rt, struct skua_buffers *b, unsigned count,
                               size_t bytes);

/* When no operation uses it any more and no buffer is read: from a thread outside, while the
 * runtime is open or after stop has returned; not between skua_close() or the begin of a stop and
 * its end. Blocks until its workers have let it go. */
SKUA_API void skua_buffers_fini(struct skua_buffers *b);

/* After io_uring_prep_recv(sqe, fd, NULL, 0, flags) or the like: the operation just prepared takes
 * its buffer from b, one per completion (no bundles). Maps memory at a worker's first use. 0 or
 * -ENOMEM, or an error of the kernel; the operation then completes with it. */
SKUA_API int skua_buffers_use(struct skua_worker *self, struct skua_buffers *b, struct skua_io *io,
                              struct io_uring_sqe *sqe);

/* In done, before io is prepared anew: the buffer that holds the data, res bytes of it; NULL: this
 * completion has none. Whatever res is, it is the caller's until it gives it back, once, with the
 * number, in any job of the runtime. Neither waits for an operation or allocates. */
SKUA_API void *skua_buffers_data(struct skua_buffers *b, const struct skua_io *io,
                                 uint32_t *number);
SKUA_API void skua_buffers_return(struct skua_worker *self, struct skua_buffers *b,
                                  uint32_t number);

/* ---------------------------------------------------------------- time */

/* Calls a function as a job at a time: never before it, and soon after it, when a worker is free.
 * It lives in the caller's memory, and belongs to the worker that started it last until it is
 * called or cancelled. Calls on one timer must not overlap; they may beside its expiry. Those of a
 * worker that expire together are called in order. A sleeping worker wakes late by the timer slack
 * of its thread (prctl(2)), 50 us unless changed.
 *
 *            | with start, cancel | with its expiry             | with run
 *   start    | no                 | yes: called once or twice   | yes, also from it
 *   cancel   | no                 | yes: the result says which  | yes: of a later start
 *   freeing  | no                 | no                          | in run, if not started anew
 */
struct skua_timer {
        struct skua_job job; /* first: what run is called with */
        skua_fn *run_;
        uint64_t state_;
};
SKUA_API void skua_timer_init(struct skua_timer *t, skua_fn *run);

/* Arms it, or moves it if it is armed. Absolute, as skua_now_ns(); a time that has passed: soon. If
 * its job is queued already, that will be called all the same. run may start it anew. When the
 * runtime stops, what is armed or will be is called at once, with skua_cancelled() true: then it
 * must not be started any more. Constant time; does not block. */
SKUA_API void skua_timer_start(struct skua_worker *self, struct skua_timer *t, int64_t deadline_ns);

/* On any worker. True: it will not be called for this start. False: it was not armed, or its job is
 * queued, runs or has run. */
SKUA_API bool skua_timer_cancel(struct skua_worker *self, struct skua_timer *t);

/* ---------------------------------------------------------------- waiting */

/* A job that waits gives up its stack's worker, not its stack: the worker goes on with other work,
 * and later, when what it waits for has happened, resumes the job where it was. It never leaves its
 * worker, so neither self nor thread-local data change under it; jobs are resumed in the order in
 * which they were woken. errno is kept. A thread's locks do not go along: holding a pthread mutex
 * over an await, a join or a loop is an error, as another job of the thread may want it.
 *
 * All functions with await in their name are for jobs and may suspend. What they share: -ECANCELED
 * if the job is cancelled (its group, its deadline, SKUA_CANCEL), at once, or when that happens
 * while it waits; not while the mask is on, but for SKUA_CANCEL. -ETIMEDOUT when a deadline, an
 * absolute time of skua_now_ns(), has passed; 0 is none. What is there already wins over both.
 * -EDEADLK inside skua_isolated(), if it would have to wait. -EOWNERDEAD in a child of fork(2).
 * skua_await_group() and closing a file are not ended by cancellation. None allocates but for
 * stacks, without memory for which a worker waits until one of its jobs can go on. */

/* Lets the worker's other jobs that can be resumed go first. 0 or an error as above. */
SKUA_API int skua_await_yield(struct skua_worker *self);

/* Waits for so long, or until a time. 0 when it has come. */
SKUA_API int skua_await_sleep(struct skua_worker *self, int64_t ns);
SKUA_API int skua_await_sleep_until(struct skua_worker *self, int64_t deadline_ns);

/* Waits for an operation that has been prepared with done == NULL; gives its res. It may be
 * prepared in one go with others, and awaited in any order, by the job that has prepared it. When
 * it is to end early it is cancelled in the kernel, and what that says is the result, unless the
 * deadline was why: -ETIMEDOUT. Its buffer is always free on return, but for -EDEADLK. Not for
 * operations that complete several times, but for zero-copy sends, whose second completion is
 * waited for too. */
SKUA_API int skua_await_io(struct skua_worker *self, struct skua_io *io);
SKUA_API int skua_await_io_until(struct skua_worker *self, struct skua_io *io, int64_t deadline_ns);

/* One operation each, arguments and result as of the io_uring_prep_* function of that name, thus as
 * of the system call; at most 2^31 - 1 bytes are moved at once. -ENOMEM, too: no memory or file
 * descriptor for a ring. A deadline that has passed: -ETIMEDOUT at once. Offset -1: the file's own
 * position. Closing does not cancel what others do on the descriptor: see skua_io_close(). */
SKUA_API ssize_t skua_await_read(struct skua_worker *self, int fd, void *buf, size_t len,
                                 uint64_t off);
SKUA_API ssize_t skua_await_read_until(struct skua_worker *self, int fd, void *buf, size_t len,
                                       uint64_t off, int64_t deadline_ns);
SKUA_API ssize_t skua_await_write(struct skua_worker *self, int fd, const void *buf, size_t len,
                                  uint64_t off);
SKUA_API ssize_t skua_await_write_until(struct skua_worker *self, int fd, const void *buf,
                                        size_t len, uint64_t off, int64_t deadline_ns);
SKUA_API ssize_t skua_await_recv(struct skua_worker *self, int fd, void *buf, size_t len,
                                 int flags);
SKUA_API ssize_t skua_await_recv_until(struct skua_worker *self, int fd, void *buf, size_t len,
                                       int flags, int64_t deadline_ns);
SKUA_API ssize_t skua_await_send(struct skua_worker *self, int fd, const void *buf, size_t len,
                                 int flags);
SKUA_API ssize_t skua_await_send_until(struct skua_worker *self, int fd, const void *buf,
                                       size_t len, int flags, int64_t deadline_ns);
SKUA_API int skua_await_accept(struct skua_worker *self, int fd, struct sockaddr *addr,
                               socklen_t *addrlen, int flags);
SKUA_API int skua_await_accept_until(struct skua_worker *self, int fd, struct sockaddr *addr,
                                     socklen_t *addrlen, int flags, int64_t deadline_ns);
SKUA_API int skua_await_connect(struct skua_worker *self, int fd, const struct sockaddr *addr,
                                socklen_t addrlen);
SKUA_API int skua_await_connect_until(struct skua_worker *self, int fd, const struct sockaddr *addr,
                                      socklen_t addrlen, int64_t deadline_ns);
SKUA_API int skua_await_openat(struct skua_worker *self, int dfd, const char *path, int flags,
                               mode_t mode);
SKUA_API int skua_await_openat_until(struct skua_worker *self, int dfd, const char *path, int flags,
                                     mode_t mode, int64_t deadline_ns);
SKUA_API int skua_await_fsync(struct skua_worker *self, int fd, unsigned flags);
SKUA_API int skua_await_fsync_until(struct skua_worker *self, int fd, unsigned flags,
                                    int64_t deadline_ns);
SKUA_API int skua_await_poll(struct skua_worker *self, int fd, unsigned mask);
SKUA_API int skua_await_poll_until(struct skua_worker *self, int fd, unsigned mask,
                                   int64_t deadline_ns);
SKUA_API int skua_await_close(struct skua_worker *self, int fd);

/* All of a buffer, in as many operations as it takes; how many bytes have been moved: fewer than
 * len if the other end has closed, or if an error or an early end came after some; else the error.
 */
SKUA_API ssize_t skua_await_send_all(struct skua_worker *self, int fd, const void *buf, size_t len,
                                     int flags, int64_t deadline_ns);
SKUA_API ssize_t skua_await_recv_all(struct skua_worker *self, int fd, void *buf, size_t len,
                                     int flags, int64_t deadline_ns);

/* Waits for one of the signals of a sigset_t, which all threads of the process must have blocked,
 * best before skua_start(), whose threads inherit that. Its number, or an error; those of
 * signalfd(2), too. */
SKUA_API int skua_await_signal(struct skua_worker *self, const void *set, int64_t deadline_ns);

/* Calls fn(arg) on a thread of the blocking pool, where it may block, and waits for it; gives what
 * fn returns. While the call waits for a thread it ends early as others do, by the deadline too;
 * once fn runs it is waited for, whatever happens, as what it works with may lie on the caller's
 * stack. In fn, skua_cancelled(NULL) tells whether the waiting job is cancelled, and
 * skua_fail(NULL, error) is about that job. Not bound by blocking_queue_limit. -EAGAIN: there is no
 * thread, and none to be had. */
SKUA_API int skua_await_blocking(struct skua_worker *self, int (*fn)(void *arg), void *arg);
SKUA_API int skua_await_blocking_until(struct skua_worker *self, int (*fn)(void *arg), void *arg,
                                       int64_t deadline_ns);

/* Whether awaits of this job, of its forks and loops too, go on though it is cancelled: for what
 * must be tidied up. SKUA_CANCEL ends them all the same. Returns how it was. Off in a new job. Only
 * by the job itself: not in a fork, nor in parts of a loop, which share the mask with it. */
SKUA_API bool skua_cancel_mask(struct skua_worker *self, bool masked);

/* ---------------------------------------------------------------- for jobs that wait */

/* Locks, events, semaphores and channels that suspend jobs instead of blocking threads. They live
 * in the caller's memory, belong to no runtime, and are shared by jobs of any, and by threads: the
 * functions without self may be called by any thread. Those with wait block it, at most timeout_ns
 * (negative: for ever, 0: only look): -ETIMEDOUT, -EDEADLK on a worker, -EOWNERDEAD on a worker in
 * a child of fork(2). Awaits may suspend and have the errors of all awaits; a job that is cancelled
 * gets -ECANCELED at once, also where it would not have to wait. Who waits is served first come,
 * first served, jobs and threads alike (for mutexes see there); what has been handed to a waiter is
 * his, cancelled or late as he may be, and he gets 0. Nothing allocates but for stacks, and where
 * nobody waits nothing enters the kernel. What was written before an unlock, a post or a put is
 * seen after the lock, the wait or the take that it makes possible.
 *
 * The memory may go when nobody waits and nobody will call any more. A call's last touch comes
 * before it wakes anybody: whoever alone waits for an event or a semaphore may free it as soon as
 * he has been served, though the post has not returned. */

/* One job at a time; it may wait meanwhile. It belongs to the job that has locked it, which alone
 * may unlock it; debug builds abort if it does not, or locks it twice. All zero is unlocked. Who
 * waits longest is woken when it is unlocked, but who runs may be faster, once: a waiter that has
 * been overtaken is handed the mutex by the next unlock.
 *
 *                | with await_lock, try_lock | with unlock | with a cancel of who waits
 *   await_lock   | yes                       | yes         | yes: one of 0 and -ECANCELED
 *   unlock       | yes                       | no          | yes
 *   init, freeing| no                        | no          | no
 */
struct skua_mutex {
        uint64_t word_;
        void *waiters_[2];
        void *owner_; /* debug builds */
        uint64_t reserved_[4];
};
SKUA_API void skua_mutex_init(struct skua_mutex *m);
SKUA_API int skua_await_lock(struct skua_worker *self, struct skua_mutex *m);
SKUA_API int skua_await_lock_until(struct skua_worker *self, struct skua_mutex *m,
                                   int64_t deadline_ns);
SKUA_API bool skua_try_lock(struct skua_worker *self, struct skua_mutex *m); /* false: locked */
SKUA_API void skua_unlock(struct skua_worker *self, struct skua_mutex *m);

/* Says once that something has happened: a post wakes the one that has waited longest or, if nobody
 * waits, is remembered for the next one that comes; further ones until then are not counted. (For a
 * state that lets everybody pass from some moment on, let them wait for a group with one hold.) All
 * zero is not set.
 *
 *                     | with await, wait, try | with post | with a cancel of who waits
 *   await, wait, try  | yes, one gets it      | yes       | yes: it is not lost
 *   post              | yes                   | yes       | yes
 *   init, freeing     | no                    | no        | no
 */
struct skua_event {
        uint64_t word_;
        void *waiters_[2];
        uint64_t reserved_[5];
};
SKUA_API void skua_event_init(struct skua_event *e);
SKUA_API int skua_await_event(struct skua_worker *self, struct skua_event *e);
SKUA_API int skua_await_event_until(struct skua_worker *self, struct skua_event *e,
                                    int64_t deadline_ns);
SKUA_API bool skua_try_event(struct skua_event *e); /* true: it was set, and is not any more */
SKUA_API int skua_wait_event(struct skua_event *e, int64_t timeout_ns);
SKUA_API void skua_event_post(struct skua_event *e); /* async-signal-safe; does not block */

/* Counts what there is of something: a post adds one, an await takes one or waits for it. Up to
 * 2^32 - 1 at the begin, 2^60 later. All zero has none. As for events, who may call what beside
 * whom; post is not for signal handlers. */
struct skua_semaphore {
        uint64_t word_;
        void *waiters_[2];
        uint64_t reserved_[5];
};
SKUA_API void skua_semaphore_init(struct skua_semaphore *s, unsigned count);
SKUA_API int skua_await_semaphore(struct skua_worker *self, struct skua_semaphore *s);
SKUA_API int skua_await_semaphore_until(struct skua_worker *self, struct skua_semaphore *s,
                                        int64_t deadline_ns);
SKUA_API bool skua_try_semaphore(struct skua_semaphore *s);
SKUA_API int skua_wait_semaphore(struct skua_semaphore *s, int64_t timeout_ns);
SKUA_API void skua_semaphore_post(struct skua_semaphore *s); /* does not block */

/* A queue of items of one size, from any number of jobs and threads to any number, in order. Items
 * are copied into and out of slots, which are the caller's memory, and whoever waits has his place
 * in the order, too. With no slots each put waits for its take.
 *
 *          | with put               | with take           | with close
 *   put    | yes                    | yes                 | yes: 0 or -EPIPE
 *   take   | yes                    | yes, one gets it    | yes: what was put, then -EPIPE
 *   close  | yes                    | yes                 | yes
 *   freeing| no                     | no                  | no
 */
struct skua_channel {
        uint32_t lock_, closed_;
        char *slots_;
        size_t slot_bytes_, slot_count_, ring_bytes_;
        size_t oldest_, next_, used_;
        void *takers_[2], *putters_[2];
        uint64_t reserved_[4];
};

/* `slots`: slot_bytes * slot_count bytes, the channel's until its end. -EINVAL: c is NULL, no
 * bytes, slots without memory, or too many. */
SKUA_API int skua_channel_init(struct skua_channel *c, void *slots, size_t slot_bytes,
                               size_t slot_count);

/* Put copies slot_bytes from *item, take to *item, which the caller keeps until the call returns.
 * -EPIPE: put, it is closed; take, it is closed and empty. After any error no item has moved. */
SKUA_API int skua_await_put(struct skua_worker *self, struct skua_channel *c, const void *item);
SKUA_API int skua_await_put_until(struct skua_worker *self, struct skua_channel *c,
                                  const void *item, int64_t deadline_ns);
SKUA_API int skua_await_take(struct skua_worker *self, struct skua_channel *c, void *item);
SKUA_API int skua_await_take_until(struct skua_worker *self, struct skua_channel *c, void *item,
                                   int64_t deadline_ns);
SKUA_API int skua_try_put(struct skua_channel *c, const void *item); /* -EAGAIN: it is full */
SKUA_API int skua_try_take(struct skua_channel *c, void *item);      /* -EAGAIN: it is empty */
SKUA_API int skua_wait_put(struct skua_channel *c, const void *item, int64_t timeout_ns);
SKUA_API int skua_wait_take(struct skua_channel *c, void *item, int64_t timeout_ns);

/* Nothing more can be put: puts, those that wait too, get -EPIPE. What is in it can be taken. Any
 * thread; again: nothing happens. */
SKUA_API void skua_channel_close(struct skua_channel *c);

enum skua_what { SKUA_PUT = 1, SKUA_TAKE = 2 };
enum { SKUA_SELECT_MAX = 64 };

/* What a select waits for. */
struct skua_case {
        struct skua_channel *channel; /* NULL: never ready */
        void *item;                   /* read by a put, written by a take, as above */
        int what;                     /* SKUA_PUT, SKUA_TAKE */
        int result;                   /* of the case that was done: 0 or -EPIPE */
        void *reserved_[7];           /* for the library while it waits */
};

/* Does one of the cases, exactly once, and returns its index: one that is ready, chosen at random,
 * or the first that becomes so. A closed channel is ready, with the result -EPIPE. Otherwise none
 * has been done: -ETIMEDOUT at deadline_ns (0: none), -EINVAL (unknown what, more than
 * SKUA_SELECT_MAX), or an error of all awaits. One channel may stand in several cases; a put and a
 * take of the same call do not meet. Without cases it waits for the deadline. */
SKUA_API int skua_await_select(struct skua_worker *self, struct skua_case *cases, size_t count,
                               int64_t deadline_ns);

/* ---------------------------------------------------------------- other event sources */

/* A queue of completions that is not the kernel's: RDMA, DPDK, MPI. Workers that have nothing to do
 * poll it, and busy ones now and then; one at a time, also while a job waits in a join. Asleep, one
 * worker watches it. It lives in the caller's memory until it is removed. A drain does not wait for
 * what it has not delivered; a stop removes it.
 *
 *            | with add           | with remove        | with poll, arm
 *   add      | yes, of another    | yes, of another    | yes, of another
 *   remove   | yes, of another    | yes: one -ENOENT   | yes, waits for them; not from them
 *   freeing  | no                 | when it has returned, or stop has
 */
struct skua_source {
        size_t size; /* sizeof(struct skua_source) */
        /* Takes up to `max` completions, spawning jobs for them; returns how many, or an error,
         * which removes the source. On a worker, but not in a job: it may spawn and submit, not
         * wait or fork. It takes away what has made fd readable, unless arm does. */
        int (*poll)(struct skua_worker *self, struct skua_source *s, unsigned max);
        /* Before a worker sleeps: makes fd readable at the next completion. Returns 1 if something
         * came meanwhile, 0, or an error, which removes it. NULL: nothing to be armed. */
        int (*arm)(struct skua_worker *self, struct skua_source *s);
        int fd;               /* readable when there is something, or -1 */
        int64_t max_sleep_ns; /* polled at least so often; 0: fd alone tells */
        unsigned worker;      /* SKUA_WORKER(i): polled there alone; 0: anywhere */
        void *reserved[8];
};
#define SKUA_SOURCE_INIT                                    \
        {                                                   \
                sizeof(struct skua_source), 0, 0, -1, 0, 0, \
                {                                           \
                        0                                   \
                }                                           \
        }

/* Outside or from jobs; blocks shortly. -EINVAL (no poll, or neither fd nor max_sleep_ns, worker
 * out of range), -EEXIST (it, or its fd, is there already), -EAGAIN (64 are there), -ESHUTDOWN, the
 * errors of epoll_create1(2) and of adding fd with epoll_ctl(2). After remove has returned, poll
 * and arm are not running and will not be called, and fd may be closed; not from within them:
 * -EDEADLK. -ENOENT: not there. */
SKUA_API int skua_source_add(struct skua *rt, struct skua_source *s);
SKUA_API int skua_source_remove(struct skua *rt, struct skua_source *s);

/* Answers for a thread that has an event loop of its own: jobs posted from anywhere are run there,
 * with self == NULL, when it calls run. It lives in the caller's memory. No call allocates.
 *
 *           | with post           | with run            | with fini
 *   post    | yes                 | yes, also from jobs | no, but those whose jobs have been run
 *   run     | yes                 | no                  | no
 *   fd      | yes                 | yes                 | no
 */
struct skua_inbox {
        void *head_;
        struct skua_job *ready_;
        int fd_;
        uint32_t writers_;
        uint32_t reserved_[4];
};
SKUA_API int skua_inbox_init(struct skua_inbox *in); /* -EMFILE, -ENFILE, -ENOMEM */

/* For poll, epoll or another ring: readable while there may be something. Not to be read. */
SKUA_API int skua_inbox_fd(const struct skua_inbox *in);

/* Any thread, also jobs. In order per poster; the inbox's thread is woken at most once until it
 * runs them. Does not block, and enters the kernel only for the first one. */
SKUA_API void skua_inbox_post(struct skua_inbox *in, struct skua_job *job);

/* Calls up to `max` of the jobs that are there; how many. If some are left, fd stays readable. One
 * thread at a time. A job may be freed or posted anew by its function. */
SKUA_API size_t skua_inbox_run(struct skua_inbox *in, size_t max);

/* -EBUSY: jobs are there. Not beside run nor from its jobs, and when nobody will post any more:
 * calls whose jobs have been run need not have returned, it waits for their last steps. */
SKUA_API int skua_inbox_fini(struct skua_inbox *in);

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
        uint64_t completions;   /* of I/O, reaped by it; timers that it has expired */
        uint32_t running;       /* 1: not parked */
        uint32_t replaced;      /* not built yet: 0 */
};

/* How I/O is done here. Known from the first operation on. Rings of one runtime are alike unless
 * the system refuses a later one; the figure is that of the last one made. */
enum skua_ring_path {
        SKUA_RING_UNUSED = 0, /* no operation yet */
        SKUA_RING_URING = 1,  /* io_uring */
        SKUA_RING_EPOLL = 2 /* epoll and blocking threads, because of ring_error or SKUA_NO_RING */
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
        uint64_t blocking_threads;         /* of the blocking pool, now */
        uint64_t blocking_queued;          /* jobs and calls that wait for one of them, now */
        uint64_t queue_ns_sum, run_ns_sum; /* not built yet: 0 */
        uint32_t ring_path;                /* enum skua_ring_path */
        int32_t ring_error;                /* negative errno that kept io_uring away, or 0 */
        uint64_t stacks;        /* with the workers now: running, waiting, and a few at hand */
        uint64_t stacks_most;   /* so many there have been at once */
        uint64_t stacks_beyond; /* taken beyond stack_max, ever */
};

/* Errors: -EINVAL (NULL, size too small, index out of range), -EOWNERDEAD. */
SKUA_API int skua_stats_read(struct skua *rt, struct skua_stats *out);
SKUA_API int skua_stats_worker(struct skua *rt, unsigned index, struct skua_worker_stats *out);

#ifdef __cplusplus
}
#endif

#include "skua_fork.h"

#endif
