/* isa_fn.h - the functions that each instruction set compiles for itself, and isa_table.c gathers. */
#pragma once

#include "isa.h"
#include "vec.h"

#define ISA_MM(name) void ISA_FN(name)(const struct mm_args *a)

/* The functions of a family of panels, from core(kind, a), which is what they have in common. */
#define ISA_MM_OF(name, core, kind)                                                                          \
    ISA_MM(name)                                                                                             \
    {                                                                                                        \
        core(kind, a);                                                                                       \
    }
#define ISA_MM_K(core)                                                                                       \
    ISA_MM_OF(mm_q4k, core, PANEL_Q4K)                                                                       \
    ISA_MM_OF(mm_q5k, core, PANEL_Q5K)                                                                       \
    ISA_MM_OF(mm_q6k, core, PANEL_Q6K)                                                                       \
    ISA_MM_OF(mm_iq4xs, core, PANEL_IQ4XS)
#define ISA_MM_B(core)                                                                                       \
    ISA_MM_OF(mm_q8, core, PANEL_Q8)                                                                         \
    ISA_MM_OF(mm_q4, core, PANEL_Q4)                                                                         \
    ISA_MM_OF(mm_q8m, core, PANEL_Q8M)                                                                       \
    ISA_MM_OF(mm_q4m, core, PANEL_Q4M)
#define ISA_MM_F(core)                                                                                       \
    ISA_MM_OF(mm_f32, core, PANEL_F32)                                                                       \
    ISA_MM_OF(mm_f16, core, PANEL_F16)                                                                       \
    ISA_MM_OF(mm_bf16, core, PANEL_BF16)

ISA_MM(mm_q4k);
ISA_MM(mm_q5k);
ISA_MM(mm_q6k);
ISA_MM(mm_iq4xs);
ISA_MM(mm_q8);
ISA_MM(mm_q4);
ISA_MM(mm_q8m);
ISA_MM(mm_q4m);
ISA_MM(mm_f32);
ISA_MM(mm_f16);
ISA_MM(mm_bf16);
/* mm_tile.c: these take many rows to tiles, and are ISA_FN()'s for few. */
void mm_q4k_amx(const struct mm_args *a);
void mm_q5k_amx(const struct mm_args *a);
void mm_q6k_amx(const struct mm_args *a);
void mm_iq4xs_amx(const struct mm_args *a);
void ISA_FN(norm_rms)(float *out, const float *x, const float *w, int n, float eps);
void ISA_FN(norm_act256)(uint8_t *tile, int row, const float *x, int n_in);
void ISA_FN(norm_act32)(uint8_t *tile, int row, const float *x, int n_in);
void ISA_FN(norm_act_f32)(uint8_t *tile, int row, const float *x, int n_in);
float ISA_FN(norm_read)(const uint8_t *data, size_t bytes);
void ISA_FN(norm_swiglu)(float *out, const float *gate, const float *up, int n);
void ISA_FN(delta_gates)(float *decay, float *beta, const float *alpha, const float *raw, const float *a,
                         const float *dt, int n);
void ISA_FN(delta_conv)(const struct conv_args *args);
void ISA_FN(delta_scan)(const struct scan_args *args);
void ISA_FN(attn_rope)(float *out, const float *x, const float *w, int d, float eps, int n_rot,
                       const float *cos_sin, float scale);
void ISA_FN(attn_kv_put)(struct kv_head head, uint8_t *kv, int at, const float *k, const float *v);
void ISA_FN(attn_rows)(const struct attn_args *args);
void ISA_FN(attn_join)(const struct attn_args *args);

/* Sum of squares, shared by norms: lane i % 16 takes x[i], in order. */
VEC float norm_sum_squares(const float *x, int n)
{
    vf sum = vf_set1(0.0f);
    int i = 0;

    for (; i + 16 <= n; i += 16) {
        const vf v = vf_load(x + i);
        sum = vf_fma(v, v, sum);
    }
    if (i < n) {
        const vf v = vf_load_n(x + i, n - i);
        sum = vf_fma(v, v, sum);
    }
    return vf_sum(sum);
}

/* q = round(x 127 / most), d = most / 127, most = the largest magnitude.  A block below 1e-30 counts as zero:
 * its inverse would overflow.  A block with a NaN or an infinity in it has d = NaN, since no q can say so and
 * a broken row must not come out as numbers. */
VEC float norm_quantise(int8_t *q, const float *x, int n)
{
    vf most = vf_set1(0.0f), none = vf_set1(0.0f);

    for (int i = 0; i < n; i += 16) {
        const vf v = vf_load(x + i);
        most = vf_max(vf_abs(v), most);
        none = vf_fma(v, vf_set1(0.0f), none);
    }
    const float top = vf_max_lane(most);
    const vf inverse = vf_set1(top > 1e-30f ? 127.0f / top : 0.0f);
    for (int i = 0; i < n; i += 16)
        vi_store_i8(q + i, vi_round(vf_mul(vf_load(x + i), inverse)));
    return (top > 1e-30f ? top / 127.0f : 0.0f) + vf_sum(none);
}
