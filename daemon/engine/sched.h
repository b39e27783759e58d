/* sched.h - what the next step reads: every decode row, and pieces of the prompts that are still being read.
 *
 * Pure: no clock, no I/O, no allocation; the same code runs in the engine and in tests/unit/test_sched_sim.c.
 *
 * A running stream is never left out of a step, and a step that has one takes about twice as long as without
 * prompts, at most: that bounds the stall which somebody else's prompt causes.  Where all streams are batch,
 * prompts of the other bands are read as if there were none: nobody waits for each token of those.  Within
 * that budget prompts are read in the order of
 *   1. the band: interactive before normal before batch.  A lower band that waits is owed a share of what is
 *      read, and once that makes a step's worth it goes first for one step, so it never starves;
 *   2. the account (a uid): who was served least, by a virtual counter of work done over weight (VTC, arXiv
 *      2401.00588).  Decoded tokens count as well, by their measured cost;
 *   3. within an account the earliest deadline, then who came first.
 * An account that had no prompt to read starts again at the level of those who have: idling saves nothing up.
 * How a prompt is cut changes no result.  Where a backend's bits depend on it none the less (cut_tok of
 * kernels.h), pieces end at multiples of cut_tok and none is shorter, a step takes at least one however small
 * its budget is, and tokens of an answer that was begun elsewhere are read by again_tok.
 */
#pragma once

#include "proto/base.h"

enum {
    SCHED_PIECE_MAX = 512, /* tokens; beyond it the products are compute-bound and gain nothing more */
    SCHED_ITEMS_MAX = 64,  /* of one step */
    SCHED_ACCOUNTS = 128,  /* those that have a sequence, SCHED_ITEMS_MAX at most, and the last that had */
    SCHED_WEIGHT = 100,    /* the usual one */
    SCHED_WEIGHT_MAX = 10000,
};
enum sched_band { SCHED_BAND_INTERACTIVE, SCHED_BAND_NORMAL, SCHED_BAND_BATCH, SCHED_BAND_N };

struct sched_cost { /* measured, smoothed; 0: not yet */
    double step_ns; /* of a step that only decodes */
    double tok_ns;  /* that one prompt token adds to a step */
    /* Of a backend that computes rows in tiles (kernels.h, row_tile): */
    int tile;       /* rows; 0: it does not, and the next three are not used */
    double one_ns;  /* of a step with a piece that fits into the first tile */
    double more_ns; /* that each further tile adds */
    double deep_ns; /* that a row of a prompt adds for each token before it: its attention */
};
void sched_cost_add_decode(struct sched_cost *cost, double ns);
void sched_cost_add_piece(struct sched_cost *cost, int n_piece, double ns); /* the whole step's time */
/* Of the same step: all its rows; n_before: the tokens before each row of a prompt, of all of them together.
 */
void sched_cost_add_rows(struct sched_cost *cost, int n_rows, double n_before, double ns);
/* Tokens of a prompt for one step, at least 1; n_rows: those that it has besides; pos: of the first of them.
 */
int sched_budget(const struct sched_cost *cost, bool alone, int n_rows, int pos);
/* What one of n_decode rows costs, in prompt tokens. */
double sched_row_price(const struct sched_cost *cost, int n_decode);

struct sched_account {
    uint64_t key;
    uint32_t weight;
    int n_live;       /* sequences that it has now */
    uint64_t left;    /* when the last one ended; smaller: longer ago */
    double counter;   /* served, in prompt tokens at SCHED_WEIGHT */
    double granted;   /* tokens of the step that is being picked */
    bool reads, read; /* has a prompt to read; had one in the last step */
};

struct sched { /* all zero is empty */
    struct sched_cost cost;
    int cut_tok, again_tok; /* the backend's; cut_tok 0 or 1: anywhere */
    struct sched_account accounts[SCHED_ACCOUNTS];
    int n_accounts;
    uint64_t n_left;
    double floor;              /* the counter of the least served account that reads, never falling */
    double owed[SCHED_BAND_N]; /* prompt tokens that a band is behind its share */
};

/* A sequence of the account that is known by key begins: its index, good until as many sched_leave() as
 * sched_join().  At most SCHED_ITEMS_MAX at a time; weight 1 to SCHED_WEIGHT_MAX, the last one given counts.
 */
int sched_join(struct sched *sched, uint64_t key, uint32_t weight);
void sched_leave(struct sched *sched, int account);

struct sched_item {
    int n_pending;  /* tokens known and not read yet; 0: nothing to do; 1: a decode row; more: a prompt */
    uint64_t order; /* smaller: came first */
    int account;    /* from sched_join() */
    enum sched_band band;
    uint64_t deadline; /* on any clock; 0: none */
    int pos;           /* in its sequence, of the first token that is pending */
    int n_again;       /* of n_pending, the last ones: what follows the prompt */
};
struct sched_pick {
    int item; /* index into items */
    int n_tok;
};
/* Picks for one step, in the order of items; at most max_tok tokens in all, max_tok >= n_items, and
 * >= n_items + 3 cut_tok where that is more than 1; room for n_items picks.  Returns how many; 0: nothing can
 * run. */
int sched_step(struct sched *sched, const struct sched_item *items, int n_items, int max_tok,
               struct sched_pick *ret_picks);
/* The step was made: charges what was picked. */
void sched_charge(struct sched *sched, const struct sched_item *items, int n_items,
                  const struct sched_pick *picks, int n_picks);
