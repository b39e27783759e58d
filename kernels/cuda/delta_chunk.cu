/* delta_chunk.cu - the DeltaNet mixer of whole chunks: 64 tokens of a head at a time (qwen35-math §4.3).
 *
 * With G the sum of log decays within the chunk and A_ts = beta_t (k_t k_s) e^(G_t - G_s) for s < t, what the
 * tokens of a chunk write is  V' = U - W M0,  (I + A) U = beta V,  (I + A) W = beta e^G K;  then
 *   O = e^G Q M0 + P V',  P_ts = (q_t k_s) e^(G_t - G_s) for s <= t
 *   M = e^(G_last) M0 + sum over s of e^(G_last - G_s) k_s V'_s
 * Four kernels: chunk_prepare and chunk_solve of all chunks at once, chunk_scan from chunk to chunk, each
 * block 32 value channels of a head, chunk_finish of all rows.  All of it in f32 on the ordinary units: 5.2 M
 * multiplications for a chunk of a 9B head, against 440 M of the layer's products for each of its 32 heads,
 * and no rounding of M, q or k beside that of f32. */
#include "delta_rows.cuh"
#include "step.cuh"

enum { CHUNK = KERN_CUDA_CHUNK, CHUNK_THREADS = 256, CHUNK_VALUES = 32 };

/* Rows in shared memory are 16 bytes longer than their values: eight rows beside each other begin in
 * different banks. */
enum { CHUNK_PAD = 4 };

/* Which chunk a block has: its first row in the step; row < 0: none. */
struct chunk_at {
    int row, slot;
    bool first; /* of its span: the rows before it are in the slot's window */
};

struct chunk_count {
    __host__ __device__ int of(const struct kern_cuda_span &s) const
    {
        const struct delta_rows r = delta_rows_cut(s.row0, s.n_tok, s.pos0, s.slot);

        return (r.chunk1 - r.chunk0) / CHUNK;
    }
};

KERN_CUDA_FN struct chunk_at chunk_of(const struct kern_cuda_step *step, int block)
{
    const int span = step_find(step, chunk_count{}, &block);

    if (span < 0)
        return chunk_at{-1, 0, false};
    const struct delta_rows r = delta_rows_of(step, (unsigned)span);
    return chunk_at{r.row0 + r.chunk0 + block * CHUNK, r.slot, block == 0};
}

/* The parts of scratch; see kern_cuda_delta_scratch_bytes(). */
struct chunk_scratch {
    float *mixed; /* [n_tok][n_ch] q, k, v after convolution and norms; then U, then O in place of v */
    float *w;     /* [n_tok][n_vh][D] */
    float *p;     /* [n_tok][n_vh][CHUNK] */
    float *decay; /* [n_tok][n_vh] G */
    float *beta;  /* [n_tok][n_vh] */
    size_t n_ch, n_vh;
};

template <int D>
static inline __host__ __device__ struct chunk_scratch chunk_scratch_of(const struct kern_cuda_delta *op,
                                                                        int n_tok)
{
    const size_t n = (size_t)n_tok, n_vh = (size_t)op->n_vh, n_ch = (2 * (size_t)op->n_kh + n_vh) * D;
    float *const w = op->scratch + n * n_ch, *const p = w + n * n_vh * D, *const decay = p + n * n_vh * CHUNK;

    return chunk_scratch{op->scratch, w, p, decay, decay + n * n_vh, n_ch, n_vh};
}

/* [CHUNK][D] of rows stride apart to rows of D + CHUNK_PAD, in the background. */
template <int D>
KERN_CUDA_FN void chunk_fetch(float *to, const float *from, size_t stride, int tid)
{
#pragma unroll
    for (int i0 = 0; i0 < CHUNK * D / 4; i0 += CHUNK_THREADS) {
        const int i = i0 + tid, row = i / (D / 4), at = i % (D / 4) * 4;
        kc_cp_async_16(to + row * (D + CHUNK_PAD) + at, from + (size_t)row * stride + (size_t)at);
    }
}

/* Convolution of one head of q, k or v over the chunk, and the L2 norms of q and k.  Two threads a channel,
 * each half of the tokens. */
template <int D>
__global__ static void __launch_bounds__(2 * D) chunk_prepare(struct kern_cuda_delta op, int n_tok)
{
    KERN_CUDA_SMEM(float, y, CHUNK *D);
    KERN_CUDA_SMEM(float, log_decay, CHUNK);
    const int tid = (int)threadIdx.x, i = tid % D, head = (int)blockIdx.y, lane = tid % KC_WARP;
    const struct chunk_at at = chunk_of(&op.step, (int)blockIdx.x);
    const struct chunk_scratch s = chunk_scratch_of<D>(&op, n_tok);
    float w[4], u[3];

#pragma unroll
    for (int j = 0; j < 4; j++)
        w[j] = op.conv_w[(size_t)j * s.n_ch + (size_t)(head * D + i)];
    kc_pdl_wait();
    kc_pdl_launch();
    if (at.row < 0)
        return;
    const bool is_v = head >= 2 * op.n_kh, is_q = head < op.n_kh;
    const int h = is_v ? head - 2 * op.n_kh : is_q ? head : head - op.n_kh; /* of whose copy of the window */
    const float *const window = delta_state<D>(&op, at.slot, h) + D * D + (is_v ? 2 * D : is_q ? 0 : D) + i;
    const float *const in = op.qkv + (size_t)at.row * s.n_ch + (size_t)(head * D + i);
    const int t0 = tid / D * (CHUNK / 2);
#pragma unroll
    for (int j = 0; j < 3; j++)
        u[j] = t0 == 0 && at.first ? window[j * 3 * D] : in[(ptrdiff_t)(t0 + j - 3) * (ptrdiff_t)s.n_ch];
    float rows[CHUNK / 2]; /* one wait for memory */
#pragma unroll
    for (int t = 0; t < CHUNK / 2; t++)
        rows[t] = in[(size_t)(t0 + t) * s.n_ch];
#pragma unroll
    for (int t = 0; t < CHUNK / 2; t++) {
        const float now = rows[t];
        y[(t0 + t) * D + i] = delta_silu(fmaf(w[3], now, fmaf(w[2], u[2], fmaf(w[1], u[1], w[0] * u[0]))));
        u[0] = u[1];
        u[1] = u[2];
        u[2] = now;
    }
    const size_t gate = (size_t)(at.row + tid) * (size_t)op.n_vh + (size_t)h;
    if (is_v && tid < CHUNK)
        log_decay[tid] = delta_log_decay(op.a[h], op.alpha[gate] + op.dt[h]);
    __syncthreads();

    float *const out = s.mixed + (size_t)at.row * s.n_ch + (size_t)(head * D);
    for (int t = tid / KC_WARP; t < CHUNK; t += 2 * D / KC_WARP) {
        float sum = 0.0f;
#pragma unroll
        for (int j = lane; j < D; j += KC_WARP)
            sum = fmaf(y[t * D + j], y[t * D + j], sum);
        const float norm = delta_l2(kc_warp_sum(sum)), scale = is_v   ? 1.0f
                                                               : is_q ? norm / sqrtf((float)D)
                                                                      : norm;
#pragma unroll
        for (int j = lane; j < D; j += KC_WARP)
            out[(size_t)t * s.n_ch + (size_t)j] = y[t * D + j] * scale;
    }
    if (is_v && tid < CHUNK) {
        float sum = 0.0f;
        for (int t = 0; t <= tid; t++)
            sum += log_decay[t];
        s.decay[gate] = sum;
        s.beta[gate] = delta_beta(op.beta[gate]);
    }
}

KERN_CUDA_FN float4 chunk_load(const float *p)
{
    return *reinterpret_cast<const float4 *>(p);
}

/* A to shared memory and P to scratch: products of k with k and of q with k, 4 x 4 a thread, less those that
 * are above the diagonal for every thread. */
template <int D>
KERN_CUDA_FN void chunk_products(float *a, float *p, size_t p_stride, const float *q, const float *k,
                                 const float *decay, const float *beta, int tid)
{
    const int t0 = tid / 16, s0 = tid % 16;
    float kk[4][4] = {}, qk[4][4] = {};

    for (int c = 0; c < D; c += 4) {
        float4 ks[4];
#pragma unroll
        for (int j = 0; j < 4; j++)
            ks[j] = chunk_load(k + (s0 + 16 * j) * (D + CHUNK_PAD) + c);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float4 kt = chunk_load(k + (t0 + 16 * i) * (D + CHUNK_PAD) + c);
            const float4 qt = chunk_load(q + (t0 + 16 * i) * (D + CHUNK_PAD) + c);
#pragma unroll
            for (int j = 0; j <= i; j++) {
                kk[i][j] = delta_dot(kt, ks[j], kk[i][j]);
                qk[i][j] = delta_dot(qt, ks[j], qk[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int t = t0 + 16 * i, s = s0 + 16 * j;
            const float worth = s <= t ? expf(decay[t] - decay[s]) : 0.0f; /* above it would overflow */
            a[t * (CHUNK + CHUNK_PAD) + s] = s < t ? beta[t] * kk[i][j] * worth : 0.0f;
            p[(size_t)t * p_stride + (size_t)s] = s <= t ? qk[i][j] * worth : 0.0f;
        }
}

/* x_t -= sum over s < t of A_ts x_s, from the first row on: one column, in registers.  Four sums beside each
 * other, as each waits for itself. */
KERN_CUDA_FN void chunk_substitute(float (&x)[CHUNK], const float *a)
{
#pragma unroll
    for (int t = 1; t < CHUNK; t++) {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (int s = 0; s < t; s += 4) { /* zeros from the diagonal on */
            const float4 v = chunk_load(a + t * (CHUNK + CHUNK_PAD) + s);
            sum.x = fmaf(v.x, x[s], sum.x);
            if (s + 1 < t)
                sum.y = fmaf(v.y, x[s + 1], sum.y);
            if (s + 2 < t)
                sum.z = fmaf(v.z, x[s + 2], sum.z);
            if (s + 3 < t)
                sum.w = fmaf(v.w, x[s + 3], sum.w);
        }
        x[t] -= sum.x + sum.y + (sum.z + sum.w);
    }
}

/* Blocks of chunk_solve that a multiprocessor has shared memory for; of heads of 128, which real models have.
 */
#define SOLVE_BLOCKS(D) ((D) == 128 && (KERN_CUDA_SM == 90 || KERN_CUDA_SM == 100) ? 2 : 1)

/* A and P of a chunk of a value head, then U in place of v, and W: a column a thread. */
template <int D>
__global__ static void __launch_bounds__(CHUNK_THREADS, SOLVE_BLOCKS(D))
    chunk_solve(struct kern_cuda_delta op, int n_tok)
{
    KERN_CUDA_SMEM_DYNAMIC(float, k); /* [CHUNK][D + CHUNK_PAD], then the same of q, then A */
    float *const q = k + CHUNK * (D + CHUNK_PAD), *const a = q + CHUNK * (D + CHUNK_PAD);
    float *const decay = a + CHUNK * (CHUNK + CHUNK_PAD), *const beta = decay + CHUNK;
    const int tid = (int)threadIdx.x, h = (int)blockIdx.y;
    const struct chunk_at at = chunk_of(&op.step, (int)blockIdx.x);
    const struct chunk_scratch s = chunk_scratch_of<D>(&op, n_tok);

    kc_pdl_wait();
    kc_pdl_launch();
    if (at.row < 0)
        return;
    float *const row = s.mixed + (size_t)at.row * s.n_ch;
    chunk_fetch<D>(q, row + h % op.n_kh * D, s.n_ch, tid);
    chunk_fetch<D>(k, row + (op.n_kh + h % op.n_kh) * D, s.n_ch, tid);
    kc_cp_async_commit();
    if (tid < CHUNK) {
        decay[tid] = s.decay[(size_t)(at.row + tid) * s.n_vh + (size_t)h];
        beta[tid] = s.beta[(size_t)(at.row + tid) * s.n_vh + (size_t)h];
    }
    kc_cp_async_wait<0>();
    __syncthreads();
    chunk_products<D>(a, s.p + ((size_t)at.row * s.n_vh + (size_t)h) * CHUNK, s.n_vh * CHUNK, q, k, decay,
                      beta, tid);
    __syncthreads();

    if (tid >= 2 * D)
        return;
    const bool is_w = tid >= D;
    const size_t stride = is_w ? s.n_vh * D : s.n_ch;
    float *const to = is_w ? s.w + ((size_t)at.row * s.n_vh + (size_t)h) * D + (tid - D)
                           : row + (2 * op.n_kh + h) * D + tid;
    float x[CHUNK];
    const float *from = to;
#pragma unroll
    for (int t = 0; t < CHUNK; t++, from += stride)
        x[t] = beta[t] * (is_w ? expf(decay[t]) * k[t * (D + CHUNK_PAD) + tid - D] : *from);
    __syncwarp(); /* no loads across: they would need the registers that x has */
    chunk_substitute(x, a);
    __syncwarp();
    float *out = to;
#pragma unroll
    for (int t = 0; t < CHUNK; t++, out += stride)
        *out = x[t];
}

/* Where chunk_scan keeps things: M and V' of its value channels, and two buffers for what a chunk brings, one
 * read while the other one fills. */
template <int D>
struct chunk_room {
    float m[CHUNK_VALUES][D + CHUNK_PAD];                  /* [value][key] */
    float writes[CHUNK_VALUES][CHUNK + CHUNK_PAD];         /* V' [value][token] */
    float decay[2][CHUNK];                                 /* of this chunk and of the next */
    float first[CHUNK * (MAX(D, (int)CHUNK) + CHUNK_PAD)]; /* W, then P */
    float second[CHUNK * (D + CHUNK_PAD)];                 /* Q, then K */
};

/* A thread's part of [CHUNK][CHUNK_VALUES]: tokens t0, t0 + 32, values j0, j0 + 8..: six loads for 32
 * multiplications, none of which meets a bank twice. */
enum {
    SCAN_TOKENS = 2,
    SCAN_VALUES = 4,
    SCAN_T = CHUNK / SCAN_TOKENS,
    SCAN_J = CHUNK_VALUES / SCAN_VALUES,
};
static_assert(SCAN_T * SCAN_J == CHUNK_THREADS, "each thread has a part, and all have all");

/* sums [token][value] += A B^T.   a [CHUNK][N]   b [CHUNK_VALUES][N], rows CHUNK_PAD longer */
template <int N>
KERN_CUDA_FN void scan_dot(float (&sums)[SCAN_TOKENS][SCAN_VALUES], const float *a, const float *b, int t0,
                           int j0)
{
#pragma unroll 4
    for (int c = 0; c < N; c += 4) {
        float4 v[SCAN_VALUES];
#pragma unroll
        for (int j = 0; j < SCAN_VALUES; j++)
            v[j] = chunk_load(b + (j0 + j * SCAN_J) * (N + CHUNK_PAD) + c);
#pragma unroll
        for (int i = 0; i < SCAN_TOKENS; i++) {
            const float4 u = chunk_load(a + (t0 + i * SCAN_T) * (N + CHUNK_PAD) + c);
#pragma unroll
            for (int j = 0; j < SCAN_VALUES; j++)
                sums[i][j] = delta_dot(u, v[j], sums[i][j]);
        }
    }
}

/* M = kept M + V' K, V' decayed to the chunk's end.  A thread has four keys of as many value channels
 * as there are, which share what it reads of K. */
template <int D>
KERN_CUDA_FN void scan_write(struct chunk_room<D> *room, float kept, int tid)
{
    enum { APART = CHUNK_THREADS / (D / 4), N = CHUNK_VALUES / APART };
    const int j0 = tid / (D / 4), c = tid % (D / 4) * 4;
    float4 sum[N];

#pragma unroll
    for (int j = 0; j < N; j++) {
        const float4 m = chunk_load(&room->m[j0 + j * APART][c]);
        sum[j] = make_float4(kept * m.x, kept * m.y, kept * m.z, kept * m.w);
    }
    for (int s = 0; s < CHUNK; s += 4) {
        float4 k[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            k[i] = chunk_load(room->second + (s + i) * (D + CHUNK_PAD) + c);
#pragma unroll
        for (int j = 0; j < N; j++) {
            const float4 v = chunk_load(&room->writes[j0 + j * APART][s]);
            sum[j].x = fmaf(v.w, k[3].x, fmaf(v.z, k[2].x, fmaf(v.y, k[1].x, fmaf(v.x, k[0].x, sum[j].x))));
            sum[j].y = fmaf(v.w, k[3].y, fmaf(v.z, k[2].y, fmaf(v.y, k[1].y, fmaf(v.x, k[0].y, sum[j].y))));
            sum[j].z = fmaf(v.w, k[3].z, fmaf(v.z, k[2].z, fmaf(v.y, k[1].z, fmaf(v.x, k[0].z, sum[j].z))));
            sum[j].w = fmaf(v.w, k[3].w, fmaf(v.z, k[2].w, fmaf(v.y, k[1].w, fmaf(v.x, k[0].w, sum[j].w))));
        }
    }
#pragma unroll
    for (int j = 0; j < N; j++)
        *reinterpret_cast<float4 *>(&room->m[j0 + j * APART][c]) = sum[j];
}

/* What a chunk's threads share of its rows. */
struct scan_chunk {
    float *v;                   /* U, then O, of the block's value channels [CHUNK][n_ch] */
    const float *q, *k;         /* [CHUNK][n_ch] */
    const float *w, *p, *decay; /* [CHUNK][n_vh][D], [CHUNK], [1] */
};

template <int D>
KERN_CUDA_FN struct scan_chunk scan_chunk_of(const struct kern_cuda_delta *op, const struct chunk_scratch *s,
                                             int row, int h, int slice)
{
    float *const mixed = s->mixed + (size_t)row * s->n_ch;
    const size_t at = (size_t)row * s->n_vh + (size_t)h;
    const int g = h % op->n_kh;

    return scan_chunk{mixed + (2 * op->n_kh + h) * D + slice * CHUNK_VALUES,
                      mixed + g * D,
                      mixed + (op->n_kh + g) * D,
                      s->w + at * D,
                      s->p + at * CHUNK,
                      s->decay + at};
}

/* One chunk.  W and Q are on their way; so are the next one's at the end, or two empty groups.  Each product
 * waits for what it reads alone, and what follows is fetched into what it has read.   now: its decay */
template <int D>
KERN_CUDA_FN void scan_chunk_run(struct chunk_room<D> *room, const struct chunk_scratch *s,
                                 const struct scan_chunk *at, const struct scan_chunk *next, bool more,
                                 int now, int tid)
{
    const int t0 = tid / SCAN_J, j0 = tid % SCAN_J;
    const float *const decay = room->decay[now];
    float write[SCAN_TOKENS][SCAN_VALUES], by_w[SCAN_TOKENS][SCAN_VALUES] = {},
                                           o[SCAN_TOKENS][SCAN_VALUES] = {};

#pragma unroll
    for (int i = 0; i < SCAN_TOKENS; i++)
#pragma unroll
        for (int j = 0; j < SCAN_VALUES; j++)
            write[i][j] = at->v[(size_t)(t0 + i * SCAN_T) * s->n_ch + (size_t)(j0 + j * SCAN_J)];
    const float next_decay = more && tid < CHUNK ? next->decay[(size_t)tid * s->n_vh] : 0.0f;
    kc_cp_async_wait<1>();
    __syncthreads();
    scan_dot<D>(by_w, room->first, room->m[0], t0, j0);
    __syncthreads();
    chunk_fetch<CHUNK>(room->first, at->p, s->n_vh * CHUNK, tid);
    kc_cp_async_commit();
#pragma unroll
    for (int i = 0; i < SCAN_TOKENS; i++)
#pragma unroll
        for (int j = 0; j < SCAN_VALUES; j++) {
            write[i][j] -= by_w[i][j];
            room->writes[j0 + j * SCAN_J][t0 + i * SCAN_T] = write[i][j];
        }
    kc_cp_async_wait<1>();
    __syncthreads();
    scan_dot<D>(o, room->second, room->m[0], t0, j0);
    __syncthreads();
    chunk_fetch<D>(room->second, at->k, s->n_ch, tid);
    kc_cp_async_commit();
#pragma unroll
    for (int i = 0; i < SCAN_TOKENS; i++) {
        const float worth = expf(decay[t0 + i * SCAN_T]);
#pragma unroll
        for (int j = 0; j < SCAN_VALUES; j++)
            o[i][j] *= worth;
    }
    kc_cp_async_wait<1>();
    __syncthreads();
    scan_dot<CHUNK>(o, room->first, room->writes[0], t0, j0);
    __syncthreads();
    if (more)
        chunk_fetch<D>(room->first, next->w, s->n_vh * D, tid);
    kc_cp_async_commit();
#pragma unroll
    for (int i = 0; i < SCAN_TOKENS; i++) {
        const int t = t0 + i * SCAN_T;
        const float worth = expf(decay[CHUNK - 1] - decay[t]);
#pragma unroll
        for (int j = 0; j < SCAN_VALUES; j++) {
            at->v[(size_t)t * s->n_ch + (size_t)(j0 + j * SCAN_J)] = o[i][j];
            room->writes[j0 + j * SCAN_J][t] = write[i][j] * worth;
        }
    }
    if (tid < CHUNK)
        room->decay[1 - now][tid] = next_decay;
    kc_cp_async_wait<1>();
    __syncthreads();
    scan_write<D>(room, expf(decay[CHUNK - 1]), tid);
    __syncthreads();
    if (more)
        chunk_fetch<D>(room->second, next->q, s->n_ch, tid);
    kc_cp_async_commit();
}

/* Chunk after chunk of a span: 32 value channels of a head a block. */
template <int D>
__global__ static void __launch_bounds__(CHUNK_THREADS, 1) chunk_scan(struct kern_cuda_delta op, int n_tok)
{
    KERN_CUDA_SMEM_DYNAMIC(struct chunk_room<D>, room);
    const int tid = (int)threadIdx.x, h = (int)blockIdx.x / (D / CHUNK_VALUES),
              slice = (int)blockIdx.x % (D / CHUNK_VALUES);
    const struct delta_rows rows = delta_rows_of(&op.step, blockIdx.y);
    const struct chunk_scratch s = chunk_scratch_of<D>(&op, n_tok);

    kc_pdl_wait();
    kc_pdl_launch();
    if (rows.chunk0 >= rows.chunk1)
        return;
    float *const state = delta_state<D>(&op, rows.slot, h), *const mine = state + slice * CHUNK_VALUES * D;
    struct scan_chunk at = scan_chunk_of<D>(&op, &s, rows.row0 + rows.chunk0, h, slice);
    chunk_fetch<D>(room->first, at.w, s.n_vh * D, tid);
    kc_cp_async_commit();
    chunk_fetch<D>(room->second, at.q, s.n_ch, tid);
    kc_cp_async_commit();
    for (int i = tid; i < CHUNK_VALUES * D; i += CHUNK_THREADS)
        room->m[i / D][i % D] = mine[i];
    if (tid < CHUNK)
        room->decay[0][tid] = at.decay[(size_t)tid * s.n_vh];
    for (int t = rows.chunk0, now = 0; t < rows.chunk1; t += CHUNK, now = 1 - now) {
        const struct scan_chunk next = scan_chunk_of<D>(&op, &s, rows.row0 + t + CHUNK, h, slice);
        scan_chunk_run<D>(room, &s, &at, &next, t + CHUNK < rows.chunk1, now, tid);
        at = next;
    }
    for (int i = tid; i < CHUNK_VALUES * D; i += CHUNK_THREADS)
        mine[i] = room->m[i / D][i % D];
    if (slice == 0)
        for (int i = tid; i < 3 * 3 * D; i += CHUNK_THREADS) {
            const size_t row = (size_t)(rows.row0 + rows.chunk1 - 3 + i / (3 * D));
            state[D * D + i] = op.qkv[row * s.n_ch + (size_t)delta_channel<D>(&op, h, i % (3 * D))];
        }
}

/* Gated norm of a row of a head, a warp each. */
template <int D>
__global__ static void __launch_bounds__(CHUNK_THREADS) chunk_finish(struct kern_cuda_delta op, int n_tok)
{
    enum { ROWS = CHUNK_THREADS / KC_WARP };
    const int tid = (int)threadIdx.x, lane = tid % KC_WARP, h = (int)blockIdx.y;
    const int block = (int)blockIdx.x / (CHUNK / ROWS),
              t = (int)blockIdx.x % (CHUNK / ROWS) * ROWS + tid / KC_WARP;
    const struct chunk_at at = chunk_of(&op.step, block);
    const struct chunk_scratch s = chunk_scratch_of<D>(&op, n_tok);

    kc_pdl_wait();
    kc_pdl_launch();
    if (at.row < 0)
        return;
    const size_t row = (size_t)(at.row + t), to = (row * s.n_vh + (size_t)h) * D + (size_t)lane;
    const float *const from = s.mixed + row * s.n_ch + (size_t)((2 * op.n_kh + h) * D + lane);
    float o[D / KC_WARP], z[D / KC_WARP], sum = 0.0f;
#pragma unroll
    for (int c = 0; c < D / KC_WARP; c++) {
        o[c] = from[c * KC_WARP];
        z[c] = op.z[to + (size_t)(c * KC_WARP)];
    }
#pragma unroll
    for (int c = 0; c < D / KC_WARP; c++)
        sum = fmaf(o[c], o[c], sum);
    const float scale = 1.0f / sqrtf(kc_warp_sum(sum) / (float)D + op.eps);
#pragma unroll
    for (int c = 0; c < D / KC_WARP; c++)
        delta_put(&op, to + (size_t)(c * KC_WARP),
                  o[c] * scale * op.norm_w[lane + c * KC_WARP] * delta_silu(z[c]));
}

template <int D>
static int chunk_launch(const struct kern_cuda_delta *op, const struct kern_batch *batch, int n_chunk,
                        bool pdl, cudaStream_t stream)
{
    const unsigned chunks = (unsigned)n_chunk, n_vh = (unsigned)op->n_vh, n_kh = (unsigned)op->n_kh;
    const size_t solve =
        (size_t)(2 * CHUNK * (D + CHUNK_PAD) + CHUNK * (CHUNK + CHUNK_PAD) + 2 * CHUNK) * sizeof(float);
    const cudaFuncAttribute shared = cudaFuncAttributeMaxDynamicSharedMemorySize;
    int r = kc_result(cudaFuncSetAttribute(chunk_solve<D>, shared, (int)solve));

    if (r == 0)
        r = kc_result(cudaFuncSetAttribute(chunk_scan<D>, shared, (int)sizeof(struct chunk_room<D>)));
    if (r == 0)
        r = kc_result(KERN_CUDA_LAUNCH(chunk_prepare<D>, dim3(chunks, 2 * n_kh + n_vh), dim3(2 * D), 0,
                                       stream, pdl, *op, batch->n_tok));
    if (r == 0)
        r = kc_result(KERN_CUDA_LAUNCH(chunk_solve<D>, dim3(chunks, n_vh), dim3(CHUNK_THREADS), solve, stream,
                                       pdl, *op, batch->n_tok));
    if (r == 0)
        r = kc_result(KERN_CUDA_LAUNCH(
            chunk_scan<D>, dim3(n_vh * (D / CHUNK_VALUES), (unsigned)batch->n_span), dim3(CHUNK_THREADS),
            sizeof(struct chunk_room<D>), stream, pdl, *op, batch->n_tok));
    if (r == 0)
        r = kc_result(KERN_CUDA_LAUNCH(chunk_finish<D>,
                                       dim3(chunks * (CHUNK / (CHUNK_THREADS / KC_WARP)), n_vh),
                                       dim3(CHUNK_THREADS), 0, stream, pdl, *op, batch->n_tok));
    return r;
}

int delta_chunk(const struct kern_cuda_delta *op, const struct kern_batch *batch, int n_chunk, bool pdl,
                cudaStream_t stream)
{
    return op->d == 32   ? chunk_launch<32>(op, batch, n_chunk, pdl, stream)
           : op->d == 64 ? chunk_launch<64>(op, batch, n_chunk, pdl, stream)
                         : chunk_launch<128>(op, batch, n_chunk, pdl, stream);
}
