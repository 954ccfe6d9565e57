/* SPDX-License-Identifier: MIT
 *
 * The reader and writer of RESP of examples/kv: what is right is read alike however it is cut, what
 * is wrong is refused alike, and of anything at all no byte beyond the end is looked at (which the
 * address sanitizer sees, as each piece is a piece of memory of its own size).
 */
#include "../../examples/kv/memory.c"
#include "../../examples/kv/resp.c"

#include "tap.h"

enum { ROUNDS = 20000, MUTANTS = 40000, TEXT_MOST = 512 };

static uint64_t state;

static size_t below(size_t n)
{
        return tap_random(&state) % n;
}

/* What reading a text gave, in a form that can be compared. */
struct outcome {
        size_t used; /* bytes of whole requests */
        size_t requests, args;
        uint64_t sum; /* of the arguments, their places and lengths */
        char error[80];
};

static void note(struct outcome *o, const struct resp *r)
{
        o->requests++;
        o->args += r->count;
        for (size_t i = 0; i < r->count; i++) {
                o->sum = o->sum * 31 + r->args[i].bytes + 1;
                for (size_t k = 0; k < r->args[i].bytes; k++)
                        o->sum = o->sum * 31 + (unsigned char)r->args[i].data[k];
        }
}

/* Reads what has come, whole requests after one another; false: something is wrong. */
static bool read_all(struct outcome *o, struct resp *r, const char *text, size_t bytes)
{
        char *piece = malloc(bytes - o->used);
        size_t begin = o->used;
        ssize_t n;

        memcpy(piece, text + begin, bytes - begin);
        while ((n = resp_read(r, piece + o->used - begin, bytes - o->used)) > 0) {
                note(o, r);
                o->used += (size_t)n;
        }
        if (n < 0)
                snprintf(o->error, sizeof o->error, "%s", r->error);
        free(piece);
        return n == 0;
}

/* `cut` (NULL: none) says whether the peer's bytes stop for a while before this one. */
static struct outcome read_cut(const char *text, size_t bytes, const bool *cut)
{
        struct outcome o = {0};
        struct resp r = {0};
        bool right = true;

        for (size_t end = 1; end <= bytes && right; end++)
                if (end == bytes || (cut && cut[end]))
                        right = read_all(&o, &r, text, end);
        resp_free(&r);
        return o;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
        return a->used == b->used && a->requests == b->requests && a->args == b->args &&
               a->sum == b->sum && !strcmp(a->error, b->error);
}

/* ---------------------------------------------------------------- what is right */

static void cut_everywhere(void)
{
        static const char text[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\n"
                                   "PING\r\n  get \t x\n\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\n"
                                   "*2\r\n$4\r\nECHO\r\n$1\r\n*\r\n";
        size_t bytes = sizeof text - 1;
        struct outcome whole = read_cut(text, bytes, NULL);
        bool all[sizeof text], alike = true;

        tap_ok(whole.used == bytes && whole.requests == 8 && whole.args == 9 && !whole.error[0],
               "requests in a row: %zu of %zu bytes, %zu requests, %zu arguments", whole.used,
               bytes, whole.requests, whole.args);
        for (size_t at = 1; at < bytes; at++) {
                bool one[sizeof text] = {false};
                struct outcome o;

                one[at] = true;
                o = read_cut(text, bytes, one);
                alike &= same(&o, &whole);
                if (!same(&o, &whole))
                        printf("# cut at %zu: %s\n", at, o.error);
        }
        tap_ok(alike, "cut at each position: the same");
        memset(all, true, sizeof all);
        whole = read_cut(text, bytes, all);
        tap_ok(whole.used == bytes && whole.requests == 8, "byte by byte: the same");
}

/* What the writer has written the reader reads. */
static void round_trips(void)
{
        bool right = true;

        for (unsigned round = 0; round < ROUNDS / 10 && right; round++) {
                struct buffer b = {0};
                struct resp r = {0};
                char data[300];
                size_t count = 1 + below(20), lengths[20], at = 0;

                for (size_t i = 0; i < sizeof data; i++)
                        data[i] = (char)tap_random(&state);
                resp_array(&b, count);
                for (size_t i = 0; i < count; i++)
                        resp_bulk(&b, data + i, lengths[i] = below(sizeof data - 20));
                right = resp_read(&r, b.data, b.bytes) == (ssize_t)b.bytes && r.count == count;
                for (size_t i = 0; right && i < count; i++, at++)
                        right = r.args[i].bytes == lengths[i] &&
                                !memcmp(r.args[i].data, data + i, lengths[i]);
                buffer_free(&b);
                resp_free(&r);
        }
        tap_ok(right, "what is written is read back");
}

static void replies(void)
{
        static const char expected[] = ":-9223372036854775808\r\n:9223372036854775807\r\n:0\r\n";
        struct buffer b = {0};

        resp_integer(&b, INT64_MIN);
        resp_integer(&b, INT64_MAX);
        resp_integer(&b, 0);
        tap_ok(b.bytes == sizeof expected - 1 && !memcmp(b.data, expected, b.bytes),
               "integers of any size");
        buffer_free(&b);
}

/* ---------------------------------------------------------------- what is wrong */

static void refused(void)
{
        static const struct {
                const char *text, *part;
        } wrong[] = {
                {"*x\r\n", "multibulk length"},
                {"*\r\n", "multibulk length"},
                {"*-\r\n", "multibulk length"},
                {"*1\n", "multibulk length"},
                {"*1\rx", "multibulk length"},
                {"*65537\r\n", "multibulk length"},
                {"*99999999999999999999\r\n", "multibulk length"},
                {"*1\r\n:1\r\n", "expected '$'"},
                {"*1\r\n*1\r\n", "expected '$'"},
                {"*1\r\n$x\r\n", "bulk length"},
                {"*1\r\n$-1\r\n", "bulk length"},
                {"*1\r\n$16777217\r\n", "bulk length"},
                {"*1\r\n$ 1\r\n", "bulk length"},
                {"*1\r\n$1\r\nab\r\n", "end of an argument"},
                {"*1\r\n$1\r\na\rb", "end of an argument"},
        };
        static char line[RESP_INLINE_MOST + 1];

        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                struct outcome o = read_cut(wrong[i].text, strlen(wrong[i].text), NULL);

                tap_ok(strstr(o.error, wrong[i].part) && !o.used, "wrong request %zu: %s", i,
                       o.error);
        }
        memset(line, 'a', sizeof line);
        tap_ok(strstr(read_cut(line, RESP_INLINE_MOST, NULL).error, "too big"), "an endless line");
        tap_ok(!read_cut(line, RESP_INLINE_MOST - 1, NULL).error[0], "a long line may go on");
        line[RESP_INLINE_MOST] = '\n';
        tap_ok(strstr(read_cut(line, sizeof line, NULL).error, "too big"), "a line too long");
        line[RESP_INLINE_MOST - 1] = '\n';
        tap_is((long long)read_cut(line, RESP_INLINE_MOST, NULL).used, RESP_INLINE_MOST,
               "a line as long as may be");
}

/* Arguments as long as may be, one after another: refused before their sum is too much. */
static void too_big(void)
{
        char *text = malloc((size_t)RESP_REQUEST_MOST);
        size_t bytes = (size_t)sprintf(text, "*5\r\n"), taken = 0;
        struct resp r = {0};

        for (;; taken++) {
                bytes += (size_t)sprintf(text + bytes, "$%d\r\n", RESP_BULK_MOST);
                if (resp_read(&r, text, bytes) || taken == 3)
                        break;
                memset(text + bytes, 'x', RESP_BULK_MOST);
                bytes += RESP_BULK_MOST;
                bytes += (size_t)sprintf(text + bytes, "\r\n");
        }
        tap_ok(taken == 3 && r.error && strstr(r.error, "too big request"),
               "a request that is too big");
        resp_free(&r);
        free(text);
}

/* ---------------------------------------------------------------- anything at all */

static size_t some_requests(char *text)
{
        size_t bytes = 0;

        while (bytes < TEXT_MOST / 2) {
                size_t count = below(4);

                if (below(4) == 0) {
                        bytes += (size_t)sprintf(text + bytes, "PING %zu\r\n", count);
                        continue;
                }
                bytes += (size_t)sprintf(text + bytes, "*%zu\r\n", count);
                while (count--) {
                        size_t length = below(20);

                        bytes += (size_t)sprintf(text + bytes, "$%zu\r\n%.*s\r\n", length,
                                                 (int)length, "a\r\n$1\r\nb*2\r\n-:+ xyz");
                }
        }
        return bytes;
}

static void mutate(char *text, size_t bytes)
{
        static const char likely[] = "*$:+-0129\r\n \0x";

        for (size_t n = below(4); n; n--)
                text[below(bytes)] = below(8) ? likely[below(sizeof likely)]
                                              : (char)tap_random(&state);
}

/* However it is cut, the same is read, and the same is wrong. */
static void mutants(void)
{
        unsigned wrong = 0, cut_differently = 0;

        for (unsigned i = 0; i < MUTANTS && !cut_differently; i++) {
                char text[TEXT_MOST];
                bool cut[TEXT_MOST];
                size_t bytes = some_requests(text);
                size_t often = 1 + below(30);
                struct outcome whole, pieces;

                mutate(text, bytes);
                for (size_t k = 0; k < bytes; k++)
                        cut[k] = below(often) == 0;
                whole = read_cut(text, bytes, NULL);
                pieces = read_cut(text, bytes, cut);
                wrong += whole.error[0] != '\0';
                if (!same(&whole, &pieces)) {
                        cut_differently++;
                        printf("# mutant %u: %zu, %s; in pieces %zu, %s\n", i, whole.used,
                               whole.error, pieces.used, pieces.error);
                }
        }
        tap_is(cut_differently, 0, "changed at random: read alike in any pieces");
        tap_ok(wrong > MUTANTS / 10 && wrong < MUTANTS, "%u of %u were wrong", wrong, MUTANTS);
}

int main(void)
{
        tap_plan(6 + 15 + 4 + 1 + 2, 120);
        cut_everywhere();
        round_trips();
        replies();
        refused();
        too_big();
        mutants();
        tap_is((long long)memory_used(), 0, "all memory is given back");
        return tap_done();
}
