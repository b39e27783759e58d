/* attn_kv.cuh - what the attention kernels share: where a row is, pages, values of them. */
#pragma once

#include "act.cuh"
#include "attn.h"

/* A row of the step.  span_tok: rows of its span, 0 where the step has no such row.  n_old: keys that earlier
 * steps left. */
struct attn_row {
    int pos, span_tok, n_old;
    const int32_t *pages;
};

KERN_CUDA_FN struct attn_row attn_row_of(const struct kern_cuda_step *step, int row)
{
    if (row >= step->n[0])
        return attn_row{};
    const struct kern_cuda_span s = step->spans[step->row_span[row]];
    return attn_row{s.pos0 + row - s.row0, s.n_tok, s.pos0, step->pages + s.page0};
}

/* Bytes of K or of V of one head in a page. */
template <int D, enum kern_kv_type T>
static inline __host__ __device__ constexpr size_t kv_half_bytes(void)
{
    return KERN_PAGE_TOK * (T == KERN_KV_F32 ? 4 * D : T == KERN_KV_F16 ? 2 * D : D + D / 16);
}

/* K of a head in a page; V lies kv_half_bytes() behind it. */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN uint8_t *kv_head(const struct kern_cuda_attn *op, int page, int kv_head)
{
    return op->kv + ((size_t)page * (size_t)op->n_kvh + (size_t)kv_head) * (2 * kv_half_bytes<D, T>());
}

/* Eight values as they lie there, and as what they stand for. */
template <enum kern_kv_type T>
struct kv_raw;

template <>
struct kv_raw<KERN_KV_F32> {
    float4 a, b;
};

template <>
struct kv_raw<KERN_KV_F16> {
    uint4 a;
};

template <>
struct kv_raw<KERN_KV_Q8_0> {
    uint2 a;
    __half scale;
};

/* Values dim.. of a key, dim % 8 == 0; kv: K or V of the head.  From L2: a block reads a key once. */
template <int D>
KERN_CUDA_FN struct kv_raw<KERN_KV_F32> kv_load(const uint8_t *kv, int key, int dim,
                                                struct kv_raw<KERN_KV_F32>) {
    const float4 *const p = reinterpret_cast<const float4 *>(kv) + (key * D + dim) / 4;

    return {kc_ld_l2(p), kc_ld_l2(p + 1)};
}

template <int D>
KERN_CUDA_FN struct kv_raw<KERN_KV_F16> kv_load(const uint8_t *kv, int key, int dim,
                                                struct kv_raw<KERN_KV_F16>) {
    return {kc_ld_l2(reinterpret_cast<const uint4 *>(kv) + (key * D + dim) / 8)};
}

template <int D>
KERN_CUDA_FN struct kv_raw<KERN_KV_Q8_0> kv_load(const uint8_t *kv, int key, int dim,
                                                 struct kv_raw<KERN_KV_Q8_0>) {
    const uint16_t *const scales = reinterpret_cast<const uint16_t *>(kv + KERN_PAGE_TOK * D);

    return {kc_ld_l2(reinterpret_cast<const uint2 *>(kv) + (key * D + dim) / 8),
            __ushort_as_half(kc_ld_l2(scales + (key * D + dim) / 32))};
}

KERN_CUDA_FN void
kv_values(float (&x)[8], const struct kv_raw<KERN_KV_F32> &raw)
{
    x[0] = raw.a.x, x[1] = raw.a.y, x[2] = raw.a.z, x[3] = raw.a.w;
    x[4] = raw.b.x, x[5] = raw.b.y, x[6] = raw.b.z, x[7] = raw.b.w;
}

KERN_CUDA_FN void kv_values(float (&x)[8], const struct kv_raw<KERN_KV_F16> &raw)
{
    const uint32_t words[4] = {raw.a.x, raw.a.y, raw.a.z, raw.a.w};

#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = __half2float(__ushort_as_half((unsigned short)(words[i] & 0xffff)));
        x[2 * i + 1] = __half2float(__ushort_as_half((unsigned short)(words[i] >> 16)));
    }
}

KERN_CUDA_FN void kv_values(float (&x)[8], const struct kv_raw<KERN_KV_Q8_0> &raw)
{
    const float scale = __half2float(raw.scale);

#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = scale * (float)(int8_t)((i < 4 ? raw.a.x : raw.a.y) >> 8 * (i % 4));
}

/* F16 clamps to the largest finite value, so that a large value cannot turn a whole row into NaN; a NaN stays
 * one. */
KERN_CUDA_FN uint16_t kv_half(float x)
{
    return __half_as_ushort(__float2half_rn(x < -65504.0f ? -65504.0f : x > 65504.0f ? 65504.0f : x));
}

/* A warp stores the D values of a key; value 32 c + lane is x[c] of each lane. */
template <int D, enum kern_kv_type T>
KERN_CUDA_FN void kv_store(uint8_t *kv, int key, const float (&x)[D / 32])
{
    const int lane = (int)threadIdx.x % KC_WARP;

#pragma unroll
    for (int c = 0; c < D / 32; c++) {
        const int at = key * D + 32 * c + lane;
        if (T == KERN_KV_F32) {
            reinterpret_cast<float *>(kv)[at] = x[c];
        } else if (T == KERN_KV_F16) {
            reinterpret_cast<uint16_t *>(kv)[at] = kv_half(x[c]);
        } else { /* the definition's rounding: codes by 127 / most, the scale in f16 */
            const float most = kc_warp_max(fabsf(x[c]));
            const bool broken = __any_sync(KC_ALL_LANES, x[c] - x[c] != 0.0f);
            const float per = most > 0.0f ? 127.0f / most : 0.0f;
            const int code = __float2int_rn(fminf(fmaxf(x[c] * per, -127.0f), 127.0f));
            kv[at] = (uint8_t)(int8_t)code;
            if (lane == 0)
                reinterpret_cast<__half *>(kv + KERN_PAGE_TOK * D)[at / 32] =
                    __float2half_rn(broken ? NAN : most / 127.0f);
        }
    }
}

KERN_CUDA_FN float attn_gate(float gate)
{
    return 1.0f / (1.0f + expf(-gate));
}

/* The result at [row][head][i], one value a lane of a warp, times its gate. */
KERN_CUDA_FN void attn_put(const struct kern_cuda_attn *op, size_t at, float v, float gate)
{
    act_put(op->act, at, v * attn_gate(gate));
}
