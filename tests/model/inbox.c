/* SPDX-License-Identifier: MIT
 *
 * Inboxes: posts against runs that take a few at a time, wake-ups, and an inbox that goes as soon
 * as its last job has been run. The file descriptor is a number here, which orders nothing.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine/machine.h"
#include "scenario.h"
#include "task.h"

static struct word32 counter; /* of the eventfd */
static bool closed;

static ssize_t model_write(int fd, const void *from, size_t bytes)
{
        (void)fd, (void)from;
        model_check(!closed, "a file descriptor that is closed is written");
        fetch_add_relaxed_u32(&counter, 1);
        return (ssize_t)bytes;
}

static ssize_t model_read(int fd, void *to, size_t bytes)
{
        uint32_t found = load_relaxed_u32(&counter);

        (void)fd, (void)to;
        /* Reads and clears in one step, as the kernel does. */
        while (found && !cas_relaxed_u32(&counter, &found, 0))
                ;
        return found ? (ssize_t)bytes : -1;
}

static int model_eventfd(unsigned count, int flags)
{
        (void)count, (void)flags;
        return 7;
}

static int model_close(int fd)
{
        (void)fd;
        closed = true;
        return 0;
}

#define write   model_write
#define read    model_read
#define eventfd model_eventfd
#define close   model_close
#include "io/inbox.c"
#undef write
#undef read
#undef eventfd
#undef close

enum { TASKS = 6 };

static struct skua_inbox inbox;
static struct task tasks[TASKS];
static unsigned last[3];

static void letter_run(struct skua_worker *self, struct skua_job *job)
{
        unsigned i = (unsigned)(task_of(job) - tasks);

        model_check(last[i % 3] <= i, "two of one poster in the wrong order");
        last[i % 3] = i;
        task_run(self, job);
}

static void prepare(void)
{
        machine_begin(1);
        shared_new(&inbox, sizeof inbox);
        shared_new(&counter, sizeof counter);
        model_name(&inbox, sizeof inbox, "inbox");
        model_name(&counter, sizeof counter, "eventfd");
        counter.value_ = 0;
        closed = false;
        memset(last, 0, sizeof last);
        model_check(!skua_inbox_init(&inbox), "init");
}

static void poster(void *arg)
{
        unsigned i = (unsigned)(uintptr_t)arg;

        task_init(&tasks[i], letter_run);
        skua_inbox_post(&inbox, &tasks[i].job);
}

static void poster_twice(void *arg)
{
        poster(arg);
        poster((void *)((uintptr_t)arg + 3));
}

/* Sleeps while the file descriptor is not readable; gone when all have been run. */
static void loop(unsigned posters, unsigned each, size_t max)
{
        unsigned set = 0, ran = 0;

        prepare();
        for (unsigned i = 0; i < posters; i++)
                set |= 1u << model_thread_start(each == 2 ? poster_twice : poster,
                                                (void *)(uintptr_t)i);
        while (ran < posters * each) {
                while (!load_relaxed_u32(&counter))
                        spin_hint();
                ran += (unsigned)skua_inbox_run(&inbox, max);
        }
        model_check(!skua_inbox_fini(&inbox), "fini");
        shared_gone(&inbox, sizeof inbox);
        for (unsigned i = 0; i < posters; i++)
                for (unsigned k = 0; k < each; k++)
                        task_done(&tasks[i + 3 * k], 1);
        model_threads_join(set);
}

static void one(void)
{
        loop(1, 1, 9);
}

static void two(void)
{
        loop(2, 1, 9);
}

static void three(void)
{
        loop(3, 1, 9);
}

static void twice(void)
{
        loop(2, 2, 9);
}

static void few(void)
{
        loop(2, 2, 1);
}

static const struct model_scenario scenarios[] = {
        {.name = "inbox: one post", .run = one},
        {.name = "inbox: two posters", .run = two},
        {.name = "inbox: three posters", .run = three},
        {.name = "inbox: two posters, twice", .run = twice},
        {.name = "inbox: one job at a time", .run = few},
};

int main(int argc, char **argv)
{
        return scenarios_main(argc, argv, scenarios, sizeof scenarios / sizeof *scenarios);
}
