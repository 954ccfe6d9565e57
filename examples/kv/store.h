/* SPDX-License-Identifier: MIT
 *
 * The keys, their values, and when they expire. There is one store, cut into shards by the hash of
 * the key, each with a lock. "Locked": the caller holds the locks of the keys' shards, has taken
 * them all at once, and waits for nothing until it gives them back, as a job that waited would keep
 * its worker's other jobs and the other workers from them. Entries are the store's; they stay while
 * their shard is locked.
 */
#ifndef KV_STORE_H
#define KV_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

struct entry {
        struct UT_hash_handle hh;
        struct entry *prev, *next; /* of those that expire */
        int64_t expires_ns;        /* by skua_now_ns(); 0: never */
        char *value; /* in data, behind the key, or elsewhere if it has outgrown that */
        uint32_t value_bytes, room;
        uint32_t first_room; /* in data */
        char data[];
};

struct store_figures {
        uint64_t keys, expiring, expired;
};

struct store_sweep {
        size_t looked, expired, left;
};

enum { STORE_ENTRY = sizeof(struct entry) + 40 }; /* what a key takes beside its bytes, about */
#define STORE_ALL UINT64_MAX                      /* shards */

bool store_init(void);
void store_fini(void);

uint32_t store_hash(const char *key, size_t bytes);
uint64_t store_shard(uint32_t hash); /* a bit */
void store_lock(uint64_t shards);    /* a set of such bits */
void store_unlock(uint64_t shards);

/* Locked. NULL: not there, or not any more. */
struct entry *store_find(const char *key, size_t bytes, uint32_t hash);

/* Locked. Finds it, or makes one without a value, with room for so much. NULL: no memory. */
struct entry *store_make(const char *key, size_t bytes, uint32_t hash, size_t value_bytes);

/* Locked. False: no memory, and nothing has changed. */
bool store_set(struct entry *e, const char *value, size_t bytes);
void store_expire(struct entry *e, int64_t when_ns); /* 0: never */
void store_delete(struct entry *e);

void store_figures(struct store_figures *sum); /* with all locks */

/* With no lock. Looks at up to `most` keys of each shard that expire, those first that it has not
 * looked at for longest, and deletes those whose time has come. `left`: still expire. */
struct store_sweep store_sweep(size_t most);

#endif
