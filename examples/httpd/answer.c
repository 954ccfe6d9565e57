/* SPDX-License-Identifier: MIT
 *
 * From a request to its answer: a file below the root, whole or a range or "not modified"; a folder
 * by its index.html or as a list. Small files are kept in memory, by each worker for itself, and
 * looked at again when the second is over. A job gives way only where it awaits: what is kept is
 * used up to the next await, and needs neither a lock nor a count of references.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem, strptime, O_PATH */
#endif
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http.h"

enum { HEAD_MOST = 2048, KEPT_BYTES = 16384, KEPT_COUNT = 1024, LIST_BYTES = 16384 };

struct file {
        int fd;        /* or -1: kept, `data` has all of it */
        time_t second; /* when it was looked at */
        struct stat st;
        char etag[40], modified[32], fields[256], length[48]; /* of the head, for all of it */
        char *path, *data;                                    /* behind this struct */
};

static struct file *(*kept)[KEPT_COUNT]; /* of each worker, by the path's hash */
static int root_fd;
static bool list_folders;
int64_t transfer_ns;

void flush(struct connection *c)
{
        ssize_t wanted = (ssize_t)c->out_used;

        c->out_used = 0;
        if (wanted && !c->broken)
                c->broken = skua_await_send_all(c->self, c->fd, c->out, (size_t)wanted,
                                                MSG_NOSIGNAL,
                                                skua_now_ns() + transfer_ns) != wanted;
}

static void put(struct connection *c, const char *bytes, size_t length)
{
        memcpy(c->out + c->out_used, bytes, length);
        c->out_used += length;
}

static void print(struct connection *c, const char *format, ...)
{
        va_list values;

        va_start(values, format);
        c->out_used += (size_t)vsprintf(c->out + c->out_used, format, values); /* there is room */
        va_end(values);
}

static bool wants_body(const struct connection *c)
{
        return c->request.parser.method != HTTP_HEAD;
}

/* Without printf what most answers have: it would take a twentieth of their time. */
static void begin_head(struct connection *c, int status)
{
        const char *date = now(c->self)->date;

        c->request.status = status;
        if (status == 200)
                put(c, "HTTP/1.1 200 OK\r\n", 17);
        else
                print(c, "HTTP/1.1 %d %s\r\n", status, http_status_str(status));
        put(c, date, strlen(date));
        if (!c->keep)
                print(c, "Connection: close\r\n");
        else if (!c->request.parser.http_minor)
                print(c, "Connection: keep-alive\r\n");
}

static void refuse(struct connection *c, int status)
{
        const char *text = http_status_str(status);

        begin_head(c, status);
        print(c, "%sContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
              status == 405 ? "Allow: GET, HEAD\r\n" : "", strlen(text) + 1);
        if (wants_body(c)) {
                print(c, "%s\n", text);
                c->request.length = strlen(text) + 1;
        }
}

/* The path of the target, decoded and relative to the root; false: it has none. */
static bool decode_path(struct connection *c)
{
        const struct span *target = &c->request.target;
        struct http_parser_url url = {0};
        const char *at, *end;
        char *to = c->path;

        if (http_parser_parse_url(target->at, target->length, 0, &url) ||
            !(url.field_set & 1 << UF_PATH))
                return false;
        at = target->at + url.field_data[UF_PATH].off;
        end = at + url.field_data[UF_PATH].len; /* and behind it there is the version */
        for (at += strspn(at, "/"); at < end; at++, to++) {
                *to = *at;
                if (*at != '%')
                        continue;
                if (!isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2]))
                        return false;
                *to = (char)strtol((char[]){at[1], at[2], 0}, NULL, 16);
                at += 2;
                if (!*to)
                        return false;
        }
        *to = 0;
        return true;
}

static int open_beneath(const char *path, uint64_t more)
{
        struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                               .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | more};
        long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);

        return fd < 0 ? -errno : (int)fd;
}

static int open_slowly(void *path)
{
        return open_beneath(path, 0);
}

/* The kernel sees to it that neither ".." nor a link leads out of the root. Where it would have to
 * read from a disk (or does not know that wish: -EINVAL), another thread waits for it. */
static int open_path(struct skua_worker *self, char *path)
{
        int fd = open_beneath(path, RESOLVE_CACHED);

        return fd == -EAGAIN || fd == -EINVAL ? skua_await_blocking(self, open_slowly, path) : fd;
}

static int status_of(int error)
{
        if (error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG)
                return 404;
        if (error == EACCES || error == EPERM || error == ELOOP || error == EXDEV) /* beyond it */
                return 403;
        return error == EMFILE || error == ENFILE || error == ENOMEM ? 503 : 500;
}

static const char *type_of(const char *path)
{
        static const char *const types[][2] = {
                {".html", "text/html; charset=utf-8"},
                {".txt", "text/plain; charset=utf-8"},
                {".css", "text/css; charset=utf-8"},
                {".js", "text/javascript; charset=utf-8"},
                {".json", "application/json"},
                {".svg", "image/svg+xml"},
                {".png", "image/png"},
                {".jpg", "image/jpeg"},
                {".webp", "image/webp"},
                {".pdf", "application/pdf"},
        };
        const char *dot = strrchr(path, '.');

        for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
                if (!strcasecmp(dot, types[i][0]))
                        return types[i][1];
        return "application/octet-stream";
}

/* An opened file and what answers say about it; a small one is read, and kept in the slot. */
static struct file *load(struct connection *c, struct file **slot, int fd, const struct stat *st)
{
        size_t path_bytes = strlen(c->path) + 1, size = (size_t)st->st_size;
        bool small = S_ISREG(st->st_mode) && size <= KEPT_BYTES;
        struct file *f = malloc(sizeof *f + path_bytes + (small ? size : 0));
        struct tm t;

        if (!f)
                return NULL;
        f->fd = fd;
        f->st = *st;
        f->second = now(c->self)->second;
        f->path = memcpy(f + 1, c->path, path_bytes);
        f->data = f->path + path_bytes;
        sprintf(f->etag, "\"%llx-%llx-%zx\"", (unsigned long long)st->st_mtim.tv_sec,
                (unsigned long long)st->st_mtim.tv_nsec, size);
        strftime(f->modified, sizeof f->modified, "%a, %d %b %Y %T GMT",
                 gmtime_r(&st->st_mtime, &t));
        sprintf(f->fields,
                "ETag: %s\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\nContent-Type: %s\r\n",
                f->etag, f->modified, type_of(c->path));
        sprintf(f->length, "Content-Length: %zu\r\n\r\n", size);
        if (small && skua_await_read(c->self, fd, f->data, size, 0) == (ssize_t)size) {
                close(fd);
                f->fd = -1;
                free(*slot);
                *slot = f;
        }
        return f;
}

/* What has been opened is what is kept, or is loaded. 0, or the status to refuse it with. */
static int look(struct connection *c, struct file **slot, int fd, struct file **found)
{
        struct file *f = *slot;
        struct stat st;

        if (fstat(fd, &st))
                return status_of(errno);
        if (S_ISDIR(st.st_mode) && c->path[strlen(c->path) - 1] != '/')
                return 301;
        if (!S_ISREG(st.st_mode) && !(S_ISDIR(st.st_mode) && list_folders))
                return 403;
        if (!f || strcmp(f->path, c->path) || f->st.st_ino != st.st_ino ||
            f->st.st_size != st.st_size || memcmp(&f->st.st_ctim, &st.st_ctim, sizeof st.st_ctim)) {
                *found = load(c, slot, fd, &st);
                return *found ? 0 : 503;
        }
        f->second = now(c->self)->second;
        close(fd);
        *found = f;
        return 0;
}

static int find(struct connection *c, struct file **found)
{
        size_t length = strlen(c->path), hash = 0;
        struct file **slot;
        int fd, status;

        if (!length || c->path[length - 1] == '/')
                strcpy(c->path + length, "index.html");
        for (const char *p = c->path; *p; p++)
                hash = hash * 31 + (unsigned char)*p;
        slot = &kept[skua_worker_index(c->self)][hash % KEPT_COUNT];
        *found = *slot;
        if (*slot && (*slot)->second == now(c->self)->second && !strcmp((*slot)->path, c->path))
                return 0;
        fd = open_path(c->self, c->path);
        if (fd == -ENOENT && c->path[length]) { /* no index.html: the folder itself */
                strcpy(c->path + length, length ? "" : "./");
                fd = open_path(c->self, c->path);
        }
        if (fd < 0)
                return status_of(-fd);
        status = look(c, slot, fd, found);
        if (status)
                close(fd);
        return status;
}

static bool equals(const struct span *span, const char *text)
{
        return span->length == strlen(text) && !memcmp(span->at, text, span->length);
}

/* The client has it already. */
static bool not_modified(const struct request *r, const struct file *f)
{
        const struct span *tags = &r->field[IF_NONE_MATCH], *since = &r->field[IF_MODIFIED_SINCE];
        struct tm t = {0};

        if (tags->at)
                return equals(tags, "*") ||
                       memmem(tags->at, tags->length, f->etag, strlen(f->etag));
        return since->at && strptime(since->at, "%a, %d %b %Y %T GMT", &t) &&
               f->st.st_mtime <= timegm(&t);
}

/* 206 and the wanted part, 416 and none, or 200 and all, also for what is not a single range. */
static int part_of(const struct connection *c, const struct file *f, off_t *first, off_t *end)
{
        const struct span *range = &c->request.field[RANGE], *same = &c->request.field[IF_RANGE];
        long long a = 0, b = LLONG_MAX;
        char text[64];
        int n = 0;

        *first = 0;
        *end = f->st.st_size;
        if (!range->at || range->length >= sizeof text || !wants_body(c) ||
            (same->at && !equals(same, f->etag) && !equals(same, f->modified)))
                return 200;
        snprintf(text, sizeof text, "%.*s", (int)range->length, range->at);
        if (sscanf(text, "bytes=-%lld%n", &b, &n) == 1)
                a = b < *end ? *end - b : 0;
        else if (sscanf(text, "bytes=%lld-%lld%n", &a, &b, &n) != 2)
                sscanf(text, "bytes=%lld-%n", &a, &n);
        if (!n || text[n] || a < 0 || b < 0 || (text[6] != '-' && b < a))
                return 200;
        *first = a < *end ? a : 0;
        *end = a >= *end ? 0 : text[6] != '-' && b < *end ? b + 1 : *end;
        return *end ? 206 : 416;
}

static void put_body(struct connection *c, int fd, off_t at, off_t end)
{
        while (at < end && !c->broken) {
                size_t left = (size_t)(end - at), room = OUT_BYTES - c->out_used;
                ssize_t n = skua_await_read(c->self, fd, c->out + c->out_used,
                                            left < room ? left : room, (uint64_t)at);

                at += n > 0 ? n : 0;
                c->out_used += n > 0 ? (size_t)n : 0;
                c->request.length += n > 0 ? (size_t)n : 0;
                if (n <= 0 || (size_t)n == room)
                        flush(c);
                if (n <= 0) /* shorter than it was: what the head has promised will not come */
                        c->broken = true;
        }
}

/* What is kept is used before anything is awaited. */
static void answer_file(struct connection *c, const struct file *f)
{
        off_t first, end;
        int status = part_of(c, f, &first, &end);

        if (not_modified(&c->request, f))
                status = 304;
        begin_head(c, status);
        put(c, f->fields, strlen(f->fields));
        if (status == 200)
                put(c, f->length, strlen(f->length));
        else if (status == 206)
                print(c, "Content-Range: bytes %lld-%lld/%lld\r\nContent-Length: %lld\r\n\r\n",
                      (long long)first, (long long)end - 1, (long long)f->st.st_size,
                      (long long)(end - first));
        else if (status == 416)
                print(c, "Content-Range: bytes */%lld\r\nContent-Length: 0\r\n\r\n",
                      (long long)f->st.st_size);
        else
                print(c, "\r\n");
        if (status == 304 || !wants_body(c))
                return;
        if (f->fd >= 0) {
                put_body(c, f->fd, first, end);
        } else {
                put(c, f->data + first, (size_t)(end - first));
                c->request.length = (uint64_t)(end - first);
        }
}

/* As a part of a link, and of HTML: at most three times as long. */
static size_t encode(char *to, const char *name)
{
        char *begin = to;

        for (; *name; name++)
                if (isalnum((unsigned char)*name) || strchr("-._~", *name))
                        *to++ = *name;
                else
                        to += sprintf(to, "%%%02X", (unsigned char)*name);
        return (size_t)(to - begin);
}

/* A part of a list, made by a thread that may block. */
struct list {
        DIR *folder;
        size_t used;
        char text[LIST_BYTES];
};

static int next_names(void *arg)
{
        struct list *l = arg;
        struct dirent *entry;

        for (l->used = 0; l->used < LIST_BYTES - 6 * NAME_MAX - 100;) {
                char name[3 * NAME_MAX + 2];
                size_t length;

                entry = readdir(l->folder);
                if (!entry)
                        break;
                length = encode(name, entry->d_name);
                strcpy(name + length, entry->d_type == DT_DIR ? "/" : "");
                l->used += (size_t)sprintf(l->text + l->used, "<li><a href=\"./%s\">%s</a>\n", name,
                                           name);
        }
        return 0;
}

static void put_chunk(struct connection *c, const struct list *l)
{
        bool chunked = c->request.parser.http_minor > 0;

        if (OUT_BYTES - c->out_used < LIST_BYTES + 100)
                flush(c);
        if (chunked)
                print(c, "%zx\r\n", l->used);
        put(c, l->text, l->used);
        if (chunked)
                print(c, "\r\n");
        c->request.length += l->used;
}

/* Nobody knows how long it will be: in chunks, or for HTTP/1.0 up to the connection's end. */
static void answer_list(struct connection *c, int fd)
{
        struct list *l = malloc(sizeof *l);
        bool chunked = c->request.parser.http_minor > 0;

        if (!l || !(l->folder = fdopendir(fd))) {
                free(l);
                close(fd);
                refuse(c, 503);
                return;
        }
        c->keep = c->keep && chunked;
        begin_head(c, 200);
        print(c, "Content-Type: text/html\r\n%s\r\n",
              chunked ? "Transfer-Encoding: chunked\r\n" : "");
        l->used = (size_t)sprintf(l->text, "<!doctype html><title>Folder</title><ul>\n");
        while (wants_body(c) && l->used && !c->broken) {
                put_chunk(c, l);
                if (skua_await_blocking(c->self, next_names, l))
                        c->broken = true; /* cancelled: it has no end */
        }
        if (wants_body(c) && chunked)
                print(c, "0\r\n\r\n");
        closedir(l->folder);
        free(l);
}

/* To the same name with a slash; relative, hence never to another server. */
static void redirect(struct connection *c)
{
        const char *slash = strrchr(c->path, '/');

        begin_head(c, 301);
        print(c, "Content-Length: 0\r\nLocation: ./");
        c->out_used += encode(c->out + c->out_used, slash ? slash + 1 : c->path);
        print(c, "/\r\n\r\n");
}

void answer(struct connection *c)
{
        int status = c->request.status;
        struct file *f = NULL;

        if (OUT_BYTES - c->out_used < HEAD_MOST + KEPT_BYTES)
                flush(c);
        if (!status)
                status = decode_path(c) ? find(c, &f) : 400;
        if (status == 301)
                redirect(c);
        else if (status)
                refuse(c, status);
        else if (S_ISDIR(f->st.st_mode))
                answer_list(c, f->fd); /* which closes it */
        else
                answer_file(c, f);
        if (!status && f->fd >= 0) {
                if (S_ISREG(f->st.st_mode))
                        close(f->fd);
                free(f);
        }
        log_request(c);
}

int answer_begin(unsigned workers, const char *root, bool lists)
{
        list_folders = lists;
        kept = calloc(workers, sizeof *kept);
        root_fd = kept ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        return root_fd < 0 ? -errno : 0;
}

void answer_end(unsigned workers)
{
        for (unsigned i = 0; i < workers * KEPT_COUNT; i++)
                free(kept[i / KEPT_COUNT][i % KEPT_COUNT]);
        free(kept);
        close(root_fd);
}
