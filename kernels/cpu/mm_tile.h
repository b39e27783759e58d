/* mm_tile.h - what mm_tile.c does beside the products: rows and weights laid out for tiles, and the way of
 * the sums to floats.  Its own file so that tests/bench can measure it on machines without tiles. */
#pragma once

#include "mm_k.h"

enum {
    MM_TILE_ROWS = 16,
    MM_TILE_STEP = 2 * MM_TILE_ROWS,
    MM_TILE_PANELS = 16, /* that share one copy of the rows; their sums for MM_ROWS_MAX rows fill 512 KiB */
};

/* One block of sixteen rows; a tile takes q[i], 64 k of each.  Copied, since activations lie for eight rows
 * at a time: in place a tile would be two loads of eight rows each, and a product of eight rows takes nearly
 * as long as one of sixteen. */
struct mm_tile_rows {
    int8_t q[4][MM_TILE_ROWS][64];
    int16_t sum32[MM_TILE_ROWS][8]; /* where mm_k_has_min() */
    float d[MM_TILE_ROWS];
};

/* One block of one panel.  Weight times scale is an integer of at most 13 bits with its sign: high 2^shift +
 * low, each a byte, so that scales are inside the products and all 256 k of a block add up in a tile,
 * exactly. high, low  [k / 64][quad of k 16][lane 16][4 k]; low unsigned, high signed unless mm_k_has_min()
 */
struct mm_tile_planes {
    uint8_t high[4][1024], low[4][1024];
    uint8_t pairs[4][64]; /* mm_k_pair(), where mm_k_has_min() */
    float d[PANEL_ROWS], m[PANEL_ROWS];
};

struct mm_tile_sums { /* of a step: MM_TILE_STEP rows with one block of one panel */
    int32_t high[MM_TILE_STEP][PANEL_ROWS], low[MM_TILE_STEP][PANEL_ROWS];
};

struct mm_tile_scratch { /* of a thread, 64-byte aligned */
    struct mm_tile_planes planes[2];
    struct mm_tile_sums sums[2];
    struct mm_tile_rows rows[MM_ROWS_MAX / MM_TILE_ROWS];
};

/* What is left to do with a step's sums while the tiles are at the next step. */
struct mm_tile_todo {
    const struct mm_tile_sums *sums;
    const struct mm_tile_planes *planes;
    const struct mm_tile_rows *rows;
    float *out;
    int n_row;   /* 0: nothing; a multiple of ACT_TILE */
    float keeps; /* 0: out is still to be written for the first time; else 1 */
};

/* rows */

VEC const struct act256 *mm_tile_act(const struct mm_args *a, int b, int t)
{
    return (const struct act256 *)(a->act + (size_t)(t / ACT_TILE) * a->tile_bytes) + b * ACT_TILE +
           t % ACT_TILE;
}

/* Block b of all rows. */
VEC void mm_tile_copy_rows(enum panel_kind kind, const struct mm_args *a, int b,
                           struct mm_tile_rows *ret_rows)
{
    const int n_tok = ROUND_UP(a->n_tok, ACT_TILE);

    for (int t = 0; t < n_tok; t++) {
        const struct act256 *x = mm_tile_act(a, b, t);
        struct mm_tile_rows *rows = ret_rows + t / MM_TILE_ROWS;
        const int row = t % MM_TILE_ROWS;
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            vb_store((uint8_t *)rows->q[i][row], vb_load((const uint8_t *)x->q + 64 * i));
        if (mm_k_has_min(kind))
            memcpy(rows->sum32[row], x->sum32, sizeof(x->sum32));
        rows->d[row] = x->d;
    }
}

/* Into L2, of rows t.. of block b, panel p's share: while all panels are at the block before it, it comes
 * nearer bit by bit. */
VEC void mm_tile_fetch_rows(const struct mm_args *a, int b, int t, int p)
{
    const int first = MM_TILE_STEP * p / a->n_panel, end = MM_TILE_STEP * (p + 1) / a->n_panel;

    if (b * 256 >= a->n_in)
        return;
    for (int i = t + first; i < MIN(t + end, a->n_tok); i++)
        for (size_t line = 0; line < sizeof(struct act256); line += 64)
            __builtin_prefetch((const uint8_t *)mm_tile_act(a, b, i) + line, 0, 2);
}

/* weights */

/* v times scale, both signed: v bytes, scale 16 bit, twice in each lane. */
VEC void mm_tile_put_signed(vb v, vb scale, uint8_t *ret_high, uint8_t *ret_low)
{
    const vb even = vb_mul16(vb_sra16(vb_sll16(v, 8), 8), scale), odd = vb_mul16(vb_sra16(v, 8), scale);
    const vb bottom = vi_set1(0x00ff00ff), top = vi_set1((int32_t)0xff00ff00u);

    vb_store(ret_low, vb_or(vb_and(even, bottom), vb_sll16(odd, 8)));
    vb_store(ret_high, vb_or(vb_srl16(even, 8), vb_and(odd, top)));
}

/* v times scale, v at most 31, scale at most 63 = 8 * 7 + 7: no byte's product reaches the next byte. */
VEC void mm_tile_put_unsigned(vb v, vb scale, uint8_t *ret_high, uint8_t *ret_low)
{
    vb_store(ret_low, vb_mul16(v, vb_and(scale, vi_set1(0x00070007))));
    vb_store(ret_high, vb_mul16(v, vb_srl16(scale, 3)));
}

VEC int mm_tile_shift(enum panel_kind kind)
{
    return mm_k_has_min(kind) ? 3 : 8;
}

/* Codes 64 i.. of a block into its planes; their share of the block behind it is fetched into L2. */
VEC void mm_tile_unpack(enum panel_kind kind, const uint8_t *main, const uint8_t *side, int i,
                        struct mm_tile_planes *ret_planes)
{
    const int size = panel_infos[kind].main_bytes, n_line = size / 64;
    const struct mm_k_scales s = mm_k_scales(kind, main, side);
    const vb table = mm_k_table(kind, 0);

    for (int line = n_line * i / 4; line < n_line * (i + 1) / 4; line++)
        __builtin_prefetch(main + size + 64 * line, 0, 2);
#pragma GCC unroll 4
    for (int half = 0; half < 4; half++) { /* quads 4 half..: of one scale */
        const int g = 2 * i + half / 2;
        const vi scale = mm_k_scale(kind, &s, kind == PANEL_Q6K ? 2 * g + half % 2 : g);
        const vb twice = vb_or(vb_and(scale, vi_set1(0xffff)), vi_sll(scale, 16));
#pragma GCC unroll 4
        for (int quad = 0; quad < 4; quad++) {
            const vb v = mm_k_codes(kind, main, g, half % 2 * 4 + quad, table);
            uint8_t *high = ret_planes->high[i] + 64 * (4 * half + quad),
                    *low = ret_planes->low[i] + 64 * (4 * half + quad);
            if (mm_k_has_min(kind))
                mm_tile_put_unsigned(v, twice, high, low);
            else
                mm_tile_put_signed(kind == PANEL_Q6K ? vb_sub(v, vb_set1(32)) : v, twice, high, low);
        }
    }
}

/* What mm_tile_finish() needs of a block.  Apart from mm_tile_unpack(): while that fills the planes of the
 * next panel, the sums of the last one still need these. */
VEC void mm_tile_unpack_floats(enum panel_kind kind, const uint8_t *main, const uint8_t *side,
                               struct mm_tile_planes *ret_planes)
{
    const struct mm_k_floats w = mm_k_floats(kind, side);

    vf_store(ret_planes->d, w.d);
    if (!mm_k_has_min(kind))
        return;
    const struct mm_k_scales s = mm_k_scales(kind, main, side);
    vf_store(ret_planes->m, w.m);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        vb_store(ret_planes->pairs[i], mm_k_pair(kind, &s, i));
}

/* sums */

VEC vi mm_tile_mins(const vb *pairs, const int16_t *sum32)
{
    vi mins = vi_zero();

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        mins = vi_dot_i16(mins, pairs[i], sum32 + 2 * i);
    return mins;
}

/* Rows 8 part.. of a step: out = (what it was, or 0) + their products. */
VEC void mm_tile_finish(enum panel_kind kind, const struct mm_tile_todo *todo, int64_t ld, int part)
{
    const struct mm_tile_planes *p = todo->planes;
    const struct mm_tile_rows *rows = todo->rows + part / 2;
    const struct mm_k_floats w = {vf_load(p->d), mm_k_has_min(kind) ? vf_load(p->m) : vf_set1(0.0f)};
    const vf keeps = vf_set1(todo->keeps);
    float *out = todo->out + part * ACT_TILE * ld;
    vb pairs[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        pairs[i] = mm_k_has_min(kind) ? vb_load(p->pairs[i]) : vi_zero();
#pragma GCC unroll 8
    for (int m = 0; m < ACT_TILE; m++, out += ld) {
        const int at = part * ACT_TILE + m, row = at % MM_TILE_ROWS;
        const vi s = vi_add(vi_sll(vb_load((const uint8_t *)todo->sums->high[at]), mm_tile_shift(kind)),
                            vb_load((const uint8_t *)todo->sums->low[at]));
        const vi mins = mm_k_has_min(kind) ? mm_tile_mins(pairs, rows->sum32[row]) : vi_zero();
        const vf f = vf_zero_unless_gt(vf_load(out), keeps, vf_set1(0.0f));
        vf_store(out, mm_k_finish(kind, s, mins, &w, rows->d[row], f));
    }
}
