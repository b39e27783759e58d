/* mutate_gguf.c - see mutate_gguf.h.  Names and values are borrowed from the file until it is written. */
#include "mutate_gguf.h"

#include <math.h>
#include <string.h>

#include "daemon/model/gguf.h"
#include "tests/fixture/gguf_put.h"

enum {
    MUTATE_MAX = 256,       /* keys, and tensors, of a file; the largest of the corpus has 42 of either */
    MUTATE_TYPES = 13,      /* GGUF_U8 .. GGUF_F64 */
    MUTATE_ALIGNMENT = 32,  /* the format's default */
    MUTATE_HEAD = 12,       /* bytes of the longest value that is not text: an array's type and length */
    MUTATE_DIMS = 8,        /* more than the format allows */
    MUTATE_DATA = 1 << 20,  /* tensor bytes past which a file is cut anyway */
    MUTATE_ENTRY_BYTES = 4, /* of a u32: a key's type */
};

/* A value is its first bytes, which are all of a number, and the rest of a string or an array. */
struct mutate_key {
    struct gguf_str name;
    uint32_t type;
    uint8_t head[MUTATE_HEAD];
    size_t n_head, n_rest;
    const uint8_t *rest;
};

struct mutate_tensor {
    struct gguf_str name;
    uint32_t type, n_dims;
    uint64_t ne[MUTATE_DIMS];
    uint64_t offset;
};

struct mutate_file {
    struct gen *gen;
    uint32_t version;
    uint64_t more_keys, more_tensors; /* than there are, says the header; may wrap */
    size_t n_keys, n_tensors;
    size_t n_data; /* bytes behind the directory */
    struct mutate_key keys[MUTATE_MAX];
    struct mutate_tensor tensors[MUTATE_MAX];
};

/* bytes of a number; of a string's and an array's head */
static const uint8_t mutate_type_bytes[MUTATE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

static struct gguf_str mutate_str(const char *s)
{
    return (struct gguf_str){s, strlen(s)};
}

/* take apart */
static void mutate_read_key(struct mutate_key *key, struct gguf_str name, uint32_t type, const uint8_t *end)
{
    const uint8_t *value = (const uint8_t *)name.s + name.n + MUTATE_ENTRY_BYTES;

    *key = (struct mutate_key){.name = name, .type = type, .n_head = mutate_type_bytes[type]};
    memcpy(key->head, value, key->n_head);
    key->rest = value + key->n_head;
    key->n_rest = (size_t)(end - key->rest);
}

/* Each entry begins with its name's length, 8 bytes before the name, where the one before it ends. */
static void mutate_read_keys(struct mutate_file *f, const struct gguf *g)
{
    size_t n_header = 0;
    const uint8_t *end = gguf_header(g, &n_header) + n_header;
    uint32_t type = 0;

    if (gguf_n_tensors(g))
        end = (const uint8_t *)gguf_tensor(g, 0)->name.s - 8;
    f->n_keys = gguf_n_keys(g);
    for (size_t i = f->n_keys; i-- > 0;) {
        struct gguf_str name = gguf_key(g, i, &type);

        mutate_read_key(&f->keys[i], name, type, end);
        end = (const uint8_t *)name.s - 8;
    }
}

static void mutate_read_tensors(struct mutate_file *f, const struct gguf *g)
{
    size_t n_header = 0;
    uint32_t alignment = MUTATE_ALIGNMENT;
    const uint8_t *data = gguf_header(g, &n_header);

    if (gguf_has(g, "general.alignment"))
        (void)gguf_get_u32(g, "general.alignment", 1, UINT32_MAX, NULL, &alignment);
    data += ROUND_UP(n_header, (size_t)alignment);
    f->n_tensors = gguf_n_tensors(g);
    f->n_data = gguf_file_bytes(g) > n_header ? gguf_file_bytes(g) - n_header : 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        struct mutate_tensor *to = &f->tensors[i];

        *to = (struct mutate_tensor){.name = t->name,
                                     .type = t->type,
                                     .n_dims = (uint32_t)t->n_dims,
                                     .offset = (uint64_t)(t->data - data)};
        for (int d = 0; d < MUTATE_DIMS; d++)
            to->ne[d] = d < GGUF_DIMS_MAX ? t->ne[d] : 1;
    }
}

/* chance */
static uint64_t mutate_number(struct gen *gen, uint64_t old)
{
    switch (gen_below(gen, 8)) {
    case 0:
        return old + 1;
    case 1:
        return old - 1;
    case 2:
        return old * 2;
    case 3:
        return gen_below(gen, 70);
    case 4: /* the ends of 8, 16, 32 and 64 bits */
        return UINT64_MAX >> (64 - (8u << gen_below(gen, 4)));
    case 5:
        return (UINT64_C(1) << gen_below(gen, 64)) - gen_below(gen, 2);
    default:
        return gen_u64(gen) >> gen_below(gen, 64);
    }
}

static struct gguf_str mutate_name(struct gen *gen)
{
    static const char *const names[] = {
        "general.alignment",
        "general.architecture",
        "qwen35.block_count",
        "qwen35.nextn_predict_layers",
        "qwen35.full_attention_interval",
        "qwen35.attention.recurrent_layers",
        "qwen35.rope.scaling.type",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.eos_token_id",
        "token_embd.weight",
        "output.weight",
        "blk.0.attn_qkv.weight",
        "blk.1.attn_q.weight",
        "blk.2.nextn.embed_tokens.weight",
        "blk.2.nextn.shared_head_head.weight",
        "blk.4294967296.attn_q.weight",
        "a name of sixty-four bytes, which is the longest a tensor can do",
        "a name of sixty-five bytes, which is one more than it may be then",
        "",
        "\x1b[31m\xff\x01",
        "unknown",
    };

    return mutate_str(names[gen_below(gen, ARRAY_SIZE(names))]);
}

/* keys */
static uint64_t mutate_head_number(const struct mutate_key *key, size_t at, size_t n)
{
    uint64_t v = 0;

    memcpy(&v, key->head + at, n);
    return v;
}

static void mutate_key_value(struct gen *gen, struct mutate_key *key)
{
    static const float floats[] = {0.0f, -1.0f, 1.0f, 1e-6f, 1e7f, INFINITY, NAN};
    /* its type may be a new one already, and not go with its bytes */
    size_t at = key->n_head == MUTATE_HEAD ? MUTATE_ENTRY_BYTES : 0, n = key->n_head - at;
    uint64_t v = mutate_number(gen, mutate_head_number(key, at, n));

    if (key->type == GGUF_F32 && gen_below(gen, 4))
        memcpy(key->head, &floats[gen_below(gen, ARRAY_SIZE(floats))], n);
    else
        memcpy(key->head + at, &v, n);
}

/* Another type; mostly with as many bytes as that has, which for text and arrays is an empty one. */
static void mutate_key_type(struct gen *gen, struct mutate_key *key)
{
    uint64_t v = mutate_head_number(key, 0, MIN(key->n_head, sizeof(v)));

    key->type = gen_below(gen, 8) ? gen_below(gen, MUTATE_TYPES) : (uint32_t)mutate_number(gen, key->type);
    if (key->type >= MUTATE_TYPES || !gen_below(gen, 4))
        return;
    memset(key->head, 0, sizeof(key->head));
    key->n_head = mutate_type_bytes[key->type];
    key->n_rest = 0;
    if (key->type != GGUF_STR && key->type != GGUF_ARRAY)
        memcpy(key->head, &v, MIN(key->n_head, sizeof(v)));
}

static void mutate_key_set(struct mutate_key *key, const char *name, uint32_t type, uint64_t v)
{
    *key = (struct mutate_key){.name = mutate_str(name), .type = type, .n_head = mutate_type_bytes[type]};
    memcpy(key->head, &v, MIN(key->n_head, sizeof(v)));
}

/* A key that a model may have and most have not. */
static void mutate_key_optional(struct gen *gen, struct mutate_key *key)
{
    static const uint8_t layers[] = {1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 2};
    static const char none[] = "none", yarn[] = "yarn";
    uint64_t n = 1 + gen_below(gen, 4);

    switch (gen_below(gen, 4)) {
    case 0:
        mutate_key_set(key, "general.alignment", GGUF_U32, UINT64_C(1) << gen_below(gen, 13));
        return;
    case 1:
        mutate_key_set(key, "qwen35.nextn_predict_layers", GGUF_U8, gen_below(gen, 2));
        return;
    case 2:
        mutate_key_set(key, "qwen35.rope.scaling.type", GGUF_STR, 4);
        key->rest = (const uint8_t *)(gen_below(gen, 2) ? none : yarn);
        key->n_rest = 4;
        return;
    default:
        mutate_key_set(key, "qwen35.attention.recurrent_layers", GGUF_ARRAY, GGUF_BOOL);
        memcpy(key->head + MUTATE_ENTRY_BYTES, &n, sizeof(n));
        key->rest = layers + gen_below(gen, ARRAY_SIZE(layers) - (uint32_t)n + 1);
        key->n_rest = n;
    }
}

static void mutate_key_swap(struct mutate_key *a, struct mutate_key *b)
{
    struct mutate_key was = *a;

    *a = *b;
    *b = was;
}

static void mutate_keys(struct mutate_file *f)
{
    struct gen *gen = f->gen;
    struct mutate_key *key = &f->keys[gen_below(gen, (uint32_t)f->n_keys)];
    struct mutate_key *other = &f->keys[gen_below(gen, (uint32_t)f->n_keys)];

    switch (gen_below(gen, 9)) {
    case 0:
    case 1:
        mutate_key_value(gen, key);
        break;
    case 2:
    case 3:
        mutate_key_type(gen, key);
        break;
    case 4:
        key->name = gen_below(gen, 2) ? other->name : mutate_name(gen);
        break;
    case 5: /* its place is taken by another, or nothing has it */
        *key = f->keys[--f->n_keys];
        break;
    case 6:
        if (f->n_keys < MUTATE_MAX) {
            f->keys[f->n_keys] = *key;
            f->keys[f->n_keys++].name = gen_below(gen, 4) ? mutate_name(gen) : key->name;
        }
        break;
    case 7:
        mutate_key_swap(key, other);
        break;
    default:
        if (f->n_keys < MUTATE_MAX)
            mutate_key_optional(gen, &f->keys[f->n_keys++]);
    }
}

/* tensors */
static uint32_t mutate_tensor_type(struct gen *gen)
{
    static const uint8_t types[] = {QUANT_F32,  QUANT_F16,  QUANT_Q4_0, QUANT_Q8_0,
                                    QUANT_Q4_K, QUANT_BF16, 10 /* Q2_K: known, not loadable */};

    if (!gen_below(gen, 4))
        return (uint32_t)mutate_number(gen, 0);
    return types[gen_below(gen, ARRAY_SIZE(types))];
}

/* Changes of the shape and of where the bytes lie. */
static void mutate_tensor_shape(struct gen *gen, struct mutate_tensor *t, const struct mutate_tensor *other)
{
    uint32_t d = gen_below(gen, MAX(t->n_dims % MUTATE_DIMS, 1u));

    switch (gen_below(gen, 5)) {
    case 0:
        t->ne[d] = mutate_number(gen, t->ne[d]);
        break;
    case 1:
        t->n_dims = gen_below(gen, 6);
        break;
    case 2: /* transposed */
        t->ne[0] = other->ne[1];
        t->ne[1] = other->ne[0];
        break;
    case 3:
        memcpy(t->ne, other->ne, sizeof(t->ne));
        break;
    default:
        t->offset = gen_below(gen, 2) ? other->offset : mutate_number(gen, t->offset);
    }
}

static void mutate_tensor_swap(struct mutate_tensor *a, struct mutate_tensor *b)
{
    struct mutate_tensor was = *a;

    *a = *b;
    *b = was;
}

static void mutate_tensors(struct mutate_file *f)
{
    struct gen *gen = f->gen;
    struct mutate_tensor *t = &f->tensors[gen_below(gen, (uint32_t)f->n_tensors)];
    struct mutate_tensor *other = &f->tensors[gen_below(gen, (uint32_t)f->n_tensors)];

    switch (gen_below(gen, 8)) {
    case 0:
    case 1:
        t->type = mutate_tensor_type(gen);
        break;
    case 2:
    case 3:
        mutate_tensor_shape(gen, t, other);
        break;
    case 4:
        t->name = gen_below(gen, 2) ? other->name : mutate_name(gen);
        break;
    case 5:
        *t = f->tensors[--f->n_tensors];
        break;
    case 6:
        if (f->n_tensors < MUTATE_MAX) {
            f->tensors[f->n_tensors] = *t;
            f->tensors[f->n_tensors++].name = gen_below(gen, 4) ? mutate_name(gen) : t->name;
        }
        break;
    default:
        mutate_tensor_swap(t, other);
    }
}

static void mutate_header(struct mutate_file *f)
{
    switch (gen_below(f->gen, 3)) {
    case 0:
        f->version = gen_below(f->gen, 2) ? 2 : (uint32_t)mutate_number(f->gen, f->version);
        break;
    case 1:
        f->more_keys = mutate_number(f->gen, 0);
        break;
    default:
        f->more_tensors = mutate_number(f->gen, 0);
    }
}

/* put together */
static size_t mutate_tensor_bytes(const struct mutate_tensor *t)
{
    const struct quant_info *q = quant_find(t->type);
    uint64_t n = 1;

    for (uint32_t d = 0; q && d < MIN(t->n_dims, (uint32_t)MUTATE_DIMS); d++)
        n = t->ne[d] && t->ne[d] <= MUTATE_DATA && n <= MUTATE_DATA ? n * t->ne[d] : 0;
    return q ? MIN((size_t)quant_row_bytes(q, (int64_t)n), (size_t)MUTATE_DATA) : 0;
}

static size_t mutate_alignment(const struct mutate_file *f)
{
    uint64_t v = MUTATE_ALIGNMENT;

    for (size_t i = 0; i < f->n_keys; i++)
        if (f->keys[i].name.n == 17 && !memcmp(f->keys[i].name.s, "general.alignment", 17))
            v = mutate_head_number(&f->keys[i], 0, MIN(f->keys[i].n_head, sizeof(v)));
    return v && v <= 4096 && !(v & (v - 1)) ? v : MUTATE_ALIGNMENT;
}

/* Gives every tensor its own place, in order; returns how many bytes they take. */
static size_t mutate_place(struct mutate_file *f, size_t alignment)
{
    size_t at = 0;

    for (size_t i = 0; i < f->n_tensors; i++) {
        f->tensors[i].offset = at;
        at = MIN(ROUND_UP(at + mutate_tensor_bytes(&f->tensors[i]), alignment), (size_t)MUTATE_DATA);
    }
    return at;
}

static void mutate_put_str(struct gguf_bytes *b, struct gguf_str s)
{
    gguf_put_u64(b, s.n);
    gguf_put(b, s.s, s.n);
}

static void mutate_put_directory(struct gguf_bytes *b, const struct mutate_file *f)
{
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct mutate_tensor *t = &f->tensors[i];

        mutate_put_str(b, t->name);
        gguf_put_u32(b, t->n_dims);
        gguf_put(b, t->ne, MIN(t->n_dims, (uint32_t)MUTATE_DIMS) * sizeof(t->ne[0]));
        gguf_put_u32(b, t->type);
        gguf_put_u64(b, t->offset);
    }
}

static void mutate_put(struct gguf_bytes *b, struct mutate_file *f, bool keep_offsets)
{
    size_t alignment = mutate_alignment(f), n_data = keep_offsets ? f->n_data : mutate_place(f, alignment);

    gguf_put_header(b, f->n_tensors + f->more_tensors, f->n_keys + f->more_keys);
    for (size_t i = 0; i < f->n_keys; i++) {
        const struct mutate_key *key = &f->keys[i];

        mutate_put_str(b, key->name);
        gguf_put_u32(b, key->type);
        gguf_put(b, key->head, key->n_head);
        if (key->n_rest)
            gguf_put(b, key->rest, key->n_rest);
    }
    mutate_put_directory(b, f);
    gguf_put_align(b, alignment);
    gguf_put_zeros(b, n_data);
    if (!b->failed)
        memcpy(b->p + 4, &f->version, sizeof(f->version));
}

size_t mutate_gguf(struct gen *gen, uint8_t *data, size_t n, size_t n_max)
{
    _cleanup_(gguf_bytes_deinit) struct gguf_bytes out = {0};
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    static struct mutate_file f; /* 40 KiB: not on the stack */

    if (gguf_open_memory(data, n, NULL, &g) || gguf_n_keys(g) > MUTATE_MAX || gguf_n_tensors(g) > MUTATE_MAX)
        return 0;
    f = (struct mutate_file){.gen = gen, .version = gguf_version(g)};
    mutate_read_keys(&f, g);
    mutate_read_tensors(&f, g);
    for (uint32_t i = 1 + gen_below(gen, 3); i; i--) {
        uint32_t what = gen_below(gen, 16);

        if (!what)
            mutate_header(&f);
        else if (what < 8 && f.n_keys)
            mutate_keys(&f);
        else if (f.n_tensors)
            mutate_tensors(&f);
    }
    mutate_put(&out, &f, !gen_below(gen, 8));
    if (out.failed)
        return 0;
    n = MIN(out.n, n_max);
    memcpy(data, out.p, n);
    return gen_below(gen, 32) ? n : 1 + gen_below(gen, (uint32_t)n);
}
