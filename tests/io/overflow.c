/* SPDX-License-Identifier: MIT
 *
 * What there is no room for: more completions than the ring holds, no memory for those that come
 * faster than they are handled, no descriptors for accept. Nothing is lost, and it goes on.
 */
/* link: -Wl,--wrap=malloc */
#include "io/ops.h"

#include <sys/resource.h>

enum { CHECKS = 6, BURST = 9000 };

void *__real_malloc(size_t bytes);

static atomic_bool no_memory; /* for the workers */
static atomic_uint refused;

void *__wrap_malloc(size_t bytes)
{
        if (atomic_load(&no_memory) && skua_self()) {
                atomic_fetch_add(&refused, 1);
                return NULL;
        }
        return __real_malloc(bytes);
}

/* ------------------------------------------------------------------ the ring of completions */

static struct op *ops;
static struct skua_group all;

/* Submitted piece by piece, and none is taken before the job ends. */
static void burst(struct skua_worker *self, void *arg)
{
        unsigned count = *(unsigned *)arg;

        for (unsigned i = 0; i < count; i++)
                io_uring_prep_nop(op_in(self, &ops[i], op_done, &all));
        skua_io_flush(self);
}

static void test_burst(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        unsigned count = BURST, wrong = 0;

        ops = calloc(count, sizeof *ops);
        skua_group_init(&all);
        run_on(rt, 0, burst, &count);
        skua_group_wait(&all, -1);
        rig_stop(rt);
        for (unsigned i = 0; i < count; i++)
                wrong += ops[i].calls != 1;
        tap_is(wrong, 0, "more completions than the ring has room for");
        free(ops);
}

/* ------------------------------------------------------------------ memory */

/* A poll whose handler waits while more and more comes. */
struct poll {
        struct op op;
        struct tally entered, leave;
        unsigned calls;
        int fd; /* to write to */
};

static void poll_done(struct skua_worker *self, struct skua_job *job)
{
        struct poll *p = skua_container(job, struct poll, op.io.job);

        (void)self;
        if (!p->calls++) {
                tally_add(&p->entered, 1);
                tally_wait(&p->leave, 1);
        }
        op_count(&p->op);
}

static void poll_begin(struct skua_worker *self, void *arg)
{
        struct poll *p = arg;

        io_uring_prep_poll_multishot(skua_io_prepare(self, &p->op.io, poll_done), p->op.fd, POLLIN);
}

/* Keeps the worker that has reaped both until another has begun with the poll. */
static void other_done(struct skua_worker *self, struct skua_job *job)
{
        struct op *op = op_of(job);

        (void)self;
        tally_wait(&((struct poll *)op->arg)->entered, 1);
}

static void poll_first(struct skua_worker *self, void *arg)
{
        static struct op other;
        struct poll *p = arg;

        op_init(&other, NULL);
        other.arg = p;
        if (write(p->fd, "x", 1) != 1)
                printf("# write: %s\n", strerror(errno));
        io_uring_prep_nop(skua_io_prepare(self, &other.io, other_done));
}

static void cancel_it(struct skua_worker *self, void *arg)
{
        skua_io_cancel(self, arg);
}

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self, (void)arg;
}

/* One worker handles, the other reaps. */
static void test_memory(void)
{
        struct skua *rt = rig_start(2, NULL);
        struct poll p;
        struct tally ended = {0};
        int fds[2];

        /* As if the other one did it already: nobody else shall take completions. */
        store_relaxed_u32(&runtime_of(rt)->sentinel, 2);
        memset((void *)&p, 0, sizeof p);
        op_init(&p.op, &ended);
        pair_make(fds);
        p.op.fd = fds[0];
        p.fd = fds[1];
        run_on(rt, 0, poll_begin, &p);
        wait_parked(rt);
        run_on(rt, 0, poll_first, &p);
        tally_wait(&p.entered, 1);
        atomic_store(&no_memory, true);
        for (unsigned i = 0; i < 100; i++) {
                if (write(fds[1], "x", 1) != 1)
                        break;
                run_on(rt, 0, nothing, NULL);
        }
        tally_add(&p.leave, 1);
        run_on(rt, 0, cancel_it, &p.op.io);
        tally_wait(&ended, 1);
        atomic_store(&no_memory, false);
        rig_stop(rt);
        tap_ok(p.op.ends == 1 && p.op.res == -ECANCELED, "without memory for what has to wait");
        printf("# %u calls, %u times no memory\n", p.calls, atomic_load(&refused));
        pair_close(fds);
}

/* ------------------------------------------------------------------ descriptors */

struct server {
        struct op op;
        struct sockaddr_in address;
        struct tally accepted, starved;
};

static void accept_done(struct skua_worker *self, struct skua_job *job)
{
        struct server *s = skua_container(job, struct server, op.io.job);

        (void)self;
        if (s->op.io.res >= 0) {
                close(s->op.io.res);
                tally_add(&s->accepted, 1);
        } else if (s->op.io.res == -EMFILE) {
                tally_add(&s->starved, 1);
        }
        op_count(&s->op);
}

static void accept_begin(struct skua_worker *self, void *arg)
{
        struct server *s = arg;

        io_uring_prep_multishot_accept(skua_io_prepare(self, &s->op.io, accept_done), s->op.fd,
                                       NULL, NULL, SOCK_CLOEXEC);
}

static void test_descriptors(unsigned workers)
{
        struct skua *rt = rig_start(workers, NULL);
        struct rlimit limit, low;
        struct server *s = calloc(1, sizeof *s);
        struct op first;
        int client[2];

        op_init(&s->op, NULL);
        s->op.fd = listener_make(&s->address);
        getrlimit(RLIMIT_NOFILE, &limit);
        op_init(&first, NULL);
        run_on(rt, 0, probe_fn, &first.io); /* there is a ring */
        client[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        client[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        low = limit;
        low.rlim_cur = 3;
        setrlimit(RLIMIT_NOFILE, &low);
        run_on(rt, 0, accept_begin, s); /* the limit is that of the preparation */
        if (connect(client[0], (struct sockaddr *)&s->address, sizeof s->address))
                printf("# connect: %s\n", strerror(errno));
        tally_wait(&s->starved, 1);
        while (!atomic_load(&s->op.ends)) /* it has ended, and is prepared anew */
                sched_yield();
        setrlimit(RLIMIT_NOFILE, &limit);
        run_on(rt, 0, accept_begin, s);
        if (connect(client[1], (struct sockaddr *)&s->address, sizeof s->address))
                printf("# connect: %s\n", strerror(errno));
        tally_wait(&s->accepted, 1);
        rig_stop(rt);
        tap_ok(s->op.ends == 2 && s->op.res == -ECANCELED, "accept without descriptors, %u workers",
               workers);
        pair_close(client);
        close(s->op.fd);
        free(s);
}

int main(void)
{
        need_ring();
        tap_plan(CHECKS, 60);
        test_burst(1);
        test_burst(2);
        test_burst(RIG_WORKERS_MAX);
        test_memory();
        test_descriptors(1);
        test_descriptors(2);
        return tap_done();
}
