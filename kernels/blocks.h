/* blocks.h - what one quantised block of a GGUF file says, taken apart: integer codes, integer scales, float
 * scales.
 *
 * The one reader of the packed formats: quant_dequantise() gives it values, the CPU backend packs its panels
 * from it and its exact definition multiplies with it.  Internal to kernels/. */
#pragma once

#include "quant.h"

enum { BLOCK_MAX = 256, BLOCK_GROUPS_MAX = 16 };

/* value of code q in group g:  (d * scale[g]) * (q - offset) - m * min[g]   where scale, min are 1 in types
 * without them; IQ4 types: (d * scale[g]) * block_iq4_values[q].  Q4_1, Q5_1: d * q + m. */
struct block {
    uint16_t d, m;                  /* f16 bits; m is 0 in types without a minimum */
    uint8_t code[BLOCK_MAX];        /* in k order */
    int8_t scale[BLOCK_GROUPS_MAX]; /* K-quants: per group of 32 (Q6_K: of 16) */
    uint8_t min[BLOCK_GROUPS_MAX];  /* Q4_K, Q5_K */
};

extern const int8_t block_iq4_values[16];

/* type is a block type (not F32, F16, BF16).  src: one whole block, any alignment. */
void block_read(enum quant_type type, const uint8_t *src, struct block *ret_block);
/* The inverse: block as the file has it. */
void block_write(enum quant_type type, const struct block *block, uint8_t *ret_dst);
int block_offset(enum quant_type type); /* the offset above; 0 for IQ4 types */
