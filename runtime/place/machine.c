/* SPDX-License-Identifier: MIT
 *
 * Where the tree contradicts itself, the file of the lowest number is believed: a CPU belongs to
 * the first node, core and cache that names it. What is missing gets the harmless default: a core
 * of its own, the whole node as the cache, one node, distance 20.
 */
#define _GNU_SOURCE
#include "place/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPU_FOLDER  "sys/devices/system/cpu"
#define NODE_FOLDER "sys/devices/system/node"

enum {
        CACHE_INDEXES = 8, /* cache folders of a CPU that are looked at */
        PATH_BYTES = 128,
        DISTANCE_LOCAL = 10,
        DISTANCE_REMOTE = 20,
        DISTANCE_MAX = 255
};

/* Online is what is listed, or has a folder, and has no file that says otherwise. */
static void read_online(struct machine *m, struct tree *t, const struct cpulist *certain)
{
        const char *text = tree_read(t, CPU_FOLDER "/online");
        struct cpulist common;

        if (!text || !cpulist_parse(&m->online, text) || !cpulist_count(&m->online))
                tree_scan(t, &m->online, CPU_FOLDER, "cpu");
        if (certain) {
                common = *certain;
                cpulist_intersect(&common, &m->online);
                m->assumed = !cpulist_count(&common);
                if (m->assumed)
                        m->online = *certain;
        }
        cpulist_for_each(cpu, &m->online)
        {
                text = tree_read(t, CPU_FOLDER "/cpu%u/online", cpu);
                if (text && text[strspn(text, " \t")] == '0')
                        cpulist_remove(&m->online, cpu);
        }
}

static int make_cpus(struct machine *m)
{
        cpulist_for_each(cpu, &m->online) m->cpu_limit = cpu + 1;
        if (!m->cpu_limit)
                return -EINVAL;
        m->cpus = malloc(m->cpu_limit * sizeof *m->cpus);
        if (!m->cpus)
                return -ENOMEM;
        for (unsigned i = 0; i < m->cpu_limit; i++)
                m->cpus[i] = (struct machine_cpu){MACHINE_NONE, MACHINE_NONE, MACHINE_NONE};
        return 0;
}

static bool read_core(struct tree *t, unsigned cpu, struct cpulist *out)
{
        static const char *const names[] = {"thread_siblings", "core_cpus"};
        char list_path[PATH_BYTES], mask_path[PATH_BYTES / 2];

        for (unsigned i = 0; i < 2; i++) {
                snprintf(mask_path, sizeof mask_path, CPU_FOLDER "/cpu%u/topology/%s", cpu,
                         names[i]);
                snprintf(list_path, sizeof list_path, "%s_list", mask_path);
                if (tree_read_list(t, out, list_path, mask_path) && cpulist_has(out, cpu))
                        return true;
        }
        return false;
}

/* The CPUs of the cache of highest level that holds data. From the top index down: levels rise
 * with it, and so the files of the lower ones need not be opened. */
static bool read_cache(struct tree *t, unsigned cpu, struct cpulist *out)
{
        unsigned long best_level = 0;

        for (unsigned i = CACHE_INDEXES; i-- > 0;) {
                char index[PATH_BYTES / 2], list_path[PATH_BYTES], mask_path[PATH_BYTES];
                struct cpulist shared;
                unsigned long level;
                const char *text;

                snprintf(index, sizeof index, CPU_FOLDER "/cpu%u/cache/index%u", cpu, i);
                text = tree_read(t, "%s/level", index);
                level = text ? strtoul(text, NULL, 10) : 0;
                if (level <= best_level)
                        continue;
                text = tree_read(t, "%s/type", index);
                if (text && strncmp(text, "Instruction", 11) == 0)
                        continue;
                snprintf(list_path, sizeof list_path, "%s/shared_cpu_list", index);
                snprintf(mask_path, sizeof mask_path, "%s/shared_cpu_map", index);
                if (!tree_read_list(t, &shared, list_path, mask_path) || !cpulist_has(&shared, cpu))
                        continue;
                best_level = level;
                *out = shared;
        }
        return best_level > 0;
}

typedef bool read_group_fn(struct tree *t, unsigned cpu, struct cpulist *out);

static unsigned *member(struct machine *m, unsigned cpu, size_t offset)
{
        return (unsigned *)(void *)((char *)&m->cpus[cpu] + offset);
}

/* A group takes the members that no lower CPU's list has taken, and the name of the lowest of them.
 * Those need not be asked any more. */
static void read_groups(struct machine *m, struct tree *t, read_group_fn *read, size_t offset)
{
        struct cpulist group;

        cpulist_for_each(cpu, &m->online)
        {
                unsigned name = MACHINE_NONE;

                if (*member(m, cpu, offset) != MACHINE_NONE || !read(t, cpu, &group))
                        continue;
                cpulist_intersect(&group, &m->online);
                cpulist_for_each(other, &group)
                {
                        if (*member(m, other, offset) != MACHINE_NONE)
                                continue;
                        if (name == MACHINE_NONE)
                                name = other;
                        *member(m, other, offset) = name;
                }
        }
}

static void read_node_cpus(struct machine *m, struct tree *t, unsigned index)
{
        char list_path[PATH_BYTES], mask_path[PATH_BYTES];
        struct cpulist cpus;

        snprintf(list_path, sizeof list_path, NODE_FOLDER "/node%u/cpulist", m->node_ids[index]);
        snprintf(mask_path, sizeof mask_path, NODE_FOLDER "/node%u/cpumap", m->node_ids[index]);
        if (!tree_read_list(t, &cpus, list_path, mask_path))
                return;
        for (unsigned cpu = 0; cpu < m->cpu_limit; cpu++) {
                if (cpulist_has(&cpus, cpu) && m->cpus[cpu].node_index == MACHINE_NONE)
                        m->cpus[cpu].node_index = index;
        }
}

/* No folder, or an empty one: the machine is one node, number 0. */
static int read_nodes(struct machine *m, struct tree *t)
{
        struct cpulist ids;

        tree_scan(t, &ids, NODE_FOLDER, "node");
        for (unsigned id = MACHINE_NODE_MAX; id < CPULIST_MAX; id++)
                cpulist_remove(&ids, id);
        if (!cpulist_count(&ids))
                cpulist_add(&ids, 0);
        m->node_ids = malloc(cpulist_count(&ids) * sizeof *m->node_ids);
        if (!m->node_ids)
                return -ENOMEM;
        cpulist_for_each(id, &ids) m->node_ids[m->node_count++] = id;
        for (unsigned i = 0; i < m->node_count; i++)
                read_node_cpus(m, t, i);
        return 0;
}

/* A CPU in no node goes to that of its core or cache, else to the first node that has any. */
static void fill_nodes(struct machine *m)
{
        unsigned first = MACHINE_NONE;

        for (unsigned i = 0; i < m->cpu_limit; i++) {
                if (m->cpus[i].node_index < first)
                        first = m->cpus[i].node_index;
        }
        if (first == MACHINE_NONE)
                first = 0;
        for (unsigned i = 0; i < m->cpu_limit; i++) {
                struct machine_cpu *c = &m->cpus[i];

                if (c->node_index == MACHINE_NONE && c->core_id != MACHINE_NONE)
                        c->node_index = m->cpus[c->core_id].node_index;
                if (c->node_index == MACHINE_NONE && c->cache_id != MACHINE_NONE)
                        c->node_index = m->cpus[c->cache_id].node_index;
                if (c->node_index == MACHINE_NONE)
                        c->node_index = first;
        }
}

/* A CPU of unknown core has one of its own; those of unknown caches share one in each node. */
static void fill_groups(struct machine *m)
{
        unsigned caches[MACHINE_NODE_MAX];

        memset(caches, 0xff, sizeof caches);
        cpulist_for_each(cpu, &m->online)
        {
                struct machine_cpu *c = &m->cpus[cpu];

                if (c->core_id == MACHINE_NONE)
                        c->core_id = cpu;
                if (c->cache_id != MACHINE_NONE)
                        continue;
                if (caches[c->node_index] == MACHINE_NONE)
                        caches[c->node_index] = cpu;
                c->cache_id = caches[c->node_index];
        }
}

/* Up to `limit` numbers; 0 when one of them is no distance. */
static unsigned parse_distances(const char *text, unsigned char *out, unsigned limit)
{
        unsigned count = 0;

        for (;;) {
                char *end;
                unsigned long distance;

                text += strspn(text, " \t\r\n");
                if (!*text)
                        return count;
                distance = strtoul(text, &end, 10);
                if (end == text || !distance || count == limit)
                        return 0;
                out[count++] = distance < DISTANCE_MAX ? (unsigned char)distance : DISTANCE_MAX;
                text = end;
        }
}

/* A row has one column for each node that was online: those that have a folder, unless the tree is
 * incomplete; then the list of the online ones must explain the row. */
static bool read_row(struct machine *m, struct tree *t, unsigned from)
{
        unsigned char values[MACHINE_NODE_MAX], *row = &m->distances[from * m->node_count];
        const char *text = tree_read(t, NODE_FOLDER "/node%u/distance", m->node_ids[from]);
        unsigned count = text ? parse_distances(text, values, MACHINE_NODE_MAX) : 0, column = 0;
        struct cpulist online;

        if (count == m->node_count) {
                memcpy(row, values, count);
                return true;
        }
        text = count ? tree_read(t, NODE_FOLDER "/online") : NULL;
        if (!text || !cpulist_parse(&online, text) || cpulist_count(&online) != count)
                return false;
        for (unsigned to = 0; to < m->node_count; to++) {
                if (!cpulist_has(&online, m->node_ids[to]))
                        return false;
        }
        cpulist_for_each(id, &online)
        {
                for (unsigned to = 0; to < m->node_count; to++) {
                        if (m->node_ids[to] == id)
                                row[to] = values[column];
                }
                column++;
        }
        return true;
}

static int read_distances(struct machine *m, struct tree *t)
{
        unsigned n = m->node_count;
        bool known[MACHINE_NODE_MAX];

        m->distances = malloc((size_t)n * n);
        if (!m->distances)
                return -ENOMEM;
        for (unsigned from = 0; from < n; from++)
                known[from] = n > 1 && read_row(m, t, from);
        for (unsigned from = 0; from < n; from++) {
                for (unsigned to = 0; to < n && !known[from]; to++)
                        m->distances[from * n + to] = from == to  ? DISTANCE_LOCAL
                                                      : known[to] ? m->distances[to * n + from]
                                                                  : DISTANCE_REMOTE;
        }
        return 0;
}

int machine_read(struct machine *out, struct tree *t, const struct cpulist *certain)
{
        int error;

        memset(out, 0, sizeof *out);
        read_online(out, t, certain);
        error = make_cpus(out);
        if (!error) {
                read_groups(out, t, read_core, offsetof(struct machine_cpu, core_id));
                read_groups(out, t, read_cache, offsetof(struct machine_cpu, cache_id));
                error = read_nodes(out, t);
        }
        if (!error) {
                fill_nodes(out);
                fill_groups(out);
                error = read_distances(out, t);
        }
        if (t->error)
                error = t->error;
        if (error)
                machine_fini(out);
        return error;
}

void machine_fini(struct machine *m)
{
        free(m->cpus);
        free(m->node_ids);
        free(m->distances);
        memset(m, 0, sizeof *m);
}
