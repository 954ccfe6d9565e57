/* SPDX-License-Identifier: MIT
 *
 * Made-up trees, one oddity each. A topology is written as one line, "cpus 0,1 of 2 | nodes 0:0,1 |
 * cores 0 1 | caches 0,1 | distances 10 | quota 0 | workers 2", and each case names the parts of it
 * that it is about.
 */
#define _GNU_SOURCE
#include "place/placement.h"

#include "../tap.h"
#include "sandbox.h"

#include <sys/resource.h>

struct tree_case {
        const char *what;
        const char *files;    /* see tree_make() */
        const char *expected; /* parts, separated by " | " */
};

#define CPUS4  "sys/devices/system/cpu/online: 0-3; "
#define NODES2 "node0/cpulist: 0-1; node1/cpulist: 2-3; "

static const struct tree_case cases[] = {
        {"only a list of CPUs", CPUS4,
         "cpus 0,1,2,3 of 4 | nodes 0:0,1,2,3 | cores 0 1 2 3 | caches 0,1,2,3 | distances 10 | "
         "quota 0 | workers 4"},
        {"no list, only folders; one CPU offline",
         "cpu0/topology/x: 1; cpu1/online: 0; cpu2/online: 1; cpu10/topology/x: 1; cpufreq/x: 1; "
         "cpuidle/x: 1",
         "cpus 0,2,10 of 3"},
        {"a listed CPU whose own file says offline", CPUS4 "cpu2/online: 0",
         "cpus 0,1,3 of 3 | nodes 0:0,1,3"},
        {"a list that is rubbish: the folders", "sys/devices/system/cpu/online: 0-x; cpu1/x: 1",
         "cpus 1 of 1"},
        {"two nodes with distances", CPUS4 NODES2 "node0/distance: 10 21; node1/distance: 21 10",
         "nodes 0:0,1 1:2,3 | caches 0,1 2,3 | distances 10 21 21 10"},
        {"numbers with holes",
         CPUS4 "node3/cpulist: 0-1; node200/cpulist: 2-3; node3/distance: 10 "
               "30; node200/distance: 31 10",
         "nodes 3:0,1 200:2,3 | distances 10 30 31 10"},
        {"masks instead of lists",
         CPUS4
         "node0/cpumap: 00000000,00000005; node1/cpumap: a; cpu0/topology/thread_siblings: 5; "
         "cpu1/topology/thread_siblings: 0a; cpu0/cache/index0/level: 2; "
         "cpu0/cache/index0/shared_cpu_map: 5; cpu1/cache/index0/level: 2; "
         "cpu1/cache/index0/shared_cpu_map: 2; cpu3/cache/index0/level: 2; "
         "cpu3/cache/index0/shared_cpu_map: 8",
         "nodes 0:0,2 1:1,3 | cores 0,2 1,3 | caches 0,2 1 3"},
        {"a list that is rubbish, beside a mask", CPUS4 "node0/cpulist: 0-; node0/cpumap: f",
         "nodes 0:0,1,2,3"},
        {"the newer name of the siblings",
         CPUS4 "cpu0/topology/core_cpus_list: 0,2; cpu1/topology/core_cpus: a", "cores 0,2 1,3"},
        {"a CPU in two nodes belongs to the first", CPUS4 "node0/cpulist: 0-2; node1/cpulist: 2-3",
         "nodes 0:0,1,2 1:3"},
        {"a CPU in no node goes with its core",
         CPUS4 "node0/cpulist: 0; node1/cpulist: 1-2; cpu1/topology/thread_siblings_list: 1,3; "
               "cpu3/topology/thread_siblings_list: 1,3",
         "nodes 0:0 1:1,2,3"},
        {"or with its cache",
         CPUS4 "node0/cpulist: 0; node1/cpulist: 1-2; cpu2/cache/index1/level: 2; "
               "cpu2/cache/index1/shared_cpu_list: 2-3",
         "nodes 0:0 1:1,2,3"},
        {"or to the first node that has any", CPUS4 "node0/cpulist: ; node1/cpulist: 0-1",
         "nodes 0: 1:0,1,2,3"},
        {"nodes whose lists are all rubbish", CPUS4 "node4/cpulist: x; node6/cpumap: y",
         "nodes 4:0,1,2,3 6: | distances 10 20 20 10"},
        {"a memory-only node",
         CPUS4 NODES2 "node2/cpulist: ; node0/distance: 10 20 14; node1/distance: 20 10 14; "
                      "node2/distance: 14 14 10",
         "nodes 0:0,1 1:2,3 2: | distances 10 20 14 20 10 14 14 14 10"},
        {"one missing row is that of the others", CPUS4 NODES2 "node1/distance: 17 10",
         "distances 10 17 17 10"},
        {"rubbish, zero or too few distances",
         CPUS4 NODES2 "node2/cpulist: ; node0/distance: 10 x 3; node1/distance: 10 0 12; "
                      "node2/distance: 10 20",
         "distances 10 20 20 20 10 20 20 20 10"},
        {"distances beyond a byte", CPUS4 NODES2 "node0/distance: 10 4000; node1/distance: 255 10",
         "distances 10 255 255 10"},
        {"a row for nodes that were not recorded",
         CPUS4 "node1/cpulist: 0-1; node3/cpulist: 2-3; node1/distance: 22 10 23 24; "
               "node3/distance: 32 33 34 10; sys/devices/system/node/online: 0-3",
         "distances 10 24 33 10"},
        {"names that are no nodes",
         CPUS4 "node0/cpulist: 0-3; nodes/x: 1; node1x/cpulist: 0-3; node/cpulist: 2; "
               "node99999999999/cpulist: 1; node1024/cpulist: 1",
         "nodes 0:0,1,2,3"},
        {"a cache for instructions does not count",
         CPUS4 "cpu0/cache/index0/level: 3; cpu0/cache/index0/type: Instruction; "
               "cpu0/cache/index0/shared_cpu_list: 0-3; cpu0/cache/index1/level: 2; "
               "cpu0/cache/index1/type: Data; cpu0/cache/index1/shared_cpu_list: 0-1",
         "caches 0,1 2,3"},
        {"the highest level, wherever it stands",
         CPUS4 "cpu0/cache/index0/level: 3; cpu0/cache/index0/type: Unified; "
               "cpu0/cache/index0/shared_cpu_list: 0-3; cpu0/cache/index1/level: 1; "
               "cpu0/cache/index1/shared_cpu_list: 0; cpu0/cache/index2/level: 2; "
               "cpu0/cache/index2/shared_cpu_list: 0-1",
         "caches 0,1,2,3"},
        {"a highest level without CPUs: the next one",
         CPUS4 "cpu0/cache/index2/level: 2; cpu0/cache/index2/shared_cpu_list: 0-1; "
               "cpu0/cache/index3/level: 3; cpu0/cache/index3/shared_cpu_list: 2-3",
         "caches 0,1 2,3"},
        {"siblings that contradict each other: the first list",
         CPUS4 "cpu0/topology/thread_siblings_list: 0-1; cpu1/topology/thread_siblings_list: 1-2; "
               "cpu2/topology/thread_siblings_list: 1-3",
         "cores 0,1 2,3"},
        {"a sibling that is offline",
         "sys/devices/system/cpu/online: 1-3; cpu1/topology/thread_siblings_list: 0-1",
         "cores 1 2 3"},
        {"a cache over two nodes is reported as it is",
         CPUS4 NODES2 "cpu0/cache/index3/level: 3; cpu0/cache/index3/shared_cpu_list: 0-3",
         "nodes 0:0,1 1:2,3 | caches 0,1,2,3"},

        {"the recorded status restricts",
         CPUS4 "proc/self/status: Name:\tx\nCpus_allowed:\t6\nCpus_allowed_list:\t1-2",
         "cpus 1,2 of 4 | workers 2"},
        {"a status that is rubbish does not", CPUS4 "proc/self/status: Cpus_allowed_list:\t?",
         "cpus 0,1,2,3 of 4"},
        {"a cpuset of version 2, set on an ancestor",
         CPUS4 "proc/self/cgroup: 0::/a/b; proc/mounts: none /cg cgroup2 rw 0 0; "
               "cg/a/cpuset.cpus.effective: 0,3; cg/cpuset.cpus.effective: 0-3",
         "cpus 0,3 of 4"},
        {"a cpuset of version 1",
         CPUS4 "proc/self/cgroup: 4:memory:/m\n3:cpuset:/s; proc/mounts: x /sys/fs/cgroup/cpuset "
               "cgroup rw,cpuset 0 0; sys/fs/cgroup/cpuset/s/cpuset.cpus: 2-3; "
               "sys/fs/cgroup/cpuset/m/cpuset.cpus: 1",
         "cpus 2,3 of 4"},
        {"a cpuset file system of old",
         CPUS4 "proc/self/cpuset: /s; proc/mounts: none /dev/cpuset cpuset rw 0 0; "
               "dev/cpuset/s/cpus: 1",
         "cpus 1 of 4"},

        {"a quota of version 2 on an ancestor, at the usual place",
         CPUS4 "proc/self/cgroup: 0::/a/b/c; sys/fs/cgroup/a/b/c/cpu.max: max 100000; "
               "sys/fs/cgroup/a/cpu.max: 150000 100000",
         "quota 1.5 cgroup v2 | workers 2"},
        {"the least of several",
         CPUS4 "proc/self/cgroup: 0::/a/b; sys/fs/cgroup/a/b/cpu.max: 300000 100000; "
               "sys/fs/cgroup/a/cpu.max: 50000 50000; sys/fs/cgroup/cpu.max: 200000 100000",
         "quota 1 cgroup v2 | workers 1"},
        {"a group that is gone: what is above it",
         CPUS4 "proc/self/cgroup: 0::/a/gone (deleted); sys/fs/cgroup/a/cpu.max: 210000 100000",
         "quota 2.1 cgroup v2 | workers 3"},
        {"of the mounts, the one that shows the group",
         CPUS4 "proc/self/cgroup: 0::/box/7/x; proc/self/mountinfo: "
               "30 25 0:26 /elsewhere /other rw shared:4 - cgroup2 cgroup2 rw\n"
               "31 25 0:26 /box/7 /mnt/my\\040group rw shared:4 master:2 - cgroup2 cgroup2 rw; "
               "mnt/my group/x/cpu.max: 250000 100000; other/cpu.max: 100000 100000; "
               "sys/fs/cgroup/cpu.max: 100000 100000",
         "quota 2.5 cgroup v2 | workers 3"},
        {"a group outside of what is mounted: the mount's own",
         CPUS4 "proc/self/cgroup: 0::/../../x; proc/self/mountinfo: "
               "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw; "
               "sys/fs/cgroup/cpu.max: 100000 100000; sys/x/cpu.max: 50000 100000",
         "quota 1 cgroup v2"},
        {"no table of groups: the mount's own", CPUS4 "sys/fs/cgroup/cpu.max: 200000",
         "quota 2 cgroup v2 | workers 2"},
        {"a quota beyond the CPUs", CPUS4 "sys/fs/cgroup/cpu.max: 6400000 100000",
         "quota 64 cgroup v2 | workers 4"},
        {"a tiny quota", CPUS4 "sys/fs/cgroup/cpu.max: 1000 1000000",
         "quota 0.001 cgroup v2 | workers 1"},
        {"rubbish for quotas",
         CPUS4 "proc/self/cgroup: 0::/a/b/c; sys/fs/cgroup/a/b/c/cpu.max: lots; "
               "sys/fs/cgroup/a/b/cpu.max: 100000 0; sys/fs/cgroup/a/cpu.max: -5 100000; "
               "sys/fs/cgroup/cpu.max: ",
         "quota 0 | workers 4"},
        {"a quota of version 1 on an ancestor",
         CPUS4 "proc/self/cgroup: 5:cpu,cpuacct:/a/b\n1:name=systemd:/z; "
               "proc/self/mountinfo: 33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup "
               "rw,cpu,cpuacct; sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us: -1; "
               "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us: 250000; "
               "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us: 100000",
         "quota 2.5 cgroup v1 | workers 3"},
        {"of version 1 at the usual place, in a container",
         CPUS4 "proc/self/cgroup: 2:cpu:/docker/77; sys/fs/cgroup/cpu/cpu.cfs_quota_us: 20000; "
               "sys/fs/cgroup/cpu/cpu.cfs_period_us: 10000",
         "quota 2 cgroup v1 | workers 2"},
        {"cpuacct and cpuset are not cpu",
         CPUS4 "proc/self/cgroup: 2:cpuacct:/\n3:cpuset:/; "
               "sys/fs/cgroup/cpu/cpu.cfs_quota_us: 20000",
         "quota 0"},
        {"both versions: the least",
         CPUS4 "proc/self/cgroup: 2:cpu:/\n0::/; sys/fs/cgroup/cpu/cpu.cfs_quota_us: 100000; "
               "sys/fs/cgroup/unified/cpu.max: 200000 100000",
         "quota 1 cgroup v1"},
        {"tables of rubbish",
         CPUS4 "proc/self/cgroup: x\n:\n0:\n9:y\n; proc/self/mountinfo: \n - \n1 2 3 - \n"
               "1 2 3 4 5 6 - cgroup2; proc/mounts: cgroup2; sys/fs/cgroup/cpu.max: 100000",
         "quota 0"},
};

enum { CASES = sizeof cases / sizeof *cases, OTHERS = 18 };

struct text {
        char bytes[8192];
        size_t length;
};

__attribute__((format(printf, 2, 3))) static void append(struct text *out, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        out->length += (size_t)vsnprintf(out->bytes + out->length, sizeof out->bytes - out->length,
                                         format, arguments);
        va_end(arguments);
}

/* The CPUs for which `id` is the group, after `separator`. */
static void append_group(struct text *out, const struct topology *t, unsigned kind, unsigned id)
{
        const char *separator = "";

        for (unsigned i = 0; i < t->cpu_count; i++) {
                const unsigned ids[] = {t->cpus[i].node_index, t->cpus[i].core_id,
                                        t->cpus[i].cache_id};

                if (ids[kind] != id)
                        continue;
                append(out, "%s%u", separator, t->cpus[i].id);
                separator = ",";
        }
}

static void describe(struct text *out, const struct topology *t)
{
        out->length = 0;
        append(out, "cpus ");
        for (unsigned i = 0; i < t->cpu_count; i++)
                append(out, "%s%u", i ? "," : "", t->cpus[i].id);
        append(out, " of %u | nodes", t->online_count);
        for (unsigned i = 0; i < t->node_count; i++) {
                append(out, " %u:", t->nodes[i].id);
                append_group(out, t, 0, i);
        }
        for (unsigned kind = 1; kind <= 2; kind++) {
                append(out, kind == 1 ? " | cores" : " | caches");
                for (unsigned id = 0; id < t->cpu_limit; id++) {
                        size_t before = out->length;

                        append(out, " ");
                        append_group(out, t, kind, id);
                        if (out->length == before + 1)
                                out->length = before;
                }
                out->bytes[out->length] = '\0';
        }
        append(out, " | distances");
        for (unsigned i = 0; i < t->node_count * t->node_count; i++)
                append(out, " %u", topology_distance(t, i / t->node_count, i % t->node_count));
        append(out, " | quota %g%s%s | workers %u", t->quota_cpus, *t->quota_source ? " " : "",
               t->quota_source, placement_default_workers(t));
}

/* Each part must stand between separators (or at an end). */
static bool has_parts(const char *text, const char *parts)
{
        while (*parts) {
                const char *end = strstr(parts, " | ");
                size_t length = end ? (size_t)(end - parts) : strlen(parts);
                const char *at = text;
                bool found = false;

                while (!found && at) {
                        const char *next = strstr(at, " | ");

                        found = (next ? (size_t)(next - at) : strlen(at)) == length &&
                                strncmp(at, parts, length) == 0;
                        at = next ? next + 3 : NULL;
                }
                if (!found)
                        return false;
                parts += length;
                parts += strspn(parts, " |");
        }
        return true;
}

static void check(const struct tree_case *c)
{
        struct topology_input input = {.root = tree_make("tree", c->files)};
        struct text got = {.length = 0};
        struct topology t;
        int error = topology_read(&t, &input);

        if (!error)
                describe(&got, &t);
        if (!tap_ok(!error && has_parts(got.bytes, c->expected), "%s", c->what))
                printf("#   got %s (error %d)\n#   expected %s\n", got.bytes, error, c->expected);
        if (!error)
                topology_fini(&t);
}

static int count_cpus(const struct topology_input *input)
{
        struct topology t;
        int error = topology_read(&t, input);
        int count = error ? error : (int)t.cpu_count;

        if (!error)
                topology_fini(&t);
        return count;
}

static void check_restrictions(void)
{
        cpu_set_t large[16], one_two, nine;
        struct topology_input input = {.root = tree_make("tree", CPUS4)};

        memset(large, 0xff, sizeof large);
        CPU_ZERO(&one_two);
        CPU_SET(1, &one_two);
        CPU_SET(2, &one_two);
        CPU_ZERO(&nine);
        CPU_SET(9, &nine);
        input.affinity = &one_two;
        input.affinity_size = sizeof one_two;
        tap_is(count_cpus(&input), 2, "an affinity that is given");
        input.cpus = large;
        input.cpus_size = sizeof large;
        tap_is(count_cpus(&input), 2, "with a larger wish");
        input.affinity = large;
        input.affinity_size = sizeof large;
        input.cpus = &one_two;
        input.cpus_size = sizeof(long);
        tap_is(count_cpus(&input), 2, "a wish, in a set of one word");
        input.cpus_size = 0;
        tap_is(count_cpus(&input), -EINVAL, "an empty wish");
        input.cpus = &nine;
        input.cpus_size = sizeof nine;
        tap_is(count_cpus(&input), -EINVAL, "a CPU that does not exist");
        input.root = "/";
        CPU_ZERO(&nine);
        CPU_SET(1023, &nine);
        tap_is(count_cpus(&input), -EINVAL, "nor on this machine");
}

static void check_roots(void)
{
        struct topology_input input = {.root = tree_make("none", "x: y")};
        char missing[PATH_MAX];

        tap_is(count_cpus(&input), -EINVAL, "a tree without CPUs");
        snprintf(missing, sizeof missing, "%s/missing", sandbox());
        input.root = missing;
        tap_is(count_cpus(&input), -ENOENT, "no such root folder");
        setenv("SKUA_SYSROOT", missing, 1);
        input.root = NULL;
        tap_is(count_cpus(&input), -ENOENT, "nor in the environment");
        setenv("SKUA_SYSROOT", tree_make("tree", CPUS4), 1);
        tap_is(count_cpus(&input), 4, "a root from the environment");
        setenv("SKUA_SYSROOT", "", 1);
        tap_ok(count_cpus(&input) > 0, "an empty one is this machine");
        unsetenv("SKUA_SYSROOT");
}

/* Files that are none: reading them must neither fail nor hang. */
static void check_odd_files(void)
{
        struct topology_input input = {.root = tree_make("odd", CPUS4 "node0/x: 1; cpu0/x: 1")};
        char path[2 * PATH_MAX];

        snprintf(path, sizeof path, "%s/sys/devices/system/node/node0/cpulist", input.root);
        tap_ok(mkfifo(path, 0600) == 0 && count_cpus(&input) == 4, "a pipe for a file");
        unlink(path);
        tap_ok(mkdir(path, 0700) == 0 && count_cpus(&input) == 4, "a folder for a file");
        rmdir(path);
        tap_ok(symlink("/dev/zero", path) == 0 && count_cpus(&input) == 4, "an endless file");
        unlink(path);
        tap_ok(symlink("cpulist", path) == 0 && count_cpus(&input) == 4, "a link to itself");
}

/* Room for so many more descriptors than are open now. */
static int count_cpus_with(const struct topology_input *input, rlim_t descriptors)
{
        struct rlimit before, small;
        int lowest = dup(STDOUT_FILENO), count;

        close(lowest);
        getrlimit(RLIMIT_NOFILE, &before);
        small = before;
        small.rlim_cur = (rlim_t)lowest + descriptors;
        setrlimit(RLIMIT_NOFILE, &small);
        count = count_cpus(input);
        setrlimit(RLIMIT_NOFILE, &before);
        return count;
}

static void check_descriptors(void)
{
        struct topology_input input = {.root = tree_make("tree", CPUS4 "node0/cpulist: 0-3")};

        tap_is(count_cpus_with(&input, 0), -EMFILE, "no descriptor left for the root folder");
        tap_is(count_cpus_with(&input, 1), -EMFILE, "nor for the files in it");
        tap_is(count_cpus_with(&input, 2), 4, "two are enough");
}

int main(void)
{
        unsetenv("SKUA_SYSROOT");
        tap_plan(CASES + OTHERS, 60);
        for (unsigned i = 0; i < CASES; i++)
                check(&cases[i]);
        check_restrictions();
        check_roots();
        check_odd_files();
        check_descriptors();
        return tap_done();
}
