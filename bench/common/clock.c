/* SPDX-License-Identifier: MIT
 *
 * Time, processor time, context switches, processors and memory: what the benchmarks ask of the
 * kernel.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
        struct timespec t;

        clock_gettime(id, &t);
        return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t bench_now_ns(void)
{
        return clock_ns(CLOCK_MONOTONIC);
}

void bench_sleep_ns(int64_t ns)
{
        struct timespec t = {ns / 1000000000, ns % 1000000000};

        while (nanosleep(&t, &t) != 0)
                ;
}

void bench_spin_ns(int64_t ns)
{
        int64_t end = bench_now_ns() + ns;

        while (bench_now_ns() < end)
                ;
}

void bench_pause(void)
{
        for (int i = 0; i < 100; i++)
                __asm__ volatile("" ::: "memory");
}

static struct bench_usage usage(int who, clockid_t clock)
{
        struct rusage u;

        getrusage(who, &u);
        return (struct bench_usage){clock_ns(clock), u.ru_nvcsw, u.ru_nivcsw};
}

struct bench_usage bench_usage_process(void)
{
        return usage(RUSAGE_SELF, CLOCK_PROCESS_CPUTIME_ID);
}

struct bench_usage bench_usage_thread(void)
{
        return usage(RUSAGE_THREAD, CLOCK_THREAD_CPUTIME_ID);
}

int64_t bench_switches_of_others(const struct bench_usage *process,
                                 const struct bench_usage *thread)
{
        int64_t all = bench_usage_process().voluntary - process->voluntary;
        int64_t own = bench_usage_thread().voluntary - thread->voluntary;

        return all - own;
}

unsigned bench_cpus(void)
{
        cpu_set_t set;

        return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* The set is read once: a pinned thread would see only its own CPU. */
static cpu_set_t allowed;

__attribute__((constructor)) static void read_allowed(void)
{
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
                CPU_SET(0, &allowed);
}

void bench_pin_thread(unsigned index)
{
        unsigned nth = index % (unsigned)CPU_COUNT(&allowed);
        cpu_set_t one;
        int cpu = -1;

        do {
                cpu++;
        } while (!CPU_ISSET(cpu, &allowed) || nth-- != 0);
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

void *bench_memory(size_t bytes)
{
        void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED) {
                perror("mmap");
                exit(1);
        }
        madvise(p, bytes, MADV_HUGEPAGE);
        for (size_t i = 0; i < bytes; i += 4096)
                ((volatile char *)p)[i] = 0;
        return p;
}
