/* SPDX-License-Identifier: MIT
 *
 * SKUA_BLOCKING: threads come when they are needed and go when they are not, the queue is bounded,
 * and jobs there have groups, strands, delays, deadlines, errors and cancellation as anywhere. What
 * must come is waited for; nothing asserts a time.
 */
#include <dirent.h>

#include "limits/held.h"

enum { CHECKS = 101, MS = 1000000 };

/* ------------------------------------------------------------------ threads */

static void check_one(struct skua *rt)
{
        struct hold hold;

        hold_init(&hold);
        tap_is(pool_threads(rt), 0, "no thread before the first job");
        tap_is(hold_more(rt, &hold, 1, 0), 0, "a blocking job");
        tally_wait(&hold.entered, 1);
        tap_ok(!hold.jobs[0].self && hold.jobs[0].alone && !hold.jobs[0].cancelled,
               "runs with self == NULL on a thread that is no worker");
        tap_is(pool_threads(rt), 1, "on the first thread");
        tap_is(skua_group_wait(&hold.group, 0), -ETIMEDOUT, "its group waits for it");
        tap_is(hold_end(&hold), 0, "until it has returned");
}

static void check_growth(void)
{
        enum { MOST = 5 };
        struct skua *rt = pool_start_with(1, MOST, 0);
        unsigned in_order = 0;
        struct hold hold;

        hold_init(&hold);
        for (unsigned i = 1; i <= MOST; i++) {
                hold_more(rt, &hold, 1, 0);
                tally_wait(&hold.entered, i);
        }
        tap_is(pool_threads(rt), MOST, "a thread for each while all are busy");
        hold_more(rt, &hold, 20, 0);
        tap_is(pool_threads(rt), MOST, "and no more than may be");
        tap_is(pool_queued(rt), 20, "the others wait");
        tap_is(tally_read(&hold.entered), MOST, "and none of them runs");
        tap_is(hold_end(&hold), 0, "all end");
        tap_is(tally_read(&hold.entered), 25, "each once");
        for (unsigned i = 0; i < MOST; i++)
                in_order += hold.order[i] == i;
        tap_is(in_order, MOST, "those that found a thread at once, in order");
        until_idle_threads(rt, MOST);
        hold_init(&hold);
        hold_more(rt, &hold, 3, 0);
        tally_wait(&hold.entered, 3);
        until_idle_threads(rt, MOST - 3);
        tap_is(pool_threads(rt), MOST, "idle threads are used again");
        hold_end(&hold);
        rig_stop(rt);
}

static void check_order(void)
{
        struct skua *rt = pool_start_with(1, 1, 0);
        unsigned in_order = 0;
        struct hold hold;

        hold_init(&hold);
        hold_more(rt, &hold, 40, 0);
        hold_end(&hold);
        for (unsigned i = 0; i < 40; i++)
                in_order += hold.order[i] == i;
        tap_is(in_order, 40, "one thread: first in, first out");
        rig_stop(rt);
}

/* One with the name of the pool's threads among the process's own. */
static bool named_thread(const char *name)
{
        DIR *dir = opendir("/proc/self/task");
        const struct dirent *entry;
        bool found = false;

        while (dir && (entry = readdir(dir))) {
                char path[300], text[32] = "";
                FILE *file;

                snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
                file = fopen(path, "r");
                found |= file && fgets(text, sizeof text, file) && !strcmp(text, name);
                if (file)
                        fclose(file);
        }
        if (dir)
                closedir(dir);
        return found;
}

static void signals_run(struct skua_worker *self, struct skua_job *job)
{
        sigset_t mask;

        (void)job;
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        if (!sigismember(&mask, SIGTERM) || sigismember(&mask, SIGSEGV))
                skua_fail(self, -EPERM);
}

static void check_looks(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua_job job;
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_group group;
        struct hold hold;
        struct skua *rt;

        options.name = "pooled";
        rt = rig_start(1, &options);
        hold_init(&hold);
        hold_more(rt, &hold, 1, 0);
        tally_wait(&hold.entered, 1);
        tap_ok(named_thread("pooled-b00\n"), "a thread has its name");
        hold_end(&hold);
        skua_group_init(&group);
        skua_job_init(&job, signals_run);
        where.flags = SKUA_BLOCKING;
        where.group = &group;
        skua_submit_to(rt, &job, &where);
        tap_is(skua_group_wait(&group, -1), 0, "and blocks the signals that workers block");
        rig_stop(rt);
}

static void check_min_and_idle(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct hold hold;
        struct skua *rt;

        options.blocking_min = 2;
        options.blocking_idle_ms = 1;
        rt = rig_start(1, &options);
        tap_is(pool_threads(rt), 2, "blocking_min: there from the start");
        hold_init(&hold);
        hold_more(rt, &hold, 6, 0);
        tally_wait(&hold.entered, 6);
        tap_is(pool_threads(rt), 6, "more when needed");
        hold_end(&hold);
        until_threads(rt, 2);
        until_idle_threads(rt, 2);
        tap_is(pool_threads(rt), 2, "those beyond it end when they have been idle");
        hold_init(&hold);
        hold_more(rt, &hold, 3, 0);
        tally_wait(&hold.entered, 3);
        tap_is(pool_threads(rt), 3, "and come again");
        hold_end(&hold);
        rig_stop(rt);
        options.blocking_min = 0;
        options.blocking_idle_ms = (unsigned)SKUA_NONE;
        rt = rig_start(1, &options);
        for (unsigned i = 0; i < 10; i++) {
                hold_init(&hold);
                hold_more(rt, &hold, 3, 0);
                hold_end(&hold);
                until_threads(rt, 0);
        }
        tap_is(stats_of(rt).run, 30, "SKUA_NONE: no thread stays without work, and new ones come");
        rig_stop(rt);
}

static void check_none(void)
{
        struct skua *rt = pool_start_with(1, (unsigned)SKUA_NONE, 0);
        struct skua_strand strand;
        struct skua_target where;
        struct hold hold;

        hold_init(&hold);
        tap_is(hold_more(rt, &hold, 1, 0), -EAGAIN, "no threads at all: -EAGAIN");
        where = blocking_target(&hold, 0);
        where.delay_ns = 1;
        tap_is(skua_submit_to(rt, &hold.jobs[0].job, &where), -EAGAIN, "also with a delay");
        where.delay_ns = 0;
        skua_strand_init(&strand);
        where.strand = &strand;
        tap_is(skua_submit_to(rt, &hold.jobs[0].job, &where), -EAGAIN, "and with a strand");
        tap_is(skua_group_wait(&hold.group, 0), 0, "and no count is touched");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ the bound */

struct submitter {
        struct skua *rt;
        struct hold *hold;
        int result;
        struct tally done;
};

static void *submit_thread(void *arg)
{
        struct submitter *s = arg;

        s->result = hold_more(s->rt, s->hold, 1, 0);
        tally_add(&s->done, 1);
        return NULL;
}

/* A thread in the line before the full queue. */
static void until_waiting(struct skua *rt)
{
        struct pool *p = &runtime_of(rt)->pool;
        bool waiting = false;

        while (!waiting) {
                uint32_t found = 0;

                sched_yield();
                if (!cas_acquire_u32(&p->lock, &found, 1))
                        continue;
                waiting = p->waiting;
                if (exchange_acq_rel_u32(&p->lock, 0) == 2)
                        kernel_futex_wake(&p->lock, 1);
        }
}

static void check_bound(void)
{
        struct skua *rt = pool_start_with(1, 1, 2);
        struct submitter s = {.rt = rt};
        struct hold first, hold;
        pthread_t thread;

        hold_init(&first);
        hold_init(&hold);
        s.hold = &hold;
        hold_more(rt, &first, 1, SKUA_TRY);
        tally_wait(&first.entered, 1);
        tap_is(hold_more(rt, &hold, 2, SKUA_TRY), 0, "as many as the bound says wait");
        tap_is(hold_more(rt, &hold, 1, SKUA_TRY), -EAGAIN, "then SKUA_TRY gives -EAGAIN");
        tap_is(stats_of(rt).refused, 1, "which is counted");
        thread = go(submit_thread, &s);
        until_waiting(rt);
        tap_is(tally_read(&s.done), 0, "a thread without it waits");
        hold_end(&first);
        tally_wait(&s.done, 1);
        tap_is(s.result, 0, "until there is room");
        join(thread);
        hold_end(&hold);
        tap_is(tally_read(&hold.entered), 3, "all have run");
        rig_stop(rt);
}

static void check_closed(void)
{
        struct skua *rt = pool_start_with(1, 1, 1);
        struct submitter s = {.rt = rt};
        struct hold first, hold;
        pthread_t thread;

        hold_init(&first);
        hold_init(&hold);
        s.hold = &hold;
        hold_more(rt, &first, 1, 0);
        tally_wait(&first.entered, 1);
        hold_more(rt, &first, 1, 0);
        thread = go(submit_thread, &s);
        until_waiting(rt);
        skua_close(rt);
        join(thread);
        tap_is(s.result, -ESHUTDOWN, "closing ends the wait for room");
        tap_is(skua_group_wait(&hold.group, 0), 0, "and the job is not counted");
        tap_is(hold_more(rt, &hold, 1, SKUA_TRY), -ESHUTDOWN, "and refuses");
        hold_end(&first);
        rig_stop(rt);
}

struct from_job {
        struct skua *rt;
        struct hold *hold;
        int plain, try, await, isolated;
        atomic_uint stage;
};

static void isolated_submit(struct skua_worker *self, void *arg)
{
        struct from_job *f = arg;
        struct skua_target where = blocking_target(f->hold, 0);

        f->isolated = skua_await_submit(self, &f->hold->jobs[f->hold->count].job, &where);
}

static void submit_from_job(struct skua_worker *self, void *arg)
{
        struct from_job *f = arg;
        struct skua_target where = blocking_target(f->hold, 0);

        f->plain = hold_more(f->rt, f->hold, 3, 0);
        f->try = hold_more(f->rt, f->hold, 1, SKUA_TRY);
        skua_isolated(self, isolated_submit, f);
        atomic_store(&f->stage, 1);
        f->await = skua_await_submit(self, &f->hold->jobs[f->hold->count].job, &where);
        f->hold->count += !f->await;
        atomic_store(&f->stage, 2);
}

static void *run_from_job(void *arg)
{
        struct from_job *f = arg;

        skua_run(f->rt, submit_from_job, f);
        return NULL;
}

static void check_from_job(void)
{
        struct skua *rt = pool_start_with(1, 1, 1);
        struct from_job f = {.rt = rt};
        struct hold first, hold;
        pthread_t thread;

        hold_init(&first);
        hold_init(&hold);
        f.hold = &hold;
        hold_more(rt, &first, 1, 0);
        tally_wait(&first.entered, 1);
        thread = go(run_from_job, &f);
        rig_until(&f.stage, 1);
        rig_until_suspended(rt, 1);
        tap_is(f.plain, 0, "a job is not bound");
        tap_is(f.try, -EAGAIN, "unless it tries");
        tap_is(f.isolated, -EDEADLK, "skua_await_submit cannot wait in isolation");
        tap_is(atomic_load(&f.stage), 1, "and else waits for room");
        tally_add(&hold.leave, 1);
        hold_end(&first);
        join(thread);
        tap_is(f.await, 0, "which comes");
        tap_is(skua_group_wait(&hold.group, -1), 0, "all end");
        tap_is(tally_read(&hold.entered), 4, "and each has run once");
        rig_stop(rt);
}

/* The job that waits in the line is cancelled. */
struct impatient {
        struct skua_job job;
        struct hold *hold;
        int result;
};

static void cancelled_await(struct skua_worker *self, struct skua_job *job)
{
        struct impatient *i = skua_container(job, struct impatient, job);
        struct skua_target where = blocking_target(i->hold, 0);

        i->result = skua_await_submit(self, &i->hold->jobs[i->hold->count].job, &where);
}

static void check_line_is_left(void)
{
        struct skua *rt = pool_start_with(1, 1, 1);
        struct impatient i = {.result = 1};
        struct skua_group group;
        struct hold hold;

        hold_init(&hold);
        hold_more(rt, &hold, 1, 0);
        tally_wait(&hold.entered, 1);
        hold_more(rt, &hold, 1, 0);
        i.hold = &hold;
        skua_group_init(&group);
        skua_job_init(&i.job, cancelled_await);
        skua_group_submit(rt, &group, &i.job);
        rig_until_suspended(rt, 1);
        skua_group_cancel(&group);
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "a job in the line is cancelled");
        tap_is(i.result, -ECANCELED, "it says so");
        tap_is(hold_end(&hold), 0, "what it wished to submit is not counted");
        tap_is(tally_read(&hold.entered), 2, "and not run");
        rig_stop(rt);
}

static void check_array(void)
{
        struct skua *rt = pool_start_with(1, 2, 3);
        struct skua_target where;
        struct hold hold;
        ssize_t count;

        hold_init(&hold);
        where = blocking_target(&hold, SKUA_TRY);
        hold_more(rt, &hold, 2, 0);
        tally_wait(&hold.entered, 2);
        count = skua_submit_array(rt, &hold.jobs[2].job, 10, sizeof hold.jobs[0], &where);
        tap_is(count, 3, "of an array what there is room for");
        count = skua_submit_array(rt, &hold.jobs[5].job, 10, sizeof hold.jobs[0], &where);
        tap_is(count, -EAGAIN, "and then none");
        tally_add(&hold.leave, 1);
        where.flags = SKUA_BLOCKING;
        count = skua_submit_array(rt, &hold.jobs[5].job, 40, sizeof hold.jobs[0], &where);
        tap_is(count, 40, "all, if the call may wait");
        tap_is(hold_end(&hold), 0, "and they end");
        tap_is(tally_read(&hold.entered), 45, "each once");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ errors and cancellation */

struct plain {
        struct skua_job job;
        int64_t deadline_ns;
        bool before, after;
        atomic_uint *running, *overlaps;
        struct tally *entered;
        int error;
};

static void failing_run(struct skua_worker *self, struct skua_job *job)
{
        struct plain *p = skua_container(job, struct plain, job);

        skua_fail(self, p->error);
        skua_fail(self, -EPERM);
}

static void check_errors(struct skua *rt)
{
        struct plain p = {.error = -ENOENT};
        struct hold hold;
        struct skua_target where;

        hold_init(&hold);
        where = blocking_target(&hold, 0);
        skua_job_init(&p.job, failing_run);
        skua_submit_to(rt, &p.job, &where);
        tap_is(skua_group_wait(&hold.group, -1), -ENOENT, "the first error goes to the group");
        p.error = -100000;
        skua_submit_to(rt, &p.job, &where);
        tap_is(skua_group_wait(&hold.group, -1), -EINVAL, "what is no error is one");
        skua_fail(NULL, -EIO);
        tap_ok(!skua_cancelled(NULL), "outside there is nothing to fail or to be cancelled");
}

static void deadline_run(struct skua_worker *self, struct skua_job *job)
{
        struct plain *p = skua_container(job, struct plain, job);

        p->before = skua_cancelled(self);
        while (skua_now_ns() < p->deadline_ns)
                sched_yield();
        p->after = skua_cancelled(self);
}

static void check_deadline(struct skua *rt)
{
        struct plain p = {.deadline_ns = skua_now_ns() + 3600 * (int64_t)1000 * MS};
        struct hold hold;
        struct skua_target where;

        hold_init(&hold);
        where = blocking_target(&hold, 0);
        skua_job_init(&p.job, deadline_run);
        where.deadline_ns = 1;
        p.deadline_ns = 1;
        skua_submit_to(rt, &p.job, &where);
        tap_is(skua_group_wait(&hold.group, -1), 0, "a job whose deadline has passed is called");
        tap_ok(p.before, "as cancelled");
        where.deadline_ns = p.deadline_ns = skua_now_ns() + 2 * MS;
        skua_submit_to(rt, &p.job, &where);
        skua_group_wait(&hold.group, -1);
        tap_ok(p.after, "from its deadline on a running one is cancelled");
        where.deadline_ns = INT64_MAX;
        skua_submit_to(rt, &p.job, &where);
        skua_group_wait(&hold.group, -1);
        tap_ok(!p.before && !p.after, "before that it is not");
}

static void watch_run(struct skua_worker *self, struct skua_job *job)
{
        struct plain *p = skua_container(job, struct plain, job);

        p->before = skua_cancelled(self);
        tally_add(p->entered, 1);
        while (!skua_cancelled(NULL))
                sched_yield();
        p->after = true;
}

static void check_group_cancel(void)
{
        struct skua *rt = pool_start_with(1, 1, 0);
        struct tally entered = {0};
        struct plain p[2] = {{.entered = &entered}, {.entered = &entered}};
        struct skua_stats stats;
        struct hold hold;
        struct skua_target where;

        hold_init(&hold);
        where = blocking_target(&hold, 0);
        for (unsigned i = 0; i < 2; i++) {
                skua_job_init(&p[i].job, watch_run);
                skua_submit_to(rt, &p[i].job, &where);
        }
        tally_wait(&entered, 1);
        skua_group_cancel(&hold.group);
        tap_is(skua_group_wait(&hold.group, -1), -ECANCELED, "a cancelled group");
        tap_ok(!p[0].before && p[0].after, "the running one notices");
        tap_ok(p[1].before && p[1].after, "the queued one is called as cancelled");
        stats = stats_of(rt);
        tap_ok(stats.run == 1 && stats.cancelled == 1 && stats.submitted == 2,
               "figures: %d submitted, %d run, %d cancelled", (int)stats.submitted, (int)stats.run,
               (int)stats.cancelled);
        rig_stop(rt);
}

/* ------------------------------------------------------------------ strands and delays */

enum { MIXED = 60 };

static void mixed_run(struct skua_worker *self, struct skua_job *job)
{
        struct plain *p = skua_container(job, struct plain, job);

        if (atomic_fetch_add(p->running, 1))
                atomic_fetch_add(p->overlaps, 1);
        p->before = !self; /* where it ran */
        p->error = (int)tally_read(p->entered);
        sched_yield();
        atomic_fetch_sub(p->running, 1);
        tally_add(p->entered, 1);
}

/* Jobs of one strand for the pool, for anywhere and for one worker. */
static void check_strand(unsigned workers, int64_t delay_ns)
{
        struct skua *rt = pool_start_with(workers, 3, 1);
        static struct plain jobs[MIXED];
        atomic_uint running = 0, overlaps = 0;
        struct tally entered = {0};
        struct skua_strand strand;
        struct skua_group group;
        unsigned right = 0, in_order = 0;

        skua_strand_init(&strand);
        skua_group_init(&group);
        for (unsigned i = 0; i < MIXED; i++) {
                struct skua_target where = SKUA_TARGET_INIT;

                jobs[i] = (struct plain){.running = &running, .overlaps = &overlaps};
                jobs[i].entered = &entered;
                skua_job_init(&jobs[i].job, mixed_run);
                where.group = &group;
                where.strand = &strand;
                where.flags = i % 3 == 0 ? SKUA_BLOCKING | SKUA_TRY : 0;
                where.worker = i % 3 == 1 ? SKUA_WORKER(workers - 1) : 0;
                where.delay_ns = delay_ns;
                where.deadline_ns = i % 2 ? INT64_MAX : 0;
                right += !skua_submit_to(rt, &jobs[i].job, &where);
        }
        tap_is(right, MIXED, "jobs of a strand for the pool and for workers, none is refused");
        tap_is(skua_group_wait(&group, -1), 0, "run");
        right = 0;
        for (unsigned i = 0; i < MIXED; i++) {
                right += jobs[i].before == (i % 3 == 0);
                in_order += jobs[i].error == (int)i;
        }
        tap_ok(right == MIXED && !overlaps && tally_read(&entered) == MIXED,
               "each where it belongs, one at a time");
        if (!delay_ns)
                tap_is(in_order, MIXED, "in order");
        rig_stop(rt);
}

static void check_delay(void)
{
        struct skua *rt = pool_start_with(2, 2, 1);
        int64_t due = skua_now_ns() + 2 * MS;
        struct hold hold;
        struct skua_target where;

        hold_init(&hold);
        where = blocking_target(&hold, 0);
        where.delay_ns = 2 * MS;
        tally_add(&hold.leave, 1);
        for (unsigned i = 0; i < 5; i++)
                skua_submit_to(rt, &hold.jobs[i].job, &where);
        tap_is(skua_group_wait(&hold.group, -1), 0, "delayed jobs run");
        tap_ok(skua_now_ns() >= due && hold.jobs[4].alone && !hold.jobs[4].cancelled,
               "on the pool, not before their time");
        hold_init(&hold);
        where.delay_ns = 3600 * (int64_t)1000 * MS;
        tally_add(&hold.leave, 1);
        skua_submit_to(rt, &hold.jobs[0].job, &where);
        rig_stop(rt);
        tap_ok(hold.jobs[0].cancelled && hold.jobs[0].alone,
               "a drain calls it at once, there, as cancelled");
        tap_is(skua_group_wait(&hold.group, -1), 0, "and counts it down");
}

/* ------------------------------------------------------------------ jobs on the pool use the
 * runtime */

struct user {
        struct skua_job job, other;
        struct skua *rt;
        struct tally runs;
        int submit, run, post, group, stop, stop_within, blocking;
        bool inside;
};

static void other_run(struct skua_worker *self, struct skua_job *job)
{
        struct user *u = skua_container(job, struct user, other);

        u->inside = self;
        tally_add(&u->runs, 1);
}

static void count_call(struct skua_worker *self, void *arg)
{
        (void)self;
        tally_add(*(struct tally **)arg, 1);
}

static void user_run(struct skua_worker *self, struct skua_job *job)
{
        struct user *u = skua_container(job, struct user, job);
        struct tally *runs = &u->runs;

        (void)self;
        u->submit = skua_submit(u->rt, &u->other);
        tally_wait(&u->runs, 1);
        u->run = skua_run(u->rt, count_call, &runs);
        u->post = skua_post(u->rt, count_call, &runs, sizeof runs);
        u->stop = skua_stop(u->rt, SKUA_CANCEL);
        u->stop_within = skua_stop_within(u->rt, 0);
}

static void user_start(struct skua *rt, struct user *u)
{
        struct skua_target where = SKUA_TARGET_INIT;

        memset(u, 0, sizeof *u);
        u->rt = rt;
        skua_job_init(&u->job, user_run);
        skua_job_init(&u->other, other_run);
        where.flags = SKUA_BLOCKING;
        skua_submit_to(rt, &u->job, &where);
}

static void check_user(void)
{
        struct skua *rt = pool_start_with(1, 0, 0);
        struct user u;

        user_start(rt, &u);
        rig_stop(rt);
        tap_ok(!u.submit && u.inside, "a pool job may submit, also during a drain");
        tap_is(u.run, 0, "and run something on a worker");
        tap_is(u.post, 0, "and post");
        tap_is(tally_read(&u.runs), 3, "all of which the drain waits for");
        tap_is(u.stop, -EDEADLK, "it cannot stop the runtime");
        tap_is(u.stop_within, -EDEADLK, "nor with a grace");
}

/* ------------------------------------------------------------------ stop */

static void knock_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        tally_add(skua_container(job, struct plain, job)->entered, 1);
}

static void knock_init(struct plain *knock, struct tally *knocks)
{
        skua_job_init(&knock->job, knock_run);
        knock->entered = knocks;
}

static void *stop_thread(void *arg)
{
        rig_stop(arg);
        return NULL;
}

static void check_drain(void)
{
        struct skua *rt = pool_start_with(1, 2, 0);
        struct plain knock;
        struct tally knocks = {0};
        pthread_t thread;
        struct hold hold;
        bool cancelled = false;

        knock_init(&knock, &knocks);
        hold_init(&hold);
        hold_more(rt, &hold, 6, 0);
        tally_wait(&hold.entered, 2);
        thread = go(stop_thread, rt);
        wait_closed(rt, &knock.job, &knocks);
        tally_add(&hold.leave, 1);
        join(thread);
        tap_is(tally_read(&hold.left), hold.count, "a drain runs what was accepted");
        for (unsigned i = 0; i < hold.count; i++)
                cancelled |= hold.jobs[i].cancelled;
        tap_ok(!cancelled, "none as cancelled");
        tap_is(skua_group_wait(&hold.group, 0), 0, "and all are counted down");
}

static void *cancel_thread(void *arg)
{
        return (void *)(intptr_t)skua_stop(arg, SKUA_CANCEL);
}

static void check_cancelling_stop(void)
{
        struct skua *rt = pool_start_with(1, 2, 0);
        unsigned cancelled = 0;
        struct plain knock;
        struct tally knocks = {0};
        pthread_t thread;
        struct hold hold;

        knock_init(&knock, &knocks);
        hold_init(&hold);
        hold_more(rt, &hold, 6, 0);
        tally_wait(&hold.entered, 2);
        thread = go(cancel_thread, rt);
        wait_closed(rt, &knock.job, &knocks);
        tap_is(tally_read(&hold.left), 0, "running calls are waited for");
        tally_add(&hold.leave, 1);
        tap_is((intptr_t)join(thread), 0, "stopped");
        tap_is(tally_read(&hold.left), hold.count, "each queued job was called");
        for (unsigned i = 0; i < 6; i++)
                cancelled += hold.jobs[i].cancelled;
        tap_is(cancelled, 4, "as cancelled");
}

static void *within_thread(void *arg)
{
        return (void *)(intptr_t)skua_stop_within(arg, 1);
}

static void check_stop_within(void)
{
        struct skua *rt = pool_start_with(1, 1, 0);
        struct tally entered = {0};
        struct plain p = {.entered = &entered};
        struct skua_target where = SKUA_TARGET_INIT;
        struct hold hold;
        pthread_t thread;

        hold_init(&hold);
        tally_add(&hold.leave, 1);
        skua_job_init(&p.job, watch_run);
        where.flags = SKUA_BLOCKING;
        skua_submit_to(rt, &p.job, &where);
        tally_wait(&entered, 1);
        hold_more(rt, &hold, 3, 0);
        thread = go(within_thread, rt);
        tap_is((intptr_t)join(thread), 3, "cancelled jobs are counted");
}

/* ------------------------------------------------------------------ everything at once */

enum { THREADS = 4, PER_THREAD = 3000 };

struct hammer {
        struct skua *rt;
        atomic_uint accepted, refused, entered, inside;
        struct skua_group group;
};

struct blow {
        struct skua_job job;
        struct hammer *hammer;
        bool again;
};

static void blow_run(struct skua_worker *self, struct skua_job *job)
{
        struct blow *b = skua_container(job, struct blow, job);
        struct hammer *h = b->hammer;
        struct skua_target where = blocking_target(NULL, 0);

        if (self)
                atomic_fetch_add(&h->inside, 1);
        atomic_fetch_add(&h->entered, 1);
        where.group = &h->group;
        where.flags = self ? SKUA_BLOCKING : 0;
        if (b->again) {
                b->again = false;
                if (!skua_submit_to(h->rt, job, &where))
                        atomic_fetch_add(&h->accepted, 1);
        }
}

static void *strike(void *arg)
{
        struct hammer *h = arg;
        unsigned count = rig_rounds(PER_THREAD);
        struct blow *blows = calloc(count, sizeof *blows);
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = &h->group;
        for (unsigned i = 0; i < count; i++) {
                blows[i].hammer = h;
                blows[i].again = i % 2;
                skua_job_init(&blows[i].job, blow_run);
                where.flags = i % 5 == 4 ? 0 : SKUA_BLOCKING | (i % 5 == 3 ? SKUA_TRY : 0);
                if (skua_submit_to(h->rt, &blows[i].job, &where))
                        atomic_fetch_add(&h->refused, 1);
                else
                        atomic_fetch_add(&h->accepted, 1);
        }
        return blows;
}

static void check_hammer(unsigned idle_ms, size_t limit)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct hammer h = {.accepted = 0};
        pthread_t threads[THREADS];
        void *blows[THREADS];
        struct skua_stats stats;

        options.blocking_max = 7;
        options.blocking_idle_ms = idle_ms;
        options.blocking_queue_limit = limit;
        h.rt = rig_start(3, &options);
        skua_group_init(&h.group);
        skua_group_hold(&h.group, 1);
        for (unsigned i = 0; i < THREADS; i++)
                threads[i] = go(strike, &h);
        for (unsigned i = 0; i < THREADS; i++)
                blows[i] = join(threads[i]);
        skua_group_release(&h.group, 0);
        tap_is(skua_group_wait(&h.group, -1), 0, "all ends");
        stats = stats_of(h.rt);
        tap_is(atomic_load(&h.entered), atomic_load(&h.accepted), "nothing lost, nothing twice");
        tap_ok(stats.submitted == h.accepted && stats.run == h.accepted && !stats.blocking_queued,
               "and the figures agree");
        rig_stop(h.rt);
        for (unsigned i = 0; i < THREADS; i++)
                free(blows[i]);
}

/* Starts and stops with blocking jobs under way. */
static void check_often(void)
{
        unsigned rounds = rig_rounds(400), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct skua *rt = pool_start_with(1 + i % 2, 1 + i % 3, i % 4);
                struct hold hold;

                hold_init(&hold);
                tally_add(&hold.leave, 1);
                wrong += hold_more(rt, &hold, i % 7, 0) != 0;
                wrong += skua_stop(rt, i % 3 ? SKUA_DRAIN : SKUA_CANCEL) != 0;
                wrong += tally_read(&hold.left) != i % 7;
                wrong += skua_group_wait(&hold.group, 0) != 0;
        }
        tap_is(wrong, 0, "started and stopped many times");
}

int main(void)
{
        struct skua *rt;

        tap_plan(CHECKS, 120);
        rt = rig_start(2, NULL);
        check_one(rt);
        check_errors(rt);
        check_deadline(rt);
        rig_stop(rt);
        check_growth();
        check_order();
        check_looks();
        check_min_and_idle();
        check_none();
        check_bound();
        check_closed();
        check_from_job();
        check_line_is_left();
        check_array();
        check_group_cancel();
        check_strand(1, 0);
        check_strand(3, 0);
        check_strand(2, 1);
        check_delay();
        check_user();
        check_drain();
        check_cancelling_stop();
        check_stop_within();
        check_hammer(0, 0);
        check_hammer((unsigned)SKUA_NONE, 3);
        check_hammer(1, 1);
        check_often();
        return tap_done();
}
