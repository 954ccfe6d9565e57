/* SPDX-License-Identifier: MIT
 *
 * What the control groups of this process allow: how much CPU time, and in recorded trees also
 * which CPUs (on this machine the affinity has that already). Called by topology.c.
 */
#ifndef PLACE_CGROUP_H
#define PLACE_CGROUP_H

#include "place/tree.h"

struct cgroup_quota {
        double cpus;        /* the least of the group and all its ancestors; 0: no quota */
        const char *source; /* static text: "cgroup v2", "cgroup v1" or "" */
};

void cgroup_read_quota(struct tree *t, struct cgroup_quota *out);

/* False: no cpuset that could be read restricts the group. */
bool cgroup_read_cpus(struct tree *t, struct cpulist *out);

#endif
