/* norm.cu - RMS norm of the residual stream, quantised for the product that follows. */
#include "norm.cuh"

#include "act.cuh"

enum { NORM_MOST = KERN_CUDA_NORM_MAX / NORM_EACH / NORM_THREADS }; /* times eight values of a thread */

/* Sum over the block in a fixed order; every thread gets it.  Called once by a kernel. */
KERN_CUDA_FN float norm_block_sum(float v)
{
    KERN_CUDA_SMEM(float, part, NORM_WARPS);

    v = kc_warp_sum(v);
    if (threadIdx.x % KC_WARP == 0)
        part[threadIdx.x / KC_WARP] = v;
    __syncthreads();
    return norm_part_sum(part, (int)blockDim.x / KC_WARP);
}

/* One block a row, which it keeps in registers: V times eight values a thread.  For one row this is all
 * latency: the weights are on their way before the kernel in front has ended, and values beside each other in
 * a thread leave little to be shuffled, of which a multiprocessor does one warp's a clock. */
template <int V>
__global__ static void __launch_bounds__(NORM_THREADS) norm_q8(struct kern_cuda_norm op)
{
    const size_t row = blockIdx.x;
    const int n = op.dim / NORM_EACH;
    float x[V][NORM_EACH], w[V][NORM_EACH], sum = 0.0f;

#pragma unroll
    for (int j = 0; j < V; j++)
        norm_load(w[j], op.w, (int)(threadIdx.x + j * blockDim.x), n, 1.0f);
    kc_pdl_wait();
    kc_pdl_launch();
    const float *const src = op.x + (op.rows ? (size_t)op.rows[row] : row) * (size_t)op.dim;
#pragma unroll
    for (int j = 0; j < V; j++)
        norm_load(x[j], src, (int)(threadIdx.x + j * blockDim.x), n, 0.0f);
#pragma unroll
    for (int j = 0; j < V; j++)
        sum = norm_squares(x[j], sum);
    const float scale = op.w ? norm_scale(norm_block_sum(sum), op.dim, op.eps) : 1.0f;
#pragma unroll
    for (int j = 0; j < V; j++) {
        const int i = (int)(threadIdx.x + j * blockDim.x);
#pragma unroll
        for (int e = 0; e < NORM_EACH; e++)
            x[j][e] = x[j][e] * scale * w[j][e];
        act_put_row_8(op.act, row * (size_t)op.dim + NORM_EACH * (size_t)i, x[j], i < n);
    }
}

extern "C" int kern_cuda_norm_q8(const struct kern_cuda_norm *op, bool pdl, cudaStream_t stream)
{
    const int n = op->dim / NORM_EACH, n_warp = (n + KC_WARP - 1) / KC_WARP;
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
