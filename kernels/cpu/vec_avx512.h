/* vec_avx512.h - the words of vec.h on AVX-512 F, BW, VL, DQ and VNNI. */
#pragma once

#include <immintrin.h>

typedef __m512 vf;
typedef __m512i vi;
typedef __m512i vb;

/* Rows of activations that one pass over a panel multiplies: 8 sums, 8 totals and 8 results fill 24 of 32
 * registers. */
enum { VEC_ROWS = 8, VEC_COLS = 4, VEC_HEADS = 4, VEC_OFF128_BIAS = 128, VEC_DOT_BYTE = 1 };

#define VEC_FUSED /* vb_and_load() and vi_dot_u8_few() of its own */

/* floats */
VEC vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}
VEC vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VEC void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
VEC vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
VEC vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
VEC vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
VEC vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
VEC vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
VEC vf vf_fnma(vf a, vf b, vf c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
VEC vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
VEC vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
VEC vf vf_zero_unless_gt(vf v, vf a, vf b) /* v where a > b, else 0 */
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), v);
}
VEC vf vf_first_n(vf v, int n, float other) /* lanes from n on become other; n in 0..16 */
{
    return _mm512_mask_mov_ps(_mm512_set1_ps(other), (__mmask16)((1u << n) - 1), v);
}
VEC vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
VEC void vf_store_f16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
VEC vf vf_load_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
VEC vf vf_load_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
VEC float vf_sum(vf v)
{
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));

    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
VEC float vf_max_lane(vf v)
{
    const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));

    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}

/* integers */
VEC vi vi_zero(void)
{
    return _mm512_setzero_si512();
}
VEC vi vi_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
VEC vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
VEC vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
VEC vi vi_mul(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}
#define vi_sll(v, n) _mm512_slli_epi32(v, n)
#define vi_srl(v, n) _mm512_srli_epi32(v, n)
#define vi_sra(v, n) _mm512_srai_epi32(v, n)
VEC vf vf_from_vi(vi v)
{
    return _mm512_cvtepi32_ps(v);
}
VEC vi vi_round(vf v) /* to nearest, ties to even */
{
    return _mm512_cvtps_epi32(v);
}
VEC vf vf_pow2(vi n) /* 2^n, n in -126..127 */
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
VEC void vi_store_i8(int8_t *p, vi v)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(v));
}
VEC vi vi_load_u16(const uint8_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}

/* bytes and products */
VEC vb vb_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}
VEC void vb_store(uint8_t *p, vb v)
{
    _mm512_storeu_si512(p, v);
}
VEC vb vb_set1(int byte)
{
    return _mm512_set1_epi8((char)byte);
}
VEC vb vb_and(vb a, vb b)
{
    return _mm512_and_si512(a, b);
}
VEC vb vb_and_load(const uint8_t *p,
                   vb mask) /* read anew: a load kept in a register is an instruction more */
{
    vb v;

    __asm__("vpandd %1, %2, %0" : "=v"(v) : "m"(*(const uint8_t(*)[64])p), "v"(mask));
    return v;
}
VEC vb vb_or(vb a, vb b)
{
    return _mm512_or_si512(a, b);
}
VEC vb vb_sub(vb a, vb b) /* bytes */
{
    return _mm512_sub_epi8(a, b);
}
VEC vb vb_mul16(vb a, vb b) /* 16 bits each, low half of the product */
{
    return _mm512_mullo_epi16(a, b);
}
#define vb_sll16(v, n) _mm512_slli_epi16(v, n)
#define vb_srl16(v, n) _mm512_srli_epi16(v, n)
#define vb_sra16(v, n) _mm512_srai_epi16(v, n)
VEC vb vb_table(const uint8_t *table16)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table16));
}
VEC vb vb_lookup(vb table, vb index) /* index 0..15 */
{
    return _mm512_shuffle_epi8(table, index);
}
VEC vi vi_broadcast32(const void *p)
{
    int32_t x;

    memcpy(&x, p, sizeof(x));
    return _mm512_set1_epi32(x);
}
VEC vi vi_dot_u8(vi acc, vb w, const int8_t *x, int quad) /* + sum of 4 products */
{
    return _mm512_dpbusd_epi32(acc, w, vi_broadcast32(x + 4 * quad));
}
/* The broadcast in the product, where gcc makes an instruction of its own of it: the fewer there are, the
 * further a core gets ahead of what memory has not brought yet.  One row of Q4_K reads 10 % faster so, eight
 * rows from L1 are 15 % slower. */
VEC vi vi_dot_u8_few(vi acc, vb w, const int8_t *x, int quad)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const int8_t(*)[4])(x + 4 * quad)));
    return acc;
}
VEC vi vi_dot_off128(vi acc, vb w, const int8_t *x,
                     int quad) /* + sum of (w - 128 + VEC_OFF128_BIAS) x, w any byte */
{
    return vi_dot_u8(acc, w, x, quad);
}
VEC vi vi_dot_i16(vi acc, vb pairs, const int16_t *x2) /* + sum of 2 products */
{
    return _mm512_dpwssd_epi32(acc, pairs, vi_broadcast32(x2));
}
