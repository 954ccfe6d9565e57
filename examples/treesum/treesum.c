/* SPDX-License-Identifier: MIT
 *
 * treesum: the SHA-256 of every regular file below some folders, computed in parallel and printed
 * in the order of the walk, byte for byte as sha256sum prints it for the same list of names.
 *
 * Two kinds of job do the work. A hash job reads one file. The walk job takes names from the walk
 * (walk.h), puts them into batches and submits those; when all batches of the window are under way
 * it returns, and the group of the oldest one submits it again as soon as that batch is done
 * (skua_group_then). It prints that batch, fills it anew, and so on. So nobody ever waits, the
 * memory is bounded, and whichever worker is free goes on with the walk.
 */
/* link: -lcrypto */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <skua.h>

#include "names.h"
#include "walk.h"

#include <getopt.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdatomic.h>

enum {
        BATCH_FILES = 64,     /* jobs for one wake-up decision, one turn of the walk job */
        WINDOW_BATCHES = 256, /* how far the hashing may be ahead of the oldest file unfinished */
        BUFFER_BYTES = 128 * 1024,
        SUM_BYTES = 32
};

struct file {
        struct skua_job job;
        char *name;
        int error; /* why there is no sum, an errno */
        int open_flags;
        unsigned char sum[SUM_BYTES];
};

struct batch {
        struct skua_group group;
        size_t count;
        struct file files[BATCH_FILES];
};

/* What belongs to one worker. A job stays on the worker that has started it, and a hash job never
 * waits inside, so it has all of this to itself; the progress line only reads the two counters. */
struct scratch {
        EVP_MD_CTX *digest;
        _Atomic uint64_t file_count, byte_count;
        unsigned char buffer[BUFFER_BYTES];
};

struct treesum {
        struct skua_job walk_job;
        struct walk walk;
        struct batch *window;     /* batch number n is window[n % WINDOW_BATCHES] */
        uint64_t filled, printed; /* batches so far; between them: under way */
        int write_error;
        bool failed; /* something was not readable: the exit status */
};

static struct skua_group everything; /* held by the walk job until the last line is printed */
static struct scratch *scratch;      /* one per worker */
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

static int hash_open_file(struct skua_worker *self, int fd, unsigned char *sum)
{
        struct scratch *mine = &scratch[skua_worker_index(self)];

        if (!EVP_DigestInit_ex(mine->digest, sha256, NULL))
                return EIO;
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        for (;;) {
                if (skua_cancelled(self))
                        return ECANCELED;
                ssize_t bytes = read(fd, mine->buffer, sizeof mine->buffer);
                if (bytes < 0)
                        return errno;
                if (bytes == 0)
                        break;
                if (!EVP_DigestUpdate(mine->digest, mine->buffer, (size_t)bytes))
                        return EIO;
                count_up(&mine->byte_count, (uint64_t)bytes);
        }
        count_up(&mine->file_count, 1);
        return EVP_DigestFinal_ex(mine->digest, sum, NULL) ? 0 : EIO;
}

static void hash_file(struct skua_worker *self, struct skua_job *job)
{
        struct file *f = skua_container(job, struct file, job);

        if (skua_cancelled(self))
                return; /* it was accepted, so it is called all the same */
        if (!f->error) {
                int fd = open(f->name, O_RDONLY | O_CLOEXEC | f->open_flags);
                f->error = fd < 0 ? errno : hash_open_file(self, fd, f->sum);
                if (fd >= 0)
                        close(fd);
        }
        skua_fail(self, -f->error); /* to the batch's group; 0 is ignored */
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
                skua_job_init(&f->job, hash_file);
                b->count++;
        }
        return b->count > 0;
}

static void submit_batch(struct skua_worker *self, struct batch *b)
{
        struct skua_target where = SKUA_TARGET_INIT;

        where.group = &b->group;
        ssize_t accepted = skua_submit_array(skua_runtime(self), b->files, b->count,
                                             sizeof *b->files, &where);
        if (accepted != (ssize_t)b->count)
                abort(); /* nobody closes this runtime while the walk is on */
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
                submit_batch(self, b);
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
                files += atomic_load_explicit(&scratch[i].file_count, memory_order_relaxed);
                bytes += atomic_load_explicit(&scratch[i].byte_count, memory_order_relaxed);
        }
        fprintf(stderr, "\r%" PRIu64 " files, %.0f MB, %.0f MB/s\033[K", files, (double)bytes / 1e6,
                (double)bytes * 1e3 / (double)(skua_now_ns() - started_ns));
}

static void print_table(struct skua *rt)
{
        fputs("worker      jobs  stolen:local  :remote     parks    busy ms         MB\n", stderr);
        for (unsigned i = 0; i < skua_workers(rt); i++) {
                struct skua_worker_stats s = {.size = sizeof s};
                uint64_t bytes = atomic_load_explicit(&scratch[i].byte_count, memory_order_relaxed);
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
        fputs("usage: treesum [-pqt] [-j workers] folder-or-file...\n"
              "SHA-256 of every regular file below the folders, in parallel, printed as by\n"
              "sha256sum for the list of `find -type f | LC_ALL=C sort`.\n"
              "  -j N     N workers; default: the CPUs that the process may use\n"
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

        while ((c = getopt_long(argc, argv, "j:pqt", words, NULL)) != -1) {
                switch (c) {
                case 'j':
                        options->workers = (unsigned)strtoul(optarg, &end, 10);
                        if (*optarg < '1' || *optarg > '9' || *end || strlen(optarg) > 4)
                                return failure("-j", EINVAL);
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

static bool scratch_init(unsigned workers)
{
        /* Fetched once: looking it up for each file would take locks in libcrypto. */
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        scratch = calloc(workers, sizeof *scratch);
        for (unsigned i = 0; scratch && i < workers; i++)
                if (!(scratch[i].digest = EVP_MD_CTX_new()))
                        return false;
        return scratch && sha256;
}

static void scratch_fini(unsigned workers)
{
        for (unsigned i = 0; i < workers; i++)
                EVP_MD_CTX_free(scratch[i].digest);
        free(scratch);
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
        t.window = calloc(WINDOW_BATCHES, sizeof *t.window);
        if (!scratch_init(workers) || !t.window)
                return failure("cannot set up SHA-256", ENOMEM);
        skua_group_init(&everything);
        skua_group_hold(&everything, 1);
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);

        result = sum_all(rt, &t);
        skua_stop(rt, SKUA_DRAIN);
        walk_end(&t.walk);
        scratch_fini(workers);
        free(t.window);
        if (fflush(stdout) != 0 && !t.write_error)
                t.write_error = errno;
        if (t.write_error)
                return failure("write error", t.write_error);
        if (stop_signal)
                return 128 + stop_signal;
        return result ? EXIT_FAILURE : EXIT_SUCCESS;
}
