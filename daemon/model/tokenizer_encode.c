/* tokenizer_encode.c - text to token ids: added tokens, normal form C, split, merges (qwen35-math §5).
 *
 * Everything that a call needs beside the tokenizer lives in struct encoder and is gone when it returns, so
 * that one tokenizer serves many threads.  No step is worse than n log n, whatever the text is. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "split.h"
#include "tokenizer_vocab.h"
#include "unicode.h"
#include "utf8.h"

enum {
    ENCODER_TEXT_MAX =
        256 << 20, /* bytes; offsets into its normal form (at most three times as long) fit 32 bits */
    ENCODER_PIECE_CACHED = 64,   /* bytes; longer pieces hardly ever come twice */
    ENCODER_CACHE_MAX = 1 << 14, /* slots, 256 KiB: the working set of ordinary text, and inside L2 */
};

/* A piece of this text that was merged before: where it is in the normal form, and where its ids are. */
struct encoder_seen {
    uint32_t text, n_bytes, ids, n_ids;
}; /* n_bytes 0: empty */

struct encoder {
    const struct tokenizer *t;
    struct token_ids *ids;
    struct unicode_text norm;  /* the normal form of everything so far, added tokens left out */
    struct encoder_seen *seen; /* [seen_mask + 1] direct-mapped */
    uint32_t seen_mask;
    /* merging one piece: symbol i starts at byte i of it */
    size_t n_symbols_max;
    int32_t *id;           /* [n_symbols_max] -1: swallowed by the symbol before */
    uint32_t *next, *prev; /* [n_symbols_max] next: n at the end; prev: UINT32_MAX at the start */
    uint64_t *heap;        /* [2 * n_symbols_max] rank << 32 | symbol, smallest first */
    size_t n_heap;
};

/* merges */
static int encoder_reserve(struct encoder *e, size_t n)
{
    size_t max = MAX(e->n_symbols_max * 2, MAX(n, (size_t)256));

    if (n <= e->n_symbols_max)
        return 0;
    free(e->heap);
    e->n_symbols_max = 0;
    /* one block: 8-byte heap first, then the 4-byte arrays */
    e->heap = malloc(max * (2 * sizeof(*e->heap) + sizeof(*e->id) + sizeof(*e->next) + sizeof(*e->prev)));
    if (!e->heap)
        return err_origin(-ENOMEM);
    e->id = (int32_t *)(e->heap + 2 * max);
    e->next = (uint32_t *)(e->id + max);
    e->prev = e->next + max;
    e->n_symbols_max = max;
    return 0;
}

static void encoder_heap_push(struct encoder *e, uint64_t key)
{
    size_t i = e->n_heap++;

    for (; i && e->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = key;
}

static uint64_t encoder_heap_pop(struct encoder *e)
{
    uint64_t top = e->heap[0], key = e->heap[--e->n_heap];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < e->n_heap; i = child) {
        if (child + 1 < e->n_heap && e->heap[child + 1] < e->heap[child])
            child++;
        if (e->heap[child] >= key)
            break;
        e->heap[i] = e->heap[child];
    }
    e->heap[i] = key;
    return top;
}

/* Queues the merge of symbol i with the one after it, if there is such a merge. */
static void encoder_queue(struct encoder *e, uint32_t i, uint32_t n)
{
    uint32_t rank;

    if (i == UINT32_MAX || e->next[i] == n)
        return;
    rank = tokenizer_find_merge(e->t, e->id[i], e->id[e->next[i]]);
    if (rank != UINT32_MAX)
        encoder_heap_push(e, (uint64_t)rank << 32 | i);
}

/* Does the queued merge unless an earlier one took one of its symbols. */
static void encoder_merge(struct encoder *e, uint64_t key, uint32_t n)
{
    const struct tokenizer_merge *m = &e->t->merges[key >> 32];
    uint32_t i = (uint32_t)key, right = e->next[i];

    if (e->id[i] != m->left || right == n || e->id[right] != m->right)
        return;
    e->id[i] = m->whole;
    e->id[right] = -1;
    e->next[i] = e->next[right];
    if (e->next[i] < n)
        e->prev[e->next[i]] = i;
    encoder_queue(e, e->prev[i], n);
    encoder_queue(e, i, n);
}

/* Lowest rank first, leftmost among equals.  Each merge takes one entry and adds at most two, so 2 n slots
 * are enough. */
static int encoder_piece(struct encoder *e, const char *s, uint32_t n)
{
    int r = encoder_reserve(e, n);

    if (r)
        return r;
    for (uint32_t i = 0; i < n; i++) {
        e->id[i] = e->t->byte_id[(uint8_t)s[i]];
        e->next[i] = i + 1;
        e->prev[i] = i - 1;
    }
    e->n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        encoder_queue(e, i, n);
    while (e->n_heap)
        encoder_merge(e, encoder_heap_pop(e), n);
    for (uint32_t i = 0; i < n && !r; i = e->next[i])
        r = token_ids_push(e->ids, e->id[i]);
    return r;
}

/* pieces seen before */
static struct encoder_seen *encoder_seen_slot(const struct encoder *e, const char *s, size_t n)
{
    uint64_t h = n;

    for (; n >= 8; s += 8, n -= 8) {
        uint64_t word;

        memcpy(&word, s, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (; n; s++, n--)
        h = (h ^ (uint8_t)*s) * 0x9e3779b97f4a7c15u;
    return &e->seen[h >> 40 & e->seen_mask];
}

/* Appends the ids of the piece at [text, text + n) of the normal form. */
static int encoder_piece_cached(struct encoder *e, uint32_t text, uint32_t n)
{
    const char *s = e->norm.s + text;
    struct encoder_seen *seen;
    uint32_t first = (uint32_t)e->ids->n;
    int r = 0;

    if (n == 1)
        return token_ids_push(e->ids, e->t->byte_id[(uint8_t)s[0]]);
    if (n > ENCODER_PIECE_CACHED)
        return encoder_piece(e, s, n);
    seen = encoder_seen_slot(e, s, n);
    if (seen->n_bytes == n && !memcmp(e->norm.s + seen->text, s, n)) {
        for (uint32_t i = 0; i < seen->n_ids && !r; i++)
            r = token_ids_push(e->ids, e->ids->id[seen->ids + i]);
        return r;
    }
    r = encoder_piece(e, s, n);
    if (!r)
        *seen = (struct encoder_seen){text, n, first, (uint32_t)e->ids->n - first};
    return r;
}

/* A stretch of text between added tokens. */
static int encoder_stretch(struct encoder *e, const char *s, size_t n)
{
    size_t i = e->norm.n, stretch = i;
    int r = unicode_nfc_append(&e->norm, s, n);

    while (!r && i < e->norm.n) {
        size_t end = stretch + split_next(e->norm.s + stretch, e->norm.n - stretch, i - stretch);

        r = encoder_piece_cached(e, (uint32_t)i, (uint32_t)(end - i));
        i = end;
    }
    return r;
}

/* added tokens */
struct encoder_match {
    size_t at, n;
    int32_t id;
}; /* n 0: none */

/* The first of added[lo..hi), which all start with the same depth bytes, whose next byte is not below byte.
 */
static uint32_t encoder_narrow(const struct tokenizer *t, uint32_t lo, uint32_t hi, size_t depth, int byte)
{
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;

        if ((uint8_t)tokenizer_bytes(t, t->added[mid]).s[depth] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest added token that s starts with; n > 0. */
static struct encoder_match encoder_longest_added(const struct tokenizer *t, const char *s, size_t n,
                                                  enum tokenizer_special special)
{
    uint32_t lo = t->added_from[(uint8_t)s[0]], hi = t->added_from[(uint8_t)s[0] + 1];
    struct encoder_match best = {0};

    for (size_t depth = 1; lo < hi; depth++) {
        int32_t id = t->added[lo];

        if (tokenizer_bytes(t, id).n == depth) { /* the shortest sorts first, and no two are equal */
            if (special == TOKENIZER_ALL || t->type[id] == TOKENIZER_USER_DEFINED)
                best = (struct encoder_match){.n = depth, .id = id};
            lo++;
        }
        if (depth == n)
            break;
        lo = encoder_narrow(t, lo, hi, depth, (uint8_t)s[depth]);
        hi = encoder_narrow(t, lo, hi, depth, (uint8_t)s[depth] + 1);
    }
    return best;
}

struct encoder_input {
    const char *s;
    size_t n;
    enum tokenizer_special special;
    const struct tokenizer_plain *plain; /* what is left of them */
    size_t n_plain;
};

/* The next added token from i on that touches no plain range; leftmost, then longest. */
static struct encoder_match encoder_find_added(const struct tokenizer *t, struct encoder_input *in, size_t i)
{
    struct encoder_match none = {.at = in->n};

    if (in->special == TOKENIZER_NONE)
        return none;
    for (; i < in->n; i++) {
        struct encoder_match m;
        size_t limit = in->n;

        while (in->n_plain && (in->plain->end <= i || in->plain->begin == in->plain->end))
            in->plain++, in->n_plain--;
        if (in->n_plain && in->plain->begin <= i) {
            i = in->plain->end - 1;
            continue;
        }
        if (t->added_from[(uint8_t)in->s[i]] == t->added_from[(uint8_t)in->s[i] + 1])
            continue;
        if (in->n_plain)
            limit = in->plain->begin;
        m = encoder_longest_added(t, in->s + i, limit - i, in->special);
        m.at = i;
        if (m.n)
            return m;
    }
    return none;
}

static int encoder_run(struct encoder *e, struct encoder_input *in)
{
    int r = 0;

    for (size_t i = 0; i < in->n && !r;) {
        struct encoder_match m = encoder_find_added(e->t, in, i);

        r = encoder_stretch(e, in->s + i, m.at - i);
        if (!r && m.n)
            r = token_ids_push(e->ids, m.id);
        i = m.at + m.n;
    }
    return r;
}

static int encoder_init(struct encoder *e, const struct tokenizer *t, struct token_ids *ids, size_t n_text)
{
    uint32_t slots = 16;

    while (slots < n_text / 4 && slots < ENCODER_CACHE_MAX)
        slots *= 2;
    *e = (struct encoder){.t = t, .ids = ids, .seen_mask = slots - 1};
    e->seen = calloc(slots, sizeof(*e->seen));
    return e->seen ? 0 : err_origin(-ENOMEM);
}

static void encoder_deinit(struct encoder *e)
{
    free(e->seen);
    free(e->heap);
    unicode_text_deinit(&e->norm);
}

static bool encoder_plain_is_sorted(const struct tokenizer_plain *plain, size_t n_plain, size_t n_text)
{
    for (size_t i = 0; i < n_plain; i++)
        if (plain[i].begin > plain[i].end || plain[i].end > n_text ||
            (i && plain[i].begin < plain[i - 1].end))
            return false;
    return true;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_text,
                     enum tokenizer_special special, const struct tokenizer_plain *plain, size_t n_plain,
                     struct fault *fault, struct token_ids *ids)
{
    struct encoder_input in = {text, n_text, special, plain, n_plain};
    size_t n_before = ids->n, valid;
    struct encoder e;
    int r;

    assert(encoder_plain_is_sorted(plain, n_plain, n_text));
    if (n_text > ENCODER_TEXT_MAX)
        return fault_set(fault, TOKENIZER_E_FULL, "the text has %zu bytes, at most %d are allowed", n_text,
                         ENCODER_TEXT_MAX);
    valid = utf8_valid_prefix(text, n_text);
    if (valid < n_text)
        return fault_set(fault, TOKENIZER_E_UTF8, "the text is not valid UTF-8 at byte %zu of %zu", valid,
                         n_text);
    r = encoder_init(&e, t, ids, n_text);
    if (!r)
        r = encoder_run(&e, &in);
    encoder_deinit(&e);
    if (r)
        ids->n = n_before;
    if (r == TOKENIZER_E_FULL)
        fault_set(fault, r, "the text has more than %zu tokens", ids->max - n_before);
    return r;
}
