/* SPDX-License-Identifier: MIT
 *
 * Contestant: Skua. Jobs are submitted one by one, as a program does that has one at a time; the
 * computations are those of bench/common/forked.c.
 *
 * A job of Skua's is the caller's memory and is prepared once, then submitted as often as wanted.
 * Here it shares the line with the peer_job, whose function moves to the end of it meanwhile. That
 * happens in the first submission, hence is timed.
 */
#include <skua.h>

#include "peer.h"
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

typedef void run_fn(struct peer_job *job);

union line {
        struct peer_job peer;
        struct skua_job skua;
};

/* The last word of a skua_job is reserved, and unused by the version that is built with this. */
_Static_assert(offsetof(struct skua_job, reserved_) == offsetof(struct peer_job, space[6]) &&
                       sizeof(union line) == sizeof(struct peer_job),
               "the function fits into the last word");

static void check(int error, const char *call)
{
        if (error == 0)
                return;
        fprintf(stderr, "%s: %s\n", call, strerror(-error));
        exit(1);
}

static void *start(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;

        options.workers = workers;
        check(skua_start(&rt, &options), "skua_start");
        return rt;
}

static void stop(void *pool)
{
        check(skua_stop(pool, SKUA_DRAIN), "skua_stop");
}

/* ---------------------------------------------------------------- jobs */

static void call(struct skua_worker *self, struct skua_job *job)
{
        union line *line = skua_container(job, union line, skua);

        (void)self;
        ((run_fn *)line->skua.reserved_)(&line->peer);
}

static struct skua_job *prepared(struct peer_job *job)
{
        union line *line = (union line *)job;

        if (line->skua.run_ != call) {
                run_fn *run = job->run;
                skua_job_init(&line->skua, call);
                line->skua.reserved_ = (uintptr_t)run;
        }
        return &line->skua;
}

static void submit(void *pool, struct peer_job *jobs, size_t count)
{
        int failed = 0;

        for (size_t i = 0; i < count; i++)
                failed |= skua_submit(pool, prepared(&jobs[i]));
        check(failed, "skua_submit");
}

static void spawn(void *pool, struct peer_job *jobs, size_t count)
{
        struct skua_worker *self = skua_self();

        (void)pool;
        for (size_t i = 0; i < count; i++)
                skua_spawn(self, prepared(&jobs[i]));
}

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self;
        (void)arg;
}

static void run(void *pool)
{
        check(skua_run(pool, nothing, NULL), "skua_run");
}

/* ---------------------------------------------------------------- fork and join */

struct computation {
        work_forked_fn *fn;
        int size;
        long value;
};

static void compute(struct skua_worker *self, void *arg)
{
        struct computation *c = arg;

        c->value = c->fn(self, c->size);
}

static long run_forked(void *pool, work_forked_fn *fn, int size)
{
        struct computation c = {fn, size, 0};

        check(skua_run(pool, compute, &c), "skua_run");
        return c.value;
}

static long run_fib(void *pool, int size)
{
        return run_forked(pool, fib_forked, size);
}

static long run_nqueens(void *pool, int size)
{
        return run_forked(pool, nqueens_forked, size);
}

static long run_skynet(void *pool, int size)
{
        return run_forked(pool, skynet_forked, size);
}

static long run_uts(void *pool, int size)
{
        return run_forked(pool, uts_forked, size);
}

static long run_matmul(void *pool, int size)
{
        return run_forked(pool, matmul_forked, size);
}

static const struct peer skua = {
        .name = "Skua",
        .version = TEXT(SKUA_VERSION_MAJOR) "." TEXT(SKUA_VERSION_MINOR) "." TEXT(
                SKUA_VERSION_PATCH),
        .start = start,
        .stop = stop,
        .submit = submit,
        .spawn = spawn,
        .run = run,
        .work = {run_fib, run_nqueens, run_skynet, run_uts, run_matmul},
};

int main(int argc, char **argv)
{
        return peer_main(&skua, argc, argv);
}
