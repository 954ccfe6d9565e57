/* SPDX-License-Identifier: MIT
 *
 * A TCP echo server without stacks: every step is the completion of an operation. One multishot
 * accept, one multishot receive per connection into buffers that the kernel chooses, one send at a
 * time. A connection is a strand: its completions may run on any worker, but one after the other.
 * One that is silent has nothing but itself: what sends is taken from a list while there is
 * something to be sent.
 *
 *   echo [-w workers] [-m] [-n] PORT
 *
 * -m: messages of 64 bytes, of which one that begins with H costs 1 ms of computing (see
 * bench/load); -n: no io_uring. SIGINT and SIGTERM end it when what was received has been sent.
 */
/* link: -luring */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <skua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
        BUFFERS = 256,
        BUFFER_BYTES = 65536,
        GATHER = 8,
        QUEUE_MOST = 16,
        MESSAGE = 64,
        SPARE_MOST = 512
};
#define BURN_NS      1000000
#define ACCEPT_PAUSE 10000000 /* ns, when there are no descriptors left */

/* What a buffer holds: received, not yet sent. */
struct chunk {
        struct chunk *next;
        char *data;
        uint32_t number, bytes;
};

struct connection {
        struct skua_io receive; /* also what begins and what closes it, when nothing is received */
        struct skua_strand strand;
        struct chunk *first, **end; /* to be sent, in order */
        struct sender *sender;      /* NULL: nothing is being sent */
        int fd;
        uint16_t count; /* of chunks */
        bool receiving;
        bool ended;  /* the peer has no more to say */
        bool broken; /* and will not hear more */
};
_Static_assert(sizeof(struct connection) <= 384, "what a silent connection costs");

struct sender {
        struct skua_io io;
        struct connection *connection;
        struct sender *next; /* in the list of those that are not used */
        struct msghdr message;
        struct iovec parts[GATHER];
};

/* A job has those of the worker that runs it to itself. */
struct spare {
        _Alignas(128) struct sender *senders;
        unsigned count;
};

static struct skua_buffers buffers;
static struct chunk (*chunks)[BUFFERS]; /* of each worker, as the next */
static struct spare *spares;
static struct skua_group connections;
static struct skua_io listener;
static struct skua_timer accept_again;
static int listen_fd;
static unsigned next_worker;
static bool mixed;

static void receive_more(struct skua_worker *self, struct connection *c);
static void send_more(struct skua_worker *self, struct connection *c);
static void flow(struct skua_worker *self, struct connection *c);

static struct connection *receiver(struct skua_job *job)
{
        return skua_container(job, struct connection, receive.job);
}

static void closed(struct skua_worker *self, struct skua_job *job)
{
        (void)self;
        free(receiver(job));
}

/* Nothing of it is under way any more. */
static void maybe_close(struct skua_worker *self, struct connection *c)
{
        struct skua_target where = SKUA_TARGET_INIT;

        if (!(c->ended || c->broken) || c->receiving || c->sender)
                return;
        where.group = &connections;
        io_uring_prep_close(skua_io_prepare_to(self, &c->receive, closed, &where), c->fd);
}

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
static void compute(const struct chunk *chunk)
{
        for (uint32_t i = 0; mixed && i < chunk->bytes; i += MESSAGE)
                if (chunk->data[i] == 'H')
                        burn();
}

static void queue(struct connection *c, struct chunk *chunk)
{
        chunk->next = NULL;
        if (!c->first)
                c->end = &c->first;
        *c->end = chunk;
        c->end = &chunk->next;
        c->count++;
}

/* So many bytes of the first chunks have gone, or will never go. */
static void unqueue(struct skua_worker *self, struct connection *c, size_t bytes)
{
        while (c->first && bytes >= c->first->bytes) {
                struct chunk *chunk = c->first;

                bytes -= chunk->bytes;
                c->first = chunk->next;
                c->count--;
                skua_buffers_return(self, &buffers, chunk->number);
        }
        if (c->first) {
                c->first->data += bytes;
                c->first->bytes -= (uint32_t)bytes;
        }
}

static struct sender *take_sender(struct skua_worker *self)
{
        struct spare *mine = &spares[skua_worker_index(self)];
        struct sender *s = mine->senders;

        if (!s)
                return calloc(1, sizeof *s);
        mine->senders = s->next;
        mine->count--;
        return s;
}

/* One worker may take more than it gives, another one give more than it takes. */
static void give_sender(struct skua_worker *self, struct sender *s)
{
        struct spare *mine = &spares[skua_worker_index(self)];

        if (mine->count == SPARE_MOST) {
                free(s);
                return;
        }
        mine->count++;
        s->next = mine->senders;
        mine->senders = s;
}

static void sent(struct skua_worker *self, struct skua_job *job)
{
        struct sender *s = skua_container(job, struct sender, io.job);
        struct connection *c = s->connection;

        c->broken |= s->io.res <= 0 || skua_cancelled(self);
        unqueue(self, c, c->broken ? SIZE_MAX : (size_t)s->io.res);
        if (!c->first) {
                c->sender = NULL;
                give_sender(self, s);
        } else {
                send_more(self, c);
        }
        flow(self, c);
}

static void send_more(struct skua_worker *self, struct connection *c)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct sender *s = c->sender;
        struct io_uring_sqe *sqe;
        unsigned count = 0;

        for (struct chunk *chunk = c->first; chunk && count < GATHER; chunk = chunk->next) {
                s->parts[count].iov_base = chunk->data;
                s->parts[count++].iov_len = chunk->bytes;
        }
        where.group = &connections;
        where.strand = &c->strand;
        sqe = skua_io_prepare_to(self, &s->io, sent, &where);
        if (count == 1) {
                io_uring_prep_send(sqe, c->fd, c->first->data, c->first->bytes, MSG_NOSIGNAL);
                return;
        }
        s->message.msg_iov = s->parts;
        s->message.msg_iovlen = count;
        io_uring_prep_sendmsg(sqe, c->fd, &s->message, MSG_NOSIGNAL);
}

static void begin_to_send(struct skua_worker *self, struct connection *c)
{
        c->sender = take_sender(self);
        if (c->sender) {
                c->sender->connection = c;
                send_more(self, c);
        } else {
                c->broken = true;
                unqueue(self, c, SIZE_MAX);
        }
}

static void received(struct skua_worker *self, struct skua_job *job)
{
        struct connection *c = receiver(job);
        uint32_t number;
        char *data = skua_buffers_data(&buffers, &c->receive, &number);

        c->receiving = c->receive.flags & SKUA_IO_MORE;
        if (data && c->receive.res > 0 && !c->broken) {
                struct chunk *chunk = &chunks[number >> 16][number & 0xffff];

                *chunk = (struct chunk){NULL, data, number, (uint32_t)c->receive.res};
                compute(chunk);
                queue(c, chunk);
                if (!c->sender)
                        begin_to_send(self, c);
        } else if (data) {
                skua_buffers_return(self, &buffers, number);
        }
        c->ended |= c->receive.res == 0;
        c->broken |= c->receive.res < 0 && c->receive.res != -ECANCELED;
        flow(self, c);
}

/* A peer that sends and does not read: no more of it until half has gone out. */
static void flow(struct skua_worker *self, struct connection *c)
{
        c->broken |= skua_cancelled(self);
        if (c->receiving && (c->broken || c->count >= QUEUE_MOST))
                skua_io_cancel(self, &c->receive);
        else if (!c->receiving && !c->ended && !c->broken && c->count < QUEUE_MOST / 2)
                receive_more(self, c);
        maybe_close(self, c);
}

static void receive_more(struct skua_worker *self, struct connection *c)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct io_uring_sqe *sqe;

        where.group = &connections;
        where.strand = &c->strand;
        sqe = skua_io_prepare_to(self, &c->receive, received, &where);
        io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
        skua_buffers_use(self, &buffers, &c->receive,
                         sqe); /* if not, it completes with the error */
        c->receiving = true;
}

static void begin(struct skua_worker *self, struct skua_job *job)
{
        flow(self, receiver(job));
}

static void accept_more(struct skua_worker *self);

/* A new connection goes to its worker: its ring will do all of its I/O. */
static void serve(struct skua_worker *self, int fd)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct connection *c = calloc(1, sizeof *c);
        int one = 1;

        if (!c) {
                close(fd);
                return;
        }
        c->fd = fd;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        skua_strand_init(&c->strand);
        skua_job_init(&c->receive.job, begin);
        where.group = &connections;
        where.worker = SKUA_WORKER(next_worker++ % skua_workers(skua_runtime(self)));
        skua_submit_to(skua_runtime(self), &c->receive.job, &where);
}

static void accepted(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        if (listener.res >= 0)
                serve(self, listener.res);
        if (listener.flags & SKUA_IO_MORE || listener.res == -ECANCELED)
                return;
        if (listener.res >= 0 || listener.res == -ECONNABORTED)
                accept_more(self);
        else /* no descriptors or no memory at the moment */
                skua_timer_start(self, &accept_again, skua_now_ns() + ACCEPT_PAUSE);
}

static void accept_more(struct skua_worker *self)
{
        io_uring_prep_multishot_accept(skua_io_prepare(self, &listener, accepted), listen_fd, NULL,
                                       NULL, SOCK_CLOEXEC);
}

static void resume(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        if (!skua_cancelled(self))
                accept_more(self);
}

static void start(struct skua_worker *self, void *arg)
{
        (void)arg;
        accept_more(self);
}

static void make_ring(struct skua_worker *self, struct skua_job *job)
{
        (void)job;
        skua_fail(self, skua_io_reserve(self, 1));
}

/* All workers get their rings now: later there may be no descriptor left for one. */
static int make_rings(struct skua *rt, unsigned workers)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct skua_job *jobs = calloc(workers, sizeof *jobs);
        struct skua_group group;
        int result;

        if (!jobs)
                return -ENOMEM;
        skua_group_init(&group);
        where.group = &group;
        for (unsigned i = 0; i < workers; i++) {
                where.worker = SKUA_WORKER(i);
                skua_job_init(&jobs[i], make_ring);
                skua_submit_to(rt, &jobs[i], &where); /* not closed: it cannot refuse */
        }
        result = skua_group_wait(&group, -1);
        free(jobs);
        return result;
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

static bool make_tables(unsigned workers)
{
        size_t bytes = workers * sizeof *spares;

        chunks = calloc(workers, sizeof *chunks);
        spares = aligned_alloc(_Alignof(struct spare), bytes);
        if (spares)
                memset(spares, 0, bytes);
        return chunks && spares;
}

static void free_tables(unsigned workers)
{
        for (unsigned i = 0; i < workers; i++)
                for (struct sender *s = spares[i].senders, *next; s; s = next) {
                        next = s->next;
                        free(s);
                }
        free(spares);
        free(chunks);
}

int main(int argc, char **argv)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;
        sigset_t set;
        int option, result, signal_number;
        unsigned workers = 0;

        while ((option = getopt(argc, argv, "w:mnB")) != -1)
                if (option == 'w')
                        options.workers = (unsigned)atoi(optarg);
                else if (option == 'm')
                        mixed = true;
                else if (option == 'n')
                        options.flags |= SKUA_NO_RING;
        listen_fd = optind < argc ? listen_on((unsigned)atoi(argv[optind])) : -1;
        if (listen_fd < 0) {
                perror("echo: cannot listen");
                return 1;
        }
        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        skua_group_init(&connections);
        skua_timer_init(&accept_again, resume);
        result = skua_start(&rt, &options);
        if (!result) {
                workers = skua_workers(rt);
                result = make_tables(workers) ? make_rings(rt, workers) : -ENOMEM;
        }
        if (!result)
                result = skua_buffers_init(rt, &buffers, BUFFERS, BUFFER_BYTES);
        if (!result)
                result = skua_run(rt, start, NULL);
        if (result) {
                fprintf(stderr, "echo: %s\n", strerror(-result));
                return 1;
        }
        sigwait(&set, &signal_number);
        skua_stop(rt, SKUA_CANCEL);
        skua_buffers_fini(&buffers);
        free_tables(workers);
        close(listen_fd);
        return 0;
}
