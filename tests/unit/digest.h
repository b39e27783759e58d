/* digest.h - compares a finished SHA-256 with its hexadecimal text; for tests.  Include after cmocka.h. */
#pragma once

#include <stdio.h>

#include "proto/sha256.h"

static inline void check_digest(struct sha256 *sha, const char *want)
{
    uint8_t digest[32];
    char hex[65];

    sha256_end(sha, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, want);
}
