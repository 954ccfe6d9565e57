/* SPDX-License-Identifier: MIT
 *
 * What does the join of a stolen job cost, beyond the time of the thief? Two workers; the owner
 * forks a child and waits in user code until the thief has begun.
 *
 * "latency": nothing else to do. From the thief's last instruction to the return of the join,
 * beside a bare flag that the owner polls (the floor: one cache line between two cores), and beside
 * the join inside skua_isolated(), which waits on the same frames. With a child of 5 us the worker
 * is still searching, with one of 100 us it has parked: a wake-up of the kernel's is in it.
 *
 * "busy": the worker has other work, one job of 8 us, while the child takes 4 us. Join to return,
 * less the time inside the other job: suspend, take the other job, resume. No core waits for the
 * other here, so this is what suspending itself costs. The floor is a plain call of the other job
 * with the same clock reads.
 *
 * "await": one worker; a job spawns another and awaits it: spawn, suspend, run, resume.
 */
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { JOINS = 500, BUSY_CHILD_NS = 4000, BUSY_OTHER_NS = 8000, AWAITS = 2000 };

struct child {
        struct skua_job job;
        _Atomic bool begun, done;
        int64_t spin_ns, end_ns;
        _Atomic unsigned runs;
};

static void child_run(struct skua_worker *self, struct skua_job *job)
{
        struct child *c = skua_container(job, struct child, job);

        (void)self;
        atomic_fetch_add_explicit(&c->runs, 1, memory_order_relaxed);
        atomic_store_explicit(&c->begun, true, memory_order_release);
        bench_spin_ns(c->spin_ns);
        c->end_ns = bench_now_ns();
        atomic_store_explicit(&c->done, true, memory_order_release);
}

/* Returns when the child runs elsewhere. */
static void fork_child(struct skua_worker *self, struct child *c, int64_t spin_ns)
{
        atomic_init(&c->begun, false);
        atomic_init(&c->done, false);
        atomic_init(&c->runs, 0);
        c->spin_ns = spin_ns;
        skua_fork(self, &c->job, child_run);
        while (!atomic_load_explicit(&c->begun, memory_order_acquire))
                ;
}

static void join_child(struct skua_worker *self, struct child *c)
{
        if (skua_join(self, &c->job))
                bench_wrong("a job that another worker has run was left to the join");
        if (atomic_load(&c->runs) != 1)
                bench_wrong("a stolen job ran %u times", atomic_load(&c->runs));
}

/* ---------------------------------------------------------------- latency */

enum how { BY_FLAG, BY_JOIN, BY_ISOLATED };

static struct {
        enum how how;
        int64_t spin_ns;
        struct bench_result *result;
} latency_call;

static void latency_loop(struct skua_worker *self, void *arg)
{
        unsigned joins = bench.quick ? JOINS / 10 : JOINS;
        struct child c;

        (void)arg;
        for (unsigned i = 0; i < joins; i++) {
                int64_t end;
                fork_child(self, &c, latency_call.spin_ns);
                if (latency_call.how == BY_FLAG) {
                        while (!atomic_load_explicit(&c.done, memory_order_acquire))
                                ;
                        end = bench_now_ns();
                        join_child(self, &c);
                } else {
                        join_child(self, &c);
                        end = bench_now_ns();
                }
                bench_add(latency_call.result, (double)(end - c.end_ns));
        }
}

static void latency_isolated(struct skua_worker *self, void *arg)
{
        skua_isolated(self, latency_loop, arg);
}

static void run_on_two(void (*fn)(struct skua_worker *self, void *arg), unsigned workers)
{
        struct skua *rt = engine_start_skua(workers);
        int error = skua_run(rt, fn, NULL);

        if (error != 0)
                bench_wrong("skua_run: %s", strerror(-error));
        skua_stop(rt, SKUA_DRAIN);
}

static int64_t latency_spin_ns; /* of the question that is being measured */

static void latency(const struct bench_contestant *c, struct bench_result *r)
{
        latency_call.how = *(const enum how *)c->what;
        latency_call.spin_ns = latency_spin_ns;
        latency_call.result = r;
        run_on_two(latency_call.how == BY_ISOLATED ? latency_isolated : latency_loop, 2);
}

static void ask_latency(const char *question, int64_t spin_ns)
{
        static const enum how hows[] = {BY_FLAG, BY_ISOLATED, BY_JOIN};
        struct bench_contestant list[] = {
                {"polled flag (floor)", BENCH_BASELINE, latency, &hows[0], 2, NULL},
                {"skua, isolated", BENCH_SKUA, latency, &hows[1], 2, NULL},
                {"skua", BENCH_SKUA, latency, &hows[2], 2, NULL},
        };

        if (!bench_wanted(question))
                return;
        latency_spin_ns = spin_ns;
        bench_measure(question, "ns", list, 3);
        bench_note(list[2].result, "%+.0f ns to the floor",
                   bench_median(list[2].result) - bench_median(list[0].result));
        bench_print();
}

/* ---------------------------------------------------------------- busy */

struct other {
        struct skua_job job;
        int64_t begin_ns;
        _Atomic int64_t end_ns; /* 0: has not ended yet */
};

static void other_run(struct skua_worker *self, struct skua_job *job)
{
        struct other *o = skua_container(job, struct other, job);

        (void)self;
        o->begin_ns = bench_now_ns();
        bench_spin_ns(BUSY_OTHER_NS);
        atomic_store(&o->end_ns, bench_now_ns());
}

static bool busy_by_join;
static struct bench_result *busy_result;

/* The floor: the other job is called instead of spawned, and the child's end is not in the time. */
static int64_t busy_called(struct skua_worker *self, struct child *c, struct other *o)
{
        int64_t start = bench_now_ns();

        other_run(self, &o->job);
        int64_t ns = bench_now_ns() - start;
        join_child(self, c);
        return ns - (o->end_ns - o->begin_ns);
}

/* The other job is spawned while the only other worker is inside the child: it stays here. If it
 * has run elsewhere or later all the same, the result is negative. */
static int64_t busy_joined(struct skua_worker *self, struct child *c, struct other *o)
{
        skua_spawn(self, &o->job);
        int64_t start = bench_now_ns();
        join_child(self, c);
        int64_t end = bench_now_ns();
        int64_t other_end = atomic_load(&o->end_ns);

        while (atomic_load(&o->end_ns) == 0) /* it is in use until then; the thief takes it */
                ;
        if (other_end == 0 || other_end > end || o->begin_ns < start)
                return -1;
        return end - start - (other_end - o->begin_ns);
}

static void busy_loop(struct skua_worker *self, void *arg)
{
        unsigned joins = bench.quick ? JOINS / 10 : JOINS, elsewhere = 0;
        struct child c;
        struct other o;

        (void)arg;
        skua_job_init(&o.job, other_run);
        for (unsigned i = 0; i < joins; i++) {
                atomic_init(&o.end_ns, 0);
                fork_child(self, &c, BUSY_CHILD_NS);
                int64_t ns = busy_by_join ? busy_joined(self, &c, &o) : busy_called(self, &c, &o);
                if (ns >= 0)
                        bench_add(busy_result, (double)ns);
                else
                        elsewhere++;
        }
        if (elsewhere > joins / 10)
                bench_remark("%u of %u other jobs ran elsewhere: left out", elsewhere, joins);
}

static void busy(const struct bench_contestant *c, struct bench_result *r)
{
        busy_by_join = c->side == BENCH_SKUA;
        busy_result = r;
        run_on_two(busy_loop, 2);
}

static void ask_busy(void)
{
        struct bench_contestant list[] = {
                {"plain call (floor)", BENCH_BASELINE, busy, NULL, 2, NULL},
                {"skua", BENCH_SKUA, busy, NULL, 2, NULL},
        };

        if (!bench_wanted("stolen join, busy"))
                return;
        bench_measure("stolen join, busy", "ns", list, 2);
        bench_note(list[1].result, "%+.0f ns to the floor",
                   bench_median(list[1].result) - bench_median(list[0].result));
        bench_print();
}

/* ---------------------------------------------------------------- await on one worker */

static unsigned awaited_runs;

static void awaited(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        awaited_runs++;
}

static struct bench_result *await_result;

static void await_loop(struct skua_worker *self, void *arg)
{
        unsigned awaits = bench.quick ? AWAITS / 10 : AWAITS;
        struct skua_group group;
        struct skua_job job;
        int64_t start = bench_now_ns();

        (void)arg;
        awaited_runs = 0;
        skua_group_init(&group);
        skua_job_init(&job, awaited);
        for (unsigned i = 0; i < awaits; i++) {
                skua_group_spawn(self, &group, &job);
                if (skua_await_group(self, &group) != 0)
                        bench_wrong("skua_await_group failed");
        }
        bench_add(await_result, (double)(bench_now_ns() - start) / awaits);
        if (awaited_runs != awaits)
                bench_wrong("%u jobs of %u ran", awaited_runs, awaits);
}

static void await_one(const struct bench_contestant *c, struct bench_result *r)
{
        await_result = r;
        for (int i = 0; i < 10; i++)
                run_on_two(await_loop, c->workers);
}

static void ask_await(void)
{
        struct bench_contestant skua = {"skua", BENCH_SKUA, await_one, NULL, 1, NULL};

        if (bench_wanted("spawn and await, w1"))
                bench_measure("spawn and await, w1", "ns", &skua, 1);
        bench_print();
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, "what does the join of a stolen job cost?");
        if (bench_cpus() < 2)
                bench_remark("one CPU: the thief's time is in every figure");
        ask_latency("stolen join, child 5 us", 5000);
        ask_latency("stolen join, child 100 us", 100000);
        ask_busy();
        ask_await();
        return bench_end();
}
