/* sample.h - from one row of logits to one token.  Pure: no state but scratch, no clock, no I/O.
 *
 * Steps, in this order, in float64 (tests/golden/sampler): bias, penalties, top_k, top_p, min_p, temperature, softmax.
 * The draw is counter-based: Philox4x32-10, key = seed, counter = (position, 0, 0, 0), one uniform per position, inverse CDF over
 * the kept tokens in descending order of probability (ties: lower id first).  So a replay, a preemption or a neighbour
 * in the batch cannot change what is sampled.  Philox: Salmon et al., SC11; known answers of Random123. */
#pragma once

#include "proto/base.h"

struct sample_bias { int32_t id; float bias; };
struct sample_params {
    float temperature;                      /* 0: the best token */
    int top_k;                              /* 0: off */
    float top_p, min_p;                     /* 1 and 0: off */
    float repeat_penalty, presence_penalty, frequency_penalty;
    int penalty_last_n;                     /* -1: all of the history, 0: none */
    uint64_t seed;
    const struct sample_bias *bias;         /* borrowed */
    int n_bias;
};
/* Qwen's recommended values (model card of Qwen3.5): thinking 0.6/20/0.95, not thinking 0.7/20/0.8, presence 1.5. See docs/MODEL.md. */
void sample_params_default(struct sample_params *params, bool thinking);
/* 0, or SAMPLE_E_RANGE with the fault naming the parameter, its value and its range. */
enum { SAMPLE_OK, SAMPLE_E_RANGE, SAMPLE_E_NAN };
int sample_params_check(const struct sample_params *params, int n_vocab, struct fault *fault);

enum { SAMPLE_TOP_MAX = 20 };
struct sample_choice {
    int32_t id;
    float logprob;                          /* natural log of the model's own softmax, before any step */
    int n_top;
    int32_t top_id[SAMPLE_TOP_MAX];         /* best first, by the model's own softmax */
    float top_logprob[SAMPLE_TOP_MAX];
};

struct sampler;                             /* scratch for n_vocab values; one per thread */
int sampler_new(int n_vocab, struct sampler **ret_sampler);
struct sampler *sampler_free(struct sampler *s);
CLEANUP_FUNC(struct sampler, sampler_free)

/* banned [n_vocab] bool or NULL: ids that may not be chosen.  history: prompt and answer, oldest first.  n_logprobs < 0: no logprobs are computed.
 * SAMPLE_E_NAN: no finite logit is left. */
int sampler_pick(struct sampler *s, const struct sample_params *params, const float *logits, const bool *banned, const int32_t *history,
                 size_t n_history, uint64_t position, int n_logprobs, struct sample_choice *ret_choice);

/* The filtered distribution itself, best first, for tests and qwend-probe: pointers into the sampler, valid until its next use. */
int sampler_distribution(struct sampler *s, const struct sample_params *params, const float *logits, const bool *banned,
                         const int32_t *history, size_t n_history, const int32_t **ret_ids, const double **ret_probs, int *ret_n);

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t ret_out[4]);
