/* SPDX-License-Identifier: MIT
 *
 * The threads of a runtime: callbacks, names, signals; and the questions that a program may ask.
 */
#include <dirent.h>
#include <signal.h>
#include <syslog.h>

#include "core/crew.h"

enum { CHECKS = 36, WORKERS = 5 };

/* ------------------------------------------------------------------ callbacks */

struct callbacks {
        atomic_uint starts, ends, wrong, count;
        pid_t started[WORKERS];
        struct tally posted;
        struct skua *rt;
};

static void posted(struct skua_worker *self, void *arg)
{
        (void)self;
        tally_add(&(*(struct callbacks **)arg)->posted, 1);
}

static unsigned wrong_in_callback(struct skua *rt, int starting)
{
        struct skua_group group;
        unsigned wrong = 0;

        skua_group_init(&group);
        wrong += skua_self() != NULL || skua_workers(rt) != WORKERS;
        wrong += skua_stop(rt, SKUA_DRAIN) != -EDEADLK || skua_stop_within(rt, 0) != -EDEADLK;
        wrong += skua_run(rt, posted, NULL) != -EDEADLK;
        wrong += skua_group_wait(&group, 0) != -EDEADLK;
        if (!starting)
                wrong += skua_post(rt, posted, &rt, sizeof rt) != -ESHUTDOWN;
        return wrong;
}

static void on_thread(struct skua *rt, int starting, void *user)
{
        struct callbacks *c = user;
        pid_t self = gettid();

        atomic_fetch_add(&c->wrong, wrong_in_callback(rt, starting) + (skua_user(rt) != user));
        if (starting) {
                c->started[atomic_fetch_add(&c->starts, 1) % WORKERS] = self;
                atomic_fetch_add(&c->wrong, skua_post(rt, posted, &c, sizeof c) != 0);
        } else {
                unsigned found = 0;

                atomic_fetch_add(&c->ends, 1);
                for (unsigned i = 0; i < WORKERS; i++)
                        found += c->started[i] == self;
                atomic_fetch_add(&c->wrong, found != 1);
        }
}

static void check_callbacks(void)
{
        static struct callbacks c;
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.on_thread = on_thread;
        options.user = &c;
        c.rt = rig_start(WORKERS, &options);
        tap_ok(skua_user(c.rt) == &c, "the user's pointer");
        tally_wait(&c.posted, WORKERS);
        tap_is(atomic_load(&c.starts), WORKERS, "each thread is announced; they submit");
        tap_is(atomic_load(&c.ends), 0, "none has ended");
        rig_stop(c.rt);
        tap_is(atomic_load(&c.ends), WORKERS, "each is taken leave of, on itself");
        tap_is(atomic_load(&c.starts), WORKERS, "once");
        tap_is(atomic_load(&c.wrong), 0, "a callback is not a job, and may not stop, run or wait");
}

/* ------------------------------------------------------------------ names and signals */

static void read_line(const char *tid, const char *file, const char *begin, char *line, size_t size)
{
        char path[320];
        FILE *in;

        snprintf(path, sizeof path, "/proc/self/task/%s/%s", tid, file);
        line[0] = 0;
        in = fopen(path, "r");
        while (in && fgets(line, (int)size, in) && strncmp(line, begin, strlen(begin)))
                line[0] = 0;
        if (in)
                fclose(in);
        line[strcspn(line, "\n")] = 0;
}

/* Bits of those that must be blocked, and of those that must not. */
static bool signals_right(const char *tid)
{
        static const int let[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
        static const int blocked[] = {SIGTERM, SIGINT,  SIGHUP,  SIGUSR1, SIGUSR2,
                                      SIGALRM, SIGCHLD, SIGPIPE, SIGPROF, SIGWINCH};
        char line[200];
        unsigned long long mask;

        read_line(tid, "status", "SigBlk:", line, sizeof line);
        mask = strtoull(line + 7, NULL, 16);
        for (unsigned i = 0; i < sizeof let / sizeof *let; i++)
                if (mask >> (let[i] - 1) & 1)
                        return false;
        for (unsigned i = 0; i < sizeof blocked / sizeof *blocked; i++)
                if (!(mask >> (blocked[i] - 1) & 1))
                        return false;
        return mask >> (SIGRTMIN + 3 - 1) & 1 && mask >> (SIGRTMAX - 1) & 1;
}

struct census {
        unsigned named[WORKERS], threads, blocked;
};

static struct census count_threads(const char *name)
{
        struct census census = {.threads = 0};
        DIR *tasks = opendir("/proc/self/task");
        struct dirent *entry;

        while (tasks && (entry = readdir(tasks))) {
                char comm[64], format[40];
                unsigned index, node;
                int end = 0;

                if (entry->d_name[0] == '.')
                        continue;
                census.threads++;
                read_line(entry->d_name, "comm", "", comm, sizeof comm);
                snprintf(format, sizeof format, "%s-w%%2u/n%%u%%n", name);
                if (sscanf(comm, format, &index, &node, &end) != 2 || comm[end] || index >= WORKERS)
                        continue;
                census.named[index]++;
                census.blocked += signals_right(entry->d_name);
        }
        if (tasks)
                closedir(tasks);
        return census;
}

static void check_names(const char *name, const char *seen)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct census census;
        struct skua *rt;
        unsigned once = 0;
        sigset_t before, after;

        sigemptyset(&after);
        pthread_sigmask(SIG_SETMASK, NULL, &before);
        options.name = name;
        rt = rig_start(WORKERS, &options);
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        wait_parked(rt);
        census = count_threads(seen);
        for (unsigned i = 0; i < WORKERS; i++)
                once += census.named[i] == 1;
        tap_ok(once == WORKERS, "threads are called %s-w00/n0 and so on", seen);
        tap_is(census.blocked, WORKERS, "they block asynchronous signals, not faults");
        tap_ok(sigismember(&before, SIGTERM) == sigismember(&after, SIGTERM) &&
                       sigismember(&before, SIGUSR1) == sigismember(&after, SIGUSR1),
               "the starting thread's own mask is as before");
        rig_stop(rt);
        do { /* a thread that has been joined may be in /proc for a moment yet */
                census = count_threads(seen);
                once = 0;
                for (unsigned i = 0; i < WORKERS; i++)
                        once += census.named[i];
        } while (once && sched_yield() == 0);
        tap_is(once, 0, "none is left");
}

/* ------------------------------------------------------------------ questions */

struct look {
        struct skua_job job;
        struct skua *rt;
        struct tally *tally;
        unsigned index, node;
        bool right;
};

static void look_run(struct skua_worker *self, struct skua_job *job)
{
        struct look *look = skua_container(job, struct look, job);
        unsigned node = 0;
        int saved;

        getcpu(NULL, &node);
        saved = errno = 12345;
        look->index = skua_worker_index(self);
        look->node = skua_worker_node(self);
        look->right = skua_self() == self && skua_runtime(self) == look->rt &&
                      !skua_cancelled(self) && skua_workers(look->rt) == WORKERS && errno == saved;
        tally_add(look->tally, 1);
}

static void check_questions(void)
{
        struct tally tally = {0};
        struct look looks[WORKERS];
        struct skua *rt = rig_start(WORKERS, NULL);
        int64_t before, now;
        unsigned wrong = 0, cpus = 0, nodes = 0;

        tap_is(skua_workers(rt), WORKERS, "workers");
        tap_ok(!skua_user(rt), "no user's pointer");
        tap_ok(!skua_self(), "this thread is no worker");
        tap_ok(!skua_cancelled(NULL), "outside of any job nothing is cancelled");
        for (unsigned i = 0; i < WORKERS; i++) {
                struct skua_target where = SKUA_TARGET_INIT;

                looks[i] = (struct look){.rt = rt, .tally = &tally};
                skua_job_init(&looks[i].job, look_run);
                where.worker = SKUA_WORKER(i);
                wrong += skua_submit_to(rt, &looks[i].job, &where) != 0;
        }
        tally_wait(&tally, WORKERS);
        for (unsigned i = 0; i < WORKERS; i++)
                wrong += looks[i].index != i || !looks[i].right || looks[i].node > 1023;
        tap_is(wrong, 0, "each worker knows itself, its index and its runtime");
        before = skua_now_ns();
        now = skua_now_ns();
        tap_ok(before > 0 && now >= before, "the clock goes forward");
        tap_is(skua_advise(&cpus, &nodes), 0, "advice");
        tap_ok(cpus >= 1 && cpus <= (unsigned)sysconf(_SC_NPROCESSORS_CONF) && nodes >= 1,
               "%u CPUs on %u nodes", cpus, nodes);
        tap_ok(!skua_advise(NULL, NULL) && !skua_advise(&cpus, NULL) && !skua_advise(NULL, &nodes),
               "either may be left out");
        rig_stop(rt);
        rt = rig_start(0, NULL);
        tap_is(skua_workers(rt), cpus, "by default as many workers as advised");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ the CPUs asked for */

static void where_am_i(struct skua_worker *self, struct skua_job *job)
{
        struct look *look = skua_container(job, struct look, job);
        cpu_set_t mask;

        (void)self;
        sched_getaffinity(0, sizeof mask, &mask);
        look->index = (unsigned)CPU_COUNT(&mask);
        look->node = CPU_ISSET(look->node, &mask) != 0;
        tally_add(look->tally, 1);
}

static void check_cpus(unsigned flags, bool bound)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct tally tally = {0};
        cpu_set_t all, one;
        unsigned cpu = 0;
        struct look look;
        struct skua *rt;

        sched_getaffinity(0, sizeof all, &all);
        while (!CPU_ISSET(cpu, &all))
                cpu++;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        options.cpus = &one;
        options.cpus_size = sizeof one;
        options.flags = flags;
        rt = rig_start(0, &options);
        tap_is(skua_workers(rt), 1, "one CPU: one worker");
        look = (struct look){.rt = rt, .tally = &tally, .node = cpu};
        skua_job_init(&look.job, where_am_i);
        skua_submit(rt, &look.job);
        tally_wait(&tally, 1);
        tap_ok(look.node && (bound ? look.index == 1 : look.index == (unsigned)CPU_COUNT(&all)),
               "its thread may run on %u", look.index);
        rig_stop(rt);
}

/* ------------------------------------------------------------------ messages */

static atomic_uint messages;

static void on_log(int level, const char *message, void *user)
{
        atomic_fetch_add(&messages, level <= LOG_DEBUG && !strchr(message, '\n') && user);
}

static void check_quiet(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.on_log = on_log;
        options.user = &options;
        rig_stop(rig_start(WORKERS, &options));
        tap_is(atomic_load(&messages), 0, "nothing is said when all is well");
}

/* ------------------------------------------------------------------ thread-local variables */

/* More than the stack of a worker's thread would have room for. */
static _Thread_local char large[1 << 20];

static void touch_large(struct skua_worker *self, void *arg)
{
        unsigned zeros = 0;

        (void)self;
        for (size_t i = 0; i < sizeof large; i += 4096)
                zeros += large[i]++ == 0;
        *(unsigned *)arg = zeros;
}

static void check_local(void)
{
        struct skua *rt = rig_start(2, NULL);
        unsigned zeros = 0;

        skua_run(rt, touch_large, &zeros);
        rig_stop(rt);
        tap_is(zeros, sizeof large / 4096, "a megabyte of thread-local variables");
}

int main(void)
{
        tap_plan(CHECKS, 60);
        check_callbacks();
        check_names(NULL, "skua");
        check_names("tern", "tern");
        check_names("albatross", "albatr");
        check_questions();
        check_cpus(0, true);
        check_cpus(SKUA_PIN, true);
        check_cpus(SKUA_NO_PIN, false);
        check_quiet();
        check_local();
        return tap_done();
}
