/* SPDX-License-Identifier: MIT
 *
 * A contestant of the scoreboard, as questions.c sees it: a pool that takes jobs, and computations
 * by fork and join. Filled in by one small file per peer, from C, C++ or (as repr(C)) Rust; see
 * README.md for the questions and the rules.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One cache line, so that all contestants touch the same memory per job. `run` is to be called once
 * for each submission; until it is called, `space` is the peer's. */
struct peer_job {
        void (*run)(struct peer_job *job);
        void *space[7];
};

enum peer_work { PEER_FIB, PEER_NQUEENS, PEER_SKYNET, PEER_UTS, PEER_MATMUL, PEER_WORKS };

struct peer {
        const char *name;
        const char *version;

        void *(*start)(unsigned workers); /* a pool of so many workers */
        void (*stop)(void *pool);         /* all its threads are gone */
        bool once;                        /* a process can start a pool once only */
        const char *no_create;            /* why `create` is not a question to it, else NULL */

        /* From outside and from a job of the pool: calls run() of each job, some time. NULL: it
         * cannot, and why. */
        void (*submit)(void *pool, struct peer_job *jobs, size_t count);
        const char *no_submit;
        void (*spawn)(void *pool, struct peer_job *jobs, size_t count);
        const char *no_spawn;

        /* A job that does nothing, and wait for it. */
        void (*run)(void *pool);

        /* Computes work of a size (the numbers of work.h) with a fork at every call and returns the
         * result; called from outside. NULL: it does not fork, and why. */
        long (*work[PEER_WORKS])(void *pool, int size);
        const char *no_work;
        int fib_size; /* 0: the full 38; slow peers take less, the figure is per fork */

        unsigned slower; /* about how many times slower than Skua: so many times fewer jobs; 0: 1 */
};

/* Answers the question on the command line; the program's main() returns what it returns. */
int peer_main(const struct peer *peer, int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
