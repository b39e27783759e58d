/* sha256.h - SHA-256 (FIPS 180-4), for the identity of model files and of records. */
#pragma once

#include "proto/base.h"

struct sha256 {
    uint32_t h[8];
    uint64_t n_bytes;
    uint8_t block[64];
};
void sha256_init(struct sha256 *s);
void sha256_put(struct sha256 *s, const void *data, size_t n);
void sha256_end(struct sha256 *s, uint8_t ret_digest[32]); /* s needs a new sha256_init() afterwards */
