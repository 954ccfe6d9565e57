/* SPDX-License-Identifier: MIT
 *
 * Sets of CPU or node numbers. The parsers take text of any content: what does not have the form
 * of a list as a whole gives nothing, rather than the half that could be read.
 */
#include "place/cpulist.h"

#include <string.h>

static bool is_end(char c)
{
        return c == '\0' || c == '\n';
}

/* A decimal number that saturates at CPULIST_MAX; false when there is none. */
static bool read_number(const char **text, unsigned *number)
{
        const char *at = *text;

        *number = 0;
        while (*at >= '0' && *at <= '9') {
                *number = *number * 10 + (unsigned)(*at++ - '0');
                if (*number > CPULIST_MAX)
                        *number = CPULIST_MAX;
        }
        if (at == *text)
                return false;
        *text = at;
        return true;
}

static bool read_range(const char **text, struct cpulist *out)
{
        unsigned first, last;

        if (!read_number(text, &first))
                return false;
        last = first;
        if (**text == '-') {
                ++*text;
                if (!read_number(text, &last) || last < first)
                        return false;
        }
        for (; first <= last && first < CPULIST_MAX; first++)
                cpulist_add(out, first);
        return true;
}

static bool parse_ranges(struct cpulist *out, const char *text)
{
        while (*text == ' ' || *text == '\t')
                text++;
        if (is_end(*text))
                return true;
        for (;;) {
                if (!read_range(&text, out))
                        return false;
                if (*text != ',')
                        break;
                text++;
        }
        while (*text == ' ' || *text == '\t' || *text == '\r')
                text++;
        return is_end(*text);
}

bool cpulist_parse(struct cpulist *out, const char *text)
{
        memset(out, 0, sizeof *out);
        if (parse_ranges(out, text))
                return true;
        memset(out, 0, sizeof *out);
        return false;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* From the right: each comma begins the next 32 numbers, whether or not the group before it was
 * written with all of its eight digits. */
static bool parse_groups(struct cpulist *out, const char *text, size_t length)
{
        unsigned bit = 0, group_digits = 0;

        while (length--) {
                int value = hex_value(text[length]);

                if (text[length] == ',') {
                        if (!group_digits)
                                return false;
                        bit = (bit + 31) / 32 * 32;
                        group_digits = 0;
                        continue;
                }
                if (value < 0 || ++group_digits > 8)
                        return false;
                for (unsigned i = 0; i < 4; i++, bit++) {
                        if (value >> i & 1 && bit < CPULIST_MAX)
                                cpulist_add(out, bit);
                }
        }
        return group_digits > 0;
}

bool cpulist_parse_mask(struct cpulist *out, const char *text)
{
        size_t length;

        memset(out, 0, sizeof *out);
        text += strspn(text, " \t");
        length = strcspn(text, " \t\r\n");
        if (is_end(text[length + strspn(text + length, " \t\r")]) &&
            parse_groups(out, text, length))
                return true;
        memset(out, 0, sizeof *out);
        return false;
}

void cpulist_from_set(struct cpulist *out, const cpu_set_t *set, size_t set_bytes)
{
        memset(out, 0, sizeof *out);
        memcpy(out, set, set_bytes < sizeof *out ? set_bytes : sizeof *out);
}

void cpulist_add(struct cpulist *list, unsigned number)
{
        if (number < CPULIST_MAX)
                list->words[number / CPULIST_WORD_BITS] |= 1ul << number % CPULIST_WORD_BITS;
}

void cpulist_remove(struct cpulist *list, unsigned number)
{
        if (number < CPULIST_MAX)
                list->words[number / CPULIST_WORD_BITS] &= ~(1ul << number % CPULIST_WORD_BITS);
}

void cpulist_intersect(struct cpulist *list, const struct cpulist *other)
{
        for (unsigned i = 0; i < CPULIST_MAX / CPULIST_WORD_BITS; i++)
                list->words[i] &= other->words[i];
}

bool cpulist_has(const struct cpulist *list, unsigned number)
{
        return number < CPULIST_MAX &&
               (list->words[number / CPULIST_WORD_BITS] >> number % CPULIST_WORD_BITS & 1);
}

unsigned cpulist_count(const struct cpulist *list)
{
        unsigned count = 0;

        for (unsigned i = 0; i < CPULIST_MAX / CPULIST_WORD_BITS; i++)
                count += (unsigned)__builtin_popcountl(list->words[i]);
        return count;
}

unsigned cpulist_next(const struct cpulist *list, unsigned from)
{
        while (from < CPULIST_MAX) {
                unsigned long rest = list->words[from / CPULIST_WORD_BITS] >>
                                     from % CPULIST_WORD_BITS;

                if (rest)
                        return from + (unsigned)__builtin_ctzl(rest);
                from = (from / CPULIST_WORD_BITS + 1) * CPULIST_WORD_BITS;
        }
        return CPULIST_MAX;
}
