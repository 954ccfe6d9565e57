/* SPDX-License-Identifier: MIT
 *
 * What callgrind counts for tests/bench/instructions.t: each series does an operation a few times
 * and many times, collects only what belongs to it, and dumps under "name count". The difference of
 * the two over the difference of the counts is the operation's price.
 *
 * The same instructions run every time: one thread works while the others are kept asleep, on one
 * CPU of one node, and the clock is a counter of the calling thread, so that no decision depends on
 * how fast valgrind is.
 */
#include <semaphore.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else /* compiles, and counts nothing */
#define CALLGRIND_TOGGLE_COLLECT       (void)0
#define CALLGRIND_DUMP_STATS_AT(label) (void)(label)
#endif

#include "core/crew.h"
#include "core/deque.h"
#include "core/worker.h"

enum { JOBS_MAX = 1000, WORKERS_MAX = 2 };

static struct skua *rt;
static struct gatekeeper keepers[WORKERS_MAX];
static struct skua_job jobs[JOBS_MAX];
static unsigned operations, left;
static sem_t finished;

/* In place of libc's. 100 ns a look: a turn of a worker is a short one, a spin ends soon. */
int clock_gettime(clockid_t id, struct timespec *now)
{
        static _Thread_local long ns;

        (void)id;
        ns += 100;
        *now = (struct timespec){ns / 1000000000, ns % 1000000000};
        return 0;
}

static void fail(const char *what)
{
        fprintf(stderr, "count: %s\n", what);
        exit(1);
}

/* ------------------------------------------------------------------ the stage */

static void nothing(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
}

/* A runtime whose last `keep_count` workers are kept in a job. The jobs do nothing yet. */
static void set_up(unsigned workers, unsigned keep_count)
{
        rt = rig_start(workers, NULL);
        for (unsigned i = workers - keep_count; i < workers; i++)
                keep(rt, &keepers[i], i);
        for (unsigned i = 0; i < JOBS_MAX; i++)
                skua_job_init(&jobs[i], nothing);
}

static void clear(void)
{
        for (unsigned i = 0; i < WORKERS_MAX; i++)
                let_go(&keepers[i]); /* once more does no harm */
        rig_stop(rt);
}

/* Calls fn on worker 0, beside workers - 1 that are kept. */
static void on_worker(unsigned workers, void (*fn)(struct skua_worker *self, void *arg))
{
        set_up(workers, workers - 1);
        if (skua_run(rt, fn, NULL))
                fail("skua_run");
        clear();
}

/* ------------------------------------------------------------------ jobs */

/* The worker's turns since it started, and whether its next fork looks for thieves, depend on when
 * it slept and what woke it. From here on they do not. */
static void as_new(struct skua_worker *self)
{
        struct worker *w = worker_of(self);
        struct skua_job job;

        w->budget = w->budget_full;
        w->fair_turn = 0;
        w->pauses = 0;
        skua_fork(self, &job, nothing);
        if (!skua_join(self, &job))
                fail("a fork has gone");
}

static void first(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        as_new(self);
        CALLGRIND_TOGGLE_COLLECT;
}

static void last(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        CALLGRIND_TOGGLE_COLLECT;
        sem_post(&finished);
}

/* What is between the first and the last of `operations` + 1 jobs is collected. */
static void mark(void)
{
        jobs[0].run_ = first;
        jobs[operations].run_ = last;
}

/* Where the order is not that of the submissions: the last of them is who finds itself to be it. */
static void counted(struct skua_worker *self, struct skua_job *job)
{
        if (--left == 0)
                last(self, job);
}

/* ------------------------------------------------------------------ fork and join, not stolen */

static void pair_all(struct skua_worker *self, void *arg)
{
        struct skua_job job;
        unsigned lost = 0;

        (void)arg;
        as_new(self);
        CALLGRIND_TOGGLE_COLLECT;
        for (unsigned i = 0; i < operations; i++) {
                skua_fork(self, &job, nothing);
                lost += !skua_join(self, &job);
        }
        CALLGRIND_TOGGLE_COLLECT;
        if (lost)
                fail("a fork has gone");
}

static void fork_join(void)
{
        on_worker(1, pair_all);
}

struct fib {
        struct skua_job job;
        int n;
        long value;
};

static long fib(struct skua_worker *self, int n);

static void fib_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct fib *f = skua_container(job, struct fib, job);

        f->value = fib(self, f->n);
}

static long fib(struct skua_worker *self, int n)
{
        struct fib f;

        if (n < 2)
                return n;
        f.n = n - 2;
        skua_fork(self, &f.job, fib_stolen);
        long a = fib(self, n - 1);
        long b = skua_join(self, &f.job) ? fib(self, n - 2) : f.value;
        return a + b;
}

static __attribute__((noinline)) long plain(int n)
{
        return n < 2 ? n : plain(n - 1) + plain(n - 2);
}

/* Forks of fib(n): its calls that are no leaves, in number fib(n + 1) - 1. */
static int fib_size(void)
{
        int n = 2;

        while (plain(n + 1) - 1 < (long)operations)
                n++;
        if (plain(n + 1) - 1 != (long)operations)
                fail("no fib has so many forks");
        return n;
}

static void fib_run(struct skua_worker *self, void *arg)
{
        int n = fib_size();

        (void)arg;
        as_new(self);
        CALLGRIND_TOGGLE_COLLECT;
        long value = fib(self, n);
        CALLGRIND_TOGGLE_COLLECT;
        if (value != plain(n))
                fail("fib");
}

static void fib_forked(void)
{
        on_worker(1, fib_run);
}

static void fib_plain(void)
{
        int n = fib_size();

        CALLGRIND_TOGGLE_COLLECT;
        volatile long value = plain(n);
        CALLGRIND_TOGGLE_COLLECT;
        (void)value;
}

/* ------------------------------------------------------------------ published forks */

/* One thread plays the owner and, with the thieves' functions, the thief. */
enum part { PUBLISH, STEAL, JOIN_STOLEN, TAKE_BACK };
static enum part part;

static void toggle_for(enum part which)
{
        if (part == which)
                CALLGRIND_TOGGLE_COLLECT;
}

static void join_all(struct skua_worker *self, unsigned count, bool stolen)
{
        unsigned wrong = 0;

        for (unsigned i = count; i--;)
                wrong += skua_join(self, &jobs[i]) == stolen;
        if (wrong)
                fail("a fork went to the wrong one");
}

static void steal_all(struct worker *w)
{
        toggle_for(STEAL);
        for (unsigned i = 0; i < operations; i++)
                if (!deque_steal(w))
                        fail("nothing to steal");
        toggle_for(STEAL);
        for (unsigned i = 0; i < operations; i++)
                fork_done(&jobs[i]);
}

static void publish_all(struct skua_worker *self, void *arg)
{
        (void)arg;
        as_new(self);
        for (unsigned i = 0; i < operations; i++)
                skua_fork(self, &jobs[i], nothing);
        toggle_for(PUBLISH);
        deque_detach(worker_of(self));
        toggle_for(PUBLISH);
        if (part != TAKE_BACK)
                steal_all(worker_of(self));
        toggle_for(JOIN_STOLEN);
        toggle_for(TAKE_BACK);
        join_all(self, operations, part != TAKE_BACK);
        toggle_for(TAKE_BACK);
        toggle_for(JOIN_STOLEN);
}

static void published(enum part which)
{
        part = which;
        on_worker(2, publish_all);
}

static void fork_publish(void)
{
        published(PUBLISH);
}

static void fork_steal(void)
{
        published(STEAL);
}

static void join_stolen(void)
{
        published(JOIN_STOLEN);
}

static void join_published(void)
{
        published(TAKE_BACK);
}

/* ------------------------------------------------------------------ a thief at work */

/* Worker 1 gets everything from worker 0, which sleeps in its job. */
static void rob_forks(struct skua_worker *self, void *arg)
{
        (void)arg;
        as_new(self);
        mark();
        for (unsigned i = 0; i <= operations; i++)
                skua_fork(self, &jobs[i], jobs[i].run_);
        deque_detach(worker_of(self));
        let_go(&keepers[1]);
        sem_wait(&finished);
        join_all(self, operations + 1, true);
}

static void thief_of_forks(void)
{
        on_worker(2, rob_forks);
}

static void rob_jobs(struct skua_worker *self, void *arg)
{
        (void)arg;
        as_new(self);
        mark();
        for (unsigned i = 0; i <= operations; i++)
                skua_spawn(self, &jobs[i]);
        let_go(&keepers[1]);
        sem_wait(&finished);
}

static void thief_of_jobs(void)
{
        on_worker(2, rob_jobs);
}

/* ------------------------------------------------------------------ from outside */

static void submit(void)
{
        int error = 0;

        set_up(1, 1);
        CALLGRIND_TOGGLE_COLLECT;
        for (unsigned i = 0; i < operations; i++)
                error |= skua_submit(rt, &jobs[i]);
        CALLGRIND_TOGGLE_COLLECT;
        if (error)
                fail("skua_submit");
        clear();
}

static void submit_array(void)
{
        set_up(1, 1);
        CALLGRIND_TOGGLE_COLLECT;
        ssize_t count = skua_submit_array(rt, jobs, operations, sizeof *jobs, NULL);
        CALLGRIND_TOGGLE_COLLECT;
        if (count != (ssize_t)operations)
                fail("skua_submit_array");
        clear();
}

/* To a worker that sleeps in the kernel; the price of looking away and back is its base. */
static void submit_wake(void)
{
        const struct word32 *state;

        set_up(1, 0);
        state = &runtime_of(rt)->gates[0].state;
        for (unsigned i = 0; i < operations; i++) {
                do
                        rig_until_idle(rt, 1);
                while (load_acquire_u32(state) != GATE_PARKED);
                CALLGRIND_TOGGLE_COLLECT;
                int error = skua_submit(rt, &jobs[i]);
                CALLGRIND_TOGGLE_COLLECT;
                if (error)
                        fail("skua_submit");
        }
        clear();
}

static void toggles(void)
{
        for (unsigned i = 0; i < operations; i++) {
                CALLGRIND_TOGGLE_COLLECT;
                CALLGRIND_TOGGLE_COLLECT;
        }
}

/* One worker takes batches of what has been submitted while all were kept. */
static void run_batches(unsigned workers)
{
        set_up(workers, workers);
        mark();
        if (skua_submit_array(rt, jobs, operations + 1, sizeof *jobs, NULL) < 0)
                fail("skua_submit_array");
        let_go(&keepers[0]);
        sem_wait(&finished);
        clear();
}

static void run_submitted(void)
{
        run_batches(2);
}

static void run_submitted_alone(void)
{
        run_batches(1);
}

/* ------------------------------------------------------------------ from inside */

static void spawn_all(struct skua_worker *self, struct skua_job *job)
{
        first(self, job);
        for (unsigned i = 0; i < operations; i++)
                skua_spawn(self, &jobs[i]);
}

/* The spawning job is not waited for: its end would be dear only if the waiter slept already. */
static void spawn_on(unsigned workers)
{
        struct skua_job spawner;

        set_up(workers, workers - 1);
        for (unsigned i = 0; i < operations; i++)
                jobs[i].run_ = counted;
        left = operations;
        skua_job_init(&spawner, spawn_all);
        if (skua_submit(rt, &spawner))
                fail("skua_submit");
        sem_wait(&finished);
        clear();
}

static void spawn_run(void)
{
        spawn_on(2);
}

static void spawn_run_alone(void)
{
        spawn_on(1);
}

/* ------------------------------------------------------------------ waiting */

static void yield_all(struct skua_worker *self, void *arg)
{
        (void)arg;
        as_new(self);
        CALLGRIND_TOGGLE_COLLECT;
        for (unsigned i = 0; i < operations; i++)
                skua_await_yield(self);
        CALLGRIND_TOGGLE_COLLECT;
}

/* Nobody else is ready: all of a yield but the switch. */
static void yield(void)
{
        on_worker(1, yield_all);
}

static void await_all(struct skua_worker *self, void *arg)
{
        struct skua_group group;

        (void)arg;
        skua_group_init(&group);
        as_new(self);
        CALLGRIND_TOGGLE_COLLECT;
        for (unsigned i = 0; i < operations; i++)
                if (skua_await_group(self, &group))
                        fail("skua_await_group");
        CALLGRIND_TOGGLE_COLLECT;
}

static void await_ready(void)
{
        on_worker(1, await_all);
}

/* ------------------------------------------------------------------ all of them */

struct series {
        const char *name; /* "x base": what x does besides; its price is taken off that of x */
        void (*measure)(void);
        unsigned few, many;
};

/* Batches are of 64 jobs, every 61st turn of a worker is the fair one, each time with another of
 * four sources first: the counts that workers run are multiples of what makes them alike. */
static const struct series all[] = {
        {"fork-join", fork_join, 100, 900},
        {"fork-join-fib", fib_forked, 376, 4180},
        {"fork-join-fib base", fib_plain, 376, 4180},
        {"fork-publish", fork_publish, 100, 900},
        {"fork-steal", fork_steal, 100, 900},
        {"fork-thief", thief_of_forks, 244, 976},
        {"join-stolen", join_stolen, 100, 900},
        {"join-published", join_published, 100, 900},
        {"submit", submit, 100, 900},
        {"submit-array", submit_array, 100, 900},
        {"submit-wake", submit_wake, 20, 100},
        {"submit-wake base", toggles, 20, 100},
        {"run-submitted", run_submitted, 64, 960},
        {"run-submitted-alone", run_submitted_alone, 64, 960},
        {"spawn-run", spawn_run, 244, 976},
        {"spawn-run-alone", spawn_run_alone, 244, 976},
        {"spawn-thief", thief_of_jobs, 244, 976},
        {"yield", yield, 244, 976},
        {"await-ready", await_ready, 100, 900},
};

static void measure(const struct series *series, unsigned count, const char *name)
{
        char label[64];

        operations = count;
        series->measure();
        snprintf(label, sizeof label, "%s %u", name, count);
        CALLGRIND_DUMP_STATS_AT(label);
}

static void use_one_cpu(void)
{
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(sched_getcpu(), &cpus);
        if (sched_setaffinity(0, sizeof cpus, &cpus))
                fail("sched_setaffinity");
}

int main(void)
{
        use_one_cpu();
        sem_init(&finished, 0, 0);
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
                /* What happens only once in a process, as names that are bound late, is not the
                 * price of anything. */
                measure(&all[i], all[i].few, "warm-up");
                measure(&all[i], all[i].few, all[i].name);
                measure(&all[i], all[i].many, all[i].name);
        }
        return 0;
}
