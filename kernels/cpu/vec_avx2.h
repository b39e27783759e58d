/* vec_avx2.h - the words of vec.h on AVX2, FMA and F16C: two registers of eight lanes.
 *
 * Compiled once more with AVX-VNNI, whose products of bytes add up in 32 bits (KERN_DOT). */
#pragma once

#ifdef __AVXVNNI__
#define KERN_DOT 1
#else
#define KERN_DOT 0
#endif

#include <immintrin.h>

typedef struct vf {
    __m256 a, b;
} vf;
typedef struct vi {
    __m256i a, b;
} vi;
typedef vi vb;

/* With VEC_HALF (mm_k_half.c, mm_b_half.c) what is loaded of weights is eight lanes; the others are of no
 * meaning, and what is done with them the compiler leaves out. */
#ifdef VEC_HALF
#define VEC_UPPER(load, none) (none)
#else
#define VEC_UPPER(load, none) (load)
#endif

enum {
    VEC_ROWS = 4,
    VEC_COLS = 2,
    VEC_HEADS = 2,
    VEC_OFF128_BIAS = KERN_DOT ? 128 : 0,
    VEC_DOT_BYTE = KERN_DOT
};

#define VEC_F1(name, op)                                                                                     \
    VEC vf name(vf x, vf y)                                                                                  \
    {                                                                                                        \
        return (vf){op(x.a, y.a), op(x.b, y.b)};                                                             \
    }
#define VEC_I1(name, op)                                                                                     \
    VEC vi name(vi x, vi y)                                                                                  \
    {                                                                                                        \
        return (vi){op(x.a, y.a), op(x.b, y.b)};                                                             \
    }
VEC_F1(vf_add, _mm256_add_ps)
VEC_F1(vf_sub, _mm256_sub_ps)
VEC_F1(vf_mul, _mm256_mul_ps)
VEC_F1(vf_div, _mm256_div_ps)
VEC_F1(vf_min, _mm256_min_ps)
VEC_F1(vf_max, _mm256_max_ps)
VEC_I1(vi_add, _mm256_add_epi32)
VEC_I1(vi_sub, _mm256_sub_epi32)
VEC_I1(vi_mul, _mm256_mullo_epi32)
VEC_I1(vb_and, _mm256_and_si256)
VEC_I1(vb_or, _mm256_or_si256)
VEC_I1(vb_lookup, _mm256_shuffle_epi8)
#undef VEC_F1
#undef VEC_I1

#define VEC_SHIFT(name, op)                                                                                  \
    VEC vi name(vi v, int n)                                                                                 \
    {                                                                                                        \
        return (vi){op(v.a, n), op(v.b, n)};                                                                 \
    }
VEC_SHIFT(vi_sll, _mm256_slli_epi32)
VEC_SHIFT(vi_srl, _mm256_srli_epi32)
VEC_SHIFT(vi_sra, _mm256_srai_epi32)
VEC_SHIFT(vb_sll16, _mm256_slli_epi16)
VEC_SHIFT(vb_srl16, _mm256_srli_epi16)
VEC_SHIFT(vb_sra16, _mm256_srai_epi16)
#undef VEC_SHIFT

/* floats */
VEC vf vf_set1(float x)
{
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
VEC vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
VEC void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
VEC vf vf_fma(vf x, vf y, vf z)
{
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
VEC vf vf_fnma(vf x, vf y, vf z)
{
    return (vf){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
VEC vf vf_zero_unless_gt(vf v, vf x, vf y) /* v where x > y, else 0 */
{
    return (vf){_mm256_and_ps(v.a, _mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ)),
                _mm256_and_ps(v.b, _mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ))};
}
VEC vf vf_first_n(vf v, int n, float other) /* lanes from n on become other; n in 0..16 */
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), lim = _mm256_set1_epi32(n);
    const __m256 o = _mm256_set1_ps(other);
    const __m256i upper = _mm256_add_epi32(lane, _mm256_set1_epi32(8));

    return (vf){_mm256_blendv_ps(o, v.a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(lim, lane))),
                _mm256_blendv_ps(o, v.b, _mm256_castsi256_ps(_mm256_cmpgt_epi32(lim, upper)))};
}
VEC vf vf_load_f16(const uint16_t *p)
{
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                VEC_UPPER(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8))), _mm256_setzero_ps())};
}
VEC void vf_store_f16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
VEC vi vi_load_u16(const uint8_t *p)
{
    return (vi){
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)),
        VEC_UPPER(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 16))), _mm256_setzero_si256())};
}
VEC vf vf_load_bf16(const uint16_t *p)
{
    const vi v = vi_sll(vi_load_u16((const uint8_t *)p), 16);

    return (vf){_mm256_castsi256_ps(v.a), _mm256_castsi256_ps(v.b)};
}
VEC vf vf_from_vi(vi v)
{
    return (vf){_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)};
}
VEC vf vf_load_i8(const int8_t *p)
{
    return vf_from_vi((vi){_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)),
                           _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8)))});
}
VEC float vf_sum(vf v)
{
    const __m256 a = _mm256_add_ps(v.a, v.b);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));

    return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
VEC float vf_max_lane(vf v)
{
    const __m256 a = _mm256_max_ps(v.a, v.b);
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));

    return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}

/* integers */
VEC vi vi_set1(int32_t x)
{
    return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
VEC vi vi_zero(void)
{
    return vi_set1(0);
}
VEC vi vi_round(vf v) /* to nearest, ties to even */
{
    return (vi){_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)};
}
VEC vf vf_pow2(vi n) /* 2^n, n in -126..127 */
{
    const vi v = vi_sll(vi_add(n, vi_set1(127)), 23);

    return (vf){_mm256_castsi256_ps(v.a), _mm256_castsi256_ps(v.b)};
}
VEC void vi_store_i8(int8_t *p, vi v) /* values -128..127 */
{
    const __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.a, v.b), 0xd8);

    _mm_storeu_si128((__m128i *)p,
                     _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}

/* bytes and products */
VEC vb vb_load(const uint8_t *p)
{
    return (vb){_mm256_loadu_si256((const __m256i *)p),
                VEC_UPPER(_mm256_loadu_si256((const __m256i *)(p + 32)), _mm256_setzero_si256())};
}
VEC vb vb_set1(int byte)
{
    return (vb){_mm256_set1_epi8((char)byte), _mm256_set1_epi8((char)byte)};
}
VEC vb vb_table(const uint8_t *table16)
{
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table16));

    return (vb){t, t};
}
VEC __m256i vec_broadcast32(const void *p)
{
    int32_t x;

    memcpy(&x, p, sizeof(x));
    return _mm256_set1_epi32(x);
}
VEC vi vi_dot_i16(vi acc, vb pairs, const int16_t *x2) /* + sum of 2 products */
{
    const __m256i x = vec_broadcast32(x2);

    return (vi){_mm256_add_epi32(acc.a, _mm256_madd_epi16(pairs.a, x)),
                _mm256_add_epi32(acc.b, _mm256_madd_epi16(pairs.b, x))};
}

/* One register: eight lanes, for products of more rows than two registers a row leave room for (mm_k_half.c).
 * What codes add up in for a while: 32 bits a lane with KERN_DOT, else 16 bits twice, where activations,
 * which are never -128, and codes to 128 make pairs of at most 2 * 128 * 127. */
#define VEC_HALVES
typedef __m256i vh;

VEC vh vh_zero(void)
{
    return _mm256_setzero_si256();
}
/* (begins ? 0 : acc) + products of w, unsigned, and the four bytes from x + 4 quad.  If has_sign and not
 * KERN_DOT of plain, which has its sign; with KERN_DOT w is plain + 128. */
VEC vh vh_codes(vh acc, bool begins, bool has_sign, vh w, vh plain, vh magnitude, const int8_t *x, int quad)
{
    const __m256i x4 = vec_broadcast32(x + 4 * quad);
#if KERN_DOT
    return _mm256_dpbusd_avx_epi32(begins ? vh_zero() : acc, w, x4);
#else
    const __m256i pairs =
        has_sign ? _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x4, plain)) : _mm256_maddubs_epi16(w, x4);
    if (begins)
        return pairs;
    /* in this order: sums that the compiler may arrange as a tree want more registers than there are */
    __asm__("vpaddw %1, %0, %0" : "+x"(acc) : "x"(pairs));
    return acc;
#endif
}
VEC vh vh_off128(vh w)
{
    return _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
}
VEC vh vh_magnitude(vh w)
{
    return _mm256_abs_epi8(w);
}
/* What vh_scaled() takes for a scale of 16 bits in each lane. */
VEC vh vh_scale(vi scale)
{
#if KERN_DOT
    return scale.a;
#else
    return vb_or(vb_and(scale, vi_set1(0xffff)), vi_sll(scale, 16)).a;
#endif
}
VEC vh vh_scaled(vh total, vh codes, vh scale) /* total + codes times scale, 32 bits a lane */
{
#if KERN_DOT
    const __m256i more = _mm256_mullo_epi32(codes, scale);
#else
    const __m256i more = _mm256_madd_epi16(codes, scale);
#endif
    __asm__("vpaddd %1, %0, %0" : "+x"(total) : "x"(more));
    return total;
}
VEC vi vi_of_half(vh x) /* the other half is of no meaning */
{
    return (vi){x, x};
}
VEC vf vf_load_half(const float *p) /* likewise */
{
    return (vf){_mm256_loadu_ps(p), _mm256_setzero_ps()};
}
VEC void vf_store_half(float *p, vf v)
{
    _mm256_storeu_ps(p, v.a);
}
