/* delta.cu - the DeltaNet mixer token by token: decode, drafts, and what is left of a prompt beside whole
 * chunks.
 *
 * One block is one value head of one span.  It holds M in registers for all its tokens, each thread two rows
 * by every eighth float4, so that memory sees M once each way in whole lines.  S k and S q are read in one
 * pass from the old M, by  q (e S + k u) = e (q S) + (q k) u,  u = beta (v - e (k S)); the L2 norms are
 * factors of these sums, so nothing waits for them. */
#include "delta.cuh"

#include "delta_rows.cuh"

/* Eight lanes share a row of M. */
enum { DELTA_LANES = 8 };

/* y = silu(convolution) of one channel, and its input joins the window.  Each thread comes to its own column
 * of both, which lie in shared memory because M has the registers.   w [4][n]   window [3][n] */
KERN_CUDA_FN float delta_conv(const float *w, float *window, int n, float u)
{
    const float w0 = window[0], w1 = window[n], w2 = window[2 * n];

    window[0] = w1;
    window[n] = w2;
    window[2 * n] = u;
    return delta_silu(fmaf(w[3 * n], u, fmaf(w[2 * n], w2, fmaf(w[n], w1, w[0] * w0))));
}

/* A token's k and q, raw, and what their L2 norms make of them: k is k rk, q is q rq. */
struct delta_keys {
    const float4 *k, *q;
    float rk, rq, kq; /* kq of the normed ones */
};

template <int D>
KERN_CUDA_FN struct delta_keys delta_keys_of(const float *mixed, int lane)
{
    const float4 *const q = reinterpret_cast<const float4 *>(mixed), *const k = q + D / 4;
    float kk = 0.0f, qq = 0.0f, kq = 0.0f;

#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const float4 kv = k[DELTA_LANES * c + lane], qv = q[DELTA_LANES * c + lane];
        kk = delta_dot(kv, kv, kk);
        qq = delta_dot(qv, qv, qq);
        kq = delta_dot(kv, qv, kq);
    }
    const float rk = delta_l2(kc_warp_sum<DELTA_LANES>(kk));
    const float rq = delta_l2(kc_warp_sum<DELTA_LANES>(qq)) / sqrtf((float)D);
    return delta_keys{k, q, rk, rq, kc_warp_sum<DELTA_LANES>(kq) * rk * rq};
}

/* M = e M + u k. */
template <int D>
KERN_CUDA_FN void delta_write(float4 (&m)[D / 32], const float4 *k, int lane, float decay, float u)
{
#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const float4 kv = k[DELTA_LANES * c + lane];
        m[c].x = fmaf(u, kv.x, decay * m[c].x);
        m[c].y = fmaf(u, kv.y, decay * m[c].y);
        m[c].z = fmaf(u, kv.z, decay * m[c].z);
        m[c].w = fmaf(u, kv.w, decay * m[c].w);
    }
}

/* One row of M: reads it, writes the token into it.  The same in its eight lanes. */
template <int D>
KERN_CUDA_FN float delta_row(float4 (&m)[D / 32], const struct delta_keys *keys, int lane, float decay,
                             float beta, float v)
{
    float by_k = 0.0f, by_q = 0.0f;

#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        by_k = delta_dot(m[c], keys->k[DELTA_LANES * c + lane], by_k);
        by_q = delta_dot(m[c], keys->q[DELTA_LANES * c + lane], by_q);
    }
    by_k = kc_warp_sum<DELTA_LANES>(by_k) * keys->rk;
    by_q = kc_warp_sum<DELTA_LANES>(by_q) * keys->rq;
    const float u = beta * (v - decay * by_k);
    delta_write<D>(m, keys->k, lane, decay, u * keys->rk);
    return fmaf(u, keys->kq, decay * by_q);
}

/* Spans' rows before their chunks, which are all of them where there are none; or those after. */
enum delta_when { DELTA_FIRST, DELTA_LAST };

enum { DELTA_ROWS = 4 }; /* of M a thread */

/* To and from registers: rows j, j + D / 4 .., each line of memory by eight lanes. */
template <int D>
KERN_CUDA_FN void delta_load(float4 (&m)[DELTA_ROWS][D / 32], const float *state, int j, int lane)
{
#pragma unroll
    for (int r = 0; r < DELTA_ROWS; r++)
#pragma unroll
        for (int c = 0; c < D / 32; c++)
            m[r][c] = reinterpret_cast<const float4 *>(state +
                                                       (j + r * D / DELTA_ROWS) * D)[DELTA_LANES * c + lane];
}

template <int D>
KERN_CUDA_FN void delta_store(float *state, const float4 (&m)[DELTA_ROWS][D / 32], int j, int lane)
{
#pragma unroll
    for (int r = 0; r < DELTA_ROWS; r++)
#pragma unroll
        for (int c = 0; c < D / 32; c++)
            reinterpret_cast<float4 *>(state + (j + r * D / DELTA_ROWS) * D)[DELTA_LANES * c + lane] =
                m[r][c];
}

/* All four rows of a thread.  o[i] for each; returns the warp's part of the sum of their squares. */
template <int D>
KERN_CUDA_FN float delta_token(float4 (&m)[DELTA_ROWS][D / 32], const float *mixed, const float *gate, int j,
                               int lane, float *o)
{
    const struct delta_keys keys = delta_keys_of<D>(mixed, lane);
    float square = 0.0f;

#pragma unroll
    for (int r = 0; r < DELTA_ROWS; r++) {
        const int i = j + r * D / DELTA_ROWS;
        const float read = delta_row<D>(m[r], &keys, lane, gate[0], gate[1], mixed[2 * D + i]);
        if (lane == 0)
            o[i] = read;
        square = fmaf(read, read, square);
    }
    square += __shfl_xor_sync(KC_ALL_LANES, square, 8);
    return square + __shfl_xor_sync(KC_ALL_LANES, square, 16);
}

/* Two blocks of 256 threads fit a multiprocessor: 128 KiB of M on their way to it.  Loops over channels stay
 * rolled: M takes half of the registers, and what they would hold in advance is what spills. */
template <int D>
__global__ static void __launch_bounds__(2 * D, D == 128 ? 2 : 4)
    delta_step(struct kern_cuda_delta op, enum delta_when part)
{
    enum { THREADS = 2 * D, WARPS = THREADS / KC_WARP };
    KERN_CUDA_SMEM(float, conv_w, 4 * 3 * D);
    KERN_CUDA_SMEM(float, window, 3 * 3 * D);
    KERN_CUDA_SMEM(int, column, 3 * D);  /* of each channel in a row of qkv */
    KERN_CUDA_SMEM(float, input, 3 * D); /* the next token's, on their way */
    KERN_CUDA_SMEM(float, z, D);
    KERN_CUDA_SMEM(float, mixed, 3 * D); /* q, k, v of the token after convolution */
    KERN_CUDA_SMEM(float, gate, 2);      /* decay, beta */
    KERN_CUDA_SMEM(float, o, D);
    KERN_CUDA_SMEM(float, squares, WARPS);
    const int tid = threadIdx.x, lane = tid % DELTA_LANES, j = tid / DELTA_LANES, h = blockIdx.x;
    const struct delta_rows rows = delta_rows_of(&op.step, blockIdx.y);
    const int t0 = part == DELTA_FIRST ? 0 : rows.chunk1, t1 = part == DELTA_FIRST ? rows.chunk0 : rows.n_tok;

    if (part == DELTA_LAST || t0 >= t1)
        kc_pdl_wait(); /* the chunks wrote this M */
    if (t0 >= t1)
        return;
    float *const state = delta_state<D>(&op, rows.slot, h);
    float4 m[DELTA_ROWS][D / 32];
    delta_load<D>(m, state, j, lane);
    const size_t n_ch = (size_t)(2 * op.n_kh + op.n_vh) * D;
#pragma unroll 1
    for (int i = tid; i < 3 * D; i += THREADS) {
        column[i] = delta_channel<D>(&op, h, i);
        const float *const w = op.conv_w + column[i];
        for (int tap = 0; tap < 4; tap++)
            conv_w[tap * 3 * D + i] = w[(size_t)tap * n_ch];
        for (int tap = 0; tap < 3; tap++)
            window[tap * 3 * D + i] = state[D * D + tap * 3 * D + i];
    }
    if (part == DELTA_FIRST)
        kc_pdl_wait();
    kc_pdl_launch();

    const float *const qkv = op.qkv + (size_t)rows.row0 * n_ch;
#pragma unroll 1
    for (int i = tid; i < 3 * D; i += THREADS)
        kc_cp_async_4(input + i, qkv + (size_t)t0 * n_ch + (size_t)column[i]);
    kc_cp_async_commit();
    kc_cp_async_wait<0>(); /* each thread reads what it has copied itself */
    for (int t = t0; t < t1; t++) {
        const size_t row = (size_t)(rows.row0 + t),
                     at = (row * (size_t)op.n_vh + (size_t)h) * D + (size_t)tid;
#pragma unroll 1
        for (int i = tid; i < 3 * D; i += THREADS) {
            mixed[i] = delta_conv(conv_w + i, window + i, 3 * D, input[i]);
            if (t + 1 < t1)
                kc_cp_async_4(input + i, qkv + (size_t)(t + 1) * n_ch + (size_t)column[i]);
        }
        if (tid < D)
            kc_cp_async_4(z + tid, op.z + at);
        kc_cp_async_commit();
        if (tid == THREADS - 1) {
            gate[0] = expf(delta_log_decay(&op, row, h));
            gate[1] = delta_beta(&op, row, h);
        }
        __syncthreads();
        const float square = delta_token<D>(m, mixed, gate, j, lane, o);
        if (tid % KC_WARP == 0)
            squares[tid / KC_WARP] = square;
        kc_cp_async_wait<0>();
        __syncthreads();
        if (tid < D) { /* whole warps, each a group of the result */
            float sum = 0.0f;
#pragma unroll
            for (int i = 0; i < WARPS; i++)
                sum += squares[i];
            const float scale = 1.0f / sqrtf(sum / (float)D + op.eps);
            delta_put(&op, at, o[tid] * scale * op.norm_w[tid] * delta_silu(z[tid]));
        }
    }

    delta_store<D>(state, m, j, lane);
#pragma unroll 1
    for (int i = tid; i < 3 * D; i += THREADS)
        for (int tap = 0; tap < 3; tap++)
            state[D * D + tap * 3 * D + i] = window[tap * 3 * D + i];
}

template <int D>
static int delta_launch(const struct kern_cuda_delta *op, const struct kern_batch *batch,
                        enum delta_when part, bool pdl, cudaStream_t stream)
{
    const dim3 grid((unsigned)op->n_vh, (unsigned)batch->n_span);

    return kc_result(KERN_CUDA_LAUNCH(delta_step<D>, grid, dim3(2 * D), 0, stream, pdl, *op, part));
}

static int delta_part(const struct kern_cuda_delta *op, const struct kern_batch *batch, enum delta_when part,
                      bool pdl, cudaStream_t stream)
{
    return op->d == 32   ? delta_launch<32>(op, batch, part, pdl, stream)
           : op->d == 64 ? delta_launch<64>(op, batch, part, pdl, stream)
                         : delta_launch<128>(op, batch, part, pdl, stream);
}

extern "C" int kern_cuda_delta_mix(const struct kern_cuda_delta *op, const struct kern_batch *batch, bool pdl,
                                   cudaStream_t stream)
{
    const struct kern_shape s = {.n_kh = op->n_kh, .n_vh = op->n_vh, .d_delta = op->d, .conv_k = op->conv_k};

    int n_first = 0, n_chunk = 0, n_last = 0, r = 0;

    if (!kern_cuda_delta_takes(&s) || batch->n_span < 1)
        return -EINVAL;
    for (int i = 0; i < batch->n_span; i++) {
        const struct kern_span *const span = &batch->spans[i];
        const struct delta_rows rows = delta_rows_cut(span->row0, span->n_tok, span->pos0, span->slot);
        n_first += rows.chunk0;
        n_chunk += (rows.chunk1 - rows.chunk0) / KERN_CUDA_CHUNK;
        n_last += rows.n_tok - rows.chunk1;
    }
    if (n_first)
        r = delta_part(op, batch, DELTA_FIRST, pdl, stream);
    if (n_chunk && r == 0)
        r = delta_chunk(op, batch, n_chunk, pdl, stream);
    if (n_last && r == 0)
        r = delta_part(op, batch, DELTA_LAST, pdl, stream);
    return r;
}
