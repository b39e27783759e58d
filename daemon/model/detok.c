/* detok.c - see detok.h.  Held bytes are always the start of a sequence that may still become whole. */
#include "detok.h"

#include <string.h>

#include "utf8.h"

#define DETOK_WRONG   "\xef\xbf\xbd" /* U+FFFD */
#define DETOK_N_WRONG (sizeof(DETOK_WRONG) - 1)

void detok_init(struct detok *d, const struct tokenizer *tokenizer)
{
    *d = (struct detok){.tokenizer = tokenizer};
}

size_t detok_max_bytes(const struct detok *d, int32_t id)
{
    return ((size_t)d->n_held + tokenizer_bytes(d->tokenizer, id).n) * DETOK_N_WRONG;
}

size_t detok_flush(struct detok *d, char *text)
{
    if (!d->n_held)
        return 0;
    d->n_held = 0;
    memcpy(text, DETOK_WRONG, DETOK_N_WRONG);
    return DETOK_N_WRONG;
}

/* Whether b goes on with the sequence that is held. */
static bool detok_fits(const struct detok *d, uint8_t b)
{
    return d->n_held == 1 ? utf8_second_fits(d->held[0], b) : (b & 0xc0) == 0x80;
}

static size_t detok_push_byte(struct detok *d, uint8_t b, char *text)
{
    size_t n = 0;

    if (d->n_held && !detok_fits(d, b))
        n = detok_flush(d, text);
    if (!d->n_held && !utf8_length(b)) {
        memcpy(text + n, DETOK_WRONG, DETOK_N_WRONG);
        return n + DETOK_N_WRONG;
    }
    d->held[d->n_held++] = b;
    if (d->n_held < utf8_length(d->held[0]))
        return n;
    memcpy(text + n, d->held, (size_t)d->n_held);
    n += (size_t)d->n_held;
    d->n_held = 0;
    return n;
}

size_t detok_push(struct detok *d, int32_t id, char *text)
{
    struct gguf_str bytes = tokenizer_bytes(d->tokenizer, id);
    size_t n = 0;

    if (!d->keep_control && tokenizer_is_control(d->tokenizer, id))
        return 0;
    for (size_t i = 0; i < bytes.n; i++)
        n += detok_push_byte(d, (uint8_t)bytes.s[i], text + n);
    return n;
}
