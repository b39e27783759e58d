/* test_config.c - config.c: what is read from a good file, and that each inconsistent one is refused by name.
 */
#include "daemon/model/config.h"
#include "tests/fixture/gguf_put.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* One key of the file under test: its value, or what a case makes of it. */
struct entry {
    const char *key;
    uint32_t type; /* GGUF_U32, GGUF_F32, GGUF_STR */
    uint32_t u;
    float f;
    const char *s;
};

/* The 9B's shape with four layers and a vocabulary of two. */
static const struct entry good[] = {
    {"general.architecture", GGUF_STR, .s = "qwen35"},
    {"qwen35.block_count", GGUF_U32, 4},
    {"qwen35.context_length", GGUF_U32, 262144},
    {"qwen35.embedding_length", GGUF_U32, 8},
    {"qwen35.feed_forward_length", GGUF_U32, 12288},
    {"qwen35.attention.head_count", GGUF_U32, 16},
    {"qwen35.attention.head_count_kv", GGUF_U32, 4},
    {"qwen35.attention.key_length", GGUF_U32, 256},
    {"qwen35.attention.value_length", GGUF_U32, 256},
    {"qwen35.attention.layer_norm_rms_epsilon", GGUF_F32, .f = 1e-6f},
    {"qwen35.rope.freq_base", GGUF_F32, .f = 1e7f},
    {"qwen35.rope.dimension_count", GGUF_U32, 64},
    {"qwen35.ssm.conv_kernel", GGUF_U32, 4},
    {"qwen35.ssm.state_size", GGUF_U32, 128},
    {"qwen35.ssm.group_count", GGUF_U32, 16},
    {"qwen35.ssm.time_step_rank", GGUF_U32, 32},
    {"qwen35.ssm.inner_size", GGUF_U32, 4096},
};

static void put_entry(struct gguf_bytes *b, const struct entry *e)
{
    if (e->type == GGUF_U32)
        gguf_put_key_u32(b, e->key, e->u);
    else if (e->type == GGUF_F32)
        gguf_put_key_f32(b, e->key, e->f);
    else
        gguf_put_key_str(b, e->key, e->s);
}

static void put_embedding(struct gguf_bytes *b)
{
    gguf_put_tensor(b, "token_embd.weight", 8, 2, QUANT_F32, 0);
    gguf_put_align(b, 32);
    gguf_put_zeros(b, 8 * 2 * sizeof(float));
}

/* The good file with one key replaced, or added if it is not among them, or left out (type GGUF_ARRAY). */
static void make_file(struct gguf_bytes *b, const struct entry *change)
{
    struct gguf_bytes keys = {0};
    uint64_t n = 0;
    bool done = !change;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        bool is_it = change && !strcmp(good[i].key, change->key);

        done |= is_it;
        if (is_it && change->type == GGUF_ARRAY)
            continue;
        put_entry(&keys, is_it ? change : &good[i]);
        n++;
    }
    if (!done) {
        put_entry(&keys, change);
        n++;
    }
    gguf_put_header(b, 1, n);
    gguf_put(b, keys.p, keys.n);
    put_embedding(b);
    gguf_bytes_deinit(&keys);
}

static int read_file(const struct gguf_bytes *b, struct fault *fault, struct config *c)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;

    assert_int_equal(gguf_open_memory(b->p, b->n, fault, &g), GGUF_OK);
    return config_read(g, fault, c);
}

static void test_read_gives_every_value(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    struct fault fault = {0};
    struct config c;

    make_file(&b, NULL);
    assert_int_equal(read_file(&b, &fault, &c), CONFIG_OK);
    assert_int_equal(c.n_layers, 4);
    assert_int_equal(c.n_mtp, 0);
    assert_int_equal(c.dim, 8);
    assert_int_equal(c.n_ff, 12288);
    assert_int_equal(c.n_vocab, 2);
    assert_int_equal(c.n_qh, 16);
    assert_int_equal(c.n_kvh, 4);
    assert_int_equal(c.d_attn, 256);
    assert_int_equal(c.n_rot, 64);
    assert_int_equal(c.n_kh, 16);
    assert_int_equal(c.n_vh, 32);
    assert_int_equal(c.d_delta, 128);
    assert_int_equal(c.conv_k, 4);
    assert_int_equal(c.context_trained, 262144);
    assert_float_equal(c.eps, 1e-6f, 0.0f);
    assert_float_equal(c.rope_base, 1e7f, 0.0f);
    assert_int_equal(config_n_qkv(&c), 8192);
    assert_int_equal(config_n_inner(&c), 4096);
    assert_int_equal(config_n_q(&c), 4096);
    assert_int_equal(config_n_kv(&c), 1024);
}

static void test_every_fourth_layer_is_attention_by_default(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    struct config c;

    make_file(&b, &(struct entry){"qwen35.block_count", GGUF_U32, 9});
    assert_int_equal(read_file(&b, NULL, &c), CONFIG_OK);
    assert_int_equal(c.n_attn, 2);
    assert_int_equal(c.n_delta, 7);
    for (int i = 0; i < 9; i++)
        assert_int_equal(c.is_attn[i], i == 3 || i == 7);
}

static void test_mtp_blocks_are_not_layers(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    struct fault fault = {0};
    struct config c;

    make_file(&b, &(struct entry){"qwen35.nextn_predict_layers", GGUF_U32, 1});
    assert_int_equal(read_file(&b, &fault, &c),
                     CONFIG_E_VALUE); /* the fourth block drafts: no attention is left */
    assert_string_equal(fault.text,
                        "0 of the 3 layers are full attention (qwen35.full_attention_interval): a qwen35 "
                        "model has both kinds");
}

/* The good file behind one more key, which is an array. */
static void make_file_with_array(struct gguf_bytes *b, const char *key, uint32_t type, const void *data,
                                 size_t bytes, uint64_t n)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes file = {0};

    make_file(&file, NULL);
    gguf_put_header(b, 1, ARRAY_SIZE(good) + 1);
    gguf_put_key_array(b, key, type, n);
    gguf_put(b, data, bytes);
    uint8_t *directory = (uint8_t *)memmem(file.p, file.n, "token_embd", 10) - 8;
    gguf_put(b, file.p + 24, (size_t)(directory - file.p) - 24); /* 24: the header */
    put_embedding(b);
}

/* The array has an entry for each block and wins over the interval. */
static void test_layer_kinds_may_be_listed(void **state _unused_)
{
    static const char key[] = "qwen35.attention.recurrent_layers";
    static const uint8_t recurrent[] = {0, 1, 1, 0};
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0}, b3 = {0};
    struct fault fault = {0};
    struct config c;

    make_file_with_array(&b, key, GGUF_BOOL, recurrent, 4, 4);
    assert_int_equal(read_file(&b, &fault, &c), CONFIG_OK);
    assert_true(c.is_attn[0] && !c.is_attn[1] && !c.is_attn[2] && c.is_attn[3]);
    make_file_with_array(&b3, key, GGUF_BOOL, recurrent, 3, 3);
    assert_int_equal(read_file(&b3, &fault, &c), CONFIG_E_VALUE);
    assert_string_equal(fault.text,
                        "qwen35.attention.recurrent_layers has 3 entries, should have block_count (4)");
}

static const struct {
    struct entry change;
    int code;
    const char *text;
} refusals[] = {
    {{"general.architecture", GGUF_STR, .s = "llama"},
     CONFIG_E_ARCH,
     "general.architecture is \"llama\", should be \"qwen35\""},
    {{"general.architecture", GGUF_STR, .s = "qwen35moe"},
     CONFIG_E_ARCH,
     "general.architecture is \"qwen35moe\", should be \"qwen35\""},
    {{"general.architecture", GGUF_STR, .s = "q\nwen"},
     CONFIG_E_ARCH,
     "general.architecture is \"q?wen\", should be \"qwen35\""},
    {{"general.architecture", GGUF_ARRAY},
     GGUF_E_MISSING,
     "general.architecture is missing from the metadata"},
    {{"general.architecture", GGUF_U32, 1},
     GGUF_E_TYPE,
     "general.architecture is of type u32, should be a string"},
    {{"qwen35.block_count", GGUF_ARRAY}, GGUF_E_MISSING, "qwen35.block_count is missing from the metadata"},
    {{"qwen35.block_count", GGUF_U32, 0}, GGUF_E_RANGE, "qwen35.block_count is 0, should be in [1, 512]"},
    {{"qwen35.block_count", GGUF_U32, 513}, GGUF_E_RANGE, "qwen35.block_count is 513, should be in [1, 512]"},
    {{"qwen35.block_count", GGUF_U32, 3},
     CONFIG_E_VALUE,
     "0 of the 3 layers are full attention (qwen35.full_attention_interval): a qwen35 model has both kinds"},
    {{"qwen35.full_attention_interval", GGUF_U32, 1},
     CONFIG_E_VALUE,
     "4 of the 4 layers are full attention (qwen35.full_attention_interval): a qwen35 model has both kinds"},
    {{"qwen35.nextn_predict_layers", GGUF_U32, 2},
     GGUF_E_RANGE,
     "qwen35.nextn_predict_layers is 2, should be in [0, 1]"},
    {{"qwen35.embedding_length", GGUF_U32, 1u << 31},
     GGUF_E_RANGE,
     "qwen35.embedding_length is 2147483648, should be in [1, 4194304]"},
    {{"qwen35.attention.head_count_kv", GGUF_U32, 3},
     CONFIG_E_VALUE,
     "qwen35.attention.head_count is 16, should be a multiple of head_count_kv (3)"},
    {{"qwen35.attention.value_length", GGUF_U32, 128},
     CONFIG_E_VALUE,
     "qwen35.attention.value_length is 128, should equal key_length (256)"},
    {{"qwen35.rope.dimension_count", GGUF_U32, 63},
     CONFIG_E_VALUE,
     "qwen35.rope.dimension_count is 63, should be even and at most key_length (256)"},
    {{"qwen35.rope.dimension_count", GGUF_U32, 258},
     CONFIG_E_VALUE,
     "qwen35.rope.dimension_count is 258, should be even and at most key_length (256)"},
    {{"qwen35.rope.scaling.type", GGUF_STR, .s = "yarn"},
     CONFIG_E_VALUE,
     "qwen35.rope.scaling.type is something other than \"none\", which is all that can be computed"},
    {{"qwen35.rope.freq_base", GGUF_F32, .f = 0.5f},
     CONFIG_E_VALUE,
     "qwen35.rope.freq_base is 0.5, should be more than 1"},
    {{"qwen35.rope.freq_base", GGUF_F32, .f = __builtin_inff()},
     GGUF_E_RANGE,
     "qwen35.rope.freq_base is inf, should be finite"},
    {{"qwen35.attention.layer_norm_rms_epsilon", GGUF_F32, .f = 0},
     CONFIG_E_VALUE,
     "qwen35.attention.layer_norm_rms_epsilon is 0, should be between 0 and 1"},
    {{"qwen35.ssm.group_count", GGUF_U32, 12},
     CONFIG_E_VALUE,
     "qwen35.ssm.time_step_rank is 32, should be a multiple of ssm.group_count (12)"},
    {{"qwen35.ssm.inner_size", GGUF_U32, 4097},
     CONFIG_E_VALUE,
     "qwen35.ssm.inner_size is 4097, should be time_step_rank * state_size (32 * 128 = 4096)"},
    {{"qwen35.ssm.conv_kernel", GGUF_U32, 1},
     GGUF_E_RANGE,
     "qwen35.ssm.conv_kernel is 1, should be in [2, 16]"},
    {{"qwen35.context_length", GGUF_U32, 0},
     GGUF_E_RANGE,
     "qwen35.context_length is 0, should be in [1, 16777216]"},
    {{"qwen35.context_length", GGUF_U32, 16777217},
     GGUF_E_RANGE,
     "qwen35.context_length is 16777217, should be in [1, 16777216]"},
};

static void test_each_inconsistency_is_refused_by_name(void **state _unused_)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
        struct fault fault = {0};
        struct config c = {.n_layers = -1};

        make_file(&b, &refusals[i].change);
        int r = read_file(&b, &fault, &c);
        assert_string_equal(fault.text, refusals[i].text);
        assert_int_equal(r, refusals[i].code);
        assert_int_equal(c.n_layers, -1);
    }
}

static void test_vocabulary_must_match_the_embedding(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    struct fault fault = {0};
    struct config c;

    make_file_with_array(&b, "tokenizer.ggml.tokens", GGUF_STR, "\3\0\0\0\0\0\0\0one", 11, 1);
    assert_int_equal(read_file(&b, &fault, &c), CONFIG_E_VALUE);
    assert_string_equal(fault.text,
                        "tokenizer.ggml.tokens has 1 entries, should be the rows of token_embd.weight (2)");
}

static void test_a_vocabulary_file_is_no_model(void **state _unused_)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
    struct fault fault = {0};
    struct config c;

    make_file(&b, NULL);
    memcpy(memmem(b.p, b.n, "token_embd", 10), "other_embd", 10);
    assert_int_equal(read_file(&b, &fault, &c), GGUF_E_MISSING);
    assert_string_equal(fault.text, "token_embd.weight is missing: the file holds no model");
}

static void test_recommended_sampling_is_what_the_file_says(void **state _unused_)
{
    static const struct entry wrong[] = {
        {"general.sampling.temp", GGUF_F32, .f = -0.5f},
        {"general.sampling.temp", GGUF_F32, .f = NAN},
        {"general.sampling.top_p", GGUF_F32, .f = 1.5f},
        {"general.sampling.penalty_repeat", GGUF_F32, .f = 0},
    };
    struct config c;

    for (int given = 0; given < 2; given++) {
        _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};

        make_file(&b, given ? &(struct entry){"general.sampling.temp", GGUF_F32, .f = 0} : NULL);
        assert_int_equal(read_file(&b, NULL, &c), CONFIG_OK);
        assert_int_equal(config_has_sampling(&c), given);
        assert_true(given ? c.sampling.temperature == 0 : c.sampling.temperature < 0);
        assert_true(c.sampling.top_p < 0 && c.sampling.top_k < 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        _cleanup_(gguf_bytes_deinit) struct gguf_bytes b = {0};
        struct fault fault = {0};

        make_file(&b, &wrong[i]);
        assert_true(read_file(&b, &fault, &c) > 0); /* a NaN is the reader's to refuse */
        assert_non_null(strstr(fault.text, wrong[i].key));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_gives_every_value),
        cmocka_unit_test(test_every_fourth_layer_is_attention_by_default),
        cmocka_unit_test(test_mtp_blocks_are_not_layers),
        cmocka_unit_test(test_layer_kinds_may_be_listed),
        cmocka_unit_test(test_each_inconsistency_is_refused_by_name),
        cmocka_unit_test(test_vocabulary_must_match_the_embedding),
        cmocka_unit_test(test_a_vocabulary_file_is_no_model),
        cmocka_unit_test(test_recommended_sampling_is_what_the_file_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
