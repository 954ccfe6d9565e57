/* SPDX-License-Identifier: MIT
 *
 * One programme of operations, run with io_uring and without: each operation must have the same
 * result on both. Then processes in which io_uring is forbidden, which must find the other path by
 * themselves.
 */
/* link: -luring */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "io/calls.h"
#include "io/compat.h"
#include "release.h"

enum { BIG = 300000 };

static char big[BIG], back[BIG];

/* ------------------------------------------------------------------ the programme */

static void open_and_stat(struct skua_worker *self, const char *path)
{
        struct statx status = {0};
        struct call one;
        char gone[96];

        snprintf(gone, sizeof gone, "%s/none", notes->folder);
        DO("open what is not there", io_uring_prep_openat, AT_FDCWD, gone, O_RDONLY, 0);
        DO("statx", io_uring_prep_statx, AT_FDCWD, path, 0, STATX_SIZE, &status);
        note("statx: size", (long long)status.stx_size, 0);
        DO("statx of nothing", io_uring_prep_statx, AT_FDCWD, gone, 0, STATX_SIZE, &status);
}

static void files(struct skua_worker *self)
{
        struct iovec vector[3] = {{big, 1000}, {big + 5000, 1}, {big + 10000, 70000}};
        struct iovec into[3] = {{back, 500}, {back + 1000, 2000}, {back + 5000, 100000}};
        char path[96], text[64] = {0};
        struct call one;
        int fd, folder;

        snprintf(path, sizeof path, "%s/file", notes->folder);
        DO("open", io_uring_prep_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        fd = one.io.res;
        notes->list[notes->count - 1].res = fd >= 0;
        DO("write", io_uring_prep_write, fd, "hello world", 11, 0);
        DO("read", io_uring_prep_read, fd, text, 5, 6);
        note("read: text", !memcmp(text, "world", 5), 0);
        DO("short read", io_uring_prep_read, fd, text, 64, 6);
        DO("read at the end", io_uring_prep_read, fd, text, 64, 11);
        DO("read where one is", io_uring_prep_read, fd, text, 3, (uint64_t)-1);
        DO("and again", io_uring_prep_read, fd, text, 3, (uint64_t)-1);
        note("its text", !memcmp(text, "lo ", 3), 0);
        DO("writev", io_uring_prep_writev, fd, vector, 3, 100);
        DO("readv", io_uring_prep_readv, fd, into, 3, 100);
        note("readv: bytes", !memcmp(back, big, 500) && !memcmp(back + 1000, big + 500, 500), 0);
        DO("fsync", io_uring_prep_fsync, fd, 0);
        DO("fdatasync", io_uring_prep_fsync, fd, IORING_FSYNC_DATASYNC);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        DO("cold read", io_uring_prep_read, fd, back, BIG, 0);
        DO("nothing to read", io_uring_prep_read, fd, back, 0, 0);
        open_and_stat(self, path);
        DO("close", io_uring_prep_close, fd);
        DO("close again", io_uring_prep_close, fd);
        DO("read what is closed", io_uring_prep_read, fd, text, 1, 0);
        DO("write to -1", io_uring_prep_write, -1, text, 1, 0);
        folder = open(notes->folder, O_RDONLY | O_DIRECTORY);
        DO("read a folder", io_uring_prep_read, folder, text, 1, 0);
        DO("fsync a folder", io_uring_prep_fsync, folder, 0);
        DO("write what is read-only", io_uring_prep_write, folder, text, 1, 0);
        DO("receive from a folder", io_uring_prep_recv, folder, text, 1, 0);
        close(folder);
        unlink(path);
}

static void pipes(struct skua_worker *self)
{
        struct call one, two;
        uint64_t value = 0;
        char text[64] = {0};
        int fd[2], event = eventfd(0, 0);

        note("pipe", pipe2(fd, O_CLOEXEC), 0);
        io_uring_prep_read(begin(self, &two), fd[0], text, 64, 0);
        settle(self);
        note("read waits", (int)atomic_load(&two.count), 0);
        DO("write to a pipe", io_uring_prep_write, fd[1], "abc", 3, 0);
        end(self, &two, "read of a pipe");
        /* More than fits: the first one fills it, the second one waits. */
        fcntl(fd[1], F_SETPIPE_SZ, 65536);
        io_uring_prep_write(begin(self, &one), fd[1], big, 65536, 0);
        end(self, &one, "fill a pipe");
        io_uring_prep_write(begin(self, &one), fd[1], big, 10, 0);
        settle(self);
        note("write waits", (int)atomic_load(&one.count), 0);
        note("by hand", read(fd[0], back, 65536), 0);
        end(self, &one, "it goes on");
        DO("read the rest", io_uring_prep_read, fd[0], back, 100, 0);
        io_uring_prep_write(begin(self, &one), fd[1], big, BIG, 0);
        end(self, &one, "write more than fits");
        note("by hand", read(fd[0], back, BIG), 0);
        close(fd[1]);
        DO("end of a pipe", io_uring_prep_read, fd[0], back, 100, 0);
        close(fd[0]);
        note("pipe", pipe2(fd, O_CLOEXEC), 0);
        close(fd[0]);
        DO("write to nobody", io_uring_prep_write, fd[1], "x", 1, 0);
        close(fd[1]);
        io_uring_prep_read(begin(self, &two), event, &value, 8, 0);
        settle(self);
        eventfd_write(event, 7);
        end(self, &two, "read of an eventfd");
        note("its value", (long long)value, 0);
        eventfd_write(event, 7);
        DO("read too little of it", io_uring_prep_read, event, text, 4, 0);
        close(event);
        note("pipe", pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
        io_uring_prep_read(begin(self, &two), fd[0], text, 64, 0);
        settle(self);
        note("non-blocking pipe: waits", (int)atomic_load(&two.count), 0);
        note("write", write(fd[1], "x", 1), 0);
        end(self, &two, "it comes");
        close(fd[0]);
        close(fd[1]);
}

static void sockets(struct skua_worker *self)
{
        struct iovec out[2] = {{"ab", 2}, {"cde", 3}}, in[2] = {{back, 1}, {back + 100, 50}};
        struct msghdr send = {.msg_iov = out, .msg_iovlen = 2};
        struct msghdr receive = {.msg_iov = in, .msg_iovlen = 2};
        struct call one, two;
        char text[64];
        int fd[2];

        note("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        DO("nothing there, asked not to wait", io_uring_prep_recv, fd[0], text, 64, MSG_DONTWAIT);
        io_uring_prep_recv(begin(self, &two), fd[0], text, 64, 0);
        settle(self);
        DO("send", io_uring_prep_send, fd[1], "abcdef", 6, 0);
        end(self, &two, "receive");
        io_uring_prep_recv(begin(self, &two), fd[0], back, 10, MSG_WAITALL);
        DO("send half", io_uring_prep_send, fd[1], "01234", 5, 0);
        settle(self);
        note("waits for all", (int)atomic_load(&two.count), 0);
        DO("send the other half", io_uring_prep_send, fd[1], "56789", 5, 0);
        end(self, &two, "receive all");
        note("its text", !memcmp(back, "0123456789", 10), 0);
        io_uring_prep_recvmsg(begin(self, &two), fd[0], &receive, 0);
        settle(self);
        DO("send a message", io_uring_prep_sendmsg, fd[1], &send, 0);
        end(self, &two, "receive a message");
        note("its text", back[0] == 'a' && !memcmp(back + 100, "bcde", 4), 0);
        /* More than the sockets hold: sent to the end while somebody reads. */
        io_uring_prep_send(begin(self, &one), fd[1], big, BIG, MSG_WAITALL);
        settle(self);
        note("send waits", (int)atomic_load(&one.count), 0);
        memset(back, 0, BIG);
        io_uring_prep_recv(begin(self, &two), fd[0], back, BIG, MSG_WAITALL);
        end(self, &one, "send much");
        end(self, &two, "receive much");
        note("its bytes", !memcmp(big, back, BIG), 0);
        DO("shut down", io_uring_prep_shutdown, fd[1], SHUT_WR);
        DO("end of stream", io_uring_prep_recv, fd[0], text, 64, 0);
        close(fd[1]);
        DO("send to nobody", io_uring_prep_send, fd[0], "x", 1, 0);
        DO("close", io_uring_prep_close, fd[0]);
}

static void connections(struct skua_worker *self)
{
        struct sockaddr_in address;
        struct call one, two;
        int listening = listener(&address), fd, other, more[3];

        io_uring_prep_socket(begin(self, &one), AF_INET, SOCK_STREAM, 0, 0);
        end(self, &one, "socket");
        fd = positive(&one.io.res);
        io_uring_prep_accept(begin(self, &two), listening, NULL, NULL, SOCK_CLOEXEC);
        settle(self);
        note("accept waits", (int)atomic_load(&two.count), 0);
        DO("connect", io_uring_prep_connect, fd, (struct sockaddr *)&address, sizeof address);
        end(self, &two, "accept");
        other = positive(&two.io.res);
        DO("connect again", io_uring_prep_connect, fd, (struct sockaddr *)&address, sizeof address);
        note("socket waits as before", fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        close(fd);
        close(other);
        io_uring_prep_multishot_accept(begin(self, &two), listening, NULL, NULL, SOCK_CLOEXEC);
        settle(self);
        for (unsigned i = 0; i < 3; i++)
                more[i] = connected_to(&address);
        until(self, &two, 3);
        for (unsigned i = 0; i < 3; i++) {
                note("accept one more", two.results[i] >= 0, two.flags[i]);
                close(two.results[i]);
                close(more[i]);
        }
        skua_io_cancel(self, &two.io);
        end(self, &two, "end of accepting");
        close(listening);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        DO("connect to nobody", io_uring_prep_connect, fd, (struct sockaddr *)&address,
           sizeof address);
        DO("accept without listening", io_uring_prep_accept, fd, NULL, NULL, 0);
        DO("receive unconnected", io_uring_prep_recv, fd, back, 1, 0);
        close(fd);
        DO("accept from a closed one", io_uring_prep_accept, fd, NULL, NULL, 0);
        DO("connect a closed one", io_uring_prep_connect, fd, (struct sockaddr *)&address,
           sizeof address);
}

static void provided(struct skua_worker *self)
{
        struct io_uring_sqe *sqe;
        struct call one, many;
        int fd[2], file = open(notes->folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

        note("write", write(file, "hello world", 11), 0);
        for (unsigned i = 0; i < 2; i++) {
                sqe = begin(self, &one);
                io_uring_prep_read(sqe, file, NULL, i ? 3 : 0, 6);
                skua_buffers_use(self, &buffers, &one.io, sqe);
                end(self, &one, "read a file into a buffer");
                skua_buffers_return(self, &buffers, one.numbers[0]);
        }
        close(file);

        note("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        sqe = begin(self, &one);
        io_uring_prep_recv(sqe, fd[0], NULL, 0, 0);
        skua_buffers_use(self, &buffers, &one.io, sqe);
        settle(self);
        note("send", send(fd[1], big, 10, 0), 0);
        end(self, &one, "receive into a buffer");
        skua_buffers_return(self, &buffers, one.numbers[0]);
        sqe = begin(self, &many);
        io_uring_prep_recv_multishot(sqe, fd[0], NULL, 0, 0);
        skua_buffers_use(self, &buffers, &many.io, sqe);
        for (unsigned i = 0; i < 4; i++) {
                note("send", send(fd[1], big, 10 + i, 0), 0);
                until(self, &many, i + 1);
                note("one more", many.results[i], many.flags[i]);
        }
        /* All four are taken: the next one waits for a return. */
        note("send", send(fd[1], big, 99, 0), 0);
        settle(self);
        settle(self);
        note("without a buffer", (int)atomic_load(&many.count), 0);
        skua_buffers_return(self, &buffers, many.numbers[2]);
        until(self, &many, 5);
        note("with one again", many.results[4], many.flags[4]);
        for (unsigned i = 0; i < 5; i++)
                if (i != 2)
                        skua_buffers_return(self, &buffers, many.numbers[i]);
        close(fd[1]);
        end(self, &many, "end of stream");
        close(fd[0]);
}

static void polls(struct skua_worker *self)
{
        struct call one, two, many;
        int fd[2];
        char c;

        note("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        DO("poll what is ready", io_uring_prep_poll_add, fd[0], POLLOUT);
        io_uring_prep_poll_add(begin(self, &two), fd[0], POLLIN);
        settle(self);
        note("poll waits", (int)atomic_load(&two.count), 0);
        note("send", send(fd[1], "x", 1, 0), 0);
        end(self, &two, "poll");
        note("receive", recv(fd[0], &c, 1, 0), 0);
        io_uring_prep_poll_multishot(begin(self, &many), fd[0], POLLIN);
        settle(self);
        for (unsigned i = 0; i < 3; i++) {
                note("send", send(fd[1], "x", 1, 0), 0);
                until(self, &many, i + 1);
                note("one more", many.results[i], many.flags[i]);
                note("receive", recv(fd[0], &c, 1, 0), 0);
        }
        DO("remove it", io_uring_prep_poll_remove, (uint64_t)(uintptr_t)&many.io);
        end(self, &many, "removed");
        DO("remove it again", io_uring_prep_poll_remove, (uint64_t)(uintptr_t)&many.io);
        close(fd[1]);
        DO("poll what has hung up", io_uring_prep_poll_add, fd[0], POLLIN);
        close(fd[0]);
        DO("poll what is closed", io_uring_prep_poll_add, fd[0], POLLIN);
}

static void cancels(struct skua_worker *self)
{
        struct call one, waits[3];
        char text[8];
        int fd[2];

        note("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        DO("cancel what is not there", io_uring_prep_cancel, &one, 0);
        DO("cancel all of it", io_uring_prep_cancel, &one, IORING_ASYNC_CANCEL_ALL);
        DO("cancel on a descriptor", io_uring_prep_cancel_fd, fd[0], 0);
        DO("cancel on no descriptor", io_uring_prep_cancel_fd, -1, 0);
        io_uring_prep_recv(begin(self, &waits[0]), fd[0], text, 8, 0);
        settle(self);
        skua_io_cancel(self, &waits[0].io);
        end(self, &waits[0], "cancelled");
        io_uring_prep_recv(begin(self, &waits[0]), fd[0], text, 8, 0);
        settle(self);
        DO("cancel by its name", io_uring_prep_cancel, &waits[0].io, 0);
        end(self, &waits[0], "cancelled");
        for (unsigned i = 0; i < 3; i++)
                io_uring_prep_recv(begin(self, &waits[i]), fd[0], text, 8, 0);
        settle(self);
        DO("cancel one on a descriptor", io_uring_prep_cancel_fd, fd[0], 0);
        DO("cancel the others", io_uring_prep_cancel_fd, fd[0], IORING_ASYNC_CANCEL_ALL);
        for (unsigned i = 0; i < 3; i++)
                end(self, &waits[i], "cancelled");
        io_uring_prep_recv(begin(self, &waits[0]), fd[0], back, 20, MSG_WAITALL);
        note("send", send(fd[1], "half", 4, 0), 0);
        settle(self);
        skua_io_cancel(self, &waits[0].io);
        end(self, &waits[0], "cancelled half-way");
        io_uring_prep_recv(begin(self, &waits[0]), fd[0], text, 8, 0);
        io_uring_prep_poll_add(begin(self, &waits[1]), fd[0], POLLIN);
        settle(self);
        skua_group_init(&one.group);
        atomic_store(&one.count, 0);
        skua_io_close(self, &one.io, fd[0], done);
        until(self, &one, 1);
        note("close in spite of", one.results[0], 0);
        end(self, &waits[0], "cancelled");
        end(self, &waits[1], "cancelled");
        close(fd[1]);
}

static void chain(struct skua_worker *self, int fd, unsigned flags, const char *const names[3])
{
        struct io_uring_sqe *sqe;
        struct call c[3];

        skua_io_reserve(self, 3);
        sqe = begin(self, &c[0]);
        io_uring_prep_write(sqe, fd, "12", 2, 0);
        sqe->flags |= IOSQE_IO_LINK;
        sqe = begin(self, &c[1]);
        io_uring_prep_read(sqe, fd, back, 4, 0); /* cut short: a failure */
        sqe->flags |= (uint8_t)flags;
        io_uring_prep_write(begin(self, &c[2]), fd, "34", 2, 2);
        for (unsigned i = 0; i < 3; i++)
                end(self, &c[i], names[i]);
}

static void links(struct skua_worker *self)
{
        struct __kernel_timespec time = {.tv_nsec = 1000000};
        struct io_uring_sqe *sqe;
        struct call one, c[3];
        char path[96];
        int fd[2], file;

        snprintf(path, sizeof path, "%s/chain", notes->folder);
        file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        chain(self, file, IOSQE_IO_LINK, (const char *const[]){"first", "short", "not begun"});
        chain(self, file, IOSQE_IO_HARDLINK, (const char *const[]){"first", "short", "begun"});
        close(file);
        unlink(path);
        note("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
        skua_io_reserve(self, 3);
        sqe = begin(self, &c[0]);
        io_uring_prep_recv(sqe, fd[0], back, 4, 0);
        sqe->flags |= IOSQE_IO_LINK;
        sqe = begin(self, &c[1]);
        io_uring_prep_timeout(sqe, &time, 0, IORING_TIMEOUT_ETIME_SUCCESS);
        sqe->flags |= IOSQE_IO_LINK;
        io_uring_prep_send(begin(self, &c[2]), fd[0], "back", 4, 0);
        settle(self);
        time.tv_sec = 1000; /* what was shown may change */
        note("the first waits", (int)atomic_load(&c[0].count), 0);
        DO("send", io_uring_prep_send, fd[1], "to", 2, 0);
        end(self, &c[0], "it has come");
        end(self, &c[1], "some time later");
        end(self, &c[2], "answered");
        skua_io_reserve(self, 2);
        sqe = begin(self, &c[0]);
        io_uring_prep_recv(sqe, fd[0], back, 4, 0);
        sqe->flags |= IOSQE_IO_LINK;
        io_uring_prep_nop(begin(self, &c[1]));
        settle(self);
        skua_io_cancel(self, &c[0].io);
        end(self, &c[0], "cancelled");
        end(self, &c[1], "and what follows");
        close(fd[0]);
        close(fd[1]);
}

static void times(struct skua_worker *self)
{
        struct __kernel_timespec time = {.tv_nsec = 2000000}, later = {.tv_sec = 1000};
        int64_t begun = skua_now_ns(), at = begun + 2000000;
        struct call one, two;

        DO("timeout", io_uring_prep_timeout, &time, 0, 0);
        note("it took that long", skua_now_ns() - begun >= 2000000, 0);
        time = (struct __kernel_timespec){.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
        DO("timeout at a time", io_uring_prep_timeout, &time, 0, IORING_TIMEOUT_ABS);
        io_uring_prep_timeout(begin(self, &two), &later, 0, 0);
        settle(self);
        DO("remove it", io_uring_prep_timeout_remove, (uint64_t)(uintptr_t)&two.io, 0);
        end(self, &two, "removed");
        DO("remove it again", io_uring_prep_timeout_remove, (uint64_t)(uintptr_t)&two.io, 0);
        io_uring_prep_timeout(begin(self, &two), &later, 0, 0);
        settle(self);
        skua_io_cancel(self, &two.io);
        end(self, &two, "cancelled");
        time = (struct __kernel_timespec){.tv_nsec = 1000000};
        io_uring_prep_timeout(begin(self, &two), &time, 3, COMPAT_TIMEOUT_MULTISHOT);
        end(self, &two, "the last of three");
        note("as many", (int)atomic_load(&two.count), two.flags[0]);
        time = (struct __kernel_timespec){.tv_sec = -1};
        DO("timeout of nonsense", io_uring_prep_timeout, &time, 0, 0);
}

static void programme(struct skua_worker *self, void *arg)
{
        (void)arg;
        files(self);
        pipes(self);
        sockets(self);
        connections(self);
        provided(self);
        polls(self);
        cancels(self);
        links(self);
        times(self);
}

static void run_programme(struct skua *rt, struct notes *out)
{
        notes = out;
        notes->count = 0;
        snprintf(notes->folder, sizeof notes->folder, "/tmp/skua-io-XXXXXX");
        if (!mkdtemp(notes->folder) || skua_buffers_init(rt, &buffers, 4, 256) ||
            skua_run(rt, programme, NULL))
                exit(3);
        skua_buffers_fini(&buffers);
        rmdir(notes->folder);
}

static uint32_t ring_of(struct skua *rt, int *error)
{
        struct skua_stats stats;

        stats.size = sizeof stats;
        skua_stats_read(rt, &stats);
        *error = stats.ring_error;
        return stats.ring_path;
}

static struct notes by_ring, by_epoll;

static void compare(const struct notes *a, const struct notes *b)
{
        unsigned differ = 0;

        for (unsigned i = 0; i < a->count && i < b->count; i++) {
                const struct note *x = &a->list[i], *y = &b->list[i];

                if (x->res == y->res && x->flags == y->flags)
                        continue;
                differ++;
                printf("#   %u %s: %lld flags %x, but %s: %lld flags %x\n", i, x->name, x->res,
                       x->flags, y->name, y->res, y->flags);
        }
        tap_ok(a->count == b->count && !differ, "%u operations have the same results", a->count);
}

static void test_same(unsigned workers)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct skua *rt;
        int error;

        options.flags = kernel_is_old() ? SKUA_NO_RING : 0;
        rt = rig_start(workers, &options);

        run_programme(rt, &by_ring);
        if (ring_of(rt, &error) == SKUA_RING_EPOLL)
                tap_skip(1, error ? strerror(-error) : "before Linux 6.7");
        else
                tap_is(error, 0, "io_uring, no error");
        rig_stop(rt);
        options.flags = SKUA_NO_RING;
        rt = rig_start(workers, &options);
        run_programme(rt, &by_epoll);
        tap_ok(ring_of(rt, &error) == SKUA_RING_EPOLL && !error, "epoll, because it was wished");
        rig_stop(rt);
        compare(&by_ring, &by_epoll);
}

/* ------------------------------------------------------------------ where it is forbidden */

/* In this process io_uring_setup gives an error. */
static int forbid(int error)
{
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
                return -errno;
        return 0;
}

/* The programme in a process that has been told nothing: 0 if all is as it should be. */
static int restricted(int expected)
{
        struct skua *rt = rig_start(1, NULL);
        uint32_t path;
        int error;

        run_programme(rt, &by_ring);
        path = ring_of(rt, &error);
        rig_stop(rt);
        return path == SKUA_RING_EPOLL && error == -expected && by_ring.count > 100 ? 0 : 1;
}

static void test_forbidden(const char *name, int error)
{
        char number[16];
        int status = 0;
        pid_t child;

        snprintf(number, sizeof number, "%d", error);
        fflush(stdout);
        child = fork();
        if (child == 0) {
                if (forbid(error))
                        _exit(77);
                execl("/proc/self/exe", "fallback", "restricted", number, NULL);
                _exit(2);
        }
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                tap_skip(1, "no seccomp here");
        else
                tap_is(status, 0, name);
}

int main(int argc, char **argv)
{
        signal(SIGPIPE, SIG_IGN);
        for (unsigned i = 0; i < BIG; i++)
                big[i] = (char)(i * 7 + i / 256);
        if (argc == 3 && !strcmp(argv[1], "restricted")) {
                alarm(100);
                return restricted(atoi(argv[2]));
        }
        tap_plan(8, 120);
        test_same(1);
        test_same(2);
        test_forbidden("io_uring is forbidden: EPERM", EPERM);
        test_forbidden("io_uring is not there: ENOSYS", ENOSYS);
        return tap_done();
}
