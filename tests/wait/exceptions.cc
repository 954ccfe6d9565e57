/* SPDX-License-Identifier: MIT
 *
 * C++ exceptions and jobs that wait: in a handler, in a destructor on the way to one, and nested.
 * The jobs of one worker are in each other's way at every step unless each stack has its own state.
 * Prints TAP itself.
 */
#include <atomic>
#include <cstdio>
#include <exception>
#include <memory>
#include <sched.h>
#include <string>
#include <vector>

#include "skua.h"

namespace
{
constexpr int JOBS = 24;
constexpr int ROUNDS = 20;
int run = 0, failed = 0;
std::atomic<int> wrong{0}, alive{0};

void ok(bool passed, const char *name)
{
        run++;
        failed += !passed;
        std::printf("%sok %d - %s\n", passed ? "" : "not ", run, name);
}

/* Counts how many there are: one that is freed too early or never would show. */
struct trouble {
        int who;

        explicit trouble(int number) : who(number)
        {
                alive++;
        }
        trouble(const trouble &other) : who(other.who)
        {
                alive++;
        }
        ~trouble()
        {
                who = -1;
                alive--;
        }
};

/* The number in the exception that this stack handles, as the language's own state knows it. */
int handled()
{
        try {
                throw;
        } catch (const trouble &t) {
                return t.who;
        }
}

/* All jobs wait at it, then all go on; those that wait have let the others run. */
struct gate {
        skua_group group;
        std::atomic<int> arrived{0};

        gate()
        {
                skua_group_init(&group);
                skua_group_hold(&group, 1);
        }
        void pass(skua_worker *self)
        {
                arrived++;
                wrong += skua_await_group(self, &group) != 0;
        }
};

struct gates {
        gate first, second, third, fourth;
};

/* Waits on the way from a throw to its handler. */
struct waits_at_the_end {
        skua_worker *self;
        gate *at;

        ~waits_at_the_end()
        {
                wrong += std::uncaught_exceptions() != 1;
                at->pass(self);
                wrong += std::uncaught_exceptions() != 1;
        }
};

struct handler {
        skua_job job{};
        gates *at = nullptr;
        int number = 0;

        void nested(skua_worker *self)
        {
                try {
                        throw trouble(number + 1000);
                } catch (const trouble &inner) {
                        at->second.pass(self);
                        wrong += inner.who != number + 1000 || handled() != number + 1000;
                        throw; /* this one, and no other job's */
                }
        }
        void unwinding(skua_worker *self)
        {
                waits_at_the_end w{self, &at->third};

                throw trouble(number + 2000);
        }
        void play(skua_worker *self)
        {
                wrong += std::current_exception() != nullptr || std::uncaught_exceptions() != 0;
                try {
                        throw trouble(number);
                } catch (const trouble &outer) {
                        at->first.pass(self);
                        wrong += outer.who != number || handled() != number;
                        try {
                                nested(self);
                                wrong++;
                        } catch (const trouble &t) {
                                wrong += t.who != number + 1000;
                        }
                        try {
                                unwinding(self);
                                wrong++;
                        } catch (const trouble &t) {
                                wrong += t.who != number + 2000;
                        }
                        at->fourth.pass(self);
                        wrong += outer.who != number || handled() != number;
                }
                wrong += std::current_exception() != nullptr || std::uncaught_exceptions() != 0;
        }
        static void entered(skua_worker *self, skua_job *job)
        {
                skua_container(job, handler, job)->play(self);
        }
};

void until_suspended(skua *rt, unsigned count)
{
        skua_stats stats{};

        do {
                sched_yield();
                stats.size = sizeof stats;
                wrong += skua_stats_read(rt, &stats) != 0;
        } while (stats.suspended != count);
}

void play(skua *rt)
{
        gates all_gates;
        std::vector<handler> jobs(JOBS);
        skua_group all;

        skua_group_init(&all);
        for (int i = 0; i < JOBS; i++) {
                jobs[i].at = &all_gates;
                jobs[i].number = i;
                skua_job_init(&jobs[i].job, &handler::entered);
                wrong += skua_group_submit(rt, &all, &jobs[i].job) != 0;
        }
        for (gate *g : {&all_gates.first, &all_gates.second, &all_gates.third, &all_gates.fourth}) {
                while (g->arrived != JOBS)
                        sched_yield();
                until_suspended(rt, JOBS);
                skua_group_release(&g->group, 0);
        }
        wrong += skua_group_wait(&all, -1) != 0;
}
} // namespace

int main()
{
        std::printf("1..4\n");
        for (unsigned workers = 1; workers <= 4; workers *= 2) {
                skua_options options = SKUA_OPTIONS_INIT;
                skua *rt = nullptr;

                options.workers = workers;
                wrong += skua_start(&rt, &options) != 0;
                for (int i = 0; i < ROUNDS; i++)
                        play(rt);
                wrong += skua_stop(rt, SKUA_DRAIN) != 0;
                ok(wrong == 0, "each stack has its own exceptions, handled and on their way");
                wrong = 0;
        }
        ok(alive == 0, "and each has been freed, once");
        return failed || run != 4;
}
