/* SPDX-License-Identifier: MIT
 *
 * On this machine: what is read agrees with the kernel, threads go where they are bound, memory can
 * be had whatever the node says. Then all of it again with a node folder that lies: this program
 * starts itself in a mount namespace where two made-up nodes lie over the real ones.
 */
#define _GNU_SOURCE
#include "place/memory.h"
#include "place/placement.h"

#include "../tap.h"
#include "sandbox.h"

#include <numa.h>
#include <pthread.h>
#include <sys/mount.h>

enum { CHECKS = 18, PAGE_MAX = 65536 };

static bool is_zero_and_usable(char *memory, size_t bytes)
{
        for (size_t i = 0; i < bytes; i++) {
                if (memory[i])
                        return false;
        }
        memset(memory, 0xa5, bytes);
        return true;
}

static void check_memory(void)
{
        static const int nodes[] = {-1, 0, 1, 63, 1023, 1024, 1 << 30};
        unsigned good = 0;

        for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
                char *memory = memory_map(3 * PAGE_MAX + 1, nodes[i]);

                good += memory && is_zero_and_usable(memory, 3 * PAGE_MAX + 1);
                memory_unmap(memory, 3 * PAGE_MAX + 1);
        }
        tap_is(good, sizeof nodes / sizeof *nodes, "memory on any node, or none");
        tap_ok(!memory_map(0, 0) && !memory_map(SIZE_MAX, 0) && !memory_map(SIZE_MAX / 2, -1),
               "no memory: NULL");
        memory_unmap(NULL, 4096);
}

static void check_topology(void)
{
        struct topology_input input = {.root = "/"};
        struct topology first, again;
        cpu_set_t allowed;
        unsigned agreed = 0;

        tap_is(topology_read(&first, &input), 0, "this machine is read");
        tap_is(topology_read(&again, &input), 0, "and once more");
        sched_getaffinity(0, sizeof allowed, &allowed);
        for (unsigned i = 0; i < first.cpu_count; i++)
                agreed += CPU_ISSET(first.cpus[i].id, &allowed) != 0;
        tap_is(agreed, CPU_COUNT(&allowed), "the usable CPUs are those of the affinity");
        tap_ok(again.cpu_count == first.cpu_count && again.online_count == first.online_count &&
                       again.quota_cpus == first.quota_cpus,
               "both times the same");
        tap_ok(first.online_count == (unsigned)sysconf(_SC_NPROCESSORS_ONLN) &&
                       first.cpu_limit >= first.online_count,
               "CPUs online: %u", first.online_count);
        topology_fini(&first);
        topology_fini(&again);
}

/* On a thread of its own, for it changes the thread's affinity. */
static void *run_bound(void *argument)
{
        const struct placement *p = argument;
        size_t wrong = 0;

        for (unsigned i = 0; i < p->worker_count; i++) {
                wrong += placement_bind_thread(p, i) != 0;
                sched_yield();
                wrong += (unsigned)sched_getcpu() != p->workers[i].cpu;
        }
        return (void *)wrong;
}

/* The affinity of the calling thread counts, also while the machine is remembered. */
static void *run_restricted(void *argument)
{
        struct topology *t = argument;
        struct topology_input input = {.root = "/"};
        cpu_set_t one;

        CPU_ZERO(&one);
        CPU_SET((unsigned)sched_getcpu(), &one);
        if (sched_setaffinity(0, sizeof one, &one) != 0 || topology_read(t, &input) != 0)
                return (void *)1;
        return NULL;
}

static void *on_thread(void *(*run)(void *), void *argument)
{
        pthread_t thread;
        void *result;

        if (pthread_create(&thread, NULL, run, argument) != 0)
                return (void *)1;
        pthread_join(thread, &result);
        return result;
}

static void check_binding(void)
{
        struct topology_input input = {.root = "/"};
        struct placement_input placing = {.pin = true, .rotation = (unsigned)getpid()};
        struct topology t, small;
        struct placement p;

        topology_read(&t, &input);
        placing.topology = &t;
        placing.workers = t.cpu_count;
        tap_is(placement_make(&p, &placing), 0, "placed");
        tap_ok(on_thread(run_bound, &p) == NULL, "pinned threads run on their home CPUs");
        placement_fini(&p);
        placing.pin = false;
        placement_make(&p, &placing);
        tap_ok(p.workers[0].mask && placement_bind_thread(&p, 0) == 0, "bound by the default");
        placement_fini(&p);
        tap_ok(on_thread(run_restricted, &small) == NULL && small.cpu_count == 1,
               "a thread with one CPU sees one");
        topology_fini(&small);
        topology_fini(&t);
}

static void check_absent_cpu(void)
{
        struct topology_input input = {
                .root = tree_make("far", "sys/devices/system/cpu/online: 900-901")};
        struct topology t;
        struct placement_input placing = {.topology = &t, .pin = true};
        struct placement p;

        topology_read(&t, &input);
        placement_make(&p, &placing);
        tap_is(placement_bind_thread(&p, 0), -EINVAL, "a CPU that is not there");
        placement_fini(&p);
        topology_fini(&t);
}

/* What the program does where two nodes lie over the real ones. The exit status has a bit for each
 * thing that is wrong. */
static int run_overlaid(void)
{
        struct topology_input input = {.root = "/"};
        struct topology t;
        struct placement_input placing = {.topology = &t, .workers = 4};
        struct placement p;
        int wrong = 0;
        char *memory;

        if (topology_read(&t, &input) != 0)
                return 1;
        wrong |= (t.node_count != 2 || t.nodes[1].id != 1 || t.nodes[1].cpu_count > 1) << 1;
        wrong |= (t.node_count == 2 && topology_distance(&t, 0, 1) != 27) << 2;
        if (placement_make(&p, &placing) != 0)
                return 1;
        for (unsigned i = 0; i < p.worker_count; i++)
                wrong |= (placement_bind_thread(&p, i) != 0) << 3;
        wrong |= (numa_available() == 0 && numa_num_configured_nodes() != 2) << 4;
        memory = memory_map(PAGE_MAX, 1);
        wrong |= (!memory || !is_zero_and_usable(memory, PAGE_MAX)) << 5;
        memory_unmap(memory, PAGE_MAX);
        placement_fini(&p);
        topology_fini(&t);
        return wrong;
}

/* A folder as the kernel would show it, for libnuma reads more of it than we do. */
static const char *make_nodes(void)
{
        static char nodes[2 * PATH_MAX];
        const char *root = tree_make(
                "nodes", "node0/cpulist: 0; node0/cpumap: 00000001; node0/distance: 10 27; "
                         "node1/cpulist: 1; node1/cpumap: 00000002; node1/distance: 27 10; "
                         "node0/meminfo: Node 0 MemTotal: 1048576 kB\nNode 0 MemFree: 524288 kB; "
                         "node1/meminfo: Node 1 MemTotal: 1048576 kB\nNode 1 MemFree: 524288 kB; "
                         "sys/devices/system/node/online: 0-1; "
                         "sys/devices/system/node/possible: 0-1; "
                         "sys/devices/system/node/has_cpu: 0-1; "
                         "sys/devices/system/node/has_memory: 0-1; "
                         "sys/devices/system/node/has_normal_memory: 0-1");

        snprintf(nodes, sizeof nodes, "%s/sys/devices/system/node", root);
        return nodes;
}

static void check_overlay(const char *self)
{
        enum { NOT_PERMITTED = 77 };
        const char *const what[] = {"reads",
                                    "two nodes",
                                    "their distance",
                                    "threads can be bound",
                                    "libnuma sees them",
                                    "memory of a node that is not there"};
        const char *nodes = make_nodes();
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
                if (unshare(CLONE_NEWNS) != 0 || mount("", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
                    mount(nodes, "/sys/devices/system/node", "", MS_BIND, "") != 0)
                        _exit(NOT_PERMITTED);
                execl(self, self, "--overlaid", (char *)NULL);
                _exit(NOT_PERMITTED);
        }
        if (child < 0 || waitpid(child, &status, 0) != child)
                status = -1;
        if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED) {
                tap_skip(6, "no mount namespace to start itself in (it takes root)");
                return;
        }
        if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
                tap_skip(6, "one CPU cannot be two nodes");
                return;
        }
        for (unsigned i = 0; i < 6; i++)
                tap_ok(WIFEXITED(status) && !(WEXITSTATUS(status) >> i & 1), "nodes that lie: %s",
                       what[i]);
}

int main(int count, char **arguments)
{
        char self[PATH_MAX] = "";

        unsetenv("SKUA_SYSROOT");
        if (count == 2 && strcmp(arguments[1], "--overlaid") == 0)
                return run_overlaid();
        tap_plan(CHECKS, 60);
        check_memory();
        check_topology();
        check_binding();
        check_absent_cpu();
        if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
                return 1;
        check_overlay(self);
        return tap_done();
}
