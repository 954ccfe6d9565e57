/* SPDX-License-Identifier: MIT
 *
 * skua_await_blocking: what it gives, its early ends before and after a thread has the call, both
 * ways to stop, no threads, and the child of a fork. Nothing asserts a time.
 */
#include <sys/wait.h>

#include "limits/held.h"

enum { CHECKS = 54, MS = 1000000 };
#define HOUR_NS (3600 * (int64_t)1000 * MS)

/* ------------------------------------------------------------------ what a call gives */

struct seen {
        pthread_t thread;
        bool worker, cancelled, pool;
        int result;
};

static int see(void *arg)
{
        struct seen *seen = arg;

        seen->thread = pthread_self();
        seen->worker = skua_self();
        seen->pool = pool_thread_self();
        seen->cancelled = skua_cancelled(NULL);
        errno = EXDEV;
        return seen->result;
}

struct basics {
        struct seen seen;
        int results[3], isolated, kept_errno, late;
        bool same_thread, same_self;
};

static void isolated_call(struct skua_worker *self, void *arg)
{
        struct basics *b = arg;

        b->isolated = skua_await_blocking(self, see, &b->seen);
}

static void basics_run(struct skua_worker *self, void *arg)
{
        static const int wanted[3] = {0, 12345, -ENOENT};
        struct basics *b = arg;
        pthread_t here = pthread_self();

        errno = ENXIO;
        for (unsigned i = 0; i < 3; i++) {
                b->seen.result = wanted[i];
                b->results[i] = skua_await_blocking(self, see, &b->seen);
        }
        b->kept_errno = errno;
        b->same_thread = pthread_equal(here, pthread_self());
        b->same_self = skua_self() == self;
        b->seen.result = 0;
        skua_isolated(self, isolated_call, b);
        b->late = skua_await_blocking_until(self, see, &b->seen, 1);
}

static void check_basics(struct skua *rt)
{
        struct basics b = {.seen = {.worker = true}};

        tap_is(skua_run(rt, basics_run, &b), 0, "a job calls what blocks");
        tap_ok(b.results[0] == 0 && b.results[1] == 12345 && b.results[2] == -ENOENT,
               "and gets what it returns");
        tap_ok(!b.seen.worker && b.seen.pool && !b.seen.cancelled, "it runs on the pool");
        tap_is(b.kept_errno, ENXIO, "errno is kept");
        tap_ok(b.same_thread && b.same_self, "the job stays where it was");
        tap_is(b.isolated, -EDEADLK, "not in isolation");
        tap_is(b.late, -ETIMEDOUT, "nor when the deadline has passed");
        tap_is(stats_of(rt).run, 1, "a call is no job");
}

/* ------------------------------------------------------------------ early ends */

/* A job that calls something which waits to be let go. */
struct caller {
        struct skua_job job;
        int64_t deadline_ns;
        bool masked;
        struct tally begun, inside, leave, saw;
        int result, error;
        bool until_cancelled;
};

static int caller_fn(void *arg)
{
        struct caller *c = arg;

        tally_add(&c->inside, 1);
        if (c->until_cancelled) {
                while (!skua_cancelled(NULL))
                        sched_yield();
                tally_add(&c->saw, 1);
        }
        tally_wait(&c->leave, 1);
        skua_fail(NULL, c->error);
        return 7;
}

static void caller_run(struct skua_worker *self, struct skua_job *job)
{
        struct caller *c = skua_container(job, struct caller, job);

        if (c->masked)
                skua_cancel_mask(self, true);
        tally_add(&c->begun, 1);
        c->result = skua_await_blocking_until(self, caller_fn, c, c->deadline_ns);
}

static void call_in(struct skua *rt, struct skua_group *group, struct caller *c)
{
        skua_job_init(&c->job, caller_run);
        if (skua_group_submit(rt, group, &c->job))
                abort();
}

static void check_running_is_waited_for(struct skua *rt)
{
        struct caller c = {.until_cancelled = true};
        struct skua_group group;

        skua_group_init(&group);
        call_in(rt, &group, &c);
        tally_wait(&c.inside, 1);
        skua_group_cancel(&group);
        tally_wait(&c.saw, 1);
        tap_is(skua_group_wait(&group, 0), -ETIMEDOUT,
               "a running call is waited for, though cancelled");
        tally_add(&c.leave, 1);
        tap_is(skua_group_wait(&group, -1), -ECANCELED, "until it returns");
        tap_is(c.result, 7, "and its result is given");
}

static void check_deadline_of_running(struct skua *rt)
{
        struct caller c = {.deadline_ns = skua_now_ns() + 2 * MS, .error = -EXDEV};
        struct skua_group group;
        int result;

        skua_group_init(&group);
        call_in(rt, &group, &c);
        while (skua_now_ns() < c.deadline_ns)
                sched_yield();
        tally_add(&c.leave, 1);
        result = skua_group_wait(&group, -1);
        /* On a machine that is slow enough it has not found a thread by then. */
        tap_ok((c.result == 7 && result == -EXDEV) || (c.result == -ETIMEDOUT && !result),
               "a deadline ends only the waiting for a thread (%d)", c.result);
        c = (struct caller){.error = -EXDEV};
        tally_add(&c.leave, 1);
        call_in(rt, &group, &c);
        tap_is(skua_group_wait(&group, -1), -EXDEV, "errors of the call are the job's");
}

/* Calls that wait behind another one for the only thread. */
static void check_queued(void)
{
        struct skua *rt = pool_start_with(2, 1, 0);
        struct caller cancelled = {.result = 1}, late = {.result = 1}, masked = {.masked = true};
        struct skua_group group, slow, endures;
        struct hold hold;

        hold_init(&hold);
        hold_more(rt, &hold, 1, 0);
        tally_wait(&hold.entered, 1);
        skua_group_init(&group);
        skua_group_init(&slow);
        skua_group_init(&endures);
        call_in(rt, &group, &cancelled);
        call_in(rt, &endures, &masked);
        until_queued(rt, 2);
        skua_group_cancel(&endures);
        skua_group_cancel(&group);
        skua_group_wait(&group, -1);
        tap_is(pool_queued(rt), 1, "a call that waits for a thread is taken back");
        late.deadline_ns = skua_now_ns() + MS;
        call_in(rt, &slow, &late);
        tap_is(skua_group_wait(&slow, -1), 0, "a call waits for a thread until its deadline");
        tap_is(late.result, -ETIMEDOUT, "and says so");
        tap_is(tally_read(&late.inside), 0, "it is not called");
        tap_is(cancelled.result, -ECANCELED, "the other was cancelled");
        tap_is(tally_read(&cancelled.inside), 0, "and not called");
        tally_add(&masked.leave, 1);
        hold_end(&hold);
        skua_group_wait(&endures, -1);
        tap_is(masked.result, 7, "a masked one goes on");
        cancelled = (struct caller){.result = 1};
        skua_group_cancel(&group);
        call_in(rt, &group, &cancelled);
        skua_group_wait(&group, -1);
        tap_is(cancelled.result, -ECANCELED, "a cancelled job calls nothing");
        tap_is(tally_read(&cancelled.inside), 0, "at all");
        rig_stop(rt);
}

/* A call that comes last does not wait for all jobs before it. */
static void check_turns(void)
{
        struct skua *rt = pool_start_with(1, 1, 0);
        struct caller c = {.result = 1};
        struct skua_group group;
        struct hold first, hold;

        hold_init(&first);
        hold_init(&hold);
        hold_more(rt, &first, 1, 0);
        tally_wait(&first.entered, 1);
        hold_more(rt, &hold, 20, 0);
        skua_group_init(&group);
        tally_add(&c.leave, 1);
        call_in(rt, &group, &c);
        until_queued(rt, 21);
        tally_add(&first.leave, 1);
        tally_wait(&c.inside, 1);
        tap_ok(tally_read(&hold.entered) <= 1, "jobs and calls are taken in turns");
        hold_end(&hold);
        skua_group_wait(&group, -1);
        skua_group_wait(&first.group, -1);
        rig_stop(rt);
}

static void check_none(void)
{
        struct skua *rt = pool_start_with(1, (unsigned)SKUA_NONE, 0);
        struct caller c = {.result = 1};
        struct skua_group group;

        skua_group_init(&group);
        call_in(rt, &group, &c);
        tap_is(skua_group_wait(&group, -1), 0, "no threads at all");
        tap_is(c.result, -EAGAIN, "-EAGAIN");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ stop */

static void *stop_thread(void *arg)
{
        return (void *)(intptr_t)skua_stop(arg, SKUA_CANCEL);
}

static void check_cancelling_stop(void)
{
        struct skua *rt = pool_start_with(1, 1, 0);
        struct caller running = {.until_cancelled = true}, queued = {.masked = true};
        struct skua_group group;
        pthread_t thread;

        skua_group_init(&group);
        call_in(rt, &group, &running);
        tally_wait(&running.inside, 1);
        call_in(rt, &group, &queued);
        until_queued(rt, 1);
        thread = go(stop_thread, rt);
        tally_wait(&running.saw, 1);
        until_queued(rt, 0);
        tap_is(skua_group_wait(&group, 0), -ETIMEDOUT,
               "a cancelling stop waits for the running call");
        tally_add(&running.leave, 1);
        tap_is((intptr_t)join(thread), 0, "and then ends");
        tap_is(running.result, 7, "the running call gave its result");
        tap_is(queued.result, -ECANCELED, "the queued one was taken back, masked or not");
        tap_is(tally_read(&queued.inside), 0, "and not called");
        tap_is(skua_group_wait(&group, 0), 0, "both jobs have ended");
}

static void *drain_thread(void *arg)
{
        return (void *)(intptr_t)skua_stop(arg, SKUA_DRAIN);
}

struct submits {
        struct skua *rt;
        struct skua_job job;
        struct tally runs, inside, leave;
        int submitted, stopped;
};

static void submits_other(struct skua_worker *self, struct skua_job *job)
{
        if (self)
                tally_add(&skua_container(job, struct submits, job)->runs, 1);
}

static int submits_fn(void *arg)
{
        struct submits *s = arg;

        tally_add(&s->inside, 1);
        tally_wait(&s->leave, 1);
        skua_job_init(&s->job, submits_other);
        s->submitted = skua_submit(s->rt, &s->job);
        s->stopped = skua_stop(s->rt, SKUA_DRAIN);
        return 3;
}

struct knock {
        struct skua_job job;
        struct tally *knocks;
};

static void knock_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        tally_add(skua_container(job, struct knock, job)->knocks, 1);
}

static void submits_run(struct skua_worker *self, void *arg)
{
        struct submits *s = *(struct submits **)arg;

        if (skua_await_blocking(self, submits_fn, s) != 3)
                abort();
}

static void check_drain(void)
{
        struct skua *rt = pool_start_with(1, 1, 0);
        struct submits s = {.rt = rt, .submitted = 1}, *at = &s;
        struct tally knocks = {0};
        struct knock knock = {.knocks = &knocks};
        pthread_t thread;

        skua_job_init(&knock.job, knock_run);
        skua_post(rt, submits_run, &at, sizeof at);
        tally_wait(&s.inside, 1);
        thread = go(drain_thread, rt);
        wait_closed(rt, &knock.job, &knocks);
        tally_add(&s.leave, 1);
        tap_is((intptr_t)join(thread), 0, "a drain waits for a call");
        tap_is(s.submitted, 0, "which may submit");
        tap_is(tally_read(&s.runs), 1, "what it submits is run");
        tap_is(s.stopped, -EDEADLK, "but may not stop the runtime");
}

/* ------------------------------------------------------------------ the child of a fork */

struct forker {
        struct skua *rt;
        struct skua_job job;
        struct skua_group group;
        int inside, on_pool;
};

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

static pid_t fork_child(void)
{
        pid_t child;

        fflush(stdout);
        child = fork();
        if (child == 0) {
                signal(SIGALRM, SIG_DFL);
                alarm(60);
        }
        return child;
}

static int nothing(void *arg)
{
        (void)arg;
        return 5;
}

static void call_nothing(struct skua_worker *self, void *arg)
{
        *(int *)arg = skua_await_blocking(self, nothing, NULL);
}

/* How many things are not as they should be. */
static int in_child(const struct forker *f)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua *own = NULL;
        struct skua_job job;
        int wrong = 0, result = 0;

        skua_job_init(&job, held_run);
        where.flags = SKUA_BLOCKING;
        wrong += skua_submit_to(f->rt, &job, &where) != -EOWNERDEAD;
        where.flags = SKUA_BLOCKING | SKUA_TRY;
        wrong += skua_submit_to(f->rt, &job, &where) != -EOWNERDEAD;
        wrong += skua_submit(f->rt, &job) != -EOWNERDEAD;
        wrong += skua_stop(f->rt, SKUA_DRAIN) != -EOWNERDEAD;
        skua_abandon(f->rt);
        wrong += pool_thread_self() != NULL;
        wrong += skua_start(&own, NULL) != 0;
        wrong += skua_run(own, call_nothing, &result) != 0 || result != 5;
        wrong += skua_stop(own, SKUA_DRAIN) != 0;
        return wrong;
}

static void fork_on_pool(struct skua_worker *self, struct skua_job *job)
{
        struct forker *f = skua_container(job, struct forker, job);
        pid_t child = fork_child();

        (void)self;
        if (child == 0)
                _exit(in_child(f));
        f->on_pool = status_of(child);
}

static void fork_inside(struct skua_worker *self, void *arg)
{
        struct forker *f = arg;
        pid_t child = fork_child();

        if (child == 0)
                _exit(skua_await_blocking(self, nothing, NULL) == -EOWNERDEAD ? in_child(f) : 100);
        f->inside = status_of(child);
}

static void check_fork(void)
{
        struct forker f = {.rt = rig_start(1, NULL), .inside = -1, .on_pool = -1};
        struct hold hold;
        pid_t child;

        if (RIG_TSAN || RIG_ASAN || (getenv("EMULATOR") && *getenv("EMULATOR"))) {
                tap_skip(4, "locks of the sanitizer or emulator do not survive a fork here");
                rig_stop(f.rt);
                return;
        }
        hold_init(&hold);
        hold_more(f.rt, &hold, 2, 0);
        tally_wait(&hold.entered, 2);
        child = fork_child();
        if (child == 0)
                _exit(in_child(&f));
        tap_is(status_of(child), 0,
               "in a child each call says whose owner is dead, a new pool works");
        skua_run(f.rt, fork_inside, &f);
        tap_is(f.inside, 0, "also in the child of a job");
        {
                struct skua_target where = blocking_target(&hold, 0);

                skua_job_init(&f.job, fork_on_pool);
                skua_submit_to(f.rt, &f.job, &where);
        }
        tap_is(hold_end(&hold), 0, "the parent's pool goes on");
        tap_is(f.on_pool, 0, "and in the child of a job on the pool");
        rig_stop(f.rt);
}

/* ------------------------------------------------------------------ many */

enum { MANY = 2000 };

struct many {
        atomic_uint called, refused;
        uint64_t seed;
        struct tally never;
};

struct one {
        struct skua_job job;
        struct many *many;
        int64_t deadline_ns;
        int fed, result;
        unsigned yields;
};

static int one_fn(void *arg)
{
        struct one *one = arg;

        atomic_fetch_add(&one->many->called, 1);
        for (unsigned i = 0; i < one->yields; i++)
                sched_yield();
        return one->fed;
}

static void one_run(struct skua_worker *self, struct skua_job *job)
{
        struct one *one = skua_container(job, struct one, job);

        one->result = skua_await_blocking_until(self, one_fn, one, one->deadline_ns);
        if (one->result < 0)
                atomic_fetch_add(&one->many->refused, 1);
}

/* Some with deadlines about now; the group is cancelled on the way. */
static void check_many(unsigned most, bool cancel, bool deadlines)
{
        struct skua *rt = pool_start_with(3, most, 0);
        unsigned count = rig_rounds(MANY), wrong = 0;
        struct one *ones = calloc(count, sizeof *ones);
        struct many many = {.called = 0};
        struct skua_group group;

        skua_group_init(&group);
        for (unsigned i = 0; i < count; i++) {
                ones[i].many = &many;
                ones[i].fed = (int)i;
                ones[i].yields = i % 3;
                if (deadlines && tap_random(&many.seed) % 2)
                        ones[i].deadline_ns = skua_now_ns() +
                                              (int64_t)(tap_random(&many.seed) % MS);
                skua_job_init(&ones[i].job, one_run);
                skua_group_submit(rt, &group, &ones[i].job);
                if (cancel && i == count / 2)
                        skua_group_cancel(&group);
        }
        tap_is(skua_group_wait(&group, -1), cancel ? -ECANCELED : 0, "many calls end");
        for (unsigned i = 0; i < count; i++)
                wrong += ones[i].result != (int)i && !(cancel && ones[i].result == -ECANCELED) &&
                         !(ones[i].deadline_ns && ones[i].result == -ETIMEDOUT);
        tap_is(wrong, 0, "each with its result, or the reason why not");
        tap_is(many.called + many.refused, count, "called or refused, never both");
        rig_stop(rt);
        free(ones);
}

int main(void)
{
        struct skua *rt;

        tap_plan(CHECKS, 120);
        rt = rig_start(2, NULL);
        check_basics(rt);
        check_running_is_waited_for(rt);
        check_deadline_of_running(rt);
        rig_stop(rt);
        check_queued();
        check_turns();
        check_none();
        check_cancelling_stop();
        check_drain();
        check_fork();
        check_many(512, false, false);
        check_many(2, false, false);
        check_many(1, true, false);
        check_many(3, true, true);
        check_many(2, false, true);
        return tap_done();
}
