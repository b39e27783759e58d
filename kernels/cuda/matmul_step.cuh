/* matmul_step.cuh - one step of a product: a warp's tile of weights, 16 rows by 64 values of k, times N rows
 * of activations, both in shared memory.
 *
 * Sums of 32 products are exact; what is rounded, and in which order, is exact.c's.  So kernels that cut k
 * and rows differently give the same bits. */
#pragma once

#include "act.h"
#include "tile.cuh"

/* Activations of one tile of k, as a step reads them:
 *   q [n_row] of MM_ROW_BYTES     group [2][N] of struct kern_cuda_group
 * 16 bytes between rows: the eight rows that ldmatrix reads at a time lie in different banks. */
enum { MM_ROW_BYTES = KERN_CUDA_TILE_K + 16, MM_GROUPS = KERN_CUDA_TILE_K / KERN_CUDA_GROUP };

TILE_FN size_t mm_slot_bytes(int n_column, int n_row)
{
    return (size_t)n_row * MM_ROW_BYTES + MM_GROUPS * (size_t)n_column * sizeof(struct kern_cuda_group);
}

/* What a lane has of 16 x N sums: rows g and g + 8, columns 8 j + 2 q and the next. */
template <int N>
struct mm_sums {
    static constexpr int n_8 = N / 8, n_column = 2;
    float f[n_8][2][n_column] = {}; /* [eight columns][row][column] */
};

/* Sums of an mma begin here and come out as floats: with these bits as the first summand, an integer below
 * 2^22 is in the low bits of an f32, which a subtraction takes out.  The conversion unit is slower. */
enum { MM_BIAS = 0x4b400000 };

KERN_CUDA_FN float mm_float(int biased)
{
    return __int_as_float(biased) - 0x1.8p23f;
}

/* Exact sums of a group, [row][column] of this lane. */
template <enum quant_type T, int N>
KERN_CUDA_FN void mm_group_sums(float (&sum)[2][mm_sums<N>::n_column], const uint32_t (&a)[4], uint32_t b0,
                                uint32_t b1, const struct tile_scales<T> (&scales)[2], int group)
{
    const int bias[4] = {MM_BIAS, MM_BIAS, MM_BIAS, MM_BIAS};
    int d[4];

    if constexpr (tile_kind<T>::six) {
        const uint32_t first[2] = {a[0], a[1]}, second[2] = {a[2], a[3]}, first_b[1] = {b0},
                       second_b[1] = {b1};
        int e[4];
        kc_mma_s8_k16_from(d, first, first_b, bias);
        kc_mma_s8_k16_from(e, second, second_b, bias);
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int c = 0; c < mm_sums<N>::n_column; c++) /* exact: below 2^24 */
                sum[r][c] = fmaf(mm_float(e[2 * r + c]), scales[r].half[group][1],
                                 mm_float(d[2 * r + c]) * scales[r].half[group][0]);
    } else {
        const uint32_t b[2] = {b0, b1};
        kc_mma_s8_k32_from(d, a, b, bias);
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int c = 0; c < mm_sums<N>::n_column; c++)
                sum[r][c] = mm_float(d[2 * r + c]);
    }
}

/* A group's steps for columns 8 j + 2 q and the next. */
template <int N>
KERN_CUDA_FN void mm_group_of(struct kern_cuda_group (&x)[mm_sums<N>::n_column],
                              const struct kern_cuda_group *groups, int j, int lane)
{
    const float4 v = *reinterpret_cast<const float4 *>(groups + 8 * j + 2 * (lane % 4));

    x[0].d = v.x;
    x[0].dsum = v.y;
    x[1].d = v.z;
    x[1].dsum = v.w;
}

/* Adds tile i of a block.  scales: of that block; slot: of that tile, with n_row <= N rows: columns past them
 * get what the last row gives and are not for use. */
template <enum quant_type T, int N>
KERN_CUDA_FN void mm_tile(struct mm_sums<N> &sums, const uint8_t *tile, const uint8_t *scales,
                          const uint8_t *slot, int n_row, int i, int lane)
{
    using kind = tile_kind<T>;
    constexpr int n_8 = mm_sums<N>::n_8, n_column = mm_sums<N>::n_column;
    const struct kern_cuda_group *const groups =
        reinterpret_cast<const struct kern_cuda_group *>(slot + n_row * MM_ROW_BYTES);
    struct tile_words<T> words;
    struct tile_scales<T> scale[2];
    uint32_t a[2][4];

    tile_read<T>(words, tile, lane);
    tile_scales_of<T>(scale[0], scales, lane / 4, i);
    tile_scales_of<T>(scale[1], scales, lane / 4 + 8, i);
    tile_codes<T>(a[0], words, 0);
    tile_codes<T>(a[1], words, 1);
#pragma unroll
    for (int j = 0; j < n_8; j++) {
        if (N > 16 && 8 * j >= n_row)
            break; /* the last rows of many */
        uint32_t b[4];
        float p[2][n_column] = {};
        kc_ldmatrix_x4(b, slot + MIN(8 * j + lane % 8, n_row - 1) * MM_ROW_BYTES + lane / 8 * 16);
#pragma unroll
        for (int s = 0; s < 2; s++) {
            struct kern_cuda_group x[n_column];
            float sum[2][n_column];
            mm_group_of<N>(x, groups + s * N, j, lane);
            mm_group_sums<T, N>(sum, a[s], b[2 * s], b[2 * s + 1], scale, s);
#pragma unroll
            for (int r = 0; r < 2; r++)
#pragma unroll
                for (int c = 0; c < n_column; c++) {
                    const float w = scale[r].w[s] * x[c].d;
                    p[r][c] = s ? fmaf(sum[r][c], w, p[r][c]) : sum[r][c] * w;
                    if constexpr (kind::with_min)
                        p[r][c] = fmaf(scale[r].m[s], x[c].dsum, p[r][c]);
                }
        }
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int c = 0; c < n_column; c++)
                sums.f[j][r][c] += p[r][c];
    }
}

/* silu(gate) times up */
KERN_CUDA_FN float mm_silu_times(float gate, float up)
{
    return gate / (1.0f + expf(-gate)) * up;
}

/* Bytes of a warp's ring of n_tile tiles, with the scales of two blocks and one block's taken apart. */
template <enum quant_type T>
TILE_FN constexpr int mm_ring_bytes(int n_tile)
{
    return n_tile * tile_kind<T>::tile_bytes + 2 * tile_kind<T>::scale_bytes + tile_kind<T>::expanded_bytes;
}

/* Block n's scales behind a ring's tiles, as they are fetched. */
template <enum quant_type T>
KERN_CUDA_FN uint8_t *mm_ring_scales(uint8_t *ring, int n_tile, int n)
{
    return ring + n_tile * tile_kind<T>::tile_bytes + n % 2 * tile_kind<T>::scale_bytes;
}

/* The same as mm_tile() reads them, once they are there for the warp. */
template <enum quant_type T>
KERN_CUDA_FN const uint8_t *mm_ring_expand(uint8_t *ring, int n_tile, int n, int lane)
{
    uint8_t *const scales = mm_ring_scales<T>(ring, n_tile, n);

    if constexpr (tile_kind<T>::pairs) {
        uint8_t *const expanded = mm_ring_scales<T>(ring, n_tile, 0) + 2 * tile_kind<T>::scale_bytes;
        tile_expand<T>(reinterpret_cast<float *>(expanded), scales, lane);
        __syncwarp();
        return expanded;
    } else {
        return scales;
    }
}
