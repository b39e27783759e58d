/* xxh64.h - XXH64 (github.com/Cyan4973/xxHash, seed 0), for noticing that bytes are not those that were
 * written.
 *
 * Not against somebody who wants two texts to have one sum. */
#pragma once

#include "proto/base.h"

struct xxh64 {
    uint64_t lanes[4];
    uint64_t n_bytes;
    uint8_t block[32]; /* the first n_bytes % 32 are waiting */
};

void xxh64_init(struct xxh64 *x);
void xxh64_put(struct xxh64 *x, const void *data, size_t n);
uint64_t xxh64_sum(const struct xxh64 *x); /* of what was put so far; more may follow */
