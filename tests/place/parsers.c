/* SPDX-License-Identifier: MIT
 *
 * The two forms of a list, right and wrong ones; then random bytes in every place from which the
 * readers take text: whatever they say, the result must be sound.
 */
#define _GNU_SOURCE
#include "place/cgroup.h"
#include "place/cpulist.h"
#include "place/placement.h"

#include "../tap.h"
#include "groups.h"
#include "sandbox.h"

struct list_case {
        const char *text;
        const char *members; /* NULL: refused */
};

static const struct list_case lists[] = {
        {"0", "0"},
        {"0-3,8\n", "0-3,8"},
        {"", ""},
        {"\n", ""},
        {" 1-2 \r\n", "1-2"},
        {"5,1,3", "1,3,5"},
        {"0-1\nrubbish", "0-1"},
        {"7-7", "7"},
        {"1000-1001", "1000-1001"},
        {"8191-99999999999999999999", "8191"},
        {"9000", ""},
        {"18446744073709551616", ""},
        {"3-1", NULL},
        {"0,", NULL},
        {",0", NULL},
        {"0,,1", NULL},
        {"-1", NULL},
        {"1-", NULL},
        {"0-3-5", NULL},
        {"0x3", NULL},
        {"1 2", NULL},
        {"all", NULL},
        {"0;1", NULL},
};

static const struct list_case masks[] = {
        {"1", "0"},
        {"f", "0-3"},
        {"0000ffff\n", "0-15"},
        {"3,00000000", "32-33"},
        {"00000000,00000101", "0,8"},
        {"0000,0000003f", "0-5"},
        {"000f,c0000000", "30-35"},
        {"f,f", "0-3,32-35"},
        {"80000000,00000000,00000000\n", "95"},
        {"ABCDEF", "0-3,5-8,10-11,14-17,19,21,23"},
        {"0", ""},
        {"1\n2", "0"},
        {"", NULL},
        {"\n", NULL},
        {",1", NULL},
        {"1,", NULL},
        {"1,,1", NULL},
        {"123456789", NULL},
        {"g", NULL},
        {"0x1", NULL},
        {"1 1", NULL},
        {"-1", NULL},
};

enum {
        LISTS = sizeof lists / sizeof *lists,
        MASKS = sizeof masks / sizeof *masks,
        FUZZ_LISTS = 20000,
        FUZZ_TREES = 300
};

static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
        return (unsigned)(tap_random(&random_state) % limit);
}

static void check_case(const struct list_case *c, bool (*parse)(struct cpulist *, const char *),
                       const char *form)
{
        struct groups *expected = groups_read(c->members && *c->members ? c->members : "-");
        struct cpulist got;
        bool accepted, match;
        int count = 0;

        memset(&got, 0x5a, sizeof got);
        accepted = parse(&got, c->text);
        match = accepted == (c->members != NULL);
        cpulist_for_each(number, &got)
        {
                match = match && expected->of[number] == 0;
                count++;
        }
        match = match && count == expected->order_count && count == (int)cpulist_count(&got);
        tap_ok(match, "%s \"%.*s\" is %s", form, (int)strcspn(c->text, "\n"), c->text,
               c->members ? c->members : "refused");
        free(expected);
}

/* Text that looks a little like what belongs there, so that it gets beyond the first byte. */
static size_t random_text(char *out, size_t size)
{
        static const char alphabet[] = "0123456789abcdef,,,----\n\n  ::/max";
        size_t length = random_below((unsigned)size);
        bool wild = random_below(4) == 0;

        for (size_t i = 0; i < length; i++)
                out[i] = wild ? (char)random_below(256)
                              : alphabet[random_below(sizeof alphabet - 1)];
        out[length] = '\0';
        return length;
}

static void fuzz_lists(void)
{
        unsigned wrong = 0;

        for (unsigned i = 0; i < FUZZ_LISTS; i++) {
                struct cpulist list;
                char text[128];
                unsigned members = 0;

                random_text(text, sizeof text);
                for (unsigned form = 0; form < 2; form++) {
                        bool accepted = (form ? cpulist_parse_mask : cpulist_parse)(&list, text);

                        members = cpulist_count(&list);
                        wrong += !accepted && members;
                }
                cpulist_for_each(number, &list) members--;
                wrong += members != 0;
        }
        tap_is(wrong, 0, "random texts are lists or leave nothing");
}

static const char *const fuzzed[] = {
        "sys/devices/system/cpu/online",
        "sys/devices/system/cpu/cpu0/online",
        "sys/devices/system/cpu/cpu1/online",
        "sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
        "sys/devices/system/cpu/cpu1/topology/thread_siblings",
        "sys/devices/system/cpu/cpu2/topology/core_cpus_list",
        "sys/devices/system/cpu/cpu0/cache/index0/level",
        "sys/devices/system/cpu/cpu0/cache/index0/type",
        "sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list",
        "sys/devices/system/cpu/cpu3/cache/index3/level",
        "sys/devices/system/cpu/cpu3/cache/index3/shared_cpu_map",
        "sys/devices/system/node/online",
        "sys/devices/system/node/node0/cpulist",
        "sys/devices/system/node/node0/distance",
        "sys/devices/system/node/node7/cpumap",
        "sys/devices/system/node/node7/distance",
        "proc/self/status",
        "proc/self/cgroup",
        "proc/self/cpuset",
        "proc/self/mountinfo",
        "proc/mounts",
        "sys/fs/cgroup/cpu.max",
        "sys/fs/cgroup/cpuset.cpus.effective",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us",
};

/* Right content, for the files that a round leaves alone. */
static const char sound[] =
        "sys/devices/system/cpu/online: 0-3; cpu0/online: 1; cpu1/online: 1;"
        "cpu0/topology/thread_siblings_list: 0-1; cpu1/topology/thread_siblings: 3;"
        "cpu2/topology/core_cpus_list: 2-3; cpu0/cache/index0/level: 1;"
        "cpu0/cache/index0/type: Data; cpu0/cache/index0/shared_cpu_list: 0-1;"
        "cpu3/cache/index3/level: 3; cpu3/cache/index3/shared_cpu_map: c;"
        "sys/devices/system/node/online: 0,7; node0/cpulist: 0-1; node0/distance: 10 21;"
        "node7/cpumap: c; node7/distance: 21 10; proc/self/status: x\nCpus_allowed_list:\t0-3;"
        "proc/self/cgroup: 3:cpu,cpuacct:/\n0::/a/b; proc/self/cpuset: /;"
        "proc/self/mountinfo: 30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw;"
        "proc/mounts: cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0; sys/fs/cgroup/cpu.max: max "
        "100000;"
        "sys/fs/cgroup/cpuset.cpus.effective: 0-3; sys/fs/cgroup/cpu/cpu.cfs_quota_us: -1;"
        "sys/fs/cgroup/cpu/cpu.cfs_period_us: 100000";

static bool topology_is_sound(const struct topology *t)
{
        unsigned cpus = 0;
        bool sound_so_far = t->cpu_count > 0 && t->node_count > 0 && t->quota_cpus >= 0 &&
                            t->online_count >= t->cpu_count;

        for (unsigned i = 0; sound_so_far && i < t->cpu_count; i++) {
                const struct topology_cpu *c = &t->cpus[i];

                sound_so_far = c->id < t->cpu_limit && c->node_index < t->node_count &&
                               c->core_id <= c->id && c->cache_id < t->cpu_limit &&
                               t->cpu_node[c->id] == c->node_index && (i == 0 || c[-1].id < c->id);
        }
        for (unsigned i = 0; sound_so_far && i < t->node_count; i++) {
                cpus += t->nodes[i].cpu_count;
                for (unsigned k = 0; sound_so_far && k < t->node_count; k++)
                        sound_so_far = topology_distance(t, i, k) > 0;
        }
        return sound_so_far && cpus == t->cpu_count;
}

static bool placement_is_sound(const struct topology *t)
{
        struct placement_input input = {.topology = t, .workers = 5, .rotation = random_below(99)};
        struct placement p;
        bool sound_so_far;

        if (placement_make(&p, &input) != 0)
                return false;
        sound_so_far = p.worker_count == 5 && p.node_count > 0;
        for (unsigned i = 0; sound_so_far && i < 5; i++)
                sound_so_far = p.workers[i].victim_count == 4 && p.workers[i].ring_count > 0 &&
                               p.workers[i].node_index < p.node_count && p.workers[i].mask &&
                               CPU_ISSET_S(p.workers[i].cpu, p.mask_size, p.workers[i].mask);
        placement_fini(&p);
        return sound_so_far;
}

static void fuzz_trees(void)
{
        const char *root = tree_make("fuzz", sound);
        struct topology_input input = {.root = root};
        unsigned unsound = 0, refused = 0;

        for (unsigned i = 0; i < FUZZ_TREES; i++) {
                struct topology t;
                int error;

                tree_make("fuzz", sound);
                for (unsigned k = 0; k < 3; k++) {
                        char text[6000];
                        size_t length = random_text(text, random_below(3) ? 40 : sizeof text);

                        tree_put_bytes(root, fuzzed[random_below(sizeof fuzzed / sizeof *fuzzed)],
                                       text, length);
                }
                error = topology_read(&t, &input);
                if (error) {
                        refused++;
                        unsound += error != -EINVAL;
                        continue;
                }
                unsound += !topology_is_sound(&t) || !placement_is_sound(&t);
                topology_fini(&t);
        }
        tap_is(unsound, 0, "trees with random files give sound topologies");
        tap_ok(refused < FUZZ_TREES / 2, "and most of them some CPU (%u of %u did not)", refused,
               FUZZ_TREES);
}

int main(void)
{
        tap_plan(LISTS + MASKS + 3, 60);
        for (unsigned i = 0; i < LISTS; i++)
                check_case(&lists[i], cpulist_parse, "list");
        for (unsigned i = 0; i < MASKS; i++)
                check_case(&masks[i], cpulist_parse_mask, "mask");
        fuzz_lists();
        fuzz_trees();
        return tap_done();
}
