/* SPDX-License-Identifier: MIT
 *
 * The reader keeps where it is, so that a request is read once however many pieces it comes in:
 * only a line that is not complete is looked at again, and lines have bounds.
 */
#include "resp.h"

#include <string.h>

enum reading { BAD = -1, MORE = 0, GOOD = 1 };
enum { DIGITS_MOST = 9 };

static enum reading bad(struct resp *r, const char *error)
{
        r->error = error;
        return BAD;
}

/* Doubled as arguments come, not by what the first line claims. */
static enum reading add(struct resp *r, size_t offset, size_t bytes)
{
        if (r->count == r->room) {
                size_t room = r->room ? 2 * r->room : 8;
                struct resp_arg *args = memory_get(room * sizeof *args);

                if (!args)
                        return bad(r, "out of memory");
                if (r->count)
                        memcpy(args, r->args, r->count * sizeof *args);
                memory_put(r->args, r->room * sizeof *args);
                r->args = args;
                r->room = room;
        }
        r->args[r->count].offset = (uint32_t)offset;
        r->args[r->count++].bytes = (uint32_t)bytes;
        return GOOD;
}

/* The number between the letter at r->at and the end of its line. */
static enum reading number(struct resp *r, const char *data, size_t bytes, long *value)
{
        size_t i = r->at + 1, first;
        bool minus = i < bytes && data[i] == '-';
        long n = 0;

        i += minus;
        for (first = i; i < bytes && data[i] >= '0' && data[i] <= '9'; i++) {
                if (i - first == DIGITS_MOST)
                        return BAD;
                n = 10 * n + (data[i] - '0');
        }
        if (i == bytes)
                return MORE;
        if (i == first || data[i] != '\r' || (i + 1 < bytes && data[i + 1] != '\n'))
                return BAD;
        if (i + 1 == bytes)
                return MORE;
        *value = minus ? -n : n;
        r->at = i + 2;
        return GOOD;
}

static enum reading first_line(struct resp *r, const char *data, size_t bytes)
{
        long count = 0;
        enum reading got = number(r, data, bytes, &count);

        if (got == BAD || count > RESP_ARGS_MOST)
                return bad(r, "Protocol error: invalid multibulk length");
        if (got == GOOD) {
                r->wanted = count > 0 ? (size_t)count : 0;
                r->bulk = -1;
                r->state = RESP_ARGS;
        }
        return got;
}

static enum reading bulk_line(struct resp *r, const char *data, size_t bytes)
{
        enum reading got;

        if (r->at == bytes)
                return MORE;
        if (data[r->at] != '$')
                return bad(r, "Protocol error: expected '$'");
        got = number(r, data, bytes, &r->bulk);
        if (got == BAD || (got == GOOD && (r->bulk < 0 || r->bulk > RESP_BULK_MOST)))
                return bad(r, "Protocol error: invalid bulk length");
        if (got == GOOD && r->at + (size_t)r->bulk > RESP_REQUEST_MOST)
                return bad(r, "Protocol error: too big request");
        return got;
}

static enum reading argument(struct resp *r, const char *data, size_t bytes)
{
        enum reading got = r->bulk >= 0 ? GOOD : bulk_line(r, data, bytes);
        size_t end = r->at + (size_t)r->bulk;

        if (got != GOOD)
                return got;
        if (bytes < end + 2)
                return MORE;
        if (data[end] != '\r' || data[end + 1] != '\n')
                return bad(r, "Protocol error: expected the end of an argument");
        got = add(r, r->at, (size_t)r->bulk);
        r->at = end + 2;
        r->bulk = -1;
        return got;
}

/* For people: words in one line. There are no quotes. */
static enum reading words(struct resp *r, const char *data, size_t bytes)
{
        const char *end = memchr(data, '\n', bytes < RESP_INLINE_MOST ? bytes : RESP_INLINE_MOST);
        size_t i = 0, begin, line;

        if (!end && bytes >= RESP_INLINE_MOST)
                return bad(r, "Protocol error: too big inline request");
        if (!end)
                return MORE;
        r->at = (size_t)(end - data) + 1;
        line = end > data && end[-1] == '\r' ? r->at - 2 : r->at - 1;
        while (i < line) {
                for (; i < line && (data[i] == ' ' || data[i] == '\t'); i++)
                        ;
                for (begin = i; i < line && data[i] != ' ' && data[i] != '\t'; i++)
                        ;
                if (i > begin && add(r, begin, i - begin) == BAD)
                        return BAD;
        }
        r->wanted = r->count;
        r->state = RESP_ARGS;
        return GOOD;
}

ssize_t resp_read(struct resp *r, const char *data, size_t bytes)
{
        enum reading got = GOOD;

        if (r->state == RESP_DONE) {
                r->state = RESP_BEGIN;
                r->count = r->at = 0;
        }
        if (bytes == 0)
                return 0;
        if (r->state == RESP_BEGIN)
                got = data[0] == '*' ? first_line(r, data, bytes) : words(r, data, bytes);
        while (got == GOOD && r->count < r->wanted)
                got = argument(r, data, bytes);
        if (got != GOOD)
                return got;
        for (size_t i = 0; i < r->count; i++)
                r->args[i].data = data + r->args[i].offset;
        r->state = RESP_DONE;
        return (ssize_t)r->at;
}

void resp_free(struct resp *r)
{
        memory_put(r->args, r->room * sizeof *r->args);
        *r = (struct resp){0};
}

/* ---------------------------------------------------------------- replies */

static bool append(struct buffer *out, const char *data, size_t bytes)
{
        if (out->bytes + bytes > RESP_REQUEST_MOST || !buffer_room(out, bytes))
                return false;
        memcpy(out->data + out->bytes, data, bytes);
        out->bytes += bytes;
        return true;
}

bool resp_text(struct buffer *out, const char *text)
{
        return append(out, text, strlen(text));
}

/* A letter, a number, the end of the line. Not by printf, which takes longer than a GET. */
static bool line(struct buffer *out, char letter, int64_t value)
{
        char text[24], *begin = text + sizeof text;
        uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

        *--begin = '\n';
        *--begin = '\r';
        do
                *--begin = (char)('0' + rest % 10);
        while (rest /= 10);
        if (value < 0)
                *--begin = '-';
        *--begin = letter;
        return append(out, begin, (size_t)(text + sizeof text - begin));
}

bool resp_integer(struct buffer *out, int64_t value)
{
        return line(out, ':', value);
}

bool resp_array(struct buffer *out, size_t count)
{
        return line(out, '*', (int64_t)count);
}

bool resp_bulk(struct buffer *out, const char *data, size_t bytes)
{
        return line(out, '$', (int64_t)bytes) && append(out, data, bytes) && append(out, "\r\n", 2);
}
