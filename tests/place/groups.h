/* SPDX-License-Identifier: MIT
 *
 * How the tests of this folder write expectations by hand: groups of numbers, "0-3 4,6,8 -". Own
 * reader, so that nothing of what is tested judges itself. Besides ranges and commas it knows
 *   A-B/K   the numbers A to B as consecutive groups of K
 *   A-B%K   the numbers A to B as K groups, dealt out in turn
 *   -       an empty group
 */
#ifndef TESTS_PLACE_GROUPS_H
#define TESTS_PLACE_GROUPS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS_MAX = 8192, GROUP_NONE = -1 };

struct groups {
        int count;
        int of[GROUPS_MAX];    /* number -> group, or GROUP_NONE */
        int first[GROUPS_MAX]; /* group -> its lowest number, or GROUP_NONE */
        int order[GROUPS_MAX]; /* all numbers in the order in which they were written */
        int order_count;
};

static inline void groups_put_(struct groups *g, int number, int group)
{
        g->of[number] = group;
        g->order[g->order_count++] = number;
        if (g->first[group] == GROUP_NONE || number < g->first[group])
                g->first[group] = number;
}

static inline void groups_read_word_(struct groups *g, char *word)
{
        int first, last, size, used = 0;

        if (sscanf(word, "%d-%d/%d%n", &first, &last, &size, &used) == 3 && !word[used]) {
                for (int i = first; i <= last; i++)
                        groups_put_(g, i, g->count + (i - first) / size);
                g->count += (last - first) / size + 1;
                return;
        }
        if (sscanf(word, "%d-%d%%%d%n", &first, &last, &size, &used) == 3 && !word[used]) {
                for (int i = first; i <= last; i++)
                        groups_put_(g, i, g->count + (i - first) % size);
                g->count += size;
                return;
        }
        for (char *at = word; *word != '-' && at; at = strchr(at, ',')) {
                at += *at == ',';
                last = first = atoi(at);
                sscanf(at, "%d-%d", &first, &last);
                for (int i = first; i <= last; i++)
                        groups_put_(g, i, g->count);
        }
        g->count++;
}

static inline struct groups *groups_read(const char *text)
{
        struct groups *g = calloc(1, sizeof *g);
        char *copy = strdup(text), *rest = NULL;

        for (int i = 0; i < GROUPS_MAX; i++)
                g->of[i] = g->first[i] = GROUP_NONE;
        for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
                groups_read_word_(g, word);
        free(copy);
        return g;
}

#endif
