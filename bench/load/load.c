/* SPDX-License-Identifier: MIT
 *
 * Load for servers that echo: one thread, many connections, checked echoes, latencies.
 *
 *   load [options] PORT
 *
 * A closed loop keeps --depth messages of each connection in flight and sends the next when an echo
 * is back. An open loop (--rate) has a schedule: request i is due at i / rate, on connection i
 * modulo their number, and its latency counts from then, also if it had to wait here because
 * its connection was full. So a server that stands still is charged for all that should have come
 * meanwhile (no coordinated omission). The last line of the output is JSON. Status 75: the client
 * itself was held up, the figures would be nonsense.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

enum {
        EVENTS = 256,
        RATE_MOST = 8000000,    /* messages per second that there is room for */
        DRAIN_NS = 2000000000,  /* how long an open loop waits for what is late at its end */
        HELD_UP = 75,           /* exit status: the window was not what was asked for */
        TURN_MOST_NS = 50000000 /* the longest sleep: the end of the window is not missed by more */
};

static struct settings set = {
        .connections = 1, .bytes = 64, .depth = 1, .seconds = 2, .warm_seconds = 0.5, .seed = 1};
static unsigned idle_count, churn_count;

/* The measured window: by then's clock a latency belongs to it or not. */
static int64_t window_begin_ns, window_end_ns;
static struct samples samples[MARKS];
static uint64_t messages;

/* What the window began with, and what it took. */
struct usage {
        int64_t now_ns, own_ns, server_ns;
};

void fail(const char *format, ...)
{
        va_list list;

        fflush(stdout);
        fputs("load: ", stderr);
        va_start(list, format);
        vfprintf(stderr, format, list);
        va_end(list);
        fputc('\n', stderr);
        _Exit(1);
}

static int64_t clock_ns(clockid_t id)
{
        struct timespec t;

        if (clock_gettime(id, &t) != 0)
                fail("clock: %s", strerror(errno));
        return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t now_ns(void)
{
        return clock_ns(CLOCK_MONOTONIC);
}

static struct usage usage(void)
{
        struct usage u = {now_ns(), clock_ns(CLOCK_PROCESS_CPUTIME_ID), 0};
        clockid_t server;

        if (set.server_pid == 0)
                return u;
        if (clock_getcpuclockid(set.server_pid, &server) != 0)
                fail("process %d: no such process", set.server_pid);
        u.server_ns = clock_ns(server);
        return u;
}

/* ---------------------------------------------------------------- the two loops */

/* In an open loop a request belongs to the window by the time when it was due. */
static void count_done(const struct request *r, int64_t now)
{
        int64_t when = set.rate > 0 ? r->begin_ns : now;

        if (now >= window_begin_ns && now < window_end_ns)
                messages++;
        if (when >= window_begin_ns && when < window_end_ns)
                samples_add(&samples[r->mark], now - r->begin_ns);
}

static int64_t due_ns(int64_t start_ns, uint64_t n)
{
        return start_ns + (int64_t)((double)n * 1e9 / set.rate);
}

/* What the connection may send now. */
static void send_more(struct wire *w, struct connection *c, int64_t start_ns, int64_t now)
{
        while (c->begun - c->done < set.depth && (set.rate == 0 || c->begun < c->due)) {
                uint64_t n = c->begun * set.connections + c->index;
                wire_begin(w, c, set.rate == 0 ? now : due_ns(start_ns, n));
        }
        wire_flush(w, c);
}

static int wait_events(struct wire *w, struct epoll_event *events, int64_t until_ns)
{
        int64_t ns = set.spin ? 0 : until_ns - now_ns();
        struct timespec t = {0, ns < 0 ? 0 : ns > TURN_MOST_NS ? TURN_MOST_NS : ns};
        int n = epoll_pwait2(w->epoll, events, EVENTS, &t, NULL);

        if (n < 0 && errno != EINTR)
                fail("epoll_pwait2: %s", strerror(errno));
        return n;
}

/* Answers what has come; which may send meanwhile is sent. Ends at the time. */
static void turn(struct wire *w, int64_t start_ns, int64_t until_ns)
{
        struct epoll_event events[EVENTS];
        int n = wait_events(w, events, until_ns);

        for (int i = 0; i < n; i++) {
                struct connection *c = events[i].data.ptr;
                if (events[i].events & ~(unsigned)EPOLLOUT)
                        send_more(w, c, start_ns, wire_receive(w, c));
                else
                        wire_flush(w, c);
        }
}

static void closed_loop(struct wire *w, int64_t until_ns)
{
        int64_t now;

        while ((now = now_ns()) < until_ns)
                turn(w, 0, until_ns);
}

/* Goes on with the schedule of which `*next` requests are due already. */
static void open_loop(struct wire *w, int64_t start_ns, uint64_t *next, int64_t until_ns)
{
        int64_t now;

        while ((now = now_ns()) < until_ns) {
                int64_t due;
                while ((due = due_ns(start_ns, *next)) <= now && due < until_ns) {
                        struct connection *c = &w->list[(*next)++ % set.connections];
                        c->due++;
                        send_more(w, c, start_ns, now);
                }
                turn(w, start_ns, due < until_ns ? due : until_ns);
        }
}

static uint64_t unanswered(const struct wire *w)
{
        uint64_t n = 0;

        for (unsigned i = 0; i < set.connections; i++)
                n += (set.rate > 0 ? w->list[i].due : w->list[i].begun) - w->list[i].done;
        return n;
}

/* The requests of the window that are late are waited for, but not for ever. */
static uint64_t drain(struct wire *w, int64_t start_ns)
{
        int64_t until = now_ns() + DRAIN_NS;

        while (unanswered(w) > 0 && now_ns() < until)
                turn(w, start_ns, until);
        return unanswered(w);
}

static uint64_t measure(struct wire *w, struct usage *before, struct usage *after)
{
        int64_t start = now_ns();
        uint64_t next = 0;

        window_begin_ns = start + (int64_t)(set.warm_seconds * 1e9);
        window_end_ns = window_begin_ns + (int64_t)(set.seconds * 1e9);
        if (set.rate > 0) {
                open_loop(w, start, &next, window_begin_ns);
                *before = usage();
                open_loop(w, start, &next, window_end_ns);
                *after = usage();
                return drain(w, start);
        }
        for (unsigned i = 0; i < set.connections; i++)
                send_more(w, &w->list[i], start, start);
        closed_loop(w, window_begin_ns);
        *before = usage();
        closed_loop(w, window_end_ns);
        *after = usage();
        return 0;
}

/* ---------------------------------------------------------------- output */

static void print_quantiles(const char *name, const struct quantiles *q)
{
        if (q->count > 0)
                printf("%s: %llu, p50 %.1f p90 %.1f p99 %.1f p99.9 %.1f max %.1f us\n", name,
                       (unsigned long long)q->count, q->p50_us, q->p90_us, q->p99_us, q->p999_us,
                       q->max_us);
}

static void json_quantiles(const char *name, const struct quantiles *q)
{
        printf(", \"%s\": {\"count\": %llu, \"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, "
               "\"p999_us\": %.3f, \"max_us\": %.3f}",
               name, (unsigned long long)q->count, q->p50_us, q->p90_us, q->p99_us, q->p999_us,
               q->max_us);
}

static void print(const struct usage *before, const struct usage *after, uint64_t lost)
{
        double seconds = (double)(after->now_ns - before->now_ns) / 1e9;
        double own = (double)(after->own_ns - before->own_ns) / 1e9 / seconds;
        double server = (double)(after->server_ns - before->server_ns) / 1e9 / seconds;
        double rate = (double)messages / seconds;
        struct quantiles q[MARKS];

        samples_quantiles(samples, MARKS, q);
        printf("%u x %u x %u, %s: %.0f messages/s for %.2f s, %llu unanswered\n", set.connections,
               set.bytes, set.depth, set.rate > 0 ? "open loop" : "closed loop", rate, seconds,
               (unsigned long long)lost);
        print_quantiles("light", &q[MARK_LIGHT]);
        print_quantiles("heavy", &q[MARK_HEAVY]);
        printf("client busy %.0f%%", own * 100);
        if (set.server_pid != 0)
                printf(", server busy %.0f%%, %.3f us a message", server * 100,
                       rate > 0 ? server / rate * 1e6 : 0);
        printf("\n{\"connections\": %u, \"bytes\": %u, \"depth\": %u, \"rate\": %.0f, "
               "\"heavy_percent\": %u, \"seconds\": %.4f, \"messages\": %llu, \"qps\": %.1f, "
               "\"lost\": %llu, \"client_busy\": %.4f, \"server_busy\": %.4f",
               set.connections, set.bytes, set.depth, set.rate, set.heavy_percent, seconds,
               (unsigned long long)messages, rate, (unsigned long long)lost, own, server);
        json_quantiles("light", &q[MARK_LIGHT]);
        json_quantiles("heavy", &q[MARK_HEAVY]);
        printf("}\n");
}

/* ---------------------------------------------------------------- options */

static const struct option options[] = {
        {"address", 1, NULL, 'a'},    {"connections", 1, NULL, 'c'}, {"bytes", 1, NULL, 'm'},
        {"depth", 1, NULL, 'd'},      {"seconds", 1, NULL, 't'},     {"warm", 1, NULL, 'w'},
        {"rate", 1, NULL, 'r'},       {"mixed", 2, NULL, 'x'},       {"seed", 1, NULL, 's'},
        {"cpu", 1, NULL, 'C'},        {"spin", 0, NULL, 'S'},        {"idle", 1, NULL, 'i'},
        {"server-pid", 1, NULL, 'P'}, {"churn", 1, NULL, 'n'},       {NULL, 0, NULL, 0},
};

_Noreturn static void usage_text(void)
{
        fputs("load [options] PORT\n"
              "  -a --address=127.0.0.1  -c --connections=1  -m --bytes=64  -d --depth=1\n"
              "  -t --seconds=2  -w --warm=0.5 seconds before that are not measured\n"
              "  -r --rate=N     open loop, N requests per second in all\n"
              "  -x --mixed[=10] so many percent of the requests are marked as heavy\n"
              "  -s --seed=1     decides which\n"
              "  -C --cpu=N      runs on this processor only\n"
              "  -S --spin       never sleeps\n"
              "  -P --server-pid=N  measures the processor time of that process\n"
              "  -i --idle=N     opens N silent connections; see idle.c\n"
              "  -n --churn=N    opens and closes N connections, a few at a time; see churn.c\n",
              stderr);
        exit(2);
}

static void pin(int cpu)
{
        cpu_set_t one;

        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) != 0)
                fail("processor %d: %s", cpu, strerror(errno));
}

static unsigned number(const char *text)
{
        char *end;
        unsigned long n = strtoul(text, &end, 10);

        if (*end != '\0' || end == text || n > 10000000)
                fail("%s: not a number", text);
        return (unsigned)n;
}

static void option(int letter, const char *value)
{
        switch (letter) {
        case 'a':
                if (inet_pton(AF_INET, value, &set.server.sin_addr) != 1)
                        fail("%s: not an address", value);
                return;
        case 'c':
                set.connections = number(value);
                return;
        case 'm':
                set.bytes = number(value);
                return;
        case 'd':
                set.depth = number(value);
                return;
        case 't':
                set.seconds = atof(value);
                return;
        case 'w':
                set.warm_seconds = atof(value);
                return;
        case 'r':
                set.rate = atof(value);
                return;
        case 'x':
                set.heavy_percent = value != NULL ? number(value) : 10;
                return;
        case 's':
                set.seed = number(value);
                return;
        case 'C':
                pin((int)number(value));
                return;
        case 'S':
                set.spin = true;
                return;
        case 'P':
                set.server_pid = (int)number(value);
                return;
        case 'i':
                idle_count = number(value);
                return;
        case 'n':
                churn_count = number(value);
                return;
        default:
                usage_text();
        }
}

int main(int argc, char **argv)
{
        struct usage before, after;
        struct wire wire;
        int letter;

        set.server.sin_family = AF_INET;
        set.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        while ((letter = getopt_long(argc, argv, "a:c:m:d:t:w:r:x::s:C:SP:i:n:", options, NULL)) >
               0)
                option(letter, optarg);
        if (optind != argc - 1 || set.connections == 0 || set.bytes == 0 || set.depth == 0)
                usage_text();
        set.server.sin_port = htons((uint16_t)number(argv[optind]));
        signal(SIGPIPE, SIG_IGN);
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* else the schedule is 50 us late */
        if (idle_count > 0) {
                set.connections = idle_count;
                idle(&set);
                return 0;
        }
        if (churn_count > 0) {
                set.connections = churn_count;
                churn(&set);
                return 0;
        }
        for (enum mark m = 0; m < MARKS; m++)
                samples_init(&samples[m], (uint64_t)(RATE_MOST * set.seconds) + 1);
        wire_open(&wire, &set, count_done);
        uint64_t lost = measure(&wire, &before, &after);
        double off = (double)(after.now_ns - before.now_ns) / 1e9 / set.seconds;
        if (off < 0.8 || off > 1.25) {
                fprintf(stderr, "load: held up: the window is %.2f of its length\n", off);
                return HELD_UP;
        }
        print(&before, &after, lost);
        return lost > 0;
}
