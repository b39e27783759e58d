/* tile.cuh - T16 (tile.h) on its way to the integer mma: from memory to shared memory in the background, from
 * there to fragments of A, and what a group's sum of products is multiplied with.
 *
 * For k16, which Q6_K needs since a scale holds for 16 values, a[0] and a[1] are the first half of 32, a[2]
 * and a[3] the second. */
#pragma once

#include "block.cuh"
#include "dev.cuh"
#include "tile.h"

/* X(type) for each type that has tiles. */
#define TILE_TYPES(X)                                                                                        \
    X(QUANT_Q4_0)                                                                                            \
    X(QUANT_Q4_1)                                                                                            \
    X(QUANT_Q5_0)                                                                                            \
    X(QUANT_Q5_1)                                                                                            \
    X(QUANT_Q8_0)                                                                                            \
    X(QUANT_Q4_K)                                                                                            \
    X(QUANT_Q5_K)                                                                                            \
    X(QUANT_Q6_K)                                                                                            \
    X(QUANT_IQ4_NL)                                                                                          \
    X(QUANT_IQ4_XS)

/* the families of types */
template <enum quant_type T>
struct tile_kind {
    static constexpr bool iq4 = T == QUANT_IQ4_NL || T == QUANT_IQ4_XS;
    static constexpr bool five = T == QUANT_Q5_K || T == QUANT_Q5_0 || T == QUANT_Q5_1;
    static constexpr bool six = T == QUANT_Q6_K;
    static constexpr bool eight = T == QUANT_Q8_0;
    static constexpr bool pairs =
        T == QUANT_Q4_K || T == QUANT_Q5_K || T == QUANT_IQ4_XS; /* 12 bits a group */
    static constexpr bool with_m = T == QUANT_Q4_1 || T == QUANT_Q5_1;
    static constexpr bool with_min = T == QUANT_Q4_K || T == QUANT_Q5_K || with_m;
    static constexpr int offset = T == QUANT_Q4_0 ? 8 : T == QUANT_Q5_0 ? 16 : six ? 32 : 0;

    /* bytes of a tile's codes and high bits, of a block's scales for 16 rows */
    static constexpr int code_bytes = KC_WARP * (eight ? 32 : 16);
    static constexpr int high_bytes = KC_WARP * (six ? 8 : five ? 4 : 0);
    static constexpr int tile_bytes = code_bytes + high_bytes;
    static constexpr int row_bytes = with_m ? 32 : 16; /* scales of a row */
    static constexpr int scale_bytes = KERN_CUDA_TILE_ROWS * (row_bytes + (six ? 2 : 0));
    static constexpr int n_float = pairs ? with_min ? 2 : 1 : 0; /* of a group, taken apart: tile_expand() */
    static constexpr int expanded_bytes = KERN_CUDA_TILE_ROWS * 8 * n_float * (int)sizeof(float);
};

/* What no type is larger than. */
enum { TILE_BYTES_MAX = KC_WARP * 32, TILE_SCALE_BYTES_MAX = KERN_CUDA_TILE_ROWS * 32 };

/* Where a lane fetches its part of a block from: of its first tile, and of the scales. */
struct tile_source {
    const uint8_t *code, *high, *scale, *d;
};

/* Blocks are counted along rows of tiles. */
template <enum quant_type T>
KERN_CUDA_FN void tile_source_open(struct tile_source &from, const struct kern_cuda_tiles &t, size_t block,
                                   int lane)
{
    using kind = tile_kind<T>;

    from.code = t.data + block * 4 * kind::code_bytes + lane * 16;
    from.high = t.data + t.high + block * 4 * kind::high_bytes + lane * (kind::high_bytes / KC_WARP);
    from.scale = t.data + t.scale + block * kind::row_bytes * KERN_CUDA_TILE_ROWS + lane * 16;
    from.d = t.data + t.d + block * 2 * KERN_CUDA_TILE_ROWS + lane * 16;
}

template <enum quant_type T>
KERN_CUDA_FN void tile_source_skip(struct tile_source &from, int n_block)
{
    using kind = tile_kind<T>;

    from.code += n_block * 4 * kind::code_bytes;
    from.high += n_block * 4 * kind::high_bytes;
    from.scale += n_block * kind::row_bytes * KERN_CUDA_TILE_ROWS;
    from.d += n_block * 2 * KERN_CUDA_TILE_ROWS;
}

/* A warp's copy of tile i of the block, or of its scales, into shared memory, in the background. */
template <enum quant_type T>
KERN_CUDA_FN void tile_fetch(uint8_t *dst, const struct tile_source &from, int i, int lane)
{
    using kind = tile_kind<T>;
    uint8_t *const high = dst + kind::code_bytes;

#pragma unroll
    for (int j = 0; j < kind::code_bytes; j += KC_WARP * 16)
        kc_cp_async_16(dst + j + lane * 16, from.code + i * kind::code_bytes + j);
    if constexpr (kind::six)
        kc_cp_async_8(high + lane * 8, from.high + i * kind::high_bytes);
    if constexpr (kind::five)
        kc_cp_async_4(high + lane * 4, from.high + i * kind::high_bytes);
}

template <enum quant_type T>
KERN_CUDA_FN void tile_fetch_scales(uint8_t *dst, const struct tile_source &from, int lane)
{
    using kind = tile_kind<T>;
    constexpr int bytes = KERN_CUDA_TILE_ROWS * kind::row_bytes;

    if (lane < bytes / 16)
        kc_cp_async_16(dst + lane * 16, from.scale);
    if constexpr (kind::six)
        if (lane < 2)
            kc_cp_async_16(dst + bytes + lane * 16, from.d);
}

/* A lane's part of a tile. */
template <enum quant_type T>
struct tile_words {
    uint4 code[tile_kind<T>::eight ? 2 : 1];
    uint2 high; /* five bits: x alone */
};

template <enum quant_type T>
KERN_CUDA_FN void tile_read(struct tile_words<T> &w, const uint8_t *tile, int lane)
{
    using kind = tile_kind<T>;
    const uint8_t *const high = tile + kind::code_bytes;

    w.code[0] = reinterpret_cast<const uint4 *>(tile)[lane];
    if constexpr (kind::eight)
        w.code[1] = reinterpret_cast<const uint4 *>(tile)[KC_WARP + lane];
    if constexpr (kind::six)
        w.high = reinterpret_cast<const uint2 *>(high)[lane];
    if constexpr (kind::five)
        w.high.x = reinterpret_cast<const uint32_t *>(high)[lane];
}

/* Each byte less n: none borrows from its neighbour, since each has its top bit set for the subtraction. */
KERN_CUDA_FN uint32_t tile_less(uint32_t bytes, uint32_t n)
{
    return ((bytes | 0x80808080u) - n * 0x01010101u) ^ 0x80808080u;
}

/* The values that four nibbles stand for. */
KERN_CUDA_FN uint32_t tile_iq4(uint32_t nibbles)
{
    const uint32_t in_half = nibbles & 0x7777u;
    const uint32_t low = __byte_perm(BLOCK_IQ4_0, BLOCK_IQ4_1, in_half);
    const uint32_t high = __byte_perm(BLOCK_IQ4_2, BLOCK_IQ4_3, in_half);

    return __byte_perm(low, high, 0x3210u | (nibbles & 0x8888u) >> 1);
}

/* Half s (0, 1) of a tile: signed bytes. */
template <enum quant_type T>
KERN_CUDA_FN void tile_codes(uint32_t (&a)[4], const struct tile_words<T> &w, int s)
{
    using kind = tile_kind<T>;
    const uint4 &code = w.code[kind::eight ? s : 0];
    const uint32_t word[4] = {code.x, code.y, code.z, code.w};

#pragma unroll
    for (int j = 0; j < 4; j++) {
        if constexpr (kind::eight) {
            a[j] = word[j];
        } else if constexpr (kind::iq4) {
            a[j] = tile_iq4(word[j] >> 16 * s);
        } else {
            a[j] = word[j] >> 4 * s & 0x0f0f0f0fu;
            if constexpr (kind::five)
                a[j] |= (w.high.x >> (4 * s + j) & 0x01010101u) << 4;
            if constexpr (kind::six)
                a[j] |= ((s ? w.high.y : w.high.x) >> 2 * j & 0x03030303u) << 4;
            if constexpr (kind::offset != 0)
                a[j] = tile_less(a[j], kind::offset);
        }
    }
}

/* A number below 2^23 as f32, without the conversion unit, which has a quarter of the adders' speed. */
KERN_CUDA_FN float tile_float(uint32_t n)
{
    return __uint_as_float(0x4b000000u | n) - 0x1p23f;
}

KERN_CUDA_FN float tile_half(uint32_t bits)
{
    return __half2float(__ushort_as_half((unsigned short)bits));
}

/* What the products of a row's 64 values in a tile are scaled with, for both groups of 32: w, and m where
 * the type has minima, as it is added.  Q6_K: half, for both halves of each group, besides the block's d. */
template <enum quant_type T>
struct tile_scales {
    float w[2], m[2], half[2][2];
};

/* Four groups' pairs of six bits from a row's 16 bytes, the lower or the upper ones; bits above the twelve
 * are others'. */
KERN_CUDA_FN void tile_pairs(uint32_t (&pair)[4], const uint4 &v, bool upper)
{
    const uint32_t lo = upper ? __funnelshift_r(v.z, v.w, 16) : v.y, hi = upper ? v.w >> 16 : v.z;

    pair[0] = lo;
    pair[1] = lo >> 12;
    pair[2] = __funnelshift_r(lo, hi, 24);
    pair[3] = hi >> 4;
}

/* Pairs of six bits to w and m, once for a block: for each tile anew it would be half of its work.  dst
 * [16 rows][8 groups][n_float], by a warp. */
template <enum quant_type T>
KERN_CUDA_FN void tile_expand(float *dst, const uint8_t *scales, int lane)
{
    constexpr int n = tile_kind<T>::n_float;
    const uint4 v = reinterpret_cast<const uint4 *>(scales)[lane / 2];
    const float d = tile_half(v.x), m = -tile_half(v.x >> 16);
    uint32_t pair[4];
    float out[4 * n];

    tile_pairs(pair, v, lane % 2);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float scale = tile_float(pair[i] & 63);
        out[n * i] = d * (T == QUANT_IQ4_XS ? scale - 32.0f : scale);
        if constexpr (n == 2)
            out[2 * i + 1] = m * tile_float(pair[i] >> 6 & 63);
    }
    float4 *const to = reinterpret_cast<float4 *>(dst + lane * 4 * n);
#pragma unroll
    for (int i = 0; i < n; i++)
        to[i] = make_float4(out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3]);
}

/* Of row 0..15 and tile i of a block, from the block's scales in shared memory, expanded if they are pairs.
 */
template <enum quant_type T>
KERN_CUDA_FN void tile_scales_of(struct tile_scales<T> &s, const uint8_t *scales, int row, int i)
{
    using kind = tile_kind<T>;
    const uint32_t *const words = reinterpret_cast<const uint32_t *>(scales + row * kind::row_bytes);
    const float *const expanded = reinterpret_cast<const float *>(scales) + (row * 8 + 2 * i) * kind::n_float;

    if constexpr (kind::n_float == 2) {
        const float4 v = *reinterpret_cast<const float4 *>(expanded);
        s.w[0] = v.x;
        s.m[0] = v.y;
        s.w[1] = v.z;
        s.m[1] = v.w;
    } else if constexpr (kind::n_float == 1) {
        const float2 v = *reinterpret_cast<const float2 *>(expanded);
        s.w[0] = v.x;
        s.w[1] = v.y;
    } else if constexpr (kind::six) {
        s.w[0] = s.w[1] = tile_half(reinterpret_cast<const uint16_t *>(scales + 16 * kind::row_bytes)[row]);
#pragma unroll
        for (int h = 0; h < 4; h++)
            s.half[h / 2][h % 2] = (float)(int8_t)(words[i] >> 8 * h);
    } else if constexpr (kind::with_m) {
#pragma unroll
        for (int g = 0; g < 2; g++) {
            s.w[g] = tile_half(words[2 * i + g]);
            s.m[g] = tile_half(words[2 * i + g] >> 16);
        }
    } else {
        s.w[0] = tile_half(words[i]);
        s.w[1] = tile_half(words[i] >> 16);
    }
}
