/* SPDX-License-Identifier: MIT
 *
 * Trees for the tests of this folder: a scratch folder that goes away at exit, files in it, and the
 * recorded machines unpacked into it.
 */
#ifndef TESTS_PLACE_SANDBOX_H
#define TESTS_PLACE_SANDBOX_H

#include "../tap.h"

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char sandbox_[64];
static pid_t sandbox_owner_;

static inline int sandbox_remove_(const char *path, const struct stat *s, int type, struct FTW *f)
{
        (void)s;
        (void)f;
        return type == FTW_DP ? rmdir(path) : unlink(path);
}

static inline void sandbox_clear(const char *folder)
{
        nftw(folder, sandbox_remove_, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void sandbox_exit_(void)
{
        if (getpid() == sandbox_owner_)
                sandbox_clear(sandbox_);
}

/* The scratch folder, made at the first call: in memory where it can be, for these trees are many
 * thousand tiny files. */
static inline const char *sandbox(void)
{
        const char *parent = getenv("TMPDIR");

        if (*sandbox_)
                return sandbox_;
        if (!parent)
                parent = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(sandbox_, sizeof sandbox_, "%.40s/skua-place-XXXXXX", parent);
        if (!mkdtemp(sandbox_)) {
                printf("Bail out! no scratch folder %s\n", sandbox_);
                exit(3);
        }
        sandbox_owner_ = getpid();
        atexit(sandbox_exit_);
        return sandbox_;
}

/* Writes a file of `size` bytes below `root`, making the folders above it. */
static inline void tree_put_bytes(const char *root, const char *path, const void *bytes,
                                  size_t size)
{
        char full[2 * PATH_MAX];
        FILE *file;

        snprintf(full, sizeof full, "%s/%s", root, path);
        for (char *c = full + strlen(root); *c; c++) {
                if (c[0] != '/' || c == full)
                        continue;
                *c = '\0';
                mkdir(full, 0700);
                *c = '/';
        }
        file = fopen(full, "w");
        if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
                printf("Bail out! cannot write %s\n", full);
                exit(3);
        }
}

static inline void tree_put(const char *root, const char *path, const char *text)
{
        tree_put_bytes(root, path, text, strlen(text));
}

/* A line for each file: "path: content", parts separated by "; ". Short names: cpu = the CPUs'
 * folder, node = the nodes'. Makes a new tree `name` and returns its root (static). */
static inline const char *tree_make(const char *name, const char *files)
{
        static char root[PATH_MAX];
        char path[256], text[1024];

        snprintf(root, sizeof root, "%s/%s", sandbox(), name);
        sandbox_clear(root);
        mkdir(root, 0700);
        while (*files) {
                size_t length = strcspn(files, ";");
                const char *colon = memchr(files, ':', length);
                const char *prefix = strncmp(files, "cpu", 3) == 0    ? "sys/devices/system/cpu/"
                                     : strncmp(files, "node", 4) == 0 ? "sys/devices/system/node/"
                                                                      : "";

                snprintf(path, sizeof path, "%s%.*s", prefix, (int)(colon - files), files);
                snprintf(text, sizeof text, "%.*s\n", (int)(files + length - colon - 2), colon + 2);
                tree_put(root, path, text);
                files += length;
                files += strspn(files, "; ");
        }
        return root;
}

/* Walks up from the program's folder and from the working folder. */
static inline bool archives_find_(const char *start, char out[PATH_MAX])
{
        char at[PATH_MAX / 2];

        snprintf(at, sizeof at, "%s", start);
        for (;;) {
                char *slash = strrchr(at, '/');

                snprintf(out, PATH_MAX, "%s/tests/place/topologies", at);
                if (access(out, R_OK) == 0)
                        return true;
                if (!slash)
                        return false;
                *slash = '\0';
        }
}

/* Unpacks a recorded machine; its root (static), or NULL. */
static inline const char *archive_unpack(const char *name)
{
        static char root[PATH_MAX], folder[PATH_MAX];
        char start[PATH_MAX / 2] = "", command[3 * PATH_MAX];
        int status;

        if (!*folder && readlink("/proc/self/exe", start, sizeof start - 1) < 0)
                return NULL;
        if (!*folder && !archives_find_(start, folder) &&
            (!getcwd(start, sizeof start) || !archives_find_(start, folder))) {
                *folder = '\0';
                return NULL;
        }
        snprintf(root, sizeof root, "%s/%s", sandbox(), name);
        mkdir(root, 0700);
        snprintf(command, sizeof command,
                 "tar -xjf '%s/%s.tar.bz2' -C '%s' --strip-components=1 --no-same-owner", folder,
                 name, root);
        status = system(command);
        return status == 0 ? root : NULL;
}

#endif
