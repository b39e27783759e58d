/* tile.cuh - what a lane makes of its part of a T16 tile: fragments of A for kc_mma_s8_k32(), and a group's
 * scales.
 *
 * For k16, which Q6_K needs since a scale holds for 16 values, a[0] and a[1] are the first half, a[2] and
 * a[3] the second. */
#pragma once

#include "dev.cuh"
#include "tile.h"

/* half s (0, 1) of the tile: its values 32 s to 32 s + 31 */
KERN_CUDA_FN void tile_codes(uint32_t (&a)[4], const uint4 &code, int s)
{
    a[0] = code.x >> 4 * s & 0x0f0f0f0fu;
    a[1] = code.y >> 4 * s & 0x0f0f0f0fu;
    a[2] = code.z >> 4 * s & 0x0f0f0f0fu;
    a[3] = code.w >> 4 * s & 0x0f0f0f0fu;
}

/* Q5_K: 0..31 */
KERN_CUDA_FN void tile_codes_5(uint32_t (&a)[4], const uint4 &code, uint32_t high, int s)
{
    tile_codes(a, code, s);
#pragma unroll
    for (int j = 0; j < 4; j++)
        a[j] |= (high >> (4 * s + j) & 0x01010101u) << 4;
}

/* Q6_K: -32..31.  No byte borrows from its neighbour: each has its top bit set for the subtraction. */
KERN_CUDA_FN void tile_codes_6(uint32_t (&a)[4], const uint4 &code, const uint2 &high, int s)
{
    const uint32_t bits = s ? high.y : high.x;

    tile_codes(a, code, s);
#pragma unroll
    for (int j = 0; j < 4; j++)
        a[j] = ((a[j] | (bits >> 2 * j & 0x03030303u) << 4 | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
}

/* Q4_K, Q5_K: scale and minimum of group 0..7, from the 16 bytes of a row's block. */
KERN_CUDA_FN uint32_t tile_scale_pair(const uint4 &scales, int group)
{
    const int bit = 12 * group;
    const uint32_t lo = bit < 32 ? scales.y : bit < 64 ? scales.z : scales.w;
    const uint32_t hi = bit < 32 ? scales.z : scales.w;

    return __funnelshift_r(lo, hi, (uint32_t)bit & 31) & 0xfff;
}
