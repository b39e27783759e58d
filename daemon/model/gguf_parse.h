/* gguf_parse.h - what gguf.c keeps about a file, and the one function that fills it in.  Included by gguf*.c
 * only. */
#pragma once

#include "gguf.h"

/* Real files have about 50 keys and at most 1,500 tensors; the caps bound what a hostile file can make us
 * allocate. */
enum { GGUF_KEYS_MAX = 65536, GGUF_TENSORS_MAX = 65536 };
enum { GGUF_KEY_BYTES_MAX = 65535 }; /* the format's own limit */

struct gguf_kv {
    struct gguf_str key;
    uint32_t type;
    struct gguf_array array; /* GGUF_ARRAY only */
    const uint8_t *value;    /* scalars: their bytes; strings: the length that precedes them */
};

/* Open-addressed table of 1-based positions, at most half full. */
struct gguf_index {
    uint32_t *slot; /* owned, [mask + 1]; 0: free */
    uint32_t mask;
};

struct gguf {
    const uint8_t *map; /* [n_map]; mapped by us if fd >= 0, else borrowed */
    size_t n_map;
    int fd;
    struct gguf_file_id file_id;
    uint32_t version;
    uint64_t alignment;
    size_t header_bytes;
    size_t n_kv, n_tensors;
    struct gguf_kv *kv;          /* owned */
    struct gguf_tensor *tensors; /* owned */
    struct gguf_index kv_index, tensor_index;
};

/* Checks and indexes g->map.  On failure g is left for gguf_free(). */
int gguf_parse(struct gguf *g, struct fault *fault);

/* Position of name, or -1. */
int64_t gguf_find_kv(const struct gguf *g, struct gguf_str name);
int64_t gguf_find_tensor_at(const struct gguf *g, struct gguf_str name);

const char *gguf_type_name(uint32_t type); /* "u32"; "?" */
size_t gguf_type_bytes(uint32_t type);     /* of one scalar; 0 for strings, arrays and unknown types */
uint64_t gguf_read_le(const uint8_t *p, size_t n_bytes);
