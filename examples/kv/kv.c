/* SPDX-License-Identifier: MIT
 *
 * A key-value server that speaks RESP. Each connection is a job written in a straight line: it
 * receives, runs what requests are complete, sends their replies together, and is suspended where
 * it would wait; its worker runs the others meanwhile. All of its I/O is its worker's.
 *
 *   kv [-p port] [-w workers] [-m bytes[k|m|g]] [-n]
 *
 * -p: on 127.0.0.1, 6379; 0: any that is free, see the line it prints; -m: the most memory; -n: no
 * io_uring. SIGINT and SIGTERM end it: requests that have come are answered, for 2 s at most.
 */
/* link: -luring */
#include "commands.h"
#include "store.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SEND_BYTES = 65536, SWEEP_KEYS = 16 };
#define MS           INT64_C(1000000)
#define ACCEPT_PAUSE (10 * MS)   /* when there are no descriptors or no memory left */
#define SWEEP_PAUSE  (100 * MS)  /* between two looks at what may have expired */
#define SWEEP_SOON   (1 * MS)    /* when there was much of it */
#define LINGER       (1000 * MS) /* how long a peer may take to close its side after us */
#define GRACE        (2000 * MS) /* how long those that do not read their replies delay the end */

struct client {
        struct skua_job job;
        int fd;
        struct buffer in, out;
        struct resp request; /* begins where `in` does */
};

struct server server;
static struct skua_group jobs; /* all that are to end with the server */
static struct skua_job acceptor, sweeper;
static atomic_bool sweeping;
static int listen_fd;

/* ---------------------------------------------------------------- keys that expire */

/* Lives while there are such keys. They are gone for everybody when their time has come; this is
 * for their memory. */
static void sweep(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        for (;;) {
                struct store_sweep done = store_sweep(SWEEP_KEYS);

                if (done.left) {
                        bool many = done.expired * 4 > done.looked;

                        if (skua_await_sleep(self, many ? SWEEP_SOON : SWEEP_PAUSE))
                                return;
                        continue;
                }
                /* A key may have come after the look, when this was still said to be going on. */
                atomic_store(&sweeping, false);
                if (!store_sweep(0).left || atomic_exchange(&sweeping, true))
                        return;
        }
}

static void begin_to_sweep(struct skua_worker *self)
{
        if (!atomic_load(&sweeping) && !atomic_exchange(&sweeping, true)) {
                skua_job_init(&sweeper, sweep);
                skua_group_spawn(self, &jobs, &sweeper);
        }
}

/* ---------------------------------------------------------------- a connection */

/* False: the peer has gone, or the server is to end. */
static bool receive(struct skua_worker *self, struct client *c)
{
        ssize_t n;

        if (!buffer_room(&c->in, BUFFER_FIRST / 2)) {
                resp_text(&c->out, "-OOM no memory for the request\r\n");
                return false;
        }
        n = skua_await_recv(self, c->fd, c->in.data + c->in.bytes, c->in.room - c->in.bytes, 0);
        if (n > 0)
                c->in.bytes += (size_t)n;
        return n > 0;
}

/* Not ended by what ends the server: what has been done is to be told. */
static bool send_replies(struct skua_worker *self, struct client *c)
{
        bool masked = skua_cancel_mask(self, true);
        size_t bytes = c->out.bytes;
        ssize_t n = skua_await_send_all(self, c->fd, c->out.data, bytes, MSG_NOSIGNAL, 0);

        skua_cancel_mask(self, masked);
        c->out.bytes = 0;
        return n == (ssize_t)bytes;
}

/* What is left of the input goes to its beginning; a buffer that a big request needed goes. */
static void tidy(struct client *c, size_t used)
{
        c->in.bytes -= used;
        if (c->in.bytes)
                memmove(c->in.data, c->in.data + used, c->in.bytes);
        else if (c->in.room > BUFFER_FREE)
                buffer_free(&c->in);
        if (c->out.room > 2 * BUFFER_FREE)
                buffer_free(&c->out);
}

/* All requests that are complete. False: it was the last one. */
static bool answer(struct skua_worker *self, struct client *c)
{
        unsigned long long commands = 0;
        size_t used = 0;
        ssize_t n = 0;
        bool open = true;

        while (open && (n = resp_read(&c->request, c->in.data + used, c->in.bytes - used)) > 0) {
                enum command_result result = c->request.count ? command_run(&c->request, &c->out)
                                                              : COMMAND_DONE;

                used += (size_t)n;
                commands += c->request.count > 0;
                open = result != COMMAND_QUIT;
                if (result == COMMAND_EXPIRES)
                        begin_to_sweep(self);
                if (c->out.bytes >= SEND_BYTES)
                        open &= send_replies(self, c);
        }
        if (n < 0) {
                resp_text(&c->out, "-ERR ");
                resp_text(&c->out, c->request.error);
                resp_text(&c->out, "\r\n");
                open = false;
        }
        atomic_fetch_add_explicit(&server.commands, commands, memory_order_relaxed);
        if (c->out.bytes)
                open &= send_replies(self, c);
        tidy(c, used);
        return open;
}

/* A socket that is closed while there is something to be read takes back what it has sent: waits
 * until the peer has closed its side, too. Not ended by what ends the server. */
static void linger(struct skua_worker *self, struct client *c)
{
        int64_t end = skua_now_ns() + LINGER;
        char rest[512];

        skua_cancel_mask(self, true);
        if (!shutdown(c->fd, SHUT_WR))
                while (skua_await_recv_until(self, c->fd, rest, sizeof rest, 0, end) > 0)
                        ;
}

static void serve(struct skua_worker *self, struct skua_job *job)
{
        struct client *c = skua_container(job, struct client, job);

        while (receive(self, c) && answer(self, c))
                ;
        if (c->out.bytes)
                send_replies(self, c);
        linger(self, c);
        skua_await_close(self, c->fd);
        buffer_free(&c->in);
        buffer_free(&c->out);
        resp_free(&c->request);
        memory_put(c, sizeof *c);
        atomic_fetch_sub_explicit(&server.clients, 1, memory_order_relaxed);
}

/* ---------------------------------------------------------------- the server */

/* Connections go to the workers in turn, and stay. */
static void begin(struct skua_worker *self, int fd)
{
        unsigned long long n = atomic_fetch_add_explicit(&server.connections, 1,
                                                         memory_order_relaxed);
        struct skua_target where = SKUA_TARGET_INIT;
        struct client *c = memory_get(sizeof *c);
        int one = 1;

        if (!c) {
                close(fd);
                return;
        }
        *c = (struct client){.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        atomic_fetch_add_explicit(&server.clients, 1, memory_order_relaxed);
        skua_job_init(&c->job, serve);
        where.group = &jobs;
        where.worker = SKUA_WORKER(n % skua_workers(server.rt));
        skua_submit_to(skua_runtime(self), &c->job, &where); /* of a job: it cannot refuse */
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
}

static bool listen_on(unsigned port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        socklen_t bytes = sizeof address;
        int one = 1;

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, bytes) ||
            listen(listen_fd, 4096) || getsockname(listen_fd, (struct sockaddr *)&address, &bytes))
                return false;
        server.port = ntohs(address.sin_port);
        return true;
}

/* As many connections as we may have. */
static void raise_files(void)
{
        struct rlimit files;

        if (!getrlimit(RLIMIT_NOFILE, &files)) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
}

static size_t bytes_of(const char *text)
{
        char *end;
        unsigned long long n = strtoull(text, &end, 10);

        switch (*end) {
        case 'g':
                n <<= 10; /* fall through */
        case 'm':
                n <<= 10; /* fall through */
        case 'k':
                n <<= 10;
        }
        return n;
}

static int fail(const char *what, int error)
{
        fprintf(stderr, "kv: %s: %s\n", what, strerror(error));
        return 1;
}

int main(int argc, char **argv)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        unsigned port = 6379;
        sigset_t set;
        int option, result;

        while ((option = getopt(argc, argv, "p:w:m:n")) != -1)
                if (option == 'p')
                        port = (unsigned)atoi(optarg);
                else if (option == 'w')
                        options.workers = (unsigned)atoi(optarg);
                else if (option == 'm')
                        memory_limit(bytes_of(optarg));
                else if (option == 'n')
                        options.flags |= SKUA_NO_RING;
                else
                        return 2;
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set, NULL); /* in all threads: the signal is awaited */
        raise_files();
        if (!listen_on(port) || !store_init())
                return fail("cannot begin", errno);
        skua_group_init(&jobs);
        result = skua_start(&server.rt, &options);
        if (result)
                return fail("cannot start", -result);
        server.started_ns = skua_now_ns();
        printf("kv: listens on 127.0.0.1:%u\n", server.port);
        fflush(stdout);
        result = skua_run(server.rt, run, &set);
        skua_stop_within(server.rt, GRACE);
        store_fini();
        close(listen_fd);
        return result ? fail("ended early", -result) : 0;
}
