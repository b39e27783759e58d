/* random_gguf.c - writes a Qwen 3.5 GGUF with random weights, of the 9B's exact shape and Q4_K_M type mix
 * unless told otherwise.  Speed depends on shapes and types alone, so benchmarks and load tests need no
 * published model.
 *
 * Scales are chosen so that activations stay near 1 and logits finite; the tokenizer, its chat template
 * included, is copied from --vocab-file and filled up with [PADn] tokens.  Those are ordinary ones, so that
 * as many ids may be chosen as in a published model.  The same options give the same bytes.
 *
 * usage: random_gguf --vocab-file VOCAB.gguf [options] OUT.gguf      (options: random_options[] below) */
#include "daemon/model/gguf.h"
#include "tests/bench/random_blocks.h"
#include "tests/fixture/gguf_put.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 32, FILE_TYPE_Q4_K_M = 15 };

/* Defaults: the 9B (qwen35-math §1). */
struct shape {
    int layers, mtp, dim, ff, heads, kv_heads, head_dim, rot, interval, conv, delta_k, delta_v, delta_dim,
        vocab, context;
    int tied, sparse, seed;
};
static struct shape shape = {
    .layers = 32,
    .dim = 4096,
    .ff = 12288,
    .heads = 16,
    .kv_heads = 4,
    .head_dim = 256,
    .rot = 64,
    .interval = 4,
    .conv = 4,
    .delta_k = 16,
    .delta_v = 32,
    .delta_dim = 128,
    .vocab = 248320,
    .context = 262144,
    .seed = 1,
};
static const struct {
    const char *name;
    int *value;
    int lo, hi;
} random_options[] = {
    {"--layers", &shape.layers, 1, 512},       {"--mtp", &shape.mtp, 0, 1},
    {"--dim", &shape.dim, 1, 1 << 16},         {"--ff", &shape.ff, 1, 1 << 18},
    {"--heads", &shape.heads, 1, 1024},        {"--kv-heads", &shape.kv_heads, 1, 1024},
    {"--head-dim", &shape.head_dim, 2, 512},   {"--rot", &shape.rot, 2, 512},
    {"--interval", &shape.interval, 1, 512},   {"--conv", &shape.conv, 2, 16},
    {"--delta-k", &shape.delta_k, 1, 1024},    {"--delta-v", &shape.delta_v, 1, 1024},
    {"--delta-dim", &shape.delta_dim, 1, 512}, {"--vocab", &shape.vocab, 1, 1 << 22},
    {"--context", &shape.context, 1, 1 << 30}, {"--tied", &shape.tied, 0, 1},
    {"--sparse", &shape.sparse, 0, 1}, /* no weights: holes, for what reads the header alone */
    {"--seed", &shape.seed, 0, 1 << 30},
};

static int random_fail(const char *what, const char *detail)
{
    fprintf(stderr, "random_gguf: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    return 1;
}

/* header */
static int put_model_keys(struct gguf_bytes *b)
{
    const struct shape *s = &shape;
    /* time, height and width share the rotated pairs by thirds: 11, 11, 10 of the 9B's 32 */
    const int32_t sections[4] = {(s->rot / 2 + 2) / 3, (s->rot / 2 + 1) / 3, s->rot / 6, 0};
    int n = 0;

    n += gguf_put_key_str(b, "general.architecture", "qwen35");
    n += gguf_put_key_str(b, "general.type", "model");
    n += gguf_put_key_str(b, "general.name", "random weights");
    n += gguf_put_key_u32(b, "general.file_type", FILE_TYPE_Q4_K_M);
    n += gguf_put_key_u32(b, "general.quantization_version", 2);
    n += gguf_put_key_u32(b, "qwen35.block_count", (uint32_t)(s->layers + s->mtp));
    n += gguf_put_key_u32(b, "qwen35.context_length", (uint32_t)s->context);
    n += gguf_put_key_u32(b, "qwen35.embedding_length", (uint32_t)s->dim);
    n += gguf_put_key_u32(b, "qwen35.feed_forward_length", (uint32_t)s->ff);
    n += gguf_put_key_u32(b, "qwen35.attention.head_count", (uint32_t)s->heads);
    n += gguf_put_key_u32(b, "qwen35.attention.head_count_kv", (uint32_t)s->kv_heads);
    n += gguf_put_key_u32(b, "qwen35.attention.key_length", (uint32_t)s->head_dim);
    n += gguf_put_key_u32(b, "qwen35.attention.value_length", (uint32_t)s->head_dim);
    n += gguf_put_key_f32(b, "qwen35.attention.layer_norm_rms_epsilon", 1e-6f);
    n += gguf_put_key_f32(b, "qwen35.rope.freq_base", 1e7f);
    n += gguf_put_key_u32(b, "qwen35.rope.dimension_count", (uint32_t)s->rot);
    n += gguf_put_key_array(b, "qwen35.rope.dimension_sections", GGUF_I32, 4);
    gguf_put(b, sections, sizeof(sections));
    n += gguf_put_key_u32(b, "qwen35.full_attention_interval", (uint32_t)s->interval);
    n += gguf_put_key_u32(b, "qwen35.ssm.conv_kernel", (uint32_t)s->conv);
    n += gguf_put_key_u32(b, "qwen35.ssm.state_size", (uint32_t)s->delta_dim);
    n += gguf_put_key_u32(b, "qwen35.ssm.group_count", (uint32_t)s->delta_k);
    n += gguf_put_key_u32(b, "qwen35.ssm.time_step_rank", (uint32_t)s->delta_v);
    n += gguf_put_key_u32(b, "qwen35.ssm.inner_size", (uint32_t)(s->delta_v * s->delta_dim));
    if (s->mtp)
        n += gguf_put_key_u32(b, "qwen35.nextn_predict_layers", (uint32_t)s->mtp);
    return n;
}

/* vocabulary */
static void put_tokens(struct gguf_bytes *b, const struct gguf_array *tokens)
{
    const uint8_t *cursor = tokens->data;

    gguf_put_key_array(b, "tokenizer.ggml.tokens", GGUF_STR, (uint64_t)shape.vocab);
    for (uint64_t i = 0; i < tokens->n; i++)
        gguf_array_next_str(&cursor);
    gguf_put(b, tokens->data, (size_t)(cursor - tokens->data));
    for (int i = (int)tokens->n; i < shape.vocab; i++) {
        char pad[24];

        snprintf(pad, sizeof(pad), "[PAD%d]", i);
        gguf_put_str(b, pad);
    }
}

static void put_token_types(struct gguf_bytes *b, const struct gguf_array *types)
{
    enum { NORMAL = 1 };

    gguf_put_key_array(b, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)shape.vocab);
    gguf_put(b, types->data, types->n * sizeof(int32_t));
    for (int i = (int)types->n; i < shape.vocab; i++)
        gguf_put_u32(b, NORMAL);
}

/* Every other tokenizer key is copied as it stands: a pair ends where the next key's length begins. */
static int put_other_keys(struct gguf_bytes *b, const struct gguf *g)
{
    size_t n_header = 0;
    const uint8_t *header = gguf_header(g, &n_header);
    int n = 0;

    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        uint32_t type;
        struct gguf_str key = gguf_key(g, i, &type);
        const char *end = (const char *)header + n_header;

        if (key.n < 10 || memcmp(key.s, "tokenizer.", 10))
            continue;
        if ((key.n == 21 && !memcmp(key.s, "tokenizer.ggml.tokens", 21)) ||
            (key.n == 25 && !memcmp(key.s, "tokenizer.ggml.token_type", 25)))
            continue;
        if (i + 1 < gguf_n_keys(g))
            end = gguf_key(g, i + 1, &type).s - 8;
        else if (gguf_n_tensors(g))
            end = gguf_tensor(g, 0)->name.s - 8;
        gguf_put(b, key.s - 8, (size_t)(end - (key.s - 8)));
        n++;
    }
    return n;
}

/* Returns how many keys it put, or -1 after saying why not. */
static int put_vocab_keys(struct gguf_bytes *b, const char *path)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    struct gguf_array tokens, types;
    int r = gguf_open(path, &fault, &g);

    if (!r)
        r = gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STR, &fault, &tokens);
    if (!r)
        r = gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, &fault, &types);
    if (!r && (tokens.n > (uint64_t)shape.vocab || tokens.n != types.n))
        r = fault_set(&fault, 1, "%" PRIu64 " tokens and %" PRIu64 " types do not fit --vocab %d", tokens.n,
                      types.n, shape.vocab);
    if (r) {
        random_fail(path, fault.text);
        return -1;
    }
    put_tokens(b, &tokens);
    put_token_types(b, &types);
    return 2 + put_other_keys(b, g);
}

/* tensors */
struct tensor {
    char name[64];
    enum quant_type type;
    int n_in, n_out; /* n_out = 0: a vector */
    enum fill fill;
    size_t bytes, offset;
};
struct plan {
    struct tensor *tensors; /* owned */
    int n, cap;
    size_t offset;
    enum quant_type matrix_type; /* with --type: of every matrix; else Q4_K, and "more bits" Q6_K */
    bool is_mix;
};

/* K-quants take whole rows of 256; a narrower model gets what fits, as quantisers do. */
static enum quant_type plan_type(const struct plan *p, int n_in, bool more_bits)
{
    enum quant_type type = p->is_mix ? (more_bits ? QUANT_Q6_K : QUANT_Q4_K) : p->matrix_type;

    if (n_in % quant_find(type)->n_block == 0)
        return type;
    return n_in % 32 == 0 ? QUANT_Q8_0 : QUANT_F16;
}

static int plan_add(struct plan *p, const char *name, enum quant_type type, int n_in, int n_out,
                    enum fill fill)
{
    struct tensor *t;

    if (p->n == p->cap) {
        int cap = MAX(2 * p->cap, 64);
        struct tensor *grown = reallocarray(p->tensors, (size_t)cap, sizeof(*grown));

        if (!grown)
            return random_fail("no memory", NULL);
        p->tensors = grown;
        p->cap = cap;
    }
    t = &p->tensors[p->n++];
    *t = (struct tensor){.type = type, .n_in = n_in, .n_out = n_out, .fill = fill, .offset = p->offset};
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->bytes = quant_row_bytes(quant_find(type), n_in) * (size_t)MAX(n_out, 1);
    p->offset = ROUND_UP(p->offset + t->bytes, (size_t)ALIGNMENT);
    return 0;
}

struct plan_row {
    const char *suffix;
    int n_in, n_out;
    enum fill fill;
    bool more_bits; /* attn_v, attn_qkv, ffn_down: Q6_K in some layers */
};

/* llama.cpp src/llama-quant.cpp, use_more_bits(): the first and last eighth, and every third in between. */
static bool plan_more_bits(int i, int n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static int plan_rows(struct plan *p, int i_layer, const struct plan_row *rows, size_t n_rows)
{
    char name[64];
    int r = 0;

    for (size_t i = 0; i < n_rows && !r; i++) {
        bool is_matrix = rows[i].fill == FILL_MATRIX;
        bool more_bits = rows[i].more_bits && plan_more_bits(i_layer, shape.layers);

        snprintf(name, sizeof(name), "blk.%d.%s", i_layer, rows[i].suffix);
        r = plan_add(p, name, is_matrix ? plan_type(p, rows[i].n_in, more_bits) : QUANT_F32, rows[i].n_in,
                     rows[i].n_out, rows[i].fill);
    }
    return r;
}

static int plan_layer(struct plan *p, int i)
{
    const struct shape *s = &shape;
    int n_q = s->heads * s->head_dim, n_kv = s->kv_heads * s->head_dim, inner = s->delta_v * s->delta_dim;
    int n_qkv = 2 * s->delta_k * s->delta_dim + inner;
    const struct plan_row attn[] = {
        {"attn_q.weight", s->dim, 2 * n_q, FILL_MATRIX, false},
        {"attn_k.weight", s->dim, n_kv, FILL_MATRIX, false},
        {"attn_v.weight", s->dim, n_kv, FILL_MATRIX, true},
        {"attn_output.weight", n_q, s->dim, FILL_MATRIX, false},
        {"attn_q_norm.weight", s->head_dim, 0, FILL_NORM, false},
        {"attn_k_norm.weight", s->head_dim, 0, FILL_NORM, false},
    };
    const struct plan_row delta[] = {
        {"attn_qkv.weight", s->dim, n_qkv, FILL_MATRIX, true},
        {"attn_gate.weight", s->dim, inner, FILL_MATRIX, false},
        {"ssm_alpha.weight", s->dim, s->delta_v, FILL_MATRIX, false},
        {"ssm_beta.weight", s->dim, s->delta_v, FILL_MATRIX, false},
        {"ssm_out.weight", inner, s->dim, FILL_MATRIX, false},
        {"ssm_conv1d.weight", s->conv, n_qkv, FILL_CONV, false},
        {"ssm_a", s->delta_v, 0, FILL_DECAY, false},
        {"ssm_dt.bias", s->delta_v, 0, FILL_DT, false},
        {"ssm_norm.weight", s->delta_dim, 0, FILL_NORM, false},
    };
    const struct plan_row both[] = {
        {"attn_norm.weight", s->dim, 0, FILL_NORM, false},
        {"post_attention_norm.weight", s->dim, 0, FILL_NORM, false},
        {"ffn_gate.weight", s->dim, s->ff, FILL_MATRIX, false},
        {"ffn_up.weight", s->dim, s->ff, FILL_MATRIX, false},
        {"ffn_down.weight", s->ff, s->dim, FILL_MATRIX, true},
    };
    const struct plan_row nextn[] = {
        {"nextn.eh_proj.weight", 2 * s->dim, s->dim, FILL_MATRIX, false},
        {"nextn.enorm.weight", s->dim, 0, FILL_NORM, false},
        {"nextn.hnorm.weight", s->dim, 0, FILL_NORM, false},
        {"nextn.shared_head_norm.weight", s->dim, 0, FILL_NORM, false},
    };
    bool is_attn = i >= s->layers || (i + 1) % s->interval == 0;
    int r = is_attn ? plan_rows(p, i, attn, ARRAY_SIZE(attn)) : plan_rows(p, i, delta, ARRAY_SIZE(delta));

    if (!r)
        r = plan_rows(p, i, both, ARRAY_SIZE(both));
    return r || i < s->layers ? r : plan_rows(p, i, nextn, ARRAY_SIZE(nextn));
}

static int plan_all(struct plan *p)
{
    const struct shape *s = &shape;
    int r = plan_add(p, "token_embd.weight", plan_type(p, s->dim, s->tied), s->dim, s->vocab, FILL_MATRIX);

    if (!r)
        r = plan_add(p, "output_norm.weight", QUANT_F32, s->dim, 0, FILL_NORM);
    if (!r && !s->tied)
        r = plan_add(p, "output.weight", plan_type(p, s->dim, true), s->dim, s->vocab, FILL_MATRIX);
    for (int i = 0; i < s->layers + s->mtp && !r; i++)
        r = plan_layer(p, i);
    return r;
}

static void put_directory(struct gguf_bytes *b, const struct plan *p)
{
    for (int i = 0; i < p->n; i++) {
        const struct tensor *t = &p->tensors[i];

        gguf_put_tensor(b, t->name, (uint64_t)t->n_in, (uint64_t)t->n_out, t->type, t->offset);
    }
}

/* file */
static int write_zeros(FILE *out, size_t n)
{
    static const uint8_t zeros[ALIGNMENT];

    return fwrite(zeros, 1, n, out) != n;
}

static int write_tensor(FILE *out, const struct tensor *t, uint64_t seed)
{
    enum { PIECE_BLOCKS = 4096 };
    const struct quant_info *q = quant_find(t->type);
    size_t n_blocks = t->bytes / (size_t)q->n_bytes;
    _cleanup_(freep) uint8_t *piece = malloc((size_t)PIECE_BLOCKS * (size_t)q->n_bytes);
    struct random_source source;

    if (!piece)
        return 1;
    if (shape.sparse)
        return fseek(out, (long)ROUND_UP(t->bytes, (size_t)ALIGNMENT), SEEK_CUR);
    random_init(&source, seed);
    while (n_blocks) {
        size_t n = MIN(n_blocks, (size_t)PIECE_BLOCKS);

        random_blocks(&source, t->type, t->fill, t->n_in, n, piece);
        if (fwrite(piece, (size_t)q->n_bytes, n, out) != n)
            return 1;
        n_blocks -= n;
    }
    return write_zeros(out, ROUND_UP(t->bytes, (size_t)ALIGNMENT) - t->bytes);
}

static int write_file(const char *path, const struct gguf_bytes *head, const struct plan *p)
{
    FILE *out = fopen(path, "wb");
    int failed = !out || fwrite(head->p, 1, head->n, out) != head->n ||
                 write_zeros(out, ROUND_UP(head->n, (size_t)ALIGNMENT) - head->n);

    for (int i = 0; i < p->n && !failed; i++)
        failed = write_tensor(out, &p->tensors[i], (uint64_t)shape.seed << 32 | (uint64_t)i);
    if (out && !failed && shape.sparse)
        failed = fflush(out) || ftruncate(fileno(out), ftell(out));
    if (out && fclose(out))
        failed = 1;
    return failed ? random_fail(path, strerror(errno)) : 0;
}

static int build(const char *path, const char *vocab_path, struct plan *p)
{
    struct gguf_bytes head = {0}, keys = {0};
    int n_model = put_model_keys(&keys), n_vocab = put_vocab_keys(&keys, vocab_path), r;

    r = n_vocab < 0 || plan_all(p);
    if (!r) {
        gguf_put_header(&head, (uint64_t)p->n, (uint64_t)(n_model + n_vocab));
        gguf_put(&head, keys.p, keys.n);
        put_directory(&head, p);
        r = head.failed || keys.failed ? random_fail("no memory for the header", NULL)
                                       : write_file(path, &head, p);
    }
    gguf_bytes_deinit(&head);
    gguf_bytes_deinit(&keys);
    return r;
}

/* options */
static int parse_option(const char *name, const char *value, const char **vocab_path, struct plan *p)
{
    if (!strcmp(name, "--vocab-file")) {
        *vocab_path = value;
        return 0;
    }
    if (!strcmp(name, "--type")) {
        p->is_mix = false;
        if (quant_find_by_name(value, &p->matrix_type) || !random_can_fill(p->matrix_type))
            return random_fail("--type cannot be", value);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(random_options); i++) {
        char *end;

        if (strcmp(name, random_options[i].name))
            continue;
        long v = strtol(value, &end, 10);
        if (end == value || *end || v < random_options[i].lo || v > random_options[i].hi)
            return random_fail(name, "value out of range");
        *random_options[i].value = (int)v;
        return 0;
    }
    return random_fail("no option", name);
}

int main(int argc, char **argv)
{
    const char *vocab_path = NULL, *path = NULL;
    struct plan p = {.is_mix = true};
    int r = 0;

    for (int i = 1; i < argc && !r; i++) {
        if (strncmp(argv[i], "--", 2))
            path = argv[i];
        else if (i + 1 == argc)
            r = random_fail(argv[i], "needs a value");
        else {
            r = parse_option(argv[i], argv[i + 1], &vocab_path, &p);
            i++;
        }
    }
    if (!r && (!path || !vocab_path))
        r = random_fail("usage: random_gguf --vocab-file VOCAB.gguf [--layers N] [--dim N] ... OUT.gguf",
                        NULL);
    if (!r)
        r = build(path, vocab_path, &p);
    free(p.tensors);
    return r;
}
