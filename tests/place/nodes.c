/* SPDX-License-Identifier: MIT
 *
 * A runtime on a machine with several nodes: where its threads and its memory are, by the kernel's
 * own word; whom it wakes and robs, by libnuma's distances; and that nothing gets lost between the
 * nodes. What stands still while it is looked at stands still: workers sleep or are kept by jobs,
 * so that who may take a job is known and no check depends on time.
 */
#include <numa.h>
#include <numaif.h>

#include "core/crew.h"
#include "core/worker.h"
#include "wait/stack.h"

enum { CHECKS = 5 + 2 * 4 + 1 + 3 + 4 + 2 + 1 + 2, WORKERS_MAX = 64, NODES_MAX = 64, PAGES = 64 };

static unsigned workers, node_count;
static int nodes[NODES_MAX]; /* the system's numbers of those whose CPUs we may use */
static struct gatekeeper keepers[WORKERS_MAX];

static int node_of_worker(struct skua *rt, unsigned index)
{
        const struct runtime *runtime = runtime_of(rt);

        return (int)runtime->nodes[runtime->workers[index]->node_index].id;
}

static void find_nodes(void)
{
        struct bitmask *seen;
        cpu_set_t allowed;

        if (numa_available() < 0)
                tap_skip_all("the kernel has no NUMA calls");
        seen = numa_allocate_nodemask();
        sched_getaffinity(0, sizeof allowed, &allowed);
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
                if (CPU_ISSET((unsigned)cpu, &allowed) && numa_node_of_cpu(cpu) >= 0)
                        numa_bitmask_setbit(seen, (unsigned)numa_node_of_cpu(cpu));
        for (unsigned i = 0; i < seen->size && node_count < NODES_MAX; i++)
                if (numa_bitmask_isbitset(seen, i))
                        nodes[node_count++] = (int)i;
        numa_free_nodemask(seen);
        if (node_count < 2)
                tap_skip_all("this machine has one node");
        workers = (unsigned)CPU_COUNT(&allowed);
        workers = workers < WORKERS_MAX ? workers : WORKERS_MAX;
}

/* Until so many workers are in jobs and all others sleep in the kernel, with no wake-up on its way:
 * in the idle set, none searching, all parked before and after, and none anew. */
static void until_asleep(struct skua *rt, unsigned busy)
{
        const struct runtime *runtime = runtime_of(rt);
        uint64_t parks, summary;
        bool still;

        do {
                sched_yield();
                parks = parks_of(rt);
                still = stats_of(rt).workers_active == busy;
                summary = load_acquire_u64(&runtime->summary);
                still = still && park_idle_of(summary) == workers - busy &&
                        !park_searching_of(summary);
        } while (!still || stats_of(rt).workers_active != busy || parks_of(rt) != parks);
}

/* ------------------------------------------------------------------ where things are */

/* What a job sees of the worker that it was sent to. */
struct look {
        struct skua_job job;
        struct tally done;
        unsigned cpu_elsewhere; /* 1: it runs on a CPU of another node than the worker's */
        unsigned stack_pages, stack_elsewhere;
        unsigned thread_pages, thread_elsewhere; /* of the thread's own stack */
};

/* Pages of the range that are in memory; *elsewhere grows by those that are on another node. */
static unsigned pages_in(const void *from, size_t bytes, int node, unsigned *elsewhere)
{
        uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
        uintptr_t at = (uintptr_t)from & ~(page_bytes - 1), end = (uintptr_t)from + bytes;
        unsigned present = 0;

        while (at < end) {
                void *pages[PAGES];
                int status[PAGES];
                unsigned count = 0;

                for (; at < end && count < PAGES; at += page_bytes)
                        pages[count++] = (void *)at;
                if (move_pages(0, count, pages, NULL, status, 0) < 0)
                        return 0;
                for (unsigned i = 0; i < count; i++) {
                        present += status[i] >= 0; /* negative: never touched */
                        *elsewhere += status[i] >= 0 && status[i] != node;
                }
        }
        return present;
}

static __attribute__((noinline)) void touch_stack(void)
{
        volatile char room[40 * 4096];

        for (size_t i = 0; i < sizeof room; i += 1024)
                room[i] = 1;
}

static void look_run(struct skua_worker *self, struct skua_job *job)
{
        struct look *look = skua_container(job, struct look, job);
        struct worker *w = worker_of(self);
        int node = (int)skua_worker_node(self);
        unsigned cpu, cpu_node;

        if (getcpu(&cpu, &cpu_node) == 0)
                look->cpu_elsewhere = (int)cpu_node != node;
        touch_stack();
        look->stack_pages = pages_in(w->stack->low, w->runtime->stack_stride, node,
                                     &look->stack_elsewhere);
        look->thread_pages = pages_in(w->thread.stack, kernel_thread_bytes(), node,
                                      &look->thread_elsewhere);
        tally_add(&look->done, 1);
}

struct finds {
        unsigned cpu_elsewhere, elsewhere_stacks, elsewhere_workers, elsewhere_injectors;
        unsigned elsewhere_threads, no_thread_pages;
        unsigned few_stack_pages, no_worker_pages, no_injector_pages;
};

static void look_at_worker(struct skua *rt, unsigned index, struct finds *finds)
{
        const struct worker *w = runtime_of(rt)->workers[index];
        struct skua_target where = SKUA_TARGET_INIT;
        struct look look;

        memset(&look, 0, sizeof look);
        skua_job_init(&look.job, look_run);
        where.worker = SKUA_WORKER(index);
        skua_submit_to(rt, &look.job, &where);
        tally_wait(&look.done, 1);
        finds->cpu_elsewhere += look.cpu_elsewhere;
        finds->elsewhere_stacks += look.stack_elsewhere;
        finds->few_stack_pages += look.stack_pages < 40 * 4096 / sysconf(_SC_PAGESIZE);
        finds->elsewhere_threads += look.thread_elsewhere;
        finds->no_thread_pages += !look.thread_pages;
        finds->no_worker_pages += !pages_in(w, sizeof *w, node_of_worker(rt, index),
                                            &finds->elsewhere_workers);
}

static struct finds look_everywhere(struct skua *rt)
{
        const struct runtime *runtime = runtime_of(rt);
        struct finds finds;

        memset(&finds, 0, sizeof finds);
        for (unsigned i = 0; i < workers; i++)
                look_at_worker(rt, i, &finds);
        for (unsigned i = 0; i < runtime->node_count; i++) {
                const struct runtime_node *node = &runtime->nodes[i];

                finds.no_injector_pages += !pages_in(node->injectors,
                                                     INJECTOR_PRIORITIES * sizeof *node->injectors,
                                                     (int)node->id, &finds.elsewhere_injectors);
        }
        return finds;
}

static void check_memory(struct skua *rt, const char *when)
{
        struct finds finds = look_everywhere(rt);

        tap_is(finds.elsewhere_workers + finds.no_worker_pages, 0, "the workers' own memory");
        tap_is(finds.elsewhere_stacks + finds.few_stack_pages, 0, "the stacks that jobs run on");
        tap_is(finds.elsewhere_threads + finds.no_thread_pages, 0, "the stacks of their threads");
        tap_ok(!finds.elsewhere_injectors && !finds.no_injector_pages,
               "the nodes' queues: on their nodes, all three, %s", when);
}

static void check_workers(struct skua *rt)
{
        unsigned on_node[NODES_MAX] = {0}, empty = 0, unknown = 0;
        struct finds finds = look_everywhere(rt);
        struct skua_target where = SKUA_TARGET_INIT;
        struct gatekeeper nowhere;
        unsigned advised = 0;

        for (unsigned i = 0; i < workers; i++) {
                unsigned k = 0;

                while (k < node_count && nodes[k] != node_of_worker(rt, i))
                        k++;
                if (k < node_count)
                        on_node[k]++;
                unknown += k == node_count;
        }
        for (unsigned k = 0; k < node_count; k++)
                empty += !on_node[k];
        tap_is(unknown, 0, "every worker is on a node whose CPUs we may use");
        tap_is(empty, workers < node_count ? node_count - workers : 0, "every node has its worker");
        tap_is(finds.cpu_elsewhere, 0, "every worker runs on a CPU of its node");
        skua_advise(NULL, &advised);
        tap_is(advised, node_count, "skua_advise() says how many nodes there are");
        memset(&nowhere, 0, sizeof nowhere);
        skua_job_init(&nowhere.job, gatekeeper_run);
        where.node = SKUA_NODE(numa_max_node() + 1);
        tap_is(skua_submit_to(rt, &nowhere.job, &where), -EINVAL, "no job goes to a node beyond");
}

/* ------------------------------------------------------------------ who comes first */

static int distance(int from, int to)
{
        return from == to ? 0 : numa_distance(from, to);
}

/* The nodes in the order in which something happened; counts those nearer than the one before. */
static unsigned out_of_order(int from, const int *order, unsigned count)
{
        unsigned wrong = 0;

        for (unsigned i = 1; i < count; i++)
                wrong += distance(from, order[i]) < distance(from, order[i - 1]);
        return wrong;
}

static void check_victims(struct skua *rt)
{
        const struct runtime *runtime = runtime_of(rt);
        unsigned wrong = 0, missing = 0;

        for (unsigned i = 0; i < workers; i++) {
                const struct placement_worker *place = runtime->workers[i]->place;
                bool seen[WORKERS_MAX] = {false};
                int order[WORKERS_MAX];

                missing += place->victim_count != workers - 1;
                for (unsigned k = 0; k < place->victim_count; k++) {
                        order[k] = node_of_worker(rt, place->victims[k]);
                        missing += seen[place->victims[k]] || place->victims[k] == i;
                        seen[place->victims[k]] = true;
                }
                wrong += out_of_order(node_of_worker(rt, i), order, place->victim_count);
        }
        tap_ok(!wrong && !missing, "each worker has all others as victims, the nearest first");
}

/* Jobs that note where they were and in which order they ran: one worker is let run them. */
struct noted {
        struct skua_job job;
        int node; /* whose worker or queue has it */
};

static struct noted noted[WORKERS_MAX];
static int notes[WORKERS_MAX];
static struct tally note_count;

static void noted_run(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        notes[tally_read(&note_count)] = skua_container(job, struct noted, job)->node;
        tally_add(&note_count, 1);
}

/* A job that keeps its worker, with a job in its run queue once all workers are kept. */
struct owner {
        struct skua_job job;
        struct tally entered, spawn, spawned, leave;
        struct noted *own;
};

static struct owner owners[WORKERS_MAX];

static void owner_run(struct skua_worker *self, struct skua_job *job)
{
        struct owner *owner = skua_container(job, struct owner, job);

        tally_add(&owner->entered, 1);
        tally_wait(&owner->spawn, 1);
        skua_spawn(self, &owner->own->job);
        tally_add(&owner->spawned, 1);
        tally_wait(&owner->leave, 1);
}

static void own_start(struct skua *rt, unsigned index)
{
        struct owner *owner = &owners[index];
        struct skua_target where = SKUA_TARGET_INIT;

        memset(owner, 0, sizeof *owner);
        owner->own = &noted[index];
        owner->own->node = node_of_worker(rt, index);
        skua_job_init(&owner->own->job, noted_run);
        skua_job_init(&owner->job, owner_run);
        where.worker = SKUA_WORKER(index);
        skua_submit_to(rt, &owner->job, &where);
        tally_wait(&owner->entered, 1);
}

/* Every worker but one has a job and cannot run it. */
static unsigned rob_them(struct skua *rt, unsigned thief)
{
        struct skua_worker_stats before = {.size = sizeof before}, after = {.size = sizeof after};
        int home = node_of_worker(rt, thief);
        unsigned wrong, same = 0;

        tally_reset(&note_count);
        keep(rt, &keepers[thief], thief);
        for (unsigned i = 0; i < workers; i++)
                if (i != thief)
                        own_start(rt, i);
        for (unsigned i = 0; i < workers; i++)
                if (i != thief) {
                        tally_add(&owners[i].spawn, 1);
                        tally_wait(&owners[i].spawned, 1);
                        same += owners[i].own->node == home;
                }
        skua_stats_worker(rt, thief, &before);
        let_go(&keepers[thief]);
        tally_wait(&note_count, workers - 1);
        wrong = out_of_order(home, notes, workers - 1);
        skua_stats_worker(rt, thief, &after);
        wrong += after.stolen_local - before.stolen_local != same;
        wrong += after.stolen_remote - before.stolen_remote != workers - 1 - same;
        for (unsigned i = 0; i < workers; i++)
                if (i != thief)
                        tally_add(&owners[i].leave, 1);
        until_asleep(rt, 0);
        return wrong;
}

/* Every node's queue has a job, and one worker is free. */
static unsigned empty_queues(struct skua *rt, unsigned thief)
{
        unsigned wrong;

        tally_reset(&note_count);
        for (unsigned i = 0; i < workers; i++)
                keep(rt, &keepers[i], i);
        for (unsigned k = 0; k < node_count; k++) {
                struct skua_target where = SKUA_TARGET_INIT;

                noted[k].node = nodes[k];
                skua_job_init(&noted[k].job, noted_run);
                where.node = SKUA_NODE(nodes[k]);
                skua_submit_to(rt, &noted[k].job, &where);
        }
        let_go(&keepers[thief]);
        tally_wait(&note_count, node_count);
        wrong = out_of_order(node_of_worker(rt, thief), notes, node_count);
        for (unsigned i = 0; i < workers; i++)
                if (i != thief)
                        let_go(&keepers[i]);
        until_asleep(rt, 0);
        return wrong;
}

/* A job that keeps whatever worker it gets, and says of which node that is. */
struct guest {
        struct gatekeeper keeper; /* first: it is the job */
        int node;
};

static struct guest guests[WORKERS_MAX];

static void guest_run(struct skua_worker *self, struct skua_job *job)
{
        struct guest *guest = (struct guest *)(void *)job;

        guest->node = (int)skua_worker_node(self);
        gatekeeper_run(self, job);
}

static void send_guest(struct skua *rt, struct guest *guest, int node)
{
        struct skua_target where = SKUA_TARGET_INIT;

        memset(guest, 0, sizeof *guest);
        skua_job_init(&guest->keeper.job, guest_run);
        where.node = SKUA_NODE(node);
        skua_submit_to(rt, &guest->keeper.job, &where);
}

/* As many jobs for one node as there are workers: each wakes the nearest that still sleeps. */
static unsigned fill_from(struct skua *rt, int node)
{
        int order[WORKERS_MAX];

        for (unsigned i = 0; i < workers; i++) {
                until_asleep(rt, i);
                send_guest(rt, &guests[i], node);
                tally_wait(&guests[i].keeper.entered, 1);
                order[i] = guests[i].node;
        }
        for (unsigned i = 0; i < workers; i++)
                let_go(&guests[i].keeper);
        until_asleep(rt, 0);
        return order[0] != node ? workers : out_of_order(node, order, workers);
}

static void check_order(struct skua *rt)
{
        unsigned robbed = 0, emptied = 0, filled = 0;

        until_asleep(rt, 0);
        for (unsigned i = 0; i < workers; i++) {
                robbed += rob_them(rt, i);
                emptied += empty_queues(rt, i);
        }
        for (unsigned k = 0; k < node_count; k++)
                filled += fill_from(rt, nodes[k]);
        tap_is(robbed, 0, "workers are robbed by distance, and the figures say which were remote");
        tap_is(emptied, 0, "the nodes' queues are emptied by distance");
        tap_is(filled, 0, "sleepers are woken by distance");
}

/* ------------------------------------------------------------------ jobs for a node */

/* One job while all sleep: it must stay on its node. */
static unsigned alone_on(struct skua *rt, int node)
{
        until_asleep(rt, 0);
        send_guest(rt, &guests[0], node);
        let_go(&guests[0].keeper);
        tally_wait(&guests[0].keeper.entered, 1);
        return guests[0].node != node;
}

/* As many at once as the node has workers. */
static unsigned together_on(struct skua *rt, int node)
{
        unsigned count = 0, wrong = 0;

        for (unsigned i = 0; i < workers; i++)
                count += node_of_worker(rt, i) == node;
        until_asleep(rt, 0);
        for (unsigned i = 0; i < count; i++)
                send_guest(rt, &guests[i], node);
        for (unsigned i = 0; i < count; i++) {
                tally_wait(&guests[i].keeper.entered, 1);
                wrong += guests[i].node != node;
        }
        for (unsigned i = 0; i < count; i++)
                let_go(&guests[i].keeper);
        return wrong;
}

/* From a job of every worker to a node, one at a time. */
struct sender {
        struct skua_job job;
        struct tally go, done;
        struct skua *rt;
        int node;
        unsigned wrong;
};

static void sender_run(struct skua_worker *self, struct skua_job *job)
{
        struct sender *sender = skua_container(job, struct sender, job);

        (void)self;
        tally_wait(&sender->go, 1);
        send_guest(sender->rt, &guests[0], sender->node);
        let_go(&guests[0].keeper);
        tally_wait(&guests[0].keeper.entered, 1);
        sender->wrong = guests[0].node != sender->node;
        tally_add(&sender->done, 1);
}

static unsigned sent_inside(struct skua *rt, unsigned from, int node)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct sender sender;

        memset(&sender, 0, sizeof sender);
        sender.rt = rt;
        sender.node = node;
        skua_job_init(&sender.job, sender_run);
        where.worker = SKUA_WORKER(from);
        until_asleep(rt, 0);
        skua_submit_to(rt, &sender.job, &where);
        until_asleep(rt, 1);
        tally_add(&sender.go, 1);
        tally_wait(&sender.done, 1);
        until_asleep(rt, 0);
        return sender.wrong;
}

/* A thread outside that runs on a node, and has no wish where its job is to run. */
struct outsider {
        struct skua *rt;
        int node;
};

static void *submit_here(void *arg)
{
        struct outsider *outsider = arg;

        if (numa_run_on_node(outsider->node) != 0)
                return arg;
        until_asleep(outsider->rt, 0);
        memset(&guests[0], 0, sizeof guests[0]);
        skua_job_init(&guests[0].keeper.job, guest_run);
        skua_submit(outsider->rt, &guests[0].keeper.job);
        let_go(&guests[0].keeper);
        tally_wait(&guests[0].keeper.entered, 1);
        return guests[0].node == outsider->node ? NULL : arg;
}

static void check_targets(struct skua *rt)
{
        unsigned alone = 0, together = 0, inside = 0, here = 0, rounds = rig_rounds(200);

        for (unsigned k = 0; k < node_count; k++) {
                struct outsider outsider = {rt, nodes[k]};

                for (unsigned i = 0; i < rounds; i++) {
                        alone += alone_on(rt, nodes[k]);
                        together += together_on(rt, nodes[k]);
                        here += join(go(submit_here, &outsider)) != NULL;
                }
                for (unsigned i = 0; i < workers; i++) {
                        /* The only worker of a node cannot run it while it waits for it. */
                        bool only = node_of_worker(rt, i) == nodes[k] && workers <= node_count;

                        inside += !only && sent_inside(rt, i, nodes[k]);
                }
        }
        tap_is(alone, 0, "a job for a node runs there while its workers are idle");
        tap_is(together, 0, "and as many as the node has workers");
        tap_is(inside, 0, "sent from a job of any worker, too");
        tap_is(here, 0, "without a wish it is the node of the thread that submits");
}

/* ------------------------------------------------------------------ nothing is lost */

enum { CROWD = 4, CROWD_JOBS = 20000, CHILDREN = 3 };

struct counted {
        struct skua_job job;
        atomic_uchar runs;
        unsigned char children;
};

struct crowd {
        struct skua *rt;
        struct counted *jobs;
        unsigned count;
        int node;
};

static void counted_run(struct skua_worker *self, struct skua_job *job)
{
        struct counted *counted = skua_container(job, struct counted, job);

        atomic_fetch_add(&counted->runs, 1);
        for (unsigned i = 1; i <= counted->children; i++)
                skua_spawn(self, &counted[i].job);
}

/* Each submits jobs from a node of its own to all of them, one by one and as arrays; every job
 * brings others with it. */
static void *crowd_in(void *arg)
{
        struct crowd *crowd = arg;

        numa_run_on_node(crowd->node);
        for (unsigned i = 0; i < crowd->count; i += CHILDREN + 1) {
                struct counted *counted = &crowd->jobs[i];
                struct skua_target where = SKUA_TARGET_INIT;

                where.node = i % 3 ? SKUA_NODE(nodes[i / 4 % node_count]) : 0;
                if (i % 7) {
                        counted->children = CHILDREN;
                        skua_submit_to(crowd->rt, &counted->job, &where);
                } else {
                        skua_submit_array(crowd->rt, counted, CHILDREN + 1, sizeof *counted,
                                          &where);
                }
        }
        return NULL;
}

static void check_crowd(void)
{
        unsigned count = rig_rounds(CROWD_JOBS) / (CHILDREN + 1) * (CHILDREN + 1), wrong = 0;
        struct counted *jobs = calloc(CROWD * count, sizeof *jobs);
        struct skua *rt = rig_start(workers, NULL);
        struct crowd crowds[CROWD];
        pthread_t threads[CROWD];
        uint64_t run;

        for (unsigned i = 0; i < CROWD * count; i++)
                skua_job_init(&jobs[i].job, counted_run);
        for (unsigned i = 0; i < CROWD; i++) {
                crowds[i] = (struct crowd){.rt = rt,
                                           .jobs = jobs + i * count,
                                           .count = count,
                                           .node = nodes[i % node_count]};
                threads[i] = go(crowd_in, &crowds[i]);
        }
        for (unsigned i = 0; i < CROWD; i++)
                join(threads[i]);
        while ((run = stats_of(rt).run) < CROWD * count)
                sched_yield();
        tap_is(run, CROWD * count, "the figures know all the jobs that a crowd has brought");
        rig_stop(rt);
        for (unsigned i = 0; i < CROWD * count; i++)
                wrong += atomic_load(&jobs[i].runs) != 1;
        tap_is(wrong, 0, "each of them has run once");
        free(jobs);
}

/* Forks and loops over all nodes. */
static void add_up(struct skua_worker *self, size_t begin, size_t end, void *arg)
{
        uint64_t sum = 0;

        (void)self;
        for (size_t i = begin; i < end; i++)
                sum += rig_mix(i);
        atomic_fetch_add((atomic_ullong *)arg, sum);
}

static void check_loop(struct skua *rt)
{
        enum { ITEMS = 200000 };
        atomic_ullong sum = 0;
        uint64_t expected = 0;

        for (size_t i = 0; i < ITEMS; i++)
                expected += rig_mix(i);
        tap_is(skua_run_for(rt, 0, ITEMS, 16, add_up, &sum), 0, "a loop over all workers");
        tap_ok(atomic_load(&sum) == expected, "each of its indexes was there once");
}

int main(void)
{
        struct skua *rt;

        find_nodes();
        tap_plan(CHECKS, 120);
        rt = rig_start(workers, NULL);
        check_workers(rt);
        check_memory(rt, "at first");
        check_victims(rt);
        check_order(rt);
        check_targets(rt);
        check_loop(rt);
        rig_stop(rt);
        rt = rig_start(workers, NULL); /* most likely in the memory of the first one */
        check_memory(rt, "and in a second runtime");
        tap_is(fill_from(rt, nodes[node_count - 1]), 0, "where sleepers are woken by distance too");
        rig_stop(rt);
        check_crowd();
        return tap_done();
}
