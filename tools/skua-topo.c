/* SPDX-License-Identifier: MIT
 *
 * skua-topo: what the runtime sees of a machine, by which path it would do I/O, where it would put
 * its workers, what it would bind them to and whom each would rob first. It is the one tool that is
 * built with the library's private objects and headers: placement is no part of the public
 * interface, and a second reader of it here would sooner or later tell something else than what the
 * runtime does.
 */
#define _GNU_SOURCE
#include "io/ring.h"
#include "place/placement.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, WORKERS_MAX = 4096 };

struct options {
        struct topology_input tree;
        struct placement_input placing;
};

static const char usage[] =
        "usage: skua-topo [-w N] [-p | -n] [-r DIR] [-R N]\n"
        "Prints what the runtime sees of this machine and where it would put its workers.\n"
        "  -w, --workers N   as many workers (default: the usable CPUs, cut to the quota)\n"
        "  -p, --pin         with SKUA_PIN\n"
        "  -n, --no-pin      with SKUA_NO_PIN\n"
        "  -r, --root DIR    a recorded machine: DIR holds its sys and proc (default: "
        "$SKUA_SYSROOT,\n"
        "                    else /)\n"
        "  -R, --rotation N  begin with the N-th node; a runtime takes its process id (default: "
        "0)\n"
        "  -h, --help        this text\n";

static const struct option long_options[] = {
        {"workers", required_argument, NULL, 'w'},
        {"pin", no_argument, NULL, 'p'},
        {"no-pin", no_argument, NULL, 'n'},
        {"root", required_argument, NULL, 'r'},
        {"rotation", required_argument, NULL, 'R'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
};

static bool parse_number(const char *text, unsigned long limit, unsigned *out)
{
        char *end;
        unsigned long value;

        errno = 0;
        value = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || errno || value > limit)
                return false;
        *out = (unsigned)value;
        return true;
}

static bool parse_option(struct options *o, int option)
{
        switch (option) {
        case 'w':
                return parse_number(optarg, WORKERS_MAX, &o->placing.workers) &&
                       o->placing.workers > 0;
        case 'p':
                o->placing.pin = true;
                return true;
        case 'n':
                o->placing.no_pin = true;
                return true;
        case 'r':
                o->tree.root = optarg;
                return *optarg != '\0';
        case 'R':
                return parse_number(optarg, UINT_MAX, &o->placing.rotation);
        case 'h':
                fputs(usage, stdout);
                exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
        default:
                return false; /* getopt has said why */
        }
}

static void parse_options(struct options *o, int count, char **arguments)
{
        int option;

        while ((option = getopt_long(count, arguments, "w:pnr:R:h", long_options, NULL)) != -1) {
                if (parse_option(o, option))
                        continue;
                if (option != '?')
                        fprintf(stderr, "skua-topo: bad value for -%c: %s\n", option, optarg);
                fputs(usage, stderr);
                exit(EXIT_USAGE);
        }
        if (optind < count)
                fprintf(stderr, "skua-topo: unexpected argument: %s\n", arguments[optind]);
        else if (o->placing.pin && o->placing.no_pin)
                fprintf(stderr, "skua-topo: -p and -n exclude each other\n");
        else
                return;
        fputs(usage, stderr);
        exit(EXIT_USAGE);
}

/* Writes rising numbers as "0-3,8", one range_add() for each, then range_end(). */
struct ranges {
        FILE *out;
        unsigned first, last, count;
};

static void range_end(struct ranges *r)
{
        if (r->count && r->last > r->first)
                fprintf(r->out, "-%u", r->last);
}

static void range_add(struct ranges *r, unsigned number)
{
        if (r->count++ && number == r->last + 1) {
                r->last = number;
                return;
        }
        if (r->count > 1) {
                range_end(r);
                fputc(',', r->out);
        }
        fprintf(r->out, "%u", number);
        r->first = r->last = number;
}

enum group_kind { BY_NODE, BY_CORE, BY_CACHE };

static unsigned group_of(const struct topology_cpu *cpu, enum group_kind kind)
{
        const unsigned groups[] = {cpu->node_index, cpu->core_id, cpu->cache_id};

        return groups[kind];
}

static void print_group(const struct topology *t, enum group_kind kind, unsigned group)
{
        struct ranges r = {.out = stdout};

        for (unsigned i = 0; i < t->cpu_count; i++) {
                if (group_of(&t->cpus[i], kind) == group)
                        range_add(&r, t->cpus[i].id);
        }
        range_end(&r);
}

static unsigned group_size(const struct topology *t, enum group_kind kind, unsigned group)
{
        unsigned size = 0;

        for (unsigned i = 0; i < t->cpu_count; i++)
                size += group_of(&t->cpus[i], kind) == group;
        return size;
}

/* Is this the CPU under which its group is printed: the lowest usable one? */
static bool leads(const struct topology *t, enum group_kind kind, unsigned index)
{
        for (unsigned i = 0; i < index; i++) {
                if (group_of(&t->cpus[i], kind) == group_of(&t->cpus[index], kind))
                        return false;
        }
        return true;
}

static void print_groups(const struct topology *t, enum group_kind kind, unsigned smallest,
                         const char *title, const char *none)
{
        unsigned printed = 0;

        printf("%-10s", title);
        for (unsigned i = 0; i < t->cpu_count; i++) {
                unsigned group = group_of(&t->cpus[i], kind);

                if (!leads(t, kind, i) || group_size(t, kind, group) < smallest)
                        continue;
                printf("%s", printed++ ? "  " : "");
                print_group(t, kind, group);
        }
        printf("%s\n", printed ? "" : none);
}

/* By which path a worker of this process would do I/O; a recorded machine has none. */
static void print_ring(const struct options *o)
{
        struct ring_wish wish = {.entries = 8, .deferred = true};
        struct io_ring ring;
        int error;

        if (o->tree.root || getenv("SKUA_SYSROOT"))
                return;
        error = ring_open(&ring, &wish);
        if (error) {
                printf("I/O       none: %s\n", strerror(-error));
                return;
        }
        if (ring.fallback)
                printf("I/O       epoll, because io_uring_setup: %s\n", strerror(-ring.error));
        else
                printf("I/O       io_uring%s%s\n", ring.deferred ? ", deferred task work" : "",
                       ring.futex ? ", futex wait" : "");
        ring_leave(&ring);
        ring_close(&ring);
}

static void print_machine(const struct topology *t, const struct options *o)
{
        struct ranges r = {.out = stdout};

        printf("CPUs      %u online, %u usable: ", t->online_count, t->cpu_count);
        for (unsigned i = 0; i < t->cpu_count; i++)
                range_add(&r, t->cpus[i].id);
        range_end(&r);
        if (t->quota_cpus > 0)
                printf("\nquota     %g CPUs (%s)\n", t->quota_cpus, t->quota_source);
        else
                printf("\nquota     none\n");
        print_groups(t, BY_CORE, 2, "threads", "one to a core");
        print_groups(t, BY_CACHE, 1, "caches", "");
        print_ring(o);
        printf("\nnode  distance to each, in this order; usable CPUs\n");
        for (unsigned i = 0; i < t->node_count; i++) {
                printf("%4u ", t->nodes[i].id);
                for (unsigned k = 0; k < t->node_count; k++)
                        printf(" %3u", topology_distance(t, i, k));
                printf("   ");
                print_group(t, BY_NODE, i);
                puts(t->nodes[i].cpu_count ? "" : "(no usable CPU)");
        }
}

/* The CPUs that a worker is bound to; to be freed. */
static char *mask_text(const struct placement *p, const struct placement_worker *w)
{
        char *text = NULL;
        size_t length;
        struct ranges r = {.out = open_memstream(&text, &length)};

        if (!r.out)
                return NULL;
        for (unsigned cpu = 0; w->mask && cpu < p->mask_size * CHAR_BIT; cpu++) {
                if (CPU_ISSET_S(cpu, p->mask_size, w->mask))
                        range_add(&r, cpu);
        }
        range_end(&r);
        return fclose(r.out) == 0 ? text : NULL;
}

/* Ring by ring; of remote nodes only their numbers. */
static void print_victims(const struct placement *p, const struct placement_worker *w)
{
        static const char *const names[] = {"core", "cache", "node", "nodes"};
        unsigned kind = ~0u;

        for (unsigned i = 0; i < w->ring_count; i++) {
                const struct placement_ring *ring = &w->rings[i];
                struct ranges r = {.out = stdout};

                if (ring->kind != kind)
                        printf("%s%s", i ? "; " : "", names[ring->kind]);
                putchar(' ');
                kind = ring->kind;
                if (kind == PLACE_RING_REMOTE) {
                        printf("%u", p->nodes[ring->node_index].id);
                        continue;
                }
                for (unsigned k = ring->begin; k < ring->end; k++)
                        range_add(&r, w->victims[k]);
                range_end(&r);
        }
        puts(w->ring_count ? "" : "nobody");
}

/* The binding's column is as wide as it must be. */
static bool print_workers(const struct placement *p)
{
        size_t width = sizeof "bound to CPUs" - 1;

        for (unsigned pass = 0; pass < 2; pass++) {
                if (pass == 1)
                        printf("\nworker  node   CPU  %-*s  robs first the workers\n", (int)width,
                               "bound to CPUs");
                for (unsigned i = 0; i < p->worker_count; i++) {
                        const struct placement_worker *w = &p->workers[i];
                        char *mask = mask_text(p, w);

                        if (!mask)
                                return false;
                        if (pass == 0 && strlen(mask) > width)
                                width = strlen(mask);
                        if (pass == 1) {
                                printf("%6u  %4u  %4u  %-*s  ", i, p->nodes[w->node_index].id,
                                       w->cpu, (int)width, *mask ? mask : "any");
                                print_victims(p, w);
                        }
                        free(mask);
                }
        }
        return true;
}

static void print_placement(const struct topology *t, const struct placement *p)
{
        static const char *const bindings[] = {"its last-level cache", "its home CPU", "nothing"};

        printf("\n%u workers on %u of %u nodes, each bound to %s (%s)\n", p->worker_count,
               p->node_count, t->node_count, bindings[p->binding], p->binding_reason);
        for (unsigned i = 0; i < t->node_count; i++) {
                unsigned serving = p->nodes[p->system_node[t->nodes[i].id]].id;

                if (serving != t->nodes[i].id)
                        printf("node %u has no worker; node %u serves it\n", t->nodes[i].id,
                               serving);
        }
}

int main(int count, char **arguments)
{
        struct options o = {.placing = {.rotation = 0}};
        struct topology t;
        struct placement p;
        bool complete;
        int error;

        parse_options(&o, count, arguments);
        error = topology_read(&t, &o.tree);
        if (error) {
                fprintf(stderr, "skua-topo: cannot read the machine: %s\n",
                        error == -EINVAL ? "no usable CPU in it" : strerror(-error));
                return EXIT_FAILURE;
        }
        o.placing.topology = &t;
        error = placement_make(&p, &o.placing);
        if (error) {
                fprintf(stderr, "skua-topo: cannot place the workers: %s\n", strerror(-error));
                topology_fini(&t);
                return EXIT_FAILURE;
        }
        print_machine(&t, &o);
        print_placement(&t, &p);
        complete = print_workers(&p) && fflush(stdout) == 0 && !ferror(stdout);
        if (!complete)
                fprintf(stderr, "skua-topo: cannot write: %s\n", strerror(errno));
        placement_fini(&p);
        topology_fini(&t);
        return complete ? EXIT_SUCCESS : EXIT_FAILURE;
}
