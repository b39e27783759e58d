/* eval_run.h - asks a model the items of a suite, several side by side, and hands over each answer.
 *
 * A step gives every running sequence its next token and fills what is left of --chunk with prompts.  On the
 * CPU a sequence's tokens do not depend on its neighbours, so neither do the answers on --parallel. */
#pragma once

#include <signal.h>

#include "daemon/engine/sample.h"
#include "daemon/model/unicode.h"
#include "eval_suite.h"
#include "probe.h"

/* How far a second model is from the first, over the tokens of one answer. */
struct eval_kl {
    int64_t n;       /* tokens */
    double sum, max; /* of KL(reference || model), nats */
    int64_t n_same;  /* tokens where both have the same best one */
};
/* False: the divergence is no finite number, and nothing was added. */
bool eval_kl_add(struct eval_kl *kl, const float *reference, const float *model, int n_vocab);
void eval_kl_merge(struct eval_kl *kl, const struct eval_kl *other);

struct eval_done {
    size_t index;                        /* of the item */
    struct chat_str reasoning, text;     /* borrowed for the call; text is the answer */
    int n_prompt, n_reasoning, n_answer; /* tokens; </think> counts as reasoning, the end mark as answer */
    bool cut;                            /* by the limit, not ended by the model */
    struct eval_kl kl;                   /* n 0: there is no second model */
    const double *scores; /* borrowed for the call, [n_scores], of the choices, by eval_likely(); or NULL */
    int n_scores, choice; /* choice: the best of them, 0 for A; text is its letter */
};
typedef int (*eval_done_fn)(void *user, const struct eval_done *done); /* 0 or an exit status */
typedef void (*eval_step_fn)(void *user, int n_tok); /* after each step: tokens made since the last */

struct eval_run {
    const struct probe_model *pm;              /* borrowed: makes the answers */
    const struct probe_model *other;           /* borrowed, or NULL: is shown the same tokens */
    const struct probe_model_options *options; /* borrowed */
    const struct tokenizer *tokenizer;         /* borrowed */
    const struct eval_suite *suite;            /* borrowed */
    const char *suite_name;                    /* borrowed, for complaints */
    struct sample_params sampling; /* an item's seed is the sum of this one and its place in the suite */
    bool thinking;
    int max_tokens, parallel;
    const volatile sig_atomic_t *stop; /* set: ends after the step under way */
    eval_done_fn on_done;
    eval_step_fn on_step;
    void *user;
};
/* 0 (also when stopped), or an exit status after a complaint. */
int eval_run(const struct eval_run *run);

/* The same for a suite of choices that are not asked but scored, one after the other; thinking is off. */
int eval_likely(const struct eval_run *run);

/* Reasoning and answer of the tokens [n] behind a prompt, as the engine splits them; out holds the text. */
int eval_split(const struct tokenizer *tokenizer, bool thinking, const int32_t *ids, int n,
               struct unicode_text *out, struct eval_done *done);
