/* config.c - reads and cross-checks the hyper-parameters.  See config.h. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* No model of the family comes near these; they keep every product of two below, and the KV pages of 4,096
 * sequences, inside an int. */
enum {
    CONFIG_WIDTH_MAX = 1 << 22,
    CONFIG_HEADS_MAX = 1024,
    CONFIG_HEAD_SIZE_MAX = 1024,
    CONFIG_VOCAB_MAX = 1 << 24,
    CONFIG_CONTEXT_MAX = 1 << 24, /* 16 times the longest that Qwen 3.5 is stretched to */
};
enum { CONFIG_CONV_MAX = 16, CONFIG_INTERVAL_DEFAULT = 4 };

static int config_check_arch(const struct gguf *g, struct fault *fault)
{
    struct gguf_str arch;
    int r = gguf_get_str(g, "general.architecture", fault, &arch);

    if (r)
        return r;
    if (arch.n != strlen("qwen35") || memcmp(arch.s, "qwen35", arch.n))
        return fault_set(fault, CONFIG_E_ARCH, "general.architecture is \"%s\", should be \"qwen35\"",
                         gguf_label(arch).text);
    return 0;
}

/* counts */
struct config_key {
    const char *key;
    uint32_t lo, hi;
    bool optional; /* absent: *value stays */
    uint32_t *value;
};

/* What the file says, before it is made into a struct config. */
struct config_raw {
    uint32_t n_block, n_mtp, dim, n_ff, n_qh, n_kvh, d_key, d_value, n_rot, interval, conv_k, d_delta, n_kh,
        n_vh, inner;
    uint32_t context;
};

static int config_read_counts(const struct gguf *g, struct fault *fault, struct config_raw *raw)
{
    const struct config_key keys[] = {
        {"qwen35.block_count", 1, CONFIG_LAYERS_MAX, false, &raw->n_block},
        {"qwen35.nextn_predict_layers", 0, 1, true, &raw->n_mtp},
        {"qwen35.embedding_length", 1, CONFIG_WIDTH_MAX, false, &raw->dim},
        {"qwen35.feed_forward_length", 1, CONFIG_WIDTH_MAX, false, &raw->n_ff},
        {"qwen35.attention.head_count", 1, CONFIG_HEADS_MAX, false, &raw->n_qh},
        {"qwen35.attention.head_count_kv", 1, CONFIG_HEADS_MAX, false, &raw->n_kvh},
        {"qwen35.attention.key_length", 2, CONFIG_HEAD_SIZE_MAX, false, &raw->d_key},
        {"qwen35.attention.value_length", 2, CONFIG_HEAD_SIZE_MAX, false, &raw->d_value},
        {"qwen35.rope.dimension_count", 2, CONFIG_HEAD_SIZE_MAX, false, &raw->n_rot},
        {"qwen35.full_attention_interval", 1, CONFIG_LAYERS_MAX, true, &raw->interval},
        {"qwen35.ssm.conv_kernel", 2, CONFIG_CONV_MAX, false, &raw->conv_k},
        {"qwen35.ssm.state_size", 1, CONFIG_HEAD_SIZE_MAX, false, &raw->d_delta},
        {"qwen35.ssm.group_count", 1, CONFIG_HEADS_MAX, false, &raw->n_kh},
        {"qwen35.ssm.time_step_rank", 1, CONFIG_HEADS_MAX, false, &raw->n_vh},
        {"qwen35.ssm.inner_size", 1, CONFIG_WIDTH_MAX, false, &raw->inner},
        {"qwen35.context_length", 1, CONFIG_CONTEXT_MAX, false, &raw->context},
    };

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (keys[i].optional && !gguf_has(g, keys[i].key))
            continue;
        int r = gguf_get_u32(g, keys[i].key, keys[i].lo, keys[i].hi, fault, keys[i].value);
        if (r)
            return r;
    }
    return 0;
}

static int config_check_counts(const struct config_raw *raw, struct fault *fault)
{
    if (raw->n_mtp >= raw->n_block)
        return fault_set(fault, CONFIG_E_VALUE,
                         "qwen35.block_count is %u, should be more than nextn_predict_layers (%u)",
                         raw->n_block, raw->n_mtp);
    if (raw->n_qh % raw->n_kvh)
        return fault_set(fault, CONFIG_E_VALUE,
                         "qwen35.attention.head_count is %u, should be a multiple of head_count_kv (%u)",
                         raw->n_qh, raw->n_kvh);
    if (raw->d_value != raw->d_key)
        return fault_set(fault, CONFIG_E_VALUE,
                         "qwen35.attention.value_length is %u, should equal key_length (%u)", raw->d_value,
                         raw->d_key);
    if (raw->n_rot % 2 || raw->n_rot > raw->d_key)
        return fault_set(fault, CONFIG_E_VALUE,
                         "qwen35.rope.dimension_count is %u, should be even and at most key_length (%u)",
                         raw->n_rot, raw->d_key);
    if (raw->n_vh % raw->n_kh)
        return fault_set(fault, CONFIG_E_VALUE,
                         "qwen35.ssm.time_step_rank is %u, should be a multiple of ssm.group_count (%u)",
                         raw->n_vh, raw->n_kh);
    if (raw->inner != raw->n_vh * raw->d_delta)
        return fault_set(fault, CONFIG_E_VALUE,
                         "qwen35.ssm.inner_size is %u, should be time_step_rank * state_size (%u * %u = %u)",
                         raw->inner, raw->n_vh, raw->d_delta, raw->n_vh * raw->d_delta);
    return 0;
}

/* floats */
static int config_read_floats(const struct gguf *g, struct fault *fault, struct config *c)
{
    static const char eps_key[] = "qwen35.attention.layer_norm_rms_epsilon",
                      base_key[] = "qwen35.rope.freq_base";
    int r = gguf_get_f32(g, eps_key, fault, &c->eps);

    if (!r)
        r = gguf_get_f32(g, base_key, fault, &c->rope_base);
    if (r)
        return r;
    if (c->eps <= 0.0f || c->eps >= 1.0f)
        return fault_set(fault, CONFIG_E_VALUE, "%s is %g, should be between 0 and 1", eps_key,
                         (double)c->eps);
    if (c->rope_base <= 1.0f)
        return fault_set(fault, CONFIG_E_VALUE, "%s is %g, should be more than 1", base_key,
                         (double)c->rope_base);
    return 0;
}

/* Stretched rope would change every angle: a file that asks for it must not run as if it did not. */
static int config_check_rope_scaling(const struct gguf *g, struct fault *fault)
{
    static const char key[] = "qwen35.rope.scaling.type";
    struct gguf_str type;

    if (!gguf_has(g, key))
        return 0;
    int r = gguf_get_str(g, key, fault, &type);
    if (r)
        return r;
    if (type.n != 4 || memcmp(type.s, "none", 4))
        return fault_set(fault, CONFIG_E_VALUE,
                         "%s is something other than \"none\", which is all that can be computed", key);
    return 0;
}

/* recommended sampling */
static int config_read_sampling(const struct gguf *g, struct fault *fault, struct config_sampling *s)
{
    static const char top_k_key[] = "general.sampling.top_k";
    const struct {
        const char *key;
        float lo, hi, *value;
    } floats[] = {
        {"general.sampling.temp", 0, 100, &s->temperature},
        {"general.sampling.top_p", 0, 1, &s->top_p},
        {"general.sampling.min_p", 0, 1, &s->min_p},
        {"general.sampling.penalty_repeat", 0.01f, 100, &s->repeat_penalty},
    };
    uint32_t top_k;
    int r;

    *s = (struct config_sampling){-1, -1, -1, -1, -1};
    for (size_t i = 0; i < ARRAY_SIZE(floats); i++) {
        if (!gguf_has(g, floats[i].key))
            continue;
        r = gguf_get_f32(g, floats[i].key, fault, floats[i].value);
        if (r)
            return r;
        if (!(*floats[i].value >= floats[i].lo && *floats[i].value <= floats[i].hi))
            return fault_set(fault, CONFIG_E_VALUE, "%s is %g, should be from %g to %g", floats[i].key,
                             (double)*floats[i].value, (double)floats[i].lo, (double)floats[i].hi);
    }
    if (!gguf_has(g, top_k_key))
        return 0;
    r = gguf_get_u32(g, top_k_key, 0, INT32_MAX, fault, &top_k);
    if (!r)
        s->top_k = (int)top_k;
    return r;
}

/* layers */
/* The array has one entry a block, MTP blocks included; absent: every interval-th layer is full attention. */
static int config_read_layers(const struct gguf *g, const struct config_raw *raw, struct fault *fault,
                              struct config *c)
{
    static const char key[] = "qwen35.attention.recurrent_layers";
    struct gguf_array recurrent = {0};

    if (gguf_has(g, key)) {
        int r = gguf_get_array(g, key, GGUF_BOOL, fault, &recurrent);
        if (r)
            return r;
        if (recurrent.n != raw->n_block)
            return fault_set(fault, CONFIG_E_VALUE,
                             "%s has %" PRIu64 " entries, should have block_count (%u)", key, recurrent.n,
                             raw->n_block);
    }
    for (int i = 0; i < c->n_layers; i++) {
        c->is_attn[i] = recurrent.data ? !recurrent.data[i] : (i + 1) % (int)raw->interval == 0;
        c->n_attn += c->is_attn[i];
    }
    c->n_delta = c->n_layers - c->n_attn;
    if (!c->n_attn || !c->n_delta)
        return fault_set(fault, CONFIG_E_VALUE,
                         "%d of the %d layers are full attention (%s): a qwen35 model has both kinds",
                         c->n_attn, c->n_layers, recurrent.data ? key : "qwen35.full_attention_interval");
    return 0;
}

/* vocabulary */
static int config_read_vocab(const struct gguf *g, struct fault *fault, struct config *c)
{
    static const char key[] = "tokenizer.ggml.tokens";
    const struct gguf_tensor *embed = gguf_find_tensor(g, "token_embd.weight");
    struct gguf_array tokens;
    int r;

    if (!embed)
        return fault_set(fault, GGUF_E_MISSING, "token_embd.weight is missing: the file holds no model");
    if (embed->ne[1] > CONFIG_VOCAB_MAX)
        return fault_set(fault, CONFIG_E_VALUE,
                         "token_embd.weight has %" PRIu64 " rows, should be at most %d", embed->ne[1],
                         CONFIG_VOCAB_MAX);
    c->n_vocab = (int)embed->ne[1];
    if (!gguf_has(g, key))
        return 0; /* weights without a vocabulary can still be computed; whoever needs text asks the tokenizer
                   */
    r = gguf_get_array(g, key, GGUF_STR, fault, &tokens);
    if (r)
        return r;
    if (tokens.n != embed->ne[1])
        return fault_set(fault, CONFIG_E_VALUE,
                         "%s has %" PRIu64 " entries, should be the rows of token_embd.weight (%d)", key,
                         tokens.n, c->n_vocab);
    return 0;
}

static struct config config_from_raw(const struct config_raw *raw)
{
    return (struct config){
        .n_layers = (int)(raw->n_block - raw->n_mtp),
        .n_mtp = (int)raw->n_mtp,
        .dim = (int)raw->dim,
        .n_ff = (int)raw->n_ff,
        .n_qh = (int)raw->n_qh,
        .n_kvh = (int)raw->n_kvh,
        .d_attn = (int)raw->d_key,
        .n_rot = (int)raw->n_rot,
        .n_kh = (int)raw->n_kh,
        .n_vh = (int)raw->n_vh,
        .d_delta = (int)raw->d_delta,
        .conv_k = (int)raw->conv_k,
        .context_trained = (int)raw->context,
    };
}

int config_read(const struct gguf *g, struct fault *fault, struct config *ret_config)
{
    struct config_raw raw = {.interval = CONFIG_INTERVAL_DEFAULT};
    struct config c = {0};
    int r = config_check_arch(g, fault);

    if (!r)
        r = config_read_counts(g, fault, &raw);
    if (!r)
        r = config_check_counts(&raw, fault);
    if (r)
        return r;
    c = config_from_raw(&raw);
    r = config_read_floats(g, fault, &c);
    if (!r)
        r = config_check_rope_scaling(g, fault);
    if (!r)
        r = config_read_layers(g, &raw, fault, &c);
    if (!r)
        r = config_read_vocab(g, fault, &c);
    if (!r)
        r = config_read_sampling(g, fault, &c.sampling);
    if (r)
        return r;
    *ret_config = c;
    return CONFIG_OK;
}
