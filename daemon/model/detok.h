/* detok.h - token ids back to text, whole UTF-8 sequences at a time.
 *
 * A token may end inside a character: its bytes are held back until the character is whole, or until it is
 * certain that it never will be (then U+FFFD, once per maximal wrong part, as HF's decoder does).  Control
 * tokens give no text. */
#pragma once

#include "tokenizer.h"

enum { DETOK_HOLD_MAX = 4 };
struct detok {
    const struct tokenizer *tokenizer; /* borrowed */
    uint8_t held[DETOK_HOLD_MAX];
    int n_held;
    bool keep_control; /* write control tokens as their text (probe detokenize) */
};
void detok_init(struct detok *d, const struct tokenizer *tokenizer);

/* The callback-free way: at most detok_max_bytes() bytes are written; returns how many. */
size_t detok_max_bytes(const struct detok *d, int32_t id);
size_t detok_push(struct detok *d, int32_t id, char *text);
size_t detok_flush(struct detok *d,
                   char *text); /* end of stream: what is held back, as U+FFFD; at most 4 bytes */
