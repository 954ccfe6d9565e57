/* SPDX-License-Identifier: MIT
 *
 * A group's folder is its hierarchy's mount point plus the group's path, less the part of the path
 * that the mount hides (its root, in containers). The folder and all above it, up to the mount
 * point, are looked at; what is missing says nothing.
 */
#define _GNU_SOURCE
#include "place/cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        FIELDS_MAX = 24,   /* of a line of mountinfo: 10, and a few tags */
        PERIOD_US = 100000 /* the kernel's default */
};

struct hierarchy {
        const char *controller; /* NULL: version 2, which has all */
        const char *type;       /* of its file system */
        const char *usual[3];   /* mount points, where no table of mounts has it */
};

static const struct hierarchy unified = {
        NULL, "cgroup2", {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}};
static const struct hierarchy v1_cpu = {
        "cpu", "cgroup", {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"}};
static const struct hierarchy v1_cpuset = {
        "cpuset", "cgroup", {"/sys/fs/cgroup/cpuset", "/dev/cpuset"}};

/* A mount as far as it matters here. */
struct mount {
        const char *root, *point, *type, *options;
};

/* A group's folder; its first `mount_length` bytes are the mount point. */
struct folder {
        char path[PATH_MAX];
        size_t mount_length;
};

/* Returns true to stop. */
typedef bool visit_fn(struct tree *t, const char *folder, void *out);

static bool list_has(const char *list, const char *word)
{
        size_t length = strlen(word);

        for (; *list; list += list[strcspn(list, ",")] ? strcspn(list, ",") + 1 : strlen(list)) {
                if (strncmp(list, word, length) == 0 && (!list[length] || list[length] == ','))
                        return true;
        }
        return false;
}

static char *next_line(char **text)
{
        char *line = *text;

        if (!*line)
                return NULL;
        *text += strcspn(line, "\n");
        if (**text)
                *(*text)++ = '\0';
        return line;
}

/* Mount tables write blanks in names as \040. */
static void unescape(char *name)
{
        char *out = name;

        while (*name) {
                if (name[0] == '\\' && strspn(name + 1, "01234567") >= 3) {
                        *out++ = (char)((name[1] - '0') << 6 | (name[2] - '0') << 3 |
                                        (name[3] - '0'));
                        name += 4;
                } else {
                        *out++ = *name++;
                }
        }
        *out = '\0';
}

static unsigned split(char *line, char *fields[FIELDS_MAX])
{
        unsigned count = 0;
        char *rest = NULL;

        for (char *f = strtok_r(line, " ", &rest); f && count < FIELDS_MAX;
             f = strtok_r(NULL, " ", &rest))
                fields[count++] = f;
        return count;
}

/* id parent device ROOT POINT options tags... - TYPE source OPTIONS */
static bool parse_mountinfo(char *line, struct mount *out)
{
        char *fields[FIELDS_MAX];
        unsigned count = split(line, fields), dash = 6;

        while (dash < count && strcmp(fields[dash], "-") != 0)
                dash++;
        if (dash + 3 >= count)
                return false;
        unescape(fields[3]);
        unescape(fields[4]);
        *out = (struct mount){fields[3], fields[4], fields[dash + 1], fields[dash + 3]};
        return true;
}

/* source POINT TYPE OPTIONS 0 0 */
static bool parse_mounts(char *line, struct mount *out)
{
        char *fields[FIELDS_MAX];

        if (split(line, fields) < 4)
                return false;
        unescape(fields[1]);
        *out = (struct mount){"/", fields[1], fields[2], fields[3]};
        return true;
}

static bool is_of(const struct mount *m, const struct hierarchy *h)
{
        if (!h->controller)
                return strcmp(m->type, h->type) == 0;
        return strcmp(m->type, h->controller) == 0 || /* the cpuset file system of old */
               (strcmp(m->type, h->type) == 0 && list_has(m->options, h->controller));
}

/* The part of a group's path that can be seen below a mount of `root`. NULL: it lies elsewhere. */
static const char *visible_part(const char *group, const char *root)
{
        size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);

        if (strncmp(group, root, length) != 0 || (group[length] && group[length] != '/') ||
            strstr(group, "/.."))
                return NULL;
        return strcmp(group + length, "/") == 0 ? "" : group + length;
}

static bool make_folder(struct folder *out, const char *mount_point, const char *part)
{
        int length = snprintf(out->path, sizeof out->path, "%s%s", mount_point, part);

        out->mount_length = strlen(mount_point);
        return length >= 0 && (size_t)length < sizeof out->path;
}

/* The first mount that shows the group, else the first of this hierarchy. */
static bool find_folder(struct tree *t, const struct hierarchy *h, const char *group,
                        struct folder *out)
{
        static const char *const tables[] = {"proc/self/mountinfo", "proc/self/mounts",
                                             "proc/mounts"};
        struct mount mount;
        bool found = false;

        for (unsigned i = 0; i < 3 && !found; i++) {
                char *text = tree_read(t, "%s", tables[i]), *line;

                while (text && (line = next_line(&text))) {
                        const char *part;

                        if (!(i == 0 ? parse_mountinfo : parse_mounts)(line, &mount) ||
                            !is_of(&mount, h))
                                continue;
                        part = visible_part(group, mount.root);
                        if ((part || !found) && make_folder(out, mount.point, part ? part : ""))
                                found = true;
                        if (part)
                                break;
                }
        }
        return found;
}

/* The line "N:controllers:path" of a hierarchy; false: the process is in no group of it. */
static bool find_group(struct tree *t, const struct hierarchy *h, char group[PATH_MAX])
{
        char *text = tree_read(t, "proc/self/cgroup"), *line;
        bool has_table = text != NULL;

        while (text && (line = next_line(&text))) {
                char *controllers = strchr(line, ':'), *path;

                if (!controllers || !(path = strchr(++controllers, ':')))
                        continue;
                *path++ = '\0';
                if (h->controller ? !list_has(controllers, h->controller) : *controllers != '\0')
                        continue;
                return snprintf(group, PATH_MAX, "%s", path) < PATH_MAX;
        }
        if (has_table)
                return false;
        /* Recorded before that file was thought worth it. */
        text = tree_read(t, "proc/self/cpuset");
        if (!text || !(line = next_line(&text)))
                line = "/";
        return snprintf(group, PATH_MAX, "%s", line) < PATH_MAX;
}

static bool walk_up(struct tree *t, struct folder *folder, visit_fn *visit, void *out)
{
        size_t length = strlen(folder->path);

        for (;;) {
                if (visit(t, folder->path, out))
                        return true;
                if (length <= folder->mount_length)
                        return false;
                while (length > folder->mount_length && folder->path[--length] != '/')
                        ;
                folder->path[length] = '\0';
        }
}

/* Visits the group and its ancestors, from the inside. */
static bool walk(struct tree *t, const struct hierarchy *h, visit_fn *visit, void *out)
{
        char group[PATH_MAX];
        struct folder folder;

        if (!find_group(t, h, group))
                return false;
        if (find_folder(t, h, group, &folder))
                return walk_up(t, &folder, visit, out);
        for (unsigned i = 0; h->usual[i]; i++) {
                const char *part = visible_part(group, "/");

                if (make_folder(&folder, h->usual[i], part ? part : "") &&
                    walk_up(t, &folder, visit, out))
                        return true;
        }
        return false;
}

static void take_quota(struct cgroup_quota *out, long long quota_us, long long period_us,
                       const char *source)
{
        double cpus;

        if (quota_us <= 0 || period_us <= 0)
                return;
        cpus = (double)quota_us / (double)period_us;
        if (out->cpus != 0 && out->cpus <= cpus)
                return;
        out->cpus = cpus;
        out->source = source;
}

/* "QUOTA PERIOD" or "max PERIOD" */
static bool visit_v2_quota(struct tree *t, const char *folder, void *out)
{
        const char *text = tree_read(t, "%s/cpu.max", folder);
        long long quota_us;
        char *rest;

        if (!text)
                return false;
        quota_us = strtoll(text, &rest, 10);
        take_quota(out, quota_us, *rest == ' ' ? strtoll(rest, NULL, 10) : PERIOD_US, "cgroup v2");
        return false;
}

static bool visit_v1_quota(struct tree *t, const char *folder, void *out)
{
        const char *text = tree_read(t, "%s/cpu.cfs_quota_us", folder);
        long long quota_us = text ? strtoll(text, NULL, 10) : -1;

        if (quota_us <= 0)
                return false;
        text = tree_read(t, "%s/cpu.cfs_period_us", folder);
        take_quota(out, quota_us, text ? strtoll(text, NULL, 10) : PERIOD_US, "cgroup v1");
        return false;
}

void cgroup_read_quota(struct tree *t, struct cgroup_quota *out)
{
        *out = (struct cgroup_quota){0, ""};
        walk(t, &unified, visit_v2_quota, out);
        walk(t, &v1_cpu, visit_v1_quota, out);
}

static bool visit_cpus(struct tree *t, const char *folder, void *out)
{
        static const char *const names[] = {"cpuset.cpus.effective", "cpuset.effective_cpus",
                                            "cpuset.cpus", "cpus"};

        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
                const char *text = tree_read(t, "%s/%s", folder, names[i]);

                if (text && cpulist_parse(out, text) && cpulist_count(out))
                        return true;
        }
        return false;
}

bool cgroup_read_cpus(struct tree *t, struct cpulist *out)
{
        return walk(t, &v1_cpuset, visit_cpus, out) || walk(t, &unified, visit_cpus, out);
}
