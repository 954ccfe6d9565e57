/* SPDX-License-Identifier: MIT
 *
 * What the parts of httpd share: a connection with its buffers, and the request at hand.
 */
#ifndef HTTP_H
#define HTTP_H

#include <arpa/inet.h>
#include <http_parser.h>
#include <skua.h>
#include <time.h>

enum { IN_BYTES = 8192, OUT_BYTES = 65536, TARGET_MOST = 4096 };

struct span {
        const char *at; /* in what was received; NULL: there is none */
        size_t length;
};

enum field { RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE, HOST, FIELDS };

struct request {
        http_parser parser;
        struct span target, name, value, field[FIELDS];
        size_t parsed;   /* bytes of `in` */
        unsigned hosts;  /* how often it names one */
        bool body;       /* it has one, which nobody reads */
        int status;      /* of the answer; before: 0, or what is wrong with the request */
        uint64_t length; /* of the answer's body, as far as it is sent */
};

struct connection {
        struct skua_job job;
        struct skua_worker *self;
        int fd;
        bool keep;   /* another request may follow */
        bool broken; /* nothing can be sent any more */
        size_t in_used, out_used;
        struct request request;
        char peer[INET_ADDRSTRLEN];
        char path[TARGET_MOST + sizeof "index.html"]; /* below the root, decoded */
        char in[IN_BYTES];                            /* begins with the request at hand */
        char out[OUT_BYTES];                          /* answers that are not sent yet */
};

/* request.c: drops the last request; looks at what has come of the next: true when it is complete,
 * or to be refused. */
void begin_request(struct connection *c);
bool parse_request(struct connection *c);

/* answer.c: appends the answer to `out`; sends what is there. */
void answer(struct connection *c);
void flush(struct connection *c);
int answer_begin(unsigned workers, const char *root, bool lists);
void answer_end(unsigned workers);
extern int64_t transfer_ns; /* how long `out` may take */

/* log.c: the access log, and the time as text. */
struct moment {
        time_t second;
        char date[40], stamp[32]; /* a line of answers; in the log */
};
int log_begin(unsigned workers, const char *path);
void log_end(unsigned workers);
void log_request(struct connection *c);
const struct moment *now(struct skua_worker *self);

#endif
