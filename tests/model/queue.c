/* SPDX-License-Identifier: MIT
 *
 * The run queue and the injector's batch: four slots, an owner and thieves. What is taken is taken
 * once, and what it points to is visible.
 */
#include "core/queue.h"
#include "stand.h"

enum { TASKS = 8 };

static struct task tasks[TASKS];
static struct queue queue;
static struct wordptr slots[QUEUE_SLOTS];
static unsigned attempts;

static void prepare(void)
{
        model_pause();
        memset(&queue, 0, sizeof queue);
        memset(slots, 0, sizeof slots);
        queue.mask = QUEUE_SLOTS - 1;
        queue.slots = slots;
        model_name(&queue.top, 8, "top");
        model_name(&queue.bottom, 8, "bottom");
        model_name(slots, sizeof slots, "slots");
        model_name(tasks, sizeof tasks, "tasks");
        model_resume();
        for (unsigned i = 0; i < TASKS; i++)
                tasks[i].runs = 0;
}

static bool ran(struct skua_job *job)
{
        if (job)
                task_ran(task_of(job));
        return job != NULL;
}

static void push(unsigned i)
{
        task_init(&tasks[i], task_run);
        while (!queue_push(&queue, &tasks[i].job))
                ran(queue_pop(&queue, false));
}

static void stealer(void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < attempts; i++)
                ran(queue_steal(&queue));
}

static void taker(void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < attempts; i++)
                ran(queue_take(&queue));
}

static unsigned others(void (*entry)(void *arg), unsigned count, unsigned tries)
{
        unsigned set = 0;

        attempts = tries;
        for (unsigned i = 0; i < count; i++)
                set |= start_thread(entry, i);
        return set;
}

/* All have run, whoever took them. */
static void finish(unsigned set, unsigned count)
{
        model_threads_join(set);
        while (ran(queue_pop(&queue, false)))
                ;
        for (unsigned i = 0; i < count; i++)
                task_done(&tasks[i], 1);
}

static void pop_steal(unsigned thieves, unsigned tries, unsigned count)
{
        unsigned set;

        prepare();
        set = others(stealer, thieves, tries);
        for (unsigned i = 0; i < count; i++)
                push(i);
        for (unsigned i = 0; i < count; i++)
                ran(queue_pop(&queue, false));
        finish(set, count);
}

static void last_one(void)
{
        pop_steal(1, 1, 1);
}

static void two_thieves(void)
{
        pop_steal(2, 2, 2);
}

/* Pushes and pops by turns, so that the same slots come again. */
static void turns(void)
{
        unsigned set;

        prepare();
        set = others(stealer, 2, 2);
        for (unsigned i = 0; i < TASKS; i++) {
                push(i);
                if (i % 3 == 2)
                        ran(queue_pop(&queue, false));
        }
        finish(set, TASKS);
}

/* The owner moves half of it away, as an overflow does. */
static void claimed(void)
{
        struct skua_job *jobs[2];
        unsigned set;

        prepare();
        set = others(stealer, 2, 2);
        for (unsigned i = 0; i < TASKS; i++) {
                task_init(&tasks[i], task_run);
                while (!queue_push(&queue, &tasks[i].job))
                        for (size_t k = queue_claim(&queue, jobs, 2); k--;)
                                ran(jobs[k]);
        }
        finish(set, TASKS);
}

/* The batch: laid by several, taken by anybody, refilled when it is empty. */
static void batches(void)
{
        unsigned set;

        prepare();
        set = others(taker, 2, 2);
        for (unsigned i = 0; i < TASKS; i += 2) {
                for (unsigned k = 0; k < 2; k++) {
                        task_init(&tasks[i + k], task_run);
                        queue_lay(&queue, k, &tasks[i + k].job);
                }
                queue_lay_done(&queue, 2);
                while (ran(queue_take(&queue)))
                        ;
        }
        model_threads_join(set);
        for (unsigned i = 0; i < TASKS; i++)
                task_done(&tasks[i], 1);
}

static const struct model_scenario scenarios[] = {
        {.name = "queue: pop against steal of the last", .run = last_one},
        {.name = "queue: pop against steal of the last, all",
         .run = last_one,
         .search = MODEL_EXHAUSTIVE},
        {.name = "queue: two thieves", .run = two_thieves},
        {.name = "queue: pushes and pops by turns", .run = turns},
        {.name = "queue: the owner claims half", .run = claimed},
        {.name = "queue: batches", .run = batches},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
