/* mm_b_half.c - what mm_b.c does, for instruction sets of sixteen registers: eight lanes at a time, and sums
 * in 16 bits where a block's fit, as in mm_k_half.c. */
#define VEC_HALF
#include "isa_fn.h"

enum { MM_B_PANELS = 4 };
enum { MM_B_AHEAD_BYTES = 9216 }; /* as in mm_k.c */
enum { MM_B_WALK = 8 };           /* blocks of a walk over the rows */

VEC bool mm_b_is_nibble(enum panel_kind kind)
{
    return kind == PANEL_Q4 || kind == PANEL_Q4M;
}

/* How many products of a code and at most 127 add up in 16 bits, two in each quad: codes go to 15, 31, 128.
 */
VEC int mm_b_quads_fit(enum panel_kind kind)
{
    return VEC_DOT_BYTE || mm_b_is_nibble(kind) ? 8 : kind == PANEL_Q8M ? 4 : 1;
}

VEC vh mm_b_codes(enum panel_kind kind, const uint8_t *main, int quad)
{
    if (!mm_b_is_nibble(kind))
        return vb_load(main + quad * 64).a;
    const vb both = vb_load(main + (quad & 3) * 64);
    return vb_and(quad < 4 ? both : vb_srl16(both, 4), vb_set1(0x0f)).a;
}

/* s[m] += codes . x of row row0 + m */
VEC void mm_b_products(enum panel_kind kind, int n_row, const uint8_t *main, const struct act32 *x, int row0,
                       vh *s)
{
    const int n_fit = mm_b_quads_fit(kind);
    const vh one = vh_scale(vi_set1(1));
    vh codes[ACT_TILE];

#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        codes[m] = vh_zero();
#pragma GCC unroll 8
    for (int q = 0; q < 8; q++) {
        const vh w = mm_b_codes(kind, main, q), plain = vh_off128(w), size = vh_magnitude(plain);
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++) {
            codes[m] =
                vh_codes(codes[m], q % n_fit == 0, kind == PANEL_Q8, w, plain, size, x->q[row0 + m], q);
            if (q % n_fit == n_fit - 1)
                s[m] = vh_scaled(s[m], codes[m], one);
        }
    }
}

/* What the codes carry beyond the value. */
VEC int mm_b_offset(enum panel_kind kind)
{
    return kind == PANEL_Q4 ? 8 : kind == PANEL_Q8 ? VEC_OFF128_BIAS : 0;
}

/* Eight lanes of one block: f[m] += block . x.  main, side and f are those of the first of these lanes. */
VEC void mm_b_block(enum panel_kind kind, int n_row, const uint8_t *main, const uint8_t *side,
                    const struct act32 *x, int row0, vf *f)
{
    const vf d = vf_load_f16((const uint16_t *)side);
    const bool has_min = kind == PANEL_Q8M || kind == PANEL_Q4M;
    const vf min = has_min ? vf_load_f16((const uint16_t *)(side + 32)) : d;
    vh s[ACT_TILE];

#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        s[m] = vi_set1(-mm_b_offset(kind) * x->sum[row0 + m]).a;
    mm_b_products(kind, n_row, main, x, row0, s);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++) {
        vf t = vf_mul(vf_from_vi(vi_of_half(s[m])), d);
        if (has_min)
            t = vf_fma(vf_set1((float)x->sum[row0 + m]), min, t);
        f[m] = vf_fma(t, vf_set1(x->d[row0 + m]), f[m]);
    }
}

/* Blocks b0 to b1 of panel p with n_row rows from t on, all of one tile; ahead: NULL, or where b0's bytes of
 * what is to be fetched lie. */
VEC void mm_b_rows(enum panel_kind kind, int n_row, const struct mm_args *a, int p, int b0, int b1, int t,
                   const uint8_t *ahead)
{
    const size_t size = (size_t)panel_infos[kind].main_bytes,
                 side_size = (size_t)panel_infos[kind].side_bytes;
    const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes;
    const struct act32 *x = (const struct act32 *)(a->act + (size_t)(t / ACT_TILE) * a->tile_bytes);

    for (int half = 0; half < 2; half++) {
        const uint8_t *main = panel + 32 * half, *side = panel + panel_side_offset(kind, a->n_in) + 16 * half;
        float *out = a->out + (int64_t)t * a->ld + p * PANEL_ROWS + 8 * half;
        vf f[ACT_TILE];

#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            f[m] = b0 ? vf_load_half(out + m * a->ld) : vf_set1(0.0f);
        for (int b = b0; b < b1; b++) {
            if (half == 0 && ahead)
                for (size_t line = 0; line < size; line += 64)
                    vec_prefetch(ahead + (size_t)(b - b0) * size + line);
            mm_b_block(kind, n_row, main + (size_t)b * size, side + (size_t)b * side_size, x + b,
                       t % ACT_TILE, f);
        }
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            vf_store_half(out + m * a->ld, f[m]);
    }
}

/* Rows of one tile: panel by panel, weights from memory. */
VEC void mm_b_few(enum panel_kind kind, int n_row, const struct mm_args *a)
{
    const int n_block = a->n_in / 32;
    const size_t size = (size_t)panel_infos[kind].main_bytes;

    for (int p = 0; p < a->n_panel; p++) {
        const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes,
                      *next = p + 1 < a->n_panel || !a->next ? panel + a->panel_bytes : a->next;

        for (int b = 0; b < n_block; b += MM_B_WALK) {
            const size_t at = (size_t)b * size + MM_B_AHEAD_BYTES, end = (size_t)n_block * size;
            vec_prefetch(next + panel_side_offset(kind, a->n_in) + b * panel_infos[kind].side_bytes);
            mm_b_rows(kind, n_row, a, p, b, MIN(b + MM_B_WALK, n_block), 0,
                      at < end ? panel + at : next + (at - end));
        }
    }
}

/* 256 k at a time, so that weights and activations of the walk over the rows stay in L1 and L2. */
VEC void mm_b_many(enum panel_kind kind, const struct mm_args *a)
{
    const int n_block = a->n_in / 32;

    for (int p0 = 0; p0 < a->n_panel; p0 += MM_B_PANELS)
        for (int b = 0; b < n_block; b += MM_B_WALK)
            for (int t = 0; t < a->n_tok; t += ACT_TILE)
                for (int p = p0; p < MIN(p0 + MM_B_PANELS, a->n_panel); p++)
                    mm_b_rows(kind, ACT_TILE, a, p, b, MIN(b + MM_B_WALK, n_block), t, NULL);
}

VEC void mm_b(enum panel_kind kind, const struct mm_args *a)
{
    if (a->n_tok == 1)
        mm_b_few(kind, 1, a);
    else if (a->n_tok == 2)
        mm_b_few(kind, 2, a);
    else if (a->n_tok <= 4)
        mm_b_few(kind, 4, a);
    else if (a->n_tok <= ACT_TILE)
        mm_b_few(kind, ACT_TILE, a);
    else
        mm_b_many(kind, a);
}

ISA_MM_B(mm_b)
