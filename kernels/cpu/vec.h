/* vec.h - sixteen lanes: the vector words that the shared CPU sources are written in.
 *
 * norm.c, attn.c, delta.c and mm_*.c are compiled once per instruction set with KERN_VEC set, and use only
 * these words. Each word is exactly one IEEE operation per lane (or a fixed tree of them), so that every
 * instruction set gives the same bits.  Everything is static inline: no code of one instruction set may be
 * linked into another's.
 *
 *   vf  16 f32     vi  16 i32     vb  64 bytes, four per lane (same register type as vi)
 *   vi_dot_u8(acc, w, x, quad): w with the four bytes from x + 4 quad, in every lane
 *     w <= 127; any byte where VEC_DOT_BYTE
 *   vi_dot_u8_few(): the same for few rows, vb_and_load(p, mask): vb_and(vb_load(p), mask)
 *   vh  half of a vi, where VEC_HALVES: there products are made of these alone
 *   vf_fma(a, b, c) = a b + c, vf_fnma(a, b, c) = c - a b, rounded once
 *   vf_sum, vf_max_lane: lane i with lane i + 8, then + 4, + 2, + 1
 *   vf_min(a, b) = a < b ? a : b, vf_max(a, b) = a > b ? a : b (so a NaN in a gives b) */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Lane loops are left to the compiler: inlined by force, attn.c took it a minute, and three with a sanitizer.
 */
#if KERN_VEC == 0
#define VEC static inline __attribute__((unused))
#else
#define VEC static inline __attribute__((always_inline, unused))
#endif
#define ISA_CAT_(a, b) a##_##b
#define ISA_CAT(a, b)  ISA_CAT_(a, b)
#define ISA_FN(name)   ISA_CAT(name, KERN_ISA)

#if KERN_VEC == 512
#include "vec_avx512.h"
#elif KERN_VEC == 256
#include "vec_avx2.h"
#elif KERN_VEC == 128
#include "vec_neon.h"
#else
#include "vec_scalar.h"
#endif

#if KERN_VEC /* else the integer products are exact.c's */
#ifndef VEC_FUSED
VEC vb vb_and_load(const uint8_t *p, vb mask)
{
    return vb_and(vb_load(p), mask);
}
#endif

#ifndef VEC_HALVES
#ifndef VEC_FUSED
VEC vi vi_dot_u8_few(vi acc, vb w, const int8_t *x, int quad)
{
    return vi_dot_u8(acc, w, x, quad);
}
#endif

/* is_off128: w as vi_dot_off128() has it. */
VEC vi vec_dot_codes(bool is_off128, bool few, vi acc, vb w, const int8_t *x, int quad)
{
    if (few && (VEC_DOT_BYTE || !is_off128))
        return vi_dot_u8_few(acc, w, x, quad);
    return is_off128 ? vi_dot_off128(acc, w, x, quad) : vi_dot_u8(acc, w, x, quad);
}
#endif
#endif

/* What stands at p waits in memory until it is used again, where the compiler would rather keep it in
 * registers and what it works on in memory. */
VEC void vec_put_by(const void *p)
{
#if KERN_VEC == 128 || KERN_VEC == 256
    __asm__ volatile("" : : "r"(p) : "memory");
#endif
}

/* A line of 64 bytes on its way to L1.  Stays where it was written, and what is loaded before and after it
 * too: the compiler would gather loads in front of a block, and prefetches in front of them. */
VEC void vec_prefetch(const void *p)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p) : "memory");
#else
    __builtin_prefetch(p);
#endif
}

/* Line i of those at p, of which there are n. */
VEC void vec_prefetch_line(const uint8_t *p, int i, int n)
{
    if (i < n)
        vec_prefetch(p + 64 * i);
}

VEC vf vf_abs(vf a)
{
    return vf_max(a, vf_sub(vf_set1(0.0f), a));
}

/* First n of 16 values, the rest zero; n in 0..16. */
VEC vf vf_load_n(const float *p, int n)
{
    float all[16] = {0};

    memcpy(all, p, (size_t)n * sizeof(float));
    return vf_load(all);
}

VEC void vf_store_n(float *p, vf v, int n)
{
    float all[16];

    vf_store(all, v);
    memcpy(p, all, (size_t)n * sizeof(float));
}

/* e^x; 0 below -87.3, where the result would be subnormal; saturates at e^88.  Relative error 2e-7.
 * x = n ln 2 + r with |r| <= ln 2 / 2, Taylor series of e^r to r^7 (the rest is below 6e-9). */
VEC vf vf_exp(vf x)
{
    const vf lo = vf_set1(-87.3f), top = vf_min(vf_max(x, lo), vf_set1(88.0f));
    const vi n = vi_round(vf_mul(top, vf_set1(0x1.715476p+0f)));
    const vf nf = vf_from_vi(n);
    vf r = vf_fnma(nf, vf_set1(0x1.62e4p-1f), top); /* ln 2 in two parts; nf times the first is exact */
    vf p = vf_set1(1.0f / 5040);

    r = vf_fnma(nf, vf_set1(0x1.7f7d1cp-20f), r);
    p = vf_fma(p, r, vf_set1(1.0f / 720));
    p = vf_fma(p, r, vf_set1(1.0f / 120));
    p = vf_fma(p, r, vf_set1(1.0f / 24));
    p = vf_fma(p, r, vf_set1(1.0f / 6));
    p = vf_fma(p, r, vf_set1(0.5f));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return vf_zero_unless_gt(vf_mul(p, vf_pow2(n)), x, lo);
}

VEC vf vf_sigmoid(vf x)
{
    const vf one = vf_set1(1.0f);

    return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_set1(0.0f), x))));
}

VEC vf vf_silu(vf x)
{
    return vf_div(x, vf_add(vf_set1(1.0f), vf_exp(vf_sub(vf_set1(0.0f), x))));
}

/* log(1 + e^x) = max(x, 0) + log(1 + t), t = e^-|x|; log(1 + t) = 2 atanh(s), s = t / (2 + t) <= 1/3, series
 * to s^15 (the rest is below 1e-9).  Small t keep their relative precision. */
VEC vf vf_softplus(vf x)
{
    const vf t = vf_exp(vf_sub(vf_set1(0.0f), vf_abs(x)));
    const vf s = vf_div(t, vf_add(vf_set1(2.0f), t)), s2 = vf_mul(s, s);
    vf p = vf_set1(1.0f / 15);

    p = vf_fma(p, s2, vf_set1(1.0f / 13));
    p = vf_fma(p, s2, vf_set1(1.0f / 11));
    p = vf_fma(p, s2, vf_set1(1.0f / 9));
    p = vf_fma(p, s2, vf_set1(1.0f / 7));
    p = vf_fma(p, s2, vf_set1(1.0f / 5));
    p = vf_fma(p, s2, vf_set1(1.0f / 3));
    p = vf_fma(p, s2, vf_set1(1.0f));
    return vf_fma(vf_add(s, s), p, vf_max(x, vf_set1(0.0f)));
}
