/* SPDX-License-Identifier: MIT
 *
 * What a program must not do, and what it gets: an abort that says what and where. Each case runs
 * in a program of its own: this one, started anew with the case's name.
 */
/* link: -rdynamic */
#include <sys/wait.h>

#include "core/crew.h"

enum { CHECKS = 16 };

/* ------------------------------------------------------------------ the cases */

/* Names that the reports are to give: not static, and linked with -rdynamic. */
__attribute__((noinline)) void ends_its_thread(struct skua_worker *self, struct skua_job *job);
__attribute__((noinline)) void forks_and_returns(struct skua_worker *self, struct skua_job *job);

void ends_its_thread(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        pthread_exit(NULL);
}

static void fork_body(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
}

void forks_and_returns(struct skua_worker *self, struct skua_job *job)
{
        static struct skua_job forked;

        (void)job;
        skua_fork(self, &forked, fork_body);
}

/* Not found by name. */
static void ends_it_namelessly(struct skua_worker *self, struct skua_job *job)
{
        ends_its_thread(self, job);
}

/* What skua_join() calls in a debug build. */
__attribute__((noinline)) void joins_the_older(struct skua_worker *self, struct skua_job *job);

void joins_the_older(struct skua_worker *self, struct skua_job *job)
{
        static struct skua_job older, younger;

        (void)job;
        skua_fork(self, &older, fork_body);
        skua_fork(self, &younger, fork_body);
        if (!skua_join_checked_(self, &younger) || !skua_join_checked_(self, &older))
                return;
        skua_fork(self, &older, fork_body);
        skua_fork(self, &younger, fork_body);
        skua_join_checked_(self, &older);
}

static void run_one(skua_fn *fn)
{
        static struct skua_job job;
        struct skua *rt = rig_start(1, NULL);

        skua_job_init(&job, fn);
        skua_submit(rt, &job);
        skua_stop(rt, SKUA_DRAIN);
}

static void submit_twice(void)
{
        static struct gatekeeper keeper;
        static struct skua_job job;
        struct skua *rt = rig_start(1, NULL);

        keep(rt, &keeper, 0);
        skua_job_init(&job, fork_body);
        skua_submit(rt, &job);
        skua_submit(rt, &job);
}

static void spawn_queued(struct skua_worker *self, struct skua_job *job)
{
        static struct skua_job other;

        (void)job;
        skua_job_init(&other, fork_body);
        skua_spawn(self, &other);
        skua_spawn(self, &other);
}

static void then_twice(void)
{
        static struct skua_job one, other;
        struct skua *rt = rig_start(1, NULL);
        struct skua_group group;

        skua_group_init(&group);
        skua_group_hold(&group, 1);
        skua_job_init(&one, fork_body);
        skua_job_init(&other, fork_body);
        skua_group_then(rt, &group, &one);
        skua_group_then(rt, &group, &other);
}

static int run_case(const char *name)
{
        signal(SIGALRM, SIG_DFL);
        alarm(60);
        if (!strcmp(name, "pthread_exit"))
                run_one(ends_its_thread);
        else if (!strcmp(name, "nameless"))
                run_one(ends_it_namelessly);
        else if (!strcmp(name, "older"))
                run_one(joins_the_older);
        else if (!strcmp(name, "unjoined"))
                run_one(forks_and_returns);
        else if (!strcmp(name, "twice"))
                submit_twice();
        else if (!strcmp(name, "spawn"))
                run_one(spawn_queued);
        else if (!strcmp(name, "then"))
                then_twice();
        return 0;
}

/* ------------------------------------------------------------------ what they say */

static char output[8192];

/* Standard error of the case goes to output[]; what waitpid() says is returned. */
static int observe(const char *name)
{
        size_t length = 0;
        int ends[2], status = 0;
        pid_t child;
        ssize_t got;

        fflush(stdout);
        if (pipe(ends) || (child = fork()) < 0)
                return 0;
        if (!child) {
                dup2(ends[1], STDERR_FILENO);
                dup2(ends[1], STDOUT_FILENO);
                close(ends[0]);
                close(ends[1]);
                execl("/proc/self/exe", "misuse", name, (char *)NULL);
                _exit(127);
        }
        close(ends[1]);
        while ((got = read(ends[0], output + length, sizeof output - 1 - length)) > 0)
                length += (size_t)got;
        output[length] = 0;
        close(ends[0]);
        waitpid(child, &status, 0);
        return status;
}

static void expect_abort(const char *name, const char *first, const char *second)
{
        int status = observe(name);

        tap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: aborts", name);
        if (!tap_ok(strstr(output, first) && strstr(output, second), "and says \"%s\", \"%s\"",
                    first, second))
                printf("# it said: %s\n", output);
}

int main(int argc, char **argv)
{
        if (argc > 1)
                return run_case(argv[1]);
        if (getenv("EMULATOR") && *getenv("EMULATOR"))
                tap_skip_all("the program cannot start itself anew under emulation");
        tap_plan(CHECKS, 120);
        if (RIG_TSAN) {
                tap_skip(6, "the thread sanitizer ends itself when a thread does so elsewhere");
        } else {
                expect_abort("pthread_exit", "pthread_exit", "ends_its_thread");
                expect_abort("pthread_exit", "worker 0", "job function");
                expect_abort("nameless", "misuse", "+0x");
        }
        expect_abort("older", "not the youngest", "joins_the_older");
#ifdef SKUA_DEBUG
        expect_abort("unjoined", "unjoined", "forks_and_returns");
        expect_abort("twice", "queued already", "skua");
        expect_abort("spawn", "queued already", "skua");
        expect_abort("then", "has one already", "skua_group_then");
#else
        tap_skip(8, "only a debug build (DEBUG=1) looks for it");
#endif
        return tap_done();
}
