/* tile_half.cuh - T16 (tile.h) on its way to the f16 mma: scales rounded to f16 once a block, codes to
 * fragments of A.
 *
 * For m16n8k16 a lane's four bytes of a word are its values of one step: bytes 0 and 2 are a[r], bytes 1 and
 * 3 are a[2 + r] (r: row g or g + 8), because so they come out of a word with one mask each.  Activations lie
 * in the order that fits (act.cuh, act_half_at()).
 *
 * A code is the low bits of a half between 1024 and 2048, from which its offset is taken off exactly; the
 * weight is that times its scale, and with a minimum one fused multiply-add: rounded once. */
#pragma once

#include "tile.cuh"

/* Weights are multiplied with this, so that small ones stay where f16 has all its digits.  What is then above
 * TILE_HALF_MOST, weights of more than 511, is cut to that: no infinity meets a zero. */
#define TILE_HALF_UNIT 64.0f
#define TILE_HALF_MOST 32752.0f

template <enum quant_type T>
struct tile_half_kind {
    using kind = tile_kind<T>;
    static constexpr bool bytes = kind::iq4 || kind::eight; /* codes are signed bytes */
    static constexpr bool affine = !bytes && !kind::six;    /* a scale and a minimum a group */
    static constexpr float most = bytes ? 128.0f : kind::six ? 32.0f : kind::five ? 31.0f : 15.0f;
};

/* NaN stays. */
KERN_CUDA_FN float tile_half_cut(float v, float most)
{
    return v > most ? most : v < -most ? -most : v;
}

/* Two scales, or a scale and what is added. */
template <enum quant_type T, bool MINIMUM>
KERN_CUDA_FN uint32_t tile_half_pair(float low, float high)
{
    constexpr float most = TILE_HALF_MOST / tile_half_kind<T>::most;
    const float cut[2] = {tile_half_cut(low * TILE_HALF_UNIT, most),
                          tile_half_cut(high * TILE_HALF_UNIT, MINIMUM ? TILE_HALF_MOST : most)};

    return (uint32_t)__half_as_ushort(__float2half_rn(cut[0])) |
           (uint32_t)__half_as_ushort(__float2half_rn(cut[1])) << 16;
}

/* Four groups of a row's block, the lower or the upper ones; what of each is multiplied with, and added. */
template <enum quant_type T>
KERN_CUDA_FN void tile_half_groups(uint32_t (&out)[4], const uint8_t *scales, int row, int upper)
{
    using kind = tile_kind<T>;
    const uint8_t *const of_row = scales + row * kind::row_bytes;

    if constexpr (kind::pairs) {
        const uint4 v = *reinterpret_cast<const uint4 *>(of_row);
        const float d = tile_half(v.x), m = -tile_half(v.x >> 16);
        uint32_t pair[4];
        tile_pairs(pair, v, upper);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float scale = tile_float(pair[i] & 63);
            if constexpr (kind::with_min)
                out[i] = tile_half_pair<T, true>(d * scale, m * tile_float(pair[i] >> 6 & 63));
            else
                out[i] = tile_half_pair<T, false>(d * (scale - 32.0f), d * (scale - 32.0f));
        }
    } else if constexpr (kind::six) {
        const uint2 v = reinterpret_cast<const uint2 *>(of_row)[upper];
        const float d = tile_half(reinterpret_cast<const uint16_t *>(scales + 16 * kind::row_bytes)[row]);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t codes = (i < 2 ? v.x : v.y) >> 16 * (i % 2);
            out[i] = tile_half_pair<T, false>(d * (float)(int8_t)codes, d * (float)(int8_t)(codes >> 8));
        }
    } else if constexpr (kind::with_m) {
        const uint4 v = reinterpret_cast<const uint4 *>(of_row)[upper];
        const uint32_t word[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; i++)
            out[i] = tile_half_pair<T, true>(tile_half(word[i]), tile_half(word[i] >> 16));
    } else {
        const uint2 v = reinterpret_cast<const uint2 *>(of_row)[upper];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float d = tile_half((i < 2 ? v.x : v.y) >> 16 * (i % 2));
            out[i] = tile_half_kind<T>::affine ? tile_half_pair<T, true>(d, -(float)kind::offset * d)
                                               : tile_half_pair<T, false>(d, d);
        }
    }
}

/* The block's scales for 16 rows as tile_half_fragment() takes them, by a warp.
 *   dst [4 tiles][16 rows] of a word for each half of the tile */
template <enum quant_type T>
KERN_CUDA_FN void tile_half_expand(uint2 *dst, const uint8_t *scales, int lane)
{
    const int row = lane / 2, upper = lane % 2;
    uint32_t out[4];

    tile_half_groups<T>(out, scales, row, upper);
    dst[2 * upper * KERN_CUDA_TILE_ROWS + row] = make_uint2(out[0], out[1]);
    dst[(2 * upper + 1) * KERN_CUDA_TILE_ROWS + row] = make_uint2(out[2], out[3]);
}

/* n places up, or down if it is below zero. */
KERN_CUDA_FN uint32_t tile_half_shift(uint32_t word, int n)
{
    return n < 0 ? word >> -n : word << n;
}

/* Codes of word j, half s, with their offset taken off where it is no part of the minimum: bytes 0 and 2, and
 * bytes 1 and 3. */
template <enum quant_type T>
KERN_CUDA_FN void tile_half_codes(uint32_t (&pair)[2], const struct tile_words<T> &w, int s, int j)
{
    using kind = tile_kind<T>;
    const uint4 &code = w.code[kind::eight ? s : 0];
    const uint32_t word = j == 0 ? code.x : j == 1 ? code.y : j == 2 ? code.z : code.w;

    if constexpr (tile_half_kind<T>::bytes) {
        const uint32_t bytes = kind::eight ? word : tile_iq4(word >> 16 * s);
#pragma unroll
        for (int i = 0; i < 2; i++) /* 1152 more than each */
            pair[i] = kc_half2_add((bytes >> 8 * i & 0x00ff00ffu) ^ 0x64806480u, 0xe480e480u);
    } else {
        /* at bit 0, or at bit 4 of the second half: 1024 more, or 1024 and 16 times as much */
        const uint32_t high = kind::six && s ? w.high.y : w.high.x;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t bits = 0x64006400u;
            if constexpr (kind::five)
                bits = kc_and_or(tile_half_shift(high, 4 - j - 8 * i), 0x00100010u << 4 * s, bits);
            if constexpr (kind::six)
                bits =
                    kc_and_or(tile_half_shift(high, 4 + 4 * s - 2 * j - 8 * i), 0x00300030u << 4 * s, bits);
            bits = kc_and_or(word >> 8 * i, 0x000f000fu << 4 * s, bits);
            pair[i] = s ? kc_half2_fma(bits, 0x2c002c00u, kind::six ? 0xd600d600u : 0xd400d400u)
                        : kc_half2_add(bits, kind::six ? 0xe420e420u : 0xe400e400u);
        }
    }
}

/* Half s of a tile, 16 of its values: A's fragment.  scale: of rows g and g + 8, that half. */
template <enum quant_type T>
KERN_CUDA_FN void tile_half_fragment(uint32_t (&a)[4], const struct tile_words<T> &w, int s, int step,
                                     const uint32_t (&scale)[2])
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        uint32_t pair[2];
        tile_half_codes<T>(pair, w, s, 2 * step + r);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if constexpr (tile_half_kind<T>::affine)
                a[2 * i + r] = kc_half2_fma(pair[i], kc_half2_low(scale[r]), kc_half2_high(scale[r]));
            else if constexpr (tile_kind<T>::six)
                a[2 * i + r] = kc_half2_mul(pair[i], step ? kc_half2_high(scale[r]) : kc_half2_low(scale[r]));
            else
                a[2 * i + r] = kc_half2_mul(pair[i], scale[r]);
        }
    }
}
