/* mm_b.c - products of Q8, Q4, Q8M and Q4M panels with int8 activations per 32 block.
 *
 * Compiled once per instruction set; exact.c defines the values, mm_k.c says why the loops run as they do. */
#include "isa_fn.h"

enum { MM_B_PANELS = 4 };
enum { MM_B_AHEAD_BYTES = 9216 }; /* as in mm_k.c */

VEC bool mm_b_is_nibble(enum panel_kind kind)
{
    return kind == PANEL_Q4 || kind == PANEL_Q4M;
}

VEC vb mm_b_codes(enum panel_kind kind, const uint8_t *main, int quad)
{
    if (!mm_b_is_nibble(kind))
        return vb_load(main + quad * 64);
    if (quad == 4)
        vec_put_by(main);
    const vb both = vb_load(main + (quad & 3) * 64);
    return vb_and(quad < 4 ? both : vb_srl16(both, 4), vb_set1(0x0f));
}

/* s[m] += codes . x of row row0 + m; ahead: NULL, or a block to be fetched */
VEC void mm_b_products(enum panel_kind kind, int n_row, const uint8_t *main, const uint8_t *ahead,
                       const struct act32 *x, int row0, vi *s)
{
#pragma GCC unroll 8
    for (int q = 0; q < 8; q++) {
        const vb w = mm_b_codes(kind, main, q);
        if (ahead)
            vec_prefetch_line(ahead, q, panel_infos[kind].main_bytes / 64);
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            s[m] = vec_dot_codes(kind == PANEL_Q8, ahead && n_row < VEC_ROWS, s[m], w, x->q[row0 + m], q);
    }
}

#ifdef VEC_PAIRS
/* The same for an even number of rows, by twos. */
VEC void mm_b_products_pairs(enum panel_kind kind, int n_row, const uint8_t *main, const uint8_t *ahead,
                             const struct act32 *x, int row0, vi *s)
{
#pragma GCC unroll 4
    for (int m = 0; m < n_row; m += 2)
        vi_weave(&s[m], &s[m + 1]);
#pragma GCC unroll 4
    for (int q = 0; q < 8; q += 2) {
        vb w[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            w[i] = mm_b_codes(kind, main, q + i);
            if (ahead)
                vec_prefetch_line(ahead, q + i, panel_infos[kind].main_bytes / 64);
            w[i] = kind == PANEL_Q8 ? vec_off128(w[i]) : w[i];
        }
#pragma GCC unroll 4
        for (int m = 0; m < n_row; m += 2)
            vi_dot_pair(&s[m], &s[m + 1], w[0], w[1], x->q[row0 + m], x->q[row0 + m + 1], q);
    }
#pragma GCC unroll 4
    for (int m = 0; m < n_row; m += 2)
        vi_weave(&s[m], &s[m + 1]);
}
#endif

/* What the codes carry beyond the value, times the sum of the activations. */
VEC vi mm_b_start(enum panel_kind kind, int32_t sum)
{
    if (kind == PANEL_Q4)
        return vi_set1(-8 * sum);
    return kind == PANEL_Q8 ? vi_set1(-VEC_OFF128_BIAS * sum) : vi_zero();
}

VEC void mm_b_block(enum panel_kind kind, int n_row, const uint8_t *main, const uint8_t *ahead,
                    const uint8_t *side, const struct act32 *x, int row0, vf *f)
{
    const vf d = vf_load_f16((const uint16_t *)side);
    const bool has_min = kind == PANEL_Q8M || kind == PANEL_Q4M;
    const vf min = has_min ? vf_load_f16((const uint16_t *)(side + 32)) : d;
    vi s[VEC_ROWS];

    vec_put_by(f);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        s[m] = mm_b_start(kind, x->sum[row0 + m]);
#ifdef VEC_PAIRS
    if (n_row % 2 == 0)
        mm_b_products_pairs(kind, n_row, main, ahead, x, row0, s);
    else
#endif
        mm_b_products(kind, n_row, main, ahead, x, row0, s);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++) {
        vf t = vf_mul(vf_from_vi(s[m]), d);
        if (has_min)
            t = vf_fma(vf_set1((float)x->sum[row0 + m]), min, t);
        f[m] = vf_fma(t, vf_set1(x->d[row0 + m]), f[m]);
    }
}

VEC void mm_b_few(enum panel_kind kind, int n_row, const struct mm_args *a)
{
    const int n_block = a->n_in / 32, size = panel_infos[kind].main_bytes,
              side_size = panel_infos[kind].side_bytes, n_ahead = MM_B_AHEAD_BYTES / size;

    for (int p = 0; p < a->n_panel; p++) {
        const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes, *main = panel,
                      *side = panel + (size_t)n_block * (size_t)size,
                      *next = p + 1 < a->n_panel || !a->next ? panel + a->panel_bytes : a->next;
        const struct act32 *x = (const struct act32 *)a->act;
        vf f[VEC_ROWS];

#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            f[m] = vf_set1(0.0f);
        for (int b = 0; b < n_block; b++, main += size, side += side_size, x++) {
            const int at = b + n_ahead;
            const uint8_t *ahead = at < n_block ? main + n_ahead * size : next + (at - n_block) * size;
            vec_prefetch(next + (side - panel));
            mm_b_block(kind, n_row, main, ahead, side, x, 0, f);
        }
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            vf_store(a->out + (int64_t)m * a->ld + p * PANEL_ROWS, f[m]);
    }
}

/* 256 k at a time, so that weights and activations of the walk over the rows stay in L1 and L2. */
VEC void mm_b_rows(enum panel_kind kind, const struct mm_args *a, int p, int b0, int t0)
{
    const int n_block = a->n_in / 32, size = panel_infos[kind].main_bytes,
              side_size = panel_infos[kind].side_bytes;
    const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes;
    const uint8_t *main = panel + (size_t)b0 * (size_t)size;
    const uint8_t *side = panel + (size_t)n_block * (size_t)size + b0 * side_size;
    const struct act32 *x = (const struct act32 *)(a->act + (size_t)(t0 / ACT_TILE) * a->tile_bytes) + b0;
    float *out = a->out + (int64_t)t0 * a->ld + p * PANEL_ROWS;
    vf f[VEC_ROWS];

#pragma GCC unroll 8
    for (int m = 0; m < VEC_ROWS; m++)
        f[m] = b0 ? vf_load(out + (int64_t)m * a->ld) : vf_set1(0.0f);
    for (int b = b0; b < MIN(b0 + 8, n_block); b++, main += size, side += side_size, x++)
        mm_b_block(kind, VEC_ROWS, main, NULL, side, x, t0 % ACT_TILE, f);
#pragma GCC unroll 8
    for (int m = 0; m < VEC_ROWS; m++)
        vf_store(out + (int64_t)m * a->ld, f[m]);
}

VEC void mm_b_many(enum panel_kind kind, const struct mm_args *a)
{
    for (int p0 = 0; p0 < a->n_panel; p0 += MM_B_PANELS)
        for (int b = 0; b < a->n_in / 32; b += 8)
            for (int t = 0; t < a->n_tok; t += VEC_ROWS)
                for (int p = p0; p < MIN(p0 + MM_B_PANELS, a->n_panel); p++)
                    mm_b_rows(kind, a, p, b, t);
}

VEC void mm_b(enum panel_kind kind, const struct mm_args *a)
{
    if (a->n_tok == 1)
        mm_b_few(kind, 1, a);
    else if (a->n_tok == 2)
        mm_b_few(kind, 2, a);
#if KERN_VEC == 128 || KERN_VEC == 512
    else if (a->n_tok <= 4)
        mm_b_few(kind, 4, a);
#endif
#if KERN_VEC == 512
    else if (a->n_tok <= 8)
        mm_b_few(kind, 8, a);
#endif
    else
        mm_b_many(kind, a);
}

ISA_MM_B(mm_b)
