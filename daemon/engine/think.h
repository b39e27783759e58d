/* think.h - where the reasoning ends and the answer begins.
 *
 * With thinking on, the rendered prompt ends inside "<think>\n", so the stream starts as reasoning.
 * "</think>" ends it; the blank line that follows ("\n\n") belongs to neither part.  A model may never close,
 * or close at once. Where the vocabulary has </think> as a token, only that token closes (think_close): the
 * same letters spelled out by other tokens are the model talking about the mark.  In a vocabulary without it
 * the text is watched, and what may be the start of the mark is held back, at most 7 bytes. */
#pragma once

#include "proto/base.h"

enum think_part { THINK_REASONING, THINK_GAP, THINK_ANSWER };
struct think {
    enum think_part part;
    bool by_text;  /* look for the mark in the text */
    int n_gap;     /* newlines after the mark that were dropped */
    size_t n_held; /* bytes of the mark seen so far */
};

struct think_run {
    bool answer;
    const char *s;
    size_t n; /* > 0 */
};

void think_init(struct think *t, bool reasoning, bool by_text);
void think_close(struct think *t); /* the token </think>; no effect in the answer */

/* Takes bytes from *text and returns the next run of one part: false when all were taken and nothing is to be
 * shown. The run is borrowed from the text or from this module, valid until the next call. */
bool think_next(struct think *t, const char **text, size_t *n, struct think_run *ret_run);
/* End of the stream: false if nothing was held back. */
bool think_flush(struct think *t, struct think_run *ret_run);
