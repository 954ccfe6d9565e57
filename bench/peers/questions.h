/* SPDX-License-Identifier: MIT
 *
 * A question while it is being asked: what questions.c gives to the functions that answer.
 * Private to the files that libpeer.a is made of; contestants see peer.h only.
 */
#ifndef BENCH_QUESTIONS_H
#define BENCH_QUESTIONS_H

#include "measure.h"
#include "peer.h"

struct asked {
        const struct peer *peer;
        unsigned workers;
        unsigned kind; /* of its question: a peer_work and more, or how many producers */
        struct bench_result *result;
};

typedef void question_fn(const struct asked *a);

/* questions.c: the program ends with 77 */
_Noreturn void skip(const char *why);
void need_submit(const struct asked *a); /* or skip */

/* Starts a pool in which every thread has very likely run something. */
void *begin_pool(const struct asked *a);

/* How many of so many jobs this peer gets. */
size_t how_many(const struct asked *a, size_t full);

/* Another figure than expected: printed, and the program will end with 1. */
void expect(const char *what, long value, long expected);

/* jobs.c: jobs handed over from outside and from inside */
question_fn round_trip, wake, burst, at_once, inside, computing;

/* stream.c: several producers */
question_fn stream;

#endif
