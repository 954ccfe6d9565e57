/* SPDX-License-Identifier: MIT
 *
 * Inboxes beside an event loop of the program's own: nothing is lost and nothing comes twice, also
 * when run takes only a few at a time; one wake-up for many; and the memory may go with the last.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "core/crew.h"

enum { CHECKS = 30, POSTERS = 5 };

struct box {
        struct skua_inbox in;
        unsigned last[POSTERS + 1]; /* of each poster; touched by the loop alone */
        unsigned ran, wrong;
};

struct letter {
        struct skua_job job;
        struct box *box;
        unsigned poster, number, again;
};

static void letter_run(struct skua_worker *self, struct skua_job *job)
{
        struct letter *letter = skua_container(job, struct letter, job);
        struct box *box = letter->box;

        box->wrong += self != NULL || skua_self() || skua_cancelled(self);
        box->wrong += letter->number != ++box->last[letter->poster];
        box->ran++;
        if (letter->again) {
                letter->again--;
                letter->number++;
                skua_inbox_post(&box->in, job);
                return;
        }
        free(letter);
}

static void post(struct box *box, unsigned poster, unsigned number, unsigned again)
{
        struct letter *letter = calloc(1, sizeof *letter);

        letter->box = box;
        letter->poster = poster;
        letter->number = number;
        letter->again = again;
        skua_job_init(&letter->job, letter_run);
        skua_inbox_post(&box->in, &letter->job);
}

static struct box *box_new(void)
{
        struct box *box = calloc(1, sizeof *box);

        if (skua_inbox_init(&box->in)) {
                printf("Bail out! skua_inbox_init\n");
                exit(3);
        }
        return box;
}

static int readable(const struct skua_inbox *in)
{
        struct pollfd poll_fd = {skua_inbox_fd(in), POLLIN, 0};

        return poll(&poll_fd, 1, 0);
}

/* ------------------------------------------------------------------ one thread */

static void check_steps(void)
{
        struct box *box = box_new();
        struct skua_inbox *in = &box->in;

        tap_is(readable(in), 0, "a fresh inbox");
        tap_is(skua_inbox_run(in, 10), 0, "has nothing to run");
        tap_ok(fcntl(skua_inbox_fd(in), F_GETFD) & FD_CLOEXEC, "and is not inherited by exec");
        for (unsigned i = 1; i <= 10; i++)
                post(box, 0, i, 0);
        tap_is(readable(in), 1, "ten jobs");
        tap_is(skua_inbox_fini(in), -EBUSY, "they keep it");
        tap_is(skua_inbox_run(in, 0), 0, "none was asked for");
        tap_is(skua_inbox_run(in, 4), 4, "four were");
        tap_is(readable(in), 1, "more are left");
        tap_is(skua_inbox_fini(in), -EBUSY, "they keep it too");
        post(box, 0, 11, 0);
        tap_is(skua_inbox_run(in, 3), 3, "the next ones");
        tap_is(skua_inbox_run(in, SIZE_MAX), 4, "the rest, with one posted between");
        while (readable(in))
                skua_inbox_run(in, 1);
        tap_is(box->ran + box->wrong, 11, "all in order");
        post(box, 0, 12, 3);
        tap_is(skua_inbox_run(in, 10), 1, "a job that posts itself");
        tap_is(readable(in), 1, "is there again");
        tap_is(skua_inbox_run(in, 10) + skua_inbox_run(in, 10) + skua_inbox_run(in, 10), 3,
               "and again");
        tap_is(skua_inbox_fini(in), 0, "then it may go");
        tap_is(box->ran + box->wrong, 15, "and nothing was lost");
        free(box);
}

/* Exactly `max` there: what was left may be nothing, and the next run finds that out. */
static void check_exact(void)
{
        unsigned wrong = 0;

        for (unsigned max = 1; max < 6; max++) {
                struct box *box = box_new();

                for (unsigned i = 1; i <= 20; i++) {
                        post(box, 0, i, 0);
                        if (i % 3 == 0)
                                wrong += skua_inbox_run(&box->in, max) > max;
                }
                while (readable(&box->in))
                        wrong += skua_inbox_run(&box->in, max) > max;
                wrong += box->ran != 20 || box->wrong;
                wrong += skua_inbox_fini(&box->in) != 0;
                free(box);
        }
        tap_is(wrong, 0, "readable as long as there is something, for every max");
}

static void check_errors(void)
{
        struct rlimit limit, none;
        struct skua_inbox in;

        getrlimit(RLIMIT_NOFILE, &limit);
        none = limit;
        none.rlim_cur = 0;
        setrlimit(RLIMIT_NOFILE, &none);
        tap_is(skua_inbox_init(&in), -EMFILE, "no file descriptor left");
        setrlimit(RLIMIT_NOFILE, &limit);
}

/* ------------------------------------------------------------------ an event loop */

/* Runs it until so many have come, a few at a time; sleeps in epoll only. Returns its wake-ups. */
static unsigned loop(struct box *box, unsigned count, size_t max)
{
        struct epoll_event event = {.events = EPOLLIN};
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        unsigned wakes = 0;

        epoll_ctl(epoll, EPOLL_CTL_ADD, skua_inbox_fd(&box->in), &event);
        while (box->ran < count) {
                if (epoll_wait(epoll, &event, 1, -1) < 1)
                        continue;
                wakes++;
                skua_inbox_run(&box->in, max);
        }
        close(epoll);
        return wakes;
}

struct poster {
        struct box *box;
        unsigned poster, count;
        pthread_t thread;
};

static void *poster_thread(void *arg)
{
        struct poster *p = arg;

        for (unsigned i = 1; i <= p->count; i++) {
                post(p->box, p->poster, i, 0);
                if (i % 16 == p->poster)
                        sched_yield();
        }
        return NULL;
}

struct answer {
        struct skua_job job;
        struct box *box;
        unsigned count;
};

static void answer_run(struct skua_worker *self, struct skua_job *job)
{
        struct answer answer = *skua_container(job, struct answer, job);

        (void)self;
        for (unsigned i = 1; i <= answer.count; i++) /* with the last one all may be gone */
                post(answer.box, POSTERS, i, 0);
}

static void check_loop(struct skua *rt, size_t max)
{
        unsigned each = rig_rounds(20000), rounds = 3, wrong = 0;

        for (unsigned round = 0; round < rounds; round++) {
                struct box *box = box_new();
                struct poster posters[POSTERS];
                struct answer answer = {.box = box, .count = each};

                for (unsigned i = 0; i < POSTERS; i++) {
                        posters[i] = (struct poster){box, i, each, 0};
                        posters[i].thread = go(poster_thread, &posters[i]);
                }
                skua_job_init(&answer.job, answer_run);
                skua_submit(rt, &answer.job);
                loop(box, each * (POSTERS + 1), max);
                wrong += skua_inbox_fini(&box->in) != 0 || box->wrong;
                wrong += box->ran != each * (POSTERS + 1);
                free(box);
                for (unsigned i = 0; i < POSTERS; i++)
                        join(posters[i].thread);
        }
        tap_ok(!wrong, "many posters, at most %zu at a time: each job once and in order", max);
}

/* The last job of many inboxes, each gone as soon as it has been run: whoever posted may still be
 * in its call. */
struct chain {
        pthread_t thread;
        unsigned rounds;
        struct tally given, gone;
        struct box *box;
};

static void *chain_thread(void *arg)
{
        struct chain *chain = arg;

        for (unsigned i = 1; i <= chain->rounds; i++) {
                tally_wait(&chain->given, i);
                post(chain->box, 0, 1, 0);
        }
        return NULL;
}

static void check_gone(void)
{
        struct chain chain = {.rounds = rig_rounds(20000)};
        unsigned wrong = 0;

        chain.thread = go(chain_thread, &chain);
        for (unsigned i = 0; i < chain.rounds; i++) {
                struct box *box = chain.box = box_new();

                tally_add(&chain.given, 1);
                while (!skua_inbox_run(&box->in, 1))
                        if (i & 1)
                                sched_yield();
                wrong += skua_inbox_fini(&box->in) != 0 || box->ran != 1 || box->wrong;
                memset(box, 0xff, sizeof *box);
                free(box);
        }
        join(chain.thread);
        tap_is(wrong, 0, "an inbox may go when its last job has been run");
}

/* How often a loop that sleeps is woken for what it has not yet run. */
static void check_wakes(void)
{
        struct box *box = box_new();
        uint64_t count = 0;

        for (unsigned i = 1; i <= 1000; i++)
                post(box, 0, i, 0);
        tap_is(read(skua_inbox_fd(&box->in), &count, sizeof count), (int)sizeof count,
               "a thousand posts");
        tap_is(count, 1, "wake once");
        tap_is(skua_inbox_run(&box->in, SIZE_MAX), 1000, "for all of them");
        tap_is(readable(&box->in), 0, "and then there is quiet");
        tap_is(skua_inbox_fini(&box->in), 0, "gone");
        free(box);
}

int main(void)
{
        static const size_t most[] = {1, 2, 7, 64, SIZE_MAX};
        struct skua *rt;

        tap_plan(CHECKS, 120);
        check_steps();
        check_exact();
        check_errors();
        check_wakes();
        rt = rig_start(2, NULL);
        for (unsigned i = 0; i < 5; i++)
                check_loop(rt, most[i]);
        check_gone();
        rig_stop(rt);
        return tap_done();
}
