/* run.h - steps of one sequence, alone or among neighbours, for the verbs that compute.
 *
 * The sequence under test is fed in pieces; each neighbour adds a piece of its own, made-up, sequence to the
 * same batch, before or after it and of changing length, which must not change a bit of the result.  Pages of
 * all sequences are interleaved. */
#pragma once

#include "probe.h"

struct probe_run;

/* max_ctx: positions of the longest sequence.  0 or an exit status. */
int probe_run_new(const struct probe_model *pm, const struct probe_model_options *options, int max_ctx,
                  struct probe_run **ret_run);
struct probe_run *probe_run_free(struct probe_run *run);
CLEANUP_FUNC(struct probe_run, probe_run_free)

enum { PROBE_ROWS_MAX = 64 };               /* logit rows of one step: 64 MB of them at 248,320 tokens */
int probe_run_reset(struct probe_run *run); /* the next step begins a new sequence */
/* Feeds n <= options->chunk ids; logits of their rows[n_rows <= PROBE_ROWS_MAX], ascending, into ret_logits
 * [n_rows][n_vocab].  ret_logits NULL, here and below, only where the backend has top(): it is asked for the
 * best of each row, as in an engine, and nobody looks at them. */
int probe_run_step(struct probe_run *run, const int *ids, int n, const int *rows, int n_rows,
                   float *ret_logits);
/* Which logits of a sequence are wanted, and who takes them, a few rows [n_rows][n_vocab] at a time. */
typedef int (*probe_rows_fn)(void *user, const float *rows, int n_rows); /* 0 or an exit status */
struct probe_want {
    const int *ids; /* borrowed, [n_ids] */
    int n_ids;
    const int *positions; /* borrowed, [n_positions], ascending, below n_ids */
    int n_positions;
    float *logits; /* borrowed: room for PROBE_ROWS_MAX rows */
    probe_rows_fn on_rows;
    void *user;
};
/* Feeds ids in pieces, up to the last position that is wanted. */
int probe_run_positions(struct probe_run *run, const struct probe_want *want);
/* One token of each of rows sequences, at most options->rows, as a daemon with so many streams decodes: row i
 * reads id + i; ret_logits [rows][n_vocab].  Neighbours have no part in it. */
int probe_run_rows(struct probe_run *run, int rows, int id, float *ret_logits);
/* Feeds all of ids in pieces; ret_logits [n_vocab]: after the last one. */
int probe_run_prompt(struct probe_run *run, const int *ids, size_t n, float *ret_logits);
