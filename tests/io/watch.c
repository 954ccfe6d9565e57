/* SPDX-License-Identifier: MIT
 *
 * Looking after busy workers: a job keeps its worker until something has happened that only this
 * worker's ring or timers know of. Without the sentinel it would never end.
 */
/* link: -luring */
#include "ops.h"

#include <signal.h>

enum { ROUNDS = 10, WAKES = 200, OPS = 40, OPS_MOST = 200 };

struct scene {
        struct skua_job job, before;
        struct op ops[OPS_MOST];
        struct skua_timer timer;
        struct tally tally, begun;
        struct skua_group group;
        unsigned count, keeper;
        atomic_uint elsewhere; /* completions that another worker has handled */
        int pipe[2];
        bool flush, timed, wakes;
};

static void counted(struct skua_worker *self, struct skua_job *job)
{
        struct scene *s = op_of(job)->arg;

        atomic_fetch_add(&s->elsewhere, skua_worker_index(self) != s->keeper);
        op_count(op_of(job));
}

static void on_timer(struct skua_worker *self, struct skua_job *job)
{
        struct scene *s = skua_container(job, struct scene, timer.job);

        atomic_fetch_add(&s->elsewhere, skua_worker_index(self) != s->keeper);
        tally_add(&s->tally, 1);
}

static void prepare(struct skua_worker *self, struct scene *s)
{
        s->keeper = skua_worker_index(self);
        for (unsigned i = 0; i < s->count; i++) {
                op_init(&s->ops[i], &s->tally);
                s->ops[i].arg = s;
                io_uring_prep_read(op_in(self, &s->ops[i], counted, &s->group), s->pipe[0],
                                   s->ops[i].data, 1, 0);
        }
        if (s->timed)
                skua_timer_start(self, &s->timer, skua_now_ns() + 2000000);
}

static void prepare_only(struct skua_worker *self, struct skua_job *job)
{
        prepare(self, skua_container(job, struct scene, before));
}

/* Nobody else can run what this worker's ring keeps back, unless somebody looks after it. */
static void keep_worker(struct skua_worker *self, struct skua_job *job)
{
        struct scene *s = skua_container(job, struct scene, job);

        if (s->flush) {
                prepare(self, s);
                skua_io_flush(self);
        }
        tally_add(&s->begun, 1);
        while (tally_read(&s->tally) < s->count + s->timed)
                spin_hint();
}

static void let_read(const struct scene *s)
{
        char bytes[OPS_MOST] = {0};

        if (write(s->pipe[1], bytes, s->count) != (ssize_t)s->count)
                printf("# short write\n");
}

/* Everything completes while its worker is kept; how much of it elsewhere. */
static unsigned play(struct skua *rt, struct scene *s)
{
        struct skua_target where = SKUA_TARGET_INIT;

        tally_reset(&s->tally);
        tally_reset(&s->begun);
        atomic_store(&s->elsewhere, 0);
        skua_group_init(&s->group);
        skua_timer_init(&s->timer, on_timer);
        skua_job_init(&s->job, keep_worker);
        skua_job_init(&s->before, prepare_only);
        where.worker = SKUA_WORKER(0);
        where.group = &s->group;
        skua_group_hold(&s->group, 1);
        if (!s->flush)
                skua_submit_to(rt, &s->before, &where);
        if (s->wakes) {
                rig_until_idle(rt, skua_workers(rt));
                let_read(s);
        }
        skua_submit_to(rt, &s->job, &where);
        tally_wait(&s->begun, 1);
        if (!s->wakes)
                let_read(s);
        skua_group_release(&s->group, 0);
        skua_group_wait(&s->group, -1);
        return atomic_load(&s->elsewhere);
}

static void check(const char *name, unsigned workers, unsigned flags, struct scene *s)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        unsigned rounds = rig_rounds(s->wakes ? WAKES : ROUNDS), elsewhere = 0;
        struct skua *rt;

        options.flags = flags;
        rt = rig_start(workers, &options);
        if (pipe(s->pipe))
                printf("# no pipe\n");
        for (unsigned i = 0; i < rounds; i++)
                elsewhere += play(rt, s);
        /* Who is woken may handle them before it comes to the job that keeps it. */
        tap_ok(s->wakes || elsewhere >= rounds * s->count,
               "%s, %u workers: %u handled by others in %u rounds", name, workers, elsewhere,
               rounds);
        rig_stop(rt);
        close(s->pipe[0]);
        close(s->pipe[1]);
}

/* A signal that is taken stays its owner's, and the rings are then such that need none. */
static void check_taken_signal(struct scene *s)
{
        struct sigaction mine = {.sa_handler = SIG_IGN}, now;

        sigaction(SIGRTMAX - 2, &mine, NULL);
        check("signal taken", 2, 0, s);
        sigaction(SIGRTMAX - 2, NULL, &now);
        tap_ok(now.sa_handler == SIG_IGN, "the signal's handler is still its owner's");
}

int main(void)
{
        static struct scene s;

        need_ring();
        tap_plan(18, 120);
        s.count = 1;
        s.flush = true;
        check_taken_signal(&s);
        signal(SIGRTMAX - 2, SIG_DFL);
        for (unsigned workers = 2; workers <= 8; workers *= 4) {
                s.count = 1;
                s.flush = true;
                check("one read", workers, 0, &s);
                s.count = OPS;
                check("many reads", workers, 0, &s);
                check("many reads, without signals", workers, SKUA_NO_KICK, &s);
                s.timed = true;
                check("reads and a timer", workers, 0, &s);
                s.timed = false;
                s.flush = false;
                check("prepared by the job before", workers, 0, &s);
                s.wakes = true;
                check("woken by them for a job", workers, 0, &s);
                s.count = OPS_MOST;
                check("more than it can take at once", workers, 0, &s);
                check("the same, without signals", workers, SKUA_NO_KICK, &s);
                s.wakes = false;
        }
        return tap_done();
}
