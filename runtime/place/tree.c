/* SPDX-License-Identifier: MIT
 *
 * Reading below a root folder. Files are opened so that a pipe or a terminal in a hostile tree
 * cannot hold us up, and are read up to TREE_FILE_MAX.
 */
#define _GNU_SOURCE
#include "place/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int tree_open(struct tree *t, const char *root)
{
        *t = (struct tree){.root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC)};
        if (t->root < 0)
                return -errno;
        t->recorded = root[strspn(root, "/")] != '\0';
        t->text_size = 4096;
        t->text = malloc(t->text_size);
        if (t->text)
                return 0;
        close(t->root);
        return -ENOMEM;
}

void tree_close(struct tree *t)
{
        free(t->text);
        close(t->root);
}

static int open_below(struct tree *t, const char *path, int flags)
{
        int fd;

        path += strspn(path, "/");
        do
                fd = openat(t->root, *path ? path : ".", flags | O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        while (fd < 0 && errno == EINTR);
        if (fd < 0 && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
                t->error = -errno;
        return fd;
}

static bool grow(struct tree *t)
{
        char *larger;

        if (t->text_size >= TREE_FILE_MAX)
                return false;
        larger = realloc(t->text, 2 * t->text_size);
        if (!larger) {
                t->error = -ENOMEM;
                return false;
        }
        t->text = larger;
        t->text_size *= 2;
        return true;
}

/* Whatever can be read of it counts; a folder or a device that gives nothing is an empty text. */
static char *read_all(struct tree *t, int fd)
{
        size_t length = 0;
        ssize_t got;

        for (;;) {
                if (length + 1 == t->text_size && !grow(t))
                        break;
                got = read(fd, t->text + length, t->text_size - 1 - length);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0 && !length)
                        return NULL;
                if (got <= 0)
                        break;
                length += (size_t)got;
        }
        t->text[length] = '\0';
        return t->error ? NULL : t->text;
}

char *tree_read(struct tree *t, const char *path, ...)
{
        char full_path[PATH_MAX];
        char *text = NULL;
        va_list arguments;
        int length, fd;

        va_start(arguments, path);
        length = vsnprintf(full_path, sizeof full_path, path, arguments);
        va_end(arguments);
        if (length < 0 || (size_t)length >= sizeof full_path)
                return NULL;
        fd = open_below(t, full_path, 0);
        if (fd >= 0) {
                text = read_all(t, fd);
                close(fd);
        }
        return text;
}

bool tree_read_list(struct tree *t, struct cpulist *out, const char *list_path,
                    const char *mask_path)
{
        const char *text = tree_read(t, "%s", list_path);

        if (text && cpulist_parse(out, text))
                return true;
        text = tree_read(t, "%s", mask_path);
        if (text && cpulist_parse_mask(out, text))
                return true;
        memset(out, 0, sizeof *out);
        return false;
}

void tree_scan(struct tree *t, struct cpulist *out, const char *folder, const char *prefix)
{
        int fd = open_below(t, folder, O_DIRECTORY);
        size_t prefix_length = strlen(prefix);
        struct dirent *entry;
        DIR *listing;

        memset(out, 0, sizeof *out);
        if (fd < 0)
                return;
        listing = fdopendir(fd);
        if (!listing) {
                t->error = -ENOMEM;
                close(fd);
                return;
        }
        while ((entry = readdir(listing))) {
                const char *digits = entry->d_name + prefix_length;
                unsigned long number;

                if (strncmp(entry->d_name, prefix, prefix_length) != 0 || !*digits ||
                    digits[strspn(digits, "0123456789")])
                        continue;
                number = strtoul(digits, NULL, 10);
                cpulist_add(out, number < CPULIST_MAX ? (unsigned)number : CPULIST_MAX);
        }
        closedir(listing);
}
