/* SPDX-License-Identifier: MIT
 *
 * The n-th call of a start fails, for every n and each kind of call: the answer is a clear error or
 * a runtime that works, and nothing is left behind. Then what a start can do without: a clock that
 * fails now and then, threads that cannot be bound, a CPU that is not known.
 */
/* link: -Wl,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=pthread_create */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free */
/* link: -Wl,--wrap=pthread_attr_init,--wrap=openat,--wrap=clock_gettime,--wrap=sched_getcpu */
/* link: -Wl,--wrap=sched_setaffinity,--wrap=sched_getaffinity */
/* link: -Wl,--wrap=kernel_guard_stack */
/* link: -Wl,--wrap=syscall,--wrap=kernel_futex_wait,--wrap=kernel_futex_wake */
#include <syslog.h>

#include "core/crew.h"
#include "fault/calls.h"
#include "place/sandbox.h"

static atomic_uint wrong;

static unsigned take_wrong(void)
{
        return atomic_exchange(&wrong, 0);
}

static void work(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        (void)self;
        atomic_fetch_add((atomic_uint *)arg, (unsigned)(end - begin));
}

static void use(struct skua *rt)
{
        atomic_uint sum = 0;

        wrong += skua_run_for(rt, 0, 1000, 1, work, &sum) != 0 || sum != 1000;
}

static void use_and_stop(struct skua *rt)
{
        use(rt);
        rig_stop(rt);
}

/* ------------------------------------------------------------------ starts that fail */

/* What a failing call must lead to; 0: nothing, it can be done without. */
static const int wanted[CALLS] = {
        [CALL_MMAP] = -ENOMEM,   [CALL_MPROTECT] = -ENOMEM, [CALL_GUARD] = -ENOMEM,
        [CALL_THREAD] = -EAGAIN, [CALL_MALLOC] = -ENOMEM,   [CALL_ATTRIBUTES] = -ENOMEM,
        [CALL_OPEN] = -EMFILE};

static int start_failing(struct skua **rt, const struct skua_options *options, enum call call,
                         unsigned n)
{
        int result;

        fail_at(call, n);
        result = skua_start(rt, options);
        fail_no_more(call);
        return result;
}

/* Returns what is mapped in the end: a slot keeps its memory for the next runtime of its shape.
 * `spared`: perhaps none is fatal, as fewer stacks at a time do, and guards may need no mappings.
 */
static long long sweep(enum call call, const struct skua_options *options, bool spared)
{
        unsigned refused = 0, n = 0, failed;
        struct holdings before = holdings();

        do {
                struct skua *rt = NULL;
                int result = start_failing(&rt, options, call, ++n);

                failed = atomic_load(&calls[call].failed);
                if (!result)
                        use_and_stop(rt);
                refused += result && result == wanted[call];
                wrong += result && (result != wanted[call] || !failed || rt);
                wrong += leaks(&before);
        } while (failed && n < 1000);
        tap_is(take_wrong(), 0, calls[call].name);
        if (wanted[call])
                tap_ok((refused > 0 || spared) && refused <= n - 1,
                       "%u of %u failures were answered by it: %s", refused, n - 1,
                       strerror(-wanted[call]));
        else
                tap_ok(n > 1, "%u failures did no harm", n - 1);
        return mapped_bytes;
}

/* What a first runtime of a shape leaves mapped when nothing fails: seen in a child, which has no
 * other effect here. */
static long long mapped_by_first(const struct skua_options *options)
{
        long long growth = -1;
        int ends[2];
        pid_t child;

        fflush(stdout);
        if (pipe(ends) || (child = fork()) < 0)
                return -1;
        if (!child) {
                long long before = mapped_bytes;

                rig_stop(rig_start(options->workers, options));
                growth = mapped_bytes - before;
                _exit(write(ends[1], &growth, sizeof growth) != sizeof growth);
        }
        if (read(ends[0], &growth, sizeof growth) != sizeof growth)
                growth = -1;
        waitpid(child, NULL, 0);
        close(ends[0]);
        close(ends[1]);
        return growth;
}

/* A shape that has not been before; then the size of its stacks changes to and fro, so that memory
 * is wanted again: each time the same is mapped in the end, whatever has failed on the way. */
static void sweeps(enum call call, unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        long long mapped[2], before = mapped_bytes;

        options.workers = workers;
        options.stack_bytes = 256 << 10;
        mapped[0] = before + mapped_by_first(&options);
        for (unsigned i = 0; i < 4; i++) {
                long long now;

                options.stack_bytes = i & 1 ? 512 << 10 : 256 << 10;
                now = sweep(call, &options, i && (call == CALL_MMAP || call == CALL_MPROTECT));
                if (i != 1)
                        tap_is(now, mapped[i & 1], "nothing has leaked");
                mapped[i & 1] = now;
        }
}

/* All of them, where only stacks are wanted. */
static void test_no_stacks(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct holdings before = holdings();
        struct skua *rt = NULL;

        options.workers = 2;
        options.stack_bytes = 128 << 10;
        fail_every(CALL_MMAP, 1);
        tap_is(skua_start(&rt, &options), -ENOMEM, "no start without memory for stacks");
        tap_ok(fail_no_more(CALL_MMAP) >= 1 && !rt && !leaks(&before), "nothing is left behind");
        use_and_stop(rig_start(2, &options));
        tap_is(take_wrong(), 0, "with memory it starts");
}

static void test_starts(void)
{
        /* What libraries keep for good. */
        rig_stop(rig_start(1, NULL));
        for (unsigned call = CALL_MMAP; call <= CALL_ATTRIBUTES; call++)
                sweeps((enum call)call, 2 + call);
}

/* ------------------------------------------------------------------ jobs of a start that fails */

struct early {
        struct skua_job jobs[2][8];
        atomic_uint accepted, ran;
};

static struct early early;

static void early_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self, (void)job;
        atomic_fetch_add(&early.ran, 1);
}

/* From each worker that comes: a job for anybody and one for the last worker, which never will. */
static void submit_early(struct skua *rt, int starting, void *user)
{
        struct skua_target where = SKUA_TARGET_INIT;
        static atomic_uint next;
        unsigned i;

        (void)user;
        if (!starting)
                return;
        i = atomic_fetch_add(&next, 1) % 8;
        where.worker = SKUA_WORKER(skua_workers(rt) - 1);
        skua_job_init(&early.jobs[0][i], early_run);
        skua_job_init(&early.jobs[1][i], early_run);
        if (skua_submit(rt, &early.jobs[0][i]) == 0)
                atomic_fetch_add(&early.accepted, 1);
        if (skua_submit_to(rt, &early.jobs[1][i], &where) == 0)
                atomic_fetch_add(&early.accepted, 1);
}

static void test_early(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.workers = 4;
        options.on_thread = submit_early;
        for (unsigned i = rig_rounds(100); i; i--)
                for (unsigned n = 1; n <= 4; n++) {
                        struct skua *rt = NULL;

                        atomic_store(&early.accepted, 0);
                        atomic_store(&early.ran, 0);
                        wrong += start_failing(&rt, &options, CALL_THREAD, n) != -EAGAIN || rt;
                        wrong += atomic_load(&early.ran) != atomic_load(&early.accepted);
                }
        tap_is(take_wrong(), 0, "jobs for a worker whose thread cannot be had are run");
}

/* ------------------------------------------------------------------ what can be done without */

static atomic_uint warnings;

static void count_warnings(int level, const char *message, void *user)
{
        (void)user;
        if (level == LOG_WARNING && strstr(message, "cannot be bound"))
                atomic_fetch_add(&warnings, 1);
}

/* An emulator of programs may show another root to openat(2) than to access(2). */
static bool emulated(void)
{
        const char *emulator = getenv("EMULATOR");

        return emulator && *emulator;
}

static void test_binding(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;
        unsigned failed;

        options.workers = 3;
        options.on_log = count_warnings;
        fail_every(CALL_SETAFFINITY, 1);
        rt = rig_start(3, &options);
        use_and_stop(rt);
        failed = fail_no_more(CALL_SETAFFINITY);
        tap_ok(failed == 3 && atomic_load(&warnings) == 3 && !take_wrong(),
               "%u threads that cannot be bound run all the same, with a warning each", failed);
        if (access("/sys/devices/system/cpu/online", R_OK) || emulated()) {
                tap_skip(1, "no list of online CPUs: without the affinity too, there are none");
                return;
        }
        fail_every(CALL_GETAFFINITY, 1);
        use_and_stop(rig_start(2, NULL));
        tap_ok(fail_no_more(CALL_GETAFFINITY) && !take_wrong(), "without knowing the affinity");
}

/* Two nodes, for one would not ask where the caller is. */
static void test_nodes(void)
{
        struct item {
                struct skua_job job;
        } items[16];
        struct skua_group group;
        struct skua *rt;

        fail_every(CALL_CPU, 1);
        rt = rig_start(4, NULL);
        skua_group_init(&group);
        for (unsigned i = 0; i < 16; i++) {
                skua_job_init(&items[i].job, early_run);
                wrong += skua_group_submit(rt, &group, &items[i].job) != 0;
        }
        wrong += skua_group_wait(&group, -1) != 0;
        use_and_stop(rt);
        tap_ok(fail_no_more(CALL_CPU) && !take_wrong(), "without knowing the caller's CPU");
}

static void test_machine(void)
{
        static const char files[] = "cpu0/topology/core_cpus_list: 0; node0/cpulist: 0; "
                                    "node1/cpulist: 1; node0/distance: 10 20; "
                                    "node1/distance: 20 10; "
                                    "sys/devices/system/cpu/online: 0-1";
        struct skua_options options = SKUA_OPTIONS_INIT;

        setenv("SKUA_SYSROOT", tree_make("two", files), 1);
        rig_stop(rig_start(4, NULL));
        options.workers = 4;
        sweep(CALL_OPEN, &options, false);
        test_nodes();
        unsetenv("SKUA_SYSROOT");
}

/* ------------------------------------------------------------------ the clock */

static void test_clock(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt = NULL;
        unsigned hits = 0;

        for (unsigned n = 1; n <= 20; n++) {
                rt = rig_start(2, NULL);
                fail_at(CALL_CLOCK, n);
                use(rt);
                wrong += skua_stop_within(rt, 1000000000) < 0;
                hits += fail_no_more(CALL_CLOCK);
        }
        tap_ok(hits && !take_wrong(), "%u readings of the clock that fail, one at a time", hits);
        rt = rig_start(3, &options);
        fail_every(CALL_CLOCK, 2);
        use_and_stop(rt);
        tap_ok(fail_no_more(CALL_CLOCK) && !take_wrong(), "and each second one");
        fail_every(CALL_CLOCK, 1);
        tap_is(skua_start(&rt, NULL), -ENOSYS, "no start without any clock");
        fail_no_more(CALL_CLOCK);
}

int main(void)
{
        tap_plan(11 * (CALL_ATTRIBUTES + 1) + 12, 120);
        unsetenv("SKUA_SYSROOT");
        test_starts();
        test_no_stacks();
        test_early();
        test_binding();
        test_machine();
        test_clock();
        return tap_done();
}
