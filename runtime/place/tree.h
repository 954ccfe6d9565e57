/* SPDX-License-Identifier: MIT
 *
 * Small text files below a root folder: /sys and /proc of this machine, or of a recorded one.
 * Nothing in them is trusted and anything may be missing. Called by the readers of this folder.
 */
#ifndef PLACE_TREE_H
#define PLACE_TREE_H

#include <stdbool.h>

#include "place/cpulist.h"

enum { TREE_FILE_MAX = 1 << 20 }; /* bytes of a file beyond these are not read */

struct tree {
        int root;      /* a descriptor of the root folder */
        bool recorded; /* not of this machine */
        int error;     /* -ENOMEM, -EMFILE or -ENFILE, from the first time that it happened */
        char *text;    /* of the file read last */
        size_t text_size;
};

/* 0, -ENOMEM, or the error of opening the folder. */
int tree_open(struct tree *t, const char *root);
void tree_close(struct tree *t);

/* The content of a file up to its first NUL, until the next call; NULL: there is none. */
__attribute__((format(printf, 2, 3))) char *tree_read(struct tree *t, const char *path, ...);

/* A list from a file in list form, else from the one in mask form (kernels before 2.6.25 have no
 * other). False, and an empty set: neither can be read. */
bool tree_read_list(struct tree *t, struct cpulist *out, const char *list_path,
                    const char *mask_path);

/* The numbers N of the entries `prefix`N of a folder; an empty set when there is no folder. */
void tree_scan(struct tree *t, struct cpulist *out, const char *folder, const char *prefix);

#endif
