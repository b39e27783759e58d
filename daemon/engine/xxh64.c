/* xxh64.c - a 64-bit checksum at memory speed.  See xxh64.h. */
#include "xxh64.h"

#include <endian.h>
#include <string.h>

enum { XXH64_BLOCK = 32 };
static const uint64_t xxh64_p1 = 0x9e3779b185ebca87u, xxh64_p2 = 0xc2b2ae3d27d4eb4fu,
                      xxh64_p3 = 0x165667b19e3779f9u, xxh64_p4 = 0x85ebca77c2b2ae63u,
                      xxh64_p5 = 0x27d4eb2f165667c5u;

static uint64_t xxh64_rotate(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static uint64_t xxh64_u64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static uint64_t xxh64_round(uint64_t lane, uint64_t v)
{
    return xxh64_rotate(lane + v * xxh64_p2, 31) * xxh64_p1;
}

static void xxh64_blocks(struct xxh64 *x, const uint8_t *p, size_t n_blocks)
{
    uint64_t a = x->lanes[0], b = x->lanes[1], c = x->lanes[2], d = x->lanes[3];

    for (; n_blocks; n_blocks--, p += XXH64_BLOCK) {
        a = xxh64_round(a, xxh64_u64(p));
        b = xxh64_round(b, xxh64_u64(p + 8));
        c = xxh64_round(c, xxh64_u64(p + 16));
        d = xxh64_round(d, xxh64_u64(p + 24));
    }
    x->lanes[0] = a;
    x->lanes[1] = b;
    x->lanes[2] = c;
    x->lanes[3] = d;
}

void xxh64_init(struct xxh64 *x)
{
    *x = (struct xxh64){.lanes = {xxh64_p1 + xxh64_p2, xxh64_p2, 0, -xxh64_p1}};
}

void xxh64_put(struct xxh64 *x, const void *data, size_t n)
{
    const size_t have = x->n_bytes % XXH64_BLOCK, take = MIN(n, XXH64_BLOCK - have);
    const uint8_t *p = data;

    x->n_bytes += n;
    if (have) {
        memcpy(x->block + have, p, take);
        if (have + take < XXH64_BLOCK)
            return;
        xxh64_blocks(x, x->block, 1);
        p += take;
        n -= take;
    }
    xxh64_blocks(x, p, n / XXH64_BLOCK);
    if (n % XXH64_BLOCK)
        memcpy(x->block, p + n / XXH64_BLOCK * XXH64_BLOCK, n % XXH64_BLOCK);
}

static uint64_t xxh64_join(const struct xxh64 *x)
{
    static const int turns[] = {1, 7, 12, 18};
    uint64_t h = 0;

    if (x->n_bytes < XXH64_BLOCK)
        return xxh64_p5;
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++)
        h += xxh64_rotate(x->lanes[i], turns[i]);
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++)
        h = (h ^ xxh64_round(0, x->lanes[i])) * xxh64_p1 + xxh64_p4;
    return h;
}

uint64_t xxh64_sum(const struct xxh64 *x)
{
    const uint8_t *p = x->block, *end = p + x->n_bytes % XXH64_BLOCK;
    uint64_t h = xxh64_join(x) + x->n_bytes;

    for (; end - p >= 8; p += 8)
        h = xxh64_rotate(h ^ xxh64_round(0, xxh64_u64(p)), 27) * xxh64_p1 + xxh64_p4;
    if (end - p >= 4) {
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        h = xxh64_rotate(h ^ le32toh(v) * xxh64_p1, 23) * xxh64_p2 + xxh64_p3;
        p += 4;
    }
    for (; p < end; p++)
        h = xxh64_rotate(h ^ *p * xxh64_p5, 11) * xxh64_p1;
    h = (h ^ h >> 33) * xxh64_p2;
    h = (h ^ h >> 29) * xxh64_p3;
    return h ^ h >> 32;
}
