/* SPDX-License-Identifier: MIT
 *
 * The header as C++17 sees it: jobs in classes, groups, fork and join, loops. Prints TAP itself.
 */
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "skua.h"

namespace
{
int run = 0, failed = 0;

void ok(bool passed, const char *name)
{
        run++;
        failed += !passed;
        std::printf("%sok %d - %s\n", passed ? "" : "not ", run, name);
}

struct counted {
        skua_job job{};
        std::atomic<int> *count = nullptr;

        explicit counted(std::atomic<int> *at) : count(at)
        {
                skua_job_init(&job, &counted::entered);
        }
        static void entered(skua_worker *self, skua_job *job)
        {
                auto *me = skua_container(job, counted, job);

                if (skua_runtime(self))
                        me->count->fetch_add(1);
        }
};

long fib(skua_worker *self, int n);

struct fork_fib {
        skua_job job;
        int n;
        long value;

        static void stolen(skua_worker *self, skua_job *job)
        {
                auto *me = skua_container(job, fork_fib, job);

                me->value = fib(self, me->n);
        }
};

long fib(skua_worker *self, int n)
{
        if (n < 2)
                return n;
        fork_fib f;
        f.n = n - 2;
        skua_fork(self, &f.job, fork_fib::stolen);
        const long a = fib(self, n - 1);
        return a + (skua_join(self, &f.job) ? fib(self, n - 2) : f.value);
}

void jobs(skua *rt)
{
        std::atomic<int> count{0};
        std::vector<std::unique_ptr<counted>> all;
        skua_group group;
        int wrong = 0;

        skua_group_init(&group);
        for (int i = 0; i < 1000; i++) {
                all.push_back(std::make_unique<counted>(&count));
                wrong += skua_group_submit(rt, &group, &all.back()->job) != 0;
        }
        ok(skua_group_wait(&group, -1) == 0 && !wrong, "jobs in a group");
        ok(count == 1000, "each has run");

        skua_target where = SKUA_TARGET_INIT;
        where.worker = SKUA_WORKER(0);
        where.group = &group;
        ok(skua_submit_to(rt, &all[0]->job, &where) == 0, "a target");
        ok(skua_group_wait(&group, -1) == 0 && count == 1001, "hit");
}

void calls(skua *rt)
{
        static std::atomic<int> posted{0};
        long result = 0;
        const int value = 5;

        ok(skua_run(
                   rt,
                   [](skua_worker *self, void *arg) { *static_cast<long *>(arg) = fib(self, 20); },
                   &result) == 0,
           "a lambda without captures");
        ok(result == 6765, "forks and joins");
        ok(skua_run(
                   rt, [](skua_worker *self, void *) { skua_fail(self, -ENOENT); }, nullptr) ==
                   -ENOENT,
           "an error");
        ok(skua_post(
                   rt, [](skua_worker *, void *arg) { posted.fetch_add(*static_cast<int *>(arg)); },
                   &value, sizeof value) == 0,
           "a copy");
        while (posted != 5)
                sched_yield();
        ok(true, "arrives");
}

void loops(skua *rt)
{
        std::vector<int> marks(100000);
        skua_reduction sum{};
        struct input {
                const std::vector<int> *marks;
                skua_reduction *sum;
                long total;
        } in{&marks, &sum, -1};

        ok(skua_run_for(
                   rt, 0, marks.size(), 0,
                   [](skua_worker *, std::size_t begin, std::size_t end, void *arg) {
                           for (; begin < end; begin++)
                                   static_cast<int *>(arg)[begin]++;
                   },
                   marks.data()) == 0,
           "a loop");
        sum.acc_bytes = sizeof(long);
        sum.arg = &in;
        sum.body = [](skua_worker *, std::size_t begin, std::size_t end, void *acc, void *arg) {
                for (; begin < end; begin++)
                        *static_cast<long *>(acc) += (*static_cast<input *>(arg)->marks)[begin];
        };
        sum.combine = [](void *acc, const void *other, void *) {
                *static_cast<long *>(acc) += *static_cast<const long *>(other);
        };
        ok(skua_run(
                   rt,
                   [](skua_worker *self, void *arg) {
                           auto *i = static_cast<input *>(arg);

                           skua_fail(self,
                                     skua_reduce(self, 0, i->marks->size(), 0, i->sum, &i->total));
                   },
                   &in) == 0,
           "a sum");
        ok(in.total == static_cast<long>(marks.size()), "over each index once");
}
} // namespace

int main()
{
        static_assert(sizeof(skua_job) == 64, "one line");
        static_assert(std::is_trivially_copyable<skua_group>::value, "plain");
        skua_options options = SKUA_OPTIONS_INIT;
        skua *rt = nullptr;

        std::printf("1..15\n");
        options.workers = 3;
        options.name = "cxx";
        ok(skua_start(&rt, &options) == 0, "start");
        jobs(rt);
        calls(rt);
        loops(rt);
        skua_stats stats{};
        stats.size = sizeof stats;
        ok(skua_stats_read(rt, &stats) == 0 && stats.submitted > 1000, "figures");
        ok(skua_stop(rt, SKUA_DRAIN) == 0, "stop");
        return failed || run != 15;
}
