/* normalise_memory.h - what is remembered of system messages: see normalise.h. */
#pragma once

#include "proto/base.h"

enum { NORMALISE_RULES = 4, NORMALISE_HEADS = 64 };

struct normalise_memory { /* all zero: nothing */
    uint64_t clock;
    struct normalise_head {
        uint64_t head, changing; /* hashes: of owner and text without the parts, of the parts */
        uint64_t used;           /* 0: free; the smallest one goes first */
        bool moves;
    } heads[NORMALISE_HEADS];
};
