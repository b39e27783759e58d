/* fnv.h - FNV-1a, for keys that nobody is to trust: equal texts have equal ones. */
#pragma once

#include "proto/base.h"

#define FNV_INIT 0xcbf29ce484222325

static inline uint64_t fnv_hash(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *byte = data;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3;
    return hash;
}
