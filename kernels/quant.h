/* quant.h - the weight types of GGUF files: names, block sizes and the exact values that blocks stand for.
 *
 * Numbers are the file format's own.  Formulas: ggml's block definitions, checked bit for bit against
 * tests/golden/blocks.  A type that is known but not loaded has loadable = false, so that a refusal can name it. */
#pragma once

#include "proto/base.h"

enum quant_type {
    QUANT_F32 = 0, QUANT_F16 = 1, QUANT_Q4_0 = 2, QUANT_Q4_1 = 3, QUANT_Q5_0 = 6, QUANT_Q5_1 = 7, QUANT_Q8_0 = 8,
    QUANT_Q4_K = 12, QUANT_Q5_K = 13, QUANT_Q6_K = 14, QUANT_IQ4_NL = 20, QUANT_IQ4_XS = 23, QUANT_BF16 = 30,
};

struct quant_info {
    const char *name;     /* "Q4_K" */
    int n_block;          /* values per block */
    int n_bytes;          /* bytes per block */
    bool loadable;
};

const struct quant_info *quant_find(uint32_t gguf_type);  /* NULL: no such type in any GGUF version we know */
int quant_find_by_name(const char *name, enum quant_type *ret_type); /* 0, or -ENOENT (also for types not loadable) */

/* n_values is a multiple of the block size; src holds whole blocks, unaligned allowed; type is loadable. */
void quant_dequantise(enum quant_type type, const void *src, float *dst, int64_t n_values);

static inline size_t quant_row_bytes(const struct quant_info *q, int64_t n_values)
{
    return (size_t)(n_values / q->n_block) * (size_t)q->n_bytes;
}
