/* SPDX-License-Identifier: MIT
 *
 * Which worker lives where, and whom it robs first. Pure computation over a topology: no system
 * call except those that bind a thread or memory. Called by core/runtime.c and skua-topo.
 */
#ifndef PLACE_PLACEMENT_H
#define PLACE_PLACEMENT_H

#include "place/topology.h"

enum placement_binding { PLACE_BIND_CACHE, PLACE_BIND_CPU, PLACE_BIND_NONE };

/* The rings in which a worker looks for victims, nearest first: those on the same core (on the same
 * CPU, when there are more workers than CPUs), the same last-level cache, the same node, then one
 * ring for each other node, in the order of placement_node.order. */
enum { PLACE_RING_SMT, PLACE_RING_CACHE, PLACE_RING_NODE, PLACE_RING_REMOTE };

struct placement_ring {
        unsigned begin, end; /* into victims[] of the worker */
        unsigned kind;       /* PLACE_RING_ */
        unsigned node_index; /* the placement's node that its members are on */
};

struct placement_worker {
        unsigned cpu;        /* home CPU, the system's number */
        unsigned node_index; /* into placement.nodes[] */
        cpu_set_t *mask;     /* what to bind the thread to (never CPUs of another node, though a
                                cache may serve several); NULL: nothing */
        unsigned *victims; /* worker indexes, all others, by ring; within a ring by rising index */
        unsigned victim_count;
        struct placement_ring *rings;
        unsigned ring_count;
};

struct placement_node {
        unsigned id;     /* the system's number */
        unsigned *order; /* all placement nodes by distance, itself first; of equal ones, the
                            next higher first and round, so that not all turn to node 0 */
        unsigned worker_count;
};

struct placement {
        unsigned worker_count;
        struct placement_worker *workers;
        unsigned node_count; /* only nodes that have workers */
        struct placement_node *nodes;
        unsigned cpu_limit; /* length of cpu_node */
        unsigned *cpu_node; /* CPU number -> placement node, nearest for nodes without workers */
        unsigned system_node_limit; /* length of system_node */
        int *system_node;      /* system node number -> placement node (nearest with workers), or
                                  -1: no such node */
        size_t mask_size;      /* bytes of each mask */
        cpu_set_t *everywhere; /* all the CPUs that may be used; NULL: nobody is bound */
        enum placement_binding binding;
        const char *binding_reason; /* static text for skua-topo */
};

struct placement_input {
        const struct topology *topology;
        unsigned workers;  /* 0: placement_default_workers() */
        bool pin, no_pin;  /* SKUA_PIN, SKUA_NO_PIN */
        unsigned rotation; /* where the filling starts: the process id */
};

/* The usable CPUs, cut to the quota (rounded up), at least 1. */
unsigned placement_default_workers(const struct topology *t);

/* Homes are dealt out to the nodes in turn, as long as they have cores; then to second CPUs of
 * cores, in the same way, and so on; then from the start again. Successive rotations begin with
 * successive nodes, then with successive cores in them. 0 or -ENOMEM. */
int placement_make(struct placement *out, const struct placement_input *input);
void placement_fini(struct placement *p);

/* Binds the calling thread as worker `index` is to be. 0 or a negative errno (the caller logs it
 * and goes on: CPUs may have gone since). */
int placement_bind_thread(const struct placement *p, unsigned index);

/* The same for a thread that is no worker but may have been started by one: it may run anywhere. */
int placement_unbind_thread(const struct placement *p);

#endif
