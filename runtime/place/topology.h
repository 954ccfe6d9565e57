/* SPDX-License-Identifier: MIT
 *
 * The machine, as far as scheduling needs it: which CPUs may be used, their nodes, cores and
 * last-level caches, and the distances between nodes. Read once per start from the trees under a
 * root folder ("/", or $SKUA_SYSROOT for recorded machines). Called by placement.c and skua-topo.
 */
#ifndef PLACE_TOPOLOGY_H
#define PLACE_TOPOLOGY_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

struct topology_cpu {
        unsigned id;         /* the system's number */
        unsigned node_index; /* into nodes[] */
        unsigned core_id;    /* equal for SMT siblings: the lowest CPU number among them */
        unsigned cache_id;   /* equal within a last-level cache: the lowest CPU number of those */
};

struct topology_node {
        unsigned id;        /* the system's number */
        unsigned cpu_count; /* usable CPUs on it; 0 for a memory-only node */
};

struct topology {
        unsigned cpu_count;        /* usable CPUs: online, allowed by affinity (and options.cpus) */
        struct topology_cpu *cpus; /* by rising id */
        unsigned node_count;
        struct topology_node *nodes; /* by rising id */
        unsigned char *distances;    /* node_count * node_count, row: from */
        unsigned online_count;       /* CPUs online on the machine */
        unsigned cpu_limit;          /* one above the highest number online */
        unsigned *cpu_node;          /* node index of each CPU below it, usable or not */
        double quota_cpus;           /* least cgroup quota of all ancestors; 0: none */
        const char *quota_source;    /* static text: "cgroup v2", "cgroup v1" or "" */
};

/* What to read it from; zero in a field: the default. */
struct topology_input {
        const char *root;      /* default: $SKUA_SYSROOT, else "/" */
        const cpu_set_t *cpus; /* further restriction */
        size_t cpus_size;
        const cpu_set_t *affinity; /* default: that of the calling thread; with another root than
                                      "/": all online CPUs of the recorded machine, cut to what its
                                      proc/self/status allows, where it has that file */
        size_t affinity_size;
};

/* 0, -EINVAL when no usable CPU is left, -ENOMEM, -EMFILE or -ENFILE when there was not enough of
 * those to read it all, or the error of opening another root folder than "/". Any thread. */
int topology_read(struct topology *out, const struct topology_input *input);
void topology_fini(struct topology *t);
unsigned topology_distance(const struct topology *t, unsigned from_index, unsigned to_index);

#endif
