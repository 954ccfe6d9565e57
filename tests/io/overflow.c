/* SPDX-License-Identifier: MIT
 *
 * What there is no room for: more completions than the ring holds, no memory for those that come
 * faster than they are handled, no descriptors for accept. Nothing is lost, and it goes on.
 */
/* link: -Wl,--wrap=malloc */
#include "io/ops.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

enum { CHECKS = 7, BURST = 9000 };

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
        unsigned calls, worker; /* which waits */
};

/* In a job whose worker is to hear of the sentinel's signal meanwhile: TSan calls handlers only
 * from functions that it knows, as that of the clock. */
static void wait_interruptibly(struct tally *tally)
{
        while (!tally_read(tally)) {
                skua_now_ns();
                sched_yield();
        }
}

static void poll_done(struct skua_worker *self, struct skua_job *job)
{
        struct poll *p = skua_container(job, struct poll, op.io.job);

        if (!p->calls++) {
                p->worker = skua_worker_index(self);
                tally_add(&p->entered, 1);
                wait_interruptibly(&p->leave);
        }
        op_count(&p->op);
}

static void poll_begin(struct skua_worker *self, void *arg)
{
        struct poll *p = arg;

        io_uring_prep_poll_multishot(skua_io_prepare(self, &p->op.io, poll_done), p->op.fd, POLLIN);
}

static void poll_ready(struct poll *p)
{
        uint64_t one = 1;

        if (write(p->op.fd, &one, sizeof one) != sizeof one)
                printf("# write: %s\n", strerror(errno));
}

/* Keeps the worker whose ring it is until the other has begun with the poll. */
static void poll_elsewhere(struct skua_worker *self, void *arg)
{
        struct poll *p = arg;

        (void)self;
        poll_ready(p);
        wait_interruptibly(&p->entered);
}

static void cancel_it(struct skua_worker *self, void *arg)
{
        skua_io_cancel(self, arg);
}

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self, (void)arg;
}

/* One worker handles, the other reaps: its own ring, or that of the one that handles. */
static void test_memory(bool elsewhere)
{
        struct skua *rt = rig_start(2, NULL);
        struct poll p;
        struct tally ended = {0};

        memset((void *)&p, 0, sizeof p);
        op_init(&p.op, &ended);
        p.op.fd = eventfd(0, EFD_CLOEXEC);
        run_on(rt, 0, poll_begin, &p);
        if (elsewhere)
                run_on(rt, 0, poll_elsewhere, &p);
        else
                poll_ready(&p);
        tally_wait(&p.entered, 1);
        atomic_store(&refused, 0);
        atomic_store(&no_memory, true);
        while (!atomic_load(&refused)) {
                poll_ready(&p);
                if (p.worker)
                        run_on(rt, 0, nothing, NULL); /* its ring's worker takes what has come */
                else
                        sched_yield(); /* the other one looks after it */
        }
        tally_add(&p.leave, 1);
        run_on(rt, 0, cancel_it, &p.op.io);
        tally_wait(&ended, 1);
        atomic_store(&no_memory, false);
        rig_stop(rt);
        tap_ok(p.op.ends == 1 && p.op.res == -ECANCELED, "no memory for what waits, handled on %u",
               p.worker);
        printf("# %u calls, %u times no memory\n", p.calls, atomic_load(&refused));
        close(p.op.fd);
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
        test_memory(true);
        test_memory(false);
        test_descriptors(1);
        test_descriptors(2);
        return tap_done();
}
