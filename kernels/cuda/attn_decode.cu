/* attn_decode.cu - attention of few rows: a block is a part of one row's pages for the heads of one KV head.
 *
 * Into how many parts a row's pages go depends on its position alone, and a row meets no other one, so that
 * it has the same bits in any step.  Memory bound: keys and values are read once, 128 bits a lane, for up to
 * four query heads, and scores never leave the warp that has their keys.  Warps do not wait for each other
 * before the end of their part.  What the parts gave is put together by decode_combine.
 *
 * A short context is all latency, so what earlier steps wrote is on its way before the kernel in front has
 * ended (PDL): only keys of this step come from that one.  Each kernel of a mixer waits before it lets the
 * next one start, so none that wrote earlier can still be running; and what is read so early is read past
 * L1. */
#include "attn_rows.cuh"

#include "attn_kv.cuh"

enum {
    DECODE_KEYS = 8,                            /* a warp at a time */
    DECODE_WARPS = KERN_PAGE_TOK / DECODE_KEYS, /* so that a page costs one wait for memory */
    DECODE_THREADS = DECODE_WARPS * KC_WARP,
    DECODE_HEADS = 4, /* query heads a block; other ones of the KV head are another's */
    KEY_LANES = 8,    /* lanes that share a key of K */
    DECODE_GRID =
        1024, /* blocks, no more if each row has one: four turns of two on each of 132 multiprocessors */
    COMBINE_GROUPS = 8, /* of parts that are read side by side */
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
KERN_CUDA_FN float decode_score(const struct kv_raw<T> (&k)[2][D / 64], const float4 *q, int lane)
{
    float score[2 * DECODE_HEADS] = {};

#pragma unroll
    for (int c = 0; c < D / 64; c++) {
        float x[2][8];
        kv_values(x[0], k[0][c]);
        kv_values(x[1], k[1][c]);
#pragma unroll
        for (int h = 0; h < DECODE_HEADS; h++) {
            const float4 *const at = q + (h * (D / 64) + c) * 16 + lane % KEY_LANES;
            const float4 a = at[0], b = at[KEY_LANES];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float *const s = &score[i * DECODE_HEADS + h];
                *s = fmaf(a.x, x[i][0], fmaf(a.y, x[i][1], fmaf(a.z, x[i][2], fmaf(a.w, x[i][3], *s))));
                *s = fmaf(b.x, x[i][4], fmaf(b.y, x[i][5], fmaf(b.z, x[i][6], fmaf(b.w, x[i][7], *s))));
            }
        }
    }
    return decode_scatter(score, lane);
}

/* K of the eight keys from key on: lane l has 8 values from 64 c + l % 8 * 8 on of keys l / 8 and l / 8 + 4.
 */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void decode_load_keys(struct kv_raw<T> (&k)[2][D / 64], const uint8_t *page, int key)
{
    const int lane = (int)threadIdx.x % KC_WARP;

#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int c = 0; c < D / 64; c++)
            k[i][c] =
                kv_load<D>(page, key + 4 * i + lane / KEY_LANES, 64 * c + lane % KEY_LANES * 8, kv_raw<T>{});
}

/* V of these keys, on its way to the warp's piece of shared memory, where it lies as in a page of eight keys.
 * Not that of F32, which would not fit and is read from its page. */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void decode_fetch_values(uint8_t *to, const uint8_t *page, int key)
{
    enum { ROW = T == KERN_KV_F32 ? 0 : T == KERN_KV_F16 ? 2 * D : D, SCALES = D / 16 };
    const uint8_t *const v = page + kv_half_bytes<D, T>(), *const scales = v + KERN_PAGE_TOK * D;
    const int lane = (int)threadIdx.x % KC_WARP;

#pragma unroll
    for (int i = 0; i < DECODE_KEYS * ROW; i += 16 * KC_WARP)
        kc_cp_async_16(to + i + 16 * lane, v + key * ROW + i + 16 * lane);
    if (T == KERN_KV_Q8_0 && 16 * lane < DECODE_KEYS * SCALES)
        kc_cp_async_16(to + DECODE_KEYS * ROW + 16 * lane, scales + key * SCALES + 16 * lane);
    kc_cp_async_commit();
}

/* Values dim.. of the i-th of the eight keys, which begin at key of the page. */
template <int D>
KERN_CUDA_FN struct kv_raw<KERN_KV_F32> decode_value(const uint8_t *, const uint8_t *page, int key, int i,
                                                     int dim, struct kv_raw<KERN_KV_F32> tag) {
    return kv_load<D>(page + kv_half_bytes<D, KERN_KV_F32>(), key + i, dim, tag);
}

template <int D>
KERN_CUDA_FN struct kv_raw<KERN_KV_F16> decode_value(const uint8_t *mine, const uint8_t *, int, int i,
                                                     int dim, struct kv_raw<KERN_KV_F16>) {
    return {reinterpret_cast<const uint4 *>(mine)[(i * D + dim) / 8]};
}

template <int D>
KERN_CUDA_FN struct kv_raw<KERN_KV_Q8_0> decode_value(const uint8_t *mine, const uint8_t *, int, int i,
                                                      int dim, struct kv_raw<KERN_KV_Q8_0>) {
    const __half *const scales = reinterpret_cast<const __half *>(mine + DECODE_KEYS * D);

    return {reinterpret_cast<const uint2 *>(mine)[(i * D + dim) / 8], scales[(i * D + dim) / 32]};
}

/* What the warp's eight scores are worth beside what it has.   weights [head][8], then what older sums are
 * worth [head]: the warp's piece of shared memory */
template <int D>
KERN_CUDA_FN void decode_weigh(struct decode_warp<D> *w, float score, float *weights)
{
    const int lane = (int)threadIdx.x % KC_WARP, at = lane / 4 % 2 * 4 + lane / KEY_LANES;
    const float most = fmaxf(w->most, decode_head_max(score)), worth = expf(w->most - most);
    const float weight = expf(score - most);

    w->most = most;
    w->total = fmaf(w->total, worth, weight);
    weights[lane % 4 * DECODE_KEYS + at] = weight;
    if (lane < DECODE_HEADS)
        weights[DECODE_HEADS * DECODE_KEYS + lane] = worth;
}

/* The sums become worth less, and eight keys from key on join them, those before n_key.  What is not there
 * may be NaN, and NaN times no weight is NaN.   mine, page: V */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void decode_add(struct decode_warp<D> *w, const float *weights, const uint8_t *mine,
                             const uint8_t *page, int key, int n_key)
{
    enum { LANES = D / 8, AT_ONCE = KC_WARP / LANES };
    const int lane = (int)threadIdx.x % KC_WARP;

#pragma unroll
    for (int h = 0; h < DECODE_HEADS; h++)
#pragma unroll
        for (int e = 0; e < 8; e++)
            w->sums[h][e] *= weights[DECODE_HEADS * DECODE_KEYS + h];
#pragma unroll 2 /* sums and the next keys have the registers */
    for (int i0 = 0; i0 < DECODE_KEYS; i0 += AT_ONCE) {
        const int i = i0 + lane / LANES;
        const struct kv_raw<T> raw =
            key + i < n_key ? decode_value<D>(mine, page, key, i, lane % LANES * 8, kv_raw<T>{}) : kv_raw<T> {
        };
        float x[8];
        kv_values(x, raw);
#pragma unroll
        for (int h = 0; h < DECODE_HEADS; h++) {
            const float p = weights[h * DECODE_KEYS + i];
#pragma unroll
            for (int e = 0; e < 8; e++)
                w->sums[h][e] = fmaf(p, x[e], w->sums[h][e]);
        }
    }
}

/* q of the block's heads, so that eight lanes read 128 bytes in a row; zeros for heads that are not there. */
template <int D>
KERN_CUDA_FN void decode_take_q(float4 *q, const float4 *from, int n_head)
{
    const int i = (int)threadIdx.x; /* there are enough */

    if (i < DECODE_HEADS * D / 4)
        q[i / 16 * 16 + i % 2 * KEY_LANES + i / 2 % KEY_LANES] =
            i < n_head * D / 4 ? from[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

KERN_CUDA_FN float4 decode_fma(float a, float4 b, float4 sum)
{
    return make_float4(fmaf(a, b.x, sum.x), fmaf(a, b.y, sum.y), fmaf(a, b.z, sum.z), fmaf(a, b.w, sum.w));
}

/* The warps' results to one, in their order.   sums [warp][head][D / 4]   norms [warp][head] */
template <int D>
KERN_CUDA_FN void decode_merge(const float4 *sums, const float2 *norms, int n_head, struct decode_out out,
                               int part)
{
    const int i = (int)threadIdx.x, h = i / (D / 4);
    float most = -INFINITY, total = 0.0f;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);

    if (h >= n_head)
        return;
#pragma unroll
    for (int w = 0; w < DECODE_WARPS; w++)
        most = fmaxf(most, norms[w * DECODE_HEADS + h].x);
#pragma unroll
    for (int w = 0; w < DECODE_WARPS; w++) {
        const float2 n = norms[w * DECODE_HEADS + h];
        const float worth = n.x == -INFINITY && n.y == 0.0f ? 0.0f : expf(n.x - most); /* it had no key */
        total = fmaf(worth, n.y, total);
        sum = decode_fma(worth, sums[w * DECODE_HEADS * D / 4 + i], sum);
    }
    reinterpret_cast<float4 *>(out.sums)[(h * KERN_CUDA_SPLITS + part) * (D / 4) + i % (D / 4)] = sum;
    if (i % (D / 4) == 0)
        out.norms[h * KERN_CUDA_SPLITS + part] = make_float2(most, total);
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

/* Has the row work for decode?  None has one that the step does not have. */
KERN_CUDA_FN bool decode_takes(const struct attn_row *at, const struct attn_slice *slice)
{
    return at->span_tok > 0 && (at->span_tok <= KERN_CUDA_SHORT || slice->all);
}

/* Keys of a row that are in a part, from its page page0 on; 0: there is no such part. */
KERN_CUDA_FN int decode_part_keys(const struct attn_row *at, const struct attn_slice *slice, int part,
                                  int *ret_page0)
{
    const int each = decode_part_pages(at->pos), page0 = part * each;

    *ret_page0 = page0;
    return decode_takes(at, slice) ? MAX(MIN(at->pos + 1 - page0 * KERN_PAGE_TOK, each * KERN_PAGE_TOK), 0)
                                   : 0;
}

/* The keys key.. of each page of the part, eight at a time.  The first ones are on their way if early.
 *   k K   mine V and weights: the warp's pieces of shared memory */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void decode_pages(struct decode_warp<D> *w, struct kv_raw<T> (&k)[2][D / 64],
                               const struct kern_cuda_attn *op, const int32_t *pages, int n_key, int kv_h,
                               int key, bool early, const float4 *q, uint8_t *mine, float *weights)
{
    const int lane = (int)threadIdx.x % KC_WARP, at = lane / 4 % 2 * 4 + lane / KEY_LANES;
    const uint8_t *page = kv_head<D, T>(op, pages[0], kv_h);
    int next_id = n_key > KERN_PAGE_TOK ? pages[1] : 0;

    if (!early && key < n_key) {
        decode_load_keys<D, T>(k, page, key);
        decode_fetch_values<D, T>(mine, page, key);
    }
    for (; key < n_key; n_key -= KERN_PAGE_TOK) {
        const bool more = key + KERN_PAGE_TOK < n_key;
        const uint8_t *const next = kv_head<D, T>(op, next_id, kv_h);
        const float found = decode_score<D, T>(k, q, lane);

        if (more)
            decode_load_keys<D, T>(k, next, key);
        pages++;
        next_id = n_key > 2 * KERN_PAGE_TOK ? pages[1] : 0;
        decode_weigh(w, key + at < n_key ? found : -INFINITY, weights);
        kc_cp_async_wait<0>();
        __syncwarp();
        decode_add<D, T>(w, weights, mine, page, key, n_key);
        __syncwarp(); /* everybody has read values and weights */
        if (more)
            decode_fetch_values<D, T>(mine, next, key);
        page = next;
    }
}

/* Server cards since Hopper take two blocks a multiprocessor, 16 warps: 128 KiB of f16 K and V on their way
 * to it.  Others, and smaller types, are well fed by half of that, and Q8_0 has no registers to spare. */
#define DECODE_BLOCKS(T) ((T) == KERN_KV_F16 && (KERN_CUDA_SM == 90 || KERN_CUDA_SM == 100) ? 2 : 1)

template <int D, enum kern_kv_type T>
__global__ static void __launch_bounds__(DECODE_THREADS, DECODE_BLOCKS(T))
    decode_part(struct kern_cuda_attn op, struct attn_slice slice)
{
    KERN_CUDA_SMEM(float4, q, DECODE_HEADS * D / 4);
    KERN_CUDA_SMEM(float, sums, DECODE_WARPS *DECODE_HEADS *D); /* until then V of the warps' keys */
    KERN_CUDA_SMEM(float2, norms, DECODE_WARPS * DECODE_HEADS);
    KERN_CUDA_SMEM(float, weights, DECODE_WARPS *DECODE_HEADS *(DECODE_KEYS + 1));
    const int slice_row = (int)blockIdx.z, row = slice.row0 + slice_row;
    const int group = op.n_qh / op.n_kvh, blocks = CEIL_DIV(group, (int)DECODE_HEADS);
    const int kv_h = (int)blockIdx.y / blocks, h0 = (int)blockIdx.y % blocks * DECODE_HEADS;
    const int warp = (int)threadIdx.x / KC_WARP, n_head = MIN((int)DECODE_HEADS, group - h0);
    const int h = kv_h * group + h0, key = warp * DECODE_KEYS;
    const struct attn_row at = attn_row_of(&op.step, row);
    int part = (int)blockIdx.x, page0, n_key = decode_part_keys(&at, &slice, part, &page0);
    bool early = key < n_key && page0 * KERN_PAGE_TOK + key + DECODE_KEYS <= at.n_old;
    float *const mine = sums + warp * DECODE_HEADS * D;
    uint8_t *const values = reinterpret_cast<uint8_t *>(mine);
    struct kv_raw<T> k[2][D / 64];

    if (early) {
        const uint8_t *const page = kv_head<D, T>(&op, at.pages[page0], kv_h);
        decode_load_keys<D, T>(k, page, key);
        decode_fetch_values<D, T>(values, page, key);
    }
    kc_pdl_wait();
    kc_pdl_launch();
    if (n_key == 0)
        return;

    const size_t head = (size_t)row * (size_t)op.n_qh + (size_t)h;
    decode_take_q<D>(q, static_cast<const float4 *>(op.scratch) + head * (D / 4), n_head);
    __syncthreads();
    for (;;) {
        struct decode_warp<D> w = {
            - INFINITY, 0.0f, {}
        };
        decode_pages<D, T>(&w, k, &op, at.pages + page0, n_key, kv_h, key, early, q, values,
                           weights + warp * DECODE_HEADS * (DECODE_KEYS + 1));
        decode_put(&w, mine, norms + warp * DECODE_HEADS);
        __syncthreads();
        decode_merge<D>(reinterpret_cast<const float4 *>(sums), norms, n_head,
                        decode_out_of(&op, slice.n_tok, slice_row, h, D), part);
        part += (int)gridDim.x;
        n_key = decode_part_keys(&at, &slice, part, &page0);
        if (n_key == 0)
            return;
        early = false;
        __syncthreads(); /* everybody has read the sums */
    }
}

/* A block a head of a row; a thread four values of every eighth part, all requested at once, with their
 * norms: one wait for memory, however many parts.  Each warp weighs all parts, and all get the same. */
template <int D>
__global__ static void __launch_bounds__(COMBINE_GROUPS *D / 4)
    decode_combine(struct kern_cuda_attn op, struct attn_slice slice)
{
    enum { QUADS = D / 4, EACH = KERN_CUDA_SPLITS / COMBINE_GROUPS };
    KERN_CUDA_SMEM(float4, sums, COMBINE_GROUPS * QUADS);
    const int h = (int)blockIdx.x, slice_row = (int)blockIdx.y, row = slice.row0 + slice_row;
    const int tid = (int)threadIdx.x, lane = tid % KC_WARP, group = tid / QUADS;
    const struct attn_row at = attn_row_of(&op.step, row);
    const struct decode_out from = decode_out_of(&op, slice.n_tok, slice_row, h, D);
    const size_t head = (size_t)row * (size_t)op.n_qh + (size_t)h;
    const int n_part = decode_takes(&at, &slice) ? decode_parts(at.pos) : 0;
    /* of the product before decode_part, which has waited for it */
    const float gate = n_part && tid < D ? kc_ld_l2(op.q + head * (2 * D) + (size_t)(D + tid)) : 0.0f;

    kc_pdl_wait();
    kc_pdl_launch();
    if (n_part == 0)
        return;

    float4 part[EACH], sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float2 norm[2];
    float worth[2];
#pragma unroll
    for (int i = 0; i < 2; i++)
        norm[i] = lane + KC_WARP * i < n_part ? from.norms[lane + KC_WARP * i] : make_float2(-INFINITY, 0.0f);
#pragma unroll
    for (int i = 0; i < EACH; i++)
        part[i] = COMBINE_GROUPS * i + group < n_part
                      ? reinterpret_cast<const float4 *>(from.sums)[COMBINE_GROUPS * QUADS * i + tid]
                      : sum;
    const float most = kc_warp_max(fmaxf(norm[0].x, norm[1].x));
    worth[0] = expf(norm[0].x - most);
    worth[1] = expf(norm[1].x - most);
    const float total = kc_warp_sum(fmaf(worth[0], norm[0].y, worth[1] * norm[1].y));
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int p = COMBINE_GROUPS * i;
        sum = decode_fma(__shfl_sync(KC_ALL_LANES, worth[p / KC_WARP], p % KC_WARP + group), part[i], sum);
    }
    sums[tid] = sum;
    __syncthreads();
    if (tid >= D)
        return;
    float v = 0.0f;
#pragma unroll
    for (int g = 0; g < COMBINE_GROUPS; g++)
        v += reinterpret_cast<const float *>(sums)[g * D + tid];
    attn_put(&op, head * D + (size_t)tid, v / total, gate);
}

template <int D, enum kern_kv_type T>
static int decode_launch(const struct kern_cuda_attn *op, const struct attn_slice *slice, int pos, bool pdl,
                         cudaStream_t stream)
{
    const int group = op->n_qh / op->n_kvh;
    const int blocks = op->n_kvh * CEIL_DIV(group, (int)DECODE_HEADS);
    const int n_part = MIN(decode_parts(pos), CEIL_DIV((int)DECODE_GRID, blocks * slice->n_row));
    const dim3 parts((unsigned)n_part, (unsigned)blocks, (unsigned)slice->n_row);
    const dim3 heads((unsigned)op->n_qh, (unsigned)slice->n_row);
    int r;

    r = kc_result(
        KERN_CUDA_LAUNCH((decode_part<D, T>), parts, dim3(DECODE_THREADS), 0, stream, pdl, *op, *slice));
    if (r)
        return r;
    return kc_result(KERN_CUDA_LAUNCH((decode_combine<D>), heads, dim3(COMBINE_GROUPS * D / 4), 0, stream,
                                      pdl, *op, *slice));
}

int attn_decode(const struct kern_cuda_attn *op, const struct attn_slice *slice, int pos, bool pdl,
                cudaStream_t stream)
{
    ATTN_DISPATCH(decode_launch, op, op, slice, pos, pdl, stream);
}
