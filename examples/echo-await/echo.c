/* SPDX-License-Identifier: MIT
 *
 * A TCP echo server in straight-line code: each connection is a job with a stack of its own, which
 * receives and sends in a loop and is suspended where it would wait. examples/echo does the same
 * without stacks; bench/echo compares the two.
 *
 *   echo-await [-w workers] [-m] [-n] PORT
 *
 * -m: messages of 64 bytes, of which one that begins with H costs 1 ms of computing (see
 * bench/load); -n: no io_uring. SIGINT and SIGTERM end it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <skua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 65536, MESSAGE = 64 };
#define BURN_NS      1000000
#define ACCEPT_PAUSE 10000000 /* ns, when there are no descriptors left */

struct connection {
        struct skua_job job;
        int fd;
};

static struct skua_group jobs;
static struct skua_job acceptor;
static int listen_fd;
static bool mixed;

static void burn(void)
{
        struct timespec t;
        int64_t end = 0, now;

        do {
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
                now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
                end = end ? end : now + BURN_NS;
        } while (now < end);
}

/* What the messages ask for before they are answered. */
static void compute(const char *data, ssize_t bytes)
{
        for (ssize_t i = 0; mixed && i < bytes; i += MESSAGE)
                if (data[i] == 'H')
                        burn();
}

/* The buffer is on the stack, of which only those pages are memory that have been written to. */
static void serve(struct skua_worker *self, struct skua_job *job)
{
        struct connection *c = skua_container(job, struct connection, job);
        char data[BUFFER_BYTES];
        ssize_t n;

        while ((n = skua_await_recv(self, c->fd, data, sizeof data, 0)) > 0) {
                compute(data, n);
                if (skua_await_send_all(self, c->fd, data, (size_t)n, MSG_NOSIGNAL, 0) != n)
                        break;
        }
        skua_await_close(self, c->fd);
        free(c);
}

/* A new connection goes to the workers in turn, and stays with its own. */
static void begin(struct skua_worker *self, int fd)
{
        static unsigned next_worker;
        struct skua_target where = SKUA_TARGET_INIT;
        struct connection *c = calloc(1, sizeof *c);
        int one = 1;

        if (!c) {
                close(fd);
                return;
        }
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        skua_job_init(&c->job, serve);
        where.group = &jobs;
        where.worker = SKUA_WORKER(next_worker++ % skua_workers(skua_runtime(self)));
        skua_submit_to(skua_runtime(self), &c->job, &where);
}

static void accept_all(struct skua_worker *self, struct skua_job *job)
{
        int fd;

        (void)job;
        while ((fd = skua_await_accept(self, listen_fd, NULL, NULL, SOCK_CLOEXEC)) != -ECANCELED)
                if (fd >= 0)
                        begin(self, fd);
                else if (fd != -ECONNABORTED && skua_await_sleep(self, ACCEPT_PAUSE))
                        return;
}

static void make_ring(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_fail(self, skua_io_reserve(self, 1));
}

/* All workers get their rings now: later there may be no descriptor left for one. */
static int make_rings(struct skua_worker *self)
{
        struct skua *rt = skua_runtime(self);
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_job makers[skua_workers(rt)];
        struct skua_group made;

        skua_group_init(&made);
        where.group = &made;
        for (unsigned i = 0; i < skua_workers(rt); i++) {
                where.worker = SKUA_WORKER(i);
                skua_job_init(&makers[i], make_ring);
                skua_submit_to(rt, &makers[i], &where);
        }
        return skua_await_group(self, &made);
}

static void run(struct skua_worker *self, void *signals)
{
        int result = make_rings(self);

        if (!result) {
                skua_job_init(&acceptor, accept_all);
                skua_group_spawn(self, &jobs, &acceptor);
                result = skua_await_signal(self, signals, 0);
        }
        skua_fail(self, result < 0 ? result : 0);
        skua_group_cancel(&jobs);
        skua_await_group(self, &jobs);
}

static int listen_on(unsigned port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
                return -1;
        return fd;
}

int main(int argc, char **argv)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;
        sigset_t set;
        int option, result;

        while ((option = getopt(argc, argv, "w:mn")) != -1)
                if (option == 'w')
                        options.workers = (unsigned)atoi(optarg);
                else if (option == 'm')
                        mixed = true;
                else if (option == 'n')
                        options.flags |= SKUA_NO_RING;
        listen_fd = optind < argc ? listen_on((unsigned)atoi(argv[optind])) : -1;
        if (listen_fd < 0) {
                perror("echo-await: cannot listen");
                return 1;
        }
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL); /* in all threads: the signal is awaited */
        skua_group_init(&jobs);
        result = skua_start(&rt, &options);
        if (!result) {
                result = skua_run(rt, run, &set);
                skua_stop(rt, SKUA_CANCEL);
        }
        if (result)
                fprintf(stderr, "echo-await: %s\n", strerror(-result));
        close(listen_fd);
        return result != 0;
}
