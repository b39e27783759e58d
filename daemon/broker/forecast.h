/* forecast.h - what tokens cost, and when a request will have its first one.  Pure.
 *
 * The engine measures its steps and says so in Beat; how many tokens a prompt has and how long answers are,
 * the broker learns from the requests that pass.  A forecast is an expectation, not a bound: answers end when
 * they end.  Until something was measured there is none (0). */
#pragma once

#include "proto/base.h"

struct forecast {       /* all zero: nothing known */
    double read_ns;     /* that a prompt token adds to a step */
    double step_ns;     /* of a step that only decodes */
    double prompt_byte; /* bytes of a prompt's message per token, smoothed */
    double answer_tok;  /* tokens of an answer, smoothed */
};

void forecast_note_beat(struct forecast *forecast, uint64_t read_ns, uint64_t step_ns);
void forecast_note_prompt(struct forecast *forecast, uint64_t n_bytes, uint32_t n_tok);
void forecast_note_answer(struct forecast *forecast, uint64_t n_tok);

/* What one of n_rows tokens of a step costs, in prompt tokens: 2 until it was measured. */
double forecast_write_price(const struct forecast *forecast, unsigned n_rows);
/* Tokens of a prompt of n bytes that the engine has not taken in yet. */
double forecast_prompt_tok(const struct forecast *forecast, uint64_t n_bytes);
/* Tokens that a running answer still has before it: the mean, since most lengths are about exponential; at
 * most max_tok, 0: no limit was given. */
double forecast_left_tok(const struct forecast *forecast, uint64_t max_tok);

struct forecast_work {
    double own_tok;   /* prompt tokens of the request */
    double ahead_tok; /* of others that are read before its own, or beside them: what counts of them */
    double left_tok;  /* that running answers still have to write, on average */
    unsigned n_slots, n_running; /* now */
    unsigned n_ahead;            /* requests that get a slot before it */
    bool takes_slot;             /* it need not wait for one */
};
/* From now to its first token; 0: not known. */
double forecast_ttft_ns(const struct forecast *forecast, const struct forecast_work *work);
