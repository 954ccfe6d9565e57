/* SPDX-License-Identifier: MIT
 *
 * The whole machine as its /sys describes it, before anybody's limits: CPUs online, their cores,
 * last-level caches and nodes, and the distances. The same reader serves this machine and recorded
 * ones (libnuma knows no other root than "/"). Called by topology.c.
 */
#ifndef PLACE_MACHINE_H
#define PLACE_MACHINE_H

#include "place/tree.h"

enum { MACHINE_NODE_MAX = 1024 }; /* the most that a kernel can be built for */

#define MACHINE_NONE (~0u)

struct machine_cpu {
        unsigned node_index;
        unsigned core_id;  /* the lowest number of the CPUs that share the core */
        unsigned cache_id; /* the same for the last-level cache */
};

struct machine {
        struct cpulist online;
        bool assumed;             /* the tree names none of the certain CPUs: those it is */
        unsigned cpu_limit;       /* one above the highest number online */
        struct machine_cpu *cpus; /* by number; of those not online only the node is known */
        unsigned node_count;
        unsigned *node_ids; /* rising */
        unsigned char *distances;
};

/* `certain`: CPUs known to be there, believed in when the tree (of a container, say) has none of
 * them; or NULL. 0, -ENOMEM, or -EINVAL: no CPU. */
int machine_read(struct machine *out, struct tree *t, const struct cpulist *certain);
void machine_fini(struct machine *m);

#endif
