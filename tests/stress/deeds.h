/* SPDX-License-Identifier: MIT
 *
 * What the jobs of soak.c do, and the ledger in which each has its name: every use that a job can
 * make of the runtime, decided by the job's own number, with what must come out of it.
 */
#ifndef TESTS_STRESS_DEEDS_H
#define TESTS_STRESS_DEEDS_H

#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/crew.h"

/* How many, and a sum of their names: nothing lost and nothing twice make both alike. */
struct ledger {
        _Alignas(128) atomic_ulong count;
        atomic_ullong names;
};

/* One runtime, from start to stop. */
struct life {
        struct skua *rt;
        struct skua_group top;
        uint64_t seed;
        struct ledger accepted, entered;
        atomic_bool cancels; /* somebody has begun, or is about to */
        atomic_bool enough;
        atomic_ulong wrong;
};

enum deed {
        DEED_SPAWN,
        DEED_AWAIT,
        DEED_SEND,
        DEED_FORK,
        DEED_LOOP,
        DEED_FOLD,
        DEED_ISOLATED,
        DEED_SLEEP,
        DEED_THEN,
        DEED_POST,
        DEED_IO,
        DEED_NOTHING,
        DEEDS
};

static const char *const deed_names[DEEDS] = {"spawned",  "awaited", "sent",     "forked",
                                              "looped",   "folded",  "isolated", "slept",
                                              "followed", "posted",  "did I/O",  "did nothing"};
static atomic_ulong deeds[DEEDS];
static atomic_ulong refusals, cancelled_jobs;

static void enter_in(struct ledger *ledger, uint64_t name)
{
        atomic_fetch_add(&ledger->count, 1);
        atomic_fetch_add(&ledger->names, rig_mix(name));
}

static void strike_from(struct ledger *ledger, uint64_t name)
{
        atomic_fetch_sub(&ledger->count, 1);
        atomic_fetch_sub(&ledger->names, rig_mix(name));
}

static void expect(struct life *life, bool right, const char *what)
{
        if (right)
                return;
        atomic_fetch_add(&life->wrong, 1);
        printf("# wrong: %s\n", what);
}

/* A stream of decisions: the same for the same name. */
static uint64_t next(uint64_t *random)
{
        *random = rig_mix(*random);
        return *random >> 8;
}

/* ------------------------------------------------------------------ jobs */

struct task {
        struct skua_job job;
        struct life *life;
        struct skua_group *group; /* as it was submitted with */
        uint64_t name, random;
        unsigned depth;
};

static void task_run(struct skua_worker *self, struct skua_job *job);

static void task_init(struct task *task, struct life *life, struct skua_group *group, uint64_t name,
                      unsigned depth)
{
        skua_job_init(&task->job, task_run);
        task->life = life;
        task->group = group;
        task->name = name;
        task->random = rig_mix(name ^ 0x5eed);
        task->depth = depth;
}

static struct task *task_new(struct life *life, struct skua_group *group, uint64_t name,
                             unsigned depth)
{
        struct task *task = calloc(1, sizeof *task);

        task_init(task, life, group, name, depth);
        return task;
}

struct child_fork {
        struct skua_job job;
        unsigned n;
        uint64_t value;
};

static uint64_t fibonacci(struct skua_worker *self, unsigned n);

static void fork_run(struct skua_worker *self, struct skua_job *job)
{
        struct child_fork *fork = skua_container(job, struct child_fork, job);

        fork->value = fibonacci(self, fork->n);
}

static uint64_t fibonacci(struct skua_worker *self, unsigned n)
{
        struct child_fork fork;
        uint64_t first;

        if (n < 2)
                return n;
        fork.n = n - 2;
        skua_fork(self, &fork.job, fork_run);
        first = fibonacci(self, n - 1);
        return first + (skua_join(self, &fork.job) ? fibonacci(self, n - 2) : fork.value);
}

/* A child is in the ledger before it can run. */
static struct task *child_of(struct task *task, struct skua_group *group)
{
        struct task *child = task_new(task->life, group, next(&task->random), task->depth - 1);

        enter_in(&task->life->accepted, child->name);
        return child;
}

static void give_up(struct task *task)
{
        strike_from(&task->life->accepted, task->name);
        atomic_fetch_add(&refusals, 1);
        free(task);
}

static void do_spawn(struct skua_worker *self, struct task *task)
{
        struct life *life = task->life;

        skua_spawn(self, &child_of(task, NULL)->job);
        skua_group_spawn(self, &life->top, &child_of(task, &life->top)->job);
}

/* A group of its own, with a fork outstanding; cancelled or held at times. */
static void do_await(struct skua_worker *self, struct task *task)
{
        struct life *life = task->life;
        uint64_t r = next(&task->random);
        unsigned index = skua_worker_index(self);
        struct skua_group group;
        struct child_fork fork = {.n = 7};
        int result;

        skua_fork(self, &fork.job, fork_run);
        skua_group_init_under(&group, &life->top);
        for (unsigned i = 0; i < 1 + r % 3; i++) {
                struct task *child = child_of(task, &group);

                if (i & 1)
                        result = skua_group_submit(life->rt, &group, &child->job);
                else
                        skua_group_spawn(self, &group, &child->job), result = 0;
                expect(life, result == 0, "a job's submission to its group");
        }
        if (r % 16 == 0)
                skua_group_cancel(&group);
        if (r % 16 == 1) {
                skua_group_hold(&group, 2);
                skua_group_release(&group, -EIO);
                skua_group_release(&group, 0);
        }
        result = skua_await_group(self, &group);
        expect(life, result == 0 || result == -ECANCELED || result == -EIO, "result of an await");
        expect(life, skua_worker_index(self) == index && skua_self() == self, "another worker");
        if (skua_join(self, &fork.job))
                fork.value = fibonacci(self, 7);
        expect(life, fork.value == 13, "a fork held over an await");
}

/* To a worker, to a node, and to wherever there is room. */
static void do_send(struct skua_worker *self, struct task *task)
{
        struct life *life = task->life;
        struct skua_target where = SKUA_TARGET_INIT;
        struct task *child = child_of(task, NULL);
        uint64_t r = next(&task->random);

        where.worker = SKUA_WORKER(r % skua_workers(life->rt));
        expect(life, skua_submit_to(life->rt, &child->job, &where) == 0, "a job for a worker");
        where.worker = 0;
        where.node = r & 256 ? SKUA_NODE(skua_worker_node(self)) : 0;
        where.group = r & 512 ? &life->top : NULL;
        where.flags = r & 1024 ? SKUA_TRY : 0;
        child = child_of(task, where.group);
        if (skua_await_submit(self, &child->job, &where))
                give_up(child);
}

static void do_fork(struct skua_worker *self, struct task *task)
{
        expect(task->life, fibonacci(self, 12) == 144, "forks");
}

struct loop {
        struct task *task;
        atomic_ulong sum;
};

static void loop_body(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        struct loop *loop = arg;
        unsigned long sum = 0;

        for (size_t i = begin; i < end; i++)
                sum += i;
        atomic_fetch_add(&loop->sum, sum);
        if (rig_mix(begin) % 32 == 0)
                expect(loop->task->life, fibonacci(self, 5) == 5, "forks in a loop");
        if (rig_mix(begin) % 64 == 0)
                sched_yield();
}

static void do_loop(struct skua_worker *self, struct task *task)
{
        struct loop loop = {.task = task};
        uint64_t r = next(&task->random);
        size_t count = r % 1000;
        int result = skua_for(self, 0, count, r >> 16 & 7, loop_body, &loop);

        expect(task->life,
               result == -ECANCELED ||
                       (result == 0 && loop.sum == (count ? count * (count - 1) / 2 : 0)),
               "sum of a loop");
}

/* A fold that shows whether the order was kept: the last index, and how often one followed. */
struct chain {
        size_t first, last, count;
        bool broken;
};

static void chain_body(struct skua_worker *self, size_t begin, size_t end, void *acc, void *arg)
{
        struct chain *chain = acc;

        (void)self, (void)arg;
        chain->broken |= chain->count && chain->last != begin;
        chain->first = chain->count ? chain->first : begin;
        chain->last = end;
        chain->count += end - begin;
}

static void chain_combine(void *acc, const void *other, void *arg)
{
        struct chain *left = acc;
        const struct chain *right = other;

        (void)arg;
        if (!right->count)
                return;
        left->broken |= right->broken || (left->count && left->last != right->first);
        left->first = left->count ? left->first : right->first;
        left->last = right->last;
        left->count += right->count;
}

static void do_fold(struct skua_worker *self, struct task *task)
{
        const struct skua_reduction r = {
                .acc_bytes = sizeof(struct chain), .body = chain_body, .combine = chain_combine};
        size_t count = next(&task->random) % 2000;
        struct chain chain;
        int result = skua_reduce(self, 0, count, count % 5, &r, &chain);

        expect(task->life,
               result == -ECANCELED || (result == 0 && chain.count == count && !chain.broken),
               "a fold in order");
}

static void isolated(struct skua_worker *self, void *arg)
{
        struct task *task = arg;
        struct skua_group group;

        skua_group_init(&group);
        expect(task->life, fibonacci(self, 9) == 34, "isolated forks");
        expect(task->life, skua_await_group(self, &group) == 0, "an empty group");
        skua_group_hold(&group, 1);
        expect(task->life, skua_await_group(self, &group) == -EDEADLK, "an isolated await");
        skua_group_release(&group, 0);
}

static void sleep_a_little(uint64_t r)
{
        struct timespec pause = {0, (long)(r >> 4) % 200000};

        if (r & 1)
                nanosleep(&pause, NULL);
        else
                sched_yield();
}

/* The job that follows a group is entered when the group is empty. */
static void do_then(struct skua_worker *self, struct task *task)
{
        struct life *life = task->life;
        struct skua_group *group = calloc(1, sizeof *group);
        struct task *after = child_of(task, NULL);

        /* The child frees the group, which it knows by a name of its own. */
        skua_group_init(group);
        skua_group_spawn(self, group, &child_of(task, group)->job);
        skua_group_spawn(self, group, &child_of(task, group)->job);
        after->group = group;
        after->depth = UINT_MAX;
        skua_group_then(life->rt, group, &after->job);
}

struct letter {
        struct life *life;
        uint64_t name;
};

static void letter_read(struct skua_worker *self, void *arg)
{
        struct letter *letter = arg;

        (void)self;
        enter_in(&letter->life->entered, letter->name);
}

static int post(struct life *life, uint64_t name)
{
        struct letter letter = {life, name};
        int result;

        enter_in(&life->accepted, name);
        result = skua_post(life->rt, letter_read, &letter, sizeof letter);
        if (result) {
                strike_from(&life->accepted, name);
                atomic_fetch_add(&refusals, 1);
        }
        return result;
}

/* An operation, in the ledger like a job: entered when it has ended. */
struct operation {
        struct skua_io io;
        struct life *life;
        uint64_t name;
        int fds[2];
        char byte;
};

static void operation_done(struct skua_worker *self, struct skua_job *job)
{
        struct operation *op = skua_container(job, struct operation, io.job);

        (void)self;
        expect(op->life, op->io.res >= 0 || op->io.res == -ECANCELED, "result of an operation");
        if (op->io.flags & SKUA_IO_MORE)
                return;
        enter_in(&op->life->entered, op->name);
        close(op->fds[0]);
        close(op->fds[1]);
        free(op);
}

/* One that completes, one that is cancelled while it does, one that only a stop ends. */
static void do_io(struct skua_worker *self, struct task *task)
{
        struct life *life = task->life;
        uint64_t r = next(&task->random);
        struct skua_target where = SKUA_TARGET_INIT;
        struct operation *op = calloc(1, sizeof *op);
        struct io_uring_sqe *sqe;

        op->life = life;
        op->name = next(&task->random);
        where.group = r & 1024 ? &life->top : NULL;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, op->fds))
                op->fds[0] = op->fds[1] = -1;
        sqe = op->fds[0] < 0 ? NULL : skua_io_prepare_to(self, &op->io, operation_done, &where);
        if (!sqe) { /* too many descriptors, or no ring here */
                close(op->fds[0]);
                close(op->fds[1]);
                free(op);
                return;
        }
        enter_in(&life->accepted, op->name);
        if (r % 16 == 0)
                io_uring_prep_poll_multishot(sqe, op->fds[0], POLLIN);
        else if (r % 4 == 0)
                io_uring_prep_nop(sqe);
        else
                io_uring_prep_recv(sqe, op->fds[0], &op->byte, 1, 0);
        if (r % 4 && write(op->fds[1], "x", 1) != 1)
                expect(life, false, "a byte");
        if (r % 16 > 11)
                skua_io_cancel(self, &op->io);
}

static void act(struct skua_worker *self, struct task *task)
{
        enum deed deed = (enum deed)(next(&task->random) % DEEDS);

        atomic_fetch_add(&deeds[deed], 1);
        switch (deed) {
        case DEED_SPAWN:
                do_spawn(self, task);
                break;
        case DEED_AWAIT:
                do_await(self, task);
                break;
        case DEED_SEND:
                do_send(self, task);
                break;
        case DEED_FORK:
                do_fork(self, task);
                break;
        case DEED_LOOP:
                do_loop(self, task);
                break;
        case DEED_FOLD:
                do_fold(self, task);
                break;
        case DEED_ISOLATED:
                skua_isolated(self, isolated, task);
                break;
        case DEED_SLEEP:
                sleep_a_little(next(&task->random));
                break;
        case DEED_THEN:
                do_then(self, task);
                break;
        case DEED_IO:
                do_io(self, task);
                break;
        case DEED_POST:
                expect(task->life, post(task->life, next(&task->random)) == 0, "a job's post");
                break;
        default:
                break;
        }
}

static void task_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *task = skua_container(job, struct task, job);
        struct life *life = task->life;

        enter_in(&life->entered, task->name);
        if (skua_cancelled(self)) {
                atomic_fetch_add(&cancelled_jobs, 1);
                expect(life, task->group || atomic_load(&life->cancels), "cancelled by nobody");
        }
        if (task->depth == UINT_MAX)
                free(task->group);
        else if (task->depth)
                act(self, task);
        if (rig_mix(task->name) % 64 == 0)
                skua_fail(self, -EIO);
        free(task);
}

#endif
