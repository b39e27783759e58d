/* matmul_float.cuh - rows of F32, F16 or BF16 weights times rows of f32 activations, by a warp: exact.c's
 * order. */
#pragma once

#include "tile.cuh"

/* Four weights of a row from the file, from value i on. */
template <enum quant_type T>
KERN_CUDA_FN float4 mm_float_weights(const uint8_t *row, int i)
{
    if constexpr (T == QUANT_F32) {
        const uint4 v = kc_ld_stream(reinterpret_cast<const uint4 *>(row + 4 * (size_t)i));
        return {__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w)};
    } else {
        const uint2 v = kc_ld_stream(reinterpret_cast<const uint2 *>(row + 2 * (size_t)i));
        if constexpr (T == QUANT_F16)
            return {tile_half(v.x), tile_half(v.x >> 16), tile_half(v.y), tile_half(v.y >> 16)};
        else
            return {__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u),
                    __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000u)};
    }
}

/* sum[r][c] = row row0 + r of t times row c of x, of which there are n_x, at least one; rows past the last of
 * either give what the last gives.  Every lane gets the sums. */
template <enum quant_type T, int C>
KERN_CUDA_FN void mm_float_rows(float (&sum)[2][C], const struct kern_cuda_tiles &t, int row0, const float *x,
                                int n_x)
{
    const int lane = (int)threadIdx.x % KC_WARP;
    const size_t row_bytes = (size_t)t.n_in * (T == QUANT_F32 ? 4 : 2);
    const uint8_t *const rows[2] = {t.data + (size_t)MIN(row0, t.n_out - 1) * row_bytes,
                                    t.data + (size_t)MIN(row0 + 1, t.n_out - 1) * row_bytes};

#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int c = 0; c < C; c++)
            sum[r][c] = 0.0f;
    for (int i = 4 * lane; i < t.n_in; i += 4 * KC_WARP) {
        const float4 w[2] = {mm_float_weights<T>(rows[0], i), mm_float_weights<T>(rows[1], i)};
#pragma unroll
        for (int c = 0; c < C; c++) {
            const float4 v =
                *reinterpret_cast<const float4 *>(x + (size_t)MIN(c, n_x - 1) * (size_t)t.n_in + i);
#pragma unroll
            for (int r = 0; r < 2; r++)
                sum[r][c] =
                    fmaf(w[r].w, v.w, fmaf(w[r].z, v.z, fmaf(w[r].y, v.y, fmaf(w[r].x, v.x, sum[r][c]))));
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int c = 0; c < C; c++)
            sum[r][c] = kc_warp_sum(sum[r][c]);
}
