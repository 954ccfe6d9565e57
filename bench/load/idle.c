/* SPDX-License-Identifier: MIT
 *
 * Connections that say nothing. Prints "open N" when all are; each line on the standard input makes
 * every connection exchange one message, which proves that each is served, and prints "touched N";
 * the end of the input ends it. Who watches the server meanwhile is bench/echo/run.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void touch(const int *fds, unsigned count, unsigned bytes)
{
        char *out = malloc(bytes), *in = malloc(bytes);

        if (out == NULL || in == NULL)
                fail("no memory for %u bytes", bytes);
        memset(out, 'L', bytes);
        for (unsigned i = 0; i < count; i++) {
                memset(in, 0, bytes);
                if (send(fds[i], out, bytes, MSG_NOSIGNAL) != (ssize_t)bytes ||
                    recv(fds[i], in, bytes, MSG_WAITALL) != (ssize_t)bytes)
                        fail("idle connection %u: %s", i, strerror(errno));
                if (memcmp(in, out, bytes) != 0)
                        fail("idle connection %u: WRONG ECHO", i);
        }
        free(out);
        free(in);
}

void idle(const struct settings *set)
{
        unsigned count = set->connections;
        int *fds = calloc(count, sizeof *fds);
        char line[16];

        if (fds == NULL)
                fail("no memory for %u connections", count);
        wire_files(count);
        for (unsigned i = 0; i < count; i++)
                fds[i] = wire_connect(set, i);
        printf("open %u\n", count);
        fflush(stdout);
        while (fgets(line, sizeof line, stdin) != NULL) {
                touch(fds, count, set->bytes);
                printf("touched %u\n", count);
                fflush(stdout);
        }
        free(fds);
}
