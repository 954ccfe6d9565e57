/* SPDX-License-Identifier: MIT
 *
 * A web server for static files: HTTP/1.1 with keep-alive, pipelining, ranges and conditions. One
 * job per connection, in straight-line code: it reads, answers and waits, and while it waits its
 * worker does other work.
 *
 *   httpd [-d root] [-a address] [-p port] [-w workers] [-l log] [-t seconds] [-k seconds]
 *         [-g seconds] [-i] [-n]
 *
 * -p 0: any port, which it says; -t: for a request to come and for 64 KiB to go out; -k: for the
 * next request to begin; -i: lists folders; -n: no io_uring. SIGINT and SIGTERM end it: idle
 * connections are closed, requests under way get -g seconds to be answered.
 */
/* link: -luring -lhttp_parser */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"

#define SECOND_NS    INT64_C(1000000000)
#define ACCEPT_PAUSE (SECOND_NS / 100) /* when there are no descriptors left */

static int64_t idle_ns, grace_ns;
static struct skua_group connections, acceptor;
static struct {
        _Alignas(128) struct skua_group group;
} * own; /* each worker's connections; all are below `connections` */
static int listen_fd;
static unsigned next_worker;

/* How many bytes more, or 0 or an error: the peer or the time has come to its end. */
static ssize_t receive(struct connection *c, int64_t deadline_ns)
{
        ssize_t n = skua_await_recv_until(c->self, c->fd, c->in + c->in_used, IN_BYTES - c->in_used,
                                          0, deadline_ns);

        if (n > 0)
                c->in_used += (size_t)n;
        return n;
}

/* What has come with the request before is answered before anything is sent. Between requests a
 * connection may be ended at any time, within one it is left in peace. */
static bool next_request(struct connection *c)
{
        int64_t deadline_ns;
        ssize_t n = 1;

        begin_request(c);
        if (c->in_used && parse_request(c))
                return true;
        flush(c);
        if (!c->in_used && !c->broken) {
                skua_cancel_mask(c->self, false);
                n = receive(c, skua_now_ns() + idle_ns);
                skua_cancel_mask(c->self, true);
                if (n > 0 && parse_request(c))
                        return true;
        }
        if (n <= 0 || c->broken)
                return false;
        for (deadline_ns = skua_now_ns() + transfer_ns; n > 0;) {
                n = receive(c, deadline_ns);
                if (n > 0 && parse_request(c))
                        return true;
        }
        c->keep = false;
        c->request.status = 408;
        return n == -ETIMEDOUT;
}

/* Closed with something unread, the peer would be reset, and might lose the last answer. */
static void linger(struct connection *c)
{
        int64_t deadline_ns = skua_now_ns() + SECOND_NS;

        shutdown(c->fd, SHUT_WR);
        while (skua_await_recv_until(c->self, c->fd, c->in, IN_BYTES, 0, deadline_ns) > 0)
                ;
}

static void serve(struct skua_worker *self, struct skua_job *job)
{
        struct connection *c = skua_container(job, struct connection, job);

        c->self = self;
        while (c->keep && next_request(c)) {
                c->keep = c->keep && !skua_group_cancelled(&connections);
                answer(c);
        }
        flush(c);
        if (!c->keep && !c->broken && (c->request.body || c->request.parsed < c->in_used))
                linger(c);
        skua_await_close(self, c->fd);
        free(c);
}

/* Connections go to the workers in turn, and stay there: left to thieves, those that come at once
 * would begin on few of them. */
static void begin(struct skua_worker *self, int fd, const struct sockaddr_in *from)
{
        struct connection *c = malloc(sizeof *c);
        struct skua_target where = SKUA_TARGET_INIT;
        unsigned worker = next_worker++ % skua_workers(skua_runtime(self));
        int one = 1;

        if (!c) {
                close(fd);
                return;
        }
        memset(c, 0, offsetof(struct connection, path));
        c->fd = fd;
        c->keep = true;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        inet_ntop(AF_INET, &from->sin_addr, c->peer, sizeof c->peer);
        skua_job_init(&c->job, serve);
        where.group = &own[worker].group;
        where.worker = SKUA_WORKER(worker);
        skua_submit_to(skua_runtime(self), &c->job, &where);
}

static void accept_all(struct skua_worker *self, struct skua_job *job)
{
        struct sockaddr_in from;
        socklen_t bytes = sizeof from;
        int fd = 0;

        (void)job;
        for (; fd != -ECANCELED; bytes = sizeof from) {
                fd = skua_await_accept(self, listen_fd, (struct sockaddr *)&from, &bytes,
                                       SOCK_CLOEXEC);
                if (fd >= 0)
                        begin(self, fd, &from);
                else if (fd != -ECONNABORTED) /* no descriptors or no memory at the moment */
                        skua_await_sleep(self, ACCEPT_PAUSE);
        }
}

static void make_ring(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_fail(self, skua_io_reserve(self, 1));
}

/* All workers get their rings now: later there may be no descriptor left for one. */
static int make_rings(struct skua *rt)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_group made;
        struct skua_job job;
        int result = 0;

        skua_group_init(&made);
        where.group = &made;
        for (unsigned i = 0; i < skua_workers(rt) && !result; i++) {
                where.worker = SKUA_WORKER(i);
                skua_job_init(&job, make_ring);
                skua_submit_to(rt, &job, &where); /* not closed: it cannot refuse */
                result = skua_group_wait(&made, -1);
        }
        return result;
}

/* Until a signal comes; then until all requests under way are answered, or the grace is over. */
static void run(struct skua *rt, const sigset_t *signals)
{
        struct skua_job job;
        int number;

        skua_group_init(&acceptor);
        skua_job_init(&job, accept_all);
        skua_group_submit(rt, &acceptor, &job);
        sigwait(signals, &number);
        skua_group_cancel(&acceptor);
        skua_group_wait(&acceptor, -1);
        close(listen_fd);
        skua_group_cancel(&connections);
        skua_group_wait(&connections, grace_ns);
}

/* A group knows its jobs that wait, by a list with a lock: which workers had better not share. */
static int make_groups(unsigned workers)
{
        own = aligned_alloc(128, workers * sizeof *own);
        if (!own)
                return -ENOMEM;
        skua_group_init(&connections);
        for (unsigned i = 0; i < workers; i++)
                skua_group_init_under(&own[i].group, &connections);
        return 0;
}

static int listen_on(const char *address, const char *port)
{
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
        socklen_t bytes = sizeof at;
        int one = 1;

        if (!inet_pton(AF_INET, address, &at.sin_addr))
                return -EINVAL;
        listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(listen_fd, (struct sockaddr *)&at, bytes) || listen(listen_fd, 4096) ||
            getsockname(listen_fd, (struct sockaddr *)&at, &bytes))
                return -errno;
        printf("http://%s:%d/\n", address, ntohs(at.sin_port));
        return fflush(stdout);
}

static int start(const char *const arg[], struct skua **rt)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        int result;

        transfer_ns = atoi(arg['t']) * SECOND_NS;
        idle_ns = atoi(arg['k']) * SECOND_NS;
        grace_ns = atoi(arg['g']) * SECOND_NS;
        options.workers = (unsigned)atoi(arg['w']);
        /* What waits at home for its turn cannot be helped by others, who need not look, then. */
        options.flags = arg['n'] ? SKUA_NO_RING : SKUA_NO_KICK;
        result = skua_start(rt, &options);
        if (!result)
                result = make_groups(skua_workers(*rt));
        if (!result)
                result = make_rings(*rt);
        if (!result)
                result = answer_begin(skua_workers(*rt), arg['d'], arg['i']);
        if (!result)
                result = log_begin(skua_workers(*rt), arg['l']);
        return result ? result : listen_on(arg['a'], arg['p']);
}

int main(int argc, char **argv)
{
        const char *arg[128] = {['d'] = ".",  ['a'] = "127.0.0.1", ['p'] = "8080", ['w'] = "0",
                                ['t'] = "10", ['k'] = "60",        ['g'] = "10"};
        int option, result;
        unsigned workers;
        struct skua *rt;
        sigset_t signals;

        while ((option = getopt(argc, argv, "d:a:p:w:l:t:k:g:in")) != -1)
                arg[option] = optarg ? optarg : "";
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, NULL); /* also in the workers */
        result = arg['?'] || optind < argc ? -EINVAL : start(arg, &rt);
        if (result) {
                fprintf(stderr, "httpd: %s\n", strerror(-result));
                return 1;
        }
        run(rt, &signals);
        workers = skua_workers(rt);
        skua_stop(rt, SKUA_CANCEL);
        log_end(workers);
        answer_end(workers);
        free(own);
        return 0;
}
