/* SPDX-License-Identifier: MIT
 *
 * A pool of bench/baseline as a contestant: its main(), given BASELINE_POOL, BASELINE_NAME and
 * BASELINE_SLOWER. Included by yardstick.c and mutex.c; shown for reference, not as peers.
 */
#include "peer.h"
#include "pool.h"

/* A peer_job begins as a pool_job does, so that the pool takes it as it is. */
_Static_assert(offsetof(struct pool_job, run) == offsetof(struct peer_job, run) &&
                       offsetof(struct pool_job, next) == offsetof(struct peer_job, space),
               "a pool_job is the beginning of a peer_job");

static void *start(unsigned workers)
{
        return BASELINE_POOL.start(workers, false);
}

static void stop(void *pool)
{
        BASELINE_POOL.stop(pool);
}

static void submit(void *pool, struct peer_job *jobs, size_t count)
{
        BASELINE_POOL.submit_many(pool, jobs, count, sizeof *jobs);
}

static void nothing(struct pool_job *job)
{
        (void)job;
}

static void run(void *pool)
{
        BASELINE_POOL.run(pool, nothing);
}

static const struct peer baseline = {
        .name = BASELINE_NAME,
        .version = "(bench/baseline)",
        .start = start,
        .stop = stop,
        .submit = submit,
        .spawn = submit,
        .run = run,
        .no_work = "a job that waits for another blocks its thread",
        .slower = BASELINE_SLOWER,
};

int main(int argc, char **argv)
{
        return peer_main(&baseline, argc, argv);
}
