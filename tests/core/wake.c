/* SPDX-License-Identifier: MIT
 *
 * Parking and waking: who submits one job to sleepers wakes one of them, and no wake-up is ever
 * lost. A lost one shows as the watchdog's report.
 */
#include "core/crew.h"

enum { CHECKS = 25, BURST = 100 };

struct reply {
        struct skua_job job;
        struct tally *tally;
        unsigned spawns;
};

static void reply_run(struct skua_worker *self, struct skua_job *job)
{
        struct reply *reply = skua_container(job, struct reply, job);

        if (reply->spawns) {
                reply->spawns--;
                skua_spawn(self, job);
        }
        tally_add(reply->tally, 1);
}

static void reply_init(struct reply *reply, struct tally *tally, unsigned spawns)
{
        skua_job_init(&reply->job, reply_run);
        reply->tally = tally;
        reply->spawns = spawns;
}

static struct skua *start_spinning(unsigned workers, unsigned spin_ns)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.spin_ns = spin_ns;
        return rig_start(workers, &options);
}

/* Whoever wakes has to sleep again: so many more sleeps, so many wake-ups. */
static void check_lone(unsigned workers, unsigned spin_ns, unsigned spawns, const char *name)
{
        struct skua *rt = start_spinning(workers, spin_ns);
        unsigned rounds = rig_rounds(1000), wrong = 0;
        struct tally tally = {0};
        struct reply reply;
        uint64_t before, after;

        wait_parked(rt);
        before = parks_of(rt);
        for (unsigned i = 0; i < rounds; i++) {
                reply_init(&reply, &tally, spawns);
                wrong += skua_submit(rt, &reply.job) != 0;
                tally_wait(&tally, (i + 1) * (1 + spawns));
                wait_parked(rt);
                after = parks_of(rt);
                wrong += after != before + i + 1;
        }
        tap_ok(!wrong, "%s: one of %u wakes", name, workers);
        rig_stop(rt);
}

/* To one that sleeps: it wakes, the others do not. */
static void check_targeted(void)
{
        enum { WORKERS = 4 };
        struct skua *rt = rig_start(WORKERS, NULL);
        unsigned rounds = rig_rounds(1000), wrong = 0;
        struct tally tally = {0};
        struct reply reply;

        wait_parked(rt);
        for (unsigned i = 0; i < rounds; i++) {
                struct skua_worker_stats before[WORKERS], after[WORKERS];
                struct skua_target where = SKUA_TARGET_INIT;

                for (unsigned k = 0; k < WORKERS; k++) {
                        before[k].size = after[k].size = sizeof *before;
                        skua_stats_worker(rt, k, &before[k]);
                }
                where.worker = SKUA_WORKER(i % WORKERS);
                reply_init(&reply, &tally, 0);
                wrong += skua_submit_to(rt, &reply.job, &where) != 0;
                tally_wait(&tally, i + 1);
                wait_parked(rt);
                for (unsigned k = 0; k < WORKERS; k++) {
                        skua_stats_worker(rt, k, &after[k]);
                        wrong += after[k].parks != before[k].parks + (k == i % WORKERS);
                        wrong += after[k].run != before[k].run + (k == i % WORKERS);
                }
        }
        tap_is(wrong, 0, "a job for one worker wakes that one");
        rig_stop(rt);
}

/* From a sleeping main thread to sleeping workers and back. */
static void check_ping_pong(unsigned workers, unsigned spin_ns)
{
        struct skua *rt = start_spinning(workers, spin_ns);
        unsigned rounds = rig_rounds(20000), wrong = 0;
        struct tally tally = {0};
        struct reply reply;

        for (unsigned i = 0; i < rounds; i++) {
                reply_init(&reply, &tally, 0);
                wrong += skua_submit(rt, &reply.job) != 0;
                tally_wait(&tally, i + 1);
        }
        tap_ok(!wrong, "there and back, %u workers, spinning %s", workers,
               spin_ns == 1000000 ? "long"
               : spin_ns          ? "never"
                                  : "as usual");
        rig_stop(rt);
}

/* Several at it at once, each with its own counter; nobody polls. */
struct player {
        struct skua *rt;
        struct tally tally;
        unsigned rounds, index;
};

static void *play(void *arg)
{
        struct player *player = arg;
        struct skua_target where = SKUA_TARGET_INIT;
        struct reply reply;

        for (unsigned i = 0; i < player->rounds; i++) {
                unsigned spawns = i % 3;

                reply_init(&reply, &player->tally, spawns);
                where.worker = i % 5 ? 0
                                     : SKUA_WORKER((i + player->index) % skua_workers(player->rt));
                if (skua_submit_to(player->rt, &reply.job, &where))
                        return arg;
                tally_wait(&player->tally, i / 3 * 6 + i % 3 * (i % 3 + 1) / 2 + 1 + spawns);
        }
        return NULL;
}

static void check_players(unsigned workers, unsigned count)
{
        static struct player players[4];
        struct skua *rt = start_spinning(workers, (unsigned)SKUA_NONE);
        pthread_t threads[4];
        unsigned wrong = 0;

        memset(players, 0, sizeof players);
        for (unsigned i = 0; i < count; i++) {
                players[i].rt = rt;
                players[i].rounds = rig_rounds(6000);
                players[i].index = i;
                threads[i] = go(play, &players[i]);
        }
        for (unsigned i = 0; i < count; i++)
                wrong += join(threads[i]) != NULL;
        tap_ok(!wrong, "%u threads, %u workers that never spin", count, workers);
        rig_stop(rt);
}

/* Jobs that come all at once, to sleepers, as an array and one by one. */
static void check_bursts(unsigned workers, unsigned spin_ns)
{
        struct skua *rt = start_spinning(workers, spin_ns);
        unsigned rounds = rig_rounds(400), wrong = 0;
        struct tally tally = {0};
        struct reply replies[BURST];

        for (unsigned i = 0; i < rounds; i++) {
                for (unsigned k = 0; k < BURST; k++)
                        reply_init(&replies[k], &tally, 0);
                if (i & 1)
                        wrong += skua_submit_array(rt, replies, BURST, sizeof *replies, NULL) !=
                                 BURST;
                for (unsigned k = 0; !(i & 1) && k < BURST; k++)
                        wrong += skua_submit(rt, &replies[k].job) != 0;
                tally_wait(&tally, (i + 1) * BURST);
                if (i % 4 < 2)
                        wait_parked(rt);
        }
        tap_ok(!wrong, "bursts to %u workers", workers);
        rig_stop(rt);
}

/* One submission must, by and by, wake all whom its work can feed: each job waits for the others,
 * so that all workers are needed at once. */
struct meeting {
        struct tally present;
        unsigned expected;
};

struct guest {
        struct skua_job job;
        struct meeting *meeting;
        struct tally *left;
};

static void guest_run(struct skua_worker *self, struct skua_job *job)
{
        struct guest *guest = skua_container(job, struct guest, job);
        struct tally *left = guest->left;

        (void)self;
        tally_add(&guest->meeting->present, 1);
        tally_wait(&guest->meeting->present, guest->meeting->expected);
        tally_add(left, 1);
}

static void invite(struct skua_worker *self, struct skua_job *job)
{
        struct guest *guests = skua_container(job, struct guest, job);

        for (unsigned i = 1; i < guests->meeting->expected; i++)
                skua_spawn(self, &guests[i].job);
        guest_run(self, job);
}

static void check_meeting(unsigned workers, unsigned how, const char *name)
{
        struct skua *rt = start_spinning(workers, how & 1 ? (unsigned)SKUA_NONE : 0);
        unsigned rounds = rig_rounds(300), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct meeting meeting = {.expected = workers};
                struct guest guests[8];
                struct tally left = {0};

                if (i % 3)
                        wait_parked(rt);
                for (unsigned k = 0; k < workers; k++) {
                        skua_job_init(&guests[k].job, guest_run);
                        guests[k].meeting = &meeting;
                        guests[k].left = &left;
                }
                if (how & 2) {
                        guests->job.run_ = invite;
                        wrong += skua_submit(rt, &guests->job) != 0;
                } else {
                        wrong += skua_submit_array(rt, guests, workers, sizeof *guests, NULL) !=
                                 (ssize_t)workers;
                }
                tally_wait(&left, workers);
        }
        tap_ok(!wrong, "%s: %u workers meet", name, workers);
        rig_stop(rt);
}

int main(void)
{
        tap_plan(CHECKS, 90);
        check_lone(8, 0, 0, "a lone submission");
        check_lone(8, (unsigned)SKUA_NONE, 0, "a lone submission, nobody spins");
        check_lone(2, 0, 0, "a lone submission");
        check_targeted();
        for (unsigned workers = 1; workers <= 8; workers *= workers > 1 ? 4 : 2) {
                check_ping_pong(workers, (unsigned)SKUA_NONE);
                check_ping_pong(workers, 0);
                check_players(workers, 3);
                check_bursts(workers, 0);
                check_bursts(workers, (unsigned)SKUA_NONE);
        }
        check_ping_pong(2, 1000000);
        check_meeting(4, 0, "an array");
        check_meeting(8, 1, "an array, nobody spins");
        check_meeting(4, 2, "spawned by one");
        check_meeting(8, 3, "spawned by one, nobody spins");
        check_meeting(2, 3, "spawned by one, nobody spins");
        return tap_done();
}
