/* SPDX-License-Identifier: MIT
 *
 * What does Skua add to an operation of I/O? NOPs, so many in flight, each prepared anew when it
 * has completed; the floor is a loop written by hand on a ring with the same flags. The second
 * quantity is system calls per operation: those of Skua are counted on their way to libc.
 */
/* link: -luring -Wl,--wrap=io_uring_enter2 -Wl,--wrap=syscall */
#include "engine.h"

#include <liburing.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

enum { OPERATIONS = 400000, DEPTH_MAX = 32, ENTRIES = 256, SUBMITS = 100000 };

/* ---------------------------------------------------------------- counting */

static _Atomic uint64_t call_count;

int __real_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *set, size_t bytes);
int __wrap_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *set, size_t bytes);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

int __wrap_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *set, size_t bytes)
{
        atomic_fetch_add_explicit(&call_count, 1, memory_order_relaxed);
        return __real_io_uring_enter2(fd, submit, wait, flags, set, bytes);
}

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
        atomic_fetch_add_explicit(&call_count, 1, memory_order_relaxed);
        return __real_syscall(number, a, b, c, d, e, f);
}

/* ---------------------------------------------------------------- round trips */

/* Touched by one completion after the other: more than one in flight only on one worker. */
static struct {
        struct skua_io operations[DEPTH_MAX];
        struct skua_group group;
        unsigned depth, left, flight;
        uint64_t calls;
        int64_t begin_ns, end_ns;
} trip;

static unsigned operations(void)
{
        return bench.quick ? OPERATIONS / 20 : OPERATIONS;
}

static void done(struct skua_worker *self, struct skua_job *job)
{
        if (trip.left > 0) {
                trip.left--;
                io_uring_prep_nop(
                        skua_io_prepare(self, skua_container(job, struct skua_io, job), done));
                return;
        }
        if (--trip.flight > 0)
                return;
        trip.end_ns = bench_now_ns();
        trip.calls = atomic_load(&call_count) - trip.calls;
        skua_group_release(&trip.group, 0);
}

static void begin(struct skua_worker *self, void *arg)
{
        (void)arg;
        trip.calls = atomic_load(&call_count);
        trip.begin_ns = bench_now_ns();
        trip.flight = trip.depth;
        trip.left = operations() - trip.depth;
        for (unsigned i = 0; i < trip.depth; i++)
                io_uring_prep_nop(skua_io_prepare(self, &trip.operations[i], done));
}

static void skua(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);
        struct skua_stats stats = {.size = sizeof stats};

        trip.depth = *(const unsigned *)c->what;
        skua_group_init(&trip.group);
        skua_group_hold(&trip.group, 1);
        if (skua_run(rt, begin, NULL) != 0 || skua_group_wait(&trip.group, -1) != 0)
                bench_wrong("no operations");
        if (skua_stats_read(rt, &stats) != 0 || stats.ring_path != SKUA_RING_URING)
                bench_wrong("no io_uring");
        skua_stop(rt, SKUA_DRAIN);
        bench_add(r, (double)(trip.end_ns - trip.begin_ns) / operations());
        bench_extra(r, "calls each", (double)trip.calls / operations());
}

static void by_hand(struct io_uring *ring, unsigned depth, struct bench_result *r)
{
        unsigned left = operations(), flight = 0, calls = 0, head;
        struct io_uring_cqe *cqe;
        int64_t start = bench_now_ns();

        for (; flight < depth; flight++, left--)
                io_uring_prep_nop(io_uring_get_sqe(ring));
        while (flight > 0) {
                unsigned seen = 0;
                io_uring_submit_and_wait(ring, 1);
                calls++;
                io_uring_for_each_cqe(ring, head, cqe)
                {
                        seen++;
                        if (left > 0) {
                                left--;
                                io_uring_prep_nop(io_uring_get_sqe(ring));
                        } else {
                                flight--;
                        }
                }
                io_uring_cq_advance(ring, seen);
        }
        bench_add(r, (double)(bench_now_ns() - start) / operations());
        bench_extra(r, "calls each", (double)calls / operations());
}

static void raw(const struct bench_contestant *c, struct bench_result *r)
{
        struct io_uring_params params = {0};
        struct io_uring ring;

        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
        params.cq_entries = 4096;
        if (io_uring_queue_init_params(ENTRIES, &ring, &params) != 0 ||
            io_uring_register_ring_fd(&ring) != 1) {
                bench_wrong("no ring");
                return;
        }
        by_hand(&ring, *(const unsigned *)c->what, r);
        io_uring_queue_exit(&ring);
}

static void ask(unsigned depth)
{
        struct bench_contestant list[] = {
                {"liburing by hand", BENCH_BASELINE, raw, &depth, 1, 0},
                {"skua, one worker", BENCH_SKUA, skua, &depth, 1, 0},
                {"skua, two workers", BENCH_SKUA, skua, &depth, 2, 0},
        };
        size_t count = depth == 1 ? 3 : 2;
        char question[48];

        snprintf(question, sizeof question, "NOP, %u in flight", depth);
        if (!bench_wanted(question))
                return;
        bench_measure(question, "ns", list, count);
        for (size_t i = 1; i < count; i++)
                bench_note(list[i].result, "%.2f of the floor",
                           bench_median(list[i].result) / bench_median(list[0].result));
        bench_print();
}

/* ---------------------------------------------------------------- waking the awake */

static _Atomic bool awake, enough;

static void stay_awake(struct skua_worker *self, struct skua_job *job)
{
        if (skua_io_reserve(self, 1) != 0)
                bench_wrong("no ring");
        atomic_store(&awake, true);
        while (!atomic_load(&enough))
                bench_pause();
        (void)job;
}

static void nothing(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
}

/* From outside to the only worker, which has a ring and a job that lasts. */
static void submit_awake(const struct bench_contestant *c, struct bench_result *r)
{
        unsigned n = bench.quick ? SUBMITS / 20 : SUBMITS;
        static struct skua_job *jobs; /* bench_memory() is for ever */
        struct skua_job busy;
        struct skua *rt = engine_start_skua(c->workers);

        if (!jobs)
                jobs = bench_memory(SUBMITS * sizeof *jobs);
        atomic_store(&awake, false);
        atomic_store(&enough, false);
        skua_job_init(&busy, stay_awake);
        skua_submit(rt, &busy);
        while (!atomic_load(&awake))
                bench_sleep_ns(100000);
        uint64_t calls = atomic_load(&call_count);
        int64_t start = bench_now_ns();
        for (unsigned i = 0; i < n; i++) {
                skua_job_init(&jobs[i], nothing);
                skua_submit(rt, &jobs[i]);
        }
        bench_add(r, (double)(bench_now_ns() - start) / n);
        bench_extra(r, "calls each", (double)(atomic_load(&call_count) - calls) / n);
        atomic_store(&enough, true);
        skua_stop(rt, SKUA_DRAIN);
}

int main(int argc, char **argv)
{
        struct bench_contestant awake_list[] = {
                {"skua, one worker", BENCH_SKUA, submit_awake, NULL, 1, 0},
        };

        bench_begin(argc, argv, "what does Skua add to an operation of I/O?");
        ask(1);
        ask(16);
        ask(DEPTH_MAX);
        if (bench_wanted("submit to an awake worker with a ring"))
                bench_measure("submit to an awake worker with a ring", "ns", awake_list, 1);
        return bench_end();
}
