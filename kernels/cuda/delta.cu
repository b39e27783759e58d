/* delta.cu - the DeltaNet mixer token by token: decode, drafts, and what is left of a prompt beside whole
 * chunks.
 *
 * One block is one value head of one span.  It holds M in registers for all its tokens, each thread two rows
 * by every eighth float4, so that memory sees M once each way in whole lines.  S k and S q are read in one
 * pass from the old M, by  q (e S + k u) = e (q S) + (q k) u,  u = beta (v - e (k S)); the L2 norms are
 * factors of these sums, so nothing waits for them.
 *
 * A step of few rows is all latency.  M, windows and weights, which the kernel in front does not write, are
 * on their way before it has ended (PDL).  What remains is one wait for memory:
 * a thread asks for one value of the token, a channel of qkv or of z, one of them for its gates as well. */
#include "delta.cuh"

#include "delta_rows.cuh"

/* Eight lanes share a row of M. */
enum { DELTA_LANES = 8 };

/* Spans' rows before their chunks, which are all of them where there are none; or those after. */
enum delta_when { DELTA_FIRST, DELTA_LAST };

enum { DELTA_ROWS = 2 }; /* of M a thread */

/* To and from registers: rows j and j + D / 2, each line of memory by eight lanes. */
template <int D>
KERN_CUDA_FN void delta_load(float4 (&m)[DELTA_ROWS][D / 32], const float *state, int j, int lane)
{
#pragma unroll
    for (int r = 0; r < DELTA_ROWS; r++)
#pragma unroll
        for (int c = 0; c < D / 32; c++)
            m[r][c] = kc_ld_l2(reinterpret_cast<const float4 *>(state + (j + r * D / DELTA_ROWS) * D) +
                               DELTA_LANES * c + lane);
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

KERN_CUDA_FN float4 delta_axpy(float a, float4 x, float b, float4 y)
{
    return make_float4(fmaf(a, x.x, b * y.x), fmaf(a, x.y, b * y.y), fmaf(a, x.z, b * y.z),
                       fmaf(a, x.w, b * y.w));
}

/* A token: reads M, then M = decay M + u k.  The norms of k and q are summed beside their products with the
 * thread's rows.  o[i] for each row; returns the warp's part of the sum of their squares.
 *   mixed q, k, v   gates decay, beta */
template <int D>
KERN_CUDA_FN float delta_token(float4 (&m)[DELTA_ROWS][D / 32], const float *mixed, const float *gates, int j,
                               int lane, float *o)
{
    const float4 *const q = reinterpret_cast<const float4 *>(mixed) + lane, *const k = q + D / 4;
    const float decay = gates[0], beta = gates[1];
    float kk = 0.0f, qq = 0.0f, kq = 0.0f, by_k[DELTA_ROWS] = {}, by_q[DELTA_ROWS] = {}, square = 0.0f;

#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const float4 kv = k[DELTA_LANES * c], qv = q[DELTA_LANES * c];
        kk = delta_dot(kv, kv, kk);
        qq = delta_dot(qv, qv, qq);
        kq = delta_dot(kv, qv, kq);
#pragma unroll
        for (int r = 0; r < DELTA_ROWS; r++) {
            by_k[r] = delta_dot(m[r][c], kv, by_k[r]);
            by_q[r] = delta_dot(m[r][c], qv, by_q[r]);
        }
    }
    const float rk = delta_l2(kc_warp_sum<DELTA_LANES>(kk));
    const float rq = delta_l2(kc_warp_sum<DELTA_LANES>(qq)) / sqrtf((float)D);
    kq = kc_warp_sum<DELTA_LANES>(kq) * rk * rq;
#pragma unroll
    for (int r = 0; r < DELTA_ROWS; r++) {
        const int i = j + r * D / DELTA_ROWS;
        const float recalled = decay * (kc_warp_sum<DELTA_LANES>(by_k[r]) * rk);
        const float u = beta * (mixed[2 * D + i] - recalled);
        const float read = fmaf(u, kq, decay * (kc_warp_sum<DELTA_LANES>(by_q[r]) * rq));
        by_k[r] = u * rk;
        if (lane == 0)
            o[i] = read;
        square = fmaf(read, read, square);
    }
    __syncwarp(); /* k is read anew: there are no registers to keep it in */
#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const float4 kv = k[DELTA_LANES * c];
#pragma unroll
        for (int r = 0; r < DELTA_ROWS; r++)
            m[r][c] = delta_axpy(by_k[r], kv, decay, m[r][c]);
    }
    square += __shfl_xor_sync(KC_ALL_LANES, square, 8);
    return square + __shfl_xor_sync(KC_ALL_LANES, square, 16);
}

/* What a thread has of a head beside M, for itself alone, all in shared memory because M has the registers:
 * those below 3 D have a channel of the convolution each, those behind them a value of the result, the first
 * of these the gates. */
template <int D>
struct delta_head {
    float *state;                        /* of all: M, then the window */
    size_t at[4 * D];                    /* of the token's value in qkv or z */
    float w[4][3 * D], window[3][3 * D]; /* oldest first */
    float norm_w[D], a, dt;
    float input[2][4 * D], alpha[2], beta[2]; /* of a token and of the next one, on its way: qkv, then z */
};

/* Values of a row of qkv or z. */
template <int D>
KERN_CUDA_FN size_t delta_width(const struct kern_cuda_delta *op)
{
    return (size_t)((int)threadIdx.x < 3 * D ? 2 * op->n_kh + op->n_vh : op->n_vh) * D;
}

/* All that the kernel in front does not write.  row: the first token's. */
template <int D>
KERN_CUDA_FN void delta_fetch_head(struct delta_head<D> *head, const struct kern_cuda_delta *op, float *state,
                                   int h, int row)
{
    const int tid = (int)threadIdx.x, i = tid - 3 * D;
    const size_t column = (size_t)(i < 0 ? delta_channel<D>(op, h, tid) : h * D + i),
                 n_ch = delta_width<D>(op);

    head->at[tid] = (size_t)row * n_ch + column;
    if (tid == 0)
        head->state = state;
    if (i < 0) {
        for (int tap = 0; tap < 4; tap++)
            kc_cp_async_4(&head->w[tap][tid], op->conv_w + (size_t)tap * n_ch + column);
        for (int tap = 0; tap < 3; tap++)
            kc_cp_async_4(&head->window[tap][tid], state + D * D + tap * 3 * D + tid);
    } else {
        kc_cp_async_4(&head->norm_w[i], op->norm_w + i);
    }
    if (i == 0) {
        kc_cp_async_4(&head->a, op->a + h);
        kc_cp_async_4(&head->dt, op->dt + h);
    }
    kc_cp_async_commit();
}

template <int D>
KERN_CUDA_FN void delta_fetch_token(struct delta_head<D> *head, const struct kern_cuda_delta *op, size_t at,
                                    int to)
{
    const int tid = (int)threadIdx.x;

    kc_cp_async_4(&head->input[to][tid], (tid < 3 * D ? op->qkv : op->z) + at);
    if (tid == 3 * D) {
        kc_cp_async_4(&head->alpha[to], op->alpha + at / D);
        kc_cp_async_4(&head->beta[to], op->beta + at / D);
    }
    kc_cp_async_commit();
}

/* y = silu(convolution) of the thread's channel, and u joins its window. */
template <int D>
KERN_CUDA_FN float delta_conv(struct delta_head<D> *head, float u)
{
    const int i = (int)threadIdx.x;
    const float w0 = head->window[0][i], w1 = head->window[1][i], w2 = head->window[2][i];

    head->window[0][i] = w1;
    head->window[1][i] = w2;
    head->window[2][i] = u;
    return delta_silu(
        fmaf(head->w[3][i], u, fmaf(head->w[2][i], w2, fmaf(head->w[1][i], w1, head->w[0][i] * w0))));
}

/* A token's result i of the head, one a lane of whole warps.   squares [n]: the warps' parts of their sum */
template <int D, int N>
KERN_CUDA_FN void delta_finish(const struct kern_cuda_delta *op, size_t at, float o, const float *squares,
                               float norm_w, float z)
{
    float sum = 0.0f;

#pragma unroll
    for (int i = 0; i < N; i++)
        sum += squares[i];
    delta_put(op, at, o * (1.0f / sqrtf(sum / (float)D + op->eps)) * norm_w * delta_silu(z));
}

/* Two blocks of 512 threads fit a multiprocessor: 128 KiB of M on their way to it. */
template <int D>
__global__ static void __launch_bounds__(4 * D, D == 128 ? 2 : 4)
    delta_step(struct kern_cuda_delta op, enum delta_when part)
{
    enum { WARPS = 4 * D / KC_WARP };
    KERN_CUDA_SMEM(struct delta_head<D>, head, 1);
    KERN_CUDA_SMEM(float, mixed, 3 * D); /* q, k, v of the token after convolution */
    KERN_CUDA_SMEM(float, gates, 2);     /* decay, beta */
    KERN_CUDA_SMEM(float, o, D);
    KERN_CUDA_SMEM(float, squares, WARPS);
    const int tid = threadIdx.x, lane = tid % DELTA_LANES, j = tid / DELTA_LANES, h = blockIdx.x;
    const int i = tid - 3 * D; /* of the result */
    const struct delta_rows rows = delta_rows_of(&op.step, blockIdx.y);
    const int t0 = part == DELTA_FIRST ? 0 : rows.chunk1, t1 = part == DELTA_FIRST ? rows.chunk0 : rows.n_tok;

    if (part == DELTA_LAST || t0 >= t1)
        kc_pdl_wait(); /* the chunks wrote this M */
    if (t0 >= t1)
        return;
    float *const state = delta_state<D>(&op, rows.slot, h);
    float4 m[DELTA_ROWS][D / 32];
    delta_load<D>(m, state, j, lane);
    delta_fetch_head<D>(head, &op, state, h, rows.row0 + t0);
    if (part == DELTA_FIRST)
        kc_pdl_wait();
    kc_pdl_launch();

    delta_fetch_token<D>(head, &op, head->at[tid], (t1 - t0) & 1);
#pragma unroll 1 /* nothing may be kept over a token but M */
    for (int n = t1 - t0; n > 0; n--) {
        const int now = n & 1;
        kc_cp_async_wait<0>(); /* each thread reads what it has copied itself */
        if (n > 1)
            delta_fetch_token<D>(head, &op, head->at[tid] + delta_width<D>(&op), 1 - now);
        if (i < 0)
            mixed[tid] = delta_conv<D>(head, head->input[now][tid]);
        if (i == 0) {
            gates[0] = expf(delta_log_decay(head->a, head->alpha[now] + head->dt));
            gates[1] = delta_beta(head->beta[now]);
        }
        __syncthreads();
        const float square = delta_token<D>(m, mixed, gates, j, lane, o);
        if (tid % KC_WARP == 0)
            squares[tid / KC_WARP] = square;
        if (n == 1) /* on its way while the result is made */
            delta_store<D>(head->state, m, j, lane);
        __syncthreads();
        if (i >= 0)
            delta_finish<D, WARPS>(&op, head->at[tid], o[i], squares, head->norm_w[i], head->input[now][tid]);
        head->at[tid] += delta_width<D>(&op);
    }
    if (i < 0)
        for (int tap = 0; tap < 3; tap++)
            head->state[D * D + tap * 3 * D + tid] = head->window[tap][tid];
}

template <int D>
static int delta_launch(const struct kern_cuda_delta *op, const struct kern_batch *batch,
                        enum delta_when part, bool pdl, cudaStream_t stream)
{
    const dim3 grid((unsigned)op->n_vh, (unsigned)batch->n_span);

    return kc_result(KERN_CUDA_LAUNCH(delta_step<D>, grid, dim3(4 * D), 0, stream, pdl, *op, part));
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
