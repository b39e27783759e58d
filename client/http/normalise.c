/* normalise.c - see normalise.h.  What agents send: llama.cpp tools/server/server-chat.cpp
 * (normalize_anthropic_billing_header), omlx issue 2881 (the budget marker), claude-code issue 47107 (the
 * state of the repository, anew in each request before version 2.1.267). */
#include "normalise.h"

#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"
#include "fnv.h"
#include "jout.h"

enum {
    NORMALISE_MARK_BYTES = 8192, /* a longer part stays where it is */
    NORMALISE_CUTS = 16,         /* each cut moves what is behind it: not without end */
};
enum where { AT_START, AT_LINE, ANYWHERE };

static const struct {
    const char *open, *via, *close; /* the part: from open, over via, to the end of close */
    enum where where;               /* ANYWHERE: close must be there; else the end of the text will do */
    bool moves;                     /* to the last turn, rather than away */
    bool watched;                   /* only where it has changed since the last time */
    const char *what;
} normalise_rules[NORMALISE_RULES] = {
    {"x-anthropic-", NULL, "\n", AT_START, false, false,
     "a billing line at the head of the system message is left out"},
    {"<total_tokens>", NULL, "</total_tokens>", ANYWHERE, true, false,
     "the token budget goes from the system message to the last turn"},
    {"Today's date", NULL, "\n", AT_LINE, true, true,
     "the date goes from the system message to the last turn"},
    {"gitStatus: ", "Recent commits:\n", "\n\n", AT_LINE, true, true,
     "the state of the repository goes from the system message to the last turn"},
};

struct span {
    size_t from, to;
};

static const char *normalise_find(const char *text, const char *end, const char *word)
{
    return text < end ? memmem(text, (size_t)(end - text), word, strlen(word)) : NULL;
}

static bool normalise_begins_line(const char *text, const char *at)
{
    while (at > text && (at[-1] == ' ' || at[-1] == '\t'))
        at--;
    return at == text || at[-1] == '\n';
}

/* The first part of a text that a rule is about. */
static bool normalise_span(const struct buf *buf, size_t i, struct span *ret_span)
{
    const enum where where = normalise_rules[i].where;
    const char *text = jout_buf_text(buf), *end = text + buf_size(buf), *to;
    const char *from = normalise_find(text, end, normalise_rules[i].open);

    while (from && where == AT_LINE && !normalise_begins_line(text, from))
        from = normalise_find(from + 1, end, normalise_rules[i].open);
    if (!from || (where == AT_START && from != text))
        return false;
    to = normalise_rules[i].via ? normalise_find(from, end, normalise_rules[i].via) : from;
    if (!to)
        return false;
    to = normalise_find(to, end, normalise_rules[i].close);
    if (!to && where == ANYWHERE)
        return false;
    to = to ? to + strlen(normalise_rules[i].close) : end;
    while (where == AT_START && to < end && *to == '\n')
        to++;
    *ret_span = (struct span){(size_t)(from - text), (size_t)(to - text)};
    return !normalise_rules[i].moves || to - from <= NORMALISE_MARK_BYTES;
}

static void normalise_cut(struct buf *buf, const struct span *span)
{
    char *data = (char *)buf_head(buf);
    const size_t n = buf_size(buf);

    memmove(data + span->from, data + span->to, n - span->to);
    buf->len -= span->to - span->from;
}

/* A part, without the line breaks behind it. */
static void normalise_keep(const struct buf *buf, const struct span *span, struct buf *mark)
{
    const char *text = jout_buf_text(buf) + span->from;
    size_t n = span->to - span->from;

    while (n && text[n - 1] == '\n')
        n--;
    buf_deinit(mark);
    *mark = BUF_INIT(NORMALISE_MARK_BYTES);
    (void)buf_append(mark, text, n); /* no memory: the model does without it */
}

/* Of a user, or of a tool while the model works: what is moved to it is behind all that can be reused. */
static struct turn *normalise_last(struct ask *ask)
{
    for (size_t i = ask->n_turns; i--;)
        if (ask->turns[i].role == QWEND_USER || ask->turns[i].role == QWEND_TOOL)
            return &ask->turns[i];
    return NULL;
}

static void normalise_append(struct turn *turn, const struct buf *mark)
{
    if (buf_size(mark) && !buf_append(&turn->text, "\n\n", 2))
        (void)buf_append(&turn->text, buf_head(mark), buf_size(mark));
}

/* The last of several markers counts; all others are of the past. */
static bool normalise_always(struct ask *ask, size_t i)
{
    _cleanup_(buf_deinit) struct buf mark = BUF_INIT(NORMALISE_MARK_BYTES);
    struct turn *system = &ask->turns[0], *last = normalise_last(ask);
    struct span span;
    int n = 0;

    if (normalise_rules[i].moves && !last)
        return false;
    for (; n < NORMALISE_CUTS && normalise_span(&system->text, i, &span); n++) {
        normalise_keep(&system->text, &span, &mark);
        normalise_cut(&system->text, &span);
    }
    if (n && normalise_rules[i].moves)
        normalise_append(last, &mark);
    return n > 0;
}

/* what changes sometimes */

/* The one of that hash, or the one that was used longest ago, made free. */
static struct normalise_head *normalise_recall(struct normalise_memory *memory, uint64_t hash)
{
    struct normalise_head *found = &memory->heads[0];

    for (size_t i = 0; i < NORMALISE_HEADS; i++) {
        struct normalise_head *head = &memory->heads[i];

        if (head->used && head->head == hash)
            return head;
        if (head->used < found->used)
            found = head;
    }
    *found = (struct normalise_head){.head = hash};
    return found;
}

/* Whether these parts, in order, are to be moved: from the first change on. */
static bool normalise_changes(const struct buf *buf, const struct span *spans, size_t n,
                              struct normalise_memory *memory, const char *owner)
{
    const char *text = jout_buf_text(buf);
    uint64_t hash = fnv_hash(FNV_INIT, owner, strlen(owner) + 1), changing = FNV_INIT;
    struct normalise_head *head;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        hash = fnv_hash(hash, text + at, spans[i].from - at);
        changing = fnv_hash(changing, text + spans[i].from, spans[i].to - spans[i].from);
        at = spans[i].to;
    }
    hash = fnv_hash(hash, text + at, buf_size(buf) - at);
    head = normalise_recall(memory, hash);
    head->moves |= head->used && head->changing != changing;
    head->changing = changing;
    head->used = ++memory->clock;
    return head->moves;
}

/* The parts that are watched, first to last, apart from each other; bits of their rules. */
static unsigned normalise_watch(const struct buf *buf, struct span spans[NORMALISE_RULES], size_t *ret_n)
{
    unsigned rules = 0;
    size_t n = 0;

    for (size_t i = 0; i < NORMALISE_RULES; i++) {
        struct span span;
        size_t k = n;

        if (!normalise_rules[i].watched || !normalise_span(buf, i, &span))
            continue;
        while (k && spans[k - 1].from >= span.to)
            k--;
        if (k && spans[k - 1].to > span.from)
            continue;
        memmove(spans + k + 1, spans + k, (n++ - k) * sizeof(*spans));
        spans[k] = span;
        rules |= 1u << i;
    }
    *ret_n = n;
    return rules;
}

static unsigned normalise_sometimes(struct ask *ask, struct normalise_memory *memory, const char *owner)
{
    struct buf *text = &ask->turns[0].text;
    struct turn *last = normalise_last(ask);
    struct span spans[NORMALISE_RULES];
    size_t n;
    const unsigned rules = normalise_watch(text, spans, &n);

    if (!rules || !last || !normalise_changes(text, spans, n, memory, owner))
        return 0;
    while (n--) {
        _cleanup_(buf_deinit) struct buf mark = BUF_INIT(NORMALISE_MARK_BYTES);

        normalise_keep(text, &spans[n], &mark);
        normalise_cut(text, &spans[n]);
        normalise_append(last, &mark);
    }
    return rules;
}

unsigned normalise_turns(struct ask *ask, struct normalise_memory *memory, const char *owner)
{
    unsigned applied = 0;

    if (!ask->n_turns || ask->turns[0].role != QWEND_SYSTEM)
        return 0;
    for (size_t i = 0; i < NORMALISE_RULES; i++)
        if (!normalise_rules[i].watched && normalise_always(ask, i))
            applied |= 1u << i;
    return applied | normalise_sometimes(ask, memory, owner);
}

void normalise(struct gateway *g, struct ask *ask, const char *owner)
{
    const unsigned applied = g->options->normalise ? normalise_turns(ask, &g->heads, owner) : 0;

    for (size_t i = 0; i < NORMALISE_RULES; i++)
        if (applied & ~g->normalised & 1u << i)
            log_info("prompts change their head with each request: %s, from now on, so that they can be "
                     "reused (normalise = no turns that off)",
                     normalise_rules[i].what);
    g->normalised |= applied;
}
