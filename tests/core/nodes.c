/* SPDX-License-Identifier: MIT
 *
 * A machine of two nodes with a worker each, made up: what comes to one node and cannot be run
 * there is run by the other, and each node has its own bound.
 */
#include "core/item.h"
#include "core/worker.h"
#include "place/sandbox.h"

enum { CHECKS = 12, JOBS = 400 };

static const char two_nodes[] = "node0/cpulist: 0; node1/cpulist: 1; node0/distance: 10 20; "
                                "node1/distance: 20 10; sys/devices/system/cpu/online: 0-1";

/* The worker that lives on this node. */
static unsigned worker_of_node(struct skua *rt, unsigned node)
{
        return runtime_of(rt)->nodes[runtime_of(rt)->workers[0]->node_index].id == node ? 0 : 1;
}

static uint64_t stolen_remote(struct skua *rt, unsigned worker)
{
        struct skua_worker_stats stats = {.size = sizeof stats};

        skua_stats_worker(rt, worker, &stats);
        return stats.stolen_remote;
}

/* ------------------------------------------------------------------ jobs spawned on one node */

struct spawner {
        struct skua_job job;
        struct tally done;
        struct item items[JOBS];
};

/* Keeps its worker until all are done: the other node's must rob it. */
static void spawner_run(struct skua_worker *self, struct skua_job *job)
{
        struct spawner *s = skua_container(job, struct spawner, job);

        for (unsigned i = 0; i < JOBS; i++) {
                item_init(&s->items[i], &s->done, i);
                skua_spawn(self, &s->items[i].job);
        }
        tally_wait(&s->done, JOBS);
}

static void check_spawned(struct skua *rt)
{
        static struct spawner spawner;
        struct skua_target where = SKUA_TARGET_INIT;
        unsigned home = worker_of_node(rt, 0), wrong = 0;
        uint64_t before = stolen_remote(rt, !home);

        where.worker = SKUA_WORKER(home);
        skua_job_init(&spawner.job, spawner_run);
        skua_submit_to(rt, &spawner.job, &where);
        tally_wait(&spawner.done, JOBS);
        for (unsigned i = 0; i < JOBS; i++)
                wrong += spawner.items[i].node != 1;
        tap_is(wrong, 0, "jobs spawned on a busy node are run on the other");
        tap_is((long long)(stolen_remote(rt, !home) - before), JOBS, "each counted as stolen");
}

/* ------------------------------------------------------------------ forks */

struct forker {
        struct skua_job job, fork;
        struct tally done;
        unsigned node;
        bool mine;
};

static void fork_run(struct skua_worker *self, struct skua_job *job)
{
        struct forker *f = skua_container(job, struct forker, fork);

        f->node = skua_worker_node(self);
        tally_add(&f->done, 1);
}

static void idle_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
}

/* Forks until somebody has been hungry enough to take the first one. */
static void forker_run(struct skua_worker *self, struct skua_job *job)
{
        struct forker *f = skua_container(job, struct forker, job);

        skua_fork(self, &f->fork, fork_run);
        while (!tally_read(&f->done)) {
                struct skua_job more;

                skua_fork(self, &more, idle_run);
                sched_yield();
                skua_join(self, &more);
        }
        f->mine = skua_join(self, &f->fork);
        tally_add(&f->done, 1);
}

static void check_forked(struct skua *rt)
{
        static struct forker forker;
        struct skua_target where = SKUA_TARGET_INIT;

        where.worker = SKUA_WORKER(worker_of_node(rt, 0));
        skua_job_init(&forker.job, forker_run);
        skua_submit_to(rt, &forker.job, &where);
        tally_wait(&forker.done, 2);
        tap_ok(!forker.mine && forker.node == 1, "a fork is stolen from the other node");
}

/* ------------------------------------------------------------------ jobs for one node */

static void check_targeted(struct skua *rt)
{
        static struct item items[JOBS];
        static struct gatekeeper keeper; /* its job may be the last to know that it may go */
        struct skua_target where = SKUA_TARGET_INIT;
        struct tally done = {0};
        unsigned wrong = 0;

        keep(rt, &keeper, worker_of_node(rt, 1));
        where.node = SKUA_NODE(1);
        for (unsigned i = 0; i < JOBS; i++) {
                item_init(&items[i], &done, i);
                wrong += skua_submit_to(rt, &items[i].job, &where) != 0;
        }
        tally_wait(&done, JOBS);
        for (unsigned i = 0; i < JOBS; i++)
                wrong += items[i].node != 0;
        tap_is(wrong, 0, "jobs for a busy node are run on the other");
        let_go(&keeper);
}

static void check_bounds(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua_target where = SKUA_TARGET_INIT;
        struct gatekeeper keepers[2];
        struct item items[6];
        struct tally done = {0};
        struct skua *rt;

        options.queue_limit = 2;
        rt = rig_start(2, &options);
        keep(rt, &keepers[0], 0);
        keep(rt, &keepers[1], 1);
        for (unsigned i = 0; i < 6; i++)
                item_init(&items[i], &done, i);
        where.flags = SKUA_TRY;
        for (unsigned node = 0; node < 2; node++) {
                where.node = SKUA_NODE(node);
                tap_is(skua_submit_array(rt, &items[3 * node], 3, sizeof *items, &where), 2,
                       "each node has its own bound");
                tap_is(skua_submit_to(rt, &items[3 * node + 2].job, &where), -EAGAIN,
                       "which is met exactly");
        }
        where.node = SKUA_NODE(2);
        tap_is(skua_submit_to(rt, &items[5].job, &where), -EINVAL, "there is no third node");
        let_go(&keepers[0]);
        let_go(&keepers[1]);
        rig_stop(rt);
        tap_is(tally_read(&done), 4, "what was accepted is run");
}

int main(void)
{
        struct skua *rt;

        tap_plan(CHECKS, 60);
        setenv("SKUA_SYSROOT", tree_make("two", two_nodes), 1);
        rt = rig_start(2, NULL);
        tap_is((long long)runtime_of(rt)->node_count, 2, "two nodes");
        check_spawned(rt);
        check_forked(rt);
        check_targeted(rt);
        rig_stop(rt);
        check_bounds();
        setenv("SKUA_SYSROOT", "/nowhere/at/all", 1);
        tap_is(skua_advise(NULL, NULL), -ENOENT, "no machine to be read");
        return tap_done();
}
