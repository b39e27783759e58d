/* sample.h - from one row of logits to one token.  Pure: no state but scratch, no clock, no I/O.
 *
 * Steps, in this order, in float64 (tests/golden/README.md): bias, penalties, top_k, top_p, min_p,
 * temperature, softmax.  The draw is counter-based: Philox4x32-10, key = seed, counter = (position, 0, 0, 0),
 * one uniform per position, inverse CDF over the kept tokens in descending order of probability (ties: lower
 * id first).  So a replay, a preemption or a neighbour in the batch cannot change what is sampled. Philox:
 * Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC11; known answers of Random123. */
#pragma once

#include "proto/base.h"

struct sample_bias {
    int32_t id;
    float bias;
};
struct sample_params {
    float temperature;  /* 0: the best token */
    int top_k;          /* 0: off */
    float top_p, min_p; /* 1 and 0: off */
    float repeat_penalty, presence_penalty, frequency_penalty;
    int penalty_last_n; /* -1: all of the history, 0: none */
    uint64_t seed;
    const struct sample_bias *bias; /* borrowed */
    int n_bias;
};
/* What Qwen3.5's model card recommends for general tasks:
 *   thinking      temperature 1.0, top_p 0.95, top_k 20, min_p 0, presence penalty 1.5, repeat penalty 1
 * (off) not thinking  temperature 0.7, top_p 0.80, top_k 20, min_p 0, presence penalty 1.5, repeat penalty 1
 * (off) The card says nothing about how far back the penalties look: the last 64 tokens, as is usual.  See
 * docs/MODEL.md. */
void sample_params_default(struct sample_params *params, bool thinking);
/* 0, or SAMPLE_E_RANGE with the fault naming the parameter, its value and its range. */
enum { SAMPLE_OK, SAMPLE_E_RANGE, SAMPLE_E_NAN, SAMPLE_E_MORE };
int sample_params_check(const struct sample_params *params, int n_vocab, struct fault *fault);

enum { SAMPLE_TOP_MAX = 20 };
struct sample_choice {
    int32_t id;
    float logprob; /* natural log of the model's own softmax, before any step */
    int n_top;
    int32_t top_id[SAMPLE_TOP_MAX]; /* best first, by the model's own softmax */
    float top_logprob[SAMPLE_TOP_MAX];
};

struct sampler; /* scratch for n_vocab values, 42 bytes each; one per thread */
int sampler_new(int n_vocab, struct sampler **ret_sampler);
struct sampler *sampler_free(struct sampler *s);
CLEANUP_FUNC(struct sampler, sampler_free)

/* logits  [n_vocab] f32; -inf is allowed and never chosen
 * banned  [n_vocab] bool or NULL: ids that may not be chosen
 * history prompt and answer, oldest first, each id in [0, n_vocab)
 * position of the token to choose in its sequence, below 2^32
 * n_logprobs < 0: none are computed; at most SAMPLE_TOP_MAX
 * params have passed sample_params_check().  SAMPLE_E_NAN: a logit is NaN or +inf, or none is left that may
 * be chosen. Allocates nothing; with top_k on (the default) one row of 248,320 logits takes some 0.2 ms.
 */
int sampler_pick(struct sampler *s, const struct sample_params *params, const float *logits,
                 const bool *banned, const int32_t *history, size_t n_history, uint64_t position,
                 int n_logprobs, struct sample_choice *ret_choice);

/* The log-probability of one id by the model's own softmax, as sampler_pick() gives it.  SAMPLE_E_NAN as
 * there. */
int sampler_score(struct sampler *s, const float *logits, int32_t id, float *ret_logprob);

/* The same two from what a backend says of a row (kernels.h), which is enough for nearly every pick: it gives
 * the token that the row would give, or SAMPLE_E_MORE if that cannot be told without the row.  Then
 * sampler_pick() has the token, and sample_tell() gives it the logprobs that it would have had here: log
 * probabilities always come from the backend's normaliser where there is one, so that they do not depend on
 * the way. */
struct kern_top_row;
int sampler_pick_top(struct sampler *s, const struct sample_params *params, const struct kern_top_row *top,
                     const bool *banned, const int32_t *history, size_t n_history, uint64_t position,
                     int n_logprobs, struct sample_choice *ret_choice);
void sample_tell(const struct kern_top_row *top, float logit, int n_logprobs, struct sample_choice *choice);
/* Of the id that the row was asked for. */
int sample_score_top(const struct kern_top_row *top, float *ret_logprob);

/* The filtered distribution itself, best first, for tests and qwend-probe: pointers into the sampler, valid
 * until its next use. */
int sampler_distribution(struct sampler *s, const struct sample_params *params, const float *logits,
                         const bool *banned, const int32_t *history, size_t n_history,
                         const int32_t **ret_ids, const double **ret_probs, int *ret_n);

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t ret_out[4]);
