/* attn_prefill.cu - attention of long spans: tiles of 64 rows by 32 keys on the tensor cores, f16 products
 * with f32 sums.
 *
 * Rows of a tile are the query heads of one KV head, token by token (row m: token m / group, head m % group),
 * so that keys are read once for all of them.  Eight warps, two to 16 rows: each of the two takes half of the
 * keys for the scores, of which the other one needs maxima and weights, and half of the values' dims for the
 * sums.  q stays in registers, keys and values come through two buffers of shared memory.  A row's arithmetic
 * depends on its position alone, so how a prompt was cut changes no bits while its pieces are long. */
#include "attn_rows.cuh"

#include "attn_kv.cuh"
#include "step.cuh"

enum { FA_ROWS = 64, FA_KEYS = 32, FA_WARPS = 8, FA_THREADS = FA_WARPS * KC_WARP };

/* The tile of a block: rows of one span, last ones first, since they have most keys. */
struct fa_tile {
    struct kern_cuda_span span;
    int t0, n_tok; /* tokens of the span; none: no tile for this block */
};

struct fa_count {
    int each; /* tokens of a tile */

    __host__ __device__ int of(const struct kern_cuda_span &s) const
    {
        return s.n_tok > KERN_CUDA_SHORT ? CEIL_DIV(s.n_tok, each) : 0;
    }
};

KERN_CUDA_FN struct fa_tile fa_tile_of(const struct kern_cuda_step *step, int group, int block)
{
    const struct fa_count count = {FA_ROWS / group};
    const int span = step_find(step, count, &block);

    if (span < 0)
        return fa_tile{};
    const struct kern_cuda_span s = step->spans[span];
    const int t0 = (count.of(s) - 1 - block) * count.each;
    return fa_tile{s, t0, MIN(count.each, s.n_tok - t0)};
}

KERN_CUDA_FN uint32_t fa_pack(float lo, float hi)
{
    const __half2 h = __floats2half2_rn(lo, hi);

    return (uint32_t)__half_as_ushort(__low2half(h)) | (uint32_t)__half_as_ushort(__high2half(h)) << 16;
}

/* 16 bytes of a key's row in a buffer; chunks of eight rows beside each other lie in different banks. */
template <int D>
KERN_CUDA_FN uint4 *fa_chunk(uint4 *buffer, int key, int chunk)
{
    return buffer + key * (D / 8) + (chunk ^ (key & 7));
}

/* K or V of 32 keys of a page to a buffer, as f16; those from n_key on are zeros, since no weight times NaN
 * is NaN.  F16 is on its way when this returns. */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void fa_fill(uint4 *buffer, const uint8_t *kv, int key0, int n_key)
{
    for (int i = (int)threadIdx.x; i < FA_KEYS * (D / 8); i += FA_THREADS) {
        const int key = i / (D / 8), chunk = i % (D / 8);
        uint4 *const to = fa_chunk<D>(buffer, key, chunk);
        if (T == KERN_KV_F16) {
            const uint4 *const from = reinterpret_cast<const uint4 *>(kv) + (key0 + key) * (D / 8) + chunk;
            kc_cp_async_16_or_zero(to, from, key < n_key);
        } else {
            float x[8] = {};
            if (key < n_key)
                kv_values(x, kv_load<D>(kv, key0 + key, chunk * 8, kv_raw<T>{}));
            *to = make_uint4(fa_pack(x[0], x[1]), fa_pack(x[2], x[3]), fa_pack(x[4], x[5]),
                             fa_pack(x[6], x[7]));
        }
    }
}

/* The lane's part of a warp's 16 rows: rows g and g + 8 of them. */
template <int D>
struct fa_rows {
    uint32_t q[D / 16][4];
    float sums[D / 16][4]; /* of this warp's half of the dims */
    float most[2], total[2];
    int pos[2];
};

/* Scores of the warp's 16 keys: two fragments of eight. */
template <int D>
KERN_CUDA_FN void fa_scores(float (&s)[2][4], const struct fa_rows<D> *r, uint4 *keys, int key0)
{
    const int lane = (int)threadIdx.x % KC_WARP, key = key0 + lane / 16 * 8 + lane % 8, odd = lane / 8 % 2;

#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t b[4];
        kc_ldmatrix_x4(b, fa_chunk<D>(keys, key, 2 * k + odd));
        const uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        kc_mma_f16(s[0], r->q[k], b0);
        kc_mma_f16(s[1], r->q[k], b1);
    }
}

/* sums += weights of 16 keys times their values, dims [chunk0 * 8, + D / 2). */
template <int D>
KERN_CUDA_FN void fa_values(struct fa_rows<D> *r, const uint32_t (&weights)[4], uint4 *values, int key0,
                            int chunk0)
{
    const int lane = (int)threadIdx.x % KC_WARP, key = key0 + lane % 16, odd = lane / 16;

#pragma unroll
    for (int n = 0; n < D / 32; n++) {
        uint32_t b[4];
        kc_ldmatrix_x4_trans(b, fa_chunk<D>(values, key, chunk0 + 2 * n + odd));
        const uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
        kc_mma_f16(r->sums[2 * n], weights, b0);
        kc_mma_f16(r->sums[2 * n + 1], weights, b1);
    }
}

/* Masks, then what the two warps of 16 rows tell each other: maxima first, weights later.
 *   maxima [2 warps][16 rows]   weights [2 warps][32 lanes]: of these rows, in shared memory */
struct fa_pair {
    int id, half; /* of the pair, for its barrier; which of the two */
    float *maxima;
    uint4 *weights;
};

template <int D>
KERN_CUDA_FN void fa_softmax(struct fa_rows<D> *r, float (&s)[2][4], int key0, const struct fa_pair *pair)
{
    const int lane = (int)threadIdx.x % KC_WARP, g = lane / 4, q = lane % 4;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        float most = -INFINITY;
#pragma unroll
        for (int e = 0; e < 4; e++) { /* fragment e / 2, column e % 2 */
            const int key = key0 + 8 * (e / 2) + 2 * q + e % 2;
            float *const at = &s[e / 2][2 * i + e % 2];
            *at = key > r->pos[i] ? -INFINITY : *at;
            most = fmaxf(most, *at);
        }
        most = fmaxf(most, __shfl_xor_sync(KC_ALL_LANES, most, 1));
        most = fmaxf(most, __shfl_xor_sync(KC_ALL_LANES, most, 2));
        if (q == 0)
            pair->maxima[pair->half * 16 + 8 * i + g] = most;
    }
    kc_bar_sync(pair->id, 2 * KC_WARP);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float tile = fmaxf(pair->maxima[8 * i + g], pair->maxima[16 + 8 * i + g]);
        const float most = fmaxf(r->most[i], tile), worth = expf(r->most[i] - most);
        r->most[i] = most;
        r->total[i] *= worth;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            float *const at = &s[e / 2][2 * i + e % 2];
            *at = expf(*at - most);
            r->total[i] += *at;
        }
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            r->sums[n][2 * i] *= worth;
            r->sums[n][2 * i + 1] *= worth;
        }
    }
}

/* One tile of keys. */
template <int D>
KERN_CUDA_FN void fa_step(struct fa_rows<D> *r, uint4 *keys, uint4 *values, int key0,
                          const struct fa_pair *pair)
{
    const int lane = (int)threadIdx.x % KC_WARP, mine = 16 * pair->half;
    float s[2][4] = {};

    fa_scores<D>(s, r, keys, mine);
    fa_softmax<D>(r, s, key0 + mine, pair);
    const uint32_t own[4] = {fa_pack(s[0][0], s[0][1]), fa_pack(s[0][2], s[0][3]), fa_pack(s[1][0], s[1][1]),
                             fa_pack(s[1][2], s[1][3])};
    pair->weights[pair->half * KC_WARP + lane] = make_uint4(own[0], own[1], own[2], own[3]);
    kc_bar_sync(pair->id, 2 * KC_WARP);
    const uint4 w0 = pair->weights[lane], w1 = pair->weights[KC_WARP + lane];
    const uint32_t first[4] = {w0.x, w0.y, w0.z, w0.w}, second[4] = {w1.x, w1.y, w1.z, w1.w};
    fa_values<D>(r, first, values, 0, pair->half * (D / 16));
    fa_values<D>(r, second, values, 16, pair->half * (D / 16));
}

/* Row m's head in q and in the result: [row][head], or -1 where the tile has no such row. */
KERN_CUDA_FN int fa_head(const struct kern_cuda_attn *op, const struct fa_tile *tile, int kv_h, int m)
{
    const int group = op->n_qh / op->n_kvh, t = m / group;

    if (t >= tile->n_tok || m >= FA_ROWS / group * group)
        return -1;
    return (tile->span.row0 + tile->t0 + t) * op->n_qh + kv_h * group + m % group;
}

template <int D>
KERN_CUDA_FN void fa_take_q(struct fa_rows<D> *r, const struct kern_cuda_attn *op, const struct fa_tile *tile,
                            int kv_h, int row0)
{
    const int lane = (int)threadIdx.x % KC_WARP, g = lane / 4, q = lane % 4;
    const float *const scratch = static_cast<const float *>(op->scratch);

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int m = row0 + g + 8 * i, head = fa_head(op, tile, kv_h, m);
        const float2 *const from = reinterpret_cast<const float2 *>(scratch + (size_t)MAX(head, 0) * D);
        r->pos[i] = tile->span.pos0 + tile->t0 + MIN(m / (op->n_qh / op->n_kvh), tile->n_tok - 1);
        r->most[i] = -INFINITY;
        r->total[i] = 0.0f;
#pragma unroll
        for (int k = 0; k < D / 16; k++)
#pragma unroll
            for (int hi = 0; hi < 2; hi++) {
                const float2 v = head < 0 ? make_float2(0.0f, 0.0f) : from[8 * k + q + 4 * hi];
                r->q[k][i + 2 * hi] = fa_pack(v.x, v.y);
            }
    }
#pragma unroll
    for (int n = 0; n < D / 16; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            r->sums[n][e] = 0.0f;
}

/* 32 dims of one row, eight of them in each of four lanes: two of each fragment.  All lanes of the warp come.
 */
KERN_CUDA_FN void fa_put_group(const struct kern_cuda_attn *op, const float2 (&v)[4], size_t at, bool there)
{
    const int q = (int)threadIdx.x % 4;
    float most = 0.0f, none = 0.0f;
    int sum = 0;

#pragma unroll
    for (int n = 0; n < 4; n++) {
        most = fmaxf(most, fmaxf(fabsf(v[n].x), fabsf(v[n].y)));
        none += (v[n].x - v[n].x) + (v[n].y - v[n].y);
        if (there && op->act.f)
            reinterpret_cast<float2 *>(op->act.f + at)[4 * n + q] = v[n];
        if (there && op->act.h) {
            const size_t i = at + (size_t)(8 * n + 2 * q);
            op->act.h[act_half_at(i)] = act_half(v[n].x);
            op->act.h[act_half_at(i + 1)] = act_half(v[n].y);
        }
    }
    if (!op->act.q)
        return;
    const bool broken = kc_warp_sum<4>(none) != 0.0f;
    const float d = act_step(kc_warp_max<4>(most), broken), per = act_per(d);
#pragma unroll
    for (int n = 0; n < 4; n++) {
        const int x = broken ? 0 : act_code(v[n].x, per), y = broken ? 0 : act_code(v[n].y, per);
        sum += x + y;
        if (there)
            reinterpret_cast<uint16_t *>(op->act.q + at)[4 * n + q] = (uint16_t)((x & 255) | (y & 255) << 8);
    }
    sum = kc_warp_sum<4>(sum);
    if (there && q == 0)
        op->act.group[at / KERN_CUDA_GROUP] = {d, d * (float)sum};
}

template <int D>
KERN_CUDA_FN void fa_put(const struct fa_rows<D> *r, const struct kern_cuda_attn *op,
                         const struct fa_tile *tile, int kv_h, int row0, int which)
{
    const int lane = (int)threadIdx.x % KC_WARP, g = lane / 4, q = lane % 4;

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int head = fa_head(op, tile, kv_h, row0 + g + 8 * i);
        const float per = 1.0f / r->total[i];
#pragma unroll
        for (int j = 0; j < D / 64; j++) {
            const size_t dim = (size_t)(which * (D / 2) + 32 * j), row = (size_t)MAX(head, 0);
            const float2 *const gates = reinterpret_cast<const float2 *>(op->q + row * (2 * D) + D + dim);
            float2 v[4];
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const float2 gate = gates[4 * n + q];
                v[n] = make_float2(r->sums[4 * j + n][2 * i] * per * attn_gate(gate.x),
                                   r->sums[4 * j + n][2 * i + 1] * per * attn_gate(gate.y));
            }
            fa_put_group(op, v, row * D + dim, head >= 0);
        }
    }
}

template <int D, enum kern_kv_type T>
__global__ static void __launch_bounds__(FA_THREADS, 1) fa_prefill(struct kern_cuda_attn op)
{
    enum { BUFFER = FA_KEYS * D / 8 };
    KERN_CUDA_SMEM_DYNAMIC(uint4, buffers); /* [2][K, V][FA_KEYS][D] f16, then what pairs share */
    uint4 *const weights = buffers + 4 * BUFFER;
    float *const maxima = reinterpret_cast<float *>(weights + FA_THREADS);
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP, kv_h = (int)blockIdx.y;
    const struct fa_tile tile = fa_tile_of(&op.step, op.n_qh / op.n_kvh, (int)blockIdx.x);
    const int n_key = tile.span.pos0 + tile.t0 + tile.n_tok, n_step = CEIL_DIV(n_key, (int)FA_KEYS);
    const int32_t *const pages = op.step.pages + tile.span.page0;
    const struct fa_pair pair = {1 + warp / 2, warp % 2, maxima + warp / 2 * 32,
                                 weights + warp / 2 * (2 * KC_WARP)};

    kc_pdl_wait();
    kc_pdl_launch();
    if (tile.n_tok == 0)
        return;
    struct fa_rows<D> r;
    fa_take_q<D>(&r, &op, &tile, kv_h, warp / 2 * 16);
    for (int i = 0; i <= n_step; i++) {
        if (i > 0) { /* what was filled one round ago */
            kc_cp_async_wait<0>();
            __syncthreads();
        }
        if (i < n_step) {
            const int key0 = i * FA_KEYS, in_page = key0 % KERN_PAGE_TOK;
            const uint8_t *const head = kv_head<D, T>(&op, pages[key0 / KERN_PAGE_TOK], kv_h);
            uint4 *const to = buffers + i % 2 * (2 * BUFFER);
            fa_fill<D, T>(to, head, in_page, n_key - key0);
            fa_fill<D, T>(to + BUFFER, head + kv_half_bytes<D, T>(), in_page, n_key - key0);
            kc_cp_async_commit();
        }
        if (i > 0) {
            uint4 *const from = buffers + (i - 1) % 2 * (2 * BUFFER);
            fa_step<D>(&r, from, from + BUFFER, (i - 1) * FA_KEYS, &pair);
        }
    }

#pragma unroll
    for (int i = 0; i < 2; i++) {
        r.total[i] += __shfl_xor_sync(KC_ALL_LANES, r.total[i], 1);
        r.total[i] += __shfl_xor_sync(KC_ALL_LANES, r.total[i], 2);
        if (lane % 4 == 0)
            pair.maxima[pair.half * 16 + 8 * i + lane / 4] = r.total[i];
    }
    kc_bar_sync(pair.id, 2 * KC_WARP);
#pragma unroll
    for (int i = 0; i < 2; i++)
        r.total[i] = pair.maxima[8 * i + lane / 4] + pair.maxima[16 + 8 * i + lane / 4];
    fa_put<D>(&r, &op, &tile, kv_h, warp / 2 * 16, pair.half);
}

template <int D, enum kern_kv_type T>
static int fa_launch(const struct kern_cuda_attn *op, int n_tile, bool pdl, cudaStream_t stream)
{
    const size_t smem =
        4 * FA_KEYS * D * sizeof(uint16_t) + FA_THREADS * sizeof(uint4) + 2 * FA_ROWS * sizeof(float);
    const int r = kc_result(
        cudaFuncSetAttribute(fa_prefill<D, T>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem));

    if (r)
        return r;
    return kc_result(KERN_CUDA_LAUNCH((fa_prefill<D, T>), dim3((unsigned)n_tile, (unsigned)op->n_kvh),
                                      dim3(FA_THREADS), smem, stream, pdl, *op));
}

bool attn_prefill_takes(const struct kern_cuda_attn *op)
{
    return op->kv_type != KERN_KV_F32 && op->n_qh / op->n_kvh <= FA_ROWS;
}

template <int D>
static int fa_launch_type(const struct kern_cuda_attn *op, int n_tile, bool pdl, cudaStream_t stream)
{
    return op->kv_type == KERN_KV_F16 ? fa_launch<D, KERN_KV_F16>(op, n_tile, pdl, stream)
                                      : fa_launch<D, KERN_KV_Q8_0>(op, n_tile, pdl, stream);
}

int attn_prefill(const struct kern_cuda_attn *op, const struct kern_batch *batch, bool pdl,
                 cudaStream_t stream)
{
    const int each = FA_ROWS / (op->n_qh / op->n_kvh);
    int n_tile = 0;

    for (int i = 0; i < batch->n_span; i++)
        if (batch->spans[i].n_tok > KERN_CUDA_SHORT)
            n_tile += CEIL_DIV(batch->spans[i].n_tok, each);
    if (n_tile == 0)
        return 0;
    return op->d == 64    ? fa_launch_type<64>(op, n_tile, pdl, stream)
           : op->d == 128 ? fa_launch_type<128>(op, n_tile, pdl, stream)
                          : fa_launch_type<256>(op, n_tile, pdl, stream);
}
