/* mm_f.c - products of F32, F16 and BF16 panels with f32 activations: one fused multiply-add per value, in
 * order of k.
 *
 * Compiled once per instruction set; mm_k.c says why the loops run as they do. */
#include "isa_fn.h"

enum { MM_F_K = 256 }; /* k per walk over the rows: 16 KiB of f32 weights */

VEC vf mm_f_weights(enum panel_kind kind, const uint8_t *panel, int64_t k)
{
    if (kind == PANEL_F16)
        return vf_load_f16((const uint16_t *)panel + k * PANEL_ROWS);
    if (kind == PANEL_BF16)
        return vf_load_bf16((const uint16_t *)panel + k * PANEL_ROWS);
    return vf_load((const float *)panel + k * PANEL_ROWS);
}

/* k in [k0, k1) of one panel with n_row rows from t0 */
VEC void mm_f_rows(enum panel_kind kind, int n_row, const struct mm_args *a, int p, int k0, int k1, int t0)
{
    const uint8_t *panel = a->panels + (size_t)p * a->panel_bytes;
    const float *x = (const float *)(a->act + (size_t)(t0 / ACT_TILE) * a->tile_bytes) + t0 % ACT_TILE;
    float *out = a->out + (int64_t)t0 * a->ld + p * PANEL_ROWS;
    vf f[VEC_ROWS];

#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        f[m] = k0 ? vf_load(out + (int64_t)m * a->ld) : vf_set1(0.0f);
    for (int64_t k = k0; k < k1; k++) {
        const vf w = mm_f_weights(kind, panel, k);
#pragma GCC unroll 8
        for (int m = 0; m < n_row; m++)
            f[m] = vf_fma(w, vf_set1(x[k * ACT_TILE + m]), f[m]);
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_row; m++)
        vf_store(out + (int64_t)m * a->ld, f[m]);
}

VEC void mm_f(enum panel_kind kind, const struct mm_args *a)
{
    for (int p = 0; p < a->n_panel; p++) {
        if (a->n_tok == 1) {
            mm_f_rows(kind, 1, a, p, 0, a->n_in, 0);
            continue;
        }
        for (int k = 0; k < a->n_in; k += MM_F_K)
            for (int t = 0; t < a->n_tok; t += VEC_ROWS)
                mm_f_rows(kind, VEC_ROWS, a, p, k, MIN(k + MM_F_K, a->n_in), t);
    }
}

ISA_MM_F(mm_f)
