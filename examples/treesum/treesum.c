/* SPDX-License-Identifier: MIT
 *
 * treesum: the SHA-256 of every regular file below some folders, computed in parallel and printed
 * in the order of the walk, byte for byte as sha256sum prints it for the same list of names.
 *
 * Two kinds of actor do the work. A reader opens, reads, hashes and closes one file after the
 * other; each step is an operation of I/O whose completion is the job that does the next one, so
 * that a worker has several files under way. The walk job takes names from the walk (walk.h) and
 * puts them into batches, from which the readers take them; when all batches of the window are
 * under way it returns, and the group of the oldest one submits it again as soon as that batch is
 * done (skua_group_then). It prints that batch, fills it anew, and so on. So nobody ever waits, the
 * memory is bounded, and whichever worker is free goes on with the walk.
 */
/* link: -lcrypto -luring */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <skua.h>

#include "names.h"
#include "walk.h"

#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum {
        BATCH_FILES = 64,     /* one turn of the walk job */
        WINDOW_BATCHES = 256, /* how far the hashing may be ahead of the oldest file unfinished */
        READERS = 8,          /* files under way per worker */
        BUFFER_BYTES = 128 * 1024,
        SUM_BYTES = 32
};

struct file {
        struct batch *batch;
        char *name;
        int error; /* why there is no sum, an errno */
        int open_flags;
        unsigned char sum[SUM_BYTES];
};

struct batch {
        struct skua_group group; /* held once for each file that has no sum yet */
        size_t count;
        struct file files[BATCH_FILES];
};

/* Has one operation under way at a time, and so all of this to itself. */
struct reader {
        struct skua_io io;
        struct skua_job begin; /* starts it where somebody has time */
        struct reader *next;   /* in the list of the idle ones */
        struct file *file;
        int fd;
        EVP_MD_CTX *digest;
        unsigned char buffer[BUFFER_BYTES];
};

/* What one worker has done: written by it alone, read by the progress line. */
struct worker_count {
        _Alignas(128) _Atomic uint64_t files;
        _Atomic uint64_t bytes;
};

struct treesum {
        struct skua_job walk_job;
        struct walk walk;
        struct batch *window;     /* batch number n is window[n % WINDOW_BATCHES] */
        uint64_t filled, printed; /* batches so far; between them: under way */
        int write_error;
        bool failed; /* something was not readable: the exit status */
};

/* Where readers get files: the batches from `next` up to `end`. */
static struct {
        pthread_mutex_t lock;
        struct batch *window;
        uint64_t next, end;
        size_t next_file; /* of batch `next` */
        struct reader *idle;
} desk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct skua_group everything; /* held by the walk job until the last line is printed */
static struct reader *readers;
static struct worker_count *counts; /* of each worker */
static EVP_MD *sha256;
static volatile sig_atomic_t stop_signal;
static bool show_progress, show_table;

/* ---------------------------------------------------------------- hashing */

static void count_up(_Atomic uint64_t *counter, uint64_t more)
{
        /* One writer: no read-modify-write. Relaxed: a figure for the eye, it orders nothing. */
        uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
        atomic_store_explicit(counter, now + more, memory_order_relaxed);
}

/* The next file; NULL: there is none now, and the reader is among the idle ones. */
static struct file *take_file(struct reader *r)
{
        struct file *f = NULL;

        pthread_mutex_lock(&desk.lock);
        if (desk.next < desk.end) {
                struct batch *b = &desk.window[desk.next % WINDOW_BATCHES];
                f = &b->files[desk.next_file++];
                if (desk.next_file == b->count) {
                        desk.next++;
                        desk.next_file = 0;
                }
        } else {
                r->next = desk.idle;
                desk.idle = r;
        }
        pthread_mutex_unlock(&desk.lock);
        return f;
}

/* Each step fills in an operation and says what comes after it. */
static struct io_uring_sqe *step(struct skua_worker *self, struct reader *r, skua_fn *then)
{
        struct io_uring_sqe *sqe = skua_io_prepare(self, &r->io, then);

        if (!sqe)
                out_of_memory();
        return sqe;
}

static struct reader *reader_of(struct skua_job *job)
{
        return skua_container(job, struct reader, io.job);
}

static skua_fn opened, have_read, closed;

static void next_file(struct skua_worker *self, struct reader *r)
{
        while ((r->file = take_file(r)) && (r->file->error || skua_group_cancelled(&everything)))
                skua_group_release(&r->file->batch->group, -r->file->error);
        if (r->file)
                io_uring_prep_openat(step(self, r, opened), AT_FDCWD, r->file->name,
                                     O_RDONLY | O_CLOEXEC | r->file->open_flags, 0);
}

/* The file has its sum or its error. It is no longer ours then. */
static void end_file(struct skua_worker *self, struct reader *r)
{
        skua_group_release(&r->file->batch->group, -r->file->error); /* 0 is ignored */
        next_file(self, r);
}

static void begin(struct skua_worker *self, struct skua_job *job)
{
        next_file(self, skua_container(job, struct reader, begin));
}

static void read_more(struct skua_worker *self, struct reader *r)
{
        io_uring_prep_read(step(self, r, have_read), r->fd, r->buffer, sizeof r->buffer,
                           (uint64_t)-1 /* from where it stands: it may be a pipe */);
}

static void opened(struct skua_worker *self, struct skua_job *job)
{
        struct reader *r = reader_of(job);

        r->fd = r->io.res;
        if (r->fd < 0) {
                r->file->error = -r->fd;
                end_file(self, r);
                return;
        }
        if (!EVP_DigestInit_ex(r->digest, sha256, NULL))
                r->file->error = EIO;
        read_more(self, r);
}

static int hash(struct skua_worker *self, struct reader *r, int32_t bytes)
{
        struct worker_count *mine = &counts[skua_worker_index(self)];

        if (bytes < 0)
                return -bytes;
        if (skua_group_cancelled(&everything))
                return ECANCELED;
        if (bytes == 0)
                return EVP_DigestFinal_ex(r->digest, r->file->sum, NULL) ? 0 : EIO;
        count_up(&mine->bytes, (uint64_t)bytes);
        return EVP_DigestUpdate(r->digest, r->buffer, (size_t)bytes) ? 0 : EIO;
}

static void have_read(struct skua_worker *self, struct skua_job *job)
{
        struct reader *r = reader_of(job);
        int32_t bytes = r->io.res;

        if (!r->file->error)
                r->file->error = hash(self, r, bytes);
        if (bytes > 0 && !r->file->error)
                read_more(self, r);
        else
                io_uring_prep_close(step(self, r, closed), r->fd);
}

static void closed(struct skua_worker *self, struct skua_job *job)
{
        count_up(&counts[skua_worker_index(self)].files, 1);
        end_file(self, reader_of(job));
}

/* Another batch may be read: starts the idle readers. */
static void offer_batch(struct skua_worker *self, struct batch *b)
{
        struct reader *idle, *next;

        skua_group_hold(&b->group, (unsigned)b->count);
        pthread_mutex_lock(&desk.lock);
        desk.end++;
        idle = desk.idle;
        desk.idle = NULL;
        pthread_mutex_unlock(&desk.lock);
        for (; idle; idle = next) {
                next = idle->next;
                skua_spawn(self, &idle->begin);
        }
}

/* ---------------------------------------------------------------- printing */

static void print_error(const struct file *f)
{
        flockfile(stderr); /* against the progress line */
        fputs(show_progress ? "\r\033[Ktreesum: " : "treesum: ", stderr);
        print_quoted(stderr, f->name);
        fprintf(stderr, ": %s\n", strerror(f->error));
        funlockfile(stderr);
}

static bool print_sum(const struct file *f)
{
        char hex[2 * SUM_BYTES + 1];

        for (size_t i = 0; i < SUM_BYTES; i++) {
                hex[2 * i] = "0123456789abcdef"[f->sum[i] >> 4];
                hex[2 * i + 1] = "0123456789abcdef"[f->sum[i] & 15];
        }
        hex[2 * SUM_BYTES] = '\0';
        print_line(stdout, hex, f->name);
        return !ferror(stdout);
}

static void print_batch(struct treesum *t, struct batch *b)
{
        if (skua_group_error(&b->group) != 0)
                t->failed = true;
        for (size_t i = 0; i < b->count; i++) {
                struct file *f = &b->files[i];
                if (skua_group_cancelled(&everything))
                        ; /* nothing more, so that the output is a beginning of the whole */
                else if (f->error)
                        print_error(f);
                else if (!print_sum(f)) {
                        t->write_error = errno;
                        skua_group_cancel(&everything);
                }
                free(f->name);
        }
}

/* ---------------------------------------------------------------- walking */

/* Takes up to BATCH_FILES names from the walk. An unreadable folder takes a place too, so that
 * messages come in the order of the walk. False: there was nothing left. */
static bool fill_batch(struct treesum *t, struct batch *b)
{
        b->count = 0;
        skua_group_init_under(&b->group, &everything);
        while (b->count < BATCH_FILES && !skua_group_cancelled(&everything)) {
                struct file *f = &b->files[b->count];
                if (!walk_next(&t->walk, &f->error))
                        break;
                /* If somebody puts a link or a pipe in the place of a file that was found, it is
                 * not followed and does not block the worker. */
                f->open_flags = t->walk.is_below ? O_NOFOLLOW | O_NONBLOCK : 0;
                f->name = strdup(t->walk.path);
                if (!f->name)
                        out_of_memory();
                f->batch = b;
                b->count++;
        }
        return b->count > 0;
}

/* The walk job. Runs at first with nothing under way, then each time the oldest batch is done. */
static void walk_on(struct skua_worker *self, struct skua_job *job)
{
        struct treesum *t = skua_container(job, struct treesum, walk_job);

        if (t->printed < t->filled)
                print_batch(t, &t->window[t->printed++ % WINDOW_BATCHES]);
        while (t->filled < t->printed + WINDOW_BATCHES) {
                struct batch *b = &t->window[t->filled % WINDOW_BATCHES];
                if (!fill_batch(t, b))
                        break;
                t->filled++;
                offer_batch(self, b);
        }
        if (t->printed < t->filled)
                skua_group_then(skua_runtime(self), &t->window[t->printed % WINDOW_BATCHES].group,
                                &t->walk_job);
        else
                skua_group_release(&everything, t->failed ? -EIO : 0);
}

/* ---------------------------------------------------------------- the program around it */

static void on_stop_signal(int number)
{
        stop_signal = number;
        skua_group_cancel(&everything); /* async-signal-safe; a second signal kills */
}

/* Called by the main thread, which has nothing else to do; the workers do not notice. */
static void print_progress(struct skua *rt, int64_t started_ns)
{
        uint64_t files = 0, bytes = 0;

        for (unsigned i = 0; i < skua_workers(rt); i++) {
                files += atomic_load_explicit(&counts[i].files, memory_order_relaxed);
                bytes += atomic_load_explicit(&counts[i].bytes, memory_order_relaxed);
        }
        fprintf(stderr, "\r%" PRIu64 " files, %.0f MB, %.0f MB/s\033[K", files, (double)bytes / 1e6,
                (double)bytes * 1e3 / (double)(skua_now_ns() - started_ns));
}

static void print_table(struct skua *rt)
{
        fputs("worker      jobs  stolen:local  :remote     parks    busy ms         MB\n", stderr);
        for (unsigned i = 0; i < skua_workers(rt); i++) {
                struct skua_worker_stats s = {.size = sizeof s};
                uint64_t bytes = atomic_load_explicit(&counts[i].bytes, memory_order_relaxed);
                skua_stats_worker(rt, i, &s);
                fprintf(stderr, "%6u %9" PRIu64 " %13" PRIu64 " %8" PRIu64 " %9" PRIu64, i, s.run,
                        s.stolen_local, s.stolen_remote, s.parks);
                fprintf(stderr, " %10.1f %10.1f\n", (double)s.busy_ns / 1e6, (double)bytes / 1e6);
        }
}

static int failure(const char *what, int error)
{
        fprintf(stderr, "treesum: %s: %s\n", what, strerror(error));
        return EXIT_FAILURE;
}

static int usage(FILE *out)
{
        fputs("usage: treesum [-npqt] [-j workers] folder-or-file...\n"
              "SHA-256 of every regular file below the folders, in parallel, printed as by\n"
              "sha256sum for the list of `find -type f | LC_ALL=C sort`.\n"
              "  -j N     N workers; default: the CPUs that the process may use\n"
              "  -n       without io_uring\n"
              "  -p       pin each worker to one CPU\n"
              "  -q       no progress line (there is one only if of both outputs stderr alone\n"
              "           is a terminal)\n"
              "  -t       at the end, what each worker did, on stderr\n"
              "  --help   this text\n"
              "Exit status: 0, 1 if something could not be read, 128 + n after signal n.\n",
              out);
        return out == stdout ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Puts the command line into *options. Returns -1, or the exit status if that is all. */
static int read_command_line(struct skua_options *options, int argc, char **argv)
{
        static const struct option words[] = {{"help", no_argument, NULL, 'h'}, {0}};
        bool quiet = false;
        char *end;
        int c;

        while ((c = getopt_long(argc, argv, "j:npqt", words, NULL)) != -1) {
                switch (c) {
                case 'j':
                        options->workers = (unsigned)strtoul(optarg, &end, 10);
                        if (*optarg < '1' || *optarg > '9' || *end || strlen(optarg) > 4)
                                return failure("-j", EINVAL);
                        break;
                case 'n':
                        options->flags |= SKUA_NO_RING;
                        break;
                case 'p':
                        options->flags |= SKUA_PIN;
                        break;
                case 'q':
                        quiet = true;
                        break;
                case 't':
                        show_table = true;
                        break;
                default:
                        return usage(c == 'h' ? stdout : stderr);
                }
        }
        show_progress = !quiet && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
        return optind < argc ? -1 : usage(stderr);
}

static bool readers_init(unsigned workers)
{
        size_t count = (size_t)workers * READERS;

        /* Fetched once: looking it up for each file would take locks in libcrypto. */
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        counts = aligned_alloc(_Alignof(struct worker_count), workers * sizeof *counts);
        readers = calloc(count, sizeof *readers);
        for (size_t i = 0; readers && i < count; i++) {
                struct reader *r = &readers[i];
                if (!(r->digest = EVP_MD_CTX_new()))
                        return false;
                skua_job_init(&r->begin, begin);
                r->next = desk.idle;
                desk.idle = r;
        }
        if (counts)
                memset(counts, 0, workers * sizeof *counts);
        return counts && readers && sha256;
}

static void readers_fini(unsigned workers)
{
        for (size_t i = 0; i < (size_t)workers * READERS; i++)
                EVP_MD_CTX_free(readers[i].digest);
        free(readers);
        free(counts);
        EVP_MD_free(sha256);
}

/* Returns 0 if every file was read, -EIO if not, -ECANCELED after an interruption. */
static int sum_all(struct skua *rt, struct treesum *t)
{
        /* Nobody looks at the figures more than ten times a second, or at all. */
        int64_t pause_ns = show_progress ? 100 * 1000 * 1000 : -1;
        int64_t started_ns = skua_now_ns();
        int result;

        skua_job_init(&t->walk_job, walk_on);
        if (skua_submit(rt, &t->walk_job) != 0)
                abort(); /* not closed, no limit: it can not refuse */
        while ((result = skua_group_wait(&everything, pause_ns)) == -ETIMEDOUT)
                print_progress(rt, started_ns);
        if (show_progress)
                fputs("\r\033[K", stderr);
        if (show_table)
                print_table(rt);
        return result;
}

int main(int argc, char **argv)
{
        struct skua_options options = SKUA_OPTIONS_INIT;
        struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = (int)SA_RESETHAND};
        struct treesum t = {0};
        struct skua *rt;

        options.name = "tree";
        int result = read_command_line(&options, argc, argv);
        if (result >= 0)
                return result;
        result = skua_start(&rt, &options);
        if (result < 0)
                return failure("cannot start the workers", -result);
        unsigned workers = skua_workers(rt);
        t.walk.roots = argv + optind;
        desk.window = t.window = calloc(WINDOW_BATCHES, sizeof *t.window);
        if (!readers_init(workers) || !t.window)
                return failure("cannot set up SHA-256", ENOMEM);
        skua_group_init(&everything);
        skua_group_hold(&everything, 1);
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);

        result = sum_all(rt, &t);
        skua_stop(rt, SKUA_DRAIN);
        walk_end(&t.walk);
        readers_fini(workers);
        free(t.window);
        if (fflush(stdout) != 0 && !t.write_error)
                t.write_error = errno;
        if (t.write_error)
                return failure("write error", t.write_error);
        if (stop_signal)
                return 128 + stop_signal;
        return result ? EXIT_FAILURE : EXIT_SUCCESS;
}
