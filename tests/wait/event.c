/* SPDX-License-Identifier: MIT
 *
 * Events: one waiter per post, a post remembered once, jobs and threads alike; early ends; posts by
 * a signal handler beside a waiter that it interrupts; many at once.
 */
#include <signal.h>

#include "wait/crowd.h"

enum { CHECKS = 2 * 22, WAITERS = 5 };
#define MS ((int64_t)1000000)

static struct skua_event event; /* all zero is not set */

/* ------------------------------------------------------------------ alone */

static void alone(struct skua_worker *self, void *arg)
{
        struct skua_event *e = arg;

        tap_ok(!skua_try_event(e), "it is not set");
        skua_event_post(e);
        skua_event_post(e);
        tap_ok(skua_try_event(e), "it is set by a post");
        tap_ok(!skua_try_event(e), "once, however many there were");
        skua_event_post(e);
        tap_is(skua_await_event(self, e), 0, "awaiting it takes it");
        tap_is(skua_await_event_until(self, e, 1), -ETIMEDOUT, "so that it is not there any more");
        tap_is(skua_await_event_until(self, e, skua_now_ns() + MS), -ETIMEDOUT, "nor comes");
        tap_is(skua_wait_event(e, 0), -EDEADLK, "a job does not block its worker");
        skua_event_post(e);
        tap_is(skua_await_event_until(self, e, 1), 0, "what is there wins over the deadline");
}

static void check_thread(void)
{
        tap_is(skua_wait_event(&event, 0), -ETIMEDOUT, "a thread may look");
        tap_is(skua_wait_event(&event, MS), -ETIMEDOUT, "or wait for a while");
        skua_event_post(&event);
        tap_is(skua_wait_event(&event, -1), 0, "and gets it");
}

/* ------------------------------------------------------------------ one each */

struct line {
        struct skua_group group;
        struct waiting {
                struct skua_job job;
                struct line *line;
                int result;
        } waiting[WAITERS];
        atomic_uint got;
};

static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        w->result = skua_await_event(self, &event);
        atomic_fetch_add(&w->line->got, 1);
}

static void *waiting_thread(void *arg)
{
        struct line *line = arg;

        if (!skua_wait_event(&event, -1))
                atomic_fetch_add(&line->got, 1);
        return NULL;
}

static void check_each(struct skua *rt)
{
        struct line line = {.got = 0};
        pthread_t thread;

        skua_event_init(&event);
        skua_group_init(&line.group);
        if (pthread_create(&thread, NULL, waiting_thread, &line))
                abort();
        for (unsigned i = 0; i < WAITERS; i++) {
                line.waiting[i].line = &line;
                skua_job_init(&line.waiting[i].job, waiting_run);
                skua_group_submit(rt, &line.group, &line.waiting[i].job);
        }
        rig_until_suspended(rt, WAITERS);
        for (unsigned i = 1; i <= WAITERS; i++) {
                skua_event_post(&event);
                rig_until(&line.got, i);
        }
        tap_is(atomic_load(&line.got), WAITERS, "a post wakes one");
        skua_event_post(&event);
        tap_is(skua_group_wait(&line.group, -1), 0, "in the end all of them");
        pthread_join(thread, NULL);
        tap_ok(!skua_try_event(&event), "and none is left over");
}

static void check_cancel(struct skua *rt)
{
        struct line line = {.got = 0};

        skua_group_init(&line.group);
        for (unsigned i = 0; i < WAITERS; i++) {
                line.waiting[i].line = &line;
                skua_job_init(&line.waiting[i].job, waiting_run);
                skua_group_submit(rt, &line.group, &line.waiting[i].job);
        }
        rig_until_suspended(rt, WAITERS);
        skua_group_cancel(&line.group);
        tap_is(skua_group_wait(&line.group, -1), -ECANCELED, "cancelled, all end");
        skua_event_post(&event);
        tap_ok(line.waiting[0].result == -ECANCELED && skua_try_event(&event),
               "and take nothing with them");
}

/* ------------------------------------------------------------------ freed by who has waited */

static void post_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        skua_event_post(*(struct skua_event **)(void *)(job + 1));
}

static void check_freed(struct skua *rt)
{
        unsigned rounds = rig_rounds(2000), good = 0;
        struct {
                struct skua_job job;
                struct skua_event *event;
        } post;

        for (unsigned i = 0; i < rounds; i++) {
                struct skua_event *e = malloc(sizeof *e);
                struct skua_group group;

                if (!e)
                        abort();
                skua_event_init(e);
                skua_group_init(&group);
                post.event = e;
                skua_job_init(&post.job, post_run);
                skua_group_submit(rt, &group, &post.job);
                good += !skua_wait_event(e, -1);
                free(e);
                skua_group_wait(&group, -1);
        }
        tap_is(good, rounds, "who alone has waited may free it at once");
}

/* ------------------------------------------------------------------ signals */

static struct skua_event answered;
static atomic_uint handled, stop;

static void handler(int number)
{
        int saved = errno;

        (void)number;
        errno = EXDEV;
        skua_event_post(&event);
        if (errno != EXDEV)
                abort();
        errno = saved;
        atomic_fetch_add(&handled, 1);
}

struct target {
        struct skua_job job;
        pthread_t thread;
        atomic_uint there;
        uint64_t got;
        unsigned wrong;
        uint64_t random;
};

/* Waits in all ways, mostly not long enough, so that the handler comes at all moments. */
static void take_some(struct skua_worker *self, struct target *t)
{
        int64_t span = (int64_t)(tap_random(&t->random) % 3000);
        int result;

        if (span % 5 == 0)
                result = skua_try_event(&event) ? 0 : -ETIMEDOUT;
        else if (self)
                result = skua_await_event_until(self, &event, skua_now_ns() + span);
        else
                result = skua_wait_event(&event, span);
        if (!result) {
                t->got++;
                skua_event_post(&answered);
        } else if (result != -ETIMEDOUT) {
                t->wrong++;
        }
}

static void target_begin(struct target *t)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        t->thread = pthread_self();
        atomic_store(&t->there, 1);
}

static void target_run(struct skua_worker *self, struct skua_job *job)
{
        struct target *t = skua_container(job, struct target, job);

        target_begin(t);
        while (!atomic_load(&stop))
                take_some(self, t);
}

static void *target_thread(void *arg)
{
        struct target *t = arg;

        target_begin(t);
        while (!atomic_load(&stop))
                take_some(NULL, t);
        return NULL;
}

/* Each post must have been taken before the next one is made: none is lost, and none comes twice.
 */
static void bombard(struct target *t, const char *who)
{
        unsigned rounds = rig_rounds(3000), late = 0;

        rig_until(&t->there, 1);
        for (unsigned i = 0; i < rounds; i++) {
                pthread_kill(t->thread, SIGUSR1);
                late += skua_wait_event(&answered, -1) != 0;
                rig_until(&handled, i + 1);
        }
        atomic_store(&stop, 1);
        tap_is(late, 0, who);
}

static void check_signals(struct skua *rt)
{
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
        static struct target t;
        struct skua_group group;
        pthread_t thread;

        sigaction(SIGUSR1, &action, NULL);
        skua_event_init(&event);
        if (RIG_TSAN)
                tap_skip(2, "the thread sanitizer keeps a signal for the stack it has come on");
        for (unsigned threads = RIG_TSAN; threads < 2; threads++) {
                memset(&t, 0, sizeof t);
                atomic_store(&stop, 0);
                atomic_store(&handled, 0);
                skua_group_init(&group);
                if (threads) {
                        if (pthread_create(&thread, NULL, target_thread, &t))
                                abort();
                } else {
                        skua_job_init(&t.job, target_run);
                        skua_group_submit(rt, &group, &t.job);
                }
                bombard(&t, threads ? "a handler posts to the thread it interrupts"
                                    : "a handler posts to the job whose worker it interrupts");
                skua_group_wait(&group, -1);
                if (threads)
                        pthread_join(thread, NULL);
                tap_ok(t.got == atomic_load(&handled) && !t.wrong, "each post is taken once");
        }
}

/* ------------------------------------------------------------------ many */

static atomic_uint posted, taken, ended;

static void toss(struct skua_worker *self, struct member *m)
{
        for (unsigned i = 0; i < rig_rounds(30); i++) {
                int result;

                if (member_any(m, 2)) {
                        atomic_fetch_add(&posted, 1);
                        skua_event_post(&event);
                        continue;
                }
                if (self)
                        result = skua_await_event_until(self, &event,
                                                        skua_now_ns() + member_any(m, 30000));
                else
                        result = skua_wait_event(&event, member_any(m, 30000));
                atomic_fetch_add(&taken, !result);
        }
        atomic_fetch_add(&ended, 1);
}

static void toss_run(struct skua_worker *self, struct skua_job *job)
{
        toss(self, member_of(job));
}

static void toss_thread(struct member *m)
{
        toss(NULL, m);
}

static void check_many(struct skua *rt)
{
        static struct crowd crowd = {.run = toss_run, .thread = toss_thread};
        unsigned wrong = 0;

        for (unsigned i = 0; i < rig_rounds(200); i++) {
                atomic_store(&posted, 0);
                atomic_store(&taken, 0);
                skua_event_init(&event);
                crowd_round(rt, &crowd, i % 2, NULL);
                skua_event_post(&event);
                wrong += !skua_try_event(&event) || skua_try_event(&event);
                wrong += atomic_load(&taken) > atomic_load(&posted);
        }
        tap_is(wrong, 0, "of many at once, no more are taken than were posted, and it still works");
}

int main(void)
{
        tap_plan(CHECKS, 240);
        for (unsigned workers = 1; workers <= 4; workers += 3) {
                struct skua *rt = rig_start(workers, NULL);

                crowd_run(rt, alone, &event);
                check_thread();
                check_each(rt);
                check_cancel(rt);
                check_freed(rt);
                check_signals(rt);
                check_many(rt);
                rig_stop(rt);
        }
        return tap_done();
}
