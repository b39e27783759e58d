/* norm.cu - RMS norm of the residual stream, quantised for the product that follows. */
#include "norm.cuh"

#include "act.cuh"

enum { NORM_THREADS = 256, NORM_WARPS = NORM_THREADS / KC_WARP };

/* Sum over the block in a fixed order; every thread gets it.  Called once by a kernel. */
KERN_CUDA_FN float norm_block_sum(float v)
{
    KERN_CUDA_SMEM(float, part, NORM_WARPS);
    float sum = 0.0f;

    v = kc_warp_sum(v);
    if (threadIdx.x % KC_WARP == 0)
        part[threadIdx.x / KC_WARP] = v;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < NORM_WARPS; i++)
        sum += part[i];
    return sum;
}

/* 1 / rms of a row of n times four values. */
KERN_CUDA_FN float norm_scale(const float4 *x, int n, float eps)
{
    float sum = 0.0f;

    for (int i = (int)threadIdx.x; i < n; i += NORM_THREADS)
        sum = fmaf(x[i].x, x[i].x, fmaf(x[i].y, x[i].y, fmaf(x[i].z, x[i].z, fmaf(x[i].w, x[i].w, sum))));
    return 1.0f / sqrtf(norm_block_sum(sum) / (float)(4 * n) + eps);
}

/* One block a row.  A row is 4..16 KiB and is read twice, the second time from cache. */
__global__ static void __launch_bounds__(NORM_THREADS) norm_q8(struct kern_cuda_norm op)
{
    const size_t row = blockIdx.x, at = row * (size_t)op.dim;
    const float4 *const w = reinterpret_cast<const float4 *>(op.w);
    const int n = op.dim / 4, lane = threadIdx.x % KC_WARP, warp0 = (int)threadIdx.x - lane;

    kc_pdl_wait();
    kc_pdl_launch();
    const size_t from = op.rows ? (size_t)op.rows[row] : row;
    const float4 *const x = reinterpret_cast<const float4 *>(op.x + from * (size_t)op.dim);
    const float scale = op.w ? norm_scale(x, n, op.eps) : 1.0f;
    for (int i0 = warp0; i0 < n; i0 += NORM_THREADS) { /* the same for a warp: its lanes stay together */
        const int i = i0 + lane;
        float4 v = {0, 0, 0, 0};
        if (i < n)
            v = x[i];
        if (i < n && op.w)
            v = make_float4(v.x * scale * w[i].x, v.y * scale * w[i].y, v.z * scale * w[i].z,
                            v.w * scale * w[i].w);
        if (i < n && op.act.f)
            reinterpret_cast<float4 *>(op.act.f + at)[i] = v;
        if (op.act.q)
            act_put_4(v, i < n ? reinterpret_cast<char4 *>(op.act.q + at) + i : nullptr,
                      i < n && i % 8 == 0 ? op.act.group + at / KERN_CUDA_GROUP + i / 8 : nullptr);
    }
}

extern "C" int kern_cuda_norm_q8(const struct kern_cuda_norm *op, bool pdl, cudaStream_t stream)
{
    if (op->n_row < 1 || op->dim < KERN_CUDA_GROUP || op->dim % KERN_CUDA_GROUP)
        return -EINVAL;
    return kc_result(
        KERN_CUDA_LAUNCH(norm_q8, dim3((unsigned)op->n_row), dim3(NORM_THREADS), 0, stream, pdl, *op));
}
