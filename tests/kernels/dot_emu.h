/* dot_emu.h - AVX-VNNI's product of bytes in AVX2: put in front of the kernels' sources, it makes the table
 * of avxvnni run on a machine without it. */
#pragma once

#include <immintrin.h>

/* Each lane: acc + four products of w, unsigned, and x, signed, none of them cut off. */
static inline __attribute__((always_inline, unused)) __m256i dot_emu(__m256i acc, __m256i w, __m256i x)
{
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(x, 8));

    return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 dot_emu
#define __AVXVNNI__             1
