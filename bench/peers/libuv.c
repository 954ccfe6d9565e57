/* SPDX-License-Identifier: MIT
 *
 * Contestant: libuv's thread pool. A request belongs to a loop and is made by the loop's own
 * thread, so each thread that submits has a loop, turns it once every CHUNK requests to get the
 * finished ones back, and turns it to the end before it exits; the pool is one for all loops. The
 * thread that asks does not turn its loop while it waits for the jobs' count, only with its next
 * submission: it has the answer earlier than a callback would bring it.
 */
/* link: -luv */
#include "peer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { CHUNK = 128 };

struct request {
        uv_work_t work;
        struct peer_job *job;
};

static _Thread_local uv_loop_t *loop_mine;
static pthread_key_t loop_key; /* its destructor closes a thread's loop */

static void check(int error, const char *call)
{
        if (error >= 0)
                return;
        fprintf(stderr, "%s: %s\n", call, uv_strerror(error));
        exit(1);
}

static void loop_close(void *loop)
{
        check(uv_run(loop, UV_RUN_DEFAULT), "uv_run");
        check(uv_loop_close(loop), "uv_loop_close");
        free(loop);
}

static uv_loop_t *loop_of_thread(void)
{
        if (loop_mine == NULL) {
                loop_mine = malloc(sizeof *loop_mine);
                if (loop_mine == NULL)
                        abort();
                check(uv_loop_init(loop_mine), "uv_loop_init");
                pthread_setspecific(loop_key, loop_mine);
        }
        return loop_mine;
}

/* The threads are made by the first request. */
static void *start(unsigned workers)
{
        char number[16];

        snprintf(number, sizeof number, "%u", workers);
        setenv("UV_THREADPOOL_SIZE", number, 1);
        if (pthread_key_create(&loop_key, loop_close) != 0)
                abort();
        return loop_of_thread();
}

static void stop(void *pool)
{
        loop_close(pool);
        pthread_setspecific(loop_key, NULL);
        uv_library_shutdown();
}

static void call(uv_work_t *work)
{
        struct request *r = (struct request *)work;

        r->job->run(r->job);
}

static void called(uv_work_t *work, int status)
{
        check(status, "uv_queue_work");
        free(work);
}

static void queue_one(uv_loop_t *loop, struct peer_job *job)
{
        struct request *r = malloc(sizeof *r);

        if (r == NULL)
                abort();
        r->job = job;
        check(uv_queue_work(loop, &r->work, call, called), "uv_queue_work");
}

static void submit(void *pool, struct peer_job *jobs, size_t count)
{
        uv_loop_t *loop = loop_of_thread();

        (void)pool;
        for (size_t i = 0; i < count; i++) {
                queue_one(loop, &jobs[i]);
                if ((i + 1) % CHUNK == 0 || i + 1 == count)
                        uv_run(loop, UV_RUN_NOWAIT);
        }
}

static void nothing(struct peer_job *job)
{
        (void)job;
}

static void run(void *pool)
{
        struct peer_job job = {.run = nothing};

        queue_one(pool, &job);
        check(uv_run(pool, UV_RUN_DEFAULT), "uv_run");
}

int main(int argc, char **argv)
{
        const struct peer libuv = {
                .name = "libuv",
                .version = uv_version_string(),
                .start = start,
                .stop = stop,
                .once = true,
                .submit = submit,
                .no_spawn = "work is queued by the thread of a loop only, not by a job",
                .run = run,
                .no_work = "a job that waits for another blocks its thread",
                .slower = 2,
        };

        return peer_main(&libuv, argc, argv);
}
