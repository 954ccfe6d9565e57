/* SPDX-License-Identifier: MIT
 *
 * The machine cut to what this process may use: affinity, the caller's wish, and in recorded trees
 * the cpuset that was recorded with them.
 *
 * Reading costs some 50 small files, more than the rest of a start. So what was read of this
 * machine is kept for a second, for programs that start many runtimes; the affinity, which belongs
 * to the calling thread, is asked for every time.
 */
#define _GNU_SOURCE
#include "place/topology.h"

#include "place/cgroup.h"
#include "place/cpulist.h"
#include "place/machine.h"
#include "place/tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEEP_S = 1 };

static struct {
        pthread_mutex_t lock;
        bool full;
        struct timespec read_at;
        struct machine machine;
        struct cgroup_quota quota;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* "Cpus_allowed_list:" of a recorded process. */
static bool read_status(struct tree *t, struct cpulist *out)
{
        static const char key[] = "\nCpus_allowed_list:";
        const char *text = tree_read(t, "proc/self/status");

        text = text ? strstr(text, key) : NULL;
        return text && cpulist_parse(out, text + sizeof key - 1) && cpulist_count(out);
}

/* The CPUs that may be used. True: the kernel says so, now. */
static bool read_affinity(struct tree *t, const struct topology_input *input, struct cpulist *out)
{
        struct cpulist cpuset;

        if (input->affinity) {
                cpulist_from_set(out, input->affinity, input->affinity_size);
                return false;
        }
        memset(out, 0xff, sizeof *out);
        if (!t->recorded) {
                memset(&cpuset, 0, sizeof cpuset);
                if (sched_getaffinity(0, sizeof cpuset, (cpu_set_t *)(void *)&cpuset) != 0)
                        return false;
                *out = cpuset;
                return true;
        }
        if (read_status(t, &cpuset))
                *out = cpuset;
        if (cgroup_read_cpus(t, &cpuset))
                cpulist_intersect(out, &cpuset);
        return false;
}

static int cut(struct topology *out, const struct machine *m, const struct cpulist *usable)
{
        size_t distances_bytes = (size_t)m->node_count * m->node_count;

        out->online_count = cpulist_count(&m->online);
        out->cpu_limit = m->cpu_limit;
        out->node_count = m->node_count;
        if (!cpulist_count(usable))
                return -EINVAL;
        out->cpus = malloc(cpulist_count(usable) * sizeof *out->cpus);
        out->nodes = malloc(m->node_count * sizeof *out->nodes);
        out->cpu_node = malloc(m->cpu_limit * sizeof *out->cpu_node);
        out->distances = malloc(distances_bytes);
        if (!out->cpus || !out->nodes || !out->cpu_node || !out->distances)
                return -ENOMEM;
        memcpy(out->distances, m->distances, distances_bytes);
        for (unsigned i = 0; i < m->node_count; i++)
                out->nodes[i] = (struct topology_node){m->node_ids[i], 0};
        for (unsigned i = 0; i < m->cpu_limit; i++)
                out->cpu_node[i] = m->cpus[i].node_index;
        cpulist_for_each(cpu, usable)
        {
                const struct machine_cpu *c = &m->cpus[cpu];

                out->cpus[out->cpu_count++] = (struct topology_cpu){cpu, c->node_index, c->core_id,
                                                                    c->cache_id};
                out->nodes[c->node_index].cpu_count++;
        }
        return 0;
}

static int cut_to(struct topology *out, const struct machine *m, const struct cgroup_quota *quota,
                  struct cpulist *usable)
{
        cpulist_intersect(usable, &m->online);
        out->quota_cpus = quota->cpus;
        out->quota_source = quota->source;
        return cut(out, m, usable);
}

static void before_fork(void)
{
        pthread_mutex_lock(&kept.lock);
}

static void after_fork(void)
{
        pthread_mutex_unlock(&kept.lock);
}

/* A child of fork must not find it held by a thread that it does not have. */
static void watch_forks(void)
{
        pthread_atfork(before_fork, after_fork, after_fork);
}

static void lock_kept(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, watch_forks);
        pthread_mutex_lock(&kept.lock);
}

static bool is_fresh(const struct timespec *now)
{
        return kept.full && !kept.machine.assumed &&
               (now->tv_sec - kept.read_at.tv_sec) * 1000000000ll + now->tv_nsec <
                       KEEP_S * 1000000000ll + kept.read_at.tv_nsec;
}

static int read_this_machine(struct topology *out, struct tree *t, struct cpulist *usable,
                             const struct cpulist *certain)
{
        struct timespec now = {0,
                               0}; /* if the clock fails: what is kept serves, and not for long */
        int error = 0;

        clock_gettime(CLOCK_MONOTONIC, &now);
        lock_kept();
        if (!is_fresh(&now)) {
                if (kept.full)
                        machine_fini(&kept.machine);
                cgroup_read_quota(t, &kept.quota);
                error = machine_read(&kept.machine, t, certain);
                kept.full = !error;
                kept.read_at = now;
        }
        if (!error)
                error = cut_to(out, &kept.machine, &kept.quota, usable);
        pthread_mutex_unlock(&kept.lock);
        return error;
}

static int read_recorded(struct topology *out, struct tree *t, struct cpulist *usable)
{
        struct machine machine;
        struct cgroup_quota quota;
        int error;

        cgroup_read_quota(t, &quota);
        error = machine_read(&machine, t, NULL);
        if (error)
                return error;
        error = cut_to(out, &machine, &quota, usable);
        machine_fini(&machine);
        return error;
}

static int read_topology(struct topology *out, struct tree *t, const struct topology_input *input)
{
        struct cpulist allowed, usable, wish;
        bool known = read_affinity(t, input, &allowed);

        usable = allowed;
        if (input->cpus) {
                cpulist_from_set(&wish, input->cpus, input->cpus_size);
                cpulist_intersect(&usable, &wish);
        }
        if (t->recorded)
                return read_recorded(out, t, &usable);
        return read_this_machine(out, t, &usable, known ? &allowed : NULL);
}

int topology_read(struct topology *out, const struct topology_input *input)
{
        const char *root = input->root ? input->root : secure_getenv("SKUA_SYSROOT");
        struct tree tree;
        int error = tree_open(&tree, root && *root ? root : "/");

        memset(out, 0, sizeof *out);
        if (error)
                return error;
        error = read_topology(out, &tree, input);
        tree_close(&tree);
        if (error)
                topology_fini(out);
        return error;
}

void topology_fini(struct topology *t)
{
        free(t->cpus);
        free(t->nodes);
        free(t->cpu_node);
        free(t->distances);
        memset(t, 0, sizeof *t);
}

unsigned topology_distance(const struct topology *t, unsigned from_index, unsigned to_index)
{
        return t->distances[from_index * t->node_count + to_index];
}
