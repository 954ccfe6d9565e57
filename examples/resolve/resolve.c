/* SPDX-License-Identifier: MIT
 *
 * resolve: the address of each of many names, in their order, through getaddrinfo(3), which blocks
 * and can neither be cancelled nor given a time. One job walks over the names in straight-line
 * code; the lookups run on the threads of Skua's blocking pool, so many at once as -j says, and
 * none is waited for longer than -t says.
 *
 *      resolve [-j THREADS] [-t SECONDS] [-n] [NAME...]     no NAME: from standard input, a line
 * each
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <skua.h>

enum { WINDOW = 256 }; /* names asked for and not yet printed */

static struct {
        int64_t timeout_ns;
        int flags;    /* of getaddrinfo */
        char **names; /* NULL: from standard input */
        bool failed;
} settings = {.timeout_ns = 10000000000};

struct lookup {
        struct skua_job job;     /* on the blocking pool */
        struct skua_group group; /* the job's */
        struct lookup *next;
        int64_t until_ns;
        char *name;
        int error; /* of getaddrinfo */
        bool late; /* its time was over before it could begin */
        char address[NI_MAXHOST];
};

/* ------------------------------------------------------------------ on the blocking pool */

/* A job without a worker: self is NULL. Its deadline has cancelled it if it has waited too long for
 * a thread. */
static void look_up(struct skua_worker *self, struct skua_job *job)
{
        struct lookup *l = skua_container(job, struct lookup, job);
        struct addrinfo hints = {.ai_flags = settings.flags, .ai_socktype = SOCK_STREAM}, *found;

        l->late = skua_cancelled(self);
        if (l->late)
                return;
        l->error = getaddrinfo(l->name, NULL, &hints, &found);
        if (l->error)
                return;
        l->error = getnameinfo(found->ai_addr, found->ai_addrlen, l->address, sizeof l->address,
                               NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
}

/* Reads a line, for as long as it takes to come. 0, or -1: there are no more, or no memory. */
static int read_name(void *arg)
{
        size_t room = 0;
        ssize_t bytes;
        char **name = arg;

        *name = NULL;
        do {
                bytes = getline(name, &room, stdin);
                if (bytes > 0 && (*name)[bytes - 1] == '\n')
                        (*name)[--bytes] = '\0';
        } while (bytes == 0);
        if (bytes < 0)
                free(*name);
        return bytes < 0 ? -1 : 0;
}

/* ------------------------------------------------------------------ the job that walks */

static char *next_name(struct skua_worker *self)
{
        char *name;

        if (settings.names)
                return *settings.names ? strdup(*settings.names++) : NULL;
        return skua_await_blocking(self, read_name, &name) ? NULL : name;
}

static struct lookup *begin(struct skua_worker *self, char *name)
{
        struct skua_target where = SKUA_TARGET_INIT;
        struct lookup *l = calloc(1, sizeof *l);
        int result;

        if (!l)
                abort();
        skua_job_init(&l->job, look_up);
        skua_group_init(&l->group);
        l->name = name;
        l->until_ns = skua_now_ns() + settings.timeout_ns;
        where.flags = SKUA_BLOCKING;
        where.group = &l->group;
        where.deadline_ns = l->until_ns;
        /* While the pool's queue is full this job waits, and its worker would go on with others.
         * After an error the group is empty. */
        result = skua_await_submit_until(self, &l->job, &where, l->until_ns);
        if (result == -ETIMEDOUT)
                l->late = true;
        else if (result)
                l->error = EAI_AGAIN;
        return l;
}

static void print(const struct lookup *l, const char *error)
{
        printf("%s\t%s\n", l->name, error ? error : l->address);
        settings.failed |= error != NULL;
}

/* Prints the answer. False: it has not come in time, and may yet come: it must be kept. */
static bool end(struct skua_worker *self, struct lookup *l)
{
        if (skua_await_group_until(self, &l->group, l->until_ns) == -ETIMEDOUT) {
                print(l, "timed out");
                return false;
        }
        print(l, l->late ? "timed out" : l->error ? gai_strerror(l->error) : NULL);
        free(l->name);
        free(l);
        return true;
}

/* Those given up whose calls have come back after all. */
static struct lookup *sweep(struct skua_worker *self, struct lookup *given_up)
{
        struct lookup *kept = NULL, *next;

        for (struct lookup *l = given_up; l; l = next) {
                next = l->next;
                if (skua_await_group_until(self, &l->group, 1) == -ETIMEDOUT) {
                        l->next = kept;
                        kept = l;
                } else {
                        free(l->name);
                        free(l);
                }
        }
        return kept;
}

static void walk(struct skua_worker *self, void *arg)
{
        struct lookup *window[WINDOW], *given_up = NULL;
        unsigned begun = 0, ended = 0;
        bool *all_back = arg;
        char *name = next_name(self);

        while (name || ended < begun) {
                if (name && begun - ended < WINDOW) {
                        window[begun++ % WINDOW] = begin(self, name);
                        name = next_name(self);
                        continue;
                }
                struct lookup *oldest = window[ended++ % WINDOW];

                if (!end(self, oldest)) {
                        oldest->next = given_up;
                        given_up = sweep(self, oldest);
                }
        }
        *all_back = !sweep(self, given_up);
}

/* ------------------------------------------------------------------ */

static int usage(void)
{
        fputs("usage: resolve [-j THREADS] [-t SECONDS] [-n] [NAME...]\n", stderr);
        return 2;
}

/* -1: not one from `least` to `most`. */
static long number(const char *text, long least, long most)
{
        char *rest;
        long value = strtol(text, &rest, 10);

        return *text && !*rest && value >= least && value <= most ? value : -1;
}

static int options(int argc, char **argv, struct skua_options *o)
{
        long value = 16;
        int option;

        o->blocking_max = 16;
        while ((option = getopt(argc, argv, "j:t:n")) != -1) {
                if (option == 'j' && (value = number(optarg, 1, 4096)) > 0)
                        o->blocking_max = (unsigned)value;
                else if (option == 't' && (value = number(optarg, 1, 86400)) > 0)
                        settings.timeout_ns = value * 1000000000;
                else if (option == 'n')
                        settings.flags = AI_NUMERICHOST;
                else
                        return usage();
        }
        /* Enough that a thread that becomes free finds something. */
        o->blocking_queue_limit = o->blocking_max;
        o->workers = 1;
        if (optind < argc)
                settings.names = argv + optind;
        return 0;
}

int main(int argc, char **argv)
{
        struct skua_options o = SKUA_OPTIONS_INIT;
        struct skua *rt;
        bool all_back = false;
        int result = options(argc, argv, &o);

        if (result)
                return result;
        result = skua_start(&rt, &o);
        if (!result)
                result = skua_run(rt, walk, &all_back);
        if (result) {
                fprintf(stderr, "resolve: %s\n", strerror(-result));
                return 2;
        }
        /* A stop waits for the calls that still run; who has given them up does not. */
        if (all_back)
                skua_stop(rt, SKUA_DRAIN);
        if (fflush(stdout))
                return 2;
        if (!all_back)
                _exit(settings.failed);
        return settings.failed;
}
