/* norm.cu - RMS norm of the residual stream, quantised for the product that follows. */
#include "norm.cuh"

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

/* Four of a group's 32 values: eight lanes beside each other have the others. */
KERN_CUDA_FN void norm_put_group(float4 v, char4 *q, struct kern_cuda_group *group)
{
    const float most = kc_warp_max<8>(fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    const bool broken = kc_warp_sum<8>(v.x - v.x + (v.y - v.y) + (v.z - v.z) + (v.w - v.w)) != 0.0f;
    const __half d = __float2half_rn(broken ? NAN : most / 127.0f);
    const float step = __half2float(d), per = step > 0.0f ? 1.0f / step : 0.0f;
    char4 c = {0, 0, 0, 0};

    if (!broken) {
        c.x = (signed char)__float2int_rn(fminf(fmaxf(v.x * per, -127.0f), 127.0f));
        c.y = (signed char)__float2int_rn(fminf(fmaxf(v.y * per, -127.0f), 127.0f));
        c.z = (signed char)__float2int_rn(fminf(fmaxf(v.z * per, -127.0f), 127.0f));
        c.w = (signed char)__float2int_rn(fminf(fmaxf(v.w * per, -127.0f), 127.0f));
    }
    const int sum = kc_warp_sum<8>(c.x + c.y + c.z + c.w);
    if (q)
        *q = c;
    if (group) {
        group->d = __half_as_ushort(d);
        group->sum = (int16_t)sum;
    }
}

/* One block a row.  A row is 4..16 KiB and is read twice, the second time from cache. */
__global__ static void __launch_bounds__(NORM_THREADS) norm_q8(struct kern_cuda_norm op)
{
    const size_t row = blockIdx.x;
    const float4 *const x = reinterpret_cast<const float4 *>(op.x + row * (size_t)op.dim);
    const float4 *const w = reinterpret_cast<const float4 *>(op.w);
    char4 *const q = reinterpret_cast<char4 *>(op.q + row * (size_t)op.dim);
    struct kern_cuda_group *const group = op.group + row * (size_t)(op.dim / KERN_CUDA_GROUP);
    const int n = op.dim / 4, lane = threadIdx.x % KC_WARP, warp0 = (int)threadIdx.x - lane;
    float sum = 0.0f;

    kc_pdl_wait();
    for (int i = threadIdx.x; i < n; i += NORM_THREADS)
        sum = fmaf(x[i].x, x[i].x, fmaf(x[i].y, x[i].y, fmaf(x[i].z, x[i].z, fmaf(x[i].w, x[i].w, sum))));
    const float scale = 1.0f / sqrtf(norm_block_sum(sum) / (float)op.dim + op.eps);
    for (int i0 = warp0; i0 < n; i0 += NORM_THREADS) { /* the same for a warp: its lanes stay together */
        const int i = i0 + lane;
        float4 v = {0, 0, 0, 0};
        if (i < n)
            v = make_float4(x[i].x * scale * w[i].x, x[i].y * scale * w[i].y, x[i].z * scale * w[i].z,
                            x[i].w * scale * w[i].w);
        norm_put_group(v, i < n ? q + i : nullptr, i < n && i % 8 == 0 ? group + i / 8 : nullptr);
    }
    kc_pdl_launch();
}

extern "C" int kern_cuda_norm_q8(const struct kern_cuda_norm *op, bool pdl, cudaStream_t stream)
{
    if (op->n_row < 1 || op->dim < KERN_CUDA_GROUP || op->dim % KERN_CUDA_GROUP)
        return -EINVAL;
    return kc_result(
        KERN_CUDA_LAUNCH(norm_q8, dim3((unsigned)op->n_row), dim3(NORM_THREADS), 0, stream, pdl, *op));
}
