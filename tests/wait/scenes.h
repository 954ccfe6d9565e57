/* SPDX-License-Identifier: MIT
 *
 * Scenes that end their process, each played in a child, of which the test looks at the end and at
 * what it has said.
 */
#ifndef TESTS_WAIT_SCENES_H
#define TESTS_WAIT_SCENES_H

#include <sys/resource.h>
#include <sys/wait.h>

#include "rig.h"

/* What became of a child. */
struct outcome {
        int status;
        char text[4096]; /* both of its outputs */
};

static inline struct outcome play(void (*scene)(void))
{
        struct outcome o = {.status = -1};
        size_t length = 0;
        ssize_t got;
        int ends[2];
        pid_t child;

        fflush(stdout);
        if (pipe(ends) || (child = fork()) < 0)
                return o;
        if (!child) {
                struct rlimit none = {0, 0};

                setrlimit(RLIMIT_CORE, &none);
                dup2(ends[1], 1);
                dup2(ends[1], 2);
                close(ends[0]);
                close(ends[1]);
                alarm(100);
                scene();
                exit(0);
        }
        close(ends[1]);
        while ((got = read(ends[0], o.text + length, sizeof o.text - 1 - length)) > 0)
                length += (size_t)got;
        close(ends[0]);
        waitpid(child, &o.status, 0);
        return o;
}

static inline bool killed_by(const struct outcome *o, int number)
{
        return WIFSIGNALED(o->status) && WTERMSIG(o->status) == number;
}

static inline bool exited(const struct outcome *o, int status)
{
        return WIFEXITED(o->status) && WEXITSTATUS(o->status) == status;
}

static inline void expect(bool passed, const struct outcome *o, const char *name)
{
        if (!tap_ok(passed, "%s", name))
                printf("#   status %#x, output: %.200s\n", (unsigned)o->status, o->text);
}

#endif
