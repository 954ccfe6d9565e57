/* SPDX-License-Identifier: MIT
 *
 * Tables by uthash, which keeps a key and its links in one piece of memory and goes on when there
 * is none; hashes by xxHash, seeded, so that nobody can choose keys that collide. A shard is small
 * beside the whole, and so is the pause in which its table doubles.
 *
 * The locks are threads' locks, not jobs' ones: what is done under them takes less than suspending
 * a job would, and none is held while a job waits.
 */
#include "memory.h"

#define uthash_malloc(bytes)      memory_get(bytes)
#define uthash_free(table, bytes) memory_put(table, bytes)
#define HASH_NONFATAL_OOM         1
#define XXH_INLINE_ALL
#include "store.h"

#include <pthread.h>
#include <skua.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>
#include <xxhash.h>

enum { SHARDS = 64, ROOM_LEAST = 20 /* bytes of any number */ };

/* Locks beside each other would be one cache line's. */
struct shard {
        _Alignas(128) pthread_mutex_t lock;
        struct entry *keys;
        struct entry *expiring; /* looked at longest ago first */
        uint64_t expiring_count, expired_count;
};

static struct shard shards[SHARDS];
static uint64_t seed;

bool store_init(void)
{
        for (unsigned i = 0; i < SHARDS; i++)
                pthread_mutex_init(&shards[i].lock, NULL);
        return getrandom(&seed, sizeof seed, 0) == sizeof seed;
}

void store_fini(void)
{
        for (unsigned i = 0; i < SHARDS; i++) {
                while (shards[i].keys)
                        store_delete(shards[i].keys);
                pthread_mutex_destroy(&shards[i].lock);
        }
}

uint32_t store_hash(const char *key, size_t bytes)
{
        return (uint32_t)XXH3_64bits_withSeed(key, bytes, seed);
}

/* By its upper bits: the lower ones find the place in the table. */
static struct shard *shard_of(uint32_t hash)
{
        return &shards[hash / (UINT32_MAX / SHARDS + 1)];
}

uint64_t store_shard(uint32_t hash)
{
        return UINT64_C(1) << (shard_of(hash) - shards);
}

/* In one order always, so that two that want the same ones cannot wait for each other. */
void store_lock(uint64_t set)
{
        for (; set; set &= set - 1)
                pthread_mutex_lock(&shards[__builtin_ctzll(set)].lock);
}

void store_unlock(uint64_t set)
{
        for (; set; set &= set - 1)
                pthread_mutex_unlock(&shards[__builtin_ctzll(set)].lock);
}

/* ---------------------------------------------------------------- entries, locked */

static size_t entry_bytes(const struct entry *e)
{
        return sizeof *e + e->hh.keylen + e->first_room;
}

static char *first_value(struct entry *e)
{
        return e->data + e->hh.keylen;
}

static void free_value(struct entry *e)
{
        if (e->value != first_value(e))
                memory_put(e->value, e->room);
        e->value = first_value(e);
        e->room = e->first_room;
}

void store_expire(struct entry *e, int64_t when_ns)
{
        struct shard *s = shard_of(e->hh.hashv);

        if (when_ns && !e->expires_ns) {
                DL_APPEND(s->expiring, e);
                s->expiring_count++;
        } else if (!when_ns && e->expires_ns) {
                DL_DELETE(s->expiring, e);
                s->expiring_count--;
        }
        e->expires_ns = when_ns;
}

void store_delete(struct entry *e)
{
        struct shard *s = shard_of(e->hh.hashv);

        store_expire(e, 0);
        HASH_DELETE(hh, s->keys, e);
        free_value(e);
        memory_put(e, entry_bytes(e));
}

static bool expire(struct entry *e, int64_t now_ns)
{
        if (!e->expires_ns || e->expires_ns > now_ns)
                return false;
        shard_of(e->hh.hashv)->expired_count++;
        store_delete(e);
        return true;
}

struct entry *store_find(const char *key, size_t bytes, uint32_t hash)
{
        struct entry *e;

        HASH_FIND_BYHASHVALUE(hh, shard_of(hash)->keys, key, bytes, hash, e);
        if (e && e->expires_ns && expire(e, skua_now_ns()))
                return NULL;
        return e;
}

struct entry *store_make(const char *key, size_t bytes, uint32_t hash, size_t value_bytes)
{
        struct entry *e = store_find(key, bytes, hash);
        size_t room = value_bytes > ROOM_LEAST ? value_bytes : ROOM_LEAST;

        if (e)
                return e;
        e = memory_get(sizeof *e + bytes + room);
        if (!e)
                return NULL;
        memcpy(e->data, key, bytes);
        e->expires_ns = 0;
        e->value_bytes = 0;
        e->first_room = e->room = (uint32_t)room;
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, shard_of(hash)->keys, e->data, bytes, hash, e);
        e->value = first_value(e);
        if (e->hh.tbl)
                return e;
        memory_put(e, entry_bytes(e));
        return NULL;
}

bool store_set(struct entry *e, const char *value, size_t bytes)
{
        if (bytes <= e->first_room) {
                free_value(e);
        } else if (bytes > e->room || bytes < e->room / 4) {
                char *memory = memory_get(bytes);

                if (!memory)
                        return false;
                free_value(e);
                e->value = memory;
                e->room = (uint32_t)bytes;
        }
        memcpy(e->value, value, bytes);
        e->value_bytes = (uint32_t)bytes;
        return true;
}

/* ---------------------------------------------------------------- the whole */

void store_figures(struct store_figures *sum)
{
        *sum = (struct store_figures){0, 0, 0};
        for (unsigned i = 0; i < SHARDS; i++) {
                sum->keys += HASH_COUNT(shards[i].keys);
                sum->expiring += shards[i].expiring_count;
                sum->expired += shards[i].expired_count;
        }
}

struct store_sweep store_sweep(size_t most)
{
        struct store_sweep done = {0, 0, 0};
        int64_t now_ns = skua_now_ns();

        for (unsigned i = 0; i < SHARDS; i++) {
                struct shard *s = &shards[i];

                pthread_mutex_lock(&s->lock);
                for (size_t n = s->expiring_count < most ? s->expiring_count : most; n; n--) {
                        struct entry *e = s->expiring;

                        done.looked++;
                        if (expire(e, now_ns)) {
                                done.expired++;
                        } else {
                                DL_DELETE(s->expiring, e);
                                DL_APPEND(s->expiring, e);
                        }
                }
                done.left += s->expiring_count;
                pthread_mutex_unlock(&s->lock);
        }
        return done;
}
