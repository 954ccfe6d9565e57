/* SPDX-License-Identifier: MIT
 *
 * Groups: the last release against waiting, new holds, a job after the group, cancelling and the
 * parent; and the memory, which is used again as soon as wait has returned.
 */
#include <errno.h>

#include "core/group.h"
#include "stand.h"

enum { PARTS = 4 };

static struct skua_group group, parent;
static unsigned parts[PARTS], reason;
static struct task task;

static void prepare(void)
{
        stand_begin(1, 0);
        shared_new(&group, sizeof group);
        shared_new(&parent, sizeof parent);
        shared_new(parts, sizeof parts);
        shared_new(&reason, sizeof reason);
        skua_group_init(&group);
        skua_group_init(&parent);
        model_name(&group, sizeof group, "group");
        model_name(&parent, sizeof parent, "parent");
}

/* Does a part of the work and releases its hold. */
static void part(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        parts[i] = i + 1;
        shared_write(&parts[i], sizeof parts[i]);
        skua_group_release(&group, 0);
}

static void check_parts(unsigned count)
{
        for (unsigned i = 0; i < count; i++) {
                shared_read(&parts[i], sizeof parts[i]);
                model_check(parts[i] == i + 1, "a part of the work is not seen");
        }
}

static unsigned start_parts(unsigned count)
{
        unsigned set = 0;

        skua_group_hold(&group, count);
        for (unsigned i = 0; i < count; i++)
                set |= start_thread(part, i);
        return set;
}

static void wait_one(void)
{
        unsigned set;

        prepare();
        set = start_parts(1);
        model_check(!skua_group_wait(&group, -1), "wait");
        check_parts(1);
        shared_gone(&group, sizeof group);
        model_threads_join(set);
}

static void wait_two(void)
{
        unsigned set;

        prepare();
        set = start_parts(2);
        model_check(!skua_group_wait(&group, -1), "wait");
        check_parts(2);
        shared_gone(&group, sizeof group);
        model_threads_join(set);
}

/* The memory is another group's at once. */
static void reuse(void)
{
        unsigned set;

        prepare();
        set = start_parts(1);
        model_check(!skua_group_wait(&group, -1), "wait");
        shared_gone(&group, sizeof group);
        shared_new(&group, sizeof group);
        skua_group_init(&group);
        skua_group_hold(&group, 1);
        parts[1] = 0;
        set |= start_thread(part, 1);
        model_check(!skua_group_wait(&group, -1), "wait");
        check_parts(2);
        shared_gone(&group, sizeof group);
        model_threads_join(set);
}

static void waiter(void *arg)
{
        (void)arg;
        model_check(!skua_group_wait(&group, -1), "wait");
        check_parts(2);
}

static void waiters(void)
{
        unsigned set;

        prepare();
        set = start_parts(2) | start_thread(waiter, 0) | start_thread(waiter, 0);
        waiter(NULL);
        model_threads_join(set);
        shared_gone(&group, sizeof group);
}

/* Some run out of time; the group is there until they have said so. */
static void hasty_waiter(void *arg)
{
        int result = skua_group_wait(&group, 2500);

        (void)arg;
        model_check(!result || result == -ETIMEDOUT, "wait");
        if (!result)
                check_parts(2);
}

static void time_outs(void)
{
        unsigned set;

        prepare();
        set = start_parts(2) | start_thread(hasty_waiter, 0) | start_thread(hasty_waiter, 0);
        waiter(NULL);
        model_threads_join(set);
        shared_gone(&group, sizeof group);
}

/* A hold beside a release that may be the last: nobody is told too early. */
static void holder(void *arg)
{
        (void)arg;
        skua_group_hold(&group, 1);
        part((void *)1);
}

static void hold_release(void)
{
        unsigned set;

        prepare();
        skua_group_init_under(&group, &parent);
        skua_group_hold(&parent, 1);
        set = start_parts(1) | start_thread(holder, 0);
        model_threads_join(set);
        skua_group_release(&parent, 0);
        model_check(!skua_group_wait(&group, -1), "wait");
        model_check(!skua_group_wait(&parent, -1), "wait for the parent");
        check_parts(2);
        shared_gone(&group, sizeof group);
        shared_gone(&parent, sizeof parent);
}

/* The parent is empty only after its child, whose memory may go then. */
static void child(void)
{
        unsigned set;

        prepare();
        skua_group_init_under(&group, &parent);
        set = start_parts(2);
        model_check(!skua_group_wait(&parent, -1), "wait for the parent");
        check_parts(2);
        shared_gone(&group, sizeof group);
        shared_gone(&parent, sizeof parent);
        model_threads_join(set);
}

/* Two hold the child, of whom one makes it not empty and the other empty again: the parent does not
 * become empty between. */
static struct word32 let_go;

static void parent_waiter(void *arg)
{
        (void)arg;
        model_check(!skua_group_wait(&parent, -1), "wait for the parent");
        model_check(load_relaxed_u32(&let_go), "the parent was told too early");
}

static void holding_part(void *arg)
{
        skua_group_hold(&group, 1);
        part(arg);
}

static void two_hold(void)
{
        unsigned set, waiting;

        prepare();
        shared_new(&let_go, sizeof let_go);
        let_go.value_ = 0;
        skua_group_init_under(&group, &parent);
        skua_group_hold(&parent, 1);
        waiting = start_thread(parent_waiter, 0);
        set = start_thread(holding_part, 0) | start_thread(holding_part, 1);
        model_threads_join(set);
        store_relaxed_u32(&let_go, 1);
        skua_group_release(&parent, 0);
        model_threads_join(waiting);
        shared_gone(&parent, sizeof parent);
        shared_gone(&group, sizeof group);
}

/* A child that is held holds its parent, whoever made it not empty. */
static void checking_part(void *arg)
{
        struct word64 *word = (struct word64 *)(void *)&parent.word_;

        skua_group_hold(&group, 1);
        model_check(load_relaxed_u64(word) & GROUP_COUNT_MASK, "the parent is empty");
        part(arg);
}

static void parent_held(void)
{
        unsigned set;

        prepare();
        skua_group_init_under(&group, &parent);
        set = start_thread(checking_part, 0) | start_thread(checking_part, 1);
        model_threads_join(set);
        model_check(!skua_group_wait(&parent, -1), "wait for the parent");
        check_parts(2);
        shared_gone(&parent, sizeof parent);
        shared_gone(&group, sizeof group);
}

/* A job after the group: submitted once, when all is done. */
static void take_after(void)
{
        struct injector *injector = &stand_->nodes[0].injectors[INJECTOR_NORMAL];
        struct worker *w = stand_worker(0);
        struct skua_job *job;

        while (!injector_take(injector, &w->batch, 2))
                spin_hint();
        job = queue_take(&w->batch);
        model_check(job == &task.job, "another job");
        check_parts(2);
        task_ran(&task);
        model_check(!injector_count(injector), "more jobs");
}

static void then(void)
{
        unsigned set;

        prepare();
        set = start_parts(2);
        task_init(&task, task_run);
        skua_group_then(stand_->handle, &group, &task.job);
        take_after();
        task_done(&task, 1);
        shared_gone(&group, sizeof group);
        model_threads_join(set);
        model_check(!(stand_->door.value_ & DOOR_COUNT_MASK), "the acceptance is given back");
}

/* The child may go as soon as its parent is empty, also when a job comes after it. */
static void then_parent(void)
{
        unsigned set;

        prepare();
        skua_group_init_under(&group, &parent);
        skua_group_hold(&group, 1);
        task_init(&task, task_run);
        skua_group_then(stand_->handle, &group, &task.job);
        set = start_thread(part, 0);
        parts[1] = 2;
        model_check(!skua_group_wait(&parent, -1), "wait for the parent");
        shared_gone(&group, sizeof group);
        shared_gone(&parent, sizeof parent);
        take_after();
        task_done(&task, 1);
        model_threads_join(set);
}

static void then_waiters(void)
{
        unsigned set;

        prepare();
        set = start_parts(2) | start_thread(waiter, 0);
        task_init(&task, task_run);
        skua_group_then(stand_->handle, &group, &task.job);
        model_threads_join(set);
        take_after();
        task_done(&task, 1);
        shared_gone(&group, sizeof group);
}

/* Who sees the group cancelled sees why. */
static void canceller(void *arg)
{
        (void)arg;
        reason = 1;
        shared_write(&reason, sizeof reason);
        skua_group_cancel(&group);
}

static void cancelled_part(void *arg)
{
        if (skua_group_cancelled(&group)) {
                shared_read(&reason, sizeof reason);
                model_check(reason == 1, "why it was cancelled");
        }
        part(arg);
}

static void cancel(void)
{
        unsigned set;
        int result;

        prepare();
        skua_group_hold(&group, 2);
        set = start_thread(cancelled_part, 0) | start_thread(cancelled_part, 1) |
              start_thread(canceller, 0);
        result = skua_group_wait(&group, -1);
        model_check(!result || result == -ECANCELED, "wait");
        check_parts(2);
        model_threads_join(set);
        if (!result)
                model_check(skua_group_wait(&group, -1) == -ECANCELED, "cancelled afterwards");
        shared_gone(&group, sizeof group);
}

/* A time to cancel that is far away changes nothing, whenever it is set. */
static void far_canceller(void *arg)
{
        (void)arg;
        skua_group_cancel_at(stand_->handle, &group, (int64_t)1 << 50);
}

static void far_time(void)
{
        unsigned set;

        prepare();
        skua_group_hold(&group, 2);
        set = start_thread(cancelled_part, 0) | start_thread(cancelled_part, 1) |
              start_thread(far_canceller, 0);
        model_check(!skua_group_wait(&group, -1), "wait");
        check_parts(2);
        model_threads_join(set);
        model_check(!skua_group_wait(&group, -1), "wait");
        shared_gone(&group, sizeof group);
}

/* The first error is the group's, and what was written before it is seen. */
static void failing_part(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        parts[i] = i + 1;
        shared_write(&parts[i], sizeof parts[i]);
        skua_group_release(&group, -(int)(i + 1));
}

static void errors(void)
{
        unsigned set;
        int error, result;

        prepare();
        skua_group_hold(&group, 2);
        set = start_thread(failing_part, 0) | start_thread(failing_part, 1);
        error = skua_group_error(&group);
        if (error)
                shared_read(&parts[-error - 1], sizeof *parts);
        result = skua_group_wait(&group, -1);
        model_check(result == -1 || result == -2, "an error");
        model_check(!error || result == error, "the first error stays");
        check_parts(2);
        shared_gone(&group, sizeof group);
        model_threads_join(set);
}

static const struct model_scenario scenarios[] = {
        {.name = "group: wait for one release", .run = wait_one},
        {.name = "group: wait for one release, all with two preemptions",
         .run = wait_one,
         .search = MODEL_EXHAUSTIVE,
         .preemptions = 2,
         .stale = 2},
        {.name = "group: wait for two", .run = wait_two},
        {.name = "group: memory used again", .run = reuse},
        {.name = "group: three waiters", .run = waiters},
        {.name = "group: waiters that run out of time", .run = time_outs},
        {.name = "group: hold against the last release", .run = hold_release},
        {.name = "group: child and parent", .run = child},
        {.name = "group: two who hold the child", .run = two_hold},
        {.name = "group: a held child holds its parent", .run = parent_held},
        {.name = "group: a job after a child", .run = then_parent},
        {.name = "group: a job after it", .run = then},
        {.name = "group: a job after it, and a waiter", .run = then_waiters},
        {.name = "group: cancel", .run = cancel},
        {.name = "group: a time far away", .run = far_time},
        {.name = "group: errors", .run = errors},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
