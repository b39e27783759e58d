/* panel_pack.c - packs the file's rows into panels.  See panel.h.
 *
 * Most formats lie in a panel as in the file, but for the order of their four-byte words, and so are moved
 * word by word, with nibbles exchanged in between where they have to; the others are taken apart first
 * (blocks.h).  blocks.c has the formats. */
#include "panel.h"

#include <string.h>

#include "kernels/blocks.h"

static uint32_t panel_word(const uint8_t *src)
{
    uint32_t w;

    memcpy(&w, src, sizeof(w));
    return w;
}

/* Word i of a lane in [i][lane 16][4]. */
static void panel_put_word(uint8_t *dst, int i, int lane, uint32_t w)
{
    memcpy(dst + i * 64 + lane * 4, &w, sizeof(w));
}

static void panel_put_words(uint8_t *dst, int lane, const uint8_t *src, int n)
{
    for (int i = 0; i < n; i++)
        panel_put_word(dst, i, lane, panel_word(src + 4 * i));
}

static void panel_put_half(uint8_t *dst, int lane, const uint8_t *src)
{
    memcpy(dst + 2 * lane, src, 2);
}

/* Low and high halves of bytes, of four at a time. */
static uint32_t panel_lows(uint32_t a, uint32_t b)
{
    return (a & 0x0f0f0f0f) | (b & 0x0f0f0f0f) << 4;
}

static uint32_t panel_highs(uint32_t a, uint32_t b)
{
    return (a >> 4 & 0x0f0f0f0f) | (b & 0xf0f0f0f0);
}

/* Six-bit scales and mins: groups 4..7 have their top bits above those of 0..3. */
static void panel_put_scales_k(uint8_t *main, int lane, const uint8_t *src)
{
    const uint32_t scale = panel_word(src), min = panel_word(src + 4), two = 0x03030303;

    panel_put_word(main + PANEL_K_LO03, 0, lane, panel_lows(scale, min));
    panel_put_word(main + PANEL_K_LO47, 0, lane, panel_word(src + 8));
    panel_put_word(main + PANEL_K_TOP, 0, lane,
                   (scale >> 4 & two) | (min >> 4 & two) << 2 | (scale >> 6 & two) << 4 |
                       (min >> 6 & two) << 6);
}

/* In a half of 128, groups 0 and 2 share 32 bytes, and 1 and 3 the next; a panel wants 0 with 1, 2 with 3. */
static void panel_put_q6k(uint8_t *main, int lane, const uint8_t *src)
{
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 8; i++) {
            const uint32_t a = panel_word(src + half * 64 + i * 4),
                           b = panel_word(src + half * 64 + 32 + i * 4);
            panel_put_word(main + PANEL_Q6_QS, half * 16 + i, lane, panel_lows(a, b));
            panel_put_word(main + PANEL_Q6_QS, half * 16 + 8 + i, lane, panel_highs(a, b));
        }
    panel_put_words(main + PANEL_Q6_QH, lane, src + 128, 16);
    panel_put_words(main + PANEL_Q6_SCALE, lane, src + 192, 4);
}

/* A group's 16 bytes have its first half in their low nibbles; a panel has two groups in 32. */
static void panel_put_iq4xs(uint8_t *main, int lane, const uint8_t *src)
{
    const uint8_t *low = src + 4;
    uint8_t *scale = main + PANEL_IQ4_SCALE + 4 * lane;

    for (int pair = 0; pair < 4; pair++)
        for (int i = 0; i < 4; i++) {
            const uint8_t *qs = src + 8 + pair * 32 + i * 4;
            const uint32_t a = panel_word(qs), b = panel_word(qs + 16);
            panel_put_word(main + PANEL_IQ4_QS, pair * 8 + i, lane, panel_lows(a, b));
            panel_put_word(main + PANEL_IQ4_QS, pair * 8 + 4 + i, lane, panel_highs(a, b));
        }
    for (int g = 0; g < 4; g++)
        scale[g] = (uint8_t)((low[g / 2] >> 4 * (g % 2) & 15) | (low[2 + g / 2] >> 4 * (g % 2) & 15) << 4);
}

/* Bytes with 128 added to the value. */
static void panel_put_q8(uint8_t *main, int lane, enum quant_type type, const uint8_t *src)
{
    struct block b;
    uint8_t bytes[32];

    block_read(type, src, &b);
    for (int i = 0; i < 32; i++)
        bytes[i] = type == QUANT_IQ4_NL ? (uint8_t)(block_iq4_values[b.code[i]] + 128)
                                        : (uint8_t)(b.code[i] - block_offset(type) + 128);
    panel_put_words(main, lane, bytes, 8);
}

static void panel_put_q8m(uint8_t *main, int lane, const uint8_t *src)
{
    struct block b;

    block_read(QUANT_Q5_1, src, &b);
    panel_put_words(main, lane, b.code, 8);
}

/* One block of the file's into a lane of a panel's. */
static void panel_put_block(enum quant_type type, const uint8_t *src, int lane, uint8_t *main, uint8_t *side)
{
    const uint8_t *d = type == QUANT_Q6_K ? src + 208 : src;

    panel_put_half(side, lane, d);
    switch (type) {
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        panel_put_half(side + 32, lane, src + 2);
        panel_put_scales_k(main, lane, src + 4);
        panel_put_words(main + PANEL_K_QS, lane, src + (type == QUANT_Q5_K ? 48 : 16), 32);
        if (type == QUANT_Q5_K)
            panel_put_words(main + PANEL_K_QH, lane, src + 16, 8);
        break;
    case QUANT_Q6_K:
        panel_put_q6k(main, lane, src);
        break;
    case QUANT_IQ4_XS:
        panel_put_half(side + 32, lane, src + 2);
        panel_put_iq4xs(main, lane, src);
        break;
    case QUANT_Q8_0:
        for (int i = 0; i < 8; i++)
            panel_put_word(main, i, lane, panel_word(src + 2 + 4 * i) ^ 0x80808080);
        break;
    case QUANT_Q5_0:
    case QUANT_IQ4_NL:
        panel_put_q8(main, lane, type, src);
        break;
    case QUANT_Q5_1:
        panel_put_half(side + 32, lane, src + 2);
        panel_put_q8m(main, lane, src);
        break;
    case QUANT_Q4_1:
        panel_put_half(side + 32, lane, src + 2);
        panel_put_words(main, lane, src + 4, 4);
        break;
    case QUANT_Q4_0:
        panel_put_words(main, lane, src + 2, 4);
        break;
    default: /* floats: panel_put_floats() */
        break;
    }
}

enum { PANEL_FLOATS = 64 }; /* per row at a time, so that what is written stays in L1 */

/* Elements of F32, F16, BF16: [k][lane]. */
static void panel_put_floats(int n_in, size_t size, const uint8_t *src, int n_row, uint8_t *dst)
{
    for (int k0 = 0; k0 < n_in; k0 += PANEL_FLOATS)
        for (int lane = 0; lane < n_row; lane++) {
            const uint8_t *row = src + (size_t)lane * (size_t)n_in * size;
            for (size_t k = (size_t)k0; k < (size_t)MIN(k0 + PANEL_FLOATS, n_in); k++)
                memcpy(dst + (k * PANEL_ROWS + (size_t)lane) * size, row + k * size, size);
        }
}

void panel_pack(const struct kern_mat *mat, int n_row, const uint8_t *src, uint8_t *ret_dst)
{
    const struct quant_info *q = quant_find(mat->type);
    const enum panel_kind kind = panel_kind(mat->type);
    const struct panel_info *info = &panel_infos[kind];
    const size_t row_bytes = quant_row_bytes(q, mat->n_in);
    const int n_block = mat->n_in / info->n_k;
    const size_t size = panel_bytes(kind, mat->n_in);
    uint8_t *side = ret_dst + panel_side_offset(kind, mat->n_in), *end = side + n_block * info->side_bytes;

    if (n_row < PANEL_ROWS)
        memset(ret_dst, 0, size);
    memset(end, 0, (size_t)(ret_dst + size - end));
    if (info->act == ACT_F32) {
        panel_put_floats(mat->n_in, (size_t)q->n_bytes, src, n_row, ret_dst);
        return;
    }
    for (int i = 0; i < n_block; i++)
        for (int lane = 0; lane < n_row; lane++)
            panel_put_block(mat->type, src + (size_t)lane * row_bytes + i * q->n_bytes, lane,
                            ret_dst + i * info->main_bytes, side + i * info->side_bytes);
}
