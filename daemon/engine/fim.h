/* fim.h - a text with a gap to token ids, by the vocabulary's own tokens for that.
 *
 * Where other files or names are given:   <|repo_name|>REPO\n  <|file_sep|>NAME\nTEXT\n ...
 * <|file_sep|>FILE\n then the text with its gap, either
 * <|fim_prefix|>PREFIX<|fim_suffix|>SUFFIX<|fim_middle|> or, so that typing appends,
 * <|fim_suffix|>SUFFIX<|fim_prefix|>PREFIX<|fim_middle|> This is the layout that Qwen's code models were
 * trained with (Qwen2.5-Coder's report, section 3.2). */
#pragma once

#include "prompt.h"

/* Fills ids and borders of ret_prompt, which comes empty.  0, STATUS_UNSUPPORTED (the vocabulary lacks a
 * token: which), STATUS_INVALID, < 0. */
int fim_encode(const struct tokenizer *tokenizer, const Qwp__Fim *fim, struct fault *fault,
               struct prompt *ret_prompt);
/* Sets [n_vocab] stops where a token begins another file or another gap: no part of what fills this one. */
void fim_mark_stops(const struct tokenizer *tokenizer, bool *stops);
