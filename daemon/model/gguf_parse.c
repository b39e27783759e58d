/* gguf_parse.c - walks the metadata and the tensor directory of a GGUF file once and checks all of it.
 *
 * Format: ggml docs/gguf.md, versions 2 and 3 (equal but for the number).  Everything is little-endian and
 * unaligned: u32 magic, u32 version, u64 n_tensors, u64 n_kv n_kv times       string key, u32 type, value
 * (string = u64 length, bytes; array = u32 type, u64 n, elements) n_tensors times  string name, u32 n_dims,
 * u64 ne[n_dims], u32 type, u64 offset zeros up to general.alignment, then the tensor data that the offsets
 * count from Invariant: the cursor never passes the end of the mapping, and no length is added before it was
 * compared with what is left, so that no sum can wrap. */
#include "gguf_parse.h"

#include <inttypes.h>
#include <string.h>

static const uint8_t gguf_magic[4] = {'G', 'G', 'U', 'F'};
enum {
    GGUF_ALIGNMENT_DEFAULT = 32,
    GGUF_ALIGNMENT_MAX = 1 << 21
}; /* 2 MiB: the largest page anyone aligns to */

static const struct {
    const char *name;
    size_t bytes;
} gguf_types[] = {
    [GGUF_U8] = {"u8", 1},   [GGUF_I8] = {"i8", 1},       [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2}, [GGUF_U32] = {"u32", 4},     [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},   [GGUF_STR] = {"string", 0},
    [GGUF_U64] = {"u64", 8}, [GGUF_ARRAY] = {"array", 0}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(uint32_t type)
{
    return type < ARRAY_SIZE(gguf_types) ? gguf_types[type].name : "?";
}

size_t gguf_type_bytes(uint32_t type)
{
    return type < ARRAY_SIZE(gguf_types) ? gguf_types[type].bytes : 0;
}

uint64_t gguf_read_le(const uint8_t *p, size_t n_bytes)
{
    uint64_t v = 0;

    memcpy(&v, p, n_bytes); /* little-endian hosts only: kernels.h needs one as well */
    return v;
}

struct gguf_label gguf_label(struct gguf_str name)
{
    struct gguf_label label;
    size_t n = MIN(name.n, sizeof(label.text) - 1);

    for (size_t i = 0; i < n; i++)
        label.text[i] = name.s[i] > ' ' && name.s[i] < 0x7f ? name.s[i] : '?';
    label.text[n] = '\0';
    return label;
}

/* index */
static uint32_t gguf_hash(struct gguf_str name)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < name.n; i++)
        h = (h ^ (uint8_t)name.s[i]) * 16777619u;
    return h ^ h >> 15;
}

static int gguf_index_init(struct gguf_index *index, size_t n)
{
    uint32_t size = 16;

    while (size < 2 * n)
        size *= 2;
    index->slot = calloc(size, sizeof(*index->slot));
    if (!index->slot)
        return err_origin(-ENOMEM);
    index->mask = size - 1;
    return 0;
}

static struct gguf_str gguf_name_kv(const struct gguf *g, size_t i)
{
    return g->kv[i].key;
}

static struct gguf_str gguf_name_tensor(const struct gguf *g, size_t i)
{
    return g->tensors[i].name;
}

typedef struct gguf_str (*gguf_name_fn)(const struct gguf *g, size_t i);

/* The slot that holds name, or the free one where it belongs. */
static uint32_t *gguf_index_slot(const struct gguf *g, const struct gguf_index *index, gguf_name_fn name_of,
                                 struct gguf_str name)
{
    for (uint32_t at = gguf_hash(name);; at++) {
        uint32_t *slot = &index->slot[at & index->mask];

        if (!*slot)
            return slot;
        struct gguf_str have = name_of(g, *slot - 1);
        if (have.n == name.n && !memcmp(have.s, name.s, name.n))
            return slot;
    }
}

int64_t gguf_find_kv(const struct gguf *g, struct gguf_str name)
{
    return (int64_t)*gguf_index_slot(g, &g->kv_index, gguf_name_kv, name) - 1;
}

int64_t gguf_find_tensor_at(const struct gguf *g, struct gguf_str name)
{
    return (int64_t)*gguf_index_slot(g, &g->tensor_index, gguf_name_tensor, name) - 1;
}

/* cursor */
struct gguf_cursor {
    const uint8_t *start, *at, *end;
    struct fault *fault;
};

static int gguf_truncated(const struct gguf_cursor *c, const char *where, const char *what, uint64_t need)
{
    return fault_set(c->fault, GGUF_E_TRUNCATED,
                     "%s: %s takes %" PRIu64 " bytes at offset %zu, but the file has %zu left", where, what,
                     need, (size_t)(c->at - c->start), (size_t)(c->end - c->at));
}

static int gguf_take(struct gguf_cursor *c, const char *where, const char *what, uint64_t n,
                     const uint8_t **ret_p)
{
    if (n > (uint64_t)(c->end - c->at))
        return gguf_truncated(c, where, what, n);
    *ret_p = c->at;
    c->at += n;
    return 0;
}

static int gguf_take_uint(struct gguf_cursor *c, const char *where, const char *what, size_t n_bytes,
                          uint64_t *ret_v)
{
    const uint8_t *p = NULL;
    int r = gguf_take(c, where, what, n_bytes, &p);

    if (r)
        return r;
    *ret_v = gguf_read_le(p, n_bytes);
    return 0;
}

static int gguf_take_str(struct gguf_cursor *c, const char *where, const char *what, struct gguf_str *ret_str)
{
    const uint8_t *p = NULL;
    uint64_t n = 0;
    int r = gguf_take_uint(c, where, "a string's length", 8, &n);

    if (!r)
        r = gguf_take(c, where, what, n, &p);
    if (r)
        return r;
    *ret_str = (struct gguf_str){(const char *)p, (size_t)n};
    return 0;
}

/* metadata */
static int gguf_parse_array(struct gguf_cursor *c, const char *key, struct gguf_array *ret_array)
{
    uint64_t type = 0, n = 0;
    const uint8_t *data = NULL;
    int r = gguf_take_uint(c, key, "an array's element type", 4, &type);

    if (!r)
        r = gguf_take_uint(c, key, "an array's length", 8, &n);
    if (r)
        return r;
    if (type == GGUF_ARRAY)
        return fault_set(c->fault, GGUF_E_MALFORMED,
                         "%s is an array of arrays, which no key of this model is", key);
    if (type >= ARRAY_SIZE(gguf_types))
        return fault_set(c->fault, GGUF_E_MALFORMED,
                         "%s has array element type %" PRIu64 ", should be in [0, %zu]", key, type,
                         ARRAY_SIZE(gguf_types) - 1);
    size_t each =
        type == GGUF_STR ? 8 : gguf_type_bytes((uint32_t)type); /* a string takes at least its length */
    if (n > (uint64_t)(c->end - c->at) / each)
        return fault_set(c->fault, GGUF_E_TRUNCATED,
                         "%s: an array of %" PRIu64 " %s at offset %zu, but the file has %zu bytes left", key,
                         n, gguf_type_name((uint32_t)type), (size_t)(c->at - c->start),
                         (size_t)(c->end - c->at));
    *ret_array = (struct gguf_array){.type = (uint32_t)type, .n = n, .data = c->at};
    if (type != GGUF_STR)
        return gguf_take(c, key, "an array", n * each, &data);
    for (uint64_t i = 0; i < n; i++) {
        struct gguf_str s;

        r = gguf_take_str(c, key, "a string of the array", &s);
        if (r)
            return r;
    }
    return 0;
}

static int gguf_parse_value(struct gguf_cursor *c, const char *key, struct gguf_kv *kv)
{
    struct gguf_str s;
    int r;

    kv->value = c->at;
    if (kv->type == GGUF_ARRAY)
        return gguf_parse_array(c, key, &kv->array);
    if (kv->type == GGUF_STR)
        return gguf_take_str(c, key, "the string", &s);
    if (kv->type >= ARRAY_SIZE(gguf_types))
        return fault_set(c->fault, GGUF_E_MALFORMED, "%s has type %" PRIu32 ", should be in [0, %zu]", key,
                         kv->type, ARRAY_SIZE(gguf_types) - 1);
    r = gguf_take(c, key, "the value", gguf_type_bytes(kv->type), &kv->value);
    if (!r && kv->type == GGUF_BOOL && *kv->value > 1)
        return fault_set(c->fault, GGUF_E_MALFORMED, "%s is a bool of value %d, should be 0 or 1", key,
                         *kv->value);
    return r;
}

static int gguf_parse_kv(struct gguf *g, struct gguf_cursor *c, size_t i)
{
    struct gguf_kv *kv = &g->kv[i];
    struct gguf_label label;
    uint64_t type = 0;
    uint32_t *slot;
    int r = gguf_take_str(c, "metadata", "a key", &kv->key);

    if (r)
        return r;
    label = gguf_label(kv->key);
    if (!kv->key.n || kv->key.n > GGUF_KEY_BYTES_MAX)
        return fault_set(c->fault, GGUF_E_MALFORMED,
                         "metadata key %zu has a name of %zu bytes, should be 1 to %d", i, kv->key.n,
                         GGUF_KEY_BYTES_MAX);
    r = gguf_take_uint(c, label.text, "its type", 4, &type);
    if (r)
        return r;
    kv->type = (uint32_t)type;
    slot = gguf_index_slot(g, &g->kv_index, gguf_name_kv, kv->key);
    if (*slot)
        return fault_set(c->fault, GGUF_E_MALFORMED, "%s is in the metadata twice", label.text);
    *slot = (uint32_t)i + 1;
    return gguf_parse_value(c, label.text, kv);
}

static int gguf_parse_metadata(struct gguf *g, struct gguf_cursor *c)
{
    int r = gguf_index_init(&g->kv_index, g->n_kv);

    if (r)
        return r;
    g->kv = calloc(MAX(g->n_kv, (size_t)1), sizeof(*g->kv));
    if (!g->kv)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < g->n_kv; i++) {
        r = gguf_parse_kv(g, c, i);
        if (r)
            return r;
    }
    return 0;
}

static int gguf_parse_alignment(struct gguf *g, struct fault *fault)
{
    static const char key[] = "general.alignment";
    uint32_t v = GGUF_ALIGNMENT_DEFAULT;
    int r;

    if (gguf_has(g, key)) {
        r = gguf_get_u32(g, key, 1, GGUF_ALIGNMENT_MAX, fault, &v);
        if (r)
            return r;
    }
    if (v & (v - 1))
        return fault_set(fault, GGUF_E_RANGE, "%s is %" PRIu32 ", should be a power of two", key, v);
    g->alignment = v;
    return 0;
}

/* tensors */
/* ne and type -> n_values and bytes, with every product checked. */
static int gguf_parse_size(struct gguf_tensor *t, const char *name, struct fault *fault)
{
    const struct quant_info *q = quant_find(t->type);
    uint64_t n_values = 1, n_blocks;

    if (!q)
        return fault_set(fault, GGUF_E_MALFORMED, "%s has type %" PRIu32 ", which no GGUF version defines",
                         name, t->type);
    for (int d = 0; d < t->n_dims; d++) {
        if (!t->ne[d])
            return fault_set(fault, GGUF_E_MALFORMED, "%s has ne[%d] = 0, should be at least 1", name, d);
        if (t->ne[d] > INT64_MAX / n_values)
            return fault_set(fault, GGUF_E_MALFORMED, "%s has more than 2^63 values (ne[%d] = %" PRIu64 ")",
                             name, d, t->ne[d]);
        n_values *= t->ne[d];
    }
    if (t->ne[0] % (uint64_t)q->n_block)
        return fault_set(fault, GGUF_E_MALFORMED,
                         "%s has ne[0] = %" PRIu64 ", should be a multiple of %d for %s", name, t->ne[0],
                         q->n_block, q->name);
    n_blocks = n_values / (uint64_t)q->n_block;
    if (n_blocks > SIZE_MAX / (uint64_t)q->n_bytes)
        return fault_set(fault, GGUF_E_MALFORMED, "%s has %" PRIu64 " blocks of %s: too many to address",
                         name, n_blocks, q->name);
    t->bytes = (size_t)n_blocks * (size_t)q->n_bytes;
    return 0;
}

static int gguf_parse_dims(struct gguf_cursor *c, const char *name, struct gguf_tensor *t)
{
    uint64_t n_dims = 0;
    int r = gguf_take_uint(c, name, "its number of dimensions", 4, &n_dims);

    if (r)
        return r;
    if (n_dims < 1 || n_dims > GGUF_DIMS_MAX)
        return fault_set(c->fault, GGUF_E_MALFORMED, "%s has %" PRIu64 " dimensions, should be 1 to %d", name,
                         n_dims, GGUF_DIMS_MAX);
    t->n_dims = (int)n_dims;
    for (int d = 0; d < GGUF_DIMS_MAX; d++) {
        t->ne[d] = 1;
        if (d < t->n_dims && (r = gguf_take_uint(c, name, "its shape", 8, &t->ne[d])))
            return r;
    }
    return 0;
}

static int gguf_parse_tensor(struct gguf *g, struct gguf_cursor *c, size_t i, uint64_t *ret_offset)
{
    struct gguf_tensor *t = &g->tensors[i];
    struct gguf_label label;
    uint64_t type = 0;
    uint32_t *slot;
    int r = gguf_take_str(c, "tensor directory", "a name", &t->name);

    if (r)
        return r;
    label = gguf_label(t->name);
    if (!t->name.n || t->name.n > GGUF_TENSOR_NAME_MAX)
        return fault_set(c->fault, GGUF_E_MALFORMED, "tensor %zu has a name of %zu bytes, should be 1 to %d",
                         i, t->name.n, GGUF_TENSOR_NAME_MAX);
    slot = gguf_index_slot(g, &g->tensor_index, gguf_name_tensor, t->name);
    if (*slot)
        return fault_set(c->fault, GGUF_E_MALFORMED, "%s is in the tensor directory twice", label.text);
    *slot = (uint32_t)i + 1;
    r = gguf_parse_dims(c, label.text, t);
    if (!r)
        r = gguf_take_uint(c, label.text, "its type", 4, &type);
    if (!r)
        r = gguf_take_uint(c, label.text, "its offset", 8, ret_offset);
    if (r)
        return r;
    t->type = (uint32_t)type;
    return gguf_parse_size(t, label.text, c->fault);
}

/* Turns the offset of one tensor into a pointer, once the start of the data is known. */
static int gguf_place_tensor(const struct gguf *g, size_t data_start, struct gguf_tensor *t, uint64_t offset,
                             struct fault *fault)
{
    struct gguf_label label = gguf_label(t->name);
    size_t room = g->n_map > data_start ? g->n_map - data_start : 0;

    if (offset % g->alignment)
        return fault_set(fault, GGUF_E_MALFORMED,
                         "%s is at offset %" PRIu64 ", should be a multiple of %" PRIu64, label.text, offset,
                         g->alignment);
    if (offset > room || t->bytes > room - offset)
        return fault_set(fault, GGUF_E_TRUNCATED,
                         "%s takes %zu bytes at offset %" PRIu64
                         " of the data, but the file has only %zu there",
                         label.text, t->bytes, offset, room);
    t->data = g->map + data_start + offset;
    return 0;
}

static int gguf_compare_data(const void *a, const void *b)
{
    const struct gguf_tensor *ta = *(const struct gguf_tensor *const *)a,
                             *tb = *(const struct gguf_tensor *const *)b;

    return (ta->data > tb->data) - (ta->data < tb->data);
}

static int gguf_check_overlap(const struct gguf *g, struct fault *fault)
{
    _cleanup_(freep) const struct gguf_tensor **sorted =
        calloc(MAX(g->n_tensors, (size_t)1), sizeof(*sorted));

    if (!sorted)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < g->n_tensors; i++)
        sorted[i] = &g->tensors[i];
    qsort(sorted, g->n_tensors, sizeof(*sorted), gguf_compare_data);
    for (size_t i = 1; i < g->n_tensors; i++) {
        const struct gguf_tensor *a = sorted[i - 1], *b = sorted[i];

        if (a->data + a->bytes > b->data)
            return fault_set(fault, GGUF_E_MALFORMED, "%s and %s overlap in the file",
                             gguf_label(a->name).text, gguf_label(b->name).text);
    }
    return 0;
}

static int gguf_parse_directory(struct gguf *g, struct gguf_cursor *c)
{
    _cleanup_(freep) uint64_t *offsets = calloc(MAX(g->n_tensors, (size_t)1), sizeof(*offsets));
    size_t data_start;
    int r = gguf_index_init(&g->tensor_index, g->n_tensors);

    if (r)
        return r;
    g->tensors = calloc(MAX(g->n_tensors, (size_t)1), sizeof(*g->tensors));
    if (!g->tensors || !offsets)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < g->n_tensors; i++) {
        r = gguf_parse_tensor(g, c, i, &offsets[i]);
        if (r)
            return r;
    }
    g->header_bytes = (size_t)(c->at - c->start);
    data_start = ROUND_UP(g->header_bytes, (size_t)g->alignment);
    for (size_t i = 0; i < g->n_tensors; i++) {
        r = gguf_place_tensor(g, data_start, &g->tensors[i], offsets[i], c->fault);
        if (r)
            return r;
    }
    return gguf_check_overlap(g, c->fault);
}

/* header */
static int gguf_parse_version(struct gguf *g, struct gguf_cursor *c)
{
    const uint8_t *magic = NULL;
    uint64_t version = 0;

    if (gguf_take(c, "header", "the magic", sizeof(gguf_magic), &magic) ||
        memcmp(magic, gguf_magic, sizeof(gguf_magic)))
        return fault_set(c->fault, GGUF_E_NOT_GGUF, "not a GGUF file: it does not begin with \"GGUF\"");
    if (gguf_take_uint(c, "header", "the version", 4, &version))
        return GGUF_E_TRUNCATED;
    if (version && !(version & 0xffff))
        return fault_set(c->fault, GGUF_E_VERSION,
                         "a big-endian GGUF file (version %" PRIu32 "): only little-endian ones can be read",
                         __builtin_bswap32((uint32_t)version));
    if (version != 2 && version != 3)
        return fault_set(c->fault, GGUF_E_VERSION, "GGUF version %" PRIu64 ", should be 2 or 3", version);
    g->version = (uint32_t)version;
    return 0;
}

static int gguf_parse_counts(struct gguf *g, struct gguf_cursor *c)
{
    uint64_t n_tensors = 0, n_kv = 0;
    int r = gguf_take_uint(c, "header", "the number of tensors", 8, &n_tensors);

    if (!r)
        r = gguf_take_uint(c, "header", "the number of keys", 8, &n_kv);
    if (r)
        return r;
    if (n_tensors > GGUF_TENSORS_MAX)
        return fault_set(c->fault, GGUF_E_MALFORMED, "header says %" PRIu64 " tensors, should be at most %d",
                         n_tensors, GGUF_TENSORS_MAX);
    if (n_kv > GGUF_KEYS_MAX)
        return fault_set(c->fault, GGUF_E_MALFORMED,
                         "header says %" PRIu64 " metadata keys, should be at most %d", n_kv, GGUF_KEYS_MAX);
    g->n_tensors = (size_t)n_tensors;
    g->n_kv = (size_t)n_kv;
    return 0;
}

int gguf_parse(struct gguf *g, struct fault *fault)
{
    struct gguf_cursor c = {.start = g->map, .at = g->map, .end = g->map + g->n_map, .fault = fault};
    int r = gguf_parse_version(g, &c);

    if (!r)
        r = gguf_parse_counts(g, &c);
    if (!r)
        r = gguf_parse_metadata(g, &c);
    if (!r)
        r = gguf_parse_alignment(g, fault);
    if (!r)
        r = gguf_parse_directory(g, &c);
    return r;
}
