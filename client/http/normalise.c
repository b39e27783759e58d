/* normalise.c - see normalise.h.  What agents send: llama.cpp tools/server/server-chat.cpp
 * (normalize_anthropic_billing_header), omlx issue 2881 (the budget marker). */
#include "normalise.h"

#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"

enum {
    NORMALISE_MARK_BYTES = 256,
    NORMALISE_CUTS = 16
}; /* each cut moves what is behind it: not without end */

static const struct {
    const char *open, *close; /* what is cut: from the one to the end of the other */
    bool at_start;            /* only where the system message begins with it */
    bool moves;               /* to the last user turn, rather than away */
    const char *what;
} normalise_rules[NORMALISE_RULES] = {
    {"x-anthropic-", "\n", true, false, "a billing line at the head of the system message is left out"},
    {"<total_tokens>", "</total_tokens>", false, true,
     "the token budget goes from the system message to the last turn"},
};

/* Cuts the first that matches; 0: none.  mark: what was cut, cut itself to its room. */
static size_t normalise_cut(struct buf *text, size_t i, char mark[NORMALISE_MARK_BYTES])
{
    char *data = (char *)buf_head(text);
    const size_t n = buf_size(text), n_open = strlen(normalise_rules[i].open),
                 n_close = strlen(normalise_rules[i].close);
    char *from = n ? memmem(data, n, normalise_rules[i].open, n_open) : NULL, *to;

    if (!from || (normalise_rules[i].at_start && from != data))
        return 0;
    to = memmem(from, n - (size_t)(from - data), normalise_rules[i].close, n_close);
    if (!to && !normalise_rules[i].at_start)
        return 0;
    to = to ? to + n_close : data + n;
    while (normalise_rules[i].at_start && to < data + n && *to == '\n')
        to++;
    snprintf(mark, NORMALISE_MARK_BYTES, "%.*s", (int)MIN(to - from, (ptrdiff_t)NORMALISE_MARK_BYTES - 1),
             from);
    memmove(from, to, (size_t)(data + n - to));
    text->len -= (size_t)(to - from);
    return (size_t)(to - from);
}

static struct turn *normalise_last_user(struct ask *ask)
{
    for (size_t i = ask->n_turns; i--;)
        if (ask->turns[i].role == QWEND_USER)
            return &ask->turns[i];
    return NULL;
}

/* The last of several markers counts; all others are of the past. */
static bool normalise_rule(struct ask *ask, struct turn *system, size_t i)
{
    char mark[NORMALISE_MARK_BYTES] = "";
    struct turn *last = normalise_last_user(ask);
    bool applied = false;

    if (normalise_rules[i].moves && !last)
        return false;
    for (int k = 0; k < NORMALISE_CUTS && normalise_cut(&system->text, i, mark); k++)
        applied = true;
    /* no room, or no memory: the model does without the marker */
    if (applied && normalise_rules[i].moves && !buf_append(&last->text, "\n\n", 2))
        (void)buf_append(&last->text, mark, strlen(mark));
    return applied;
}

unsigned normalise_turns(struct ask *ask)
{
    unsigned applied = 0;

    if (!ask->n_turns || ask->turns[0].role != QWEND_SYSTEM)
        return 0;
    for (size_t i = 0; i < NORMALISE_RULES; i++)
        if (normalise_rule(ask, &ask->turns[0], i))
            applied |= 1u << i;
    return applied;
}

void normalise(struct gateway *g, struct ask *ask)
{
    const unsigned applied = g->options->normalise ? normalise_turns(ask) : 0;

    for (size_t i = 0; i < NORMALISE_RULES; i++)
        if (applied & ~g->normalised & 1u << i)
            log_info("prompts change their head with each request: %s, from now on, so that they can be "
                     "reused (normalise "
                     "= no turns that off)",
                     normalise_rules[i].what);
    g->normalised |= applied;
}
