/* panel.c - what panels there are, and how one is read back.  See panel.h. */
#include "panel.h"

#include <string.h>

#include "kernels/blocks.h"
#include "kernels/half.h"

enum panel_kind panel_kind(enum quant_type type)
{
    switch (type) {
    case QUANT_Q4_K:
        return PANEL_Q4K;
    case QUANT_Q5_K:
        return PANEL_Q5K;
    case QUANT_Q6_K:
        return PANEL_Q6K;
    case QUANT_IQ4_XS:
        return PANEL_IQ4XS;
    case QUANT_Q8_0:
    case QUANT_Q5_0:
    case QUANT_IQ4_NL:
        return PANEL_Q8;
    case QUANT_Q4_0:
        return PANEL_Q4;
    case QUANT_Q5_1:
        return PANEL_Q8M;
    case QUANT_Q4_1:
        return PANEL_Q4M;
    case QUANT_F16:
        return PANEL_F16;
    case QUANT_BF16:
        return PANEL_BF16;
    case QUANT_F32:
        break;
    }
    return PANEL_F32;
}

int panel_n(int n_out)
{
    return CEIL_DIV(n_out, PANEL_ROWS);
}

size_t panel_side_offset(enum panel_kind kind, int n_in)
{
    return (size_t)(n_in / panel_infos[kind].n_k) * (size_t)panel_infos[kind].main_bytes;
}

size_t panel_bytes(enum panel_kind kind, int n_in)
{
    const size_t side = (size_t)(n_in / panel_infos[kind].n_k) * (size_t)panel_infos[kind].side_bytes;

    return ROUND_UP(panel_side_offset(kind, n_in) + side, (size_t)64);
}

/* Where the four codes of quad (0..7) of group of 32 g lie in [pair][quad][lane][4]; the nibble is g % 2. */
static size_t panel_quad(int g, int quad, int lane)
{
    return (size_t)(((g >> 1) * 8 + quad) * 64 + lane * 4);
}

static uint16_t panel_get16(const uint8_t *src)
{
    uint16_t v;

    memcpy(&v, src, sizeof(v));
    return v;
}

static void panel_get_nibbles(const uint8_t *qs, int lane, uint8_t *code)
{
    for (int i = 0; i < 256; i++)
        code[i] = qs[panel_quad(i / 32, i % 32 / 4, lane) + (size_t)(i % 4)] >> 4 * (i / 32 % 2) & 15;
}

/* Q4_K and Q5_K */

static void panel_get_scales_k(const uint8_t *main, int lane, struct block *b)
{
    for (int g = 0; g < 4; g++) {
        const int at = 4 * lane + g, top = main[PANEL_K_TOP + at];
        b->scale[g] = (int8_t)((main[PANEL_K_LO03 + at] & 15) | (top & 3) << 4);
        b->min[g] = (uint8_t)(main[PANEL_K_LO03 + at] >> 4 | (top >> 2 & 3) << 4);
        b->scale[g + 4] = (int8_t)((main[PANEL_K_LO47 + at] & 15) | (top >> 4 & 3) << 4);
        b->min[g + 4] = (uint8_t)(main[PANEL_K_LO47 + at] >> 4 | (top >> 6 & 3) << 4);
    }
}

static void panel_get_fifth(const uint8_t *qh, int lane, uint8_t *code)
{
    for (int i = 0; i < 256; i++)
        code[i] |= (uint8_t)((qh[i % 32 / 4 * 64 + lane * 4 + i % 4] >> i / 32 & 1) << 4);
}

/* Q6_K */

static void panel_get_q6(const uint8_t *main, int lane, struct block *b)
{
    const uint8_t *qh = main + PANEL_Q6_QH;

    panel_get_nibbles(main + PANEL_Q6_QS, lane, b->code);
    for (int i = 0; i < 256; i++) {
        const int g = i / 32;
        b->code[i] |=
            (uint8_t)((qh[(g / 4 * 8 + i % 32 / 4) * 64 + lane * 4 + i % 4] >> 2 * (g % 4) & 3) << 4);
    }
    for (int i = 0; i < 4; i++)
        memcpy(b->scale + i * 4, main + PANEL_Q6_SCALE + i * 64 + lane * 4, 4);
}

/* IQ4_XS: six-bit scales with 32 added, low nibbles beside the codes, top bits beside d. */

static void panel_get_iq4(const uint8_t *main, const uint8_t *side, int lane, struct block *b)
{
    const uint16_t top = panel_get16(side + 32 + 2 * lane);

    panel_get_nibbles(main + PANEL_IQ4_QS, lane, b->code);
    for (int g = 0; g < 8; g++) {
        const int low = main[PANEL_IQ4_SCALE + 4 * lane + g % 4] >> 4 * (g / 4) & 15;
        b->scale[g] = (int8_t)((low | (top >> 2 * g & 3) << 4) - 32);
    }
}

/* 32 blocks: bytes [quad 8][lane][4]; nibbles [quad 4][lane][4], quad + 4 in the high half. */

static void panel_get_bytes(const uint8_t *main, int lane, uint8_t *code)
{
    for (int quad = 0; quad < 8; quad++)
        memcpy(code + quad * 4, main + quad * 64 + lane * 4, 4);
}

static void panel_get_nibbles32(const uint8_t *main, int lane, uint8_t *code)
{
    for (int i = 0; i < 16; i++) {
        const uint8_t both = main[i / 4 * 64 + lane * 4 + i % 4];
        code[i] = both & 15;
        code[16 + i] = both >> 4;
    }
}

void panel_read_block(enum panel_kind kind, const uint8_t *panel, int n_in, int lane, int i,
                      struct block *ret_block)
{
    const uint8_t *main = panel + i * panel_infos[kind].main_bytes;
    const uint8_t *side = panel + panel_side_offset(kind, n_in) + i * panel_infos[kind].side_bytes;
    const bool has_min = kind == PANEL_Q4K || kind == PANEL_Q5K || kind == PANEL_Q8M || kind == PANEL_Q4M;

    ret_block->d = panel_get16(side + 2 * lane);
    ret_block->m = has_min ? panel_get16(side + 32 + 2 * lane) : 0;
    switch (kind) {
    case PANEL_Q4K:
    case PANEL_Q5K:
        panel_get_scales_k(main, lane, ret_block);
        panel_get_nibbles(main + PANEL_K_QS, lane, ret_block->code);
        if (kind == PANEL_Q5K)
            panel_get_fifth(main + PANEL_K_QH, lane, ret_block->code);
        break;
    case PANEL_Q6K:
        panel_get_q6(main, lane, ret_block);
        break;
    case PANEL_IQ4XS:
        panel_get_iq4(main, side, lane, ret_block);
        break;
    case PANEL_Q8:
    case PANEL_Q8M:
        panel_get_bytes(main, lane, ret_block->code);
        break;
    default:
        panel_get_nibbles32(main, lane, ret_block->code);
        break;
    }
}

static void panel_read_floats(enum panel_kind kind, const uint8_t *panel, int n_in, int lane,
                              float *ret_values)
{
    const size_t size = kind == PANEL_F32 ? 4 : 2;

    for (int64_t k = 0; k < n_in; k++) {
        const uint8_t *p = panel + ((size_t)k * PANEL_ROWS + (size_t)lane) * size;
        if (kind == PANEL_F32)
            memcpy(&ret_values[k], p, size);
        else
            ret_values[k] =
                kind == PANEL_F16 ? half_to_float(panel_get16(p)) : half_from_bf16(panel_get16(p));
    }
}

void panel_read_row(enum panel_kind kind, const uint8_t *panel, int n_in, int lane, float *ret_values)
{
    static const enum quant_type types[] = {
        [PANEL_Q4K] = QUANT_Q4_K,     [PANEL_Q5K] = QUANT_Q5_K, [PANEL_Q6K] = QUANT_Q6_K,
        [PANEL_IQ4XS] = QUANT_IQ4_XS, [PANEL_Q8] = QUANT_Q8_0,  [PANEL_Q4] = QUANT_Q4_0,
        [PANEL_Q8M] = QUANT_Q5_1,     [PANEL_Q4M] = QUANT_Q4_1,
    };
    uint8_t raw[BLOCK_MAX];
    struct block b;

    if (panel_infos[kind].act == ACT_F32) {
        panel_read_floats(kind, panel, n_in, lane, ret_values);
        return;
    }
    for (int i = 0; i < n_in / panel_infos[kind].n_k; i++) {
        panel_read_block(kind, panel, n_in, lane, i, &b);
        block_write(types[kind], &b, raw);
        quant_dequantise(types[kind], raw, ret_values + i * panel_infos[kind].n_k, panel_infos[kind].n_k);
    }
}
