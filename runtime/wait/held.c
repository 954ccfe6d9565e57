/* SPDX-License-Identifier: MIT
 *
 * Counting the pthread mutexes that a thread holds, in debug builds: the functions that take and
 * give them stand in front of libc's own. Waiting for a condition gives its mutex up and takes it
 * back inside libc, unseen here, and the sum is right. Not beside a sanitizer, which stands there
 * itself, and which finds such errors in its own way.
 */
#include "wait/held.h"

#ifdef SKUA_DEBUG

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/worker.h"

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || \
        __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)

unsigned held_count(void)
{
        return 0;
}

#else

#define FRONT            __attribute__((visibility("default")))

/* initial-exec: found without a call, which might want a mutex. */
static __thread unsigned held __attribute__((tls_model("initial-exec")));

unsigned held_count(void)
{
        return held;
}

/* Other names of libc's own, for programs that are linked statically: there is nothing to look up
 * in them. */
#define OTHER_NAME(name) extern __typeof__(name) __##name __attribute__((weak))
OTHER_NAME(pthread_mutex_lock);
OTHER_NAME(pthread_mutex_trylock);
OTHER_NAME(pthread_mutex_timedlock);
OTHER_NAME(pthread_mutex_clocklock);
OTHER_NAME(pthread_mutex_unlock);

/* libc's own; looked up where it is first needed, which may be before any constructor. */
static void *behind(struct wordptr *place, const char *name, void *other)
{
        void *function = load_relaxed_ptr(place); /* relaxed: all find the same */

        if (!function && !(function = dlsym(RTLD_NEXT, name)) && !(function = other))
                abort();
        store_relaxed_ptr(place, function); /* relaxed: as above */
        return function;
}

#define BEHIND(name)                                                              \
        static struct wordptr place;                                              \
        __typeof__(&(name)) function = (__typeof__(&(name)))behind(&place, #name, \
                                                                   (void *)(uintptr_t)__##name)

/* Taken: also from an owner that has died. */
static int taken(int result)
{
        held += result == 0 || result == EOWNERDEAD;
        return result;
}

FRONT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
        BEHIND(pthread_mutex_lock);

        return taken(function(mutex));
}

FRONT int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
        BEHIND(pthread_mutex_trylock);

        return taken(function(mutex));
}

FRONT int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until)
{
        BEHIND(pthread_mutex_timedlock);

        return taken(function(mutex, until));
}

FRONT int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *until)
{
        BEHIND(pthread_mutex_clocklock);

        return taken(function(mutex, clock, until));
}

FRONT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
        BEHIND(pthread_mutex_unlock);
        int result = function(mutex);

        held -= result == 0 && held != 0;
        return result;
}

#endif

void held_check(struct worker *w, const char *what)
{
        if (w->isolated || !w->running || held_count() <= w->held)
                return;
        worker_report(w, what);
        abort();
}

#endif
