/* SPDX-License-Identifier: MIT
 *
 * Homes, rotation, rings, bindings and the maps of nodes, on small made-up machines.
 */
#define _GNU_SOURCE
#include "place/placement.h"

#include "../tap.h"
#include "groups.h"
#include "sandbox.h"

/* Two nodes of two cores of two threads. */
#define SMT_MACHINE                                                                            \
        "sys/devices/system/cpu/online: 0-7; node0/cpulist: 0-1,4-5; node1/cpulist: 2-3,6-7; " \
        "cpu0/topology/thread_siblings_list: 0,4; cpu1/topology/thread_siblings_list: 1,5; "   \
        "cpu2/topology/thread_siblings_list: 2,6; cpu3/topology/thread_siblings_list: 3,7; "

/* One core of two threads in a node, three in the other. */
#define LOPSIDED_MACHINE                                                                     \
        "sys/devices/system/cpu/online: 0-7; node0/cpulist: 0-1; node1/cpulist: 2-7; "       \
        "cpu0/topology/thread_siblings_list: 0-1; cpu2/topology/thread_siblings_list: 2-3; " \
        "cpu4/topology/thread_siblings_list: 4-5; cpu6/topology/thread_siblings_list: 6-7; "

/* Four nodes of one CPU, three of them equally far from each other, one hidden by the affinity and
 * one that has memory only. */
#define FAR_MACHINE                                                                \
        "sys/devices/system/cpu/online: 0-4; node1/cpulist: 0; node2/cpulist: 1; " \
        "node4/cpulist: 2; node5/cpulist: 3; node7/cpulist: 4; node9/cpulist: ; "  \
        "node1/distance: 10 20 20 20 30 16; node2/distance: 20 10 20 20 12 30; "   \
        "node4/distance: 20 20 10 20 30 30; node5/distance: 20 20 20 10 30 11; "   \
        "node7/distance: 30 12 30 30 10 40; node9/distance: 16 30 30 11 40 10; "   \
        "proc/self/status: x\nCpus_allowed_list:\t0-3"

struct home_case {
        const char *files;
        unsigned workers, rotation;
        const char *homes;
};

static const struct home_case home_cases[] = {
        {SMT_MACHINE, 8, 0, "0 2 1 3 4 6 5 7"},
        {SMT_MACHINE, 8, 1, "2 0 3 1 6 4 7 5"},
        {SMT_MACHINE, 8, 2, "1 3 0 2 5 7 4 6"},
        {SMT_MACHINE, 8, 3, "3 1 2 0 7 5 6 4"},
        {SMT_MACHINE, 8, 4, "0 2 1 3 4 6 5 7"},
        {SMT_MACHINE, 3, 1, "2 0 3"},
        {SMT_MACHINE, 11, 0, "0 2 1 3 4 6 5 7 0 2 1"},
        {LOPSIDED_MACHINE, 8, 0, "0 2 4 6 1 3 5 7"},
        {LOPSIDED_MACHINE, 8, 1, "2 0 4 6 3 1 5 7"},
        {LOPSIDED_MACHINE, 8, 2, "0 4 6 2 1 5 7 3"},
        {FAR_MACHINE, 4, 0, "0 1 2 3"},
        {FAR_MACHINE, 5, 2, "2 3 0 1 2"},
};

/* The rule of the binding: is the mask a proper subset, is there a quota, SKUA_PIN, SKUA_NO_PIN. */
static const enum placement_binding bindings[2][2][2][2] = {
        /* all CPUs: no quota, quota */
        {{{PLACE_BIND_CACHE, PLACE_BIND_NONE}, {PLACE_BIND_CPU, PLACE_BIND_NONE}},
         {{PLACE_BIND_CACHE, PLACE_BIND_NONE}, {PLACE_BIND_CPU, PLACE_BIND_NONE}}},
        /* some CPUs: no quota, quota */
        {{{PLACE_BIND_CPU, PLACE_BIND_NONE}, {PLACE_BIND_CPU, PLACE_BIND_NONE}},
         {{PLACE_BIND_CACHE, PLACE_BIND_NONE}, {PLACE_BIND_CPU, PLACE_BIND_NONE}}},
};

enum { HOME_CASES = sizeof home_cases / sizeof *home_cases, OTHERS = 16 + 35 };

static struct topology machine;
static struct placement placed;

static void place(const char *files, struct placement_input input)
{
        struct topology_input tree = {.root = tree_make("tree", files)};

        input.topology = &machine;
        if (topology_read(&machine, &tree) != 0 || placement_make(&placed, &input) != 0) {
                printf("Bail out! nothing placed\n");
                exit(3);
        }
}

static void unplace(void)
{
        placement_fini(&placed);
        topology_fini(&machine);
}

static void check_homes(const struct home_case *c)
{
        char got[256] = "";

        place(c->files, (struct placement_input){.workers = c->workers, .rotation = c->rotation});
        for (unsigned i = 0; i < placed.worker_count; i++)
                sprintf(got + strlen(got), "%s%u", i ? " " : "", placed.workers[i].cpu);
        if (!tap_ok(strcmp(got, c->homes) == 0, "homes of %u, rotation %u: %s", c->workers,
                    c->rotation, c->homes))
                printf("#   got %s\n", got);
        unplace();
}

static void check_binding(unsigned row)
{
        bool subset = row >> 3 & 1, quota = row >> 2 & 1, pin = row >> 1 & 1, no_pin = row & 1;
        char files[256];

        snprintf(files, sizeof files, "sys/devices/system/cpu/online: 0-3%s%s",
                 subset ? "; proc/self/status: x\nCpus_allowed_list: 0-2" : "",
                 quota ? "; sys/fs/cgroup/cpu.max: 200000 100000" : "");
        place(files, (struct placement_input){.pin = pin, .no_pin = no_pin});
        tap_ok(placed.binding == bindings[subset][quota][pin][no_pin] && placed.binding_reason &&
                       *placed.binding_reason,
               "%s CPUs, %s quota%s%s: %s", subset ? "some" : "all", quota ? "a" : "no",
               pin ? ", pin" : "", no_pin ? ", no pin" : "", placed.binding_reason);
        unplace();
}

/* "s:2,4 c:1,3": the rings of a worker with its victims; remote ones by their node's number. */
static void describe_rings(char *out, unsigned worker)
{
        static const char kinds[] = "scn";
        const struct placement_worker *w = &placed.workers[worker];

        *out = '\0';
        for (unsigned i = 0; i < w->ring_count; i++) {
                const struct placement_ring *r = &w->rings[i];

                out += sprintf(out, "%s", i ? " " : "");
                if (r->kind < PLACE_RING_REMOTE)
                        out += sprintf(out, "%c", kinds[r->kind]);
                else
                        out += sprintf(out, "%u", placed.nodes[r->node_index].id);
                for (unsigned k = r->begin; k < r->end; k++)
                        out += sprintf(out, "%c%u", k == r->begin ? ':' : ',', w->victims[k]);
        }
}

static void check_rings(unsigned worker, const char *expected)
{
        char got[1024];

        describe_rings(got, worker);
        if (!tap_ok(strcmp(got, expected) == 0, "worker %u robs %s", worker,
                    *expected ? expected : "nobody"))
                printf("#   got %s\n", got);
}

static bool is_mask(const cpu_set_t *mask, const char *expected)
{
        struct groups *g = groups_read(expected);
        bool match = mask != NULL;

        for (unsigned i = 0; match && i < placed.mask_size * 8; i++)
                match = (bool)CPU_ISSET_S(i, placed.mask_size, mask) ==
                        (i < GROUPS_MAX && g->of[i] == 0);
        free(g);
        return match;
}

static void check_mask(unsigned worker, const char *expected)
{
        tap_ok(is_mask(placed.workers[worker].mask, expected), "worker %u is bound to %s", worker,
               expected);
}

static void check_ring_cases(void)
{
        /* Workers 0-7 are at home on 0 2 1 3 4 6 5 7; no caches: the node is one. */
        place(SMT_MACHINE, (struct placement_input){0});
        check_rings(0, "s:4 c:2,6 1:1,3,5,7");
        check_rings(7, "s:3 c:1,5 0:0,2,4,6");
        unplace();
        /* An L3 for each core: what is left of the node is its own ring. */
        place(SMT_MACHINE "cpu0/cache/index0/level: 3; cpu0/cache/index0/shared_cpu_list: 0,4; "
                          "cpu1/cache/index0/level: 3; cpu1/cache/index0/shared_cpu_list: 1,5",
              (struct placement_input){0});
        check_rings(0, "s:4 n:2,6 1:1,3,5,7");
        check_mask(0, "0,4");
        unplace();
        /* More workers than CPUs: those on the same CPU come first. */
        place("sys/devices/system/cpu/online: 0-1", (struct placement_input){.workers = 5});
        check_rings(0, "s:2,4 c:1,3");
        check_rings(3, "s:1 c:0,2,4");
        unplace();
        place("sys/devices/system/cpu/online: 0-1", (struct placement_input){.workers = 1});
        check_rings(0, "");
        tap_is(placed.workers[0].victim_count, 0, "one worker has no victims");
        unplace();
        /* A cache over two nodes ends, for us, where the node ends. */
        place("sys/devices/system/cpu/online: 0-3; node0/cpulist: 0-1; node1/cpulist: 2-3; "
              "cpu0/cache/index0/level: 3; cpu0/cache/index0/shared_cpu_list: 0-3",
              (struct placement_input){0});
        check_rings(0, "c:2 1:1,3");
        check_mask(0, "0-1");
        check_mask(1, "2-3");
        unplace();
}

static void check_masks(void)
{
        place(SMT_MACHINE, (struct placement_input){0});
        check_mask(0, "0-1,4-5");
        check_mask(3, "2-3,6-7");
        unplace();
        place(SMT_MACHINE, (struct placement_input){.pin = true, .workers = 9});
        check_mask(1, "2");
        check_mask(8, "0");
        tap_ok(is_mask(placed.everywhere, "0-7"), "other threads to nothing of all that");
        unplace();
        place(SMT_MACHINE "; proc/self/status: x\nCpus_allowed_list: 0-2,4,6; "
                          "sys/fs/cgroup/cpu.max: 300000 100000",
              (struct placement_input){0});
        tap_is(placed.worker_count, 3, "workers by the quota");
        check_mask(0, "0-1,4");
        check_mask(1, "2,6");
        tap_ok(is_mask(placed.everywhere, "0-2,4,6"), "other threads to what there is");
        unplace();
        place(SMT_MACHINE, (struct placement_input){.no_pin = true});
        tap_ok(!placed.workers[0].mask && placement_bind_thread(&placed, 0) == 0 &&
                       !placed.everywhere && placement_unbind_thread(&placed) == 0,
               "bound to nothing");
        unplace();
}

static unsigned system_node_id(unsigned id)
{
        return placed.nodes[placed.system_node[id]].id;
}

static void check_nodes(void)
{
        /* Workers 0-3 on nodes 1 2 4 5; of equally far ones, the next higher number and round. */
        place(FAR_MACHINE, (struct placement_input){0});
        check_rings(0, "2:1 4:2 5:3");
        check_rings(1, "4:2 5:3 1:0");
        check_rings(3, "1:0 2:1 4:2");
        tap_is(placed.node_count, 4, "nodes without usable CPUs are none of ours");
        tap_is(placed.system_node_limit, 10, "node numbers up to the highest");
        tap_ok(placed.system_node[0] == -1 && placed.system_node[3] == -1 &&
                       placed.system_node[8] == -1,
               "numbers that are no nodes");
        tap_is(system_node_id(7), 2, "a node out of our CPUs maps to the nearest");
        tap_is(system_node_id(9), 5, "a node without CPUs too");
        tap_is(placed.nodes[placed.cpu_node[4]].id, 2, "and so does the CPU that is not ours");
        unplace();
        /* A table that is not symmetric is read along the way of the worker that looks. */
        place("sys/devices/system/cpu/online: 0-2; node0/cpulist: 0; node1/cpulist: 1; "
              "node2/cpulist: 2; node0/distance: 10 30 20; node1/distance: 15 10 20; "
              "node2/distance: 25 15 10",
              (struct placement_input){0});
        check_rings(0, "2:2 1:1");
        check_rings(2, "1:1 0:0");
        unplace();
        /* One worker: all nodes map to its node. */
        place(FAR_MACHINE, (struct placement_input){.workers = 1, .rotation = 6});
        tap_ok(placed.node_count == 1 && placed.nodes[0].id == 4 && placed.nodes[0].order[0] == 0 &&
                       placed.nodes[0].worker_count == 1 && system_node_id(1) == 4 &&
                       system_node_id(9) == 4 && placed.cpu_node[0] == 0,
               "a single worker serves all nodes");
        unplace();
}

/* Whatever the numbers, every worker has every other one as a victim once. */
static void check_many(void)
{
        unsigned wrong = 0;

        place(LOPSIDED_MACHINE, (struct placement_input){.workers = 203, .rotation = ~0u});
        for (unsigned i = 0; i < placed.worker_count; i++) {
                const struct placement_worker *w = &placed.workers[i];
                bool seen[203] = {false};
                unsigned end = 0;

                for (unsigned k = 0; k < w->ring_count; k++) {
                        wrong += w->rings[k].begin != end || w->rings[k].end <= end;
                        end = w->rings[k].end;
                }
                wrong += end != 202 || w->victim_count != 202;
                for (unsigned k = 0; k < w->victim_count; k++) {
                        wrong += w->victims[k] == i || seen[w->victims[k]];
                        seen[w->victims[k]] = true;
                }
        }
        tap_is(wrong, 0, "203 workers on 8 CPUs: all others are victims, once");
        tap_is(placed.nodes[0].worker_count + placed.nodes[1].worker_count, 203, "on two nodes");
        unplace();
}

int main(void)
{
        tap_plan(HOME_CASES + OTHERS, 60);
        for (unsigned i = 0; i < HOME_CASES; i++)
                check_homes(&home_cases[i]);
        for (unsigned row = 0; row < 16; row++)
                check_binding(row);
        check_ring_cases();
        check_masks();
        check_nodes();
        check_many();
        return tap_done();
}
