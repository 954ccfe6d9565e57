/* SPDX-License-Identifier: MIT
 *
 * Homes first, then what follows from them: which nodes have workers, whom the others map to, what
 * each thread is bound to and whom it robs. Everything lives in a few flat arrays; the pointers in
 * the structures are slices of them, and the first slice owns the array.
 */
#define _GNU_SOURCE
#include "place/placement.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NO_NODE (~0u)

/* A usable CPU in the order in which homes are given out. */
struct home {
        const struct topology_cpu *cpu;
        unsigned thread; /* how many CPUs of its core are lower */
        unsigned turn;   /* of its node, among the CPUs of the same `thread` */
        unsigned node;   /* its node's place in the turn */
};

/* For sorting nodes by how near they are. */
struct near {
        uint64_t key;
        unsigned index;
};

/* What is needed only while a placement is made. */
struct draft {
        const struct topology *t;
        unsigned rotation, workers;
        struct home *homes;
        struct near *near;       /* room for one sort */
        unsigned *node_map;      /* topology node -> placement node, or NO_NODE */
        unsigned *topology_node; /* placement node -> topology node */
        unsigned *places;        /* placement node -> place in the order of the worker at hand */
        unsigned *ring_sizes;    /* of the worker at hand, by class */
        unsigned *core_counts;   /* by core id */
};

unsigned placement_default_workers(const struct topology *t)
{
        unsigned limit = t->cpu_count;

        if (t->quota_cpus > 0 && t->quota_cpus < limit) {
                limit = (unsigned)t->quota_cpus;
                limit += limit < t->quota_cpus;
        }
        return limit;
}

static int by_node(const void *a, const void *b)
{
        const struct home *x = a, *y = b;

        if (x->cpu->node_index != y->cpu->node_index)
                return x->cpu->node_index < y->cpu->node_index ? -1 : 1;
        if (x->thread != y->thread)
                return x->thread < y->thread ? -1 : 1;
        return x->cpu->id < y->cpu->id ? -1 : x->cpu->id > y->cpu->id;
}

static int by_turn(const void *a, const void *b)
{
        const struct home *x = a, *y = b;

        if (x->thread != y->thread)
                return x->thread < y->thread ? -1 : 1;
        if (x->turn != y->turn)
                return x->turn < y->turn ? -1 : 1;
        return x->node < y->node ? -1 : x->node > y->node;
}

static int by_key(const void *a, const void *b)
{
        const struct near *x = a, *y = b;

        return x->key < y->key ? -1 : x->key > y->key;
}

static bool same_run(const struct home *a, const struct home *b)
{
        return a->cpu->node_index == b->cpu->node_index && a->thread == b->thread;
}

/* Turns within each node, from homes sorted by node. */
static void number_turns(struct draft *d, unsigned node_count)
{
        unsigned first_node = d->rotation % node_count, node = 0;
        unsigned shift = d->rotation / node_count;

        for (unsigned begin = 0, end; begin < d->t->cpu_count; begin = end) {
                struct home *run = &d->homes[begin];

                if (begin && run->cpu->node_index != run[-1].cpu->node_index)
                        node++;
                for (end = begin; end < d->t->cpu_count && same_run(run, &d->homes[end]);)
                        end++;
                for (unsigned i = 0, size = end - begin; i < size; i++) {
                        run[i].turn = (i + size - shift % size) % size;
                        run[i].node = (node + node_count - first_node) % node_count;
                }
        }
}

static void make_homes(struct draft *d)
{
        unsigned node_count = 0;

        for (unsigned i = 0; i < d->t->cpu_count; i++) {
                const struct topology_cpu *cpu = &d->t->cpus[i];

                d->homes[i] = (struct home){.cpu = cpu, .thread = d->core_counts[cpu->core_id]++};
        }
        for (unsigned i = 0; i < d->t->node_count; i++)
                node_count += d->t->nodes[i].cpu_count > 0;
        qsort(d->homes, d->t->cpu_count, sizeof *d->homes, by_node);
        number_turns(d, node_count);
        qsort(d->homes, d->t->cpu_count, sizeof *d->homes, by_turn);
}

static const struct topology_cpu *home_of(const struct draft *d, unsigned worker)
{
        return d->homes[worker % d->t->cpu_count].cpu;
}

/* Sorts the nodes that have workers by how near they are to a node of the topology. */
static void sort_near(struct draft *d, const struct placement *p, unsigned from)
{
        unsigned n = d->t->node_count;

        for (unsigned i = 0; i < p->node_count; i++) {
                unsigned to = d->topology_node[i];
                uint64_t distance = to == from ? 0 : topology_distance(d->t, from, to) + 1;

                d->near[i] = (struct near){distance << 32 | (to + n - from) % n, i};
        }
        qsort(d->near, p->node_count, sizeof *d->near, by_key);
}

static void number_nodes(struct draft *d, struct placement *p)
{
        for (unsigned i = 0; i < d->t->node_count; i++)
                d->node_map[i] = NO_NODE;
        for (unsigned i = 0; i < d->workers && i < d->t->cpu_count; i++)
                d->node_map[home_of(d, i)->node_index] = 0;
        for (unsigned i = 0; i < d->t->node_count; i++) {
                if (d->node_map[i] == NO_NODE)
                        continue;
                d->node_map[i] = p->node_count;
                d->topology_node[p->node_count++] = i;
        }
}

static int alloc_tables(struct placement *p, const struct draft *d)
{
        size_t workers = d->workers, nodes = p->node_count;

        p->workers = calloc(workers, sizeof *p->workers);
        p->nodes = calloc(nodes, sizeof *p->nodes);
        p->cpu_node = calloc(d->t->cpu_limit, sizeof *p->cpu_node);
        p->system_node = calloc(p->system_node_limit, sizeof *p->system_node);
        if (!p->workers || !p->nodes || !p->cpu_node || !p->system_node)
                return -ENOMEM;
        p->nodes->order = calloc(nodes, nodes * sizeof *p->nodes->order);
        p->workers->victims = calloc(workers, workers * sizeof *p->workers->victims);
        p->workers->rings = calloc(workers, (nodes + 2) * sizeof *p->workers->rings);
        if (!p->nodes->order || !p->workers->victims || !p->workers->rings)
                return -ENOMEM;
        if (p->binding == PLACE_BIND_NONE)
                return 0;
        p->workers->mask = calloc(workers + 1, p->mask_size);
        return p->workers->mask ? 0 : -ENOMEM;
}

static void fill_nodes(struct draft *d, struct placement *p)
{
        for (unsigned i = 0; i < p->system_node_limit; i++)
                p->system_node[i] = -1;
        for (unsigned i = 0; i < d->t->node_count; i++) {
                struct placement_node *node;

                sort_near(d, p, i);
                p->system_node[d->t->nodes[i].id] = (int)d->near[0].index;
                if (d->node_map[i] == NO_NODE)
                        continue;
                node = &p->nodes[d->node_map[i]];
                node->id = d->t->nodes[i].id;
                node->order = p->nodes->order + (size_t)d->node_map[i] * p->node_count;
                for (unsigned k = 0; k < p->node_count; k++)
                        node->order[k] = d->near[k].index;
        }
        for (unsigned i = 0; i < p->cpu_limit; i++)
                p->cpu_node[i] = (unsigned)p->system_node[d->t->nodes[d->t->cpu_node[i]].id];
}

static void fill_mask(const struct draft *d, const struct placement *p, struct placement_worker *w,
                      const struct topology_cpu *home)
{
        for (unsigned i = 0; i < d->t->cpu_count; i++) {
                const struct topology_cpu *cpu = &d->t->cpus[i];
                bool shared = cpu->cache_id == home->cache_id &&
                              cpu->node_index == home->node_index;

                if (cpu == home || (p->binding == PLACE_BIND_CACHE && shared))
                        CPU_SET_S(cpu->id, p->mask_size, w->mask);
        }
}

static cpu_set_t *mask_at(const struct placement *p, unsigned index)
{
        return (cpu_set_t *)(void *)((char *)p->workers->mask + index * p->mask_size);
}

static void fill_workers(struct draft *d, struct placement *p)
{
        for (unsigned i = 0; i < d->workers; i++) {
                struct placement_worker *w = &p->workers[i];
                const struct topology_cpu *home = home_of(d, i);

                w->cpu = home->id;
                w->node_index = d->node_map[home->node_index];
                p->nodes[w->node_index].worker_count++;
                w->victims = p->workers->victims + (size_t)i * d->workers;
                w->rings = p->workers->rings + (size_t)i * (p->node_count + 2);
                if (p->binding == PLACE_BIND_NONE)
                        continue;
                w->mask = mask_at(p, i);
                fill_mask(d, p, w, home);
        }
        if (p->binding == PLACE_BIND_NONE)
                return;
        p->everywhere = mask_at(p, d->workers);
        for (unsigned i = 0; i < d->t->cpu_count; i++)
                CPU_SET_S(d->t->cpus[i].id, p->mask_size, p->everywhere);
}

/* The ring in which `worker` has `other`: a kind, and for remote ones the place of the node. */
static unsigned ring_class(const struct draft *d, const struct placement *p, unsigned worker,
                           unsigned other)
{
        const struct topology_cpu *home = home_of(d, worker), *there = home_of(d, other);
        unsigned place = d->places[p->workers[other].node_index];

        if (place)
                return PLACE_RING_REMOTE + place - 1;
        if (home->core_id == there->core_id)
                return PLACE_RING_SMT;
        return home->cache_id == there->cache_id ? PLACE_RING_CACHE : PLACE_RING_NODE;
}

/* Counts the members of each class, makes the rings, then deals the victims out. */
static void fill_rings(struct draft *d, struct placement *p, unsigned worker)
{
        struct placement_worker *w = &p->workers[worker];
        const struct placement_node *node = &p->nodes[w->node_index];
        unsigned classes = PLACE_RING_REMOTE + p->node_count - 1, begin = 0;

        for (unsigned i = 0; i < p->node_count; i++)
                d->places[node->order[i]] = i;
        memset(d->ring_sizes, 0, classes * sizeof *d->ring_sizes);
        for (unsigned i = 0; i < d->workers; i++) {
                if (i != worker)
                        d->ring_sizes[ring_class(d, p, worker, i)]++;
        }
        for (unsigned c = 0; c < classes; c++) {
                unsigned size = d->ring_sizes[c];
                unsigned place = c < PLACE_RING_REMOTE ? 0 : c - PLACE_RING_REMOTE + 1;

                if (size)
                        w->rings[w->ring_count++] = (struct placement_ring){
                                begin, begin + size, place ? PLACE_RING_REMOTE : c,
                                node->order[place]};
                d->ring_sizes[c] = begin;
                begin += size;
        }
        w->victim_count = begin;
        for (unsigned i = 0; i < d->workers; i++) {
                if (i != worker)
                        w->victims[d->ring_sizes[ring_class(d, p, worker, i)]++] = i;
        }
}

static void choose_binding(struct placement *p, const struct placement_input *input)
{
        const struct topology *t = input->topology;
        bool subset = t->cpu_count < t->online_count;

        if (input->no_pin) {
                p->binding = PLACE_BIND_NONE;
                p->binding_reason = "asked for: SKUA_NO_PIN";
        } else if (input->pin) {
                p->binding = PLACE_BIND_CPU;
                p->binding_reason = "asked for: SKUA_PIN";
        } else if (subset && t->quota_cpus == 0) {
                p->binding = PLACE_BIND_CPU;
                p->binding_reason = "only some of the CPUs may be used, so they are ours";
        } else {
                p->binding = PLACE_BIND_CACHE;
                p->binding_reason = subset ? "a quota: others may have the same CPUs"
                                           : "default: others may use the machine";
        }
}

static int make(struct draft *d, struct placement *p)
{
        int error;

        make_homes(d);
        number_nodes(d, p);
        error = alloc_tables(p, d);
        if (error)
                return error;
        fill_nodes(d, p);
        fill_workers(d, p);
        for (unsigned i = 0; i < d->workers; i++)
                fill_rings(d, p, i);
        return 0;
}

/* One block for all the tables of numbers: the first of them owns it. */
static int draft_init(struct draft *d)
{
        size_t nodes = d->t->node_count;

        d->homes = calloc(d->t->cpu_count, sizeof *d->homes);
        d->near = calloc(nodes, sizeof *d->near);
        d->node_map = calloc(4 * nodes + PLACE_RING_REMOTE + d->t->cpu_limit, sizeof(unsigned));
        if (!d->homes || !d->near || !d->node_map)
                return -ENOMEM;
        d->topology_node = d->node_map + nodes;
        d->places = d->topology_node + nodes;
        d->ring_sizes = d->places + nodes;
        d->core_counts = d->ring_sizes + nodes + PLACE_RING_REMOTE;
        return 0;
}

static void draft_fini(struct draft *d)
{
        free(d->homes);
        free(d->near);
        free(d->node_map);
}

int placement_make(struct placement *out, const struct placement_input *input)
{
        const struct topology *t = input->topology;
        struct draft d = {.t = t, .rotation = input->rotation, .workers = input->workers};
        int error;

        memset(out, 0, sizeof *out);
        if (!d.workers)
                d.workers = placement_default_workers(t);
        choose_binding(out, input);
        out->worker_count = d.workers;
        out->cpu_limit = t->cpu_limit;
        out->system_node_limit = t->nodes[t->node_count - 1].id + 1;
        out->mask_size = CPU_ALLOC_SIZE(t->cpu_limit);
        error = draft_init(&d);
        if (!error)
                error = make(&d, out);
        draft_fini(&d);
        if (error)
                placement_fini(out);
        return error;
}

void placement_fini(struct placement *p)
{
        if (p->workers) {
                free(p->workers->mask);
                free(p->workers->victims);
                free(p->workers->rings);
        }
        if (p->nodes)
                free(p->nodes->order);
        free(p->workers);
        free(p->nodes);
        free(p->cpu_node);
        free(p->system_node);
        memset(p, 0, sizeof *p);
}

static int bind_to(const struct placement *p, const cpu_set_t *mask)
{
        return mask && sched_setaffinity(0, p->mask_size, mask) ? -errno : 0;
}

int placement_bind_thread(const struct placement *p, unsigned index)
{
        return bind_to(p, p->workers[index].mask);
}

int placement_unbind_thread(const struct placement *p)
{
        return bind_to(p, p->everywhere);
}
