/* tile.cuh - what a lane makes of its part of T16 (tile.h): fragments of A for the integer mma, and what a
 * group's sum of products is multiplied with.
 *
 * A step is what a warp loads at a time: 64 or 128 bytes of code a row, so that the next step's loads are in
 * flight while this one is multiplied.  For k16, which Q6_K needs since a scale holds for 16 values, a[0] and
 * a[1] are the first half of 32, a[2] and a[3] the second. */
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
    static constexpr int n_tile = pairs ? 4 : 2; /* of a step: pairs cannot be cut */
    static constexpr int n_step = 4 / n_tile;    /* of a block */
};

/* A lane's part of a step.  scale[0] is of row g, scale[1] of row g + 8. */
template <enum quant_type T>
struct tile_step {
    uint4 code[tile_kind<T>::n_tile * (tile_kind<T>::eight ? 2 : 1)];
    uint2 high[tile_kind<T>::six ? tile_kind<T>::n_tile : 1];
    uint32_t fifth[tile_kind<T>::five ? tile_kind<T>::n_tile : 1];
    uint4 scale[2];
    uint16_t d[2];
};

/* Step i of block at, counted along rows of tiles. */
template <enum quant_type T>
KERN_CUDA_FN void tile_load(struct tile_step<T> &w, const struct kern_cuda_tiles &t, size_t at, int i,
                            int lane)
{
    using kind = tile_kind<T>;
    constexpr int n_code = kind::n_tile * (kind::eight ? 2 : 1);
    const size_t tile = at * 4 + (size_t)(i * kind::n_tile);
    const uint4 *const code =
        reinterpret_cast<const uint4 *>(t.data) + tile * (kind::eight ? 2 : 1) * KC_WARP + (size_t)lane;

#pragma unroll
    for (int j = 0; j < n_code; j++)
        w.code[j] = kc_ld_stream(code + j * KC_WARP);
#pragma unroll
    for (int j = 0; j < kind::n_tile; j++) {
        const size_t lane_of = (tile + (size_t)j) * KC_WARP + (size_t)lane;
        if constexpr (kind::five)
            w.fifth[j] = kc_ld_stream(reinterpret_cast<const uint32_t *>(t.data + t.high) + lane_of);
        if constexpr (kind::six)
            w.high[j] = kc_ld_stream(reinterpret_cast<const uint2 *>(t.data + t.high) + lane_of);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const size_t row = at * KERN_CUDA_TILE_ROWS + (size_t)(lane / 4 + 8 * r);
        const size_t in_half = (at * 2 + (size_t)i) * KERN_CUDA_TILE_ROWS + (size_t)(lane / 4 + 8 * r);
        const uint8_t *const scale = t.data + t.scale;
        if constexpr (kind::pairs) {
            w.scale[r] = kc_ld_stream(reinterpret_cast<const uint4 *>(scale) + row);
        } else if constexpr (kind::with_m) {
            w.scale[r] = kc_ld_stream(reinterpret_cast<const uint4 *>(scale) + in_half);
        } else {
            const uint2 word = kc_ld_stream(reinterpret_cast<const uint2 *>(scale) + in_half);
            w.scale[r].x = word.x;
            w.scale[r].y = word.y;
        }
        if constexpr (kind::six)
            w.d[r] = kc_ld_stream(reinterpret_cast<const uint16_t *>(t.data + t.d) + row);
    }
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

/* Half s (0, 1) of tile i of the step: signed bytes. */
template <enum quant_type T>
KERN_CUDA_FN void tile_codes(uint32_t (&a)[4], const struct tile_step<T> &w, int i, int s)
{
    using kind = tile_kind<T>;
    const uint4 &code = w.code[kind::eight ? 2 * i + s : i];
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
                a[j] |= (w.fifth[i] >> (4 * s + j) & 0x01010101u) << 4;
            if constexpr (kind::six)
                a[j] |= ((s ? w.high[i].y : w.high[i].x) >> 2 * j & 0x03030303u) << 4;
            if constexpr (kind::offset != 0)
                a[j] = tile_less(a[j], kind::offset);
        }
    }
}

/* Scale and minimum of group 0..7 of a block, from the 16 bytes of a row. */
KERN_CUDA_FN uint32_t tile_pair(const uint4 &scale, int group)
{
    const int bit = 12 * group;
    const uint32_t lo = bit < 32 ? scale.y : bit < 64 ? scale.z : scale.w;
    const uint32_t hi = bit < 32 ? scale.z : scale.w;

    return __funnelshift_r(lo, hi, (uint32_t)bit & 31);
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

KERN_CUDA_FN uint32_t tile_word(const uint4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/* What group (of 32, counted within the step) of row g + 8 r is scaled with, and its minimum as it is added.
 * Q6_K: the block's d alone. */
template <enum quant_type T>
KERN_CUDA_FN float tile_scale(const struct tile_step<T> &w, int r, int group)
{
    using kind = tile_kind<T>;

    if constexpr (T == QUANT_IQ4_XS)
        return tile_half(w.scale[r].x) * (tile_float(tile_pair(w.scale[r], group) & 63) - 32.0f);
    else if constexpr (kind::pairs)
        return tile_half(w.scale[r].x) * tile_float(tile_pair(w.scale[r], group) & 63);
    else if constexpr (kind::six)
        return tile_half(w.d[r]);
    else if constexpr (kind::with_m)
        return tile_half(tile_word(w.scale[r], group));
    else
        return tile_half(tile_word(w.scale[r], group / 2) >> 16 * (group % 2));
}

template <enum quant_type T>
KERN_CUDA_FN float tile_min(const struct tile_step<T> &w, int r, int group)
{
    if constexpr (tile_kind<T>::with_m)
        return tile_half(tile_word(w.scale[r], group) >> 16);
    else
        return -(tile_half(w.scale[r].x >> 16) * tile_float(tile_pair(w.scale[r], group) >> 6 & 63));
}

/* Q6_K: the scale of 16 values, half h of the group. */
KERN_CUDA_FN float tile_scale_16(const struct tile_step<QUANT_Q6_K> &w, int r, int group, int h)
{
    const int i = 2 * group + h;

    return (float)(int8_t)(tile_word(w.scale[r], i / 4) >> 8 * (i % 4));
}
