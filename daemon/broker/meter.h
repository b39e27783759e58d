/* meter.h - tokens a second over the last few seconds, in fixed storage.  Pure: it is told the time. */
#pragma once

#include "proto/base.h"

enum {
    METER_SLOTS = 16,
    METER_SLOT_MS = 250
}; /* 4 s: two steps of a slow CPU, four of a terminal's updates */

struct meter {
    uint64_t first_ns;       /* of the first meter_add(); 0: there was none */
    uint64_t slot;           /* number of the newest */
    uint32_t n[METER_SLOTS]; /* [slot % METER_SLOTS] */
};

/* n tokens at a time, which may be a little before one that was told already.  The first call only starts the
 * clock: how long its tokens took is not known. */
void meter_add(struct meter *meter, uint64_t at_ns, uint32_t n);
/* n tokens that were done evenly from one time to another. */
void meter_add_span(struct meter *meter, uint64_t from_ns, uint64_t to_ns, uint32_t n);
double meter_rate(const struct meter *meter, uint64_t now_ns);
