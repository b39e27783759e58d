/* sampler.h - the inside of struct sampler; included by sample.c, sample_few.c and sample_top.c, which find
 * the candidates of a draw each in its own way and share what follows. */
#pragma once

#include "sample.h"

enum { SAMPLER_FEW = 256 }; /* no less than KERN_TOP */

struct sample_entry {
    double x;
    int32_t id;
};

struct sampler {
    int n_vocab;
    double *x;      /* owned, [n_vocab] logits after bias and penalties; -inf: may not be chosen */
    int32_t *count; /* owned, [n_vocab] occurrences in the penalty window; zero between calls */
    int16_t *place; /* owned, [n_vocab] 1 + an id's place in a row's candidates, or that it was moved; zero
                       between calls */
    struct sample_entry *heap; /* owned, [n_vocab] */
    int n_heap;                /* candidates that were not popped yet */
    int32_t *ids;              /* owned, [n_vocab] candidates that were popped, best first */
    double *best;              /* owned, [n_vocab] their values */
    int n_best, n_moved;
};

/* What a token is chosen by.  Borrowed. */
struct sample_row {
    const struct sample_params *params;
    const float *logits;
    const bool *banned; /* NULL: none */
    const int32_t *history;
    size_t n_history;
};

/* What a token that was seen c times has left. */
double sample_penalised(const struct sample_params *p, double x, int32_t c);

bool sample_better(const struct sample_entry *a, const struct sample_entry *b);
/* Candidates are gathered: none; one more, if it may be chosen and is one of the k best so far; that was all.
 */
void sampler_begin(struct sampler *s);
void sampler_put(struct sampler *s, int k, double x, int32_t id);
void sampler_end(struct sampler *s);
/* Ids that penalties look at: n of them, 0 where there are no penalties. */
const int32_t *sample_window(const struct sample_params *p, const int32_t *history, size_t n_history,
                             size_t *ret_n);
/* The first from id on that may not be chosen, or n_vocab. */
int32_t sample_next_banned(const struct sample_row *row, int32_t n_vocab, int32_t id);
/* x has the row's logits, or at least those of the ids that any of these name: bias, penalties, bans. */
void sampler_adjust(struct sampler *s, const struct sample_row *row);
/* Candidates = the k best of the row, 1 to SAMPLER_FEW; fewer if fewer may be chosen.  SAMPLE_OK or
 * SAMPLE_E_NAN. */
int sampler_find_few(struct sampler *s, const struct sample_row *row, int k);
bool sampler_pop(struct sampler *s); /* the best of the heap to ids and best; false: it is empty */

/* All below: the best candidate has been popped.  Masses are relative to it: its own is 1. */
double sampler_mass(const struct sampler *s, double temperature); /* of all candidates */
int sampler_reach(struct sampler *s,
                  double want); /* how many of the best have this mass at temperature 1; or all */
void sampler_keep(struct sampler *s,
                  const struct sample_params *p); /* what top_p and min_p leave of the candidates */

double sample_uniform(uint64_t seed, uint64_t position);
/* Index into ids of the candidate at which the mass first exceeds want; of the one that is drawn at the
 * position. */
int sampler_at(struct sampler *s, double temperature, double want);
int sampler_draw(struct sampler *s, const struct sample_params *p, uint64_t position);
