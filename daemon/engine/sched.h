/* sched.h - what the next step reads: every decode row, and one piece of the oldest prompt that is still
 * being read.
 *
 * Pure: no clock, no I/O, no state but the measured costs.  A running stream is never left out of a step; a
 * prompt piece is as long as the time budget allows, so the stall it causes is bounded.  The piece size
 * changes no result: the backends' bits do not depend on how a prompt is cut (design rule of kernels.h). */
#pragma once

#include "proto/base.h"

enum { SCHED_PIECE_MAX = 512 }; /* tokens; beyond it the products are compute-bound and gain nothing more */

struct sched_cost { /* measured, smoothed; 0: not yet */
    double step_ns; /* of a step that only decodes */
    double tok_ns;  /* that one prompt token adds to a step */
};
void sched_cost_add_decode(struct sched_cost *cost, double ns);
void sched_cost_add_piece(struct sched_cost *cost, int n_piece, double ns); /* the whole step's time */

struct sched_item {
    int n_pending;  /* tokens known and not read yet; 0: nothing to do; 1: a decode row; more: a prompt */
    uint64_t order; /* smaller: came first */
};
struct sched_pick {
    int item; /* index into items */
    int n_tok;
};
/* Picks for one step, in the order of items; at most max_tok tokens in all, max_tok >= n_items, room for
 * n_items picks. Returns how many; 0: nothing can run. */
int sched_step(const struct sched_item *items, int n_items, const struct sched_cost *cost, int max_tok,
               struct sched_pick *ret_picks);
