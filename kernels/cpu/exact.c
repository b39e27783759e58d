/* exact.c - the products of the CPU backend, value by value.
 *
 * The quantised schemes, per weight block and row of activations x = xd xq:
 *   256 blocks  s = sum_g scale_g sum_k q xq             exact int32 (largest: IQ4_XS, 8 * 32 * 32 * 127 *
 * 127 < 2^27) Q4_K, Q5_K: t = float(s) d - float(sum_g min_g sum_k xq) m, the last step fused; else t =
 * float(s) d 32 blocks   s = sum_k q xq;  t = float(s) d;  Q4_1, Q5_1: t = float(sum_k xq) m + t, fused
 *   either      f = t xd + f, fused, blocks in order of k, from f = 0
 * with q the signed value (offset taken off).  Float weights: f = w x + f, fused, in order of k. */
#include "exact.h"

#include <math.h>

#include "kernels/blocks.h"
#include "kernels/half.h"

/* Calls each(a, lane's panel, ...) for every output: the loops that all three kinds share. */
typedef float (*exact_dot_fn)(enum panel_kind kind, const uint8_t *panel, int lane, const uint8_t *tile,
                              int row, int n_in);

static void exact_each(enum panel_kind kind, const struct mm_args *a, exact_dot_fn dot)
{
    for (int p = 0; p < a->n_panel; p++)
        for (int t = 0; t < a->n_tok; t++)
            for (int lane = 0; lane < PANEL_ROWS; lane++)
                a->out[(int64_t)t * a->ld + p * PANEL_ROWS + lane] =
                    dot(kind, a->panels + (size_t)p * a->panel_bytes, lane,
                        a->act + (size_t)(t / ACT_TILE) * a->tile_bytes, t % ACT_TILE, a->n_in);
}

static int exact_value(enum panel_kind kind, int code)
{
    switch (kind) {
    case PANEL_Q6K:
        return code - 32;
    case PANEL_IQ4XS:
        return block_iq4_values[code];
    case PANEL_Q8:
        return code - 128;
    case PANEL_Q4:
        return code - 8;
    default:
        return code;
    }
}

static float exact_dot_k(enum panel_kind kind, const uint8_t *panel, int lane, const uint8_t *tile, int row,
                         int n_in)
{
    const struct act256 *x = (const struct act256 *)tile + row;
    const int group = kind == PANEL_Q6K ? 16 : 32;
    struct block b;
    float f = 0;

    for (int i = 0; i < n_in / 256; i++, x += ACT_TILE) {
        int32_t s = 0, m = 0;
        panel_read_block(kind, panel, n_in, lane, i, &b);
        for (int g = 0; g < 256 / group; g++) {
            int32_t dot = 0, sum = 0;
            for (int k = g * group; k < (g + 1) * group; k++) {
                dot += exact_value(kind, b.code[k]) * x->q[k];
                sum += x->q[k];
            }
            s += b.scale[g] * dot;
            m += kind == PANEL_Q4K || kind == PANEL_Q5K ? b.min[g] * sum : 0;
        }
        float t = (float)s * half_to_float(b.d);
        if (kind == PANEL_Q4K || kind == PANEL_Q5K)
            t = fmaf(-(float)m, half_to_float(b.m), t);
        f = fmaf(t, x->d, f);
    }
    return f;
}

static float exact_dot_b(enum panel_kind kind, const uint8_t *panel, int lane, const uint8_t *tile, int row,
                         int n_in)
{
    const struct act32 *x = (const struct act32 *)tile;
    struct block b;
    float f = 0;

    for (int i = 0; i < n_in / 32; i++, x++) {
        int32_t s = 0, sum = 0;
        panel_read_block(kind, panel, n_in, lane, i, &b);
        for (int k = 0; k < 32; k++) {
            s += exact_value(kind, b.code[k]) * x->q[row][k];
            sum += x->q[row][k];
        }
        float t = (float)s * half_to_float(b.d);
        if (kind == PANEL_Q8M || kind == PANEL_Q4M)
            t = fmaf((float)sum, half_to_float(b.m), t);
        f = fmaf(t, x->d[row], f);
    }
    return f;
}

static float exact_weight(enum panel_kind kind, const uint8_t *panel, size_t at)
{
    switch (kind) {
    case PANEL_F16:
        return half_to_float(((const uint16_t *)panel)[at]);
    case PANEL_BF16:
        return half_from_bf16(((const uint16_t *)panel)[at]);
    default:
        return ((const float *)panel)[at];
    }
}

static float exact_dot_f(enum panel_kind kind, const uint8_t *panel, int lane, const uint8_t *tile, int row,
                         int n_in)
{
    const float *x = (const float *)tile + row;
    float f = 0;

    for (int64_t k = 0; k < n_in; k++)
        f = fmaf(exact_weight(kind, panel, (size_t)k * PANEL_ROWS + (size_t)lane), x[k * ACT_TILE], f);
    return f;
}

void exact_mm_k(enum panel_kind kind, const struct mm_args *a)
{
    exact_each(kind, a, exact_dot_k);
}

void exact_mm_b(enum panel_kind kind, const struct mm_args *a)
{
    exact_each(kind, a, exact_dot_b);
}

void exact_mm_f(enum panel_kind kind, const struct mm_args *a)
{
    exact_each(kind, a, exact_dot_f);
}
