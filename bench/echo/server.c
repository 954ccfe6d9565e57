/* SPDX-License-Identifier: MIT
 *
 * See server.h. What is wrong ends the program with the reason: the driver shows it.
 */
#include "server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
        BACKLOG = 4096,
        MIXED_BYTES = 64,  /* of each message in mixed mode */
        BURN_NS = 1000000, /* processor time, not time: who is preempted burns no less */
        BURN_STEPS = 2000  /* some us between two looks at the clock, which is a system call */
};

struct worker {
        const struct server *server;
        void (*loop)(const struct server *s);
};

void server_fail(const char *what, int error)
{
        fprintf(stderr, "%s: %s\n", what, strerror(error));
        exit(1);
}

struct server server_options(int argc, char **argv, const char *name, const char *version)
{
        struct server s = {.workers = 1, .buffer_bytes = 16384};
        struct rlimit files;
        int letter;

        if (argc == 1) {
                printf("%s %s\n", name, version);
                exit(0);
        }
        while ((letter = getopt(argc, argv, "w:mob:")) > 0)
                if (letter == 'w')
                        s.workers = (unsigned)atoi(optarg);
                else if (letter == 'b')
                        s.buffer_bytes = (unsigned)atoi(optarg);
                else if (letter == 'm')
                        s.mixed = true;
                else
                        s.offload = letter == 'o';
        if (optind != argc - 1 || s.workers == 0 || s.buffer_bytes == 0) {
                fprintf(stderr, "usage: %s [-w workers] [-m] [-o] [-b bytes] PORT\n", argv[0]);
                exit(2);
        }
        s.port = (unsigned short)atoi(argv[optind]);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        signal(SIGPIPE, SIG_IGN);
        return s;
}

int server_listen(const struct server *s)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(s->port)};
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (fd < 0)
                server_fail("socket", errno);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (s->workers > 1)
                setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, BACKLOG) != 0)
                server_fail("listen", errno);
        return fd;
}

static void *work(void *of)
{
        struct worker *w = of;

        w->loop(w->server);
        return NULL;
}

void server_run(const struct server *s, void (*loop)(const struct server *s))
{
        struct worker w = {s, loop};
        pthread_t thread;

        for (unsigned i = 1; i < s->workers; i++)
                if (pthread_create(&thread, NULL, work, &w) != 0)
                        server_fail("thread", errno);
        loop(s);
}

static long long thread_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void server_burn_one(void)
{
        long long end = thread_ns() + BURN_NS;

        while (thread_ns() < end)
                for (int i = 0; i < BURN_STEPS; i++)
                        __asm__ volatile("" ::: "memory");
}

unsigned server_heavy(unsigned *at, const void *data, size_t bytes)
{
        const char *begin = data;
        size_t next = (MIXED_BYTES - *at) % MIXED_BYTES; /* where the next message begins */
        unsigned count = 0;

        for (; next < bytes; next += MIXED_BYTES)
                count += begin[next] == 'H';
        *at = (unsigned)((*at + bytes) % MIXED_BYTES);
        return count;
}

void server_burn(unsigned *at, const void *data, size_t bytes)
{
        for (unsigned n = server_heavy(at, data, bytes); n > 0; n--)
                server_burn_one();
}
