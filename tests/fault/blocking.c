/* SPDX-License-Identifier: MIT
 *
 * The blocking pool without threads to be had: what is submitted is refused when there is none at
 * all, and waits for those that are there otherwise; nothing is left behind.
 */
/* link: -Wl,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=pthread_create */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free */
/* link: -Wl,--wrap=pthread_attr_init,--wrap=openat,--wrap=clock_gettime,--wrap=sched_getcpu */
/* link: -Wl,--wrap=sched_setaffinity,--wrap=sched_getaffinity */
/* link: -Wl,--wrap=kernel_guard_stack */
/* link: -Wl,--wrap=syscall,--wrap=kernel_futex_wait,--wrap=kernel_futex_wake */
#include <fcntl.h>

#include "fault/calls.h"
#include "limits/held.h"

enum { CHECKS = 19 };

static int nothing(void *arg)
{
        (void)arg;
        return 5;
}

static void call_nothing(struct skua_worker *self, void *arg)
{
        *(int *)arg = skua_await_blocking(self, nothing, NULL);
}

/* What a thread needs fails: whatever it is, there is no thread. */
static void check_none(enum call call)
{
        struct skua *rt = rig_start(1, NULL);
        struct skua_target where;
        struct skua_strand strand;
        struct hold hold;
        int result = 0, wrong = 0;

        hold_init(&hold);
        fail_every(call, 1);
        wrong += hold_more(rt, &hold, 1, 0) != -EAGAIN;
        wrong += hold_more(rt, &hold, 1, SKUA_TRY) != -EAGAIN;
        where = blocking_target(&hold, 0);
        where.delay_ns = 1;
        wrong += skua_submit_to(rt, &hold.jobs[0].job, &where) != -EAGAIN;
        where.delay_ns = 0;
        skua_strand_init(&strand);
        where.strand = &strand;
        wrong += skua_submit_to(rt, &hold.jobs[0].job, &where) != -EAGAIN;
        wrong += skua_run(rt, call_nothing, &result) != 0 || result != -EAGAIN;
        tap_ok(fail_no_more(call) == 5, "%s fails for each", calls[call].name);
        tap_is(wrong, 0, "no thread: -EAGAIN from each");
        tap_is(skua_group_wait(&hold.group, 0), 0, "and nothing is counted");
        tap_is(pool_threads(rt) + pool_queued(rt), 0, "nor queued");
        tally_add(&hold.leave, 1);
        hold_more(rt, &hold, 3, 0);
        skua_run(rt, call_nothing, &result);
        tap_ok(skua_group_wait(&hold.group, -1) == 0 && result == 5, "later there are threads");
        rig_stop(rt);
}

/* One thread is there and no other can be had: it does everything. */
static void check_one(void)
{
        struct skua *rt = rig_start(1, NULL);
        struct hold hold;

        hold_init(&hold);
        hold_more(rt, &hold, 1, 0);
        tally_wait(&hold.entered, 1);
        fail_every(CALL_THREAD, 1);
        tap_is(hold_more(rt, &hold, 5, 0), 0, "with one thread all are accepted");
        tap_is(pool_threads(rt), 1, "though there is no second one");
        tap_is(hold_end(&hold), 0, "and run");
        tap_ok(fail_no_more(CALL_THREAD) >= 5, "it has been tried");
        tap_is(tally_read(&hold.entered), 6, "each once");
        rig_stop(rt);
}

/* A start that wishes threads at once: the n-th one of all fails. */
static void check_start(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        unsigned refused = 0, wrong = 0;

        options.workers = 2;
        options.blocking_min = 3;
        for (unsigned n = 1; n <= 6; n++) {
                struct holdings before = holdings();
                struct skua *rt = NULL;
                int result;

                fail_at(CALL_THREAD, n);
                result = skua_start(&rt, &options);
                refused += result == -EAGAIN && !rt;
                wrong += n == 6 && (result || pool_threads(rt) != 3);
                fail_no_more(CALL_THREAD);
                if (!result)
                        rig_stop(rt);
                wrong += leaks(&before);
        }
        tap_is(refused, 5, "a start that cannot have its threads says so");
        tap_is(wrong, 0, "and leaves nothing behind");
}

/* A file that blocks, without io_uring and without a thread. */
static void open_file(struct skua_worker *self, void *arg)
{
        *(int *)arg = skua_await_openat(self, AT_FDCWD, "/dev/null", O_RDONLY, 0);
}

static void check_offload(void)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;
        int result = 0;

        options.flags = SKUA_NO_RING;
        options.blocking_max = (unsigned)SKUA_NONE;
        rt = rig_start(1, &options);
        skua_run(rt, open_file, &result);
        tap_is(result, -EAGAIN, "the ring without io_uring says that there is no thread");
        rig_stop(rt);
        options.blocking_max = 1;
        rt = rig_start(1, &options);
        skua_run(rt, open_file, &result);
        tap_ok(result >= 0 && close(result) == 0, "and works with one");
        rig_stop(rt);
}

int main(void)
{
        tap_plan(CHECKS, 60);
        rig_stop(rig_start(1, NULL)); /* what libraries keep for good */
        check_none(CALL_THREAD);
        check_none(CALL_MPROTECT);
        check_one();
        check_start();
        check_offload();
        return tap_done();
}
