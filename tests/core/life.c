/* SPDX-License-Identifier: MIT
 *
 * The life of a runtime: start and stop in every way, bad options, who may call what, what its
 * threads look like. Stops while others submit are in stop.c.
 */
#include <dirent.h>
#include <signal.h>

#include "core/crew.h"

enum { CHECKS = 113 };

struct task {
        struct skua_job job;
        struct tally *entered;
        atomic_uint *cancelled;
        unsigned left;
};

static void task_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *task = skua_container(job, struct task, job);
        struct tally *entered = task->entered;

        if (skua_cancelled(self) && task->cancelled)
                atomic_fetch_add(task->cancelled, 1);
        if (task->left) {
                task->left--;
                skua_spawn(self, job);
        }
        tally_add(entered, 1);
}

static void task_init(struct task *task, struct tally *entered, atomic_uint *cancelled,
                      unsigned left)
{
        skua_job_init(&task->job, task_run);
        task->entered = entered;
        task->cancelled = cancelled;
        task->left = left;
}

/* ------------------------------------------------------------------ start and stop */

static void check_often(void)
{
        enum { JOBS = 8 };
        unsigned rounds = rig_rounds(1000), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct skua *rt = rig_start(1 + i % 4, NULL);
                struct task tasks[JOBS];
                struct tally entered = {0};
                unsigned count = i % (JOBS + 1);

                for (unsigned k = 0; k < count; k++) {
                        task_init(&tasks[k], &entered, NULL, 1);
                        wrong += skua_submit(rt, &tasks[k].job) != 0;
                }
                wrong += skua_stop(rt, i % 5 ? SKUA_DRAIN : SKUA_CANCEL) != 0;
                wrong += tally_read(&entered) != 2 * count;
        }
        tap_is(wrong, 0, "a thousand times: nothing is lost, nothing comes twice");
}

static void check_crowd(void)
{
        unsigned count = rig_rounds(10000);
        struct task *tasks = calloc(count, sizeof *tasks);
        struct tally entered = {0};
        struct skua *rt = rig_start(64, NULL);

        tap_is(skua_workers(rt), 64, "64 workers");
        for (unsigned i = 0; i < count; i++) {
                task_init(&tasks[i], &entered, NULL, 3);
                skua_submit(rt, &tasks[i].job);
        }
        tally_wait(&entered, 4 * count);
        wait_parked(rt);
        tap_is(stats_of(rt).run, 4 * count, "each job once");
        rig_stop(rt);
        free(tasks);
}

/* ------------------------------------------------------------------ options */

static void on_stall(struct skua *rt, unsigned worker, const char *name, int64_t ns, void *user)
{
        (void)rt, (void)worker, (void)name, (void)ns, (void)user;
}

static void expect_start(const struct skua_options *options, int expected, const char *name)
{
        struct skua *rt = NULL;
        int result = skua_start(&rt, options);

        if (!result)
                skua_stop(rt, SKUA_DRAIN);
        tap_ok(result == expected && (result || rt) && (!result || !rt), "%s (%d)", name, result);
}

#define EXPECT(expected, ...)                              \
        do {                                               \
                struct skua_options o = SKUA_OPTIONS_INIT; \
                o.workers = 1;                             \
                __VA_ARGS__;                               \
                expect_start(&o, expected, #__VA_ARGS__);  \
        } while (0)

static void check_options(void)
{
        static cpu_set_t none, all;

        sched_getaffinity(0, sizeof all, &all);
        tap_is(skua_start(NULL, NULL), -EINVAL, "nowhere to write the handle");
        expect_start(NULL, 0, "no options: all defaults");
        EXPECT(0, o.workers = 0);
        EXPECT(0, o.workers = 2 * sysconf(_SC_NPROCESSORS_ONLN));
        EXPECT(-EINVAL, o.workers = (unsigned)SKUA_NONE);
        EXPECT(-EINVAL, o.workers = 1000000);
        EXPECT(-EINVAL, o.flags = SKUA_PIN | SKUA_NO_PIN);
        EXPECT(-EINVAL, o.flags = 1u << 31);
        EXPECT(-EINVAL, o.flags = SKUA_NO_RING | 1u << 6);
        EXPECT(0, o.flags = SKUA_PIN);
        EXPECT(0, o.flags = SKUA_NO_PIN);
        EXPECT(0, o.flags = SKUA_NO_RING);
        EXPECT(0, o.flags = SKUA_NO_KICK);
        EXPECT(-EOPNOTSUPP, o.flags = SKUA_TIME_JOBS);
        EXPECT(-EOPNOTSUPP, o.flags = SKUA_CATCH_FAULTS);
        EXPECT(-EINVAL, o.min_workers = 2);
        EXPECT(-EOPNOTSUPP, o.min_workers = 1);
        EXPECT(0, o.min_workers = SKUA_NONE);
        EXPECT(-EOPNOTSUPP, o.worker_idle_ms = 1);
        EXPECT(0, o.worker_idle_ms = SKUA_NONE);
        EXPECT(0, o.ring_entries = 64);
        EXPECT(0, o.ring_entries = SKUA_NONE);
        EXPECT(-EOPNOTSUPP, o.stall_ms = 10);
        EXPECT(0, o.stall_ms = SKUA_NONE);
        EXPECT(-EOPNOTSUPP, o.on_stall = on_stall);
        EXPECT(0, o.blocking_min = 1);
        EXPECT(0, o.blocking_min = 600);
        EXPECT(0, o.blocking_max = 1);
        EXPECT(-EINVAL, o.blocking_min = 2; o.blocking_max = 1);
        EXPECT(-EINVAL, o.blocking_min = 1; o.blocking_max = SKUA_NONE);
        EXPECT(-EINVAL, o.blocking_max = 32769);
        EXPECT(0, o.blocking_idle_ms = 1);
        EXPECT(0, o.blocking_queue_limit = 1);
        EXPECT(0, o.blocking_min = o.blocking_max = o.blocking_idle_ms = SKUA_NONE);
        EXPECT(0, o.blocking_queue_limit = SKUA_NONE);
        EXPECT(0, o.kick_signal = SIGRTMIN);
        EXPECT(0, o.kick_signal = SKUA_NONE);
        EXPECT(0, o.spin_ns = SKUA_NONE);
        EXPECT(0, o.spin_ns = 1);
        EXPECT(-EINVAL, o.spin_ns = 2000000000);
        EXPECT(-EINVAL, o.stack_bytes = 1);
        EXPECT(-EINVAL, o.stack_bytes = SIZE_MAX / 2);
        EXPECT(0, o.stack_bytes = 262144);
        EXPECT(0, o.stack_bytes = 262145);
        EXPECT(0, o.stack_max = 1);
        EXPECT(0, o.stack_max = (size_t)SKUA_NONE);
        EXPECT(0, o.queue_limit = 1);
        EXPECT(0, o.queue_limit = SIZE_MAX / 2);
        EXPECT(0, o.queue_limit = (size_t)SKUA_NONE);
        EXPECT(-EINVAL, o.cpus = &all);
        EXPECT(-EINVAL, o.cpus_size = sizeof all);
        EXPECT(-EINVAL, o.cpus = &none; o.cpus_size = sizeof none);
        EXPECT(0, o.cpus = &all; o.cpus_size = sizeof all);
        EXPECT(0, o.name = "");
        EXPECT(0, o.name = "a name that is much too long");
        EXPECT(-EINVAL, o.size = 0);
        EXPECT(-EINVAL, o.size = sizeof o - 1);
        EXPECT(-EINVAL, o.size = SIZE_MAX);
}

static void check_size(void)
{
        struct {
                struct skua_options options;
                char more[64];
        } later = {.options = SKUA_OPTIONS_INIT};

        later.options.workers = 1;
        later.options.size = sizeof later;
        expect_start(&later.options, 0, "a later version's options, its new fields zero");
        later.more[63] = 1;
        expect_start(&later.options, -EOPNOTSUPP, "one of them not");
        later.options.size = sizeof later - 1;
        expect_start(&later.options, 0, "beyond the size nothing is read");
}

/* ------------------------------------------------------------------ two who stop */

static void *drain_it(void *rt)
{
        return (void *)(intptr_t)skua_stop(rt, SKUA_DRAIN);
}

struct patient {
        struct skua_job job;
        struct tally entered, cancelled, leave;
};

static void patient_run(struct skua_worker *self, struct skua_job *job)
{
        struct patient *patient = skua_container(job, struct patient, job);

        tally_add(&patient->entered, 1);
        while (!skua_cancelled(self))
                sched_yield();
        tally_add(&patient->cancelled, 1);
        tally_wait(&patient->leave, 1);
}

static void check_twice(void)
{
        struct patient patient = {.entered = {0}};
        struct tally accepted = {0};
        struct task task;
        struct skua *rt = rig_start(2, NULL);
        pthread_t thread;

        skua_job_init(&patient.job, patient_run);
        task_init(&task, &accepted, NULL, 0);
        skua_submit(rt, &patient.job);
        tally_wait(&patient.entered, 1);
        tap_is(skua_stop(rt, (enum skua_stop_how)0), -EINVAL, "stop, but how?");
        tap_is(skua_stop(rt, (enum skua_stop_how)3), -EINVAL, "not both");
        tap_is(skua_stop_within(rt, -1), -EINVAL, "a negative grace");
        tap_is(skua_submit(rt, &task.job), 0, "it still runs");
        tally_wait(&accepted, 1);
        thread = go(drain_it, rt);
        wait_closed(rt, &task.job, &accepted);
        tap_is(skua_stop(rt, SKUA_DRAIN), -EALREADY, "somebody drains it already");
        tap_is(skua_stop_within(rt, 0), -EALREADY, "and this does not hurry him");
        tap_is(tally_read(&patient.cancelled), 0, "nothing is cancelled");
        tap_is(skua_stop(rt, SKUA_CANCEL), 0, "a drain is raised to a cancel");
        tally_wait(&patient.cancelled, 1);
        tap_is(skua_stop(rt, SKUA_CANCEL), -EALREADY, "once");
        tally_add(&patient.leave, 1);
        tap_is((intptr_t)join(thread), 0, "the one who drained has stopped it");
}

/* Of several who stop at once, one does. */
static void *stop_it(void *rt)
{
        return (void *)(intptr_t)skua_stop(rt, SKUA_CANCEL);
}

static void check_crowd_stops(void)
{
        enum { STOPPERS = 4 };
        unsigned rounds = rig_rounds(200), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct gatekeeper keeper;
                struct skua *rt = rig_start(1 + i % 3, NULL);
                pthread_t threads[STOPPERS];
                unsigned winners = 0;

                keep(rt, &keeper, 0);
                for (unsigned k = 0; k < STOPPERS; k++)
                        threads[k] = go(stop_it, rt);
                for (unsigned k = 0; k < STOPPERS; k++) {
                        intptr_t result;

                        /* All but one return while the runtime cannot end. */
                        if (k == STOPPERS - 1)
                                let_go(&keeper);
                        if (pthread_tryjoin_np(threads[k], (void **)&result) == EBUSY) {
                                if (k < STOPPERS - 1 && !winners) {
                                        /* Perhaps this is the one; it ends last. */
                                        pthread_t last = threads[STOPPERS - 1];

                                        threads[STOPPERS - 1] = threads[k];
                                        threads[k--] = last;
                                        sched_yield();
                                        continue;
                                }
                                result = (intptr_t)join(threads[k]);
                        }
                        winners += result == 0;
                        wrong += result != 0 && result != -EALREADY;
                }
                wrong += winners != 1;
        }
        tap_is(wrong, 0, "four who stop at once: one does, three are told");
}

/* ------------------------------------------------------------------ within a time */

struct flood {
        struct task first, tasks[10];
        struct tally entered;
        atomic_uint cancelled;
};

static void check_within(void)
{
        static struct flood flood;
        struct patient patient = {.entered = {0}, .leave = {.value = 1}};
        struct skua *rt = rig_start(1, NULL);

        tap_is(skua_stop_within(rt, 0), 0, "no time for an idle runtime");
        rt = rig_start(1, NULL);
        skua_job_init(&patient.job, patient_run);
        skua_submit(rt, &patient.job);
        for (unsigned i = 0; i < 10; i++) {
                task_init(&flood.tasks[i], &flood.entered, &flood.cancelled, 0);
                skua_submit(rt, &flood.tasks[i].job);
        }
        tally_wait(&patient.entered, 1);
        tap_is(skua_stop_within(rt, 0), 10, "no time: ten are cancelled, the running one is not");
        tap_ok(tally_read(&flood.entered) == 10 && atomic_load(&flood.cancelled) == 10,
               "and all were called");
}

static void *let_go_when_closed(void *arg)
{
        struct gatekeeper *keeper = arg;
        struct skua *rt = keeper->job.owner_;
        struct tally entered = {0};
        struct task task;

        task_init(&task, &entered, NULL, 0);
        wait_closed(rt, &task.job, &entered);
        let_go(keeper);
        return NULL;
}

/* However much time there is, also more than the clock can count. */
static void check_within_long(int64_t grace_ns, const char *name)
{
        static struct flood flood;
        struct gatekeeper keeper;
        struct skua *rt = rig_start(2, NULL);
        pthread_t thread;

        memset(&flood, 0, sizeof flood);
        keep(rt, &keeper, 0);
        keeper.job.owner_ = rt; /* ours again since its function was entered */
        task_init(&flood.first, &flood.entered, &flood.cancelled, 20);
        skua_submit(rt, &flood.first.job);
        for (unsigned i = 0; i < 10; i++) {
                struct skua_target where = SKUA_TARGET_INIT;

                where.worker = SKUA_WORKER(0);
                task_init(&flood.tasks[i], &flood.entered, &flood.cancelled, 20);
                skua_submit_to(rt, &flood.tasks[i].job, &where);
        }
        thread = go(let_go_when_closed, &keeper);
        tap_is(skua_stop_within(rt, grace_ns), 0, name);
        join(thread);
        tap_ok(tally_read(&flood.entered) == 11 * 21 && !atomic_load(&flood.cancelled),
               "all have run, none as cancelled");
}

/* ------------------------------------------------------------------ who may not stop */

struct inside {
        struct skua *rt, *other;
        int stop, within, run, wait, other_run, other_stop, close;
        struct skua_group *group;
        int ran;
        unsigned index;
};

static void note_ran(struct skua_worker *self, void *arg)
{
        struct inside *inside = arg;

        inside->ran += skua_runtime(self) == inside->other && skua_self() == self;
        skua_fail(self, -ENOENT);
}

static void try_inside(struct skua_worker *self, void *arg)
{
        struct inside *inside = arg;
        struct skua *third = rig_start(1, NULL);

        (void)self;
        inside->stop = skua_stop(inside->rt, SKUA_CANCEL);
        inside->within = skua_stop_within(inside->rt, 0);
        inside->run = skua_run(inside->rt, try_inside, arg);
        inside->wait = skua_group_wait(inside->group, -1);
        inside->other_run = skua_run(inside->other, note_ran, inside);
        inside->other_stop = skua_stop(third, SKUA_DRAIN);
}

static void check_inside(void)
{
        struct inside inside = {.rt = rig_start(2, NULL), .other = rig_start(1, NULL)};
        struct skua_group group;

        inside.group = &group;
        skua_group_init(&group);
        tap_is(skua_run(inside.rt, try_inside, &inside), 0, "run from outside");
        tap_is(inside.stop, -EDEADLK, "a job cannot stop its runtime");
        tap_is(inside.within, -EDEADLK, "nor within a time");
        tap_is(inside.run, -EDEADLK, "nor run and wait on it");
        tap_is(inside.wait, -EDEADLK, "nor wait as a thread");
        tap_is(inside.other_run, -ENOENT, "but run on another one");
        tap_is(inside.ran, 1, "on that one's worker");
        tap_is(inside.other_stop, 0, "and start and stop others");
        rig_stop(inside.rt);
        rig_stop(inside.other);
        tap_is(skua_stop(NULL, SKUA_DRAIN), -EINVAL, "stop what?");
        tap_is(skua_close(NULL), -EINVAL, "close what?");
        tap_is(skua_run(NULL, note_ran, &inside), -EINVAL, "run where?");
}

/* ------------------------------------------------------------------ closing */

struct closed {
        struct skua_job job;
        struct skua *rt;
        struct task tasks[6];
        struct tally entered, leave, done;
        struct skua_group group;
        int results[5];
};

static void posted(struct skua_worker *self, void *arg)
{
        struct closed *closed = *(struct closed **)arg;

        (void)self;
        tally_add(&closed->done, 1);
}

static void work_on(struct skua_worker *self, struct skua_job *job)
{
        struct closed *closed = skua_container(job, struct closed, job);
        struct skua_target node = SKUA_TARGET_INIT, worker = SKUA_TARGET_INIT;

        tally_add(&closed->entered, 1);
        tally_wait(&closed->leave, 1);
        node.node = SKUA_NODE(skua_worker_node(self));
        worker.worker = SKUA_WORKER(0);
        closed->results[0] = skua_submit(closed->rt, &closed->tasks[0].job);
        closed->results[1] = skua_submit_to(closed->rt, &closed->tasks[1].job, &node);
        closed->results[2] = skua_submit_to(closed->rt, &closed->tasks[2].job, &worker);
        closed->results[3] = skua_group_submit(closed->rt, &closed->group, &closed->tasks[3].job);
        closed->results[4] = skua_post(closed->rt, posted, &closed, sizeof closed);
        skua_spawn(self, &closed->tasks[4].job);
        skua_group_spawn(self, &closed->group, &closed->tasks[5].job);
}

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self, (void)arg;
}

static void check_closed(unsigned workers)
{
        struct closed closed = {.rt = rig_start(workers, NULL)};
        struct skua_target worker = SKUA_TARGET_INIT;
        struct task refused;
        struct skua_stats stats;
        unsigned wrong = 0;

        skua_group_init(&closed.group);
        for (unsigned i = 0; i < 6; i++)
                task_init(&closed.tasks[i], &closed.done, NULL, 5);
        task_init(&refused, &closed.done, NULL, 0);
        skua_job_init(&closed.job, work_on);
        skua_submit(closed.rt, &closed.job);
        tally_wait(&closed.entered, 1);
        worker.worker = SKUA_WORKER(0);
        wrong += skua_close(closed.rt) || skua_close(closed.rt);
        wrong += skua_submit(closed.rt, &refused.job) != -ESHUTDOWN;
        wrong += skua_try_submit(closed.rt, &refused.job) != -ESHUTDOWN;
        wrong += skua_submit_to(closed.rt, &refused.job, &worker) != -ESHUTDOWN;
        wrong += skua_submit_array(closed.rt, &refused, 1, 64, NULL) != -ESHUTDOWN;
        wrong += skua_group_submit(closed.rt, &closed.group, &refused.job) != -ESHUTDOWN;
        wrong += skua_group_wait(&closed.group, 0) != 0;
        wrong += skua_post(closed.rt, posted, &closed, 8) != -ESHUTDOWN;
        wrong += skua_run(closed.rt, nothing, NULL) != -ESHUTDOWN;
        wrong += skua_run_for(closed.rt, 0, 1, 0, (skua_range_fn *)NULL, NULL) != -EINVAL;
        tap_is(wrong, 0, "closed: every call from outside is told so");
        stats = stats_of(closed.rt);
        tap_ok(stats.refused == 7 && stats.submitted == 1, "and counted as refused, not more");
        tally_add(&closed.leave, 1);
        tally_wait(&closed.done, 6 * 6 + 1);
        for (unsigned i = 0; i < 5; i++)
                wrong += closed.results[i] != 0;
        tap_is(wrong, 0, "jobs go on to submit and to spawn");
        tap_is(skua_group_wait(&closed.group, -1), 0, "their group ends");
        tap_is(skua_stop(closed.rt, SKUA_DRAIN), 0, "and the drain");
        tap_is(tally_read(&closed.done), 6 * 6 + 1, "nothing was refused and called all the same");
}

/* ------------------------------------------------------------------ cancelling */

static void check_cancel(unsigned workers)
{
        enum { EACH = 40 };
        static struct task tasks[3 * EACH];
        struct patient patients[4];
        struct tally entered = {0};
        atomic_uint cancelled = 0;
        struct skua_group group;
        struct skua *rt = rig_start(workers, NULL);
        struct skua_target where = SKUA_TARGET_INIT;

        skua_group_init(&group);
        for (unsigned i = 0; i < workers; i++) {
                patients[i] = (struct patient){.leave = {1}};
                skua_job_init(&patients[i].job, patient_run);
                where.worker = SKUA_WORKER(i);
                skua_submit_to(rt, &patients[i].job, &where);
                tally_wait(&patients[i].entered, 1);
        }
        for (unsigned i = 0; i < 3 * EACH; i++) {
                task_init(&tasks[i], &entered, &cancelled, i % 2);
                where.worker = i % 3 ? SKUA_WORKER(i % workers) : 0;
                where.group = i % 3 > 1 ? &group : NULL;
                skua_submit_to(rt, &tasks[i].job, &where);
        }
        skua_group_cancel(&group);
        tap_is(skua_stop(rt, SKUA_CANCEL), 0, "cancelled with jobs in every queue");
        tap_is(tally_read(&entered), 3 * EACH * 3 / 2, "each was called once, and what it spawned");
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "the group has ended");
        tap_ok(atomic_load(&cancelled) == 3 * EACH * 3 / 2, "each as cancelled");
}

int main(void)
{
        tap_plan(CHECKS, 120);
        check_options();
        check_size();
        check_often();
        check_crowd();
        check_twice();
        check_crowd_stops();
        check_within();
        check_within_long(1000000000000, "a long time: all of it is drained");
        check_within_long(INT64_MAX, "for ever: the same");
        check_inside();
        check_closed(1);
        check_closed(3);
        check_cancel(1);
        check_cancel(3);
        return tap_done();
}
