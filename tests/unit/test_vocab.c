/* test_vocab.c - which vocabularies the tokenizer takes.  Each file is made here: a good one with one thing
 * wrong. */
#include "daemon/model/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/model/utf8.h"
#include "tests/fixture/gguf_put.h"

#define TOKENS "tokenizer.ggml.tokens"
#define TYPES  "tokenizer.ggml.token_type"
#define MERGES "tokenizer.ggml.merges"

enum { N_BYTES = 256 };

struct vocab_token {
    const char *text;
    int type;
};
struct vocab {
    const char *model, *pre;         /* NULL: no such key */
    const struct vocab_token *extra; /* tokens 256 on; ends with text NULL */
    const char *const *merges;       /* ends with NULL; NULL: no such key */
    int drop_byte;                   /* is spelled as another token is: 0 none, else that byte */
    int fewer_types;                 /* entries that are missing */
    int64_t eos;                     /* -1: no such key */
};

static const struct vocab_token good_extra[] = {{"ab", 1},  {"abc", 1},    {"<|im_end|>", 3},
                                                {"<t>", 4}, {"[PAD0]", 5}, {0}};
static const char *const good_merges[] = {"a b", "ab c", NULL};
static const struct vocab good = {"gpt2", "qwen35", good_extra, good_merges, 0, 0, 258};

/* GPT-2's spelling of a byte: 68 bytes are moved to U+0100 on, in their order. */
static void put_byte_token(struct gguf_bytes *b, int byte)
{
    uint32_t cp = (uint32_t)byte;
    char text[5] = "";

    if (byte <= 0x20)
        cp = 0x100 + (uint32_t)byte;
    else if (byte >= 0x7f && byte <= 0xa0)
        cp = 0x100 + 33 + (uint32_t)byte - 0x7f;
    else if (byte == 0xad)
        cp = 0x143;
    utf8_put(cp, text);
    gguf_put_str(b, text);
}

static uint32_t put_tokens(struct gguf_bytes *b, const struct vocab *v)
{
    uint32_t n = 0;

    while (v->extra[n].text)
        n++;
    gguf_put_key_array(b, TOKENS, GGUF_STR, N_BYTES + n);
    for (int i = 0; i < N_BYTES; i++)
        if (v->drop_byte && i == v->drop_byte)
            gguf_put_str(b, "zz");
        else
            put_byte_token(b, i);
    for (uint32_t i = 0; i < n; i++)
        gguf_put_str(b, v->extra[i].text);
    return n;
}

static void put_keys(struct gguf_bytes *b, const struct vocab *v)
{
    uint32_t n_extra = put_tokens(b, v), n_merges = 0;

    if (v->model)
        gguf_put_key_str(b, "tokenizer.ggml.model", v->model);
    if (v->pre)
        gguf_put_key_str(b, "tokenizer.ggml.pre", v->pre);
    gguf_put_key_array(b, TYPES, GGUF_I32, (uint64_t)(N_BYTES + (int)n_extra - v->fewer_types));
    for (int i = 0; i < N_BYTES + (int)n_extra - v->fewer_types; i++)
        gguf_put_u32(b, i < N_BYTES ? 1u : (uint32_t)v->extra[i - N_BYTES].type);
    while (v->merges && v->merges[n_merges])
        n_merges++;
    if (v->merges)
        gguf_put_key_array(b, MERGES, GGUF_STR, n_merges);
    for (uint32_t i = 0; i < n_merges; i++)
        gguf_put_str(b, v->merges[i]);
    if (v->eos >= 0)
        gguf_put_key_u32(b, "tokenizer.ggml.eos_token_id", (uint32_t)v->eos);
}

static int load(const struct vocab *v, struct fault *fault, struct tokenizer **ret_tokenizer)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    _cleanup_(gguf_freep) struct gguf *gguf = NULL;

    gguf_put_header(&b, 0, 2 + (v->model != NULL) + (v->pre != NULL) + (v->merges != NULL) + (v->eos >= 0));
    put_keys(&b, v);
    gguf_put_align(&b, 32);
    assert_false(b.failed);
    if (gguf_open_memory(b.p, b.n, fault, &gguf))
        fail_msg("%s", fault->text);
    return tokenizer_new(gguf, fault, ret_tokenizer);
}

static void test_vocab_that_is_good_is_taken(void **state)
{
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    const int32_t want[] = {'a', 257, 259, 258, 'a', 256};
    struct fault fault = {0};

    if (load(&good, &fault, &t))
        fail_msg("%s", fault.text);
    for (int i = 0; i < N_BYTES; i++) {
        assert_int_equal(tokenizer_bytes(t, i).n, 1);
        assert_int_equal((uint8_t)tokenizer_bytes(t, i).s[0], i);
    }
    assert_int_equal(tokenizer_bytes(t, 260).n, 0);
    assert_true(tokenizer_is_unused(t, 260));
    assert_int_equal(tokenizer_encode(t, "aabc<t><|im_end|>aab", 20, TOKENIZER_ALL, NULL, 0, &fault, &ids),
                     TOKENIZER_OK);
    assert_int_equal(ids.n, ARRAY_SIZE(want));
    assert_memory_equal(ids.id, want, sizeof(want));
}

/* A merge is taken by rank, not because the whole piece is a token. */
static void test_vocab_hit_of_a_whole_piece_does_not_come_first(void **state)
{
    _cleanup_(token_ids_deinit) struct token_ids ids = TOKEN_IDS_INIT;
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    struct vocab v = good;
    struct fault fault = {0};

    v.merges = (const char *const[]){"a b", NULL}; /* nothing makes "abc" */
    assert_int_equal(load(&v, &fault, &t), TOKENIZER_OK);
    assert_int_equal(tokenizer_encode(t, "abc", 3, TOKENIZER_ALL, NULL, 0, &fault, &ids), TOKENIZER_OK);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.id[0], 256);
    assert_int_equal(ids.id[1], 'c');
}

static void test_vocab_takes_the_longest_of_several_added_tokens(void **state)
{
    static const struct vocab_token extra[] = {{"<", 4}, {"<<<", 4}, {"<<a", 3}, {"<|im_end|>", 3}, {0}};
    _cleanup_(token_ids_deinit) struct token_ids all = TOKEN_IDS_INIT, user = TOKEN_IDS_INIT;
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    const int32_t want_all[] = {257, 258, 'b', 256, 256}, want_user[] = {257, 256, 256, 'a', 'b', 256, 256};
    const struct vocab v = {"gpt2", "qwen35", extra, (const char *const[]){NULL}, 0, 0, -1};
    struct fault fault = {0};

    assert_int_equal(load(&v, &fault, &t), TOKENIZER_OK);
    assert_int_equal(tokenizer_encode(t, "<<<<<ab<<", 9, TOKENIZER_ALL, NULL, 0, &fault, &all), TOKENIZER_OK);
    assert_int_equal(all.n, ARRAY_SIZE(want_all));
    assert_memory_equal(all.id, want_all, sizeof(want_all));
    assert_int_equal(tokenizer_encode(t, "<<<<<ab<<", 9, TOKENIZER_USER, NULL, 0, &fault, &user),
                     TOKENIZER_OK);
    assert_int_equal(user.n, ARRAY_SIZE(want_user));
    assert_memory_equal(user.id, want_user, sizeof(want_user));
}

static void check_refusal(struct vocab v, const char *want)
{
    struct tokenizer *t = NULL;
    struct fault fault = {0};

    assert_int_equal(load(&v, &fault, &t), TOKENIZER_E_VOCAB);
    assert_null(t);
    if (!strstr(fault.text, want))
        fail_msg("\"%s\" should have \"%s\"", fault.text, want);
}

static struct vocab with_extra(const struct vocab_token *extra)
{
    struct vocab v = good;

    v.extra = extra;
    return v;
}

static struct vocab with_merges(const char *const *merges)
{
    struct vocab v = good;

    v.merges = merges;
    return v;
}

#define EXTRA(...)  with_extra((const struct vocab_token[]){__VA_ARGS__, {0}})
#define MERGED(...) with_merges((const char *const[]){__VA_ARGS__, NULL})

static void test_vocab_of_another_kind_is_refused(void **state)
{
    struct vocab v;

    v = good;
    v.model = NULL;
    check_refusal(v, "tokenizer.ggml.model");
    v = good;
    v.model = "llama";
    check_refusal(v, "tokenizer.ggml.model is \"llama\", should be \"gpt2\"");
    v.model = "\x1b[2Jgpt2\n\xff"; /* is read in a terminal */
    check_refusal(v, "tokenizer.ggml.model is \"?[2Jgpt2??\", should be \"gpt2\"");
    v = good;
    v.pre = NULL;
    check_refusal(v, "tokenizer.ggml.pre");
    v = good;
    v.pre = "qwen2";
    check_refusal(v, "tokenizer.ggml.pre is \"qwen2\", should be \"qwen35\"");
    v = good;
    v.merges = NULL;
    check_refusal(v, MERGES);
}

static void test_vocab_with_a_bad_token_is_refused(void **state)
{
    struct vocab v;
    static char huge[(2 << 10) + 2];

    memset(huge, 'a', sizeof(huge) - 1);
    v = good;
    v.fewer_types = 1;
    check_refusal(v, TYPES " has 260 entries, " TOKENS " 261");
    check_refusal(EXTRA({"x|y", 2}), TYPES "[256] is 2, should be 1 (normal)");
    check_refusal(EXTRA({"", 3}), TOKENS "[256] is empty");
    check_refusal(EXTRA({"\xff", 3}), TOKENS "[256] is not valid UTF-8");
    check_refusal(EXTRA({"a b", 1}), TOKENS "[256] has a character that stands for no byte");
    check_refusal(EXTRA({"a\u4e00", 1}), TOKENS "[256] has a character that stands for no byte");
    check_refusal(EXTRA({"a", 1}), TOKENS "[256] is the same as [97]");
    check_refusal(EXTRA({"ab", 1}, {"abc", 1}, {"<t>", 4}, {"<t>", 3}), "is the same as [25");
    check_refusal(EXTRA({huge, 1}), TOKENS "[256] is spelled with 2049 bytes, at most 2048 are allowed");
    huge[1025] = '\0'; /* the cap of qwp.TokenLogprob.text: a broker refuses more */
    check_refusal(EXTRA({huge, 1}), TOKENS "[256] has 1025 bytes, at most 1024 are allowed");
    v = good;
    v.drop_byte = 0x20;
    check_refusal(v, TOKENS " has no token for the byte 0x20");
}

static void test_vocab_with_a_bad_merge_is_refused(void **state)
{
    check_refusal(MERGED("ab"), MERGES "[0] is not two tokens");
    check_refusal(MERGED("a b", " c"), MERGES "[1] is not two tokens");
    check_refusal(MERGED("a "), MERGES "[0] is not two tokens");
    check_refusal(MERGED("a b c"), MERGES "[0] is not two tokens");
    check_refusal(MERGED("a \xff"), MERGES "[0] is not two tokens");
    check_refusal(MERGED("a b", "abx c"), MERGES "[1]: its left part is not in " TOKENS);
    check_refusal(MERGED("a bx"), MERGES "[0]: its right part is not in " TOKENS);
    check_refusal(MERGED("a c"), MERGES "[0]: what it makes is not in " TOKENS);
    check_refusal(MERGED("a b", "a b"), MERGES "[1] is the same as [0]");
}

static void test_vocab_without_an_end_is_refused(void **state)
{
    struct vocab v;

    v = good;
    v.eos = 261;
    check_refusal(v, "tokenizer.ggml.eos_token_id");
    v = EXTRA({"ab", 1}, {"abc", 1});
    v.eos = -1;
    check_refusal(v, "no token ends an answer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocab_that_is_good_is_taken),
        cmocka_unit_test(test_vocab_hit_of_a_whole_piece_does_not_come_first),
        cmocka_unit_test(test_vocab_takes_the_longest_of_several_added_tokens),
        cmocka_unit_test(test_vocab_of_another_kind_is_refused),
        cmocka_unit_test(test_vocab_with_a_bad_token_is_refused),
        cmocka_unit_test(test_vocab_with_a_bad_merge_is_refused),
        cmocka_unit_test(test_vocab_without_an_end_is_refused),
    };

    return cmocka_run_group_tests_name("vocab", tests, NULL, NULL);
}
