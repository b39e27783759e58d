/* attn_rows.cu - before attention: q and k normed and rotated, k and v into their pages. */
#include "attn_rows.cuh"

#include "attn_kv.cuh"

enum { ROWS_WARPS = 8, ROWS_THREADS = ROWS_WARPS * KC_WARP };

/* cos and sin of pos * freq; |pos| < 2^24.  Double, Taylor series to r^18 after taking off the nearest n pi /
 * 2 in two parts, the first of 33 bits, so that n times it is exact: as kernels/cpu/rope.c, within 1e-12. */
KERN_CUDA_FN float2 rope_cos_sin(double freq, int pos)
{
    const double angle = pos * freq, turns = rint(angle * 0x1.45f306dc9c883p-1);
    const double r = angle - turns * 0x1.921fb544p+0 - turns * 0x1.0b4611a626331p-34, r2 = r * r;
    double c = 1, s = 1;

#pragma unroll
    for (int i = 18; i >= 2; i -= 2) {
        c = 1 - c * r2 * (1.0 / (i * (i - 1)));
        s = 1 - s * r2 * (1.0 / (i * (i + 1)));
    }
    s *= r;
    switch ((long long)turns & 3) {
    case 0:
        return make_float2((float)c, (float)s);
    case 1:
        return make_float2((float)-s, (float)c);
    case 2:
        return make_float2((float)-c, (float)-s);
    default:
        return make_float2((float)s, (float)-c);
    }
}

/* x = rms(x) * w, then rotated, in its warp's piece of shared memory and back. */
template <int D>
KERN_CUDA_FN void rows_norm_rope(float (&x)[D / 32], const float (&w)[D / 32], float eps, int n,
                                 const float2 *cos_sin, float *mine)
{
    const int lane = (int)threadIdx.x % KC_WARP;
    float sum = 0.0f;

#pragma unroll
    for (int c = 0; c < D / 32; c++)
        sum = fmaf(x[c], x[c], sum);
    const float scale = 1.0f / sqrtf(kc_warp_sum(sum) / (float)D + eps);
#pragma unroll
    for (int c = 0; c < D / 32; c++)
        mine[32 * c + lane] = x[c] * scale * w[c];
    __syncwarp();
#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const int i = 32 * c + lane;
        x[c] = mine[i];
        if (i < n)
            x[c] = x[c] * cos_sin[i].x - mine[i + n] * cos_sin[i].y;
        else if (i < 2 * n)
            x[c] = x[c] * cos_sin[i - n].x + mine[i - n] * cos_sin[i - n].y;
    }
}

/* A warp a head, all q, then all k, then all v of a row. */
template <int D, enum kern_kv_type T>
__global__ static void __launch_bounds__(ROWS_THREADS)
    rows_to_pages(struct kern_cuda_attn op, struct kern_cuda_rope rope)
{
    KERN_CUDA_SMEM(float, heads, ROWS_WARPS *D);
    KERN_CUDA_SMEM(float2, cos_sin, KERN_CUDA_ROT_MAX / 2);
    const int tid = (int)threadIdx.x, lane = tid % KC_WARP, row = (int)blockIdx.y;
    const int h = (int)blockIdx.x * ROWS_WARPS + tid / KC_WARP, kv = h - op.n_qh;
    const struct attn_row at = attn_row_of(&op.step, row);

    const bool there = at.span_tok > 0 && kv < 2 * op.n_kvh, is_q = kv < 0, is_v = kv >= op.n_kvh;
    float x[D / 32], w[D / 32];

#pragma unroll
    for (int c = 0; c < D / 32; c++)
        w[c] = there && !is_v ? (is_q ? op.q_norm : op.k_norm)[32 * c + lane] : 0.0f;
    const int page_id = there && !is_q ? at.pages[at.pos / KERN_PAGE_TOK] : 0;
    if (tid < rope.n_rot / 2)
        cos_sin[tid] = rope_cos_sin(rope.freq[tid], at.pos);
    __syncthreads();
    kc_pdl_wait();
    kc_pdl_launch();
    if (!there)
        return;

    const int kv_h = is_v ? kv - op.n_kvh : kv;
    const float *const from = is_q   ? op.q + ((size_t)row * (size_t)op.n_qh + (size_t)h) * (2 * D)
                              : is_v ? op.v + ((size_t)row * (size_t)op.n_kvh + (size_t)kv_h) * D
                                     : op.k + ((size_t)row * (size_t)op.n_kvh + (size_t)kv_h) * D;
#pragma unroll
    for (int c = 0; c < D / 32; c++)
        x[c] = from[32 * c + lane];
    if (!is_v)
        rows_norm_rope<D>(x, w, op.eps, rope.n_rot / 2, cos_sin, heads + tid / KC_WARP * D);
    if (is_q) {
        float *const q = static_cast<float *>(op.scratch) + ((size_t)row * (size_t)op.n_qh + (size_t)h) * D;
#pragma unroll
        for (int c = 0; c < D / 32; c++)
            q[32 * c + lane] = x[c] * (1.0f / sqrtf((float)D));
    } else {
        uint8_t *const page = kv_head<D, T>(&op, page_id, kv_h);
        kv_store<D, T>(page + (is_v ? kv_half_bytes<D, T>() : 0), at.pos % KERN_PAGE_TOK, x);
    }
}

template <int D, enum kern_kv_type T>
static int rows_launch(const struct kern_cuda_attn *op, int n_tok, const struct kern_cuda_rope *rope,
                       bool pdl, cudaStream_t stream)
{
    const dim3 grid((unsigned)CEIL_DIV(op->n_qh + 2 * op->n_kvh, (int)ROWS_WARPS), (unsigned)n_tok);

    return kc_result(
        KERN_CUDA_LAUNCH((rows_to_pages<D, T>), grid, dim3(ROWS_THREADS), 0, stream, pdl, *op, *rope));
}

int attn_rows(const struct kern_cuda_attn *op, int n_tok, const struct kern_cuda_rope *rope, bool pdl,
              cudaStream_t stream)
{
    ATTN_DISPATCH(rows_launch, op, op, n_tok, rope, pdl, stream);
}
