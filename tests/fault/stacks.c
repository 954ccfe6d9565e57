/* SPDX-License-Identifier: MIT
 *
 * Kernels that do not give guards without mappings, or say that they do; few mappings; a thread
 * with a shadow stack. What the kernel would say is said by wrapped calls; each scene plays in a
 * child, as the process asks the kernel only once.
 */
/* link: -rdynamic -Wl,--wrap=madvise,--wrap=mprotect,--wrap=fopen,--wrap=arch_shadow_stack */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <syslog.h>

#include "core/worker.h"
#include "wait/scenes.h"
#include "wait/stack.h"

enum { JOBS = 40, ADVICE_GUARD_INSTALL = 102, MAPPINGS_FEW = 64 };

/* What the kernel answers to the advice. */
static enum { GUARDS_AS_THEY_ARE, GUARDS_UNKNOWN, GUARDS_IGNORED, GUARDS_NO_MEMORY } guards;
static unsigned few_mappings, protected;
static bool shadowed;

int __real_madvise(void *low, size_t bytes, int advice);
int __wrap_madvise(void *low, size_t bytes, int advice);
int __wrap_madvise(void *low, size_t bytes, int advice)
{
        if (advice != ADVICE_GUARD_INSTALL || guards == GUARDS_AS_THEY_ARE)
                return __real_madvise(low, bytes, advice);
        errno = guards == GUARDS_NO_MEMORY ? ENOMEM : EINVAL;
        return guards == GUARDS_IGNORED ? 0 : -1;
}

int __real_mprotect(void *low, size_t bytes, int protection);
int __wrap_mprotect(void *low, size_t bytes, int protection);
int __wrap_mprotect(void *low, size_t bytes, int protection)
{
        protected++;
        return __real_mprotect(low, bytes, protection);
}

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
        static char text[16];

        if (!few_mappings || strcmp(path, "/proc/sys/vm/max_map_count"))
                return __real_fopen(path, mode);
        snprintf(text, sizeof text, "%u\n", few_mappings);
        return fmemopen(text, strlen(text), mode);
}

bool __wrap_arch_shadow_stack(void);
bool __wrap_arch_shadow_stack(void)
{
        return shadowed;
}

/* ------------------------------------------------------------------ jobs that wait */

struct waiting {
        struct skua_job job;
        struct skua_group *gate;
        char *low;
        bool unguarded;
};

static struct waiting waiting[JOBS];
static struct skua_group gate, all;

static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        struct waiting *w = skua_container(job, struct waiting, job);

        w->low = worker_of(self)->stack->low;
        w->unguarded = worker_of(self)->stack->unguarded;
        skua_await_group(self, &gate);
}

static struct skua *start_waiting(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;

        options.stack_bytes = 128 << 10;
        rt = rig_start(1, &options);
        skua_group_init(&all);
        skua_group_init(&gate);
        skua_group_hold(&gate, 1);
        for (unsigned i = 0; i < JOBS; i++) {
                skua_job_init(&waiting[i].job, waiting_run);
                skua_group_submit(rt, &all, &waiting[i].job);
        }
        rig_until_suspended(rt, JOBS);
        return rt;
}

static void end_waiting(struct skua *rt)
{
        skua_group_release(&gate, 0);
        skua_group_wait(&all, -1);
        rig_stop(rt);
}

/* A call of the kernel that would write there fails. */
static bool guarded(const struct waiting *w)
{
        for (size_t at = 0; at < KERNEL_GUARD_BYTES; at += 4096)
                if (syscall(SYS_getcpu, w->low + at, NULL, NULL) == 0)
                        return false;
        return syscall(SYS_getcpu, w->low + KERNEL_GUARD_BYTES, NULL, NULL) == 0;
}

/* Of those that should be: the look at another would count as an overrun. */
static unsigned count_guarded(void)
{
        unsigned count = 0;

        for (unsigned i = 0; i < JOBS; i++)
                count += !waiting[i].unguarded && guarded(&waiting[i]);
        return count;
}

/* ------------------------------------------------------------------ guards */

static void say_guards(void)
{
        struct skua *rt = start_waiting();
        unsigned claimed = 0;

        for (unsigned i = 0; i < JOBS; i++)
                claimed += !waiting[i].unguarded;
        printf("%u of %u, %u protected; ", count_guarded(), claimed, protected > JOBS);
        end_waiting(rt);
        rt = start_waiting(); /* with the stack that the first has left */
        printf("again %u\n", count_guarded());
        end_waiting(rt);
}

static void scene_unknown(void)
{
        guards = GUARDS_UNKNOWN;
        say_guards();
}

static void scene_ignored(void)
{
        guards = GUARDS_IGNORED;
        say_guards();
}

static void scene_few(void)
{
        guards = GUARDS_UNKNOWN;
        few_mappings = MAPPINGS_FEW;
        say_guards();
}

static void scene_no_memory(void)
{
        struct skua *rt = NULL;

        guards = GUARDS_NO_MEMORY;
        printf("%s, ", strerror(-skua_start(&rt, NULL)));
        guards = GUARDS_AS_THEY_ARE;
        say_guards();
}

static void test_guards(void)
{
        struct outcome o = play(say_guards);

        expect(exited(&o, 0) && strstr(o.text, "40 of 40") && strstr(o.text, "again 40"), &o,
               "each stack has its guard");
        o = play(scene_unknown);
        expect(exited(&o, 0) && strstr(o.text, "40 of 40, 1 protected; again 40"), &o,
               "also on a kernel that knows none without mappings");
        o = play(scene_ignored);
        expect(exited(&o, 0) && strstr(o.text, "40 of 40, 1 protected; again 40"), &o,
               "or one that takes them for a hint");
        o = play(scene_few);
        expect(exited(&o, 0) && strstr(o.text, "16 of 16, 0 protected; again 16"), &o,
               "where mappings are few, a quarter of them is used for guards");
        o = play(scene_no_memory);
        expect(exited(&o, 0) && strstr(o.text, "Cannot allocate memory, 40 of 40"), &o,
               "no memory for a guard: no start");
}

/* ------------------------------------------------------------------ overruns */

void overrun_job(struct skua_worker *self, struct skua_job *job);
void overrun_job(struct skua_worker *self, struct skua_job *job)
{
        struct stack *stack = worker_of(self)->stack;

        (void)job;
        printf("%sguarded\n", stack->unguarded ? "un" : "");
        fflush(stdout);
        *(volatile char *)(stack->low + KERNEL_GUARD_BYTES - 8) = 1;
        printf("gone on\n");
        fflush(stdout);
}

/* Behind others that wait; then those go on, and the stack is given away. */
static void overrun(void)
{
        struct skua *rt = start_waiting();
        struct skua_group group;
        struct skua_job job;

        skua_group_init(&group);
        skua_job_init(&job, overrun_job);
        skua_group_submit(rt, &group, &job);
        skua_group_wait(&group, -1);
        end_waiting(rt);
}

static void scene_overrun_mapped(void)
{
        guards = GUARDS_UNKNOWN;
        overrun();
}

static void scene_overrun_unguarded(void)
{
        guards = GUARDS_UNKNOWN;
        few_mappings = MAPPINGS_FEW;
        overrun();
}

static void scene_all_well(void)
{
        guards = GUARDS_UNKNOWN;
        few_mappings = MAPPINGS_FEW;
        end_waiting(start_waiting());
        end_waiting(start_waiting());
}

static void test_overruns(void)
{
        struct outcome o = play(overrun);

        expect(killed_by(&o, SIGABRT) && strstr(o.text, "stack overflow") &&
                       strstr(o.text, "overrun_job") && !strstr(o.text, "gone on"),
               &o, "an overrun behind many stacks is reported");
        o = play(scene_overrun_mapped);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "stack overflow") &&
                       strstr(o.text, "overrun_job") && !strstr(o.text, "gone on"),
               &o, "with guards that take mappings too");
        o = play(scene_overrun_unguarded);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "unguarded") && strstr(o.text, "gone on") &&
                       strstr(o.text, "found late"),
               &o, "without a guard it is found when the stack is out of use");
        o = play(scene_all_well);
        expect(exited(&o, 0) && !*o.text, &o, "and nothing is found that is not");
}

/* ------------------------------------------------------------------ shadow stacks */

static void on_log(int level, const char *message, void *user)
{
        unsigned *messages = user;

        *messages += level == LOG_ERR && strstr(message, "shadow stack");
}

static void test_shadow_stack(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt = NULL;
        unsigned messages = 0;

        options.on_log = on_log;
        options.user = &messages;
        shadowed = true;
        tap_is(skua_start(&rt, &options), -EOPNOTSUPP, "no start with a shadow stack");
        tap_ok(messages == 1 && !rt, "and the log says why");
        tap_is(skua_start(&rt, NULL), -EOPNOTSUPP, "if there is one");
        shadowed = false;
        rig_stop(rig_start(2, NULL));
}

int main(void)
{
        if (RIG_TSAN || RIG_ASAN)
                tap_skip_all("the sanitizer has handlers of its own for faults");
        tap_plan(5 + 4 + 3, 120);
        /* The scenes first: a child asks the kernel for itself if nobody has before. */
        test_guards();
        test_overruns();
        test_shadow_stack();
        return tap_done();
}
