/* penalty.h - who has sent what engines died of, and for how long nothing more is taken from them.
 *
 * 90 s the first time, twice as long each time after, 600 s at most (OpenSSH's figures for a source whose
 * child crashed); who keeps clear of it for 600 s beyond that begins anew.  Pure: the caller has the clock.
 */
#pragma once

#include <sys/types.h>

#include "proto/base.h"

enum {
    PENALTY_MIN_MS = 90000,
    PENALTY_MAX_MS = 600000,
    PENALTY_UIDS_MAX = 64, /* remembered at a time; beyond them the one that would end first is forgotten */
};

struct penalty {
    struct penalty_entry {
        uid_t uid;
        uint32_t ms; /* the last one's length */
        uint64_t until_ns;
    } entries[PENALTY_UIDS_MAX];
    unsigned n_entries;
};

uint32_t penalty_add(struct penalty *penalty, uid_t uid, uint64_t now_ns);           /* its length in ms */
uint32_t penalty_left_ms(const struct penalty *penalty, uid_t uid, uint64_t now_ns); /* 0: none */
