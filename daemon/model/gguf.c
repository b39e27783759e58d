/* gguf.c - opens a GGUF file and answers questions about what gguf_parse.c found in it.  See gguf.h.
 *
 * Every accessor works on ranges that gguf_parse() has checked.  What it cannot check is a file that somebody
 * truncates after it was opened: touching lost pages of the map raises SIGBUS, which ends the engine, and the
 * broker starts another.  So the map is for the header; tensors are read by gguf_read() and feed.h. */
#include "gguf.h"
#include "feed.h"
#include "gguf_parse.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* open */
static struct gguf_file_id gguf_id_of(const struct stat *st)
{
    return (struct gguf_file_id){
        .device = st->st_dev,
        .inode = st->st_ino,
        .bytes = (uint64_t)st->st_size,
        .mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
    };
}

static int gguf_map_file(struct gguf *g, const char *path, struct fault *fault)
{
    struct stat st;
    void *map;

    g->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not blocking: the path may name a FIFO */
    if (g->fd < 0 || fstat(g->fd, &st) < 0) {
        int r = err_errno();

        fault_set(fault, r, "cannot be opened: %s", strerror(-r));
        return r;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < 4)
        return fault_set(fault, GGUF_E_NOT_GGUF, "not a GGUF file: it is %s",
                         S_ISREG(st.st_mode) ? "shorter than 4 bytes" : "no regular file");
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, g->fd, 0);
    if (map == MAP_FAILED)
        return err_errno();
    g->map = map;
    g->n_map = (size_t)st.st_size;
    g->file_id = gguf_id_of(&st);
    return 0;
}

static int gguf_new(struct gguf **ret_gguf)
{
    struct gguf *g = calloc(1, sizeof(*g));

    if (!g)
        return err_origin(-ENOMEM);
    g->fd = -1;
    *ret_gguf = g;
    return 0;
}

int gguf_open(const char *path, struct fault *fault, struct gguf **ret_gguf)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    int r = gguf_new(&g);

    if (!r)
        r = gguf_map_file(g, path, fault);
    if (!r)
        r = gguf_parse(g, fault);
    if (r)
        return r;
    *ret_gguf = steal(&g);
    return GGUF_OK;
}

int gguf_open_memory(const void *data, size_t bytes, struct fault *fault, struct gguf **ret_gguf)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    int r = gguf_new(&g);

    if (r)
        return r;
    g->map = data;
    g->n_map = bytes;
    r = gguf_parse(g, fault);
    if (r)
        return r;
    *ret_gguf = steal(&g);
    return GGUF_OK;
}

struct gguf *gguf_free(struct gguf *g)
{
    if (!g)
        return NULL;
    if (g->fd >= 0 && g->map)
        munmap((void *)g->map, g->n_map);
    closep(&g->fd);
    free(g->kv);
    free(g->tensors);
    free(g->kv_index.slot);
    free(g->tensor_index.slot);
    free(g);
    return NULL;
}

/* file */
uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    return g->n_map;
}

struct gguf_file_id gguf_file_id(const struct gguf *g)
{
    return g->file_id;
}

bool gguf_has_changed(const struct gguf *g)
{
    struct gguf_file_id now;
    struct stat st;

    if (g->fd < 0)
        return false;
    if (fstat(g->fd, &st) < 0)
        return true;
    now = gguf_id_of(&st);
    return now.bytes != g->file_id.bytes || now.mtime_ns != g->file_id.mtime_ns;
}

const uint8_t *gguf_header(const struct gguf *g, size_t *ret_bytes)
{
    *ret_bytes = g->header_bytes;
    return g->map;
}

int gguf_fd(const struct gguf *g)
{
    return g->fd;
}

uint64_t gguf_tensor_offset(const struct gguf *g, const struct gguf_tensor *tensor)
{
    return (uint64_t)(tensor->data - g->map);
}

void gguf_prefetch(const struct gguf *g, const struct gguf_tensor *tensor, size_t bytes)
{
    if (g->fd >= 0)
        (void)posix_fadvise(g->fd, (off_t)gguf_tensor_offset(g, tensor), (off_t)MIN(bytes, tensor->bytes),
                            POSIX_FADV_WILLNEED);
}

int gguf_read(const struct gguf *g, const struct gguf_tensor *tensor, size_t bytes, void *ret_bytes)
{
    if (g->fd >= 0)
        return feed_read_at(g->fd, ret_bytes, bytes, gguf_tensor_offset(g, tensor));
    memcpy(ret_bytes, tensor->data, bytes);
    return 0;
}

/* metadata */
static struct gguf_str gguf_str_of(const char *s)
{
    return (struct gguf_str){s, strlen(s)};
}

static struct gguf_str gguf_value_str(const uint8_t *p)
{
    return (struct gguf_str){(const char *)p + 8, (size_t)gguf_read_le(p, 8)};
}

static int gguf_get(const struct gguf *g, const char *key, struct fault *fault, const struct gguf_kv **ret_kv)
{
    int64_t i = gguf_find_kv(g, gguf_str_of(key));

    if (i < 0)
        return fault_set(fault, GGUF_E_MISSING, "%s is missing from the metadata", key);
    *ret_kv = &g->kv[i];
    return 0;
}

static int gguf_wrong_type(const struct gguf_kv *kv, const char *key, const char *want, struct fault *fault)
{
    if (kv->type == GGUF_ARRAY)
        return fault_set(fault, GGUF_E_TYPE, "%s is an array of %s, should be %s", key,
                         gguf_type_name(kv->array.type), want);
    return fault_set(fault, GGUF_E_TYPE, "%s is of type %s, should be %s", key, gguf_type_name(kv->type),
                     want);
}

static int64_t gguf_sign_extend(uint64_t v, size_t n_bytes)
{
    int shift = 64 - 8 * (int)n_bytes;

    return (int64_t)(v << shift) >> shift;
}

int gguf_get_u32(const struct gguf *g, const char *key, uint32_t lo, uint32_t hi, struct fault *fault,
                 uint32_t *ret_value)
{
    const struct gguf_kv *kv = NULL;
    int r = gguf_get(g, key, fault, &kv);
    uint64_t v;

    if (r)
        return r;
    size_t n_bytes = gguf_type_bytes(kv->type);
    switch (kv->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        v = gguf_read_le(kv->value, n_bytes);
        if (v < lo || v > hi)
            return fault_set(fault, GGUF_E_RANGE, "%s is %" PRIu64 ", should be in [%u, %u]", key, v, lo, hi);
        break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: {
        int64_t s = gguf_sign_extend(gguf_read_le(kv->value, n_bytes), n_bytes);

        if (s < (int64_t)lo || s > (int64_t)hi)
            return fault_set(fault, GGUF_E_RANGE, "%s is %" PRId64 ", should be in [%u, %u]", key, s, lo, hi);
        v = (uint64_t)s;
        break;
    }
    default:
        return gguf_wrong_type(kv, key, "an integer", fault);
    }
    *ret_value = (uint32_t)v;
    return 0;
}

static double gguf_value_float(const struct gguf_kv *kv)
{
    double d;
    float f;

    if (kv->type == GGUF_F64) {
        memcpy(&d, kv->value, sizeof(d));
        return d;
    }
    memcpy(&f, kv->value, sizeof(f));
    return (double)f;
}

int gguf_get_f32(const struct gguf *g, const char *key, struct fault *fault, float *ret_value)
{
    const struct gguf_kv *kv = NULL;
    int r = gguf_get(g, key, fault, &kv);

    if (r)
        return r;
    if (kv->type != GGUF_F32 && kv->type != GGUF_F64)
        return gguf_wrong_type(kv, key, "f32", fault);
    float v = (float)gguf_value_float(kv);
    if (!isfinite(v))
        return fault_set(fault, GGUF_E_RANGE, "%s is %g, should be finite", key, (double)v);
    *ret_value = v;
    return 0;
}

int gguf_get_str(const struct gguf *g, const char *key, struct fault *fault, struct gguf_str *ret_value)
{
    const struct gguf_kv *kv = NULL;
    int r = gguf_get(g, key, fault, &kv);

    if (r)
        return r;
    if (kv->type != GGUF_STR)
        return gguf_wrong_type(kv, key, "a string", fault);
    *ret_value = gguf_value_str(kv->value);
    return 0;
}

bool gguf_has(const struct gguf *g, const char *key)
{
    return gguf_find_kv(g, gguf_str_of(key)) >= 0;
}

/* arrays */
int gguf_get_array(const struct gguf *g, const char *key, uint32_t elem_type, struct fault *fault,
                   struct gguf_array *ret_array)
{
    const struct gguf_kv *kv = NULL;
    int r = gguf_get(g, key, fault, &kv);
    char want[32];

    if (r)
        return r;
    snprintf(want, sizeof(want), "an array of %s", gguf_type_name(elem_type));
    if (kv->type != GGUF_ARRAY || kv->array.type != elem_type)
        return gguf_wrong_type(kv, key, want, fault);
    *ret_array = kv->array;
    return 0;
}

struct gguf_str gguf_array_next_str(const uint8_t **cursor)
{
    struct gguf_str s = gguf_value_str(*cursor);

    *cursor += 8 + s.n;
    return s;
}

/* enumeration */
size_t gguf_n_keys(const struct gguf *g)
{
    return g->n_kv;
}

struct gguf_str gguf_key(const struct gguf *g, size_t i, uint32_t *ret_type)
{
    *ret_type = g->kv[i].type;
    return g->kv[i].key;
}

static int gguf_format_str(struct gguf_str s, char *text, size_t n_text)
{
    enum { SHOWN = 60 }; /* a chat template is kilobytes long */
    char shown[SHOWN + 1];
    size_t n = MIN(s.n, (size_t)SHOWN);

    for (size_t i = 0; i < n; i++)
        shown[i] = (uint8_t)s.s[i] < ' ' || s.s[i] == 0x7f ? ' ' : s.s[i];
    while (n < s.n && n > 0 && ((uint8_t)s.s[n] & 0xc0) == 0x80) /* do not cut a character in two */
        n--;
    shown[n] = '\0';
    return snprintf(text, n_text, "\"%s\"%s", shown, n < s.n ? "..." : "");
}

static int gguf_format_scalar(uint32_t type, const uint8_t *p, char *text, size_t n_text)
{
    size_t n_bytes = gguf_type_bytes(type);

    switch (type) {
    case GGUF_STR:
        return gguf_format_str(gguf_value_str(p), text, n_text);
    case GGUF_F32:
    case GGUF_F64:
        return snprintf(text, n_text, "%g", gguf_value_float(&(struct gguf_kv){.type = type, .value = p}));
    case GGUF_BOOL:
        return snprintf(text, n_text, "%s", *p ? "true" : "false");
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        return snprintf(text, n_text, "%" PRIu64, gguf_read_le(p, n_bytes));
    default:
        return snprintf(text, n_text, "%" PRId64, gguf_sign_extend(gguf_read_le(p, n_bytes), n_bytes));
    }
}

int gguf_format_value(const struct gguf *g, size_t i, char *text, size_t n_text)
{
    enum { SHOWN = 4 };
    const struct gguf_kv *kv = &g->kv[i];
    const uint8_t *p = kv->array.data;
    size_t used;

    if (kv->type != GGUF_ARRAY)
        return gguf_format_scalar(kv->type, kv->value, text, n_text);
    used = (size_t)snprintf(text, n_text, "[%" PRIu64 " %s]", kv->array.n, gguf_type_name(kv->array.type));
    for (uint64_t k = 0; k < MIN(kv->array.n, (uint64_t)SHOWN) && used < n_text; k++) {
        used += (size_t)snprintf(text + used, n_text - used, k ? ", " : " ");
        if (used < n_text)
            used += (size_t)gguf_format_scalar(kv->array.type, p, text + used, n_text - used);
        p += kv->array.type == GGUF_STR ? 8 + gguf_value_str(p).n : gguf_type_bytes(kv->array.type);
    }
    if (kv->array.n > SHOWN && used < n_text)
        used += (size_t)snprintf(text + used, n_text - used, ", ...");
    return (int)used;
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, size_t i)
{
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    int64_t i = gguf_find_tensor_at(g, gguf_str_of(name));

    return i < 0 ? NULL : &g->tensors[i];
}
