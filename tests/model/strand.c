/* SPDX-License-Identifier: MIT
 *
 * Strands: entering against leaving, the turn and what is written in it, order, memory; and whole
 * runtimes that are stopped while jobs wait for their turn.
 */
#include <errno.h>

#include "core/group.h"
#include "core/strand.h"
#include "stand.h"

enum { TASKS = 6 };

static struct skua_strand strand;
static struct skua_group group;
static struct task tasks[TASKS];
static unsigned turn, last[3]; /* plain: of whose turn it is */
static int results[TASKS];
static struct skua *rt;

static void prepare(void)
{
        shared_new(&strand, sizeof strand);
        shared_new(&group, sizeof group);
        shared_new(&turn, sizeof turn);
        skua_strand_init(&strand);
        skua_group_init(&group);
        model_name(&strand, sizeof strand, "strand");
        model_name(&group, sizeof group, "group");
        memset(last, 0, sizeof last);
        turn = 0;
}

/* Nobody else is inside, what they wrote is seen, and those of one submitter come in order. */
static void turn_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(task_of(job) - tasks);

        shared_read(&turn, sizeof turn);
        shared_write(&turn, sizeof turn);
        turn++;
        model_check(last[i % 3] <= i, "two of one submitter in the wrong order");
        last[i % 3] = i;
        task_run(self, job);
}

/* ------------------------------------------------------------------ workers that are played */

/* As run_job() does it, with the group. */
static void play(struct worker *w, struct skua_job *job)
{
        job->run_(&w->face, job);
        group_release(&group, 1, 0);
}

static void give(struct worker *w, unsigned i)
{
        task_init(&tasks[i], turn_run);
        strand_bind(&strand, &tasks[i].job, 0);
        if (strand_enter(&strand, &tasks[i].job))
                play(w, &tasks[i].job);
}

static void play_queued(struct worker *w)
{
        struct skua_job *job;

        while ((job = queue_pop(&w->run, false)))
                play(w, job);
}

/* One worker with one job of its own, and what comes to it by leaving. */
static void one_each(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        give(stand_worker(i), i);
        play_queued(stand_worker(i));
}

static void two_each(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        give(stand_worker(i), i);
        give(stand_worker(i), i + 3);
        play_queued(stand_worker(i));
}

static void played(unsigned workers, unsigned count, void (*entry)(void *arg))
{
        unsigned set = 0;

        stand_begin(workers, 0);
        prepare();
        group_hold(&group, count);
        for (unsigned i = 0; i < workers; i++)
                set |= start_thread(entry, i);
        model_check(!skua_group_wait(&group, -1), "wait");
        /* The strand is left before its group is. */
        shared_gone(&strand, sizeof strand);
        shared_gone(&group, sizeof group);
        shared_read(&turn, sizeof turn);
        model_check(turn == count, "turns");
        model_threads_join(set);
        for (unsigned i = 0; i < count; i++)
                task_done(&tasks[i], 1);
}

static void two_workers(void)
{
        played(2, 2, one_each);
}

static void three_workers(void)
{
        played(3, 3, one_each);
}

static void six_jobs(void)
{
        played(3, 6, two_each);
}

/* ------------------------------------------------------------------ whole runtimes */

static void start(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        machine_begin(1);
        prepare();
        options.workers = workers;
        options.spin_ns = (unsigned)SKUA_NONE;
        options.stack_bytes = 16384;
        options.flags = SKUA_NO_PIN;
        model_check(!skua_start(&rt, &options), "start");
}

static struct skua_target target(void)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.strand = &strand;
        return where;
}

static void submitter(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;
        struct skua_target where = target();

        task_init(&tasks[i], turn_run);
        task_init(&tasks[i + 3], turn_run);
        where.worker = i == 1 ? SKUA_WORKER(1) : 0;
        results[i] = skua_submit_to(rt, &tasks[i].job, &where);
        results[i + 3] = skua_submit_to(rt, &tasks[i + 3].job, &where);
}

static void check_results(unsigned i)
{
        model_check(results[i] == 0 || results[i] == -ESHUTDOWN, "submit's result");
        task_done(&tasks[i], results[i] == 0);
}

/* The last job that is accepted may be one that waits. */
static void submit_against(enum skua_stop_how how)
{
        unsigned set;

        start(2);
        set = start_thread(submitter, 0) | start_thread(submitter, 1);
        model_check(!skua_stop(rt, how), "stop");
        model_threads_join(set);
        for (unsigned i = 0; i < 2; i++) {
                check_results(i);
                check_results(i + 3);
        }
        shared_gone(&strand, sizeof strand);
}

static void against_drain(void)
{
        submit_against(SKUA_DRAIN);
}

static void against_cancel(void)
{
        submit_against(SKUA_CANCEL);
}

/* The first waits with the turn; the second one stands in no queue, and the drain waits for both.
 */
static void waiting_run(struct skua_worker *self, struct skua_job *job)
{
        skua_await_group(self, &group);
        turn_run(self, job);
}

static void releaser(void *arg)
{
        (void)arg;
        skua_group_release(&group, 0);
}

static void suspended(void)
{
        struct skua_target where;
        unsigned set;

        start(2);
        where = target();
        skua_group_hold(&group, 1);
        task_init(&tasks[0], waiting_run);
        task_init(&tasks[3], turn_run);
        set = start_thread(releaser, 0);
        model_check(!skua_submit_to(rt, &tasks[0].job, &where), "submit");
        model_check(!skua_submit_to(rt, &tasks[3].job, &where), "submit");
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        model_threads_join(set);
        task_done(&tasks[0], 1);
        task_done(&tasks[3], 1);
        shared_gone(&strand, sizeof strand);
        shared_gone(&group, sizeof group);
}

/* From a job, with an idle worker beside it. */
static void giving_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_target where = target();

        for (unsigned i = 1; i < 4; i++) {
                task_init(&tasks[i], turn_run);
                model_check(!skua_submit_to(skua_runtime(self), &tasks[i].job, &where), "submit");
        }
        task_run(self, job);
}

static void inside(void)
{
        start(2);
        task_init(&tasks[0], giving_run);
        model_check(!skua_submit(rt, &tasks[0].job), "submit");
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        for (unsigned i = 0; i < 4; i++)
                task_done(&tasks[i], 1);
        shared_gone(&strand, sizeof strand);
}

/* Behind a job that hands its turn on, its worker turns to a stack that does not let it go until
 * the next one has run: somebody else must have been told. */
static struct word32 ended;

static void failing_run(struct skua_worker *self, struct skua_job *job)
{
        skua_fail(self, -EIO); /* so its group is counted down at once */
        turn_run(self, job);
}

static void ending_run(struct skua_worker *self, struct skua_job *job)
{
        turn_run(self, job);
        store_relaxed_u32(&ended, 1);
}

static void keeping_run(struct skua_worker *self, struct skua_job *job)
{
        struct skua_target where = target();

        task_init(&tasks[1], failing_run);
        task_init(&tasks[4], ending_run);
        where.group = &group;
        model_check(!skua_submit_to(skua_runtime(self), &tasks[1].job, &where), "submit");
        where.group = NULL;
        model_check(!skua_submit_to(skua_runtime(self), &tasks[4].job, &where), "submit");
        model_check(skua_await_group(self, &group) == -EIO, "await");
        while (!load_relaxed_u32(&ended))
                spin_hint();
        task_run(self, job);
}

static void kept(void)
{
        start(2);
        shared_new(&ended, sizeof ended);
        ended.value_ = 0;
        task_init(&tasks[0], keeping_run);
        model_check(!skua_submit(rt, &tasks[0].job), "submit");
        model_check(!skua_stop(rt, SKUA_DRAIN), "stop");
        task_done(&tasks[0], 1);
        task_done(&tasks[1], 1);
        task_done(&tasks[4], 1);
        shared_gone(&strand, sizeof strand);
        shared_gone(&group, sizeof group);
}

static const struct model_scenario scenarios[] = {
        {.name = "strand: two workers", .run = two_workers},
        {.name = "strand: two workers, all with two preemptions",
         .run = two_workers,
         .search = MODEL_EXHAUSTIVE,
         .preemptions = 2,
         .stale = 2},
        {.name = "strand: three workers", .run = three_workers},
        {.name = "strand: six jobs", .run = six_jobs},
        {.name = "strand: submissions against a drain", .run = against_drain},
        {.name = "strand: submissions against a cancel", .run = against_cancel},
        {.name = "strand: the holder waits", .run = suspended},
        {.name = "strand: from a job", .run = inside},
        {.name = "strand: the next one elsewhere", .run = kept},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
