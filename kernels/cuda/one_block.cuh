/* one_block.cuh - a warp's 16 rows by 256 of quantised weights times a row of activations, or R of them:
 * matmul_one.cu.
 *
 * One row has one column of the eight that an mma computes.  Here each column has another group of 32: B is
 * zero but for the group's own column, and eight products leave in lane (g, q) the exact sums of groups 2 q
 * and 2 q + 1, a tile of 64, of rows g and g + 8.  Each lane then scales what is its own, with scales that it
 * takes apart itself, and the quad adds up its four tiles in exact.c's order. */
#pragma once

#include "act.h"
#include "matmul_step.cuh"

/* The row of activations in shared memory, by blocks of 256. */
struct one_x {
    uint32_t q[KERN_CUDA_BLOCK_K / 4]; /* [group][4 q][half]: what a lane feeds to an mma lies together */
    struct kern_cuda_group group[KERN_CUDA_BLOCK_K / KERN_CUDA_GROUP];
    int half[KERN_CUDA_BLOCK_K / 16]; /* sums of 16 of q */
};

template <enum quant_type T>
struct one_kind : tile_kind<T> {
    using kind = tile_kind<T>;
    static constexpr int block_bytes = 4 * kind::tile_bytes + kind::scale_bytes;
    /* the high nibble stays where it is: sixteen times its value, in an unsigned byte */
    static constexpr bool wide = !kind::six && !kind::five && !kind::eight && !kind::iq4;
};

/* Four codes of row g + 8 (j % 2) in each word, half s of a tile: as the mma of this type takes them. */
template <enum quant_type T>
KERN_CUDA_FN void one_codes(uint32_t (&a)[4], int s, const uint4 &code, const uint2 &high)
{
    using kind = one_kind<T>;
    const uint32_t word[4] = {code.x, code.y, code.z, code.w};

#pragma unroll
    for (int j = 0; j < 4; j++) {
        if constexpr (kind::eight)
            a[j] = word[j];
        else if constexpr (kind::iq4)
            a[j] = tile_iq4(word[j] >> 16 * s);
        else if constexpr (kind::wide)
            a[j] = word[j] & (s ? 0xf0f0f0f0u : 0x0f0f0f0fu);
        else
            a[j] = word[j] >> 4 * s & 0x0f0f0f0fu;
        if constexpr (kind::five)
            a[j] |= (high.x >> (4 * s + j) & 0x01010101u) << 4;
        if constexpr (kind::six) {
            const uint32_t bits = s ? high.y : high.x;
            a[j] |= (j == 0 ? bits << 4 : j == 1 ? bits << 2 : j == 2 ? bits : bits >> 2) & 0x30303030u;
        }
    }
}

/* Exact sums, biased, of two chains of products: those of even groups and those of odd ones.
 *   [c][2 r + c]  group 2 q + c of row g + 8 r          Q6_K: [c][2 r + h], its half h */
struct one_exact {
    int d[2][4];
};

/* What they begin with: the bias of mm_float() and what the codes' offset takes off. */
template <enum quant_type T>
KERN_CUDA_FN void one_begin(struct one_exact &sums, const struct one_x &x, int q)
{
    using kind = one_kind<T>;
    int take[2][2] = {};

    if constexpr (kind::offset != 0) {
        const int4 v = reinterpret_cast<const int4 *>(x.half)[q]; /* of groups 2 q and 2 q + 1 */
        if constexpr (kind::six) {
            take[0][0] = kind::offset * v.x;
            take[0][1] = kind::offset * v.y;
            take[1][0] = kind::offset * v.z;
            take[1][1] = kind::offset * v.w;
        } else {
            take[0][0] = kind::offset * (v.x + v.y);
            take[1][1] = kind::offset * (kind::wide ? 16 : 1) * (v.z + v.w);
        }
    }
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            sums.d[c][j] = MM_BIAS - take[c][j % 2];
}

/* This lane's part of column g: of its group, or of halves of two, one in each chain. */
template <enum quant_type T>
KERN_CUDA_FN void one_column(uint32_t (&own)[2], const struct one_x &x, int lane)
{
    const int g = lane / 4, q = lane % 4;

    if constexpr (one_kind<T>::six) {
        own[0] = x.q[g / 2 * 16 + 2 * q + g % 2];
        own[1] = x.q[g / 2 * 16 + 8 + 2 * q + g % 2];
    } else {
        const uint2 v = reinterpret_cast<const uint2 *>(x.q)[lane];
        own[0] = v.x;
        own[1] = v.y;
    }
}

/* Half s of tile i times its group of one row. */
template <enum quant_type T>
KERN_CUDA_FN void one_group(struct one_exact &sums, const uint32_t (&a)[4], const uint32_t (&own)[2], int i,
                            int s, int g)
{
    using kind = one_kind<T>;

    if constexpr (kind::six) {
        const uint32_t first[2] = {a[0], a[1]}, second[2] = {a[2], a[3]};
        const uint32_t first_b[1] = {g == 2 * i ? own[s] : 0};
        const uint32_t second_b[1] = {g == 2 * i + 1 ? own[s] : 0};
        kc_mma_s8_k16(sums.d[s], first, first_b);
        kc_mma_s8_k16(sums.d[s], second, second_b);
    } else {
        const uint32_t b[2] = {g == 2 * i + s ? own[0] : 0, g == 2 * i + s ? own[1] : 0};
        if constexpr (kind::wide)
            kc_mma_u8s8_k32(sums.d[s], a, b);
        else
            kc_mma_s8_k32(sums.d[s], a, b);
    }
}

/* x: this block of each of R rows, `stride` apart. */
template <enum quant_type T, int R>
KERN_CUDA_FN void one_sums(struct one_exact (&sums)[R], const uint8_t *slot, const struct one_x *x,
                           int stride, int lane)
{
    using kind = one_kind<T>;
    uint32_t own[R][2];

#pragma unroll
    for (int n = 0; n < R; n++) {
        one_column<T>(own[n], x[n * stride], lane);
        one_begin<T>(sums[n], x[n * stride], lane % 4);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint8_t *const high_at = slot + 4 * kind::code_bytes + i * kind::high_bytes;
        uint2 high = {0, 0};
        if constexpr (kind::six)
            high = reinterpret_cast<const uint2 *>(high_at)[lane];
        if constexpr (kind::five)
            high.x = reinterpret_cast<const uint32_t *>(high_at)[lane];
        uint4 code = reinterpret_cast<const uint4 *>(slot + i * kind::code_bytes)[lane];
#pragma unroll
        for (int s = 0; s < 2; s++) {
            uint32_t a[4];
            if (kind::eight && s)
                code = reinterpret_cast<const uint4 *>(slot + i * kind::code_bytes)[KC_WARP + lane];
            one_codes<T>(a, s, code, high);
#pragma unroll
            for (int n = 0; n < R; n++)
                one_group<T>(sums[n], a, own[n], i, s, lane / 4);
        }
    }
}

/* What a row's groups 2 q and 2 q + 1 are scaled with: as tile_scales, but for a lane of its own. */
template <enum quant_type T>
KERN_CUDA_FN void one_scales_of(struct tile_scales<T> &s, const uint8_t *scales, int row, int q)
{
    using kind = tile_kind<T>;
    const uint8_t *const of_row = scales + row * kind::row_bytes;
    const uint32_t *const words = reinterpret_cast<const uint32_t *>(of_row);

    if constexpr (kind::pairs) { /* 24 bits of the row's 96: scale, minimum, scale, minimum */
        const uint32_t lo = words[1 + 3 * q / 4], hi = words[1 + MIN(3 * q / 4 + 1, 2)];
        const uint32_t pair = __funnelshift_r(lo, hi, (unsigned)(24 * q % 32));
        const float d = tile_half(words[0]), m = -tile_half(words[0] >> 16);
        const float scale[2] = {tile_float(pair & 63), tile_float(pair >> 12 & 63)};
#pragma unroll
        for (int c = 0; c < 2; c++) {
            s.w[c] = d * (T == QUANT_IQ4_XS ? scale[c] - 32.0f : scale[c]);
            if constexpr (kind::with_min)
                s.m[c] = m * tile_float(pair >> (12 * c + 6) & 63);
        }
    } else if constexpr (kind::six) {
        const uint32_t four = words[q];
        s.w[0] = s.w[1] = tile_half(
            reinterpret_cast<const uint16_t *>(scales + KERN_CUDA_TILE_ROWS * kind::row_bytes)[row]);
#pragma unroll
        for (int h = 0; h < 4; h++)
            s.half[h / 2][h % 2] = (float)(int8_t)(four >> 8 * h);
    } else if constexpr (kind::with_m) {
        const uint2 v = reinterpret_cast<const uint2 *>(of_row)[q];
        s.w[0] = tile_half(v.x);
        s.m[0] = tile_half(v.x >> 16);
        s.w[1] = tile_half(v.y);
        s.m[1] = tile_half(v.y >> 16);
    } else {
        s.w[0] = tile_half(words[q]);
        s.w[1] = tile_half(words[q] >> 16);
    }
}

/* The exact sums of row g + 8 r, both groups, as f32. */
template <enum quant_type T>
KERN_CUDA_FN void one_floats_of(float (&sum)[2], const struct one_exact &sums,
                                const struct tile_scales<T> &scales, int r)
{
    using kind = one_kind<T>;

    if constexpr (kind::six) {
#pragma unroll
        for (int c = 0; c < 2; c++)
            sum[c] = fmaf(mm_float(sums.d[c][2 * r + 1]), scales.half[c][1],
                          mm_float(sums.d[c][2 * r]) * scales.half[c][0]);
    } else {
        sum[0] = mm_float(sums.d[0][2 * r]);
        sum[1] = kind::wide ? fmaf(__int_as_float(sums.d[1][2 * r + 1]), 0.0625f, -0x1.8p19f)
                            : mm_float(sums.d[1][2 * r + 1]);
    }
}

/* The quad's tiles, one a lane, added to f in order; each lane gets the same. */
KERN_CUDA_FN void one_add(float &f, float p)
{
#pragma unroll
    for (int tile = 0; tile < 4; tile++)
        f += __shfl_sync(KC_ALL_LANES, p, tile, 4);
}

/* Adds the block to f, rows g and g + 8 of weights, for each of R rows of activations. */
template <enum quant_type T, int R>
KERN_CUDA_FN void one_block(float (&f)[R][2], const uint8_t *slot, const struct one_x *x, int stride,
                            int lane)
{
    using kind = one_kind<T>;
    const int q = lane % 4;
    struct one_exact sums[R];

    one_sums<T, R>(sums, slot, x, stride, lane);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        struct tile_scales<T> scales;
        one_scales_of<T>(scales, slot + 4 * kind::tile_bytes, lane / 4 + 8 * r, q);
#pragma unroll
        for (int n = 0; n < R; n++) {
            const float4 groups =
                reinterpret_cast<const float4 *>(x[n * stride].group)[q]; /* d, dsum of two */
            float sum[2];
            one_floats_of<T>(sum, sums[n], scales, r);
            float p = sum[0] * (scales.w[0] * groups.x);
            if constexpr (kind::with_min)
                p = fmaf(scales.m[0], groups.y, p);
            p = fmaf(sum[1], scales.w[1] * groups.z, p);
            if constexpr (kind::with_min)
                p = fmaf(scales.m[1], groups.w, p);
            one_add(f[n][r], p);
        }
    }
}
