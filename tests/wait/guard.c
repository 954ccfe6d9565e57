/* SPDX-License-Identifier: MIT
 *
 * Overrun stacks: reported with the job function's name, then abort; and every other fault takes
 * the way that it would have taken without a runtime. Each scene plays in a child process.
 */
/* link: -rdynamic */
#include <pthread.h>

#include "wait/scenes.h"

enum { HANDLED = 42, DEPTH = 17844, CHILDREN = 8, ROOT_CHILDREN = 2000 };

/* ------------------------------------------------------------------ overruns */

__attribute__((noinline)) static unsigned overrun(unsigned depth)
{
        volatile char frame[512];

        frame[0] = (char)depth;
        return depth == UINT_MAX ? 0 : overrun(depth + 1) + (unsigned)frame[0];
}

/* Not static: the report finds its name. */
void overrun_job(struct skua_worker *self, struct skua_job *job);
void overrun_job(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        (void)job;
        printf("%u\n", overrun(0));
}

static struct skua *start_small(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.stack_bytes = 128 << 10;
        return rig_start(workers, &options);
}

static void scene_overrun(void)
{
        struct skua *rt = start_small(2);
        struct skua_job job;

        skua_job_init(&job, overrun_job);
        skua_submit(rt, &job);
        rig_stop(rt);
}

static void on_log(int level, const char *message, void *user)
{
        printf("logged %d %s %s\n", level, (const char *)user, message);
        fflush(stdout);
}

static void scene_logged(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        static char mark[] = "mark";
        struct skua_job job;
        struct skua *rt;

        options.on_log = on_log;
        options.user = mark;
        rt = rig_start(1, &options);
        skua_job_init(&job, overrun_job);
        skua_submit(rt, &job);
        rig_stop(rt);
}

/* On a stack other than the worker's first: the job before it waits for ever. */
static void awaiting(struct skua_worker *self, void *arg)
{
        struct skua_group group;
        struct skua_job job;

        (void)arg;
        skua_group_init(&group);
        skua_job_init(&job, overrun_job);
        skua_group_spawn(self, &group, &job);
        skua_await_group(self, &group);
}

static void scene_second_stack(void)
{
        skua_run(start_small(1), awaiting, NULL);
}

void stolen_overrun(struct skua_worker *self, struct skua_job *job);
void stolen_overrun(struct skua_worker *self, struct skua_job *job)
{
        overrun_job(self, job);
}

static void forking(struct skua_worker *self, void *arg)
{
        struct skua_job job;

        (void)arg;
        skua_fork(self, &job, stolen_overrun);
        for (;;)
                sched_yield();
}

static void scene_stolen(void)
{
        skua_run(start_small(2), forking, NULL);
}

static void test_overruns(void)
{
        struct outcome o = play(scene_overrun);

        expect(killed_by(&o, SIGABRT) && strstr(o.text, "stack overflow") &&
                       strstr(o.text, "overrun_job"),
               &o, "an overrun is reported with the job's function, then abort");
        o = play(scene_logged);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "logged 2 mark") &&
                       strstr(o.text, "overrun_job"),
               &o, "through on_log, if there is one");
        o = play(scene_second_stack);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "overrun_job"), &o,
               "on a later stack of the worker too");
        o = play(scene_stolen);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "stolen_overrun"), &o,
               "in a stolen fork too");
}

/* ------------------------------------------------------------------ other faults */

static volatile char *volatile nowhere;

static void touch_nowhere(struct skua_worker *self, void *arg)
{
        (void)self;
        (void)arg;
        *nowhere = 1;
}

static void *touch_thread(void *arg)
{
        (void)arg;
        *nowhere = 1;
        return NULL;
}

static void scene_fault_in_job(void)
{
        skua_run(start_small(2), touch_nowhere, NULL);
}

static void scene_fault_in_thread(void)
{
        pthread_t thread;

        start_small(2);
        if (!pthread_create(&thread, NULL, touch_thread, NULL))
                pthread_join(thread, NULL);
}

static void scene_fault_in_main(void)
{
        start_small(2);
        *nowhere = 1;
}

static void scene_raised(void)
{
        start_small(2);
        raise(SIGSEGV);
}

static void *overrun_thread(void *arg)
{
        (void)arg;
        printf("%u\n", overrun(0));
        return NULL;
}

static void scene_thread_overrun(void)
{
        pthread_t thread;

        start_small(2);
        if (!pthread_create(&thread, NULL, overrun_thread, NULL))
                pthread_join(thread, NULL);
}

static void plain_handler(int number)
{
        static const char text[] = "handled\n";

        if (number == SIGSEGV && write(1, text, sizeof text - 1) > 0)
                _exit(HANDLED);
        _exit(1);
}

static void info_handler(int number, siginfo_t *info, void *context)
{
        if (number == SIGSEGV && info->si_addr == (void *)(uintptr_t)nowhere && context)
                _exit(HANDLED);
        _exit(1);
}

static void install_plain(void)
{
        struct sigaction action = {.sa_handler = plain_handler};

        sigaction(SIGSEGV, &action, NULL);
}

static void install_info(void)
{
        struct sigaction action = {.sa_sigaction = info_handler, .sa_flags = SA_SIGINFO};

        sigaction(SIGSEGV, &action, NULL);
}

static void scene_plain(void)
{
        install_plain();
        scene_fault_in_job();
}

static void scene_info(void)
{
        install_info();
        scene_fault_in_job();
}

static void scene_info_in_thread(void)
{
        install_info();
        scene_fault_in_thread();
}

static void scene_plain_raised(void)
{
        install_plain();
        scene_raised();
}

static void scene_plain_overrun(void)
{
        install_plain();
        scene_overrun();
}

/* A signal that was ignored stays so when it is sent, and the guard stays on. */
static void scene_ignored_sent(void)
{
        signal(SIGSEGV, SIG_IGN);
        start_small(2);
        raise(SIGSEGV);
        raise(SIGSEGV);
        printf("alive\n");
        fflush(stdout);
        scene_overrun();
}

static void scene_ignored_fault(void)
{
        signal(SIGSEGV, SIG_IGN);
        scene_fault_in_job();
}

static void test_faults(void)
{
        static const struct {
                void (*scene)(void);
                const char *name;
        } deadly[] = {
                {scene_fault_in_job, "a fault in a job kills as ever"},
                {scene_fault_in_thread, "in a foreign thread"},
                {scene_fault_in_main, "in the main thread"},
                {scene_raised, "a SIGSEGV that was sent"},
                {scene_thread_overrun, "an overrun of a foreign thread's stack"},
                {scene_ignored_fault, "a fault where the signal is ignored"},
        };
        static const struct {
                void (*scene)(void);
                const char *name;
        } handled[] = {
                {scene_plain, "a fault in a job reaches the handler that was there before"},
                {scene_info, "with its address"},
                {scene_info_in_thread, "from a foreign thread too"},
                {scene_plain_raised, "and when it was sent"},
        };

        for (unsigned i = 0; i < sizeof deadly / sizeof *deadly; i++) {
                struct outcome o = play(deadly[i].scene);

                expect(killed_by(&o, SIGSEGV) && !strstr(o.text, "overflow"), &o, deadly[i].name);
        }
        for (unsigned i = 0; i < sizeof handled / sizeof *handled; i++) {
                struct outcome o = play(handled[i].scene);

                expect(exited(&o, HANDLED), &o, handled[i].name);
        }
        struct outcome o = play(scene_plain_overrun);

        expect(killed_by(&o, SIGABRT) && strstr(o.text, "overrun_job"), &o,
               "overruns are reported whatever handler was there");
        o = play(scene_ignored_sent);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "alive") && strstr(o.text, "overrun_job"),
               &o, "an ignored signal that is sent leaves the guard on");
}

/* ------------------------------------------------------------------ a deep tree */

/* The shape of UTS T3L: a wide root, and below one of its children a path of this depth. */
struct node {
        struct skua_job job;
        unsigned depth;
        bool spine;
        uint64_t count;
};

static uint64_t visit(struct skua_worker *self, unsigned depth, bool spine);

void visit_stolen(struct skua_worker *self, struct skua_job *job);
void visit_stolen(struct skua_worker *self, struct skua_job *job)
{
        struct node *n = skua_container(job, struct node, job);

        n->count = visit(self, n->depth, n->spine);
}

static uint64_t visit(struct skua_worker *self, unsigned depth, bool spine)
{
        struct node nodes[CHILDREN];
        uint64_t count = 1;

        if (!spine || depth == DEPTH)
                return 1;
        for (unsigned i = 0; i < CHILDREN; i++) {
                nodes[i].depth = depth + 1;
                nodes[i].spine = i == rig_mix(depth) % CHILDREN;
                skua_fork(self, &nodes[i].job, visit_stolen);
        }
        for (unsigned i = CHILDREN; i--;)
                count += skua_join(self, &nodes[i].job)
                                 ? visit(self, nodes[i].depth, nodes[i].spine)
                                 : nodes[i].count;
        return count;
}

void deep_root(struct skua_worker *self, struct skua_job *job);
void deep_root(struct skua_worker *self, struct skua_job *job)
{
        static struct node nodes[ROOT_CHILDREN];
        uint64_t count = 1;

        (void)job;
        for (unsigned i = 0; i < ROOT_CHILDREN; i++) {
                nodes[i].depth = 1;
                nodes[i].spine = i == ROOT_CHILDREN / 3;
                skua_fork(self, &nodes[i].job, visit_stolen);
        }
        for (unsigned i = ROOT_CHILDREN; i--;)
                count += skua_join(self, &nodes[i].job) ? visit(self, 1, nodes[i].spine)
                                                        : nodes[i].count;
        printf("%llu nodes\n", (unsigned long long)count);
        fflush(stdout);
}

static void deep(size_t stack_bytes, unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua_job job;
        struct skua *rt;

        options.stack_bytes = stack_bytes;
        rt = rig_start(workers, &options);
        skua_job_init(&job, deep_root);
        skua_submit(rt, &job);
        rig_stop(rt);
}

static void scene_deep_large(void)
{
        for (unsigned workers = 1; workers <= 4; workers++)
                deep((size_t)256 << 20, workers);
}

static void scene_deep_small(void)
{
        deep((size_t)1 << 20, 1);
}

static void test_deep(void)
{
        uint64_t nodes = 1 + ROOT_CHILDREN + (uint64_t)(DEPTH - 1) * CHILDREN;
        struct outcome o = play(scene_deep_large);
        char one[64], all[256];

        snprintf(one, sizeof one, "%llu nodes\n", (unsigned long long)nodes);
        snprintf(all, sizeof all, "%s%s%s%s", one, one, one, one);
        expect(exited(&o, 0) && !strcmp(o.text, all), &o,
               "a tree 17,844 deep with 8 forks a level runs with a large stack_bytes");
        o = play(scene_deep_small);
        expect(killed_by(&o, SIGABRT) && strstr(o.text, "stack overflow") &&
                       strstr(o.text, "deep_root"),
               &o, "and is reported with a small one");
}

int main(void)
{
        if (RIG_TSAN || RIG_ASAN)
                tap_skip_all("the sanitizer has handlers of its own for faults");
        tap_plan(4 + 6 + 4 + 2 + 2, 120);
        test_overruns();
        test_faults();
        test_deep();
        return tap_done();
}
