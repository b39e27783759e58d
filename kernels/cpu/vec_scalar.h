/* vec_scalar.h - the float words of vec.h in plain C.  The integer products of this instruction set are
 * exact.c's. */
#pragma once

#include "kernels/half.h"

typedef struct vf {
    float v[16];
} vf;
typedef struct vi {
    int32_t v[16];
} vi;

enum { VEC_COLS = 4, VEC_HEADS = 4 };

#define VEC_EACH(type, expr)                                                                                 \
    type r;                                                                                                  \
    for (int i = 0; i < 16; i++)                                                                             \
        r.v[i] = (expr);                                                                                     \
    return r

VEC vf vf_set1(float x)
{
    VEC_EACH(vf, x);
}
VEC vf vf_load(const float *p)
{
    VEC_EACH(vf, p[i]);
}
VEC void vf_store(float *p, vf v)
{
    memcpy(p, v.v, sizeof(v.v));
}
VEC vf vf_add(vf a, vf b)
{
    VEC_EACH(vf, a.v[i] + b.v[i]);
}
VEC vf vf_sub(vf a, vf b)
{
    VEC_EACH(vf, a.v[i] - b.v[i]);
}
VEC vf vf_mul(vf a, vf b)
{
    VEC_EACH(vf, a.v[i] * b.v[i]);
}
VEC vf vf_div(vf a, vf b)
{
    VEC_EACH(vf, a.v[i] / b.v[i]);
}
VEC vf vf_fma(vf a, vf b, vf c)
{
    VEC_EACH(vf, fmaf(a.v[i], b.v[i], c.v[i]));
}
VEC vf vf_fnma(vf a, vf b, vf c)
{
    VEC_EACH(vf, fmaf(-a.v[i], b.v[i], c.v[i]));
}
VEC vf vf_min(vf a, vf b)
{
    VEC_EACH(vf, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
VEC vf vf_max(vf a, vf b)
{
    VEC_EACH(vf, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
VEC vf vf_zero_unless_gt(vf v, vf a, vf b) /* v where a > b, else 0 */
{
    VEC_EACH(vf, a.v[i] > b.v[i] ? v.v[i] : 0.0f);
}
VEC vf vf_first_n(vf v, int n, float other) /* lanes from n on become other; n in 0..16 */
{
    VEC_EACH(vf, i < n ? v.v[i] : other);
}
VEC vf vf_load_f16(const uint16_t *p)
{
    VEC_EACH(vf, half_to_float(p[i]));
}
VEC void vf_store_f16(uint16_t *p, vf v)
{
    for (int i = 0; i < 16; i++)
        p[i] = half_from_float(v.v[i]);
}
VEC vf vf_load_bf16(const uint16_t *p)
{
    VEC_EACH(vf, half_from_bf16(p[i]));
}
VEC vf vf_load_i8(const int8_t *p)
{
    VEC_EACH(vf, (float)p[i]);
}
VEC float vf_sum(vf v)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            v.v[i] += v.v[i + half];
    return v.v[0];
}
VEC float vf_max_lane(vf v)
{
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            v.v[i] = v.v[i] > v.v[i + half] ? v.v[i] : v.v[i + half];
    return v.v[0];
}
VEC vf vf_from_vi(vi v)
{
    VEC_EACH(vf, (float)v.v[i]);
}
VEC vi vi_round(vf v) /* to nearest, ties to even; what does not fit becomes INT32_MIN, as in hardware */
{
    VEC_EACH(vi, v.v[i] >= -0x1p31f && v.v[i] < 0x1p31f ? (int32_t)lrintf(v.v[i]) : INT32_MIN);
}
VEC vf vf_pow2(vi n) /* 2^n, n in -126..127 */
{
    VEC_EACH(vf, half_from_bits((uint32_t)(n.v[i] + 127) << 23));
}
VEC void vi_store_i8(int8_t *p, vi v)
{
    for (int i = 0; i < 16; i++)
        p[i] = (int8_t)v.v[i];
}
