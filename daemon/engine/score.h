/* score.h - how likely the model finds a text that is given: a sequence whose tokens are all known.
 *
 * It is read like a prompt, with the logits of every token before one of the continuation.  A step has one
 * row of logits a slot, so pieces are cut to what the other sequences leave of them. */
#pragma once

#include "daemon/model/tokenizer.h"
#include "engine.h"

enum {
    SCORE_TOKENS_MAX = 65536,
    SCORE_ROWS_MAX = 32
}; /* of one continuation: its reply is a frame; of a step */

/* Makes a new sequence (max_tokens: the continuation's length) one to be scored; n_done were, by an engine
 * that died. */
void score_begin(struct seq *seq, const struct token_ids *continuation, int n_done);
/* Cuts pieces that ask for more rows than there are, before the step is packed. */
void score_cut_picks(struct engine *e, int n_picks);
/* How many rows a piece of n_tok needs: those of the tokens before one that has no score yet. */
int score_n_rows(const struct seq *seq, int n_tok);
/* The token whose score the i-th of those rows has. */
int32_t score_id(const struct seq *seq, int i);
/* Its n_tok were read: says what the step's rows from row0 on make of the continuation; the last word drops
 * the sequence.  0, UPLINK_E_EOF, < 0. */
int score_advance(struct engine *e, struct seq *seq, int row0, int n_rows);
