/* attn_decode.cu - attention of few rows: a block is a part of one row's pages for the heads of one KV head.
 *
 * Into how many parts a row's pages go depends on its position alone, and a row meets no other one, so that
 * it has the same bits in any step.  Memory bound: keys and values are read once, 128 bits a lane, for up to
 * four query heads, and scores never leave the warp that has their keys.  Warps do not wait for each other
 * before the end of their part.  What the parts gave is put together in order by decode_combine. */
#include "attn_rows.cuh"

#include "attn_kv.cuh"

enum {
    DECODE_WARPS = 4, /* with three blocks a multiprocessor: room for 48 bytes of keys a lane on their way */
    DECODE_THREADS = DECODE_WARPS * KC_WARP,
    DECODE_HEADS = 4, /* query heads a block; other ones of the KV head are another's */
    DECODE_KEYS = 8,  /* a warp at a time */
    KEY_LANES = 8,    /* lanes that share a key of K */
};

/* A row's pages in parts of equal length but for the last. */
static inline __host__ __device__ int decode_part_pages(int pos)
{
    return (pos / KERN_PAGE_TOK + KERN_CUDA_SPLITS) / KERN_CUDA_SPLITS;
}

static inline __host__ __device__ int decode_parts(int pos)
{
    const int each = decode_part_pages(pos);

    return (pos / KERN_PAGE_TOK + each) / each;
}

/* Where a part's results are in scratch: [row of the slice][head][part] of d sums, then of {most, total}. */
struct decode_out {
    float *sums;
    float2 *norms;
};

KERN_CUDA_FN struct decode_out decode_out_of(const struct kern_cuda_attn *op, int n_tok, int slice_row, int h,
                                             int d)
{
    float *const base = static_cast<float *>(op->scratch) + (size_t)n_tok * (size_t)op->n_qh * (size_t)d;
    const size_t at = ((size_t)slice_row * (size_t)op->n_qh + (size_t)h) * KERN_CUDA_SPLITS;
    const size_t n = (size_t)KERN_CUDA_SHORT * (size_t)op->n_qh * KERN_CUDA_SPLITS;

    return decode_out{base + at * (size_t)d, reinterpret_cast<float2 *>(base + n * (size_t)d) + at};
}

/* Eight values in each of eight lanes beside each other to one sum a lane: lane l gets that of v[l]. */
KERN_CUDA_FN float decode_scatter(const float (&v)[8], int lane)
{
    float a[4], b[2];

#pragma unroll
    for (int i = 0; i < 4; i++)
        a[i] = (lane & 4 ? v[i + 4] : v[i]) + __shfl_xor_sync(KC_ALL_LANES, lane & 4 ? v[i] : v[i + 4], 4);
#pragma unroll
    for (int i = 0; i < 2; i++)
        b[i] = (lane & 2 ? a[i + 2] : a[i]) + __shfl_xor_sync(KC_ALL_LANES, lane & 2 ? a[i] : a[i + 2], 2);
    return (lane & 1 ? b[1] : b[0]) + __shfl_xor_sync(KC_ALL_LANES, lane & 1 ? b[0] : b[1], 1);
}

/* Over the lanes of one head: they differ in the key. */
KERN_CUDA_FN float decode_head_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(KC_ALL_LANES, v, 4));
    v = fmaxf(v, __shfl_xor_sync(KC_ALL_LANES, v, 8));
    return fmaxf(v, __shfl_xor_sync(KC_ALL_LANES, v, 16));
}

KERN_CUDA_FN float decode_head_sum(float v)
{
    v += __shfl_xor_sync(KC_ALL_LANES, v, 4);
    v += __shfl_xor_sync(KC_ALL_LANES, v, 8);
    return v + __shfl_xor_sync(KC_ALL_LANES, v, 16);
}

/* What a warp has of its keys so far.  Lane l: score of head l % 4; sums of 8 values from dim on of each
 * head, over the keys that its lanes read. */
template <int D>
struct decode_warp {
    float most, total;
    float sums[DECODE_HEADS][8];
};

/* Score of head lane % 4 and key lane / 4 % 2 * 4 + lane / 8 of eight.   q [head][D / 64][2][8 lanes][4] */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN float decode_score(const struct kv_raw<T> (&raw)[2][D / 64], const float4 *q, int lane)
{
    float score[2 * DECODE_HEADS] = {};

#pragma unroll
    for (int c = 0; c < D / 64; c++) {
        float x[2][8];
        kv_values(x[0], raw[0][c]);
        kv_values(x[1], raw[1][c]);
#pragma unroll
        for (int h = 0; h < DECODE_HEADS; h++) {
            const float4 *const at = q + (h * (D / 64) + c) * 16 + lane % KEY_LANES;
            const float4 a = at[0], b = at[KEY_LANES];
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float *const s = &score[k * DECODE_HEADS + h];
                *s = fmaf(a.x, x[k][0], fmaf(a.y, x[k][1], fmaf(a.z, x[k][2], fmaf(a.w, x[k][3], *s))));
                *s = fmaf(b.x, x[k][4], fmaf(b.y, x[k][5], fmaf(b.z, x[k][6], fmaf(b.w, x[k][7], *s))));
            }
        }
    }
    return decode_scatter(score, lane);
}

/* Values dim.. of the keys i0.. of a warp's eight.  What is not there may be NaN, and NaN times no weight is
 * NaN. */
template <int D, enum kern_kv_type T, int N>
KERN_CUDA_FN void decode_values(struct kv_raw<T> (&v)[N], const uint8_t *page, int key, int n_key, int i0)
{
    enum { LANES = D / 8, AT_ONCE = KC_WARP / LANES };
    const int lane = (int)threadIdx.x % KC_WARP;

#pragma unroll
    for (int i = i0; i < i0 + N / 2; i++) {
        const int at = key + i * AT_ONCE + lane / LANES;
        v[i] = at < n_key ? kv_load<D>(page + kv_half_bytes<D, T>(), at, lane % LANES * 8, kv_raw<T>{})
                          : kv_raw<T>{};
    }
}

/* Eight keys from key on; those from n_key on are not there.   weights [head][8], then what older sums are
 * worth [head]: the warp's piece of shared memory */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void decode_keys(struct decode_warp<D> *w, const uint8_t *page, int key, int n_key,
                              const float4 *q, float *weights)
{
    enum { LANES = D / 8, AT_ONCE = KC_WARP / LANES, LOADS = DECODE_KEYS / AT_ONCE };
    const int lane = (int)threadIdx.x % KC_WARP, sub = lane / KEY_LANES;
    struct kv_raw<T> k[2][D / 64], v[LOADS];

#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int c = 0; c < D / 64; c++)
            k[i][c] = kv_load<D>(page, key + 4 * i + sub, 64 * c + lane % KEY_LANES * 8, kv_raw<T>{});
    decode_values<D, T>(v, page, key, n_key, 0);

    const int at = lane / 4 % 2 * 4 + sub;
    const float found = decode_score<D, T>(k, q, lane), score = key + at < n_key ? found : -INFINITY;
    const float most = fmaxf(w->most, decode_head_max(score)), worth = expf(w->most - most);
    const float weight = expf(score - most);
    w->most = most;
    w->total = fmaf(w->total, worth, weight);
    __syncwarp(); /* everybody has read the weights of the keys before */
    decode_values<D, T>(v, page, key, n_key, LOADS / 2); /* K's registers are free */
    weights[lane % 4 * DECODE_KEYS + at] = weight;
    if (lane < DECODE_HEADS)
        weights[DECODE_HEADS * DECODE_KEYS + lane] = worth;
    __syncwarp();
#pragma unroll
    for (int h = 0; h < DECODE_HEADS; h++)
#pragma unroll
        for (int e = 0; e < 8; e++)
            w->sums[h][e] *= weights[DECODE_HEADS * DECODE_KEYS + h];
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
        float x[8];
        kv_values(x, v[i]);
#pragma unroll
        for (int h = 0; h < DECODE_HEADS; h++) {
            const float p = weights[h * DECODE_KEYS + i * AT_ONCE + lane / LANES];
#pragma unroll
            for (int e = 0; e < 8; e++)
                w->sums[h][e] = fmaf(p, x[e], w->sums[h][e]);
        }
    }
}

/* q of the block's heads, so that eight lanes read 128 bytes in a row; zeros for heads that are not there. */
template <int D>
KERN_CUDA_FN void decode_take_q(float *q, const float *from, int n_head)
{
    for (int i = (int)threadIdx.x; i < DECODE_HEADS * D; i += DECODE_THREADS) {
        const int h = i / D, dim = i % D;
        q[h * D + dim / 64 * 64 + dim / 4 % 2 * 32 + dim / 8 % KEY_LANES * 4 + dim % 4] =
            h < n_head ? from[i] : 0.0f;
    }
}

/* The warps' results to one, in their order.   sums [warp][head][D]   norms [warp][head] */
template <int D>
KERN_CUDA_FN void decode_merge(const float *sums, const float2 *norms, int n_head, struct decode_out out,
                               int part)
{
    for (int i = (int)threadIdx.x; i < n_head * D; i += DECODE_THREADS) {
        const int h = i / D;
        float most = -INFINITY, total = 0.0f, sum = 0.0f;
#pragma unroll
        for (int w = 0; w < DECODE_WARPS; w++)
            most = fmaxf(most, norms[w * DECODE_HEADS + h].x);
#pragma unroll
        for (int w = 0; w < DECODE_WARPS; w++) {
            const float2 n = norms[w * DECODE_HEADS + h];
            const float worth = n.x == -INFINITY && n.y == 0.0f ? 0.0f : expf(n.x - most); /* it had no key */
            total = fmaf(worth, n.y, total);
            sum = fmaf(worth, sums[(w * DECODE_HEADS + h) * D + i % D], sum);
        }
        out.sums[((size_t)h * KERN_CUDA_SPLITS + (size_t)part) * D + (size_t)(i % D)] = sum;
        if (i % D == 0)
            out.norms[h * KERN_CUDA_SPLITS + part] = make_float2(most, total);
    }
}

/* The warp's sums, added up over its lanes of equal dims, to shared memory. */
template <int D>
KERN_CUDA_FN void decode_put(struct decode_warp<D> *w, float *sums, float2 *norms)
{
    enum { LANES = D / 8 };
    const int lane = (int)threadIdx.x % KC_WARP;
    const float total = decode_head_sum(w->total);

#pragma unroll
    for (int h = 0; h < DECODE_HEADS; h++) {
#pragma unroll
        for (int e = 0; e < 8; e++)
#pragma unroll
            for (int m = LANES; m < KC_WARP; m *= 2)
                w->sums[h][e] += __shfl_xor_sync(KC_ALL_LANES, w->sums[h][e], m);
        if (lane < LANES) {
            float4 *const to = reinterpret_cast<float4 *>(sums + h * D) + lane * 2;
            to[0] = make_float4(w->sums[h][0], w->sums[h][1], w->sums[h][2], w->sums[h][3]);
            to[1] = make_float4(w->sums[h][4], w->sums[h][5], w->sums[h][6], w->sums[h][7]);
        }
    }
    if (lane < DECODE_HEADS)
        norms[lane] = make_float2(w->most, total);
}

template <int D, enum kern_kv_type T>
__global__ static void __launch_bounds__(DECODE_THREADS, T == KERN_KV_F32 ? 1 : 3)
    decode_part(struct kern_cuda_attn op, struct attn_slice slice)
{
    KERN_CUDA_SMEM(float, q, DECODE_HEADS *D);
    KERN_CUDA_SMEM(float, sums, DECODE_WARPS *DECODE_HEADS *D);
    KERN_CUDA_SMEM(float2, norms, DECODE_WARPS * DECODE_HEADS);
    KERN_CUDA_SMEM(float, weights, DECODE_WARPS *DECODE_HEADS *(DECODE_KEYS + 1));
    const int part = (int)blockIdx.x, slice_row = (int)blockIdx.z, row = slice.row0 + slice_row;
    const int group = op.n_qh / op.n_kvh, blocks = CEIL_DIV(group, (int)DECODE_HEADS);
    const int kv_h = (int)blockIdx.y / blocks, h0 = (int)blockIdx.y % blocks * DECODE_HEADS;
    const int warp = (int)threadIdx.x / KC_WARP, n_head = MIN((int)DECODE_HEADS, group - h0);
    const struct attn_row at = attn_row_of(&op.step, row);
    const int each = decode_part_pages(at.pos), n_page = MIN(at.pos / KERN_PAGE_TOK + 1 - part * each, each);

    kc_pdl_wait();
    kc_pdl_launch();
    if (at.span_tok == 0 || (at.span_tok > KERN_CUDA_SHORT && !slice.all) || n_page <= 0)
        return;

    const int h = kv_h * group + h0;
    decode_take_q<D>(
        q, static_cast<const float *>(op.scratch) + ((size_t)row * (size_t)op.n_qh + (size_t)h) * D, n_head);
    __syncthreads();
    struct decode_warp<D> w = {
        - INFINITY, 0.0f, {}
    };
    int page = at.pages[part * each];
    for (int i = 0; i < n_page; i++) {
        const int n_key = MIN(at.pos + 1 - (part * each + i) * KERN_PAGE_TOK, (int)KERN_PAGE_TOK);
        const int next = i + 1 < n_page ? at.pages[part * each + i + 1] : 0;
        for (int key = warp * DECODE_KEYS; key < n_key; key += DECODE_WARPS * DECODE_KEYS)
            decode_keys<D, T>(&w, kv_head<D, T>(&op, page, kv_h), key, n_key,
                              reinterpret_cast<const float4 *>(q),
                              weights + warp * DECODE_HEADS * (DECODE_KEYS + 1));
        page = next;
    }
    decode_put(&w, sums + warp * DECODE_HEADS * D, norms + warp * DECODE_HEADS);
    __syncthreads();
    decode_merge<D>(sums, norms, n_head, decode_out_of(&op, slice.n_tok, slice_row, h, D), part);
}

/* A block a head of a row, a thread a value. */
template <int D>
__global__ static void __launch_bounds__(D) decode_combine(struct kern_cuda_attn op, struct attn_slice slice)
{
    const int h = (int)blockIdx.x, slice_row = (int)blockIdx.y, row = slice.row0 + slice_row;
    const int i = (int)threadIdx.x;
    const struct attn_row at = attn_row_of(&op.step, row);
    const struct decode_out from = decode_out_of(&op, slice.n_tok, slice_row, h, D);
    const size_t head = (size_t)row * (size_t)op.n_qh + (size_t)h;
    const int n_part = decode_parts(at.pos);
    float most = -INFINITY, total = 0.0f, sum = 0.0f;

    kc_pdl_wait();
    kc_pdl_launch();
    if (at.span_tok == 0 || (at.span_tok > KERN_CUDA_SHORT && !slice.all))
        return;
    for (int p = 0; p < n_part; p++)
        most = fmaxf(most, from.norms[p].x);
#pragma unroll 4
    for (int p = 0; p < n_part; p++) {
        const float worth = expf(from.norms[p].x - most);
        total = fmaf(worth, from.norms[p].y, total);
        sum = fmaf(worth, from.sums[(size_t)p * D + (size_t)i], sum);
    }
    attn_put(&op, head * D + (size_t)i, sum / total, op.q[head * (2 * D) + (size_t)(D + i)]);
}

template <int D, enum kern_kv_type T>
static int decode_launch(const struct kern_cuda_attn *op, const struct attn_slice *slice, int pos, bool pdl,
                         cudaStream_t stream)
{
    const int group = op->n_qh / op->n_kvh;
    const dim3 parts((unsigned)decode_parts(pos), (unsigned)(op->n_kvh * CEIL_DIV(group, (int)DECODE_HEADS)),
                     (unsigned)slice->n_row);
    const dim3 heads((unsigned)op->n_qh, (unsigned)slice->n_row);
    int r;

    r = kc_result(
        KERN_CUDA_LAUNCH((decode_part<D, T>), parts, dim3(DECODE_THREADS), 0, stream, pdl, *op, *slice));
    if (r)
        return r;
    return kc_result(KERN_CUDA_LAUNCH((decode_combine<D>), heads, dim3(D), 0, stream, pdl, *op, *slice));
}

int attn_decode(const struct kern_cuda_attn *op, const struct attn_slice *slice, int pos, bool pdl,
                cudaStream_t stream)
{
    ATTN_DISPATCH(decode_launch, op, op, slice, pos, pdl, stream);
}
