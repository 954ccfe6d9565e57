/* SPDX-License-Identifier: MIT
 *
 * What only a debug build looks for: a pthread mutex held across an await, a join or a loop, and
 * mutexes of jobs that are locked twice or unlocked by another. Each case runs in a program of its
 * own: this one, started anew with the case's name.
 */
/* link: -rdynamic */
#include <pthread.h>
#include <sys/wait.h>

#include "rig.h"

enum { CHECKS = 14 };

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static struct skua_mutex mutex;

/* ------------------------------------------------------------------ the cases */

/* Names that the reports are to give: not static, and linked with -rdynamic. */
void awaits(struct skua_worker *self, struct skua_job *job);
void awaits_tried(struct skua_worker *self, struct skua_job *job);
void joins(struct skua_worker *self, struct skua_job *job);
void loops(struct skua_worker *self, struct skua_job *job);
void locks_twice(struct skua_worker *self, struct skua_job *job);
void unlocks_foreign(struct skua_worker *self, struct skua_job *job);
void behaves(struct skua_worker *self, struct skua_job *job);

void awaits(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        pthread_mutex_lock(&plain);
        skua_await_yield(self);
}

void awaits_tried(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        if (!pthread_mutex_trylock(&plain))
                skua_await_sleep(self, 1000);
}

static void forked(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
}

static void part(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)self, (void)begin, (void)end, (void)arg;
}

static void join_one(struct skua_worker *self)
{
        struct skua_job job;

        skua_fork(self, &job, forked);
        if (skua_join(self, &job))
                forked(self, &job);
}

void joins(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        pthread_mutex_lock(&plain);
        join_one(self);
}

void loops(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        pthread_mutex_lock(&plain);
        skua_for(self, 0, 10, 1, part, NULL);
}

void locks_twice(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_await_lock(self, &mutex);
        skua_await_lock(self, &mutex);
}

void unlocks_foreign(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_unlock(self, &mutex);
}

static void isolated(struct skua_worker *self, void *arg)
{
        (void)arg;
        join_one(self);
        skua_for(self, 0, 10, 1, part, NULL);
}

static void nested(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        pthread_mutex_lock(&plain);
        pthread_mutex_unlock(&plain);
        skua_await_yield(self);
}

/* What must not be reported. */
void behaves(struct skua_worker *self, struct skua_job *job)
{
        static struct skua_job other;
        struct timespec past = {0, 0};

        (void)job;
        skua_job_init(&other, nested);
        skua_spawn(self, &other);
        pthread_mutex_lock(&plain);
        skua_isolated(self, isolated, NULL); /* nothing foreign runs inside */
        if (pthread_mutex_trylock(&plain) != EBUSY ||
            pthread_cond_timedwait(&condition, &plain, &past) != ETIMEDOUT)
                abort();
        pthread_mutex_unlock(&plain);
        for (unsigned i = 0; i < 3; i++)
                skua_await_yield(self);
        if (pthread_mutex_timedlock(&plain, &past))
                abort();
        pthread_mutex_unlock(&plain);
        join_one(self);
        skua_for(self, 0, 10, 1, part, NULL);
        if (skua_await_lock(self, &mutex))
                abort();
        skua_await_yield(self); /* these may be held */
        skua_unlock(self, &mutex);
        puts("well");
        fflush(stdout);
}

static const struct {
        const char *name;
        skua_fn *run;
} list[] = {
        {"awaits", awaits},  {"awaits_tried", awaits_tried}, {"joins", joins},
        {"loops", loops},    {"locks_twice", locks_twice},   {"unlocks_foreign", unlocks_foreign},
        {"behaves", behaves}};

static int run_case(const char *name)
{
        static struct skua_job job;
        struct skua *rt;

        signal(SIGALRM, SIG_DFL);
        alarm(60);
        for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
                if (strcmp(name, list[i].name))
                        continue;
                rt = rig_start(1, NULL);
                skua_job_init(&job, list[i].run);
                skua_submit(rt, &job);
                skua_stop(rt, SKUA_DRAIN);
        }
        return 0;
}

/* ------------------------------------------------------------------ what they say */

static char output[8192];

/* What the case writes goes to output[]; what waitpid() says is returned. */
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

__attribute__((unused)) static void expect_abort(const char *name, const char *what)
{
        int status = observe(name);

        tap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: aborts", name);
        if (!tap_ok(strstr(output, what) && strstr(output, name), "and says \"%s\"", what))
                printf("# it said: %s\n", output);
}

int main(int argc, char **argv)
{
        int status;

        if (argc > 1)
                return run_case(argv[1]);
        if (getenv("EMULATOR") && *getenv("EMULATOR"))
                tap_skip_all("the program cannot start itself anew under emulation");
        tap_plan(CHECKS, 120);
#ifdef SKUA_DEBUG
        if (RIG_TSAN || RIG_ASAN) {
                tap_skip(8, "beside a sanitizer pthread mutexes are not counted");
        } else {
                expect_abort("awaits", "holds a pthread mutex");
                expect_abort("awaits_tried", "holds a pthread mutex");
                expect_abort("joins", "skua_join: the job holds a pthread mutex");
                expect_abort("loops", "loops and holds a pthread mutex");
        }
        expect_abort("locks_twice", "locked the mutex already");
        expect_abort("unlocks_foreign", "has not locked the mutex");
#else
        tap_skip(12, "only a debug build (DEBUG=1) looks for it");
#endif
        status = observe("behaves");
        tap_ok(WIFEXITED(status) && !WEXITSTATUS(status), "what is right is not reported");
        tap_ok(strstr(output, "well"), "and goes well");
        return tap_done();
}
