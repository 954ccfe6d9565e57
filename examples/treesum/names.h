/* SPDX-License-Identifier: MIT
 *
 * How the coreutils print file names: sha256sum's lines escape what would break a line, and their
 * messages quote what a shell would not take as it stands (as in the C locale). Nothing in here
 * knows about Skua.
 */
#ifndef TREESUM_NAMES_H
#define TREESUM_NAMES_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Without an escape in the name the line is the sum, two spaces and the name. With one, the line
 * begins with a backslash, so that sha256sum -c knows. */
static void print_line(FILE *out, const char *sum_hex, const char *name)
{
        if (!strpbrk(name, "\\\n\r")) {
                fprintf(out, "%s  %s\n", sum_hex, name);
                return;
        }
        fprintf(out, "\\%s  ", sum_hex);
        for (; *name; name++) {
                if (*name == '\\')
                        fputs("\\\\", out);
                else if (*name == '\n')
                        fputs("\\n", out);
                else if (*name == '\r')
                        fputs("\\r", out);
                else
                        putc(*name, out);
        }
        putc('\n', out);
}

static bool printable(char c)
{
        return c >= ' ' && c <= '~';
}

/* Would a shell, or a reader of "program: name: reason", take the name for something else? */
static bool needs_quotes(const char *name)
{
        if (*name == '\0' || *name == '#' || *name == '~')
                return true;
        if ((*name == '{' || *name == '}') && name[1] == '\0')
                return true;
        for (; *name; name++)
                if (!printable(*name) || strchr(" !\"$&'()*:;<=>?[\\^`|", *name))
                        return true;
        return false;
}

/* May the name stand between double quotes, which is shorter for a name with an apostrophe? */
static bool fits_double_quotes(const char *name)
{
        const char *rest = *name == '#' || *name == '~' ? name + 1 : name;

        if (!strchr(name, '\''))
                return false;
        for (; *rest; rest++)
                if (!printable(*rest) || strchr("!\"#$&()*;<=>?[\\^`{|}~", *rest))
                        return false;
        return true;
}

/* One byte of $'...'. */
static void print_escape(FILE *out, unsigned char c)
{
        static const char letters[] = "abtnvfr"; /* of the bytes 7 to 13 */

        if (c >= 7 && c <= 13)
                fprintf(out, "\\%c", letters[c - 7]);
        else
                fprintf(out, "\\%03o", c);
}

static void print_quoted(FILE *out, const char *name)
{
        bool escaping = false; /* inside $'...' */

        if (!needs_quotes(name)) {
                fputs(name, out);
                return;
        }
        if (fits_double_quotes(name)) {
                fprintf(out, "\"%s\"", name);
                return;
        }
        putc('\'', out);
        for (; *name; name++) {
                if (*name == '\'') {
                        fputs("'\\''", out);
                        escaping = false;
                } else if (printable(*name)) {
                        fputs(escaping ? "''" : "", out);
                        putc(*name, out);
                        escaping = false;
                } else {
                        fputs(escaping ? "" : "'$'", out);
                        print_escape(out, (unsigned char)*name);
                        escaping = true;
                }
        }
        putc('\'', out);
}

#endif
