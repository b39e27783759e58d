/* ahead.h - memory is made ready before steps need it, in a thread of its own.
 *
 * A sequence's state and its KV pages are reserved at the start and take memory when they are first written.
 * The kernel zeroes it then, a huge page at a time: a tenth of a millisecond, several where a host gives its
 * guests memory late, in which no stream gets a token.  What is used goes up from index 0, so what comes next
 * is known and is given its pages before; memory that nobody needs is not taken.
 *
 * Weights come from the file into small pages, of which a step meets a million.  Once that is done and nobody
 * waits, they are moved into huge ones, piece by piece: steps take less time, and the next engine maps them
 * in a hundredth of it.
 *
 * The thread changes no contents and no addresses. */
#pragma once

#include "daemon/model/model.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    AHEAD_PAGE_BYTES = 32 << 20, /* of KV pages, before those in use */
    AHEAD_LOW = 4, /* while steps are made, no more are asked for until so much of it is left: a quarter */
    AHEAD_BUSY_SHARE = 10, /* of the time, one in so many is for weights while steps are made */
    AHEAD_REFUSALS = 32,   /* pieces that the kernel has no huge page for, until no more are tried */
};

struct ahead {
    struct model *model; /* borrowed */
    struct state *state; /* borrowed */
    pthread_t thread;
    bool runs; /* the thread */
    /* Of each part, the caller's: how much there is to be before those in use, those that are or were in use,
     * and those that have been asked for. */
    int n_more[STATE_PART_N], n_used[STATE_PART_N], n_asked[STATE_PART_N];
    _Atomic bool busy, all_huge; /* all_huge: the thread has done what it can with the weights */
    pthread_mutex_t lock;
    pthread_cond_t more; /* what follows has changed, or it is not busy any more */
    int n_wanted[STATE_PART_N];
    bool stops;
};

/* Busy until it is told otherwise.  0, < 0.  Where the backend's memory is ready from the start, no thread
 * runs. */
int ahead_init(struct ahead *ahead, struct model *model, struct state *state);
void ahead_deinit(struct ahead *ahead); /* of all zero nothing */
/* The first n of that part are in use. */
void ahead_on_use(struct ahead *ahead, enum state_part part, int n);
void ahead_set_busy(struct ahead *ahead, bool busy); /* steps are made, or nothing waits for one */
