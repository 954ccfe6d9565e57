/* SPDX-License-Identifier: MIT
 *
 * tools/skua-gdb.py: a debugger that is attached to this process lists its jobs that wait, and one
 * that looks at the core of a child does the same. Skipped, with the reason, where there is no gdb
 * with Python, or it may not attach, or there are no cores.
 */
/* link: -rdynamic */
#include <glob.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "rig.h"

#define SCRIPT "tools/skua-gdb.py"

enum { JOBS = 5, TEXT = 1 << 20 };

static struct skua_group gate, all;
static struct skua *rt;
static char *text;

/* Their names are looked for. */
void first_waiting_job(struct skua_worker *self, struct skua_job *job);
void second_waiting_job(struct skua_worker *self, struct skua_job *job);
void busy_job(struct skua_worker *self, struct skua_job *job);
void waits_deep_inside(struct skua_worker *self, unsigned depth);

static atomic_uint busy, end;

__attribute__((noinline)) void waits_deep_inside(struct skua_worker *self, unsigned depth)
{
        if (depth)
                waits_deep_inside(self, depth - 1);
        else
                skua_await_group(self, &gate);
        __asm__ volatile("" ::: "memory"); /* no tail call: the frame stays */
}

void first_waiting_job(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        waits_deep_inside(self, 3);
        __asm__ volatile("" ::: "memory");
}

void second_waiting_job(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        waits_deep_inside(self, 0);
        __asm__ volatile("" ::: "memory");
}

/* Has waited before: what it has left on its stack must not be taken for waiting. */
void busy_job(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        atomic_store(&busy, 1);
        rig_until(&end, 1);
}

/* Calls gdb and reads all that it says. */
static bool gdb(const char *arguments)
{
        char command[1024];
        size_t length = 0, got;
        FILE *in;

        snprintf(command, sizeof command, "timeout 100 gdb -nx -batch %s 2>&1", arguments);
        if (!(in = popen(command, "r")))
                return false;
        while ((got = fread(text + length, 1, TEXT - 1 - length, in)) > 0)
                length += got;
        text[length] = 0;
        return pclose(in) == 0;
}

static unsigned count_of(const char *what)
{
        unsigned count = 0;

        for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
                count++;
        return count;
}

static const char *why_not(void)
{
        const char *emulator = getenv("EMULATOR");

        if (emulator && *emulator)
                return "under emulation gdb sees the emulator";
        char attach[128];

        if (access(SCRIPT, R_OK))
                return "there is no " SCRIPT " in this folder";
        if (RIG_TSAN || RIG_ASAN)
                return "sanitizers map more than gdb would write to a core";
        if (!gdb("-ex 'python print(\"it speaks \" + \"Python\")'") ||
            !count_of("it speaks Python"))
                return "there is no gdb with Python";
        snprintf(attach, sizeof attach, "-p %d -ex 'print \"it is \" \"attached\"'", (int)getpid());
        if (!gdb(attach) || !count_of("it is attached"))
                return "gdb may not attach to this process";
        return NULL;
}

static void start_jobs(struct skua_job *jobs)
{
        static struct skua_job keeper;

        skua_group_init(&gate);
        skua_group_init(&all);
        skua_group_hold(&gate, 1);
        for (unsigned i = 0; i < JOBS; i++) {
                skua_job_init(&jobs[i], i % 2 ? second_waiting_job : first_waiting_job);
                skua_group_submit(rt, &all, &jobs[i]);
        }
        rig_until_suspended(rt, JOBS);
        skua_job_init(&keeper, busy_job);
        skua_group_submit(rt, &all, &keeper);
        rig_until(&busy, 1);
}

static void check_jobs(const char *from)
{
        bool passed = count_of("first_waiting_job on worker ") == 3 &&
                      count_of("second_waiting_job on worker ") == 2 &&
                      count_of("5 jobs waiting") == 1;

        if (!tap_ok(passed, "all jobs that wait are listed, from %s", from))
                printf("# %.3000s\n", text);
        /* Three with four frames each, two with one. */
        passed = count_of(" waits_deep_inside at ") == 14 &&
                 count_of(" first_waiting_job at ") == 3 &&
                 count_of(" second_waiting_job at ") == 2 && count_of(" worker_loop at ") == JOBS;
        if (!tap_ok(passed, "each with its whole backtrace"))
                printf("# %.3000s\n", text);
        passed = count_of("debug-w worker ") == 0 && count_of("debug worker ") == 2 &&
                 count_of(", in busy_job;") == 1 && count_of(", no job;") == 1;
        if (!tap_ok(passed, "and the workers with what they do"))
                printf("# %.3000s\n", text);
}

static void begin(void)
{
        static struct skua_job jobs[JOBS];
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.name = "debug";
        rt = rig_start(2, &options);
        start_jobs(jobs);
}

static void look_at_process(void)
{
        char arguments[256];

        begin();
        snprintf(arguments, sizeof arguments,
                 "-p %d -x " SCRIPT " -ex 'skua jobs' -ex 'skua workers'", (int)getpid());
        tap_ok(gdb(arguments), "gdb looks at a live process");
        check_jobs("a live process");
        atomic_store(&end, 1);
        skua_group_release(&gate, 0);
        skua_group_wait(&all, -1);
        rig_stop(rt);
        atomic_store(&end, 0);
        atomic_store(&busy, 0);
}

/* The only file that the child has left in the folder, which goes with it. */
static void look_at_core(const char *folder, const char *program)
{
        char arguments[768], pattern[128];
        glob_t found = {0};

        snprintf(pattern, sizeof pattern, "%s/*", folder);
        if (glob(pattern, 0, NULL, &found)) {
                tap_skip(3, "the system leaves no core in the current folder");
        } else {
                snprintf(arguments, sizeof arguments,
                         "%s %s -x " SCRIPT " -ex 'skua jobs' -ex 'skua workers'", program,
                         found.gl_pathv[0]);
                gdb(arguments);
                check_jobs("a core");
                unlink(found.gl_pathv[0]);
        }
        globfree(&found);
}

static void make_core(const char *folder)
{
        struct rlimit all_of_it = {RLIM_INFINITY, RLIM_INFINITY};
        pid_t child;

        fflush(stdout);
        child = fork();
        if (!child) {
                setrlimit(RLIMIT_CORE, &all_of_it);
                begin();
                if (!chdir(folder))
                        abort();
                _exit(1);
        }
        waitpid(child, NULL, 0);
}

int main(void)
{
        char folder[] = "/tmp/skua-core-XXXXXX", program[256];
        ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
        const char *reason;

        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        text = calloc(1, TEXT);
        reason = length < 0 || !mkdtemp(folder) ? "no /proc/self/exe or no folder" : why_not();
        if (reason)
                tap_skip_all(reason);
        program[length] = 0;
        tap_plan(7, 300);
        look_at_process();
        make_core(folder);
        look_at_core(folder, program);
        rmdir(folder);
        free(text);
        return tap_done();
}
