/* SPDX-License-Identifier: MIT
 *
 * Straight-line I/O: each call gives what the system call would, its job is resumed on its worker,
 * and early ends leave the buffer alone. With io_uring and without.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <liburing.h>

#include "rig.h"

enum { CHECKS = 100 };
#define MS    ((int64_t)1000000)
/* None has this number; one that has been closed may be somebody else's by now. */
#define NO_FD INT16_MAX

static unsigned flags;

static struct skua *start(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;

        options.flags = flags;
        return rig_start(workers, &options);
}

/* Runs a function as a job of a group, so that it can be cancelled. */
struct task {
        struct skua_job job;
        struct skua_group group;
        int (*run)(struct skua_worker *self, struct task *task);
        int fds[2], result;
        atomic_uint begun;
        struct skua_worker *home;
};

static void task_run(struct skua_worker *self, struct skua_job *job)
{
        struct task *task = skua_container(job, struct task, job);

        task->home = self;
        atomic_store(&task->begun, 1);
        task->result = task->run(self, task);
        if (skua_self() != self)
                abort();
}

static void task_begin(struct skua *rt, struct task *task,
                       int (*run)(struct skua_worker *self, struct task *task))
{
        atomic_store(&task->begun, 0);
        task->run = run;
        task->result = 12345;
        skua_group_init(&task->group);
        skua_job_init(&task->job, task_run);
        if (skua_group_submit(rt, &task->group, &task->job))
                abort();
}

static int task_end(struct task *task)
{
        skua_group_wait(&task->group, -1);
        return task->result;
}

static void pair(int fds[2])
{
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
                abort();
}

/* Without a ring, a worker takes a descriptor off its own epoll set some time after the job has
 * gone on; the thread sanitizer takes closing it meanwhile for a race of memory. */
static void put_away(int fd)
{
        if (!RIG_TSAN || !flags)
                close(fd);
}

static void close_pair(int fds[2])
{
        put_away(fds[0]);
        put_away(fds[1]);
}

/* ------------------------------------------------------------------ files */

static int file_task(struct skua_worker *self, struct task *task)
{
        char memory[] = "/dev/shm/skua-await-XXXXXX", disk[] = "/tmp/skua-await-XXXXXX";
        char *path = access("/dev/shm", W_OK) ? disk : memory, text[16] = {0};
        int fd, made = mkstemp(path), step = 0;

        (void)task;
        close(made);
        fd = skua_await_openat(self, AT_FDCWD, path, O_RDWR, 0);
        step += fd >= 0;
        step += skua_await_write(self, fd, "straight", 8, 0) == 8;
        step += skua_await_write(self, fd, " line", 5, 8) == 5;
        step += skua_await_fsync(self, fd, 0) == 0;
        step += skua_await_read(self, fd, text, sizeof text, 0) == 13;
        step += strcmp(text, "straight line") == 0;
        step += skua_await_read(self, fd, text, sizeof text, 100) == 0;
        step += skua_await_close(self, fd) == 0;
        step += skua_await_close(self, NO_FD) == -EBADF;
        step += skua_await_read(self, NO_FD, text, 1, 0) == -EBADF;
        unlink(path);
        step += skua_await_openat(self, AT_FDCWD, path, O_RDONLY, 0) == -ENOENT;
        return step;
}

/* ------------------------------------------------------------------ sockets */

enum { BIG = 3 << 20 };

static int sender_task(struct skua_worker *self, struct task *task)
{
        char *big = malloc(BIG);
        ssize_t sent;

        for (size_t i = 0; i < BIG; i++)
                big[i] = (char)(i * 7 >> 3);
        sent = skua_await_send_all(self, task->fds[0], big, BIG, 0, 0);
        free(big);
        skua_await_close(self, task->fds[0]);
        return (int)sent;
}

static int receiver_task(struct skua_worker *self, struct task *task)
{
        char *big = calloc(1, BIG + 10);
        ssize_t got = skua_await_recv_all(self, task->fds[1], big, BIG + 10, 0, 0);

        for (size_t i = 0; i < BIG; i++)
                if (big[i] != (char)(i * 7 >> 3))
                        got = -1;
        if (skua_await_recv(self, task->fds[1], big, 1, 0) != 0)
                got = -2;
        free(big);
        return (int)got;
}

static void check_stream(struct skua *rt)
{
        struct task sender, receiver;

        pair(sender.fds);
        receiver.fds[1] = sender.fds[1];
        task_begin(rt, &receiver, receiver_task);
        task_begin(rt, &sender, sender_task);
        tap_is(task_end(&sender), BIG, "all of a large buffer is sent");
        tap_is(task_end(&receiver), BIG, "and received, up to the end of the stream");
        put_away(sender.fds[1]);
}

struct listener {
        struct task task;
        struct sockaddr_in address;
};

static int accept_task(struct skua_worker *self, struct task *task)
{
        struct sockaddr_in peer;
        socklen_t bytes = sizeof peer;
        char byte = 0;
        int fd = skua_await_accept(self, task->fds[0], (struct sockaddr *)&peer, &bytes,
                                   SOCK_CLOEXEC);

        if (fd < 0)
                return fd;
        if (bytes != sizeof peer || peer.sin_family != AF_INET)
                return -1;
        if (skua_await_recv(self, fd, &byte, 1, 0) != 1 || byte != 'x')
                return -2;
        return skua_await_close(self, fd);
}

static int connect_task(struct skua_worker *self, struct task *task)
{
        struct listener *l = skua_container(task, struct listener, task);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

        result = skua_await_connect(self, fd, (struct sockaddr *)&l->address, sizeof l->address);
        if (!result)
                result = (int)skua_await_send(self, fd, "x", 1, 0) - 1;
        skua_await_close(self, fd);
        return result;
}

static void listen_on(struct listener *l)
{
        socklen_t bytes = sizeof l->address;

        memset(&l->address, 0, sizeof l->address);
        l->address.sin_family = AF_INET;
        l->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        l->task.fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(l->task.fds[0], (struct sockaddr *)&l->address, bytes) ||
            listen(l->task.fds[0], 5) ||
            getsockname(l->task.fds[0], (struct sockaddr *)&l->address, &bytes))
                abort();
}

static void check_connect(struct skua *rt)
{
        struct listener server, client;

        listen_on(&server);
        client.address = server.address;
        task_begin(rt, &server.task, accept_task);
        task_begin(rt, &client.task, connect_task);
        tap_is(task_end(&client.task), 0, "a connection is made");
        tap_is(task_end(&server.task), 0, "and accepted, with its address");
        shutdown(server.task.fds[0], SHUT_RDWR);
        put_away(server.task.fds[0]);
        task_begin(rt, &client.task, connect_task);
        tap_is(task_end(&client.task), -ECONNREFUSED, "or refused, when nobody listens");
}

/* ------------------------------------------------------------------ early ends */

static int recv_task(struct skua_worker *self, struct task *task)
{
        char byte;

        return (int)skua_await_recv(self, task->fds[1], &byte, 1, 0);
}

static int recv_until_task(struct skua_worker *self, struct task *task)
{
        char byte;

        return (int)skua_await_recv_until(self, task->fds[1], &byte, 1, 0, skua_now_ns() + 2 * MS);
}

static int recv_in_time_task(struct skua_worker *self, struct task *task)
{
        char byte;

        return (int)skua_await_recv_until(self, task->fds[1], &byte, 1, 0,
                                          skua_now_ns() + 3600000 * MS);
}

static int past_task(struct skua_worker *self, struct task *task)
{
        char byte;

        return (int)skua_await_recv_until(self, task->fds[1], &byte, 1, 0, 1);
}

static int poll_task(struct skua_worker *self, struct task *task)
{
        return skua_await_poll(self, task->fds[1], POLLIN);
}

static int short_task(struct skua_worker *self, struct task *task)
{
        char bytes[10];

        return (int)skua_await_recv_all(self, task->fds[1], bytes, sizeof bytes, 0,
                                        skua_now_ns() + 200 * MS);
}

static int masked_task(struct skua_worker *self, struct task *task)
{
        char byte;
        int result;

        skua_cancel_mask(self, true);
        result = (int)skua_await_recv(self, task->fds[1], &byte, 1, 0);
        if (skua_cancel_mask(self, false) != true)
                return -1;
        return skua_await_recv(self, task->fds[1], &byte, 1, 0) == -ECANCELED ? result : -2;
}

static int closing_task(struct skua_worker *self, struct task *task)
{
        char byte;
        int result = (int)skua_await_recv(self, task->fds[1], &byte, 1, 0);

        if (skua_await_close(self, task->fds[0]))
                return -1;
        return result;
}

static void check_early(struct skua *rt)
{
        struct task task;

        pair(task.fds);
        task_begin(rt, &task, recv_task);
        rig_until_suspended(rt, 1);
        skua_group_cancel(&task.group);
        tap_is(task_end(&task), -ECANCELED, "a receive of a cancelled job ends");
        task_begin(rt, &task, recv_until_task);
        tap_is(task_end(&task), -ETIMEDOUT, "one with a deadline, too");
        if (send(task.fds[0], "ab", 2, 0) != 2)
                abort();
        task_begin(rt, &task, recv_in_time_task);
        tap_is(task_end(&task), 1, "what comes before it is received");
        task_begin(rt, &task, past_task);
        tap_is(task_end(&task), -ETIMEDOUT, "after it nothing is begun");
        task_begin(rt, &task, recv_task);
        tap_is(task_end(&task), 1, "what was there has not been lost");
        task_begin(rt, &task, poll_task);
        rig_until_suspended(rt, 1);
        if (send(task.fds[0], "cd", 2, 0) != 2)
                abort();
        tap_is(task_end(&task), POLLIN, "a poll says what there is");
        task_begin(rt, &task, short_task);
        tap_is(task_end(&task), 2, "bytes that came before the deadline are reported");
        task_begin(rt, &task, masked_task);
        rig_until_suspended(rt, 1);
        skua_group_cancel(&task.group);
        if (send(task.fds[0], "e", 1, 0) != 1)
                abort();
        tap_is(task_end(&task), 1, "a masked receive goes on until something comes");
        task_begin(rt, &task, closing_task);
        rig_until_suspended(rt, 1);
        skua_group_cancel(&task.group);
        tap_is(task_end(&task), -ECANCELED, "a cancelled job");
        tap_is(recv(task.fds[1], &(char){0}, 1, MSG_DONTWAIT), 0, "can close its descriptors");
        put_away(task.fds[1]);
}

/* ------------------------------------------------------------------ several at once */

static int several_task(struct skua_worker *self, struct task *task)
{
        struct skua_io io[4];
        char bytes[4] = {0};
        int wrong = 0;

        for (int i = 0; i < 4; i++)
                io_uring_prep_write(skua_io_prepare(self, &io[i], NULL), task->fds[0], &"wxyz"[i],
                                    1, 0);
        for (int i = 4; i-- > 0;)
                wrong += skua_await_io(self, &io[i]) != 1;
        wrong += skua_await_recv_all(self, task->fds[1], bytes, 4, 0, 0) != 4;
        for (int i = 0; i < 4; i++)
                wrong += !memchr(bytes, "wxyz"[i], 4);
        io_uring_prep_nop(skua_io_prepare(self, &io[0], NULL));
        wrong += skua_await_io(self, &io[0]) != 0;
        io_uring_prep_read(skua_io_prepare(self, &io[0], NULL), task->fds[1], bytes, 1, 0);
        wrong += skua_await_io_until(self, &io[0], skua_now_ns() + MS) != -ETIMEDOUT;
        return wrong;
}

static void isolated(struct skua_worker *self, void *arg)
{
        struct task *task = arg;
        char byte;

        task->result = (int)skua_await_recv(self, task->fds[1], &byte, 1, 0);
}

static int isolated_task(struct skua_worker *self, struct task *task)
{
        skua_isolated(self, isolated, task);
        return task->result;
}

static int signal_task(struct skua_worker *self, struct task *task)
{
        sigset_t set;

        (void)task;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        return skua_await_signal(self, &set, 0);
}

static int late_signal_task(struct skua_worker *self, struct task *task)
{
        sigset_t set;

        (void)task;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        return skua_await_signal(self, &set, skua_now_ns() + MS);
}

static void check_several(struct skua *rt)
{
        struct task task;

        pair(task.fds);
        task_begin(rt, &task, several_task);
        tap_is(task_end(&task), 0, "several operations at once are awaited in any order");
        task_begin(rt, &task, isolated_task);
        tap_is(task_end(&task), -EDEADLK, "isolated jobs cannot wait for I/O");
        close_pair(task.fds);
        task_begin(rt, &task, signal_task);
        rig_until_suspended(rt, 1);
        kill(getpid(), SIGUSR2);
        tap_is(task_end(&task), SIGUSR2, "a signal is awaited");
        task_begin(rt, &task, late_signal_task);
        tap_is(task_end(&task), -ETIMEDOUT, "or not");
}

/* ------------------------------------------------------------------ stop */

static void check_stop(unsigned workers)
{
        struct skua *rt = start(workers);
        struct task waiting, masked;
        struct listener listener;

        pair(waiting.fds);
        pair(masked.fds);
        task_begin(rt, &waiting, recv_task);
        task_begin(rt, &masked, masked_task);
        rig_until_suspended(rt, 2);
        tap_is(skua_stop(rt, SKUA_CANCEL), 0, "a stop cancels");
        tap_is(task_end(&waiting), -ECANCELED, "what waits for I/O");
        tap_is(task_end(&masked), -ECANCELED, "masked or not");
        close_pair(waiting.fds);
        close_pair(masked.fds);

        rt = start(workers);
        listen_on(&listener);
        task_begin(rt, &listener.task, accept_task);
        rig_until_suspended(rt, 1);
        rig_stop(rt);
        tap_is(task_end(&listener.task), -ECANCELED, "a drain ends an accept");
        put_away(listener.task.fds[0]);
}

/* ------------------------------------------------------------------ everything at once */

enum { PAIRS = 24, ROUNDS = 200 };

struct ball {
        struct task task;
        uint64_t seed;
        unsigned wrong;
};

/* Plays a byte to and fro, with deadlines that now and then are too short. */
static int play(struct skua_worker *self, struct task *task)
{
        struct ball *ball = skua_container(task, struct ball, task);
        unsigned rounds = rig_rounds(ROUNDS);
        char byte = 0;

        for (unsigned i = 0; i < rounds; i++) {
                ssize_t got;

                if (skua_await_send(self, task->fds[0], &byte, 1, 0) != 1)
                        ball->wrong++;
                do {
                        int64_t ns = (int64_t)(tap_random(&ball->seed) % 100000);

                        got = skua_await_recv_until(self, task->fds[0], &byte, 1, 0,
                                                    skua_now_ns() + ns + 1);
                } while (got == -ETIMEDOUT);
                if (got != 1)
                        ball->wrong++;
        }
        return 0;
}

static int play_back(struct skua_worker *self, struct task *task)
{
        char byte;

        while (skua_await_recv(self, task->fds[1], &byte, 1, 0) == 1)
                if (skua_await_send_all(self, task->fds[1], &byte, 1, 0, 0) != 1)
                        return -1;
        return 0;
}

static void check_games(struct skua *rt)
{
        static struct ball balls[PAIRS];
        static struct task backs[PAIRS];
        unsigned wrong = 0;

        for (unsigned i = 0; i < PAIRS; i++) {
                pair(balls[i].task.fds);
                backs[i].fds[1] = balls[i].task.fds[1];
                balls[i].seed = tap_seed_ + i;
                balls[i].wrong = 0;
                task_begin(rt, &backs[i], play_back);
                task_begin(rt, &balls[i].task, play);
        }
        for (unsigned i = 0; i < PAIRS; i++) {
                wrong += task_end(&balls[i].task) != 0 || balls[i].wrong;
                shutdown(balls[i].task.fds[0], SHUT_RDWR);
                wrong += task_end(&backs[i]) != 0;
                close_pair(balls[i].task.fds);
        }
        tap_is(wrong, 0, "many games with deadlines at random: nothing lost, nothing twice");
}

static void check_all(unsigned workers)
{
        struct skua *rt = start(workers);
        struct task task;

        task_begin(rt, &task, file_task);
        tap_is(task_end(&task), 11, "files, step by step");
        check_stream(rt);
        check_connect(rt);
        check_early(rt);
        check_several(rt);
        check_games(rt);
        rig_stop(rt);
        check_stop(workers);
}

int main(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        tap_plan(CHECKS, 120);
        check_all(1);
        check_all(3);
        flags = SKUA_NO_RING;
        check_all(1);
        check_all(3);
        return tap_done();
}
