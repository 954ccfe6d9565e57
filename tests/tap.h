/* SPDX-License-Identifier: MIT
 *
 * TAP for C: plan first, then ok() for each check. tap_plan() starts the watchdog (an alarm that
 * kills a hung test with a diagnosis) and prints the seed, from $TAP_SEED or the clock.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <signal.h>

/* What a process has run is written down at its exit; these ends are exits too. */
#ifdef TAP_COVERAGE
void __gcov_dump(void);

static void tap_abort_(int signal_number)
{
        (void)signal_number;
        __gcov_dump();
}

__attribute__((constructor)) static void tap_cover_(void)
{
        signal(SIGABRT, tap_abort_);
}

#define _exit(status) (__gcov_dump(), _exit(status))
#endif

static unsigned tap_planned_, tap_run_, tap_failed_;
static uint64_t tap_seed_;

static void tap_watchdog_(int signal_number)
{
        static const char message[] = "Bail out! watchdog: the test hangs\n";

        (void)signal_number;
        if (write(STDOUT_FILENO, message, sizeof message - 1) < 0)
                _exit(3);
        abort();
}

/* `limit_s`: longest time the program may take; $TAP_SLOW multiplies it (emulators, valgrind). */
static inline void tap_plan(unsigned count, unsigned limit_s)
{
        const char *seed = getenv("TAP_SEED");
        const char *slow = getenv("TAP_SLOW");
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        tap_seed_ = seed ? strtoull(seed, NULL, 0)
                         : (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
        tap_planned_ = count;
        setvbuf(stdout, NULL, _IOLBF, 0);
        printf("1..%u\n# seed %llu\n", count, (unsigned long long)tap_seed_);
        signal(SIGALRM, tap_watchdog_);
        alarm(limit_s * (slow ? (unsigned)atoi(slow) : 1));
}

/* The whole program is skipped, with the reason. Does not return. */
static inline void tap_skip_all(const char *reason)
{
        printf("1..0 # SKIP %s\n", reason);
        exit(0);
}

__attribute__((format(printf, 2, 3))) static inline bool tap_ok(bool passed, const char *format,
                                                                ...)
{
        va_list arguments;

        tap_run_++;
        tap_failed_ += !passed;
        printf("%sok %u - ", passed ? "" : "not ", tap_run_);
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
        return passed;
}

/* Integers are equal, or both values are printed. */
static inline bool tap_is(long long got, long long expected, const char *name)
{
        if (tap_ok(got == expected, "%s", name))
                return true;
        printf("#   got %lld, expected %lld\n", got, expected);
        return false;
}

static inline void tap_skip(unsigned count, const char *reason)
{
        while (count--)
                printf("ok %u # SKIP %s\n", ++tap_run_, reason);
}

/* A small generator for tests (xorshift64*), from the printed seed. */
static inline uint64_t tap_random(uint64_t *state)
{
        if (!*state)
                *state = tap_seed_ | 1;
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        return *state * 2685821657736338717u;
}

static inline int tap_done(void)
{
        if (tap_run_ != tap_planned_)
                printf("# planned %u but ran %u\n", tap_planned_, tap_run_);
        return tap_failed_ || tap_run_ != tap_planned_;
}

#endif
