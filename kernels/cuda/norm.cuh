/* norm.cuh - what norm.cu exports. */
#pragma once

#include "act.h"
#include "dev.cuh"

/* pdl: as in KERN_CUDA_LAUNCH.  -EINVAL for a shape that act.h does not allow. */
extern "C" int kern_cuda_norm_q8(const struct kern_cuda_norm *op, bool pdl, cudaStream_t stream);

/* The parts of norm_q8(), for kernels that norm a row themselves.  Its thread i has values 8 i to 8 i + 7,
 * and 4096 further on; the sum of squares goes in that order, then over the warp in a butterfly, then over
 * the warps. */

enum {
    NORM_THREADS = 512,
    NORM_WARPS = NORM_THREADS / KC_WARP,
    NORM_EACH = 8, /* values beside each other */
};

/* Eight values from 8 i on, written by an earlier kernel or never; those from n on are what there is not. */
KERN_CUDA_FN void norm_load(float (&x)[NORM_EACH], const float *from, int i, int n, float missing)
{
    const float4 *const p = reinterpret_cast<const float4 *>(from) + 2 * (size_t)i;
    const float4 none = make_float4(missing, missing, missing, missing);
    const float4 a = from && i < n ? kc_ld_l2(p) : none, b = from && i < n ? kc_ld_l2(p + 1) : none;

    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
    x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}

KERN_CUDA_FN float norm_squares(const float (&x)[NORM_EACH], float sum)
{
#pragma unroll
    for (int e = 0; e < NORM_EACH; e++)
        sum = fmaf(x[e], x[e], sum);
    return sum;
}

/* part: shared, of each warp, all there. */
KERN_CUDA_FN float norm_part_sum(const float *part, int n_warp)
{
    float sum[4] = {}; /* four short chains instead of a long one */

#pragma unroll
    for (int i = 0; i < NORM_WARPS; i++)
        sum[i % 4] += i < n_warp ? part[i] : 0.0f;
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

KERN_CUDA_FN float norm_scale(float sum, int dim, float eps)
{
    return 1.0f / sqrtf(sum / (float)dim + eps);
}
