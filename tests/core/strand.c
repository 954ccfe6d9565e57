/* SPDX-License-Identifier: MIT
 *
 * Strands: one at a time, first in first out, whoever submits from wherever; what waits is neither
 * lost nor forgotten by a drain; and the memory may go as soon as the group has been waited for.
 */
#include "core/crew.h"

enum { CHECKS = 105, SOURCES = 6 };

/* What the jobs of one strand share, without a lock or an atomic access. */
struct line {
        struct skua_strand strand;
        struct skua_group group;
        unsigned last[SOURCES]; /* number of the last job of each submitter */
        unsigned ran, wrong;
        bool inside;
};

struct piece {
        struct skua_job job;
        struct line *line;
        unsigned source, number;
        unsigned children; /* to be submitted by it */
        unsigned worker;   /* SKUA_WORKER it must be on, or 0 */
        bool cancelled;
        skua_fn *act;
};

static struct line *line_new(void)
{
        struct line *line = calloc(1, sizeof *line);

        skua_strand_init(&line->strand);
        skua_group_init(&line->group);
        return line;
}

static struct skua_target to_line(struct line *line)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = &line->group;
        where.strand = &line->strand;
        return where;
}

/* Waits for all, then the memory goes at once. Returns what went wrong. */
static unsigned line_end(struct line *line, unsigned count)
{
        unsigned wrong = skua_group_wait(&line->group, -1) != 0;

        wrong += line->wrong + (line->ran != count) + line->inside;
        if (wrong)
                printf("# ran %u of %u, %u wrong\n", line->ran, count, line->wrong);
        free(line);
        return wrong;
}

/* In a job: the turn is ours. */
static void turn_begin(struct skua_worker *self, struct piece *piece)
{
        struct line *line = piece->line;

        line->wrong += line->inside || piece->number != ++line->last[piece->source];
        line->inside = true;
        if (piece->worker)
                line->wrong += SKUA_WORKER(skua_worker_index(self)) != piece->worker;
        piece->cancelled = skua_cancelled(self);
}

static void turn_end(struct piece *piece)
{
        piece->line->ran++;
        piece->line->inside = false;
}

static void piece_run(struct skua_worker *self, struct skua_job *job)
{
        struct piece *piece = skua_container(job, struct piece, job);

        turn_begin(self, piece);
        if (piece->act)
                piece->act(self, job);
        turn_end(piece);
}

static void piece_init(struct piece *piece, struct line *line, unsigned source, unsigned number)
{
        memset(piece, 0, sizeof *piece);
        piece->line = line;
        piece->source = source;
        piece->number = number;
        skua_job_init(&piece->job, piece_run);
}

static void act_free(struct skua_worker *self, struct skua_job *job);

/* A piece that frees itself. */
static struct piece *piece_new(struct line *line, unsigned source, unsigned number)
{
        struct piece *piece = malloc(sizeof *piece);

        piece_init(piece, line, source, number);
        piece->job.run_ = act_free;
        return piece;
}

static void act_free(struct skua_worker *self, struct skua_job *job)
{
        struct piece *piece = skua_container(job, struct piece, job);

        turn_begin(self, piece);
        for (unsigned i = 0; i < piece->children; i++) {
                struct skua_target where = to_line(piece->line);
                struct piece *child = piece_new(piece->line, SOURCES - 1,
                                                (piece->number - 1) * piece->children + i + 1);

                piece->line->wrong += skua_submit_to(skua_runtime(self), &child->job, &where) != 0;
        }
        turn_end(piece);
        free(piece);
}

/* ------------------------------------------------------------------ turns */

struct source {
        struct skua *rt;
        struct line *line;
        unsigned source, count, children;
        pthread_t thread;
};

static void *source_thread(void *arg)
{
        struct source *source = arg;

        for (unsigned i = 1; i <= source->count; i++) {
                struct piece *piece = piece_new(source->line, source->source, i);
                struct skua_target where = to_line(source->line);

                piece->children = source->children;
                if (i % 3 == 0)
                        where.node = SKUA_NODE(0);
                if (skua_submit_to(source->rt, &piece->job, &where))
                        printf("# submit failed\n");
                if (i % 32 == 0)
                        sched_yield(); /* the strand becomes idle now and then */
        }
        return NULL;
}

/* Threads outside and the jobs themselves submit to one strand. */
static void check_turns(struct skua *rt)
{
        enum { THREADS = 4 };
        unsigned each = rig_rounds(4000), wrong = 0;
        struct source sources[THREADS];

        for (unsigned round = 0; round < 3; round++) {
                struct line *line = line_new();
                unsigned count = THREADS * each + 2 * each;

                skua_group_hold(&line->group, 1);
                for (unsigned i = 0; i < THREADS; i++) {
                        sources[i] = (struct source){rt, line, i, each, i ? 0 : 2, 0};
                        sources[i].thread = go(source_thread, &sources[i]);
                }
                for (unsigned i = 0; i < THREADS; i++)
                        join(sources[i].thread);
                skua_group_release(&line->group, 0);
                wrong += line_end(line, count);
        }
        tap_is(wrong, 0, "one at a time, and in order for each who submits");
}

/* The last touch of the strand comes before the group is counted down. */
static void check_memory(struct skua *rt)
{
        unsigned rounds = rig_rounds(4000), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct line *line = line_new();
                struct skua_target where = to_line(line);
                unsigned count = i % 4 + 1;

                skua_group_hold(&line->group, 1);
                for (unsigned k = 1; k <= count; k++)
                        wrong += skua_submit_to(rt, &piece_new(line, 0, k)->job, &where) != 0;
                skua_group_release(&line->group, 0);
                wrong += line_end(line, count);
        }
        tap_is(wrong, 0, "a strand may go when its group has been waited for");
}

/* More strands at once than a run queue has room, all of which pass their turns on. */
static void many_strands(struct skua_worker *self, void *arg)
{
        enum { LINES = 600, EACH = 4 };
        struct line **lines = malloc(LINES * sizeof *lines);
        unsigned *wrong = arg;

        for (unsigned i = 0; i < LINES; i++) {
                struct skua_target where = to_line(lines[i] = line_new());

                for (unsigned k = 1; k <= EACH; k++)
                        *wrong += skua_submit_to(skua_runtime(self),
                                                 &piece_new(lines[i], 0, k)->job, &where) != 0;
        }
        for (unsigned i = 0; i < LINES; i++) {
                *wrong += skua_await_group(self, &lines[i]->group) != 0;
                *wrong += lines[i]->ran != EACH || lines[i]->wrong;
                free(lines[i]);
        }
        free(lines);
}

static void check_many(struct skua *rt)
{
        unsigned wrong = 0;

        tap_is(skua_run(rt, many_strands, &wrong), 0, "hundreds of strands from one job");
        tap_is(wrong, 0, "each in order");
}

/* ------------------------------------------------------------------ targets */

static void array_inside(struct skua_worker *self, void *arg)
{
        struct piece *pieces = arg;
        struct skua_target where = to_line(pieces->line);

        if (skua_submit_array(skua_runtime(self), &pieces[50].job, 50, sizeof *pieces, &where) !=
            50)
                skua_fail(self, -EIO);
}

static void check_array(struct skua *rt)
{
        enum { COUNT = 100 };
        struct line *line = line_new();
        struct piece *pieces = calloc(COUNT, sizeof *pieces);
        struct skua_target where = to_line(line);
        unsigned wrong = 0;

        for (unsigned i = 0; i < COUNT; i++)
                piece_init(&pieces[i], line, 0, i + 1);
        tap_is(skua_submit_array(rt, &pieces[0].job, 50, sizeof *pieces, &where), 50,
               "an array from outside");
        tap_is(skua_run(rt, array_inside, pieces), 0, "and one from inside");
        tap_is(line_end(line, COUNT), 0, "are run in order");
        for (unsigned i = 0; i < COUNT; i++)
                wrong += pieces[i].job.run_ != piece_run;
        tap_is(wrong, 0, "and the jobs are as before");
        free(pieces);
}

/* Each job on a worker of its own choice, whatever worker the one before it was on. */
static void check_workers(struct skua *rt)
{
        enum { COUNT = 300 };
        struct line *line = line_new();
        struct piece *pieces = calloc(COUNT, sizeof *pieces);
        struct skua_target where = to_line(line);
        uint64_t random = tap_seed_;
        unsigned wrong = 0;

        for (unsigned i = 0; i < COUNT; i++) {
                unsigned wish = (unsigned)(tap_random(&random) >> 32) % (skua_workers(rt) + 1);

                piece_init(&pieces[i], line, 0, i + 1);
                where.worker = pieces[i].worker = wish;
                wrong += skua_submit_to(rt, &pieces[i].job, &where) != 0;
        }
        tap_is(wrong + line_end(line, COUNT), 0, "each on the worker that it names, in order");
        free(pieces);
}

struct again {
        struct skua_job job;
        struct line *line;
        unsigned left;
        struct tally plain;
};

static void again_run(struct skua_worker *self, struct skua_job *job)
{
        struct again *again = skua_container(job, struct again, job);
        struct skua_target where = to_line(again->line);

        again->line->wrong += again->line->inside;
        again->line->inside = true;
        again->line->ran++;
        again->line->inside = false;
        if (again->left && again->left--) {
                where.worker = again->left % 2 ? SKUA_WORKER(0) : 0;
                skua_submit_to(skua_runtime(self), job, &where);
        }
}

static void plain_run(struct skua_worker *self, struct skua_job *job)
{
        struct again *again = skua_container(job, struct again, job);

        (void)self;
        tally_add(&again->plain, 1);
}

/* A job submits itself to its strand again; then without one, then as a fork. */
static void check_again(struct skua *rt)
{
        struct again again = {.line = line_new(), .left = 500};
        struct skua_target where = to_line(again.line);

        skua_job_init(&again.job, again_run);
        tap_is(skua_submit_to(rt, &again.job, &where), 0, "a job that submits itself");
        tap_is(line_end(again.line, 501), 0, "again and again");
        tap_ok(again.job.run_ == again_run, "has its function still");
        skua_job_init(&again.job, plain_run);
        tap_is(skua_submit(rt, &again.job), 0, "and may be submitted without a strand");
        tally_wait(&again.plain, 1);
        rig_until_idle(rt, skua_workers(rt));
}

static void act_fail(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_fail(self, -EIO);
        skua_fail(self, -ENOENT);
}

static void check_error(struct skua *rt)
{
        struct line *line = line_new();
        struct skua_target where = to_line(line);
        struct piece pieces[3];

        for (unsigned i = 0; i < 3; i++) {
                piece_init(&pieces[i], line, 0, i + 1);
                pieces[i].act = i == 1 ? act_fail : NULL;
                skua_submit_to(rt, &pieces[i].job, &where);
        }
        tap_is(skua_group_wait(&line->group, -1), -EIO, "an error goes to the group");
        tap_is(line->ran + line->wrong, 3, "and the strand goes on");
        free(line);
}

static void bounded_job(struct skua_worker *self, void *arg)
{
        struct piece *pieces = arg;
        struct skua_target where = to_line(pieces->line);

        for (unsigned i = 20; i < 30; i++)
                skua_fail(self, skua_await_submit(self, &pieces[i].job, &where));
}

static void check_bound(unsigned workers)
{
        enum { COUNT = 30 };
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct line *line = line_new();
        struct skua_target where = to_line(line);
        struct piece pieces[COUNT];
        unsigned wrong = 0;
        struct skua *rt;

        options.queue_limit = 1;
        rt = rig_start(workers, &options);
        where.flags = SKUA_TRY;
        for (unsigned i = 0; i < COUNT; i++)
                piece_init(&pieces[i], line, 0, i + 1);
        for (unsigned i = 0; i < 20; i++)
                wrong += skua_submit_to(rt, &pieces[i].job, &where) != 0;
        wrong += skua_run(rt, bounded_job, pieces) != 0;
        tap_is(wrong, 0, "the bound of the queue does not count them");
        tap_is(line_end(line, COUNT), 0, "and they are all run");
        rig_stop(rt);
}

/* ------------------------------------------------------------------ waiting */

struct holder {
        struct piece piece;
        struct skua_group gate; /* held by the test */
        struct tally entered;
};

static void act_wait(struct skua_worker *self, struct skua_job *job)
{
        struct holder *holder = skua_container(job, struct holder, piece.job);

        tally_add(&holder->entered, 1);
        holder->piece.line->wrong += skua_await_group(self, &holder->gate) == -EDEADLK;
}

static void holder_init(struct holder *holder, struct line *line)
{
        memset(holder, 0, sizeof *holder);
        piece_init(&holder->piece, line, 0, 1);
        holder->piece.act = act_wait;
        skua_group_init(&holder->gate);
        skua_group_hold(&holder->gate, 1);
}

static void nothing(struct skua_worker *self, void *arg)
{
        (void)self, (void)arg;
}

/* A line whose first job waits, and behind it `count` others. */
struct queue_of {
        struct line *line;
        struct holder holder;
        struct piece *pieces;
        unsigned count;
};

static void queue_begin(struct skua *rt, struct queue_of *q, unsigned count)
{
        struct skua_target where;

        q->line = line_new();
        q->count = count;
        q->pieces = calloc(count, sizeof *q->pieces);
        where = to_line(q->line);
        holder_init(&q->holder, q->line);
        skua_submit_to(rt, &q->holder.piece.job, &where);
        for (unsigned i = 0; i < count; i++) {
                piece_init(&q->pieces[i], q->line, 0, i + 2);
                skua_submit_to(rt, &q->pieces[i].job, &where);
        }
        rig_until_suspended(rt, 1);
}

static unsigned queue_cancelled(const struct queue_of *q)
{
        unsigned count = q->holder.piece.cancelled;

        for (unsigned i = 0; i < q->count; i++)
                count += q->pieces[i].cancelled;
        return count;
}

static void check_suspended(struct skua *rt)
{
        struct queue_of q;

        queue_begin(rt, &q, 20);
        for (unsigned i = 0; i < 20; i++)
                skua_run(rt, nothing, NULL);
        rig_until_idle(rt, skua_workers(rt));
        tap_is(q.line->ran, 0, "who waits keeps the strand, and the worker is free");
        skua_group_release(&q.holder.gate, 0);
        tap_is(line_end(q.line, 21), 0, "then the others come");
        free(q.pieces);
}

static void check_cancel(struct skua *rt)
{
        struct queue_of q;

        queue_begin(rt, &q, 10);
        skua_group_cancel(&q.line->group);
        skua_group_release(&q.holder.gate, 0);
        tap_is(skua_group_wait(&q.line->group, -1), -ECANCELED, "a cancelled group");
        tap_is(queue_cancelled(&q), 10, "its jobs are called as cancelled");
        tap_ok(q.line->ran == 11 && !q.line->wrong, "in turn");
        free(q.line);
        free(q.pieces);
}

/* ------------------------------------------------------------------ stop */

struct stopper {
        struct skua *rt;
        enum skua_stop_how how;
        int result;
};

static void *stop_thread(void *arg)
{
        struct stopper *stopper = arg;

        stopper->result = skua_stop(stopper->rt, stopper->how);
        return NULL;
}

static void count_run(struct skua_worker *self, struct skua_job *job)
{
        struct again *again = skua_container(job, struct again, job);

        (void)self;
        tally_add(&again->plain, 1);
}

/* Jobs that wait in a strand behind one that is suspended, when the runtime is stopped. */
static void check_stop(unsigned workers, enum skua_stop_how how)
{
        struct skua *rt = rig_start(workers, NULL);
        struct stopper stopper = {rt, how, 1};
        struct again probe = {.left = 0};
        struct piece late;
        struct queue_of q;
        struct skua_target where;
        pthread_t thread;

        queue_begin(rt, &q, 30);
        skua_job_init(&probe.job, count_run);
        thread = go(stop_thread, &stopper);
        wait_closed(rt, &probe.job, &probe.plain);
        piece_init(&late, q.line, 0, 1000);
        where = to_line(q.line);
        tap_is(skua_submit_to(rt, &late.job, &where), -ESHUTDOWN, "a closed door");
        tap_ok(late.job.run_ == piece_run && !late.job.younger_ && !late.job.flags_,
               "leaves the job alone");
        skua_group_release(&q.holder.gate, 0);
        join(thread);
        tap_is(stopper.result, 0, "stop");
        tap_is(queue_cancelled(&q), how == SKUA_CANCEL ? 30 : 0, "of 31 jobs as cancelled");
        tap_ok(q.line->ran == 31 && !q.line->wrong && !q.line->inside, "all in turn");
        free(q.line);
        free(q.pieces);
}

struct race {
        struct skua *rt;
        struct line *line;
        unsigned source, accepted;
        struct piece *pieces;
        struct tally *begun;
};

static void *race_thread(void *arg)
{
        enum { MOST = 400 };
        struct race *race = arg;
        struct skua_target where = to_line(race->line);

        race->pieces = calloc(MOST, sizeof *race->pieces);
        for (unsigned i = 0; i < MOST; i++) {
                piece_init(&race->pieces[i], race->line, race->source, i + 1);
                if (skua_submit_to(race->rt, &race->pieces[i].job, &where))
                        break;
                race->accepted++;
                tally_add(race->begun, 1);
        }
        return NULL;
}

/* Submissions against a stop: what was accepted is run, nothing else is. */
static void check_race(unsigned workers)
{
        unsigned rounds = rig_rounds(60), wrong = 0;

        for (unsigned i = 0; i < rounds; i++) {
                struct tally begun = {0};
                struct line *line = line_new();
                struct race races[2];
                pthread_t threads[2];
                unsigned accepted = 0;
                struct skua *rt = rig_start(workers, NULL);

                for (unsigned k = 0; k < 2; k++) {
                        races[k] = (struct race){rt, line, k, 0, NULL, &begun};
                        threads[k] = go(race_thread, &races[k]);
                }
                tally_wait(&begun, i % 50);
                wrong += skua_stop(rt, i & 1 ? SKUA_CANCEL : SKUA_DRAIN) != 0;
                for (unsigned k = 0; k < 2; k++) {
                        join(threads[k]);
                        accepted += races[k].accepted;
                        free(races[k].pieces);
                }
                wrong += line_end(line, accepted);
        }
        tap_is(wrong, 0, "submissions against a stop: what was accepted is run");
}

/* ------------------------------------------------------------------ figures */

static void check_figures(struct skua *rt)
{
        struct skua_stats stats;

        rig_until_idle(rt, skua_workers(rt));
        stats = stats_of(rt);
        tap_is(stats.run + stats.cancelled, stats.submitted, "each accepted job was entered once");
        tap_is(stats.queued + stats.suspended, 0, "and none is left");
}

int main(void)
{
        static const unsigned workers[] = {1, 2, 8};

        tap_plan(CHECKS, 120);
        for (unsigned i = 0; i < 3; i++) {
                struct skua *rt = rig_start(workers[i], NULL);

                check_turns(rt);
                check_memory(rt);
                check_many(rt);
                check_array(rt);
                check_workers(rt);
                check_again(rt);
                check_error(rt);
                check_suspended(rt);
                check_cancel(rt);
                check_figures(rt);
                rig_stop(rt);
                check_bound(workers[i]);
                check_stop(workers[i], SKUA_DRAIN);
                check_stop(workers[i], SKUA_CANCEL);
                check_race(workers[i]);
        }
        return tap_done();
}
