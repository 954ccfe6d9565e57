/* SPDX-License-Identifier: MIT
 *
 * Connections that come and go, GROUP at a time: some after an exchange, some silent, some by a
 * reset with an echo under way. Prints "churned N". That none is left behind is the caller's to
 * see: tests/examples/echo.t.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of each group the first ANSWERED read their echo, the first SENT have sent a message, and those
 * from RESET to RESET_END end by a reset, the others by a close. */
enum { GROUP = 20, ANSWERED = 10, SENT = 15, RESET = 5, RESET_END = 18 };

/* No address has more than the system has ports for, with those that linger for a minute. */
enum { ADDRESSES = 64 };

static void say(int fd, const char *text, size_t bytes)
{
        if (send(fd, text, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
                fail("%s: %s", text, strerror(errno));
}

static void expect(int fd, const char *text, size_t bytes)
{
        char in[32];

        if (recv(fd, in, bytes, MSG_WAITALL) != (ssize_t)bytes)
                fail("%s: %s", text, strerror(errno));
        if (memcmp(in, text, bytes) != 0)
                fail("%s: WRONG ECHO", text);
}

static void reset(int fd)
{
        struct linger at_once = {.l_onoff = 1};

        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) != 0)
                fail("SO_LINGER: %s", strerror(errno));
}

static void come_and_go(const struct settings *set, unsigned first)
{
        char text[GROUP][32];
        int fds[GROUP];

        for (unsigned i = 0; i < GROUP; i++) {
                fds[i] = wire_connect(set, (first + i) % ADDRESSES * WIRE_PORTS);
                snprintf(text[i], sizeof text[i], "connection %u", first + i);
        }
        for (unsigned i = 0; i < SENT; i++)
                say(fds[i], text[i], strlen(text[i]));
        for (unsigned i = 0; i < ANSWERED; i++)
                expect(fds[i], text[i], strlen(text[i]));
        for (unsigned i = 0; i < GROUP; i++) {
                if (i >= RESET && i < RESET_END)
                        reset(fds[i]);
                close(fds[i]);
        }
}

void churn(const struct settings *set)
{
        unsigned done;

        for (done = 0; done < set->connections; done += GROUP)
                come_and_go(set, done);
        printf("churned %u\n", done);
}
