/* mm_k.c - products of Q4_K, Q5_K, Q6_K and IQ4_XS panels with int8 activations per 256 block.
 *
 * Compiled once per instruction set.  exact.c defines the values; here is the order of work.  A weight block
 * is read once and multiplied with up to VEC_ROWS rows held in registers.  Few rows: all blocks of a panel in
 * turn, sums stay in registers, and the panel is prefetched ahead of its use.  Many rows: blocks outside,
 * rows inside, so that the block stays in L1 and the activations of one block (160 KiB for 512 rows) in L2;
 * sums go through a->out. */
#include "mm_k.h"

enum { MM_K_PANELS = 4 }; /* panels that share one walk over the rows */
/* Blocks of prefetch: for few rows 7 to 10 KB (one block is a fifth slower for one row, eight for three),
 * less where many rows keep a block busy for longer. */
enum { MM_K_AHEAD = 3, MM_K_AHEAD_MANY = 2 };

/* A share of the block ahead with each of the 64 quads of a block, since all at once its lines wait for each
 * other and the products for them: then memory and products took their times one after the other. */
VEC void mm_k_prefetch(enum panel_kind kind, const uint8_t *ahead, int quad)
{
    if (ahead)
        vec_prefetch_line(ahead, quad, panel_infos[kind].main_bytes / 64);
}

#ifdef VEC_PAIRS
/* mm_k_group() of an even number of rows, by twos; total is woven until the block is done. */
VEC void mm_k_group_pairs(enum panel_kind kind, int n_row, const uint8_t *main, const uint8_t *ahead,
                          const struct act256 *x, int g, int quad, int n_quad, vi scale, vb table, vi *total)
{
    vi s[VEC_ROWS], scales[2] = {scale, scale};

#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        s[m] = vi_zero();
#pragma GCC unroll 4
    for (int q = quad; q < quad + n_quad; q += 2) {
        vb w[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            w[i] = mm_k_codes(kind, main, g, q + i, table);
            mm_k_prefetch(kind, ahead, 8 * g + q + i);
            w[i] = kind == PANEL_IQ4XS ? vec_off128(w[i]) : w[i];
        }
#pragma GCC unroll 4
        for (int m = 0; m < n_row; m += 2)
            vi_dot_pair(&s[m], &s[m + 1], w[0], w[1], x[m].q + g * 32, x[m + 1].q + g * 32, q);
    }
    vi_weave(&scales[0], &scales[1]);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        total[m] = vi_add(total[m], vi_mul(s[m], scales[m % 2]));
}
#endif

/* 16 times the Q4_K codes of quad of odd group g: one instruction less than the codes, and one row has little
 * else to do.  A sum of 32 such products is below 2^20. */
VEC vb mm_k_top_codes(const uint8_t *main, int g, int quad)
{
    return vb_and_load(main + PANEL_K_QS + ((g >> 1) * 8 + quad) * 64, vb_set1(0xf0));
}

/* total[m] += scale_g sum_k code x, for n_quad quads from quad on. */
VEC void mm_k_group(enum panel_kind kind, int n_row, bool few, const uint8_t *main, const uint8_t *ahead,
                    const struct act256 *x, int g, int quad, int n_quad, vi scale, vb table, vi *total)
{
    const bool top = VEC_DOT_BYTE && kind == PANEL_Q4K && n_row == 1 && g & 1;
    vi s[VEC_ROWS];

    vec_put_by(total);
#ifdef VEC_PAIRS
    if (n_row % 2 == 0) {
        mm_k_group_pairs(kind, n_row, main, ahead, x, g, quad, n_quad, scale, table, total);
        return;
    }
#endif
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        s[m] = vi_zero();
#pragma GCC unroll 8
    for (int q = quad; q < quad + n_quad; q++) {
        const vb w = top ? mm_k_top_codes(main, g, q) : mm_k_codes(kind, main, g, q, table);
        mm_k_prefetch(kind, ahead, 8 * g + q);
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            s[m] = vec_dot_codes(kind == PANEL_IQ4XS, few, s[m], w, x[m].q + g * 32, q);
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        total[m] = vi_add(total[m], vi_mul(top ? vi_sra(s[m], 4) : s[m], scale));
}

/* One block of one panel with n_row rows: f[m] += block . x[m] */
VEC void mm_k_block(enum panel_kind kind, int n_row, bool few, const uint8_t *main, const uint8_t *ahead,
                    const uint8_t *side, const struct act256 *x, vf *f)
{
    const struct mm_k_scales s = mm_k_scales(kind, main, side);
    const vb table = mm_k_table(kind, 128);
    vi total[VEC_ROWS];

    vec_put_by(&s);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        total[m] = vi_zero();
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        if (kind == PANEL_Q6K) {
            mm_k_group(kind, n_row, few, main, ahead, x, g, 0, 4, mm_k_scale(kind, &s, 2 * g), table, total);
            mm_k_group(kind, n_row, few, main, ahead, x, g, 4, 4, mm_k_scale(kind, &s, 2 * g + 1), table,
                       total);
        } else {
            mm_k_group(kind, n_row, few, main, ahead, x, g, 0, 8, mm_k_scale(kind, &s, g), table, total);
        }
    }
#ifdef VEC_PAIRS
    if (n_row % 2 == 0)
#pragma GCC unroll 4
        for (int m = 0; m < n_row; m += 2)
            vi_weave(&total[m], &total[m + 1]);
#endif
    const struct mm_k_floats floats = mm_k_floats(kind, side);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++) {
        const bool needs_sums = kind != PANEL_IQ4XS || VEC_OFF128_BIAS;
        const vi sums = needs_sums ? mm_k_sums(kind, &s, x + m) : vi_zero();
        f[m] = mm_k_finish(kind, mm_k_less_offset(kind, total[m], sums), sums, &floats, x[m].d, f[m]);
    }
}

/* Up to VEC_ROWS rows: sums in registers, weights from memory. */
VEC void mm_k_few(enum panel_kind kind, int n_row, const struct mm_args *a)
{
    const int n_block = a->n_in / 256, size = panel_infos[kind].main_bytes,
              side_size = panel_infos[kind].side_bytes;

    for (int p = 0; p < a->n_panel; p++) {
        const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes, *main = panel,
                      *side = panel + (size_t)n_block * (size_t)size,
                      *next = p + 1 < a->n_panel || !a->next ? panel + a->panel_bytes : a->next;
        const struct act256 *x = (const struct act256 *)a->act;
        vf f[VEC_ROWS];

#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            f[m] = vf_set1(0.0f);
        for (int b = 0; b < n_block; b++, main += size, side += side_size, x += ACT_TILE) {
            const int at = b + MM_K_AHEAD;
            const uint8_t *ahead = at < n_block ? main + MM_K_AHEAD * size : next + (at - n_block) * size;
            vec_prefetch(next + (side - panel)); /* too far from what is read here to be fetched with it */
            mm_k_block(kind, n_row, true, main, ahead, side, x, f);
        }
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            vf_store(a->out + (int64_t)m * a->ld + p * PANEL_ROWS, f[m]);
    }
}

/* VEC_ROWS rows from t0 with one block of n_panel panels. */
VEC void mm_k_rows(enum panel_kind kind, const struct mm_args *a, int p0, int n_panel, int b, int t0,
                   bool ahead)
{
    const int n_block = a->n_in / 256, size = panel_infos[kind].main_bytes,
              side_size = panel_infos[kind].side_bytes;
    const struct act256 *x = (const struct act256 *)(a->act + (size_t)(t0 / ACT_TILE) * a->tile_bytes) +
                             b * ACT_TILE + t0 % ACT_TILE;

    for (int p = p0; p < p0 + n_panel; p++) {
        const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes,
                      *main = panel + (size_t)b * (size_t)size,
                      *side = panel + (size_t)n_block * (size_t)size + b * side_size;
        float *out = a->out + (int64_t)t0 * a->ld + p * PANEL_ROWS;
        vf f[VEC_ROWS];

#pragma GCC unroll 8
        for (int m = 0; m < VEC_ROWS; m++)
            f[m] = b ? vf_load(out + (int64_t)m * a->ld) : vf_set1(0.0f);
        mm_k_block(kind, VEC_ROWS, false, main, ahead ? main + MM_K_AHEAD_MANY * size : NULL, side, x, f);
#pragma GCC unroll 8
        for (int m = 0; m < VEC_ROWS; m++)
            vf_store(out + (int64_t)m * a->ld, f[m]);
    }
}

VEC void mm_k_many(enum panel_kind kind, const struct mm_args *a)
{
    for (int p = 0; p < a->n_panel; p += MM_K_PANELS) {
        const int n_panel = MIN(MM_K_PANELS, a->n_panel - p);
        for (int b = 0; b < a->n_in / 256; b++) {
            mm_k_rows(kind, a, p, n_panel, b, 0, true);
            for (int t = VEC_ROWS; t < a->n_tok; t += VEC_ROWS)
                mm_k_rows(kind, a, p, n_panel, b, t, false);
        }
    }
}

/* A row that is not there costs its share of the products; 5 to 7 rows are worth no code of their own. */
VEC void mm_k(enum panel_kind kind, const struct mm_args *a)
{
    if (a->n_tok == 1)
        mm_k_few(kind, 1, a);
    else if (a->n_tok == 2)
        mm_k_few(kind, 2, a);
#if KERN_VEC == 128
    else if (a->n_tok <= 4)
        mm_k_few(kind, 4, a);
#elif KERN_VEC == 512
    else if (a->n_tok == 3)
        mm_k_few(kind, 3, a);
    else if (a->n_tok == 4)
        mm_k_few(kind, 4, a);
    else if (a->n_tok <= 8)
        mm_k_few(kind, 8, a);
#endif
    else
        mm_k_many(kind, a);
}

ISA_MM_K(mm_k)
