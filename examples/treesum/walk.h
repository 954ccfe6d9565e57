/* SPDX-License-Identifier: MIT
 *
 * The regular files below some folders, one after the other, in byte order of their whole paths:
 * the order of `find -type f -print0 | LC_ALL=C sort -z`. Symbolic links below are not followed,
 * and devices, sockets and pipes are left out. What the caller names itself is taken as it is.
 * An iterator and no recursion, so that the job that drives it may return between two names and
 * go on later on another worker. Nothing in here knows about Skua.
 */
#ifndef TREESUM_WALK_H
#define TREESUM_WALK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct entry {
        bool is_folder;
        char name[];
};

/* A folder that is being walked: what it holds, sorted, and how far the walk has come. */
struct folder {
        struct entry **entries;
        size_t count, next, path_bytes;
};

struct walk {
        char **roots; /* what the caller named, up to a NULL */
        char *path;   /* of the last name given out */
        size_t path_room;
        struct folder *stack; /* the folders from the root down to where the walk is */
        size_t depth, stack_room;
        bool is_below; /* the last name was found, not given */
};

static void out_of_memory(void)
{
        perror("treesum");
        _exit(EXIT_FAILURE); /* not exit(): other threads are still in libcrypto */
}

static void *resize(void *memory, size_t bytes)
{
        memory = realloc(memory, bytes);
        if (!memory)
                out_of_memory();
        return memory;
}

static void walk_set_path(struct walk *w, size_t prefix_bytes, const char *name)
{
        size_t bytes = strlen(name) + 1;

        if (prefix_bytes + bytes + 1 > w->path_room) {
                w->path_room = 2 * (prefix_bytes + bytes + 1); /* room for a slash as well */
                w->path = resize(w->path, w->path_room);
        }
        memcpy(w->path + prefix_bytes, name, bytes);
}

/* A folder counts as if its name ended in a slash, which makes the walk sorted by whole paths:
 * "a-b" comes before "a/c". */
static int compare_entries(const void *left, const void *right)
{
        const struct entry *a = *(struct entry *const *)left;
        const struct entry *b = *(struct entry *const *)right;
        size_t i = 0;

        while (a->name[i] && a->name[i] == b->name[i])
                i++;
        unsigned char x = a->name[i] || !a->is_folder ? (unsigned char)a->name[i] : '/';
        unsigned char y = b->name[i] || !b->is_folder ? (unsigned char)b->name[i] : '/';
        return (x > y) - (x < y);
}

/* The kind of an entry: DT_DIR, DT_REG or something that does not matter. */
static int entry_kind(DIR *dir, const struct dirent *e)
{
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                return DT_LNK;
        if (e->d_type != DT_UNKNOWN) /* some file systems do not tell */
                return e->d_type;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
                return DT_REG; /* let opening it say what is wrong */
        return IFTODT(st.st_mode);
}

static int read_entries(DIR *dir, struct folder *f)
{
        size_t room = 0;

        for (;;) {
                errno = 0;
                struct dirent *e = readdir(dir);
                if (!e)
                        return errno;
                int kind = entry_kind(dir, e);
                if (kind != DT_DIR && kind != DT_REG)
                        continue;
                if (f->count == room) {
                        room = room ? 2 * room : 32;
                        f->entries = resize(f->entries, room * sizeof *f->entries);
                }
                size_t bytes = strlen(e->d_name) + 1;
                struct entry *kept = resize(NULL, sizeof *kept + bytes);
                kept->is_folder = kind == DT_DIR;
                memcpy(kept->name, e->d_name, bytes);
                f->entries[f->count++] = kept;
        }
}

/* Enters the folder at w->path. Returns 0 or an errno; what could be read of it is walked. */
static int enter_folder(struct walk *w)
{
        int fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (w->is_below ? O_NOFOLLOW : 0));
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                int error = errno;
                if (fd >= 0)
                        close(fd);
                return error;
        }
        if (w->depth == w->stack_room) {
                w->stack_room = w->stack_room ? 2 * w->stack_room : 16;
                w->stack = resize(w->stack, w->stack_room * sizeof *w->stack);
        }
        struct folder *f = &w->stack[w->depth++];
        *f = (struct folder){.path_bytes = strlen(w->path)};
        int error = read_entries(dir, f);
        closedir(dir);
        if (f->count > 1)
                qsort(f->entries, f->count, sizeof *f->entries, compare_entries);
        if (w->path[f->path_bytes - 1] != '/')
                f->path_bytes++; /* for the slash, which walk_next() writes */
        return error;
}

static void leave_folder(struct walk *w)
{
        struct folder *f = &w->stack[--w->depth];

        while (f->count > 0)
                free(f->entries[--f->count]);
        free(f->entries);
}

/* Puts the next name into w->path; false at the end. *error is 0 for a file, else the errno that
 * made a folder unreadable. */
static bool walk_next(struct walk *w, int *error)
{
        struct stat st;

        for (;;) {
                bool is_folder;

                if (w->depth > 0) {
                        struct folder *f = &w->stack[w->depth - 1];
                        if (f->next == f->count) {
                                leave_folder(w);
                                continue;
                        }
                        struct entry *e = f->entries[f->next++];
                        walk_set_path(w, f->path_bytes, e->name);
                        w->path[f->path_bytes - 1] = '/';
                        w->is_below = true;
                        is_folder = e->is_folder;
                } else {
                        if (!*w->roots)
                                return false;
                        walk_set_path(w, 0, *w->roots++);
                        w->is_below = false;
                        is_folder = stat(w->path, &st) == 0 && S_ISDIR(st.st_mode);
                }
                *error = is_folder ? enter_folder(w) : 0;
                if (!is_folder || *error)
                        return true;
        }
}

static void walk_end(struct walk *w)
{
        while (w->depth > 0)
                leave_folder(w);
        free(w->stack);
        free(w->path);
}

#endif
