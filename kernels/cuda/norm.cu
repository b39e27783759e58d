/* norm.cu - RMS norm of the residual stream, quantised for the product that follows. */
#include "norm.cuh"

#include "act.cuh"

enum {
    NORM_THREADS = 1024,
    NORM_WARPS = NORM_THREADS / KC_WARP,
    NORM_MOST = KERN_CUDA_NORM_MAX / 4 / NORM_THREADS, /* times four values that a thread keeps */
};

/* Sum over the block in a fixed order; every thread gets it.  Called once by a kernel. */
KERN_CUDA_FN float norm_block_sum(float v)
{
    KERN_CUDA_SMEM(float, part, NORM_WARPS);
    const int lane = (int)threadIdx.x % KC_WARP;

    v = kc_warp_sum(v);
    if (lane == 0)
        part[threadIdx.x / KC_WARP] = v;
    __syncthreads();
    return kc_warp_sum(lane < (int)blockDim.x / KC_WARP ? part[lane] : 0.0f);
}

KERN_CUDA_FN float norm_square(const float4 &x, float sum)
{
    return fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, fmaf(x.w, x.w, sum))));
}

/* One block a row, which it keeps in registers: V times four values a thread.  For one row this is all
 * latency: the weights are on their way before the kernel in front has ended. */
template <int V>
__global__ static void __launch_bounds__(NORM_THREADS) norm_q8(struct kern_cuda_norm op)
{
    const size_t row = blockIdx.x, at = row * (size_t)op.dim;
    const float4 *const weights = reinterpret_cast<const float4 *>(op.w);
    const int n = op.dim / 4;
    float4 x[V], w[V];
    float sum = 0.0f;

#pragma unroll
    for (int j = 0; j < V; j++) {
        const int i = (int)(threadIdx.x + j * blockDim.x);
        w[j] = op.w && i < n ? weights[i] : make_float4(1.0f, 1.0f, 1.0f, 1.0f);
    }
    kc_pdl_wait();
    kc_pdl_launch();
    const size_t from = op.rows ? (size_t)op.rows[row] : row;
    const float4 *const src = reinterpret_cast<const float4 *>(op.x + from * (size_t)op.dim);
#pragma unroll
    for (int j = 0; j < V; j++) {
        const int i = (int)(threadIdx.x + j * blockDim.x);
        x[j] = i < n ? src[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        sum = norm_square(x[j], sum);
    }
    const float scale = op.w ? 1.0f / sqrtf(norm_block_sum(sum) / (float)op.dim + op.eps) : 1.0f;
#pragma unroll
    for (int j = 0; j < V; j++) {
        const int i = (int)(threadIdx.x + j * blockDim.x);
        const float4 v = make_float4(x[j].x * scale * w[j].x, x[j].y * scale * w[j].y,
                                     x[j].z * scale * w[j].z, x[j].w * scale * w[j].w);
        if (i < n && op.act.f)
            reinterpret_cast<float4 *>(op.act.f + at)[i] = v;
        if (i < n && op.act.h)
            act_put_half_4(op.act.h, at + 4 * (size_t)i, v);
        if (op.act.q)
            act_put_4(v, i < n ? reinterpret_cast<char4 *>(op.act.q + at) + i : nullptr,
                      i < n && i % 8 == 0 ? op.act.group + at / KERN_CUDA_GROUP + i / 8 : nullptr);
    }
}

extern "C" int kern_cuda_norm_q8(const struct kern_cuda_norm *op, bool pdl, cudaStream_t stream)
{
    const int n = op->dim / 4, n_warp = (n + KC_WARP - 1) / KC_WARP;
    const dim3 grid((unsigned)op->n_row),
        block((unsigned)(n_warp < NORM_WARPS ? n_warp * KC_WARP : NORM_THREADS));

    if (op->n_row < 1 || op->dim < KERN_CUDA_GROUP || op->dim % KERN_CUDA_GROUP ||
        op->dim > KERN_CUDA_NORM_MAX)
        return -EINVAL;
    if (n <= NORM_THREADS)
        return kc_result(KERN_CUDA_LAUNCH(norm_q8<1>, grid, block, 0, stream, pdl, *op));
    if (n <= 2 * NORM_THREADS)
        return kc_result(KERN_CUDA_LAUNCH(norm_q8<2>, grid, block, 0, stream, pdl, *op));
    return kc_result(KERN_CUDA_LAUNCH(norm_q8<NORM_MOST>, grid, block, 0, stream, pdl, *op));
}
