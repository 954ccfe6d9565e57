/* SPDX-License-Identifier: MIT
 *
 * The n-th allocation fails, for every n: the answer is -ENOMEM, or success where it could be done
 * without, and nothing is left allocated. Allocations are counted by taking malloc's place, so that
 * those inside of libc are seen too.
 */
#define _GNU_SOURCE
#include "place/placement.h"

#include "../tap.h"
#include "sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
        __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED

int main(void)
{
        tap_skip_all("the sanitizer has taken malloc's place");
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *memory);

static unsigned fail_at; /* 0: never; 1: the next one */
static bool failed;
static long live;

static bool fails(void)
{
        if (!fail_at || --fail_at)
                return false;
        errno = ENOMEM;
        failed = true;
        return true;
}

void *malloc(size_t size)
{
        void *memory = fails() ? NULL : __libc_malloc(size);

        live += memory != NULL;
        return memory;
}

void *calloc(size_t count, size_t size)
{
        void *memory = fails() ? NULL : __libc_calloc(count, size);

        live += memory != NULL;
        return memory;
}

void *realloc(void *old, size_t size)
{
        void *memory = fails() ? NULL : __libc_realloc(old, size);

        live += memory && !old;
        return memory;
}

void free(void *memory)
{
        live -= memory != NULL;
        __libc_free(memory);
}

struct sweep {
        struct topology_input input;
        struct topology topology;
};

static int read_once(struct sweep *s)
{
        struct topology t;
        int error = topology_read(&t, &s->input);

        if (!error)
                topology_fini(&t);
        return error;
}

static int place_once(struct sweep *s)
{
        struct placement_input input = {.topology = &s->topology, .workers = 9};
        struct placement p;
        int error = placement_make(&p, &input);

        if (!error)
                placement_fini(&p);
        return error;
}

static void sweep(struct sweep *s, int (*once)(struct sweep *), const char *what)
{
        unsigned n = 0, refused = 0, wrong = 0;

        do {
                long before = live;
                int error;

                failed = false;
                fail_at = ++n;
                error = once(s);
                fail_at = 0;
                refused += error == -ENOMEM;
                wrong += (error && error != -ENOMEM) || (error && !failed) || live != before;
        } while (failed && n < 10000);
        tap_is(wrong, 0, what);
        tap_ok(refused > 0 && refused < n, "%u of %u failed allocations were refused", refused,
               n - 1);
}

int main(void)
{
        static struct sweep s;
        void *volatile probe = malloc(1);
        char long_text[20001];

        if (!live)
                tap_skip_all("valgrind has taken malloc's place");
        free(probe);
        memset(long_text, '\n', sizeof long_text - 1);
        long_text[sizeof long_text - 1] = '\0';
        tap_plan(6, 60);
        s.input.root = tree_make(
                "tree",
                "sys/devices/system/cpu/online: 0-7; node0/cpulist: 0-3; node3/cpulist: 4-7; "
                "node0/distance: 10 20; node3/distance: 20 10");
        tree_put(s.input.root, "proc/self/mountinfo", long_text);
        sweep(&s, read_once, "a topology without memory");
        if (topology_read(&s.topology, &s.input) != 0)
                return 1;
        sweep(&s, place_once, "a placement without memory");
        topology_fini(&s.topology);
        s.input.root = "/";
        fail_at = 6;
        tap_is(read_once(&s), -ENOMEM, "this machine without memory");
        fail_at = 0;
        tap_is(read_once(&s), 0, "and with memory again");
        return tap_done();
}

#endif
