/* SPDX-License-Identifier: MIT
 *
 * skua-topo from the outside: exit status and output for good and bad arguments. The tool's source
 * is part of this program, so that there is no question of which one is run.
 */
#define _GNU_SOURCE
#define main topo_main
#include "../../tools/skua-topo.c"
#undef main

#include "../tap.h"
#include "sandbox.h"

#include <fcntl.h>

struct run {
        const char *arguments[8];
        int status;
        const char
                *out[4]; /* texts that stand in the output, or in the errors if status is not 0 */
};

#define TREE                                                                           \
        "sys/devices/system/cpu/online: 0-5; node0/cpulist: 0-1; node3/cpulist: 2-4; " \
        "node8/cpulist: ; node0/distance: 10 16 22; node3/distance: 17 10 22; "        \
        "node8/distance: 22 21 10; cpu2/topology/thread_siblings_list: 2-3; "          \
        "proc/self/status: x\nCpus_allowed_list: 0-4; sys/fs/cgroup/cpu.max: 350000 100000"

static const struct run runs[] = {
        {{"-r", "TREE"},
         0,
         {"CPUs      6 online, 5 usable: 0-4\nquota     3.5 CPUs (cgroup v2)\nthreads   2-3\n"
          "caches    0-1  2-4\n",
          "   3   17  10  22   2-4\n   8   22  21  10   (no usable CPU)\n",
          "4 workers on 2 of 3 nodes, each bound to its last-level cache (a quota: ",
          "     1     3     2  2-4            cache 3; nodes 0\n"}},
        {{"-r", "TREE", "-w", "6", "--pin", "-R", "1"},
         0,
         {"6 workers on 2 of 3 nodes, each bound to its home CPU (asked for: SKUA_PIN)\n"
          "node 8 has no worker; node 3 serves it\n",
          "     0     3     2  2              core 4-5; cache 2; nodes 0\n"}},
        {{"-nw1", "--root=TREE"},
         0,
         {"1 workers on 1 of 3 nodes, each bound to nothing (asked for: SKUA_NO_PIN)\n",
          "     0     0     0  any            nobody\n"}},
        {{"--help"}, 0, {"usage: skua-topo "}},
        {{"-w1"}, 0, {"\nI/O       "}},
        {{"-r", "/"}, 0, {"CPUs ", "\n     0  "}},
        {{"-w"}, 2, {"usage: "}},
        {{"-w", "0"}, 2, {"bad value for -w: 0\nusage: "}},
        {{"-w", "-1"}, 2, {"bad value for -w: -1\n"}},
        {{"-w", "4x"}, 2, {"bad value for -w: 4x\n"}},
        {{"-w", "99999999999999999999"}, 2, {"bad value"}},
        {{"-R", ""}, 2, {"bad value for -R: \n"}},
        {{"-r", ""}, 2, {"bad value for -r: \n"}},
        {{"-q"}, 2, {"usage: "}},
        {{"--quiet"}, 2, {"usage: "}},
        {{"-p", "-n"}, 2, {"exclude each other\nusage: "}},
        {{"here"}, 2, {"unexpected argument: here\nusage: "}},
        {{"-r", "/nonexistent"}, 1, {"cannot read the machine: No such file or directory\n"}},
        {{"-r", "TREE/proc"}, 1, {"cannot read the machine: no usable CPU in it\n"}},
};

enum { RUNS = sizeof runs / sizeof *runs };

static char tree_root[PATH_MAX];

/* In the child: does not return. */
static void run_tool(const struct run *r, const char *out_path, const char *error_path)
{
        static char texts[8][2 * PATH_MAX];
        char *arguments[10] = {"skua-topo"};
        int count = 1;

        for (; r->arguments[count - 1]; count++) {
                const char *given = r->arguments[count - 1], *tree = strstr(given, "TREE");
                int before = tree ? (int)(tree - given) : (int)strlen(given);

                snprintf(texts[count], sizeof texts[count], "%.*s%s%s", before, given,
                         tree ? tree_root : "", tree ? tree + 4 : "");
                arguments[count] = texts[count];
        }
        if (!freopen(out_path, "w", stdout) || !freopen(error_path, "w", stderr))
                _exit(9);
        count = topo_main(count, arguments);
        fflush(NULL);
        _exit(count);
}

static void read_text(const char *path, char *text, size_t size)
{
        int fd = open(path, O_RDONLY);
        ssize_t length = fd < 0 ? 0 : read(fd, text, size - 1);

        text[length > 0 ? length : 0] = '\0';
        close(fd);
}

static void check(const struct run *r)
{
        char out_path[128], error_path[128], text[16384];
        bool good;
        int status = 0;
        pid_t child;

        snprintf(out_path, sizeof out_path, "%s/out", sandbox());
        snprintf(error_path, sizeof error_path, "%s/errors", sandbox());
        child = fork();
        if (child == 0)
                run_tool(r, out_path, error_path);
        waitpid(child, &status, 0);
        read_text(r->status ? error_path : out_path, text, sizeof text);
        good = WIFEXITED(status) && WEXITSTATUS(status) == r->status;
        for (unsigned i = 0; i < 4 && r->out[i]; i++)
                good = good && strstr(text, r->out[i]);
        if (!tap_ok(good, "skua-topo %s %s%s", r->arguments[0],
                    r->arguments[1] ? r->arguments[1] : "", r->arguments[2] ? " ..." : ""))
                printf("# status %d, printed:\n%s\n", WEXITSTATUS(status), text);
}

static void check_full_disk(void)
{
        static const struct run r = {{"-r", "/"}, 1, {"cannot write"}};
        int status = 0;
        pid_t child = fork();

        if (child == 0)
                run_tool(&r, "/dev/full", "/dev/null");
        waitpid(child, &status, 0);
        tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "output that cannot be written");
}

int main(void)
{
        unsetenv("SKUA_SYSROOT");
        tap_plan(RUNS + 1, 60);
        snprintf(tree_root, sizeof tree_root, "%s", tree_make("tree", TREE));
        for (unsigned i = 0; i < RUNS; i++)
                check(&runs[i]);
        check_full_disk();
        return tap_done();
}
