/* pieces.h - from sampled token ids to the pieces of text that a client may see: detok, then think, then
 * stop.
 *
 * Deterministic in the ids alone: a replay that pushes the same ids makes the same pieces at the same ids,
 * which is why the pieces of forced ids can be thrown away.  One push makes at most one piece of reasoning
 * and one of the answer. */
#pragma once

#include "daemon/model/detok.h"
#include "stop.h"
#include "think.h"

struct piece {
    bool answer;
    const char *s; /* borrowed from struct pieces, valid until the next push */
    size_t n;
};
struct pieces {
    struct detok detok;
    struct think think;
    struct stop stop;
    int32_t close_id; /* </think>; -1: not in the vocabulary */
    char *raw;        /* owned, [max_raw] text of one token */
    char *text;       /* owned, [cap] text of the pieces */
    size_t n_text, cap, max_raw;
    struct piece items[2];
    int n_items;
};

/* An upper bound of the text that one token of the vocabulary can release from detok; costs a walk over all
 * of it. */
size_t pieces_max_raw(const struct tokenizer *tokenizer);

struct pieces_config {
    const struct tokenizer *tokenizer; /* borrowed */
    size_t max_raw;                    /* pieces_max_raw() */
    bool reasoning;                    /* the prompt ends inside <think> */
    char *const *stops;                /* [n_stops], copied */
    size_t n_stops;
};
int pieces_init(struct pieces *p, const struct pieces_config *config,
                struct fault *fault); /* 0, STOP_E_INVALID, < 0 */
void pieces_deinit(struct pieces *p);

static inline bool pieces_in_reasoning(const struct pieces *p)
{
    return p->think.part == THINK_REASONING;
}
static inline const char *
pieces_stop(const struct pieces *p) /* the stop string that ended the answer, or NULL */
{
    return p->stop.found < 0 ? NULL : p->stop.strings[p->stop.found];
}

void pieces_push(struct pieces *p, int32_t id); /* replaces items by what this token released */
void pieces_end(struct pieces *p);              /* the stream is over: adds to items what was held back */
