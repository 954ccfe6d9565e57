/* SPDX-License-Identifier: MIT
 *
 * Latencies are only stored while the run goes on: one store each. Afterwards all of them go
 * through a pipe to hdr, a program of a few lines around the distribution's library for HDR
 * histograms; there is none for C.
 */
#include "load.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void samples_init(struct samples *s, uint64_t count_max)
{
        size_t bytes = count_max * sizeof *s->values;

        s->values = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (s->values == MAP_FAILED)
                fail("no room for %llu latencies", (unsigned long long)count_max);
        madvise(s->values, bytes, MADV_HUGEPAGE); /* 512 times fewer page faults while measuring */
        s->count = 0;
        s->count_max = count_max;
}

void samples_add(struct samples *s, int64_t ns)
{
        if (s->count == s->count_max)
                fail("more messages than were expected: a shorter run, please");
        s->values[s->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static void write_all(int fd, const void *data, size_t bytes)
{
        const char *at = data;

        while (bytes > 0) {
                ssize_t n = write(fd, at, bytes < (1 << 20) ? bytes : 1 << 20);
                if (n < 0 && errno != EINTR)
                        fail("write to the histogram: %s", strerror(errno));
                at += n > 0 ? n : 0;
                bytes -= n > 0 ? (size_t)n : 0;
        }
}

/* Its standard input and output are the other ends of the two pipes. */
static pid_t start_histogram(int *to, int *from)
{
        char path[PATH_MAX] = "";
        int in[2], out[2];
        pid_t pid;

        if (readlink("/proc/self/exe", path, sizeof path - 8) < 0 || pipe(in) < 0 || pipe(out) < 0)
                fail("histogram: %s", strerror(errno));
        strcpy(strrchr(path, '/'), "/hdr");
        fflush(NULL);
        if ((pid = fork()) < 0)
                fail("fork: %s", strerror(errno));
        if (pid == 0) {
                dup2(in[0], 0);
                dup2(out[1], 1);
                close(in[1]);
                close(out[0]);
                execl(path, path, (char *)NULL);
                fail("%s: %s", path, strerror(errno));
        }
        close(in[0]);
        close(out[1]);
        *to = in[1];
        *from = out[0];
        return pid;
}

void samples_quantiles(const struct samples *list, size_t count, struct quantiles *results)
{
        int to, from, status;
        pid_t pid = start_histogram(&to, &from);
        FILE *answers = fdopen(from, "r");

        for (size_t i = 0; i < count; i++) {
                write_all(to, &list[i].count, sizeof list[i].count);
                write_all(to, list[i].values, list[i].count * sizeof *list[i].values);
        }
        close(to);
        for (size_t i = 0; i < count; i++) {
                struct quantiles *q = &results[i];
                unsigned long long counted;
                if (fscanf(answers, "%llu %lf %lf %lf %lf %lf", &counted, &q->p50_us, &q->p90_us,
                           &q->p99_us, &q->p999_us, &q->max_us) != 6)
                        fail("the histogram has no answer");
                q->count = counted;
        }
        fclose(answers);
        if (waitpid(pid, &status, 0) != pid || status != 0)
                fail("the histogram failed");
}
