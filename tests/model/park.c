/* SPDX-License-Identifier: MIT
 *
 * Parking and waking: workers whose whole loop is to look, to park and to run what they find. No
 * job may lie there while all who could run it sleep: then no thread can go on, and that is
 * reported. A lone job wakes one worker.
 */
#include "core/park.h"

#include "core/deque.h"
#include "core/injector.h"
#include "stand.h"

enum { TASKS = 4 };

static struct task tasks[TASKS];
static struct word32 ran, met;
static bool meeting;
static unsigned wanted;

static struct injector *injector(void)
{
        return &stand_->nodes[0].injectors[INJECTOR_NORMAL];
}

static void prepare(unsigned workers, unsigned jobs)
{
        stand_begin(workers, 0);
        shared_new(&ran, sizeof ran);
        shared_new(&met, sizeof met);
        ran.value_ = met.value_ = 0;
        meeting = false;
        wanted = jobs;
        model_name(&ran, sizeof ran, "ran");
        model_name(tasks, sizeof tasks, "tasks");
}

static struct skua_job *find(struct worker *w)
{
        struct runtime *rt = w->runtime;
        struct skua_job *job;

        if ((job = queue_pop(&w->run, false)))
                return job;
        if (injectors_visible(rt->nodes[0].injectors) && injector_take(injector(), &w->batch, 2) &&
            (job = queue_take(&w->batch)))
                return job;
        for (unsigned i = 0; i < rt->worker_count; i++)
                if ((i != w->index && (job = queue_steal(&rt->workers[i]->run))) ||
                    (job = queue_take(&rt->workers[i]->batch)))
                        return job;
        return NULL;
}

/* Jobs that go on only when both have begun: while one is run, the other must not lie there with
 * everybody else asleep. */
static void meet(void)
{
        fetch_add_acq_rel_u32(&met, 1);
        while (load_relaxed_u32(&met) < 2)
                spin_hint();
}

/* The last one tells all to go home. */
static void run(struct worker *w, struct skua_job *job)
{
        struct runtime *rt = w->runtime;

        if (meeting)
                meet();
        task_ran(task_of(job));
        if (fetch_add_acq_rel_u32(&ran, 1) + 1 < wanted)
                return;
        store_release_u32(&rt->terminate, 1);
        fence_seq_cst();
        for (unsigned i = 0; i < rt->worker_count; i++)
                park_wake_worker(rt, i);
}

static void loop(struct worker *w)
{
        for (;;) {
                struct skua_job *job;

                park_search(w);
                w->searching = true;
                while (!(job = find(w))) {
                        uint64_t parks = w->count.parks.value_;

                        park(w);
                        if (load_relaxed_u32(&w->runtime->terminate)) {
                                fetch_add_acq_rel_u64(&w->runtime->summary, -PARK_SEARCH_ONE);
                                return;
                        }
                        if (parks == w->count.parks.value_)
                                spin_hint();
                }
                w->searching = false;
                park_found(w);
                do {
                        run(w, job);
                } while ((job = find(w)));
        }
}

static void worker(void *arg)
{
        struct worker *w = stand_worker((unsigned)(uintptr_t)arg);

        self_set(w);
        loop(w);
}

static void publisher(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], task_run);
        model_check(!skua_submit(stand_->handle, &tasks[i].job), "submit");
}

static void finish(unsigned set)
{
        uint64_t summary;

        model_threads_join(set);
        for (unsigned i = 0; i < wanted; i++)
                task_done(&tasks[i], 1);
        summary = load_relaxed_u64(&stand_->summary);
        model_check(!park_idle_of(summary) && !park_searching_of(summary), "the summary's counts");
        model_check(!load_relaxed_u64(stand_->idle_bits), "an idle bit is left");
}

static void publish(unsigned workers, unsigned publishers)
{
        unsigned set = 0;

        prepare(workers, publishers);
        for (unsigned i = 0; i < workers; i++)
                set |= start_thread(worker, i);
        for (unsigned i = 0; i < publishers; i++)
                set |= start_thread(publisher, i);
        finish(set);
}

static void array_publisher(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], task_run);
        task_init(&tasks[i + 1], task_run);
        model_check(skua_submit_array(stand_->handle, &tasks[i], 2, sizeof *tasks, NULL) == 2,
                    "submit_array");
}

static void array(void)
{
        unsigned set;

        prepare(2, 2);
        set = start_thread(worker, 0) | start_thread(worker, 1) | start_thread(array_publisher, 0);
        finish(set);
}

/* A job after a group, whose last hold is given back meanwhile. */
static struct skua_group group;

static void releaser(void *arg)
{
        (void)arg;
        skua_group_release(&group, 0);
}

static void after_group(void)
{
        unsigned set;

        prepare(1, 1);
        shared_new(&group, sizeof group);
        skua_group_init(&group);
        skua_group_hold(&group, 1);
        task_init(&tasks[0], task_run);
        set = start_thread(worker, 0) | start_thread(releaser, 0);
        skua_group_then(stand_->handle, &group, &tasks[0].job);
        finish(set);
}

static void meet_two(void)
{
        unsigned set;

        prepare(2, 2);
        meeting = true;
        set = start_thread(worker, 0) | start_thread(worker, 1) | start_thread(publisher, 0) |
              start_thread(publisher, 1);
        finish(set);
}

static void meet_array(void)
{
        unsigned set;

        prepare(2, 2);
        meeting = true;
        set = start_thread(worker, 0) | start_thread(worker, 1) | start_thread(array_publisher, 0);
        finish(set);
}

static void one_one(void)
{
        publish(1, 1);
}

static void one_two(void)
{
        publish(1, 2);
}

static void two_one(void)
{
        publish(2, 1);
}

static void two_two(void)
{
        publish(2, 2);
}

/* A busy worker spawns, the other may sleep. It must not be left asleep: the spawner waits for what
 * it has spawned, on its own thread. */
static void spawner(void *arg)
{
        struct worker *w = stand_worker(0);

        (void)arg;
        self_set(w);
        task_init(&tasks[0], task_run);
        skua_spawn(&w->face, &tasks[0].job);
        while (!load_acquire_u32(&ran))
                spin_hint();
}

static void spawn_one(void)
{
        unsigned set;

        prepare(2, 1);
        set = start_thread(spawner, 0) | start_thread(worker, 1);
        finish(set);
}

/* Forks: the owner goes on forking, but does not join the oldest before a thief has run it. */
static struct word32 fork_ran;

static void forked_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        task_ran(task_of(job));
        store_release_u32(&fork_ran, 1);
}

static void fork_join(struct worker *w)
{
        struct task *t = &tasks[1];

        task_init(t, task_run);
        skua_fork(&w->face, &t->job, task_run);
        for (unsigned i = 0; i < 20 && !load_acquire_u32(&fork_ran); i++)
                spin_hint();
        if (skua_join(&w->face, &t->job))
                task_ran(t);
        task_done(t, 1);
}

static void forker(void *arg)
{
        struct worker *w = stand_worker(0);

        (void)arg;
        self_set(w);
        task_init(&tasks[0], forked_run);
        skua_fork(&w->face, &tasks[0].job, forked_run);
        while (!load_acquire_u32(&fork_ran))
                fork_join(w);
        model_check(!skua_join(&w->face, &tasks[0].job), "it was stolen");
        store_release_u32(&stand_->terminate, 1);
        fence_seq_cst();
        park_wake_worker(stand_, 1);
}

static void fork_worker(void *arg)
{
        struct worker *w = stand_worker(1);

        (void)arg;
        self_set(w);
        park_search(w);
        for (;;) {
                struct skua_job *job = deque_steal(stand_worker(0));

                if (job) {
                        park_found(w);
                        job->run_(&w->face, job);
                        fork_done(job);
                        park_search(w);
                        continue;
                }
                park(w);
                if (load_relaxed_u32(&w->runtime->terminate))
                        break;
                spin_hint();
        }
        fetch_add_acq_rel_u64(&w->runtime->summary, -PARK_SEARCH_ONE);
}

static void fork_one(void)
{
        unsigned set;

        prepare(2, 1);
        shared_new(&fork_ran, sizeof fork_ran);
        fork_ran.value_ = 0;
        /* As after a time in which nobody was hungry: only a hungry one's 0 changes that. */
        stand_worker(0)->face.fork_quiet_ = model_any(2);
        set = start_thread(forker, 0) | start_thread(fork_worker, 1);
        finish(set);
}

/* What only one worker may run wakes that one, whoever searches. */
static void sender(void *arg)
{
        struct skua_target target = SKUA_TARGET_INIT;
        unsigned i = (unsigned)(uintptr_t)arg;

        target.worker = SKUA_WORKER(0);
        task_init(&tasks[i], task_run);
        model_check(!skua_submit_to(stand_->handle, &tasks[i].job, &target), "submit_to");
}

static void addressee(void *arg)
{
        struct worker *w = stand_worker(0);
        unsigned got = 0;

        (void)arg;
        self_set(w);
        park_search(w);
        while (got < wanted) {
                struct skua_job *job = exchange_acq_rel_ptr(&w->gate->jobs, NULL), *next;

                if (!job)
                        park(w);
                for (; job; job = next) {
                        shared_read(&job->next_, sizeof job->next_);
                        next = job->next_;
                        task_ran(task_of(job));
                        got++;
                }
        }
        fetch_add_acq_rel_u64(&w->runtime->summary, -PARK_SEARCH_ONE);
}

static void targeted(void)
{
        unsigned set;

        prepare(2, 2);
        /* Somebody searches all the time. */
        stand_->summary.value_ += PARK_SEARCH_ONE;
        set = start_thread(addressee, 0) | start_thread(sender, 0) | start_thread(sender, 1);
        model_threads_join(set);
        fetch_add_relaxed_u64(&stand_->summary, -PARK_SEARCH_ONE);
        finish(0);
}

/* A lone job, published when all sleep, wakes one of them. */
static void sleeper(void *arg)
{
        struct worker *w = stand_worker((unsigned)(uintptr_t)arg);

        worker(arg);
        /* One sleep before the job, at most one more before the end: who was woken for nothing
         * sleeps a third time. */
        model_check(w->count.parks.value_ <= 2, "a lone job has woken a second worker");
}

static void lone_job(void)
{
        unsigned set;

        prepare(2, 1);
        set = start_thread(sleeper, 0) | start_thread(sleeper, 1);
        while (park_idle_of(load_relaxed_u64(&stand_->summary)) != 2 ||
               load_relaxed_u32(&stand_->gates[0].state) != GATE_PARKED ||
               load_relaxed_u32(&stand_->gates[1].state) != GATE_PARKED)
                spin_hint();
        publisher(NULL);
        finish(set);
        model_check(stand_worker(0)->count.parks.value_ + stand_worker(1)->count.parks.value_ <= 3,
                    "a lone job has woken both");
}

static const struct model_scenario scenarios[] = {
        {.name = "park: one worker, one publisher", .run = one_one},
        {.name = "park: one worker, two publishers", .run = one_two},
        {.name = "park: two workers, one publisher", .run = two_one},
        {.name = "park: two workers, two publishers", .run = two_two},
        {.name = "park: an array", .run = array},
        {.name = "park: jobs that meet", .run = meet_two},
        {.name = "park: an array of jobs that meet", .run = meet_array},
        {.name = "park: a job after a group", .run = after_group},
        {.name = "park: a spawn", .run = spawn_one},
        {.name = "park: a fork", .run = fork_one},
        {.name = "park: targeted jobs", .run = targeted},
        {.name = "park: a lone job wakes one", .run = lone_job},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
