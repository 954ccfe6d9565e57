/* SPDX-License-Identifier: MIT
 *
 * How many random reads of 4 KiB per second, O_DIRECT, 32 in flight, on one worker? With plain
 * descriptors and buffers, and with registered ones; the floor is a loop written by hand, with what
 * the kernel likes best. The file is $IO_READ_FILE, else one that is made in build/.
 */
/* link: -luring */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DEPTH = 32, BLOCK = 4096, LOOK = 64 /* reads between looks at the clock */ };
#define WINDOW_NS 700000000
#define FILE_MADE "build/io-read.data"
#define FILE_SIZE (256 << 20)

static int fd;
static uint64_t blocks;
static struct iovec buffers[DEPTH];

static struct {
        struct skua_io operations[DEPTH];
        struct skua_group group;
        bool registered;
        unsigned flight;
        uint64_t reads;
        int64_t begin_ns, end_ns; /* of the window */
        bool over;
} run;

/* ---------------------------------------------------------------- the file */

static void make_file(const char *path)
{
        char *block = malloc(1 << 20);
        FILE *f = fopen(path, "we");

        if (block == NULL || f == NULL) {
                perror(path);
                exit(1);
        }
        memset(block, 'r', 1 << 20);
        for (int i = 0; i < FILE_SIZE >> 20; i++)
                if (fwrite(block, 1 << 20, 1, f) != 1)
                        exit(1);
        if (fflush(f) != 0 || fsync(fileno(f)) != 0 || fclose(f) != 0)
                exit(1);
        free(block);
}

static void open_file(void)
{
        const char *path = getenv("IO_READ_FILE");
        struct stat st;

        if (path == NULL) {
                path = FILE_MADE;
                if (stat(path, &st) != 0 || st.st_size != FILE_SIZE)
                        make_file(path);
        }
        fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < BLOCK) {
                perror(path);
                exit(1);
        }
        blocks = (uint64_t)st.st_size / BLOCK;
        printf("# file      %s, %lld MiB\n", path, (long long)st.st_size >> 20);
}

static uint64_t random_offset(void)
{
        static uint64_t state = 88172645463325252u;

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state % blocks * BLOCK;
}

/* One more read has ended. Is it time to end? */
static bool over(int32_t res)
{
        if (res != BLOCK)
                bench_wrong("a read gave %d", res);
        if (++run.reads % LOOK == 0 || res != BLOCK) {
                run.end_ns = bench_now_ns();
                run.over |= run.end_ns - run.begin_ns >= WINDOW_NS / (bench.quick ? 5 : 1) ||
                            res != BLOCK;
        }
        return run.over;
}

static void prepare(struct io_uring_sqe *sqe, unsigned i)
{
        if (run.registered) {
                io_uring_prep_read_fixed(sqe, 0, buffers[i].iov_base, BLOCK, random_offset(),
                                         (int)i);
                sqe->flags |= IOSQE_FIXED_FILE;
        } else {
                io_uring_prep_read(sqe, fd, buffers[i].iov_base, BLOCK, random_offset());
        }
}

static void begin_run(bool registered)
{
        run.registered = registered;
        run.over = false;
        run.reads = 0;
        run.flight = DEPTH;
        run.begin_ns = bench_now_ns();
}

static void end_run(struct bench_result *r)
{
        bench_add(r, (double)run.reads * 1e9 / (double)(run.end_ns - run.begin_ns));
}

/* ---------------------------------------------------------------- the contestants */

static void done(struct skua_worker *self, struct skua_job *job)
{
        struct skua_io *io = skua_container(job, struct skua_io, job);

        if (!over(io->res))
                prepare(skua_io_prepare(self, io, done), (unsigned)(io - run.operations));
        else if (--run.flight == 0)
                skua_group_release(&run.group, 0);
}

static void begin(struct skua_worker *self, void *arg)
{
        bool registered = *(const bool *)arg;

        if (registered && (skua_io_register_files(self, &fd, 1) != 0 ||
                           skua_io_register_buffers(self, buffers, DEPTH) != 0))
                bench_wrong("nothing can be registered");
        begin_run(registered);
        for (unsigned i = 0; i < DEPTH; i++)
                prepare(skua_io_prepare(self, &run.operations[i], done), i);
}

static void skua(const struct bench_contestant *c, struct bench_result *r)
{
        struct skua *rt = engine_start_skua(c->workers);
        bool registered = c->what != NULL;

        skua_group_init(&run.group);
        skua_group_hold(&run.group, 1);
        if (skua_run(rt, begin, &registered) != 0 || skua_group_wait(&run.group, -1) != 0)
                bench_wrong("no reads");
        skua_stop(rt, SKUA_DRAIN);
        end_run(r);
}

static void read_by_hand(struct io_uring *ring)
{
        struct io_uring_cqe *cqe;
        unsigned head;

        begin_run(true);
        for (unsigned i = 0; i < DEPTH; i++) {
                struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
                prepare(sqe, i);
                sqe->user_data = i;
        }
        while (run.flight > 0) {
                unsigned seen = 0;
                io_uring_submit_and_wait(ring, 1);
                io_uring_for_each_cqe(ring, head, cqe)
                {
                        seen++;
                        if (over(cqe->res)) {
                                run.flight--;
                                continue;
                        }
                        struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
                        prepare(sqe, (unsigned)cqe->user_data);
                        sqe->user_data = cqe->user_data;
                }
                io_uring_cq_advance(ring, seen);
        }
}

static void by_hand(const struct bench_contestant *c, struct bench_result *r)
{
        struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                                  IORING_SETUP_DEFER_TASKRUN};
        struct io_uring ring;

        (void)c;
        if (io_uring_queue_init_params(2 * DEPTH, &ring, &params) != 0 ||
            io_uring_register_ring_fd(&ring) != 1 || io_uring_register_files(&ring, &fd, 1) != 0 ||
            io_uring_register_buffers(&ring, buffers, DEPTH) != 0) {
                bench_wrong("no ring");
                return;
        }
        read_by_hand(&ring);
        end_run(r);
        io_uring_queue_exit(&ring);
}

int main(int argc, char **argv)
{
        struct bench_contestant list[] = {
                {"liburing by hand", BENCH_BASELINE, by_hand, NULL, 1, 0},
                {"skua", BENCH_SKUA, skua, NULL, 1, 0},
                {"skua, registered", BENCH_SKUA, skua, "registered", 1, 0},
        };
        size_t count = sizeof list / sizeof list[0];

        bench_begin(argc, argv, "how many random reads of 4 KiB per second?");
        open_file();
        for (unsigned i = 0; i < DEPTH; i++) {
                buffers[i].iov_base = aligned_alloc(BLOCK, BLOCK);
                buffers[i].iov_len = BLOCK;
                if (buffers[i].iov_base == NULL)
                        return 1;
        }
        if (bench_wanted("read 4 KiB, 32 in flight")) {
                bench_measure("read 4 KiB, 32 in flight", "IOPS", list, count);
                for (size_t i = 1; i < count; i++)
                        bench_note(list[i].result, "%.3f of the floor",
                                   bench_median(list[i].result) / bench_median(list[0].result));
        }
        return bench_end();
}
