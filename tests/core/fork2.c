/* SPDX-License-Identifier: MIT
 *
 * fork(2) in a process with runtimes: the child's calls say -EOWNERDEAD and never hang, what was
 * abandoned is forgotten, a new runtime works; the parent does not notice.
 */
#include <sys/wait.h>

#include "core/crew.h"

enum { CHECKS = 20, CHILD_LIMIT_S = 60 };

static void no_call(struct skua_worker *self, void *arg)
{
        (void)self, (void)arg;
}

static void no_job(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
}

static void no_range(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)self, (void)begin, (void)end, (void)arg;
}

/* The number of the first thing that is not as it should be, as the exit status. */
#define DEMAND(condition)                                             \
        do {                                                          \
                step++;                                               \
                if (!(condition)) {                                   \
                        fprintf(stderr, "# child: %s\n", #condition); \
                        return step;                                  \
                }                                                     \
        } while (0)

static int all_calls(struct skua *rt, struct skua_group *busy)
{
        struct skua_target worker = SKUA_TARGET_INIT;
        struct skua_stats stats = {.size = sizeof stats};
        struct skua_worker_stats worker_stats = {.size = sizeof worker_stats};
        struct skua_group group;
        struct skua_job job;
        int step = 0;

        skua_group_init(&group);
        skua_job_init(&job, no_job);
        worker.worker = SKUA_WORKER(0);
        DEMAND(skua_submit(rt, &job) == -EOWNERDEAD);
        DEMAND(skua_try_submit(rt, &job) == -EOWNERDEAD);
        DEMAND(skua_submit_to(rt, &job, &worker) == -EOWNERDEAD);
        DEMAND(skua_submit_array(rt, &job, 1, 64, NULL) == -EOWNERDEAD);
        DEMAND(skua_group_submit(rt, &group, &job) == -EOWNERDEAD);
        DEMAND(group.word_ == 0);
        DEMAND(skua_post(rt, no_call, NULL, 0) == -EOWNERDEAD);
        DEMAND(skua_run(rt, no_call, NULL) == -EOWNERDEAD);
        DEMAND(skua_run_for(rt, 0, 10, 0, no_range, NULL) == -EOWNERDEAD);
        DEMAND(!busy || skua_group_wait(busy, -1) == -EOWNERDEAD);
        DEMAND(!busy || skua_group_wait(busy, 1000000000) == -EOWNERDEAD);
        DEMAND(skua_close(rt) == -EOWNERDEAD);
        DEMAND(skua_stop(rt, SKUA_DRAIN) == -EOWNERDEAD);
        DEMAND(skua_stop(rt, SKUA_CANCEL) == -EOWNERDEAD);
        DEMAND(skua_stop_within(rt, 0) == -EOWNERDEAD);
        DEMAND(skua_stats_read(rt, &stats) == -EOWNERDEAD);
        DEMAND(skua_stats_worker(rt, 0, &worker_stats) == -EOWNERDEAD);
        return 0;
}

static void count_run(struct skua_worker *self, void *arg)
{
        (void)self;
        tally_add(*(struct tally **)arg, 1);
}

static int new_life(unsigned workers)
{
        struct tally tally = {0}, *at = &tally;
        struct skua *rt = NULL;
        int step = 100;

        for (unsigned i = 0; i < 3; i++) {
                struct skua_options options = SKUA_OPTIONS_INIT;

                options.workers = workers;
                DEMAND(skua_start(&rt, &options) == 0);
                for (unsigned k = 0; k < 50; k++)
                        DEMAND(skua_post(rt, count_run, &at, sizeof at) == 0);
                DEMAND(skua_run(rt, count_run, &at) == 0);
                DEMAND(skua_stop(rt, i & 1 ? SKUA_CANCEL : SKUA_DRAIN) == 0);
        }
        DEMAND(tally_read(&tally) == 3 * 51);
        return 0;
}

/* Waits for the child; its exit status, or 128 and the signal. */
static int status_of(pid_t child)
{
        int status = 0;

        if (child < 0)
                return 255;
        while (waitpid(child, &status, 0) < 0)
                if (errno != EINTR)
                        return 254;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* In the child: an own watchdog, for alarms are not inherited. */
static pid_t fork_child(void)
{
        pid_t child;

        fflush(stdout);
        child = fork();
        if (child == 0) {
                signal(SIGALRM, SIG_DFL);
                alarm(CHILD_LIMIT_S);
        }
        return child;
}

static void check_child(struct skua *rt, unsigned workers)
{
        struct skua_group busy;
        pid_t child;

        skua_group_init(&busy);
        skua_group_hold(&busy, 1);
        child = fork_child();
        if (child == 0)
                _exit(all_calls(rt, &busy));
        tap_is(status_of(child), 0, "each call in the child says whose owner is dead");
        child = fork_child();
        if (child == 0) {
                int result;

                skua_abandon(rt);
                skua_abandon(rt);
                result = new_life(workers);
                _exit(result ? result : all_calls(rt, NULL));
        }
        tap_is(status_of(child), 0, "the abandoned one forgotten, a new runtime lives");
        skua_group_release(&busy, 0);
        tap_is(skua_group_wait(&busy, -1), 0, "the parent's group goes on");
}

/* After the abandonment a group of the child's own runtime must be waitable. */
struct task {
        struct skua_job job;
        int value;
};

static void task_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *task = skua_container(job, struct task, job);

        task->value++;
        skua_fail(self, -ENOENT);
}

static int group_life(struct skua *rt)
{
        struct skua_group group;
        struct task task = {.value = 0};
        struct skua *own = NULL;
        int step = 0;

        skua_abandon(rt); /* in the grandchild it has been already */
        DEMAND(skua_start(&own, NULL) == 0);
        skua_group_init(&group);
        skua_job_init(&task.job, task_run);
        DEMAND(skua_group_submit(own, &group, &task.job) == 0);
        DEMAND(skua_group_wait(&group, -1) == -ENOENT);
        DEMAND(task.value == 1);
        DEMAND(skua_stop(own, SKUA_DRAIN) == 0);
        return 0;
}

static void check_group(struct skua *rt)
{
        pid_t child = fork_child();

        if (child == 0) {
                int result = group_life(rt);

                if (!result && (child = fork_child()) == 0)
                        _exit(group_life(rt));
                _exit(result ? result : status_of(child));
        }
        tap_is(status_of(child), 0, "groups of the new runtime can be waited for, also a child on");
}

/* ------------------------------------------------------------------ from a job */

struct forker {
        struct skua *rt;
        struct skua_group *busy;
        int calls, exec, life;
};

static int calls_inside(struct skua_worker *self, const struct forker *f)
{
        struct skua_job job;
        int step = 50, result = all_calls(f->rt, f->busy);

        if (result)
                return result;
        skua_job_init(&job, no_job);
        DEMAND(skua_await_submit(self, &job, NULL) == -EOWNERDEAD);
        DEMAND(skua_await_group(self, f->busy) == -EOWNERDEAD);
        return 0;
}

static void fork_inside(struct skua_worker *self, void *arg)
{
        struct forker *f = arg;
        pid_t child = fork_child();

        if (child == 0)
                _exit(calls_inside(self, f));
        f->calls = status_of(child);
        child = fork_child();
        if (child == 0) {
                execl("/bin/true", "true", (char *)NULL);
                execl("/usr/bin/true", "true", (char *)NULL);
                _exit(1);
        }
        f->exec = status_of(child);
        child = fork_child();
        if (child == 0) {
                skua_abandon(f->rt);
                _exit(skua_self() ? 98 : new_life(2));
        }
        f->life = status_of(child);
}

static void check_inside(struct skua *rt)
{
        struct skua_group busy;
        struct forker f = {.rt = rt, .busy = &busy, .calls = -1, .exec = -1, .life = -1};

        skua_group_init(&busy);
        skua_group_hold(&busy, 1);
        tap_is(skua_run(rt, fork_inside, &f), 0, "fork from a job");
        tap_is(f.calls, 0, "each call of its child says whose owner is dead");
        tap_is(f.exec, 0, "it may exec");
        tap_is(f.life, 0, "or abandon and start anew");
        skua_group_release(&busy, 0);
}

/* ------------------------------------------------------------------ under load */

struct load {
        struct skua *rt;
        atomic_bool stop;
        struct tally accepted, entered;
};

static void load_run(struct skua_worker *self, void *arg)
{
        (void)self;
        atomic_fetch_add(&(*(struct load **)arg)->entered.value, 1);
}

static void *load_it(void *arg)
{
        struct load *load = arg;

        while (!atomic_load(&load->stop))
                if (skua_post(load->rt, load_run, &load, sizeof load) == 0)
                        tally_add(&load->accepted, 1);
        return NULL;
}

/* While others are in the midst of calls, stops and starts included. */
static void *start_and_stop(void *arg)
{
        struct load *load = arg;

        while (!atomic_load(&load->stop)) {
                struct skua *rt = NULL;
                struct skua_options options = SKUA_OPTIONS_INIT;

                options.workers = 2;
                if (skua_start(&rt, &options) == 0)
                        skua_stop(rt, SKUA_DRAIN);
        }
        return NULL;
}

static void check_load(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct load load = {.rt = NULL};
        unsigned rounds = rig_rounds(30), wrong = 0;
        struct skua_group busy;
        pthread_t threads[3];

        skua_group_init(&busy);
        skua_group_hold(&busy, 1);
        options.queue_limit = 100;
        load.rt = rig_start(3, &options);
        threads[0] = go(load_it, &load);
        threads[1] = go(load_it, &load);
        threads[2] = go(start_and_stop, &load);
        for (unsigned i = 0; i < rounds; i++) {
                pid_t child;

                tally_wait(&load.accepted, tally_read(&load.accepted) + 10);
                child = fork_child();
                if (child == 0) {
                        int result = all_calls(load.rt, &busy);

                        skua_abandon(load.rt);
                        _exit(result ? result : i % 4 == 0 ? new_life(1 + i % 3) : 0);
                }
                wrong += status_of(child) != 0;
        }
        atomic_store(&load.stop, true);
        for (unsigned i = 0; i < 3; i++)
                join(threads[i]);
        tap_is(wrong, 0, "children of a busy process find their way");
        rig_stop(load.rt);
        tap_is(tally_read(&load.entered), tally_read(&load.accepted),
               "and the parent loses nothing");
        skua_group_release(&busy, 0);
}

int main(void)
{
        const char *emulator = getenv("EMULATOR");

        if (emulator && *emulator)
                tap_skip_all("the emulator's own locks do not survive a fork with threads");
        if (RIG_TSAN)
                tap_skip_all("the thread sanitizer does not follow a fork with threads");
        tap_plan(CHECKS, 120);
        for (unsigned workers = 1; workers <= 3; workers += 2) {
                struct skua *rt = rig_start(workers, NULL);
                struct tally tally = {0}, *at = &tally;

                /* A thread that is only coming up may hold a lock of the address sanitizer. */
                wait_parked(rt);
                check_child(rt, workers);
                check_group(rt);
                check_inside(rt);
                tap_is(skua_run(rt, count_run, &at), 0, "the parent's runtime goes on");
                rig_stop(rt);
        }
        if (RIG_ASAN)
                tap_skip(2, "the address sanitizer's allocator may be locked in the child");
        else
                check_load();
        return tap_done();
}
