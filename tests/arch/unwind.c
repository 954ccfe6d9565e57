/* SPDX-License-Identifier: MIT
 *
 * Unwinders find their way from anywhere in a context to its end: what debuggers, profilers and
 * crash reports rely on.
 */
#include "arch.h"
#include "pair.h"
#include "probe.h"
#include "tap.h"

#include <pthread.h>
#include <unwind.h>

/* A backtrace must find where the flow began and then end, not run on into what lies above. */
#define FRAMES_MAX 64

struct backtrace {
        unsigned frames;
        bool entry, main; /* where the two flows began */
        bool leave, enter;
};

int main(void);

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *arg)
{
        struct backtrace *trace = arg;
        int at_instruction = 0; /* not behind a call: a frame that a signal has stopped */
        uintptr_t ip = _Unwind_GetIPInfo(context, &at_instruction);
        /* Looks up the byte before what it is given. */
        void *function = _Unwind_FindEnclosingFunction((void *)(ip + (at_instruction != 0)));

        trace->entry |= function == (void *)pair_entry;
        trace->main |= function == (void *)main;
        trace->leave |= function == (void *)leave;
        trace->enter |= function == (void *)enter;
        return ++trace->frames < FRAMES_MAX ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static bool backtrace_ends(bool in_context)
{
        struct backtrace trace = {0};
        _Unwind_Reason_Code reason = _Unwind_Backtrace(count_frame, &trace);

        return reason == _URC_END_OF_STACK && trace.frames < FRAMES_MAX && trace.frames > 1 &&
               trace.entry == in_context && trace.main == !in_context;
}

static bool backtrace_below(unsigned depth)
{
        bool volatile ends = depth ? backtrace_below(depth - 1) : backtrace_ends(true);

        return ends;
}

static void backtrace_body(struct pair *pair)
{
        pair->result = backtrace_below(0);
        leave(pair);
        pair->result = backtrace_below(5);
}

static void test_backtrace(void)
{
        struct pair pair;

        pair_init(&pair, backtrace_body);
        enter(&pair);
        tap_ok(pair.result, "a backtrace in a new context ends at its entry");
        pair.result = 0;
        enter(&pair);
        tap_ok(pair.result, "a deeper backtrace in a resumed context ends too");
        tap_ok(backtrace_ends(false), "a backtrace in the thread's own context reaches main");
        pair_fini(&pair);
}

/* What a sampling profiler does: a signal at any instruction, also in the middle of a switch. */
static unsigned volatile samples, lost_samples;
static bool volatile sampling; /* not in the C library's clone(), which has no way up */

static void take_sample(int signal_number)
{
        struct backtrace trace = {0};
        _Unwind_Reason_Code reason = _Unwind_Backtrace(count_frame, &trace);

        (void)signal_number;
        if (!sampling)
                return;
        samples++;
        lost_samples += reason != _URC_END_OF_STACK || trace.entry == trace.main ||
                        (trace.leave && !trace.entry) || (trace.enter && !trace.main);
}

static void sampled_body(struct pair *pair)
{
        for (;;)
                leave(pair);
}

struct sampler {
        pthread_t target;
        struct word32 stop;
};

static void *send_signals(void *arg)
{
        struct sampler *sampler = arg;

        while (!load_acquire_u32(&sampler->stop)) {
                pthread_kill(sampler->target, SIGUSR1);
                usleep(50);
        }
        return NULL;
}

static void test_samples(void)
{
        struct sampler sampler = {.target = pthread_self()};
        struct timespec start, now;
        pthread_t thread;
        struct pair pair;

        if (!PROBE_UNWINDS_MID_SWITCH) {
                tap_skip(1, "this switch cannot be unwound at every instruction");
                return;
        }
        pair_init(&pair, sampled_body);
        enter(&pair); /* until then its outermost frame is not yet the entry's */
        signal(SIGUSR1, take_sample);
        clock_gettime(CLOCK_MONOTONIC, &start);
        pthread_create(&thread, NULL, send_signals, &sampler);
        do {
                sampling = true;
                for (unsigned i = 0; i < 1000; i++)
                        enter(&pair);
                sampling = false;
                clock_gettime(CLOCK_MONOTONIC, &now);
        } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
                 400);
        store_release_u32(&sampler.stop, 1);
        pthread_join(thread, NULL);
        signal(SIGUSR1, SIG_DFL);
        tap_ok(samples > 0 && lost_samples == 0, "%u of %u samples amid switches lost their way",
               lost_samples, samples);
        pair_fini(&pair);
}

int main(void)
{
        tap_plan(4, 60);
        printf("# %s\n", arch_name());
        test_backtrace();
        test_samples();
        return tap_done();
}
