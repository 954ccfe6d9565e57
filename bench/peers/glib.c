/* SPDX-License-Identifier: MIT
 *
 * Contestant: GLib's GThreadPool, exclusive, so that it has its threads from the start and keeps
 * them. Any thread pushes, a thread of the pool too.
 */
/* link: -lglib-2.0 */
#include "peer.h"

#include <glib.h>
#include <stdio.h>

static void call(gpointer data, gpointer user_data)
{
        struct peer_job *job = data;

        (void)user_data;
        job->run(job);
}

static void *start(unsigned workers)
{
        GError *error = NULL;
        GThreadPool *pool = g_thread_pool_new(call, NULL, (gint)workers, TRUE, &error);

        if (error != NULL)
                g_error("g_thread_pool_new: %s", error->message);
        return pool;
}

static void stop(void *pool)
{
        g_thread_pool_free(pool, FALSE, TRUE);
}

static void submit(void *pool, struct peer_job *jobs, size_t count)
{
        for (size_t i = 0; i < count; i++)
                g_thread_pool_push(pool, &jobs[i], NULL);
}

struct awaited {
        struct peer_job job;
        GMutex lock;
        GCond changed;
        gboolean done;
};

static void finish(struct peer_job *job)
{
        struct awaited *a = (struct awaited *)job;

        g_mutex_lock(&a->lock);
        a->done = TRUE;
        g_cond_signal(&a->changed);
        g_mutex_unlock(&a->lock);
}

static void run(void *pool)
{
        struct awaited a = {.job.run = finish, .done = FALSE};

        g_mutex_init(&a.lock);
        g_cond_init(&a.changed);
        submit(pool, &a.job, 1);
        g_mutex_lock(&a.lock);
        while (!a.done)
                g_cond_wait(&a.changed, &a.lock);
        g_mutex_unlock(&a.lock);
        g_cond_clear(&a.changed);
        g_mutex_clear(&a.lock);
}

int main(int argc, char **argv)
{
        static char version[32];
        static const struct peer glib = {
                .name = "GLib",
                .version = version,
                .start = start,
                .stop = stop,
                .submit = submit,
                .spawn = submit,
                .run = run,
                .no_work = "a job that waits for another blocks its thread",
                .slower = 2,
        };

        snprintf(version, sizeof version, "%u.%u.%u", glib_major_version, glib_minor_version,
                 glib_micro_version);
        return peer_main(&glib, argc, argv);
}
