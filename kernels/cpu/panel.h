/* panel.h - weights repacked for the CPU: panels of 16 output rows, lane = row, k in order inside a lane.
 *
 * No product is ever summed across lanes, so each instruction set can do the same arithmetic in the same
 * order. A panel is a main section of n_block blocks, then a side section of their f16 scales; it has the
 * size of its 16 rows in the file (Q5_0 and IQ4_NL grow to Q8_0), rounded up to 64 bytes.  A last panel of
 * fewer rows is filled with zeros. Offsets inside a block: mm_k.c and panel.c. */
#pragma once

#include "kernels/kernels.h"

enum { PANEL_ROWS = 16 };

enum panel_kind {
    PANEL_Q4K,
    PANEL_Q5K,
    PANEL_Q6K,
    PANEL_IQ4XS,
    PANEL_Q8,  /* Q8_0; Q5_0 and IQ4_NL, whose values are int8 too */
    PANEL_Q4,  /* Q4_0 */
    PANEL_Q8M, /* Q5_1: d q + m */
    PANEL_Q4M, /* Q4_1 */
    PANEL_F32,
    PANEL_F16,
    PANEL_BF16,
    PANEL_KIND_N
};

/* How the activations that meet a panel are held (act.h). */
enum act_kind { ACT_K256, ACT_B32, ACT_F32, ACT_KIND_N };

struct panel_info {
    enum act_kind act;
    int n_k;                    /* k per block */
    int main_bytes, side_bytes; /* of one block of 16 rows */
};

/* Here, so that what is compiled for one kind has its sizes as numbers. */
static const struct panel_info panel_infos[PANEL_KIND_N] = {
    [PANEL_Q4K] = {ACT_K256, 256, 2240, 64}, [PANEL_Q5K] = {ACT_K256, 256, 2752, 64},
    [PANEL_Q6K] = {ACT_K256, 256, 3328, 32}, [PANEL_IQ4XS] = {ACT_K256, 256, 2112, 64},
    [PANEL_Q8] = {ACT_B32, 32, 512, 32},     [PANEL_Q4] = {ACT_B32, 32, 256, 32},
    [PANEL_Q8M] = {ACT_B32, 32, 512, 64},    [PANEL_Q4M] = {ACT_B32, 32, 256, 64},
    [PANEL_F32] = {ACT_F32, 1, 64, 0},       [PANEL_F16] = {ACT_F32, 1, 32, 0},
    [PANEL_BF16] = {ACT_F32, 1, 32, 0},
};

enum panel_kind panel_kind(enum quant_type type);
size_t panel_bytes(enum panel_kind kind, int n_in); /* of one panel */
int panel_n(int n_out);
size_t panel_side_offset(enum panel_kind kind, int n_in);

/* Packs one panel of mat from n_row <= 16 of the file's rows at src. */
void panel_pack(const struct kern_mat *mat, int n_row, const uint8_t *src, uint8_t *ret_dst);

/* Block b of row lane, as the file had it.  type is QUANT_Q8_0 for all that PANEL_Q8 holds.  Not for F32,
 * F16, BF16. */
struct block;
void panel_read_block(enum panel_kind kind, const uint8_t *panel, int n_in, int lane, int b,
                      struct block *ret_block);
/* One row of values. */
void panel_read_row(enum panel_kind kind, const uint8_t *panel, int n_in, int lane, float *ret_values);

/* Byte offsets inside a block's main section. */
enum {
    PANEL_K_LO03 = 0,  /* Q4_K, Q5_K: byte 4 lane + g: scale low 4 | min low 4 << 4, groups 0..3 */
    PANEL_K_LO47 = 64, /* the same for groups 4..7 */
    PANEL_K_TOP = 128, /* byte 4 lane + g: scale top 2 | min top 2 << 2, then << 4 those of group g + 4 */
    PANEL_K_QS =
        192, /* [pair of groups 4][quad of k 8][lane 16][4]: low nibble group 2 p, high nibble 2 p + 1 */
    PANEL_K_QH = 2240,  /* Q5_K: [quad][lane][4], bit g: fifth bit of group g */
    PANEL_Q6_SCALE = 0, /* [4][lane 16][4] int8 scale of group of 16 */
    PANEL_Q6_QS = 256,  /* as PANEL_K_QS */
    PANEL_Q6_QH =
        2304, /* [2][quad 8][lane 16][4]: half h, bits 2 (g % 4): top 2 of group of 32 g, h = g / 4 */
    PANEL_IQ4_SCALE = 0, /* byte 4 lane + g: low 4 of group g | those of group g + 4 << 4 */
    PANEL_IQ4_QS = 64,   /* as PANEL_K_QS */
};
