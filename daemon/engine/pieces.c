/* pieces.c - from sampled token ids to pieces of text.  See pieces.h. */
#include "pieces.h"

#include <assert.h>
#include <string.h>

/* Beyond the token's own text one push may release what was held back: a part of </think> and of a stop
 * string. */
enum { PIECES_HELD_MAX = 8 + STOP_BYTES_MAX };

size_t pieces_max_raw(const struct tokenizer *tokenizer)
{
    const int n_vocab = tokenizer_n_vocab(tokenizer);
    size_t max = 0;

    for (int32_t id = 0; id < n_vocab; id++)
        max = MAX(max, tokenizer_bytes(tokenizer, id).n);
    return 3 * (max + DETOK_HOLD_MAX); /* at worst each byte becomes U+FFFD, three bytes */
}

int pieces_init(struct pieces *p, const struct pieces_config *config, struct fault *fault)
{
    int r;

    *p = (struct pieces){
        .close_id = tokenizer_find(config->tokenizer, "</think>"),
        .max_raw = config->max_raw,
        .cap = 2 * config->max_raw + PIECES_HELD_MAX, /* a push and an end */
    };
    detok_init(&p->detok, config->tokenizer);
    think_init(&p->think, config->reasoning, p->close_id < 0);
    r = stop_init(&p->stop, config->stops, config->n_stops, p->cap, fault);
    if (r)
        return r;
    p->raw = malloc(p->max_raw);
    p->text = malloc(p->cap);
    if (p->raw && p->text)
        return 0;
    pieces_deinit(p);
    return err_origin(-ENOMEM);
}

void pieces_deinit(struct pieces *p)
{
    stop_deinit(&p->stop);
    free(p->raw);
    free(p->text);
    *p = (struct pieces){.stop.found = -1};
}

static void pieces_add(struct pieces *p, bool answer, const char *s, size_t n)
{
    struct piece *last = p->n_items ? &p->items[p->n_items - 1] : NULL;

    if (!n)
        return;
    assert(n <= p->cap - p->n_text);
    memcpy(p->text + p->n_text, s, n);
    if (last && last->answer == answer) {
        last->n += n;
    } else {
        assert(p->n_items <
               (int)ARRAY_SIZE(p->items)); /* the answer follows the reasoning, never the other way */
        p->items[p->n_items++] = (struct piece){answer, p->text + p->n_text, n};
    }
    p->n_text += n;
}

static void pieces_add_run(struct pieces *p, const struct think_run *run)
{
    const char *s = run->s;
    size_t n = run->n;

    if (run->answer)
        stop_push(&p->stop, s, n, &s, &n);
    pieces_add(p, run->answer, s, n);
}

static void pieces_add_raw(struct pieces *p, size_t n)
{
    const char *s = p->raw;
    struct think_run run;

    assert(n <= p->max_raw);
    while (think_next(&p->think, &s, &n, &run))
        pieces_add_run(p, &run);
}

void pieces_push(struct pieces *p, int32_t id)
{
    p->n_items = 0;
    p->n_text = 0;
    if (p->stop.found >= 0)
        return;
    if (id == p->close_id && pieces_in_reasoning(p)) {
        pieces_add_raw(p, detok_flush(&p->detok, p->raw));
        think_close(&p->think);
        return;
    }
    assert(detok_max_bytes(&p->detok, id) <= p->max_raw);
    pieces_add_raw(p, detok_push(&p->detok, id, p->raw));
}

void pieces_end(struct pieces *p)
{
    struct think_run run;
    const char *s;
    size_t n;

    if (p->stop.found >= 0)
        return;
    pieces_add_raw(p, detok_flush(&p->detok, p->raw));
    if (think_flush(&p->think, &run))
        pieces_add_run(p, &run);
    stop_flush(&p->stop, &s, &n);
    pieces_add(p, true, s, n);
}
