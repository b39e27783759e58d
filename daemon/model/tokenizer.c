/* tokenizer.c - reads the vocabulary out of a GGUF file and answers questions about tokens.
 *
 * A normal token is spelled in the file with one printable character per byte (GPT-2's byte alphabet); here
 * all tokens are kept as the bytes they stand for.  Everything is checked while loading, so that encoding
 * cannot meet an id out of range, a byte without a token or two merges of one pair. */
#include "tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_vocab.h"
#include "utf8.h"

#define TOKENIZER_KEY_TOKENS "tokenizer.ggml.tokens"
#define TOKENIZER_KEY_TYPES  "tokenizer.ggml.token_type"
#define TOKENIZER_KEY_MERGES "tokenizer.ggml.merges"
#define TOKENIZER_KEY_EOS    "tokenizer.ggml.eos_token_id"

enum {
    TOKENIZER_VOCAB_MAX = 1 << 22, /* 17 times the 9B's; keeps every table below 2^32 bytes */
    TOKENIZER_TOKEN_MAX = 1 << 10, /* bytes of one token, as many as it may have on the wire; the longest
                                    * real ones, runs of blanks and rules, have a few hundred */
    TOKENIZER_SPELLED_MAX = 2 * TOKENIZER_TOKEN_MAX, /* a byte is spelled with one or two */
    TOKENIZER_ALPHABET =
        256 + 68, /* one past the last character of the byte alphabet: 68 bytes are moved to U+0100 on */
};

struct tokenizer_loader {
    struct tokenizer *t;
    struct fault *fault;
    int16_t byte_of[TOKENIZER_ALPHABET]; /* character -> byte; -1: not in the alphabet */
    int32_t *index;                      /* normal tokens by their bytes, open addressing; -1: empty */
    uint32_t index_mask;
};

/* token ids */
void token_ids_deinit(struct token_ids *ids)
{
    free(ids->id);
    *ids = (struct token_ids){.max = ids->max};
}

int token_ids_push(struct token_ids *ids, int32_t id)
{
    if (ids->max && ids->n >= ids->max)
        return TOKENIZER_E_FULL;
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *grown = realloc(ids->id, cap * sizeof(*grown));

        if (!grown)
            return err_origin(-ENOMEM);
        ids->id = grown;
        ids->cap = cap;
    }
    ids->id[ids->n++] = id;
    return TOKENIZER_OK;
}

/* loading: metadata */
static int tokenizer_expect(const struct gguf *gguf, const char *key, const char *want, struct fault *fault)
{
    struct gguf_str value;
    int r = gguf_get_str(gguf, key, fault, &value);

    if (r)
        return r < 0 ? r : TOKENIZER_E_VOCAB;
    if (value.n != strlen(want) || memcmp(value.s, want, value.n))
        return fault_set(fault, TOKENIZER_E_VOCAB, "%s is \"%s\", should be \"%s\"", key,
                         gguf_label(value).text, want);
    return TOKENIZER_OK;
}

static int tokenizer_get_array(const struct gguf *gguf, const char *key, uint32_t type, struct fault *fault,
                               struct gguf_array *ret_array)
{
    struct gguf_array array;
    int r = gguf_get_array(gguf, key, type, fault, &array);

    if (r)
        return r < 0 ? r : TOKENIZER_E_VOCAB;
    if (array.n > TOKENIZER_VOCAB_MAX)
        return fault_set(fault, TOKENIZER_E_VOCAB, "%s has %llu entries, at most %d are allowed", key,
                         (unsigned long long)array.n, TOKENIZER_VOCAB_MAX);
    *ret_array = array;
    return TOKENIZER_OK;
}

/* loading: tokens */
/* GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes in order for U+0100, U+0101 and so
 * on. */
static void tokenizer_make_alphabet(struct tokenizer_loader *l)
{
    int moved = 0;

    memset(l->byte_of, -1, sizeof(l->byte_of));
    for (int b = 0; b < 256; b++) {
        bool stays = (b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad);

        l->byte_of[stays ? b : 256 + moved++] = (int16_t)b;
    }
}

/* Turns a spelling into bytes; out has room for s.n.  Returns how many, or -1: some character is not in the
 * alphabet. */
static int tokenizer_unspell(const struct tokenizer_loader *l, struct gguf_str s, char *out)
{
    int n = 0, len;

    for (size_t i = 0; i < s.n; i += (size_t)len) {
        uint32_t cp = utf8_get(s.s + i, &len);

        if (cp >= TOKENIZER_ALPHABET || l->byte_of[cp] < 0)
            return -1;
        out[n++] = (char)l->byte_of[cp];
    }
    return n;
}

/* Appends token i to t->bytes, which has room for s.n. */
static int tokenizer_load_token(struct tokenizer_loader *l, uint32_t i, struct gguf_str s)
{
    struct tokenizer *t = l->t;
    char *out = t->bytes + t->begin[i];
    int n = (int)s.n;

    if (s.n > TOKENIZER_SPELLED_MAX)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_TOKENS "[%u] is spelled with %zu bytes, at most %d are allowed", i,
                         s.n, TOKENIZER_SPELLED_MAX);
    if (utf8_valid_prefix(s.s, s.n) != s.n)
        return fault_set(l->fault, TOKENIZER_E_VOCAB, TOKENIZER_KEY_TOKENS "[%u] is not valid UTF-8", i);
    if (t->type[i] == TOKENIZER_UNUSED)
        n = 0;
    else if (!s.n)
        return fault_set(l->fault, TOKENIZER_E_VOCAB, TOKENIZER_KEY_TOKENS "[%u] is empty", i);
    else if (t->type[i] == TOKENIZER_NORMAL)
        n = tokenizer_unspell(l, s, out);
    else
        memcpy(out, s.s, s.n);
    if (n > TOKENIZER_TOKEN_MAX)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_TOKENS "[%u] has %d bytes, at most %d are allowed", i, n,
                         TOKENIZER_TOKEN_MAX);
    if (n < 0)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_TOKENS "[%u] has a character that stands for no byte", i);
    t->begin[i + 1] = t->begin[i] + (uint32_t)n;
    return TOKENIZER_OK;
}

static int tokenizer_load_type(struct tokenizer_loader *l, uint32_t i, const uint8_t *data)
{
    int32_t type;

    memcpy(&type, data + (size_t)i * sizeof(type), sizeof(type));
    if (type != TOKENIZER_NORMAL && type != TOKENIZER_CONTROL && type != TOKENIZER_USER_DEFINED &&
        type != TOKENIZER_UNUSED)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_TYPES
                         "[%u] is %d, should be 1 (normal), 3 (control), 4 (user-defined) or 5 (unused)",
                         i, type);
    l->t->type[i] = (uint8_t)type;
    return TOKENIZER_OK;
}

/* How many bytes all spellings have together; none of them can stand for more. */
static uint64_t tokenizer_total_bytes(const struct gguf_array *tokens)
{
    const uint8_t *cursor = tokens->data;
    uint64_t total = 0;

    for (uint64_t i = 0; i < tokens->n; i++)
        total += gguf_array_next_str(&cursor).n;
    return total;
}

static int tokenizer_load_tokens(struct tokenizer_loader *l, const struct gguf *gguf)
{
    struct tokenizer *t = l->t;
    struct gguf_array tokens, types;
    const uint8_t *cursor;
    uint64_t total;
    int r = tokenizer_get_array(gguf, TOKENIZER_KEY_TOKENS, GGUF_STR, l->fault, &tokens);

    if (!r)
        r = tokenizer_get_array(gguf, TOKENIZER_KEY_TYPES, GGUF_I32, l->fault, &types);
    if (r)
        return r;
    if (types.n != tokens.n)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_TYPES " has %llu entries, " TOKENIZER_KEY_TOKENS " %llu",
                         (unsigned long long)types.n, (unsigned long long)tokens.n);
    total = tokenizer_total_bytes(&tokens);
    if (total > UINT32_MAX)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_TOKENS " has %llu bytes of text, at most %u are allowed",
                         (unsigned long long)total, UINT32_MAX);
    t->n_vocab = (int)tokens.n;
    t->bytes = malloc(total + 1);
    t->begin = calloc(tokens.n + 1, sizeof(*t->begin));
    t->type = malloc(tokens.n + 1);
    if (!t->bytes || !t->begin || !t->type)
        return err_origin(-ENOMEM);
    cursor = tokens.data;
    for (uint32_t i = 0; i < tokens.n && !r; i++) {
        r = tokenizer_load_type(l, i, types.data);
        if (!r)
            r = tokenizer_load_token(l, i, gguf_array_next_str(&cursor));
    }
    return r;
}

/* loading: normal tokens by their bytes */
static uint32_t tokenizer_hash_bytes(const char *s, size_t n)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h ^ h >> 15;
}

/* The slot of these bytes: the token's, or the empty one where it would be put. */
static int32_t *tokenizer_index_slot(const struct tokenizer_loader *l, const char *s, size_t n)
{
    uint32_t i = tokenizer_hash_bytes(s, n) & l->index_mask;

    for (; l->index[i] >= 0; i = (i + 1) & l->index_mask) {
        struct gguf_str other = tokenizer_bytes(l->t, l->index[i]);

        if (other.n == n && !memcmp(other.s, s, n))
            break;
    }
    return &l->index[i];
}

/* The smallest power of two that leaves at least half of a table of n entries empty. */
static uint32_t tokenizer_table_size(uint32_t n)
{
    uint32_t size = 16;

    while (size < n * 2)
        size *= 2;
    return size;
}

static int tokenizer_index_tokens(struct tokenizer_loader *l)
{
    uint32_t size = tokenizer_table_size((uint32_t)l->t->n_vocab);

    l->index = malloc(size * sizeof(*l->index));
    if (!l->index)
        return err_origin(-ENOMEM);
    memset(l->index, -1, size * sizeof(*l->index));
    l->index_mask = size - 1;
    for (int32_t i = 0; i < l->t->n_vocab; i++) {
        struct gguf_str s = tokenizer_bytes(l->t, i);
        int32_t *slot;

        if (l->t->type[i] != TOKENIZER_NORMAL)
            continue;
        slot = tokenizer_index_slot(l, s.s, s.n);
        if (*slot >= 0)
            return fault_set(l->fault, TOKENIZER_E_VOCAB, TOKENIZER_KEY_TOKENS "[%d] is the same as [%d]", i,
                             *slot);
        *slot = i;
    }
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;

        l->t->byte_id[b] = *tokenizer_index_slot(l, &byte, 1);
        if (l->t->byte_id[b] < 0)
            return fault_set(l->fault, TOKENIZER_E_VOCAB,
                             TOKENIZER_KEY_TOKENS " has no token for the byte 0x%02x", b);
    }
    return TOKENIZER_OK;
}

/* loading: merges */
static int tokenizer_add_merge(struct tokenizer_loader *l, uint32_t rank, struct tokenizer_merge merge)
{
    struct tokenizer *t = l->t;
    uint32_t i = tokenizer_hash_pair(merge.left, merge.right) & t->slot_mask;

    for (; t->slots[i].left >= 0; i = (i + 1) & t->slot_mask)
        if (t->slots[i].left == merge.left && t->slots[i].right == merge.right)
            return fault_set(l->fault, TOKENIZER_E_VOCAB, TOKENIZER_KEY_MERGES "[%u] is the same as [%u]",
                             rank, t->slots[i].rank);
    t->slots[i] = (struct tokenizer_slot){merge.left, merge.right, rank};
    t->merges[rank] = merge;
    return TOKENIZER_OK;
}

/* s is two spelled tokens with a space between them; a space is not in the alphabet. */
static int tokenizer_load_merge(struct tokenizer_loader *l, uint32_t rank, struct gguf_str s)
{
    const char *space = s.n <= 2 * TOKENIZER_SPELLED_MAX ? memchr(s.s, ' ', s.n) : NULL;
    char bytes[2 * TOKENIZER_SPELLED_MAX];
    struct tokenizer_merge merge;
    int n_left, n_right;

    if (!space || utf8_valid_prefix(s.s, s.n) != s.n)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_MERGES "[%u] is not two tokens with a space between", rank);
    n_left = tokenizer_unspell(l, (struct gguf_str){s.s, (size_t)(space - s.s)}, bytes);
    if (n_left > 0)
        n_right = tokenizer_unspell(l, (struct gguf_str){space + 1, s.n - (size_t)(space + 1 - s.s)},
                                    bytes + n_left);
    if (n_left <= 0 || n_right <= 0)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_MERGES "[%u] is not two tokens with a space between", rank);
    merge.left = *tokenizer_index_slot(l, bytes, (size_t)n_left);
    merge.right = *tokenizer_index_slot(l, bytes + n_left, (size_t)n_right);
    merge.whole = *tokenizer_index_slot(l, bytes, (size_t)(n_left + n_right));
    if (merge.left < 0 || merge.right < 0 || merge.whole < 0)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         TOKENIZER_KEY_MERGES "[%u]: %s is not in " TOKENIZER_KEY_TOKENS, rank,
                         merge.left < 0    ? "its left part"
                         : merge.right < 0 ? "its right part"
                                           : "what it makes");
    return tokenizer_add_merge(l, rank, merge);
}

static int tokenizer_load_merges(struct tokenizer_loader *l, const struct gguf *gguf)
{
    struct tokenizer *t = l->t;
    struct gguf_array merges;
    const uint8_t *cursor;
    uint32_t size;
    int r = tokenizer_get_array(gguf, TOKENIZER_KEY_MERGES, GGUF_STR, l->fault, &merges);

    if (r)
        return r;
    size = tokenizer_table_size((uint32_t)merges.n);
    t->n_merges = (uint32_t)merges.n;
    t->merges = malloc(MAX(merges.n, (uint64_t)1) * sizeof(*t->merges));
    t->slots = malloc(size * sizeof(*t->slots));
    if (!t->merges || !t->slots)
        return err_origin(-ENOMEM);
    memset(t->slots, -1, size * sizeof(*t->slots));
    t->slot_mask = size - 1;
    cursor = merges.data;
    for (uint32_t rank = 0; rank < t->n_merges && !r; rank++)
        r = tokenizer_load_merge(l, rank, gguf_array_next_str(&cursor));
    return r;
}

/* loading: added tokens and stops */
static int tokenizer_compare_bytes(struct gguf_str a, struct gguf_str b)
{
    int order = memcmp(a.s, b.s, MIN(a.n, b.n));

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int tokenizer_compare_added(const void *a, const void *b, void *t)
{
    return tokenizer_compare_bytes(tokenizer_bytes(t, *(const int32_t *)a),
                                   tokenizer_bytes(t, *(const int32_t *)b));
}

static bool tokenizer_is_added(const struct tokenizer *t, int32_t id)
{
    return t->type[id] == TOKENIZER_CONTROL || t->type[id] == TOKENIZER_USER_DEFINED;
}

static int tokenizer_sort_added(struct tokenizer_loader *l)
{
    struct tokenizer *t = l->t;
    uint32_t n = 0;

    for (int32_t i = 0; i < t->n_vocab; i++)
        t->n_added += tokenizer_is_added(t, i);
    t->added = malloc(MAX(t->n_added, 1u) * sizeof(*t->added));
    if (!t->added)
        return err_origin(-ENOMEM);
    for (int32_t i = 0; i < t->n_vocab; i++)
        if (tokenizer_is_added(t, i))
            t->added[n++] = i;
    qsort_r(t->added, n, sizeof(*t->added), tokenizer_compare_added, t);
    for (uint32_t i = 0; i < n; i++) {
        if (i && !tokenizer_compare_added(&t->added[i - 1], &t->added[i], t))
            return fault_set(l->fault, TOKENIZER_E_VOCAB, TOKENIZER_KEY_TOKENS "[%d] is the same as [%d]",
                             t->added[i], t->added[i - 1]);
        t->added_from[(uint8_t)tokenizer_bytes(t, t->added[i]).s[0] + 1]++;
    }
    for (int b = 0; b < 256; b++)
        t->added_from[b + 1] += t->added_from[b];
    return TOKENIZER_OK;
}

static void tokenizer_add_stop(struct tokenizer *t, int32_t id)
{
    if (id >= 0 && !tokenizer_is_stop(t, id))
        t->stop[t->n_stop++] = id;
}

static int tokenizer_load_stops(struct tokenizer_loader *l, const struct gguf *gguf)
{
    struct tokenizer *t = l->t;
    uint32_t eos;

    if (gguf_has(gguf, TOKENIZER_KEY_EOS)) {
        int r = gguf_get_u32(gguf, TOKENIZER_KEY_EOS, 0, (uint32_t)t->n_vocab - 1, l->fault, &eos);

        if (r)
            return r < 0 ? r : TOKENIZER_E_VOCAB;
        tokenizer_add_stop(t, (int32_t)eos);
    }
    tokenizer_add_stop(t, tokenizer_find(t, "<|im_end|>"));
    tokenizer_add_stop(t, tokenizer_find(t, "<|endoftext|>"));
    if (!t->n_stop)
        return fault_set(l->fault, TOKENIZER_E_VOCAB,
                         "no token ends an answer: " TOKENIZER_KEY_EOS
                         ", <|im_end|> and <|endoftext|> are all missing");
    return TOKENIZER_OK;
}

int tokenizer_new(const struct gguf *gguf, struct fault *fault, struct tokenizer **ret_tokenizer)
{
    _cleanup_(tokenizer_freep) struct tokenizer *t = calloc(1, sizeof(*t));
    struct tokenizer_loader l = {.t = t, .fault = fault};
    int r;

    if (!t)
        return err_origin(-ENOMEM);
    tokenizer_make_alphabet(&l);
    r = tokenizer_expect(gguf, "tokenizer.ggml.model", "gpt2", fault);
    if (!r)
        r = tokenizer_expect(gguf, "tokenizer.ggml.pre", "qwen35", fault);
    if (!r)
        r = tokenizer_load_tokens(&l, gguf);
    if (!r)
        r = tokenizer_index_tokens(&l);
    if (!r)
        r = tokenizer_load_merges(&l, gguf);
    free(l.index);
    if (!r)
        r = tokenizer_sort_added(&l);
    if (!r)
        r = tokenizer_load_stops(&l, gguf);
    if (r)
        return r;
    *ret_tokenizer = steal(&t);
    return TOKENIZER_OK;
}

struct tokenizer *tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return NULL;
    free(t->bytes);
    free(t->begin);
    free(t->type);
    free(t->merges);
    free(t->slots);
    free(t->added);
    free(t);
    return NULL;
}

/* questions */
int tokenizer_n_vocab(const struct tokenizer *t)
{
    return t->n_vocab;
}

struct gguf_str tokenizer_bytes(const struct tokenizer *t, int32_t id)
{
    return (struct gguf_str){t->bytes + t->begin[id], t->begin[id + 1] - t->begin[id]};
}

bool tokenizer_is_control(const struct tokenizer *t, int32_t id)
{
    return t->type[id] == TOKENIZER_CONTROL;
}

bool tokenizer_is_unused(const struct tokenizer *t, int32_t id)
{
    return t->type[id] == TOKENIZER_UNUSED;
}

bool tokenizer_is_stop(const struct tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_stop; i++)
        if (t->stop[i] == id)
            return true;
    return false;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *token)
{
    const struct gguf_str want = {token, strlen(token)};
    uint32_t lo = t->added_from[(uint8_t)token[0]], hi = t->added_from[(uint8_t)token[0] + 1];

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int order = tokenizer_compare_bytes(tokenizer_bytes(t, t->added[mid]), want);

        if (!order)
            return t->added[mid];
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}
