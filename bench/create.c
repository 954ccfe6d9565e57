/* SPDX-License-Identifier: MIT
 *
 * How long does it take to create a runtime and run its first job, and to stop it? For 2 and 64
 * workers, beside pools of as many threads.
 */
#include "engine.h"

#include <stdio.h>

enum { REPEATS_FEW = 100, REPEATS_MANY = 10 }; /* per turn */

static struct bench_result *stop_rows[3]; /* beside the contestants' own rows: create */

static unsigned index_of(const struct engine *e)
{
        return e == &engine_ring ? 0 : e == &engine_mutex ? 1 : 2;
}

static void create(const struct bench_contestant *c, struct bench_result *r)
{
        const struct engine *e = c->what;
        unsigned repeats = c->workers > 8 ? REPEATS_MANY : REPEATS_FEW;

        for (unsigned i = 0; i < (bench.quick ? repeats / 5 : repeats); i++) {
                int64_t start = bench_now_ns();
                void *handle = e->start(e, c->workers);
                e->run(e, handle);
                int64_t running = bench_now_ns();
                bench_sleep_ns(500000);
                int64_t stopping = bench_now_ns();
                e->stop(e, handle);
                bench_add(r, (double)(running - start) / 1e3);
                bench_add(stop_rows[index_of(e)], (double)(bench_now_ns() - stopping) / 1e3);
        }
}

static void ask(unsigned workers)
{
        static const struct engine *const engines[] = {&engine_ring, &engine_mutex, &engine_skua};
        struct bench_contestant list[3];
        char question[48];

        snprintf(question, sizeof question, "stop, w%u", workers);
        for (unsigned i = 0; i < 3; i++) {
                const struct engine *e = engines[i];
                list[i] = (struct bench_contestant){e->name, e->side, create, e, workers, NULL};
                stop_rows[i] = bench_row(question, e->name, e->side, "us");
        }
        snprintf(question, sizeof question, "create + first job, w%u", workers);
        bench_measure(question, "us", list, 3);
        bench_print();
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, "how long to create a runtime and run a job, and to stop it?");
        ask(2);
        ask(64);
        return bench_end();
}
