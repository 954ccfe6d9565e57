/* SPDX-License-Identifier: MIT
 *
 * The commands and their table. Each is called with the locks that its row asks for, and gives what
 * the functions of resp.h give: false if its reply does not fit, which the caller then takes back.
 */
#include "commands.h"

#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MS INT64_C(1000000)

struct call {
        const struct resp_arg *args;
        size_t count;
        struct buffer *out;
        enum command_result result;
};

static const char SYNTAX[] = "-ERR syntax error\r\n";
static const char NO_INTEGER[] = "-ERR value is not an integer or out of range\r\n";
static const char NO_MEMORY[] = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
static const char BAD_TIME[] = "-ERR invalid expire time\r\n";
static const char OK[] = "+OK\r\n";

static bool is(const struct resp_arg *a, const char *word)
{
        return strlen(word) == a->bytes && !strncasecmp(a->data, word, a->bytes);
}

static uint32_t hash(const struct resp_arg *key)
{
        return store_hash(key->data, key->bytes);
}

static struct entry *find(const struct resp_arg *key)
{
        return store_find(key->data, key->bytes, hash(key));
}

/* As it was written, without blanks, signs or zeros that it could do without. */
static bool integer(const char *data, size_t bytes, int64_t *value)
{
        bool minus = bytes && data[0] == '-';
        int64_t n = 0; /* negative all the time: there is one number more */

        if (bytes == minus || (data[minus] == '0' && bytes > 1))
                return false;
        for (size_t i = minus; i < bytes; i++)
                if (data[i] < '0' || data[i] > '9' || __builtin_mul_overflow(n, 10, &n) ||
                    __builtin_sub_overflow(n, data[i] - '0', &n))
                        return false;
        if (!minus && n == INT64_MIN)
                return false;
        *value = minus ? n : -n;
        return true;
}

/* ---------------------------------------------------------------- keys and values */

static bool get(struct call *c)
{
        const struct entry *e = find(&c->args[1]);

        return e ? resp_bulk(c->out, e->value, e->value_bytes) : resp_text(c->out, "$-1\r\n");
}

static bool mget(struct call *c)
{
        struct call one = *c;
        bool fits = resp_array(c->out, c->count - 1);

        for (; one.count > 1 && fits; one.count--, one.args++)
                fits = get(&one);
        return fits;
}

static bool put(const struct resp_arg *key, const struct resp_arg *value, int64_t expires_ns)
{
        struct entry *e = store_make(key->data, key->bytes, hash(key), value->bytes);

        if (!e || !store_set(e, value->data, value->bytes))
                return false;
        store_expire(e, expires_ns);
        return true;
}

/* When is so many units of time from now? 0: never, or it is not a number. */
static int64_t time_from_now(const struct resp_arg *text, int64_t unit_ns)
{
        int64_t n;

        if (!integer(text->data, text->bytes, &n) || n <= 0 ||
            __builtin_mul_overflow(n, unit_ns, &n) || __builtin_add_overflow(n, skua_now_ns(), &n))
                return 0;
        return n;
}

static bool set(struct call *c)
{
        int64_t when = 0;
        bool absent = false, present = false;

        for (size_t i = 3; i < c->count; i++) {
                bool seconds = is(&c->args[i], "EX");

                if ((seconds || is(&c->args[i], "PX")) && i + 1 < c->count && !when) {
                        when = time_from_now(&c->args[++i], seconds ? 1000 * MS : MS);
                        if (!when)
                                return resp_text(c->out, BAD_TIME);
                } else if (is(&c->args[i], "NX")) {
                        absent = true;
                } else if (is(&c->args[i], "XX")) {
                        present = true;
                } else {
                        return resp_text(c->out, SYNTAX);
                }
        }
        if (absent && present)
                return resp_text(c->out, SYNTAX);
        if ((absent || present) && !find(&c->args[1]) != absent)
                return resp_text(c->out, "$-1\r\n");
        if (when)
                c->result = COMMAND_EXPIRES;
        return resp_text(c->out, put(&c->args[1], &c->args[2], when) ? OK : NO_MEMORY);
}

/* There is memory for all of them, as far as anybody knows. */
static bool mset(struct call *c)
{
        if (c->count % 2 == 0)
                return resp_text(c->out, "-ERR wrong number of arguments for 'mset' command\r\n");
        for (size_t i = 1; i < c->count; i += 2)
                if (!put(&c->args[i], &c->args[i + 1], 0))
                        return resp_text(c->out, NO_MEMORY);
        return resp_text(c->out, OK);
}

static bool del(struct call *c)
{
        int64_t count = 0;

        for (size_t i = 1; i < c->count; i++) {
                struct entry *e = find(&c->args[i]);

                count += e != NULL;
                if (e)
                        store_delete(e);
        }
        return resp_integer(c->out, count);
}

static bool exists(struct call *c)
{
        int64_t count = 0;

        for (size_t i = 1; i < c->count; i++)
                count += find(&c->args[i]) != NULL;
        return resp_integer(c->out, count);
}

static bool incr(struct call *c)
{
        const struct resp_arg *key = &c->args[1];
        struct entry *e = find(key);
        int64_t value = 0;
        char text[24];

        if (e && !integer(e->value, e->value_bytes, &value))
                return resp_text(c->out, NO_INTEGER);
        if (value == INT64_MAX)
                return resp_text(c->out, "-ERR increment or decrement would overflow\r\n");
        value++;
        snprintf(text, sizeof text, "%lld", (long long)value);
        e = e ? e : store_make(key->data, key->bytes, hash(key), 0);
        if (!e || !store_set(e, text, strlen(text)))
                return resp_text(c->out, NO_MEMORY);
        return resp_integer(c->out, value);
}

/* ---------------------------------------------------------------- time */

static bool expire_in(struct call *c, int64_t unit_ns)
{
        struct entry *e = find(&c->args[1]);
        int64_t n, when = time_from_now(&c->args[2], unit_ns);

        if (!integer(c->args[2].data, c->args[2].bytes, &n))
                return resp_text(c->out, NO_INTEGER);
        if (n > 0 && !when)
                return resp_text(c->out, BAD_TIME);
        if (!e)
                return resp_integer(c->out, 0);
        if (n > 0)
                store_expire(e, when);
        else
                store_delete(e);
        c->result = COMMAND_EXPIRES;
        return resp_integer(c->out, 1);
}

static bool expire(struct call *c)
{
        return expire_in(c, 1000 * MS);
}

static bool pexpire(struct call *c)
{
        return expire_in(c, MS);
}

static bool rest(struct call *c, int64_t unit_ns)
{
        const struct entry *e = find(&c->args[1]);

        if (!e)
                return resp_integer(c->out, -2);
        if (!e->expires_ns)
                return resp_integer(c->out, -1);
        return resp_integer(c->out, (e->expires_ns - skua_now_ns() + unit_ns / 2) / unit_ns);
}

static bool ttl(struct call *c)
{
        return rest(c, 1000 * MS);
}

static bool pttl(struct call *c)
{
        return rest(c, MS);
}

/* ---------------------------------------------------------------- the server itself */

static bool ping(struct call *c)
{
        if (c->count > 1)
                return resp_bulk(c->out, c->args[1].data, c->args[1].bytes);
        return resp_text(c->out, "+PONG\r\n");
}

static bool quit(struct call *c)
{
        c->result = COMMAND_QUIT;
        return resp_text(c->out, OK);
}

static bool dbsize(struct call *c)
{
        struct store_figures sum;

        store_figures(&sum);
        return resp_integer(c->out, (int64_t)sum.keys);
}

static unsigned long long counted(const atomic_ullong *figure)
{
        return atomic_load_explicit(figure, memory_order_relaxed);
}

/* What the workers have done, after what others' monitors look for. */
static size_t info_workers(char *text, size_t most)
{
        static const char *const paths[] = {"none", "io_uring", "epoll"};
        struct skua_stats all = {.size = sizeof all};
        unsigned long long parks = 0, completions = 0, run = 0;

        skua_stats_read(server.rt, &all);
        for (unsigned i = 0; i < skua_workers(server.rt); i++) {
                struct skua_worker_stats one = {.size = sizeof one};

                skua_stats_worker(server.rt, i, &one);
                parks += one.parks;
                completions += one.completions;
                run += one.run;
        }
        return (size_t)snprintf(text, most,
                                "# Skua\r\nworkers:%u\r\nio:%s\r\njobs_run:%llu\r\n"
                                "jobs_waiting:%llu\r\nparks:%llu\r\ncompletions:%llu\r\n",
                                skua_workers(server.rt), paths[all.ring_path], run,
                                (unsigned long long)all.suspended, parks, completions);
}

static bool info(struct call *c)
{
        struct store_figures sum;
        char text[1024];
        int n;

        store_figures(&sum);
        n = snprintf(
                text, sizeof text,
                "# Server\r\nskua_version:%u.%u.%u\r\ntcp_port:%u\r\nuptime_in_seconds:%lld\r\n"
                "# Clients\r\nconnected_clients:%llu\r\n"
                "# Memory\r\nused_memory:%zu\r\nmaxmemory:%zu\r\n"
                "# Stats\r\ntotal_connections_received:%llu\r\n"
                "total_commands_processed:%llu\r\nexpired_keys:%llu\r\n"
                "# Keyspace\r\ndb0:keys=%llu,expires=%llu\r\n",
                SKUA_VERSION_MAJOR, SKUA_VERSION_MINOR, SKUA_VERSION_PATCH, server.port,
                (long long)(skua_now_ns() - server.started_ns) / 1000000000,
                counted(&server.clients), memory_used(), memory_most(),
                counted(&server.connections), counted(&server.commands),
                (unsigned long long)sum.expired, (unsigned long long)sum.keys,
                (unsigned long long)sum.expiring);
        return resp_bulk(c->out, text, (size_t)n + info_workers(text + n, sizeof text - (size_t)n));
}

/* Clients ask for a list of the commands, and can do without. */
static bool command(struct call *c)
{
        return resp_array(c->out, 0);
}

/* What redis-benchmark wants to know; there is nothing to be set. */
static bool config(struct call *c)
{
        static const char *const settings[][2] = {{"save", ""}, {"appendonly", "no"}};

        if (c->count != 3 || !is(&c->args[1], "GET"))
                return resp_text(c->out, SYNTAX);
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
                if (is(&c->args[2], settings[i][0]))
                        return resp_array(c->out, 2) &&
                               resp_bulk(c->out, settings[i][0], strlen(settings[i][0])) &&
                               resp_bulk(c->out, settings[i][1], strlen(settings[i][1]));
        return resp_array(c->out, 0);
}

/* ---------------------------------------------------------------- the table */

enum {
        GROWS = 1,   /* refused when there is no memory for its arguments */
        ONE_KEY = 2, /* its first argument */
        KEYS = 4,    /* all arguments */
        PAIRS = 8,   /* each second one */
        WHOLE = 16   /* looks at all shards */
};

static const struct command {
        const char *name;
        bool (*run)(struct call *c);
        size_t least, most; /* arguments, the name counted */
        unsigned flags;
} commands[] = {
        {"get", get, 2, 2, ONE_KEY},
        {"set", set, 3, 7, ONE_KEY | GROWS},
        {"del", del, 2, SIZE_MAX, KEYS},
        {"exists", exists, 2, SIZE_MAX, KEYS},
        {"incr", incr, 2, 2, ONE_KEY | GROWS},
        {"mget", mget, 2, SIZE_MAX, KEYS},
        {"mset", mset, 3, SIZE_MAX, PAIRS | GROWS},
        {"expire", expire, 3, 3, ONE_KEY},
        {"pexpire", pexpire, 3, 3, ONE_KEY},
        {"ttl", ttl, 2, 2, ONE_KEY},
        {"pttl", pttl, 2, 2, ONE_KEY},
        {"ping", ping, 1, 2, 0},
        {"echo", ping, 2, 2, 0},
        {"info", info, 1, 2, WHOLE},
        {"dbsize", dbsize, 1, 1, WHOLE},
        {"command", command, 1, SIZE_MAX, 0},
        {"config", config, 2, SIZE_MAX, 0},
        {"quit", quit, 1, 1, 0},
};

static const struct command *find_command(const struct resp_arg *name)
{
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
                if (is(name, commands[i].name))
                        return &commands[i];
        return NULL;
}

/* What the peer has sent is not sent back as it is: it could end the line. */
static bool unknown(struct call *c)
{
        char text[80], name[33];
        size_t n = c->args[0].bytes < sizeof name ? c->args[0].bytes : sizeof name - 1;

        for (size_t i = 0; i < n; i++)
                name[i] = c->args[0].data[i] > ' ' && c->args[0].data[i] < 127 ? c->args[0].data[i]
                                                                               : '?';
        snprintf(text, sizeof text, "-ERR unknown command '%.*s'\r\n", (int)n, name);
        return resp_text(c->out, text);
}

static bool wrong_number(struct call *c, const struct command *command)
{
        char text[80];

        snprintf(text, sizeof text, "-ERR wrong number of arguments for '%s' command\r\n",
                 command->name);
        return resp_text(c->out, text);
}

static uint64_t shards_of(const struct call *c, const struct command *command)
{
        size_t last = command->flags & ONE_KEY ? 2 : c->count;
        size_t step = command->flags & PAIRS ? 2 : 1;
        uint64_t set = 0;

        if (command->flags & WHOLE)
                return STORE_ALL;
        if (!(command->flags & (ONE_KEY | KEYS | PAIRS)))
                return 0;
        for (size_t i = 1; i < last; i += step)
                set |= store_shard(hash(&c->args[i]));
        return set;
}

/* Asked before anything is done, so that what is done is done whole. */
static bool affordable(const struct call *c, const struct command *command)
{
        size_t bytes = 0;

        if (!(command->flags & GROWS) || !memory_most())
                return true;
        for (size_t i = 1; i < c->count; i++)
                bytes += c->args[i].bytes + STORE_ENTRY;
        return memory_fits(bytes);
}

static bool run(struct call *c)
{
        const struct command *command = find_command(&c->args[0]);
        uint64_t shards;
        bool fits;

        if (!command)
                return unknown(c);
        if (c->count < command->least || c->count > command->most)
                return wrong_number(c, command);
        if (!affordable(c, command))
                return resp_text(c->out, NO_MEMORY);
        shards = shards_of(c, command);
        store_lock(shards);
        fits = command->run(c);
        store_unlock(shards);
        return fits;
}

enum command_result command_run(const struct resp *request, struct buffer *out)
{
        struct call c = {request->args, request->count, out, COMMAND_DONE};
        size_t before = out->bytes;

        if (run(&c))
                return c.result;
        out->bytes = before;
        return resp_text(out, "-ERR the reply is too big\r\n") ? c.result : COMMAND_QUIT;
}
