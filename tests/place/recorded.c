/* SPDX-License-Identifier: MIT
 *
 * Recorded machines: what is read from each tree and where workers would go, against values taken
 * from the files by hand. See groups.h for how they are written. Victims are named by their home
 * CPUs: with as many workers as CPUs, all at rotation 0, each CPU is the home of one.
 */
#define _GNU_SOURCE
#include "place/placement.h"

#include "groups.h"
#include "sandbox.h"
#include "../tap.h"

/* A row of the distance table, by node number. */
struct row {
        unsigned from;
        const char *distances;
};

/* Whom the worker at home on `cpu` robs: three sets of CPUs, then the other nodes in their order.
 */
struct victims {
        unsigned cpu;
        const char *core, *cache, *node, *nodes;
};

struct machine_facts {
        const char *archive;
        unsigned online;
        const char *usable;
        const char *node_ids, *node_cpus; /* usable CPUs of each node */
        const char *cores;                /* of more than one usable CPU; all others are alone */
        const char *caches;
        struct row rows[3];
        const char *homes; /* of the first workers */
        struct victims victims[3];
        const char *mapped; /* "N>M": node N has no worker, its submissions go to M */
};

static const struct machine_facts machines[] = {
        /* No node folder and no cache folders: one node, all of it one cache. */
        {"2arm-2c",
         2,
         "0-1",
         "0",
         "0-1",
         "",
         "0-1",
         {{0, "10"}},
         "0 1",
         {{0, "", "1", "", ""}},
         ""},
        /* Every node's cpulist is 0-7, every distance 10; the first node is believed. index2, the
         * L2, has 0,2 1,3 4,6 5,7. */
        {"8em64t-2s2ca2c-buggynuma",
         8,
         "0-7",
         "0-7",
         "0-7 - - - - - - -",
         "",
         "0,2 1,3 4,6 5,7",
         {{0, "10 10 10 10 10 10 10 10"}, {5, "10 10 10 10 10 10 10 10"}},
         "0 1 2 3 4 5 6 7",
         {{0, "", "2", "1,3-7", ""}, {7, "", "5", "0-4,6", ""}},
         "1>0 7>0"},
        /* cpu/online has 0-3,5-15; the group is /dummy, and dev/cpuset/dummy/cpus has 0-6,12-15.
         * The L2, the last level, belongs to one CPU. All nodes are 20 apart. */
        {"16amd64-8n2c-cpusets",
         15,
         "0-3,5-6,12-15",
         "0-7",
         "0-1 2-3 5 6 - - 12-13 14-15",
         "",
         "0 1 2 3 5 6 12 13 14 15",
         {{0, "10 20 20 20 20 20 20 20"}, {6, "20 20 20 20 20 20 10 20"}},
         "0 2 5 6 12 14 1 3 13 15",
         {{0, "", "", "1", "1 2 3 6 7"},
          {5, "", "", "", "3 6 7 0 1"},
          {13, "", "", "12", "7 0 1 2 3"}},
         "4>6 5>6"},
        /* Masks only. cpuN/online is 0 for 2, 5, 13 and 14. thread_siblings 101 202 808 1010 8080
         * 40 400; the L3's maps are 1111 202 8888 440. */
        {"16em64t-4s2c2t-offlines",
         12,
         "0-1,3-4,6-12,15",
         "0",
         "0-1,3-4,6-12,15",
         "0,8 1,9 3,11 4,12 7,15",
         "0,4,8,12 1,9 3,7,11,15 6,10",
         {{0, "10"}},
         "0 1 3 4 6 7 10 8 9 11 12 15",
         {{0, "8", "4,12", "1,3,6-7,9-11,15", ""},
          {6, "", "10", "0-1,3-4,7-9,11-12,15", ""},
          {15, "7", "3,11", "0-1,4,6,8-10,12", ""}},
         ""},
        /* Fast cores 0-11 in pairs, slow ones 12-19 alone; index3, the L3, has 0-19 for all. */
        {"20em64t-hybrid-1p6c2t+2ca4co1t",
         20,
         "0-19",
         "0",
         "0-19",
         "0-11/2",
         "0-19",
         {{0, "10"}},
         "0 2 4 6 8 10 12 13 14 15 16 17 18 19 1 3 5 7 9 11",
         {{0, "1", "2-19", "", ""}, {12, "", "0-11,13-19", "", ""}},
         ""},
        /* cpuset /uid_2008/job_15389/step_0 below the cgroup2 mount /cgroup/unified: effective 0-5.
         * L3 0-3 and 4-7. */
        {"32amd64-4s2n4c-cgroup2",
         32,
         "0-5",
         "0-7",
         "0-3 4-5 - - - - - -",
         "",
         "0-3 4-5",
         {{0, "10 16 16 22 16 22 16 22"},
          {1, "16 10 22 16 22 16 22 16"},
          {7, "22 16 22 16 22 16 16 10"}},
         "0 4 1 5 2 3",
         {{0, "", "1-3", "", "1"}, {5, "", "4", "", "0"}},
         "2>0 3>1 4>0 5>1 6>0 7>1"},
        /* Nodes 0-2,33-34,45,72-73 of six CPUs with an L3 each. */
        {"48amd64-4pa2n6c-sparse",
         48,
         "0-47",
         "0-2,33-34,45,72-73",
         "0-47/6",
         "",
         "0-47/6",
         {{0, "10 16 16 22 16 22 16 22"},
          {33, "22 16 16 10 16 16 22 22"},
          {45, "22 22 16 16 16 10 22 16"}},
         "0 6 12 18 24 30 36 42 1 7",
         {{0, "", "1-5", "", "1 2 34 72 33 45 73"},
          {20, "", "18-19,21-23", "", "34 45 1 2 72 73 0"},
          {30, "", "31-35", "", "73 2 33 34 72 0 1"}},
         ""},
        /* Pairs of threads; the L3 maps are the nodes. */
        {"64amd64-4s2n4ca2co",
         64,
         "0-63",
         "0-7",
         "0-63/8",
         "0-63/2",
         "0-63/8",
         {{0, "10 16 16 22 16 22 16 22"}, {5, "22 22 16 16 16 10 22 16"}},
         "0 8 16 24 32 40 48 56 2 10",
         {{0, "1", "2-7", "", "1 2 4 6 3 5 7"}, {41, "40", "42-47", "", "7 2 3 4 6 0 1"}},
         ""},
        /* Masks only. Node 0 is 00ffffff; in it the L3 maps are 111111 222222 444444 888888, above
         * the L2 of two. All nodes are 26 apart. */
        {"96em64t-4no4pa3ca2co",
         96,
         "0-95",
         "0-3",
         "0-95/24",
         "",
         "0-23%4 24-47%4 48-71%4 72-95%4",
         {{0, "10 26 26 26"}, {2, "26 26 10 26"}},
         "0 24 48 72 1 25",
         {{0, "", "4,8,12,16,20", "1-3,5-7,9-11,13-15,17-19,21-23", "1 2 3"},
          {24, "", "28,32,36,40,44", "25-27,29-31,33-35,37-39,41-43,45-47", "2 3 0"}},
         ""},
        /* Clusters of four below an L3 for each node of 32. */
        {"128arm-2pa2n8cluster4co",
         128,
         "0-127",
         "0-3",
         "0-127/32",
         "",
         "0-127/32",
         {{0, "10 16 32 33"}, {1, "16 10 25 32"}, {3, "33 32 16 10"}},
         "0 32 64 96 1 33",
         {{0, "", "1-31", "", "1 2 3"},
          {64, "", "65-95", "", "3 1 0"},
          {127, "", "96-126", "", "2 1 0"}},
         ""},
        /* Masks only, no cache folders: the node stands for the cache. Node 16 has no CPU, and is
         * 14 from all others. */
        {"128ia64-17n4s2c",
         128,
         "0-127",
         "0-16",
         "0-127/8 -",
         "",
         "0-127/8",
         {{0, "10 17 17 17 20 20 20 20 20 20 20 20 20 20 20 20 14"},
          {6, "20 20 20 20 17 17 10 17 20 20 20 20 20 20 20 20 14"},
          {16, "14 14 14 14 14 14 14 14 14 14 14 14 14 14 14 14 10"}},
         "0 8 16 24 32 40 48 56 64 72 80 88 96 104 112 120 1 9",
         {{0, "", "1-7", "", "1-15"}, {50, "", "48-49,51-55", "", "7 4 5 8-15 0-3"}},
         "16>0"},
        /* Masks only, no cache folders, 64 nodes of four. */
        {"256ia64-64n2s2c",
         256,
         "0-255",
         "0-63",
         "0-255/4",
         "",
         "0-255/4",
         {{0, "10 22 22 22 26 26 26 26 26 26 26 26 30 30 30 30 30 30 30 30 34 34 34 34 30 30 30 30 "
              "34 34 34 34 30 30 30 30 34 34 34 34 30 30 30 30 34 34 34 34 30 30 30 30 34 34 34 34 "
              "30 30 30 30 34 34 34 34"},
          {5, "26 26 26 26 22 10 22 22 30 30 30 30 26 26 26 26 34 34 34 34 30 30 30 30 34 34 34 34 "
              "30 30 30 30 34 34 34 34 30 30 30 30 34 34 34 34 30 30 30 30 34 34 34 34 30 30 30 30 "
              "34 34 34 34 30 30 30 30"}},
         "0 4 8 12 16 20 24 28 32",
         {{0, "", "1-3", "",
           "1-3 4-11 12-19 24-27 32-35 40-43 48-51 56-59 20-23 28-31 36-39 44-47 52-55 60-63"},
          {22, "", "20-21,23", "",
           "6-7 4 12-15 0-3 8-11 20-23 28-31 36-39 44-47 52-55 60-63 16-19 24-27 32-35 40-43 48-51 "
           "56-59"}},
         ""},
        /* Masks for the nodes; thread_siblings_list and the L3's maps are groups of four. Nodes are
         * 20 apart in pairs, else 40. */
        {"256ppc-8n8s4t",
         256,
         "0-255",
         "0-1,4-5,8-9,12-13",
         "0-255/32",
         "0-255/4",
         "0-255/4",
         {{0, "10 20 40 40 40 40 40 40"}, {5, "40 40 20 10 40 40 40 40"}},
         "0 32 64 96 128 160 192 224 4 36",
         {{0, "1-3", "", "4-31", "1 4 5 8 9 12 13"},
          {97, "96,98-99", "", "100-127", "4 8 9 12 13 0 1"}},
         ""},
};

enum { MACHINES = sizeof machines / sizeof *machines, CHECKS = 8 };

static bool nodes_match(const struct machine_facts *m, const struct topology *t)
{
        struct groups *ids = groups_read(m->node_ids), *cpus = groups_read(m->node_cpus);
        struct groups *usable = groups_read(m->usable);
        bool match = (int)t->node_count == ids->order_count && cpus->count == ids->order_count &&
                     (int)t->cpu_count == usable->order_count;

        for (unsigned i = 0; match && i < t->node_count; i++)
                match = (int)t->nodes[i].id == ids->order[i];
        for (unsigned i = 0; match && i < t->cpu_count; i++)
                match = cpus->of[t->cpus[i].id] == (int)t->cpus[i].node_index &&
                        (int)t->cpus[i].id == usable->order[i];
        free(ids);
        free(cpus);
        free(usable);
        return match;
}

/* Groups of CPUs are alike: each is named after its lowest. */
static bool groups_match(const char *expected, const struct topology *t, bool cores)
{
        struct groups *g = groups_read(expected);
        bool match = true;

        for (unsigned i = 0; match && i < t->cpu_count; i++) {
                const struct topology_cpu *cpu = &t->cpus[i];
                int group = g->of[cpu->id];
                int id = group == GROUP_NONE ? (int)cpu->id : g->first[group];

                match = id == (int)(cores ? cpu->core_id : cpu->cache_id);
                if (!match)
                        printf("#   CPU %u: got %u, expected %d\n", cpu->id,
                               cores ? cpu->core_id : cpu->cache_id, id);
        }
        free(g);
        return match;
}

static unsigned node_index(const struct topology *t, unsigned id)
{
        unsigned index = 0;

        while (index + 1 < t->node_count && t->nodes[index].id != id)
                index++;
        return index;
}

static bool distances_match(const struct machine_facts *m, const struct topology *t)
{
        for (unsigned i = 0; i < 3 && m->rows[i].distances; i++) {
                unsigned from = node_index(t, m->rows[i].from), to = 0;
                char text[4096] = "";

                for (; to < t->node_count; to++)
                        sprintf(text + strlen(text), "%s%u", to ? " " : "",
                                topology_distance(t, from, to));
                if (strcmp(text, m->rows[i].distances) == 0)
                        continue;
                printf("#   from %u: got %s\n", m->rows[i].from, text);
                return false;
        }
        return true;
}

static bool homes_match(const struct machine_facts *m, const struct placement *p)
{
        struct groups *homes = groups_read(m->homes);
        bool match = homes->order_count <= (int)p->worker_count;

        for (int i = 0; match && i < homes->order_count; i++)
                match = (int)p->workers[i].cpu == homes->order[i];
        free(homes);
        return match;
}

/* A ring's members are the workers at home on the CPUs of a set, by rising index. */
static bool ring_is(const struct placement *p, const struct placement_worker *w,
                    const struct placement_ring *ring, const char *set)
{
        struct groups *g = groups_read(set);
        bool match = ring->begin < ring->end && (int)(ring->end - ring->begin) == g->order_count;

        for (unsigned i = ring->begin; match && i < ring->end; i++)
                match = g->of[p->workers[w->victims[i]].cpu] != GROUP_NONE &&
                        (i == ring->begin || w->victims[i - 1] < w->victims[i]);
        free(g);
        return match;
}

static bool local_rings_match(const struct victims *v, const struct placement *p,
                              const struct placement_worker *w, unsigned *ring)
{
        const char *const sets[] = {v->core, v->cache, v->node};

        *ring = 0;
        for (unsigned kind = PLACE_RING_SMT; kind <= PLACE_RING_NODE; kind++) {
                if (!*sets[kind])
                        continue;
                if (*ring >= w->ring_count || w->rings[*ring].kind != kind ||
                    w->rings[*ring].node_index != w->node_index ||
                    !ring_is(p, w, &w->rings[*ring], sets[kind]))
                        return false;
                ++*ring;
        }
        return true;
}

static bool remote_rings_match(const struct machine_facts *m, const struct victims *v,
                               const struct placement *p, const struct placement_worker *w,
                               unsigned ring)
{
        struct groups *order = groups_read(v->nodes), *ids = groups_read(m->node_ids);
        struct groups *cpus = groups_read(m->node_cpus);
        bool match = w->ring_count == ring + (unsigned)order->order_count;

        for (int i = 0; match && i < order->order_count; i++, ring++) {
                const struct placement_ring *r = &w->rings[ring];
                int id = order->order[i];

                match = r->kind == PLACE_RING_REMOTE && (int)p->nodes[r->node_index].id == id &&
                        r->end - r->begin == p->nodes[r->node_index].worker_count;
                for (unsigned k = r->begin; match && k < r->end; k++)
                        match = ids->order[cpus->of[p->workers[w->victims[k]].cpu]] == id;
        }
        free(order);
        free(ids);
        free(cpus);
        return match;
}

static bool victims_match(const struct machine_facts *m, const struct placement *p)
{
        for (unsigned i = 0; i < 3 && m->victims[i].core; i++) {
                const struct victims *v = &m->victims[i];
                unsigned worker = 0, ring;

                while (worker < p->worker_count && p->workers[worker].cpu != v->cpu)
                        worker++;
                if (worker < p->worker_count &&
                    p->workers[worker].victim_count == p->worker_count - 1 &&
                    local_rings_match(v, p, &p->workers[worker], &ring) &&
                    remote_rings_match(m, v, p, &p->workers[worker], ring))
                        continue;
                printf("#   the worker on CPU %u has others\n", v->cpu);
                return false;
        }
        return true;
}

static bool mapping_matches(const struct machine_facts *m, const struct topology *t,
                            const struct placement *p)
{
        unsigned from, to, unknown = 0;

        for (const char *at = m->mapped; sscanf(at, "%u>%u", &from, &to) == 2;) {
                if (p->nodes[p->system_node[from]].id != to)
                        return false;
                at += strcspn(at, " ");
                at += strspn(at, " ");
        }
        for (unsigned i = 0; i < t->node_count; i++)
                unknown += p->system_node[t->nodes[i].id] < 0;
        for (unsigned i = 0; i < p->worker_count; i++)
                unknown += p->cpu_node[p->workers[i].cpu] != p->workers[i].node_index;
        return unknown == 0;
}

static void check(const struct machine_facts *m)
{
        struct topology_input input = {.root = archive_unpack(m->archive)};
        struct placement_input placing = {0};
        struct topology t;
        struct placement p;

        if (!input.root) {
                tap_skip(CHECKS, "the archive cannot be unpacked (tar and bzip2 are needed)");
                return;
        }
        if (!tap_ok(topology_read(&t, &input) == 0, "%s is read", m->archive)) {
                tap_skip(CHECKS - 1, "nothing was read");
                return;
        }
        placing.topology = &t;
        if (placement_make(&p, &placing) != 0)
                exit(3);
        tap_is(t.online_count, m->online, "CPUs online");
        tap_ok(nodes_match(m, &t), "nodes, and the allowed CPUs of each");
        tap_ok(groups_match(m->cores, &t, true) && groups_match(m->caches, &t, false),
               "cores and caches");
        tap_ok(distances_match(m, &t), "distances");
        tap_ok(homes_match(m, &p), "homes of the first workers");
        tap_ok(victims_match(m, &p), "whom some workers rob, in which order");
        tap_ok(mapping_matches(m, &t, &p), "nodes without workers map to the nearest");
        placement_fini(&p);
        topology_fini(&t);
        sandbox_clear(input.root);
}

int main(void)
{
        tap_plan(MACHINES * CHECKS, 60);
        for (unsigned i = 0; i < MACHINES; i++)
                check(&machines[i]);
        return tap_done();
}
