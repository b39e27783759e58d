/* fuzz_tokenizer.c - libFuzzer target: text to ids and back, and vocabularies out of hostile files.
 *
 * The first byte says what the rest is: with its top bit a GGUF file, whose vocabulary is loaded and used;
 * else a text for the golden vocabulary, with the mode and the plain ranges that the lower bits choose.  What
 * must hold: invalid UTF-8 is refused at its first wrong byte; ids are in range; without added tokens the ids
 * decode to the text's normal form; a text that is plain as a whole gives the ids of the mode without added
 * tokens. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/model/detok.h"
#include "daemon/model/unicode.h"
#include "daemon/model/utf8.h"
#include "fuzz_vocab.h"

enum {
    FUZZ_FILE = 0x80,      /* the rest is a file */
    FUZZ_PLAIN = 0x04,     /* its second quarter is plain */
    FUZZ_PLAIN_ALL = 0x08, /* all of it is */
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct tokenizer *fuzz_tokenizer;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_tokenizer = fuzz_vocab();
    return 0;
}

/* Decodes; every step must give whole characters only. */
static void fuzz_decode(const struct tokenizer *t, const struct token_ids *ids, struct unicode_text *text)
{
    struct detok d;
    char end[4];

    detok_init(&d, t);
    d.keep_control = true;
    for (size_t i = 0; i < ids->n; i++) {
        _cleanup_(freep) char *out = malloc(detok_max_bytes(&d, ids->id[i]) + 1);
        size_t n;

        assert(out);
        n = detok_push(&d, ids->id[i], out);
        assert(utf8_valid_prefix(out, n) == n);
        assert(!unicode_text_append(text, out, n));
    }
    assert(!unicode_text_append(text, end, detok_flush(&d, end)));
}

static void fuzz_check_normal_form(const struct tokenizer *t, const char *s, size_t n,
                                   const struct token_ids *ids)
{
    struct unicode_text want = {0}, got = {0}, again = {0};

    assert(!unicode_nfc_append(&want, s, n));
    assert(!unicode_nfc_append(&again, want.s, want.n));
    assert(again.n == want.n && !memcmp(again.s ? again.s : "", want.s ? want.s : "", want.n));
    fuzz_decode(t, ids, &got);
    assert(got.n == want.n && !memcmp(got.s ? got.s : "", want.s ? want.s : "", want.n));
    unicode_text_deinit(&want);
    unicode_text_deinit(&got);
    unicode_text_deinit(&again);
}

static void fuzz_text(const struct tokenizer *t, unsigned options, const char *s, size_t n)
{
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT, none = TOKEN_IDS_INIT;
    const enum tokenizer_special special = (enum tokenizer_special)((options & 3) % 3);
    const bool all = options & FUZZ_PLAIN_ALL;
    const struct tokenizer_plain plain = {all ? 0 : n / 4, all ? n : n / 2};
    struct fault fault = {0};
    int r = tokenizer_encode(t, s, n, special, &plain, all || (options & FUZZ_PLAIN), &fault, &ids);
    char where[64];

    if (r) {
        snprintf(where, sizeof(where), "at byte %zu of %zu", utf8_valid_prefix(s, n), n);
        assert(r == TOKENIZER_E_UTF8 && strstr(fault.text, where) && !ids.n);
        return;
    }
    assert(utf8_valid_prefix(s, n) == n);
    for (size_t i = 0; i < ids.n; i++)
        assert(ids.id[i] >= 0 && ids.id[i] < tokenizer_n_vocab(t) && tokenizer_bytes(t, ids.id[i]).n);
    assert(!tokenizer_encode(t, s, n, TOKENIZER_NONE, NULL, 0, NULL, &none));
    fuzz_check_normal_form(t, s, n, &none);
    if (all)
        assert(ids.n == none.n && (!ids.n || !memcmp(ids.id, none.id, ids.n * sizeof(*ids.id))));
}

static void fuzz_file(const uint8_t *data, size_t n)
{
    static const char text[] = "The <|im_start|>quick<think> brown e\u0301 fox 12\n\n";
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    _cleanup_(gguf_freep) struct gguf *gguf = NULL;
    struct fault fault = {0};
    int r = gguf_open_memory(data, n, &fault, &gguf);

    if (!r)
        r = tokenizer_new(gguf, &fault, &t);
    if (r) {
        assert(r < 0 || (fault.text[0] && fault.code));
        return;
    }
    for (unsigned options = 0; options < 16; options++)
        fuzz_text(t, options, text, sizeof(text) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    _cleanup_(freep) uint8_t *exact =
        n > 1 ? malloc(n - 1) : NULL; /* so that reading one byte too far is seen */

    if (!exact)
        return 0;
    memcpy(exact, data + 1, n - 1);
    if (data[0] & FUZZ_FILE)
        fuzz_file(exact, n - 1);
    else
        fuzz_text(fuzz_tokenizer, data[0], (const char *)exact, n - 1);
    return 0;
}
