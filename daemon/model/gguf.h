/* gguf.h - a GGUF file (version 2 or 3), mapped and checked.
 *
 * gguf_open() maps the file read-only and checks every length, count, offset, alignment, type and shape of
 * the metadata and the tensor directory before anything is used; tensor bytes stay in the page cache until
 * somebody reads them. After it returned GGUF_OK no accessor can leave the mapping.  Strings are not
 * NUL-terminated in the file: they are handed out as struct gguf_str, borrowed from the mapping. */
#pragma once

#include "kernels/quant.h"
#include "proto/base.h"

enum {
    GGUF_OK,
    GGUF_E_NOT_GGUF,
    GGUF_E_VERSION,
    GGUF_E_TRUNCATED,
    GGUF_E_MALFORMED,
    GGUF_E_MISSING,
    GGUF_E_TYPE,
    GGUF_E_RANGE
};

struct gguf; /* opaque */
struct gguf_str {
    const char *s;
    size_t n;
};

enum { GGUF_DIMS_MAX = 4, GGUF_TENSOR_NAME_MAX = 64 }; /* the format's limits */

/* Text of the file as a person may see it, in a fault or a listing: cut to the buffer, and anything but
 * printable ASCII becomes '?', so that it cannot speak to a terminal. */
struct gguf_label {
    char text[GGUF_TENSOR_NAME_MAX + 1];
};
struct gguf_label gguf_label(struct gguf_str name);

struct gguf_tensor {
    struct gguf_str name;
    uint32_t type; /* quant_find() knows it; not necessarily loadable */
    int n_dims;
    uint64_t ne[GGUF_DIMS_MAX]; /* ne[0] is contiguous; unused dims are 1 */
    const uint8_t *data;        /* borrowed, [bytes] */
    size_t bytes;
};

/* 0, GGUF_E_*, < 0 (errno of open).  Faults leave the path to the caller.  Data of gguf_open_memory() is
 * borrowed; for tests and fuzzing. */
int gguf_open(const char *path, struct fault *fault, struct gguf **ret_gguf);
int gguf_open_memory(const void *data, size_t bytes, struct fault *fault, struct gguf **ret_gguf);
struct gguf *gguf_free(struct gguf *gguf);
CLEANUP_FUNC(struct gguf, gguf_free)

/* file */
uint32_t gguf_version(const struct gguf *gguf);
uint64_t gguf_file_bytes(const struct gguf *gguf);
/* Which file it is, as it was when it was opened; all zero for gguf_open_memory(). */
struct gguf_file_id {
    uint64_t device, inode, bytes, mtime_ns;
};
struct gguf_file_id gguf_file_id(const struct gguf *gguf);
bool gguf_has_changed(const struct gguf *gguf); /* somebody wrote to the file since it was opened */
/* Metadata and directory, for a digest. */
const uint8_t *gguf_header(const struct gguf *gguf, size_t *ret_bytes);

/* To read tensors without the map; -1 for gguf_open_memory(). */
int gguf_fd(const struct gguf *gguf);
uint64_t gguf_tensor_offset(const struct gguf *gguf, const struct gguf_tensor *tensor); /* in the file */
/* The tensor's first bytes: will be needed soon, a hint which never fails; are wanted now, at most
 * tensor->bytes of them.  < 0: errno of the read; -ENODATA: the file has become shorter. */
void gguf_prefetch(const struct gguf *gguf, const struct gguf_tensor *tensor, size_t bytes);
int gguf_read(const struct gguf *gguf, const struct gguf_tensor *tensor, size_t bytes, void *ret_bytes);

/* metadata.  get: GGUF_E_MISSING / GGUF_E_TYPE / GGUF_E_RANGE with a fault that names the key.
 * A key that may be absent is asked for with gguf_has() first.  u32 takes any integer type that fits. */
int gguf_get_u32(const struct gguf *gguf, const char *key, uint32_t lo, uint32_t hi, struct fault *fault,
                 uint32_t *ret_value);
int gguf_get_f32(const struct gguf *gguf, const char *key, struct fault *fault, float *ret_value);
int gguf_get_str(const struct gguf *gguf, const char *key, struct fault *fault, struct gguf_str *ret_value);
bool gguf_has(const struct gguf *gguf, const char *key);

/* arrays */
struct gguf_array {
    uint32_t type; /* element type, GGUF numbering */
    uint64_t n;
    const uint8_t *data; /* borrowed; for strings: the first length */
};
int gguf_get_array(const struct gguf *gguf, const char *key, uint32_t elem_type, struct fault *fault,
                   struct gguf_array *ret_array);
/* Walks a string array: *cursor starts as array->data and is advanced; at most array->n calls. */
struct gguf_str gguf_array_next_str(const uint8_t **cursor);
enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

/* enumeration, for inspect */
size_t gguf_n_keys(const struct gguf *gguf);
struct gguf_str gguf_key(const struct gguf *gguf, size_t i, uint32_t *ret_type);
/* Short, for people; arrays as "[n type] a, b, ...".  Returns as snprintf does. */
int gguf_format_value(const struct gguf *gguf, size_t i, char *text, size_t n_text);
size_t gguf_n_tensors(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, size_t i);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name); /* NULL: none */
