/* SPDX-License-Identifier: MIT
 *
 * The tree of the unbalanced tree search, from its published definition, and SHA-1 (RFC 3174),
 * which is its work.
 */
#include "work.h"

#include <math.h>
#include <string.h>

enum { GEOMETRIC_CHILDREN_MAX = 100 };

static const struct uts_tree small = {.b0 = 4, .depth_max = 6, .seed = 19};
static const struct uts_tree t1 = {.b0 = 4, .depth_max = 10, .seed = 19};
static const struct uts_tree t3 = {.binomial = true, .b0 = 2000, .q = 0.124875, .m = 8, .seed = 42};
static const struct uts_tree t3l = {.binomial = true, .b0 = 2000, .q = 0.200014, .m = 5, .seed = 7};

const struct uts_tree *uts_tree(int size)
{
        return size == UTS_T1 ? &t1 : size == UTS_T3 ? &t3 : size == UTS_T3L ? &t3l : &small;
}

/* ---------------------------------------------------------------- SHA-1 */

static inline uint32_t rotate(uint32_t x, int n)
{
        return x << n | x >> (32 - n);
}

static inline uint32_t load_big(const uint8_t *p)
{
        uint32_t x;

        memcpy(&x, p, sizeof x);
        return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(x) : x;
}

static inline void store_big(uint8_t *p, uint32_t x)
{
        x = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(x) : x;
        memcpy(p, &x, sizeof x);
}

#define WORD(i)              \
        (w[(i)&15] = rotate( \
                 w[((i) + 13) & 15] ^ w[((i) + 8) & 15] ^ w[((i) + 2) & 15] ^ w[(i)&15], 1))
#define STEP(f, k, word)                                               \
        do {                                                           \
                uint32_t next = rotate(a, 5) + (f) + e + (k) + (word); \
                e = d;                                                 \
                d = c;                                                 \
                c = rotate(b, 30);                                     \
                b = a;                                                 \
                a = next;                                              \
        } while (0)

static void sha1_block(uint32_t w[16], uint8_t digest[20])
{
        static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
                                          0xc3d2e1f0};
        uint32_t a = start[0], b = start[1], c = start[2], d = start[3], e = start[4];

#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
                STEP(d ^ (b & (c ^ d)), 0x5a827999, w[i]);
#pragma GCC unroll 4
        for (int i = 16; i < 20; i++)
                STEP(d ^ (b & (c ^ d)), 0x5a827999, WORD(i));
#pragma GCC unroll 20
        for (int i = 20; i < 40; i++)
                STEP(b ^ c ^ d, 0x6ed9eba1, WORD(i));
#pragma GCC unroll 20
        for (int i = 40; i < 60; i++)
                STEP((b & c) | (d & (b | c)), 0x8f1bbcdc, WORD(i));
#pragma GCC unroll 20
        for (int i = 60; i < 80; i++)
                STEP(b ^ c ^ d, 0xca62c1d6, WORD(i));
        store_big(digest, start[0] + a);
        store_big(digest + 4, start[1] + b);
        store_big(digest + 8, start[2] + c);
        store_big(digest + 12, start[3] + d);
        store_big(digest + 16, start[4] + e);
}

void sha1_short(const uint8_t *message, unsigned bytes, uint8_t digest[20])
{
        uint8_t block[64] = {0};
        uint32_t w[16];

        memcpy(block, message, bytes);
        block[bytes] = 0x80;
        for (int i = 0; i < 15; i++)
                w[i] = load_big(block + 4 * i);
        w[15] = bytes * 8;
        sha1_block(w, digest);
}

/* The children's message is always 24 bytes: the compiler gets to know. */
static void sha1_child(const uint8_t state[20], uint32_t index, uint8_t digest[20])
{
        uint32_t w[16] = {0};

        for (int i = 0; i < 5; i++)
                w[i] = load_big(state + 4 * i);
        w[5] = index;
        w[6] = 0x80000000;
        w[15] = 24 * 8;
        sha1_block(w, digest);
}

/* ---------------------------------------------------------------- the tree */

void uts_root(const struct uts_tree *t, struct uts_node *node)
{
        uint8_t message[20] = {0};

        store_big(message + 16, t->seed);
        sha1_short(message, sizeof message, node->state);
        node->depth = 0;
}

void uts_child(const struct uts_node *parent, int index, struct uts_node *child)
{
        sha1_child(parent->state, (uint32_t)index, child->state);
        child->depth = parent->depth + 1;
}

/* The last 31 bits of the digest as a number in [0, 1). */
static double uts_random(const struct uts_node *node)
{
        return (double)(load_big(node->state + 16) & 0x7fffffff) / 2147483648.0;
}

static int geometric_children(const struct uts_tree *t, const struct uts_node *node)
{
        if (node->depth >= t->depth_max)
                return 0;
        double p = 1.0 / (1.0 + t->b0);
        double n = floor(log(1.0 - uts_random(node)) / log(1.0 - p));
        return n > GEOMETRIC_CHILDREN_MAX ? GEOMETRIC_CHILDREN_MAX : (int)n;
}

int uts_children(const struct uts_tree *t, const struct uts_node *node)
{
        if (!t->binomial)
                return geometric_children(t, node);
        if (node->depth == 0)
                return (int)t->b0;
        return uts_random(node) < t->q ? t->m : 0;
}
