/* vec_neon.h - the words of vec.h on AArch64 with dot products (Armv8.2): four registers of four lanes.
 *
 * Compiled once more with I8MM, where rows are multiplied by twos (VEC_PAIRS).  A NaN or an infinity becomes
 * another integer than on x86, which never counts: its block has NaN for a scale (norm_quantise()). */
#pragma once

#include <arm_neon.h>

typedef struct vf {
    float32x4_t v[4];
} vf;
typedef struct vi {
    int32x4_t v[4];
} vi;
typedef vi vb;

/* 32 registers, four a word.  Four rows a pass: 16 with sums and 4 to 8 with weights; the 16 of the totals
 * wait in L1 for the end of a group, which is 128 products away.  By counts of registers, not by measurement.
 */
enum { VEC_ROWS = 4, VEC_COLS = 2, VEC_HEADS = 2, VEC_OFF128_BIAS = 0, VEC_DOT_BYTE = 0 };

#define VEC_EACH(type, expr)                                                                                 \
    type r;                                                                                                  \
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) r.v[i] = (expr);                                     \
    return r
#define VEC_2(type, name, op)                                                                                \
    VEC type name(type x, type y)                                                                            \
    {                                                                                                        \
        VEC_EACH(type, op(x.v[i], y.v[i]));                                                                  \
    }
VEC_2(vf, vf_add, vaddq_f32)
VEC_2(vf, vf_sub, vsubq_f32)
VEC_2(vf, vf_mul, vmulq_f32)
VEC_2(vf, vf_div, vdivq_f32)
VEC_2(vi, vi_add, vaddq_s32)
VEC_2(vi, vi_sub, vsubq_s32)
VEC_2(vi, vi_mul, vmulq_s32)
VEC_2(vi, vb_and, vandq_s32)
VEC_2(vi, vb_or, vorrq_s32)
#undef VEC_2

#define vec_u32(v) vreinterpretq_u32_s32(v)
#define vec_s8(v)  vreinterpretq_s8_s32(v)
#define vec_s16(v) vreinterpretq_s16_s32(v)
#define vec_u16(v) vreinterpretq_u16_s32(v)

/* Shifts by a register, to the left if it is positive: by a constant the compiler makes them immediate. */
VEC vi vi_sll(vi x, int n)
{
    VEC_EACH(vi, vshlq_s32(x.v[i], vdupq_n_s32(n)));
}
VEC vi vi_srl(vi x, int n)
{
    VEC_EACH(vi, vreinterpretq_s32_u32(vshlq_u32(vec_u32(x.v[i]), vdupq_n_s32(-n))));
}
VEC vi vi_sra(vi x, int n)
{
    VEC_EACH(vi, vshlq_s32(x.v[i], vdupq_n_s32(-n)));
}
VEC vb vb_sll16(vb x, int n)
{
    VEC_EACH(vb, vreinterpretq_s32_s16(vshlq_s16(vec_s16(x.v[i]), vdupq_n_s16((int16_t)n))));
}
VEC vb vb_srl16(vb x, int n)
{
    VEC_EACH(vb, vreinterpretq_s32_u16(vshlq_u16(vec_u16(x.v[i]), vdupq_n_s16((int16_t)-n))));
}
VEC vb vb_sra16(vb x, int n)
{
    VEC_EACH(vb, vreinterpretq_s32_s16(vshlq_s16(vec_s16(x.v[i]), vdupq_n_s16((int16_t)-n))));
}

/* floats */
VEC vf vf_set1(float x)
{
    VEC_EACH(vf, vdupq_n_f32(x));
}
VEC vf vf_load(const float *p)
{
    VEC_EACH(vf, vld1q_f32(p + 4 * i));
}
VEC void vf_store(float *p, vf v)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, v.v[i]);
}
VEC vf vf_fma(vf x, vf y, vf z)
{
    VEC_EACH(vf, vfmaq_f32(z.v[i], x.v[i], y.v[i]));
}
VEC vf vf_fnma(vf x, vf y, vf z)
{
    VEC_EACH(vf, vfmsq_f32(z.v[i], x.v[i], y.v[i]));
}
/* Not vminq_f32() and vmaxq_f32(): of those a NaN comes out wherever it stands, and of zeros the signed one.
 */
VEC vf vf_min(vf x, vf y)
{
    VEC_EACH(vf, vbslq_f32(vcltq_f32(x.v[i], y.v[i]), x.v[i], y.v[i]));
}
VEC float32x4_t vec_max(float32x4_t x, float32x4_t y)
{
    return vbslq_f32(vcgtq_f32(x, y), x, y);
}
VEC vf vf_max(vf x, vf y)
{
    VEC_EACH(vf, vec_max(x.v[i], y.v[i]));
}
VEC vf vf_zero_unless_gt(vf v, vf x, vf y) /* v where x > y, else 0 */
{
    VEC_EACH(vf, vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v.v[i]), vcgtq_f32(x.v[i], y.v[i]))));
}
VEC vf vf_first_n(vf v, int n, float other) /* lanes from n on become other; n in 0..16 */
{
    static const int32_t lane[4] = {0, 1, 2, 3};
    const int32x4_t first = vld1q_s32(lane);

    VEC_EACH(vf, vbslq_f32(vcltq_s32(first, vdupq_n_s32(n - 4 * i)), v.v[i], vdupq_n_f32(other)));
}
VEC vf vf_load_f16(const uint16_t *p)
{
    VEC_EACH(vf, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
VEC void vf_store_f16(uint16_t *p, vf v)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(v.v[i])));
}
VEC vi vi_load_u16(const uint8_t *p)
{
    VEC_EACH(vi, vreinterpretq_s32_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p + 8 * i)))));
}
VEC vf vf_load_bf16(const uint16_t *p)
{
    VEC_EACH(vf, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
VEC vf vf_from_vi(vi v)
{
    VEC_EACH(vf, vcvtq_f32_s32(v.v[i]));
}
VEC vf vf_load_i8(const int8_t *p)
{
    const int8x16_t b = vld1q_s8(p);
    const int16x8_t lo = vmovl_s8(vget_low_s8(b)), hi = vmovl_high_s8(b);

    return vf_from_vi((vi){
        {vmovl_s16(vget_low_s16(lo)), vmovl_high_s16(lo), vmovl_s16(vget_low_s16(hi)), vmovl_high_s16(hi)}});
}
VEC float vf_sum(vf v)
{
    const float32x4_t a = vaddq_f32(vaddq_f32(v.v[0], v.v[2]), vaddq_f32(v.v[1], v.v[3]));
    const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));

    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}
VEC float vf_max_lane(vf v)
{
    const float32x4_t a = vec_max(vec_max(v.v[0], v.v[2]), vec_max(v.v[1], v.v[3]));
    const float32x4_t b = vec_max(a, vextq_f32(a, a, 2));

    return vgetq_lane_f32(vec_max(b, vextq_f32(b, b, 1)), 0);
}

/* integers */
VEC vi vi_set1(int32_t x)
{
    VEC_EACH(vi, vdupq_n_s32(x));
}
VEC vi vi_zero(void)
{
    return vi_set1(0);
}
VEC vi vi_round(vf v) /* to nearest, ties to even */
{
    VEC_EACH(vi, vcvtnq_s32_f32(v.v[i]));
}
VEC vf vf_pow2(vi n) /* 2^n, n in -126..127 */
{
    VEC_EACH(vf, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n.v[i], vdupq_n_s32(127)), 23)));
}
VEC void vi_store_i8(int8_t *p, vi v) /* values -128..127 */
{
    const int16x8_t lo = vcombine_s16(vmovn_s32(v.v[0]), vmovn_s32(v.v[1]));
    const int16x8_t hi = vcombine_s16(vmovn_s32(v.v[2]), vmovn_s32(v.v[3]));

    vst1q_s8(p, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
}

/* bytes and products */
VEC vb vb_load(const uint8_t *p)
{
    VEC_EACH(vb, vreinterpretq_s32_u8(vld1q_u8(p + 16 * i)));
}
VEC vb vb_set1(int byte)
{
    VEC_EACH(vb, vreinterpretq_s32_u8(vdupq_n_u8((uint8_t)byte)));
}
VEC vb vb_table(const uint8_t *table16)
{
    VEC_EACH(vb, vreinterpretq_s32_u8(vld1q_u8(table16)));
}
VEC vb vb_lookup(vb table, vb index) /* index 0..15 */
{
    VEC_EACH(vb, vreinterpretq_s32_u8(
                     vqtbl1q_u8(vreinterpretq_u8_s32(table.v[i]), vreinterpretq_u8_s32(index.v[i]))));
}
/* The four values of a quad stay in their register, and the instruction picks them. */
VEC int32x4_t vec_dot(int32x4_t acc, int8x16_t w, int8x16_t x, int lane)
{
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(acc, w, x, 0);
    case 1:
        return vdotq_laneq_s32(acc, w, x, 1);
    case 2:
        return vdotq_laneq_s32(acc, w, x, 2);
    default:
        return vdotq_laneq_s32(acc, w, x, 3);
    }
}
VEC vi vi_dot_u8(vi acc, vb w, const int8_t *x, int quad) /* + sum of 4 products; w <= 127 */
{
    const int8x16_t x16 = vld1q_s8(x + 16 * (quad / 4));

    VEC_EACH(vi, vec_dot(acc.v[i], vec_s8(w.v[i]), x16, quad % 4));
}
VEC vb vec_off128(vb w)
{
    VEC_EACH(vb, veorq_s32(w.v[i], vdupq_n_s32((int32_t)0x80808080)));
}
VEC vi vi_dot_off128(vi acc, vb w, const int8_t *x,
                     int quad) /* + sum of (w - 128 + VEC_OFF128_BIAS) x, w any byte */
{
    return vi_dot_u8(acc, vec_off128(w), x, quad);
}
/* Neighbours are parted first, since no instruction adds products of two to a sum. */
VEC vi vi_dot_i16(vi acc, vb pairs, const int16_t *x2) /* + sum of 2 products */
{
    int32_t both;

    memcpy(&both, x2, sizeof(both));
    const int16x4_t x = vreinterpret_s16_s32(vdup_n_s32(both));
#pragma GCC unroll 2
    for (int i = 0; i < 4; i += 2) {
        const int16x8_t a = vuzp1q_s16(vec_s16(pairs.v[i]), vec_s16(pairs.v[i + 1]));
        const int16x8_t b = vuzp2q_s16(vec_s16(pairs.v[i]), vec_s16(pairs.v[i + 1]));
        acc.v[i] = vmlal_lane_s16(vmlal_lane_s16(acc.v[i], vget_low_s16(a), x, 0), vget_low_s16(b), x, 1);
        acc.v[i + 1] = vmlal_high_lane_s16(vmlal_high_lane_s16(acc.v[i + 1], a, x, 0), b, x, 1);
    }
    return acc;
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
/* Products of two rows at once: one instruction takes 8 k of two lanes and two rows.  The sums are woven
 * meanwhile, (a b) register by register: lanes 0 and 1 of both rows, lanes 2 and 3 of both rows. */
#define VEC_PAIRS

VEC void vi_weave(vi *a, vi *b) /* weaves two words, or takes woven ones apart */
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const int64x2_t x = vreinterpretq_s64_s32(a->v[i]), y = vreinterpretq_s64_s32(b->v[i]);
        a->v[i] = vreinterpretq_s32_s64(vzip1q_s64(x, y));
        b->v[i] = vreinterpretq_s32_s64(vzip2q_s64(x, y));
    }
}
/* + sums of 8 products, of quads quad and quad + 1; a, b woven; w0, w1 signed */
VEC void vi_dot_pair(vi *a, vi *b, vb w0, vb w1, const int8_t *xa, const int8_t *xb, int quad)
{
    const int8x16_t x = vcombine_s8(vld1_s8(xa + 4 * quad), vld1_s8(xb + 4 * quad));

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a->v[i] = vmmlaq_s32(a->v[i], x, vec_s8(vzip1q_s32(w0.v[i], w1.v[i])));
        b->v[i] = vmmlaq_s32(b->v[i], x, vec_s8(vzip2q_s32(w0.v[i], w1.v[i])));
    }
}
#endif
