/* mm_k_half.c - what mm_k.c does, for instruction sets of sixteen registers.
 *
 * Eight lanes at a time, so that the codes of a quad are taken apart once for up to eight rows.  Sums of two
 * products add up in 16 bits over as many quads as fit, and the scale is multiplied with them on their way to
 * 32: two instructions for 32 products, where bytes that are brought to 32 bits at once take three, and a
 * slow one for the scale. */
#define VEC_HALF
#include "mm_k.h"

enum { MM_K_PANELS = 4 };                     /* panels that share one walk over the rows */
enum { MM_K_AHEAD = 3, MM_K_AHEAD_MANY = 2 }; /* blocks of prefetch */

/* Groups of a block in the code.  With checks of each load gcc 12 takes three times as long for all of them.
 */
#if defined(__SANITIZE_ADDRESS__)
enum { MM_K_GROUPS_UNROLLED = 1 };
#else
enum { MM_K_GROUPS_UNROLLED = 8 };
#endif

/* Rows at once: what they add up in has to stay in registers, totals too where they are added to often. */
VEC int mm_k_rows_most(enum panel_kind kind)
{
    return kind == PANEL_Q4K || kind == PANEL_Q5K ? 8 : 4;
}

/* How many products of a code and at most 127 add up in 16 bits, two in each quad: codes go to 15, 31, 63,
 * 127. */
VEC int mm_k_quads_fit(enum panel_kind kind)
{
    return VEC_DOT_BYTE || kind == PANEL_Q4K ? 8 : kind == PANEL_Q5K ? 4 : kind == PANEL_Q6K ? 2 : 1;
}

/* total[m] += scale sum_k code x, for n_quad quads from quad on of group g. */
VEC void mm_k_group(enum panel_kind kind, int n_row, const uint8_t *main, const struct act256 *x, int g,
                    int quad, int n_quad, vi scale, vb table, vh *total)
{
    const int n_fit = MIN(n_quad, mm_k_quads_fit(kind));
    const vh factor = vh_scale(scale);

    vec_put_by(total);
#pragma GCC unroll 4
    for (int first = quad; first < quad + n_quad; first += n_fit) {
        vh s[ACT_TILE];
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            s[m] = vh_zero();
#pragma GCC unroll 8
        for (int q = first; q < first + n_fit; q++) {
            const vh w = mm_k_codes(kind, main, g, q, table).a, size = vh_magnitude(w);
#pragma GCC unroll 8
            for (int m = 0; m < n_row; m++)
                s[m] = vh_codes(s[m], q == first, kind == PANEL_IQ4XS, w, w, size, x[m].q + g * 32, q);
        }
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            total[m] = vh_scaled(total[m], s[m], factor);
    }
}

/* A share of the block ahead with each group. */
VEC void mm_k_fetch(enum panel_kind kind, const uint8_t *ahead, int g)
{
    const int n_line = panel_infos[kind].main_bytes / 64;

    if (!ahead)
        return;
#pragma GCC unroll 8
    for (int line = n_line * g / 8; line < n_line * (g + 1) / 8; line++)
        vec_prefetch(ahead + 64 * line);
}

/* Eight lanes of one block with n_row rows: out[m] = (begins ? 0 : out[m]) + block . x[m].  main, side and
 * out are those of the first of these lanes; what is beside them is in no register. */
VEC void mm_k_block(enum panel_kind kind, int n_row, const uint8_t *main, const uint8_t *ahead,
                    const uint8_t *side, const struct act256 *x, bool begins, float *out, int64_t ld)
{
    const struct mm_k_scales s = mm_k_scales(kind, main, side);
    const vb table = mm_k_table(kind, VEC_OFF128_BIAS);
    vh total[ACT_TILE];

#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        total[m] = vh_zero();
#pragma GCC unroll MM_K_GROUPS_UNROLLED
    for (int g = 0; g < 8; g++) {
        const int n = kind == PANEL_Q6K ? 4 : 8; /* quads of a scale */
        mm_k_fetch(kind, ahead, g);
#pragma GCC unroll 2
        for (int quad = 0; quad < 8; quad += n)
            mm_k_group(kind, n_row, main, x, g, quad, n, mm_k_scale(kind, &s, (8 * g + quad) / n), table,
                       total);
    }
    const struct mm_k_floats floats = mm_k_floats(kind, side);
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++) {
        const bool needs_sums = kind != PANEL_IQ4XS || VEC_OFF128_BIAS;
        const vi sums = needs_sums ? mm_k_sums(kind, &s, x + m) : vi_zero();
        const vf f = begins ? vf_set1(0.0f) : vf_load_half(out + m * ld);
        vf_store_half(out + m * ld, mm_k_finish(kind, mm_k_less_offset(kind, vi_of_half(total[m]), sums),
                                                sums, &floats, x[m].d, f));
    }
}

/* Block b of panel p with n_row rows from t on, all of one tile; ahead: NULL, or a block to be fetched. */
VEC void mm_k_rows(enum panel_kind kind, int n_row, const struct mm_args *a, int p, int b, int t,
                   const uint8_t *ahead)
{
    const int n_block = a->n_in / 256, size = panel_infos[kind].main_bytes,
              side_size = panel_infos[kind].side_bytes;
    const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes, *main = panel + (size_t)b * (size_t)size,
                  *side = panel + (size_t)n_block * (size_t)size + b * side_size;
    const struct act256 *x = (const struct act256 *)(a->act + (size_t)(t / ACT_TILE) * a->tile_bytes) +
                             b * ACT_TILE + t % ACT_TILE;
    float *out = a->out + (int64_t)t * a->ld + p * PANEL_ROWS;

    for (int half = 0; half < 2; half++, ahead = NULL)
        mm_k_block(kind, n_row, main + 32 * half, ahead, side + 16 * half, x, b == 0, out + 8 * half, a->ld);
}

/* Up to four rows: panel by panel, weights from memory. */
VEC void mm_k_few(enum panel_kind kind, int n_row, const struct mm_args *a)
{
    const int n_block = a->n_in / 256;
    const size_t size = (size_t)panel_infos[kind].main_bytes;

    for (int p = 0; p < a->n_panel; p++) {
        const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes,
                      *next = p + 1 < a->n_panel || !a->next ? panel + a->panel_bytes : a->next;

        for (int b = 0; b < n_block; b++) {
            const int at = b + MM_K_AHEAD;
            vec_prefetch(next + panel_side_offset(kind, a->n_in) + b * panel_infos[kind].side_bytes);
            mm_k_rows(kind, n_row, a, p, b, 0,
                      at < n_block ? panel + (size_t)at * size : next + (size_t)(at - n_block) * size);
        }
    }
}

VEC void mm_k_many(enum panel_kind kind, const struct mm_args *a)
{
    const int n_most = mm_k_rows_most(kind);

    for (int p0 = 0; p0 < a->n_panel; p0 += MM_K_PANELS)
        for (int b = 0; b < a->n_in / 256; b++)
            for (int t = 0; t < a->n_tok; t += n_most)
                for (int p = p0; p < MIN(p0 + MM_K_PANELS, a->n_panel); p++) {
                    const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes;
                    mm_k_rows(kind, n_most, a, p, b, t,
                              t ? NULL
                                : panel + (size_t)((b + MM_K_AHEAD_MANY) * panel_infos[kind].main_bytes));
                }
}

VEC void mm_k(enum panel_kind kind, const struct mm_args *a)
{
    if (a->n_tok == 1)
        mm_k_few(kind, 1, a);
    else if (a->n_tok == 2)
        mm_k_few(kind, 2, a);
    else if (a->n_tok == 3)
        mm_k_few(kind, 3, a);
    else if (a->n_tok == 4)
        mm_k_few(kind, 4, a);
    else
        mm_k_many(kind, a);
}

ISA_MM_K(mm_k)
