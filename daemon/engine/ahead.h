/* ahead.h - memory that is about to be used for the first time gets its pages before, in a thread of its own.
 *
 * A sequence's state and its KV pages are reserved at the start and take memory when they are first written.
 * The kernel zeroes it then, a huge page at a time: a tenth of a millisecond, several where a host gives its
 * guests memory late, in which no stream gets a token.  What is used goes up from index 0, so what comes next
 * is known; memory that nobody needs is not taken.  The thread touches nothing but the state's memory, whose
 * contents stay. */
#pragma once

#include "daemon/model/model.h"

#include <pthread.h>

enum { AHEAD_PAGE_BYTES = 32 << 20 }; /* of KV pages, before those in use */

struct ahead {
    struct state *state; /* borrowed */
    pthread_t thread;
    bool runs;                /* the thread */
    int n_more[STATE_PART_N]; /* of each part, before those in use */
    int n_told[STATE_PART_N]; /* the caller's: that are or were in use */
    pthread_mutex_t lock;
    pthread_cond_t more; /* n_wanted or stops has changed */
    int n_wanted[STATE_PART_N];
    bool stops;
};

/* Where the backend's memory has its pages from the start, nothing runs.  0, < 0. */
int ahead_init(struct ahead *ahead, struct state *state);
void ahead_deinit(struct ahead *ahead); /* of all zero nothing */
/* The first n of that part are in use. */
void ahead_on_use(struct ahead *ahead, enum state_part part, int n);
