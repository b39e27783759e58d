/* blocks.c - readers and writers of the packed block formats.  See blocks.h.
 *
 * Formats: ggml's block structs (ggml-common.h) and row dequantisers (ggml-quants.c) as of 2026; checked
 * against tests/golden/blocks. */
#include "blocks.h"

#include <string.h>

const int8_t block_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

static uint16_t block_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static void block_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* Nibbles of a 32 block: code j in the low half of byte j, code j + 16 in its high half. */
static void block_get_nibbles(const uint8_t *qs, uint8_t *code)
{
    for (int j = 0; j < 16; j++) {
        code[j] = qs[j] & 15;
        code[j + 16] = qs[j] >> 4;
    }
}

static void block_put_nibbles(uint8_t *qs, const uint8_t *code)
{
    for (int j = 0; j < 16; j++)
        qs[j] = (uint8_t)((code[j] & 15) | (code[j + 16] & 15) << 4);
}

/* Nibbles of a 256 block: 64 codes share 32 bytes, the first 32 in the low halves. */
static void block_get_nibbles_k(const uint8_t *qs, uint8_t *code)
{
    for (int j = 0; j < 256; j++) {
        const uint8_t byte = qs[j / 64 * 32 + j % 32];
        code[j] = j % 64 < 32 ? byte & 15 : byte >> 4;
    }
}

static void block_put_nibbles_k(uint8_t *qs, const uint8_t *code)
{
    memset(qs, 0, 128);
    for (int j = 0; j < 256; j++)
        qs[j / 64 * 32 + j % 32] |= (uint8_t)((code[j] & 15) << (j % 64 < 32 ? 0 : 4));
}

static void block_get_fifth32(const uint8_t *qh, uint8_t *code)
{
    for (int j = 0; j < 32; j++)
        code[j] |= (uint8_t)((qh[j / 8] >> j % 8 & 1) << 4);
}

static void block_put_fifth32(uint8_t *qh, const uint8_t *code)
{
    memset(qh, 0, 4);
    for (int j = 0; j < 32; j++)
        qh[j / 8] |= (uint8_t)((code[j] >> 4 & 1) << j % 8);
}

/* Q4_K and Q5_K: eight 6-bit scales and mins in 12 bytes; groups 4..7 keep their top two bits above those of
 * 0..3. */
static void block_get_scales_k(const uint8_t *s, struct block *b)
{
    for (int g = 0; g < 4; g++) {
        b->scale[g] = (int8_t)(s[g] & 63);
        b->min[g] = s[g + 4] & 63;
        b->scale[g + 4] = (int8_t)((s[g + 8] & 15) | (s[g] >> 6) << 4);
        b->min[g + 4] = (uint8_t)(s[g + 8] >> 4 | (s[g + 4] >> 6) << 4);
    }
}

static void block_put_scales_k(uint8_t *s, const struct block *b)
{
    for (int g = 0; g < 4; g++) {
        const int hi = b->scale[g + 4], hi_min = b->min[g + 4];
        s[g] = (uint8_t)((b->scale[g] & 63) | (hi >> 4 & 3) << 6);
        s[g + 4] = (uint8_t)((b->min[g] & 63) | (hi_min >> 4 & 3) << 6);
        s[g + 8] = (uint8_t)((hi & 15) | (hi_min & 15) << 4);
    }
}

/* Q6_K: where code j lies.  Halves of 128 codes; in each, 64 low nibble bytes and 32 bytes with four 2-bit
 * tops. */
struct block_q6_place {
    int low, low_shift, top, top_shift;
};

static struct block_q6_place block_q6_place(int j)
{
    const int half = j / 128, quarter = j % 128 / 32, l = j % 32;

    return (struct block_q6_place){half * 64 + (quarter & 1) * 32 + l, quarter >> 1 ? 4 : 0, half * 32 + l,
                                   quarter * 2};
}

static void block_get_q6(const uint8_t *src, struct block *b)
{
    for (int j = 0; j < 256; j++) {
        const struct block_q6_place p = block_q6_place(j);
        b->code[j] = (uint8_t)((src[p.low] >> p.low_shift & 15) | (src[128 + p.top] >> p.top_shift & 3) << 4);
    }
    memcpy(b->scale, src + 192, 16);
    b->d = block_get16(src + 208);
}

static void block_put_q6(uint8_t *dst, const struct block *b)
{
    memset(dst, 0, 192);
    for (int j = 0; j < 256; j++) {
        const struct block_q6_place p = block_q6_place(j);
        dst[p.low] |= (uint8_t)((b->code[j] & 15) << p.low_shift);
        dst[128 + p.top] |= (uint8_t)((b->code[j] >> 4 & 3) << p.top_shift);
    }
    memcpy(dst + 192, b->scale, 16);
    block_put16(dst + 208, b->d);
}

/* Q5_K: bit j / 32 of byte j % 32 is the fifth bit of code j. */
static void block_get_q5k(const uint8_t *src, struct block *b)
{
    block_get_nibbles_k(src + 48, b->code);
    for (int j = 0; j < 256; j++)
        b->code[j] |= (uint8_t)((src[16 + j % 32] >> j / 32 & 1) << 4);
}

static void block_put_q5k(uint8_t *dst, const struct block *b)
{
    block_put_nibbles_k(dst + 48, b->code);
    memset(dst + 16, 0, 32);
    for (int j = 0; j < 256; j++)
        dst[16 + j % 32] |= (uint8_t)((b->code[j] >> 4 & 1) << j / 32);
}

static void block_get_iq4xs(const uint8_t *src, struct block *b)
{
    const uint16_t top = block_get16(src + 2);

    for (int g = 0; g < 8; g++) {
        b->scale[g] = (int8_t)(((src[4 + g / 2] >> 4 * (g % 2) & 15) | (top >> 2 * g & 3) << 4) - 32);
        block_get_nibbles(src + 8 + 16 * g, b->code + 32 * g);
    }
}

static void block_put_iq4xs(uint8_t *dst, const struct block *b)
{
    uint16_t top = 0;

    memset(dst + 4, 0, 4);
    for (int g = 0; g < 8; g++) {
        const int s = b->scale[g] + 32;
        top |= (uint16_t)((s >> 4 & 3) << 2 * g);
        dst[4 + g / 2] |= (uint8_t)((s & 15) << 4 * (g % 2));
        block_put_nibbles(dst + 8 + 16 * g, b->code + 32 * g);
    }
    block_put16(dst + 2, top);
}

void block_read(enum quant_type type, const uint8_t *src, struct block *ret_block)
{
    struct block *b = ret_block;

    b->d = block_get16(src);
    b->m = 0;
    switch (type) {
    case QUANT_Q4_0:
    case QUANT_IQ4_NL:
        block_get_nibbles(src + 2, b->code);
        break;
    case QUANT_Q4_1:
        b->m = block_get16(src + 2);
        block_get_nibbles(src + 4, b->code);
        break;
    case QUANT_Q5_0:
        block_get_nibbles(src + 6, b->code);
        block_get_fifth32(src + 2, b->code);
        break;
    case QUANT_Q5_1:
        b->m = block_get16(src + 2);
        block_get_nibbles(src + 8, b->code);
        block_get_fifth32(src + 4, b->code);
        break;
    case QUANT_Q8_0:
        for (int j = 0; j < 32; j++)
            b->code[j] = src[2 + j] ^ 0x80;
        break;
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        b->m = block_get16(src + 2);
        block_get_scales_k(src + 4, b);
        if (type == QUANT_Q4_K)
            block_get_nibbles_k(src + 16, b->code);
        else
            block_get_q5k(src, b);
        break;
    case QUANT_Q6_K:
        block_get_q6(src, b);
        break;
    case QUANT_IQ4_XS:
        block_get_iq4xs(src, b);
        break;
    case QUANT_F32:
    case QUANT_F16:
    case QUANT_BF16:
        break;
    }
}

void block_write(enum quant_type type, const struct block *b, uint8_t *ret_dst)
{
    uint8_t *dst = ret_dst;

    if (type != QUANT_Q6_K) /* which keeps d at its end */
        block_put16(dst, b->d);
    switch (type) {
    case QUANT_Q4_0:
    case QUANT_IQ4_NL:
        block_put_nibbles(dst + 2, b->code);
        break;
    case QUANT_Q4_1:
        block_put16(dst + 2, b->m);
        block_put_nibbles(dst + 4, b->code);
        break;
    case QUANT_Q5_0:
        block_put_nibbles(dst + 6, b->code);
        block_put_fifth32(dst + 2, b->code);
        break;
    case QUANT_Q5_1:
        block_put16(dst + 2, b->m);
        block_put_nibbles(dst + 8, b->code);
        block_put_fifth32(dst + 4, b->code);
        break;
    case QUANT_Q8_0:
        for (int j = 0; j < 32; j++)
            dst[2 + j] = b->code[j] ^ 0x80;
        break;
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        block_put16(dst + 2, b->m);
        block_put_scales_k(dst + 4, b);
        if (type == QUANT_Q4_K)
            block_put_nibbles_k(dst + 16, b->code);
        else
            block_put_q5k(dst, b);
        break;
    case QUANT_Q6_K:
        block_put_q6(dst, b);
        break;
    case QUANT_IQ4_XS:
        block_put_iq4xs(dst, b);
        break;
    case QUANT_F32:
    case QUANT_F16:
    case QUANT_BF16:
        break;
    }
}

int block_offset(enum quant_type type)
{
    switch (type) {
    case QUANT_Q4_0:
        return 8;
    case QUANT_Q5_0:
        return 16;
    case QUANT_Q8_0:
        return 128;
    case QUANT_Q6_K:
        return 32;
    default:
        return 0;
    }
}
