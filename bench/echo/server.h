/* SPDX-License-Identifier: MIT
 *
 * What the servers in C and C++ share: the command line, the listening socket, the threads, and the
 * work of a heavy message. README.md beside this file has the rules.
 */
#ifndef ECHO_SERVER_H
#define ECHO_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct server {
        unsigned workers;
        bool mixed;
        bool offload;          /* heavy messages leave the loop's thread, if the server has a way */
        unsigned buffer_bytes; /* of each connection, for servers whose connections have one */
        unsigned short port;
};

/* Reads the command line; without arguments prints name and version, and exits. */
struct server server_options(int argc, char **argv, const char *name, const char *version);

/* A socket with TCP_NODELAY, which the accepted inherit, and SO_REUSEPORT if there are several. */
int server_listen(const struct server *s);

/* Runs loop() in as many threads as the server has workers; does not return. */
void server_run(const struct server *s, void (*loop)(const struct server *s));

/* Takes the next part of a connection's stream, of which `*at` bytes of a message have been seen:
   burns processor time for each heavy message that begins in it, or only counts them. For mixed
   mode only. */
void server_burn(unsigned *at, const void *data, size_t bytes);

unsigned server_heavy(unsigned *at, const void *data, size_t bytes);
void server_burn_one(void);

void server_fail(const char *what, int error) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif
