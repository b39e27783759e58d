/* act.cuh - int8 per 32 values, or f16, from f32, for the kernels whose results the next product reads. */
#pragma once

#include "act.h"
#include "dev.cuh"

/* What the largest magnitude of a group makes of it.  broken: a value is no number; such a group is NaN. */
KERN_CUDA_FN float act_step(float most, bool broken)
{
    return broken ? NAN : most / 127.0f;
}

/* 1 / d; a step below what f32 can invert says 0 throughout. */
KERN_CUDA_FN float act_per(float d)
{
    return d >= 0x1p-126f ? 1.0f / d : 0.0f;
}

KERN_CUDA_FN int act_code(float v, float per)
{
    return __float2int_rn(fminf(fmaxf(v * per, -127.0f), 127.0f));
}

/* A magnitude's bits are ordered as it is, with what is no number above all others: one maximum says both. */
KERN_CUDA_FN uint32_t act_bits(float v)
{
    return __float_as_uint(v) & 0x7fffffffu;
}

KERN_CUDA_FN bool act_broken(uint32_t most)
{
    return most >= 0x7f800000u;
}

/* One group by a whole warp, lane l has value l.  q and group are the group's own; NULL: not wanted. */
KERN_CUDA_FN void act_put_32(float v, int8_t *q, struct kern_cuda_group *group)
{
    const int lane = (int)threadIdx.x % KC_WARP;
    const uint32_t most = __reduce_max_sync(KC_ALL_LANES, act_bits(v));
    const bool broken = act_broken(most);
    const float d = act_step(__uint_as_float(most), broken), per = act_per(d);
    const int code = broken ? 0 : act_code(v, per), sum = __reduce_add_sync(KC_ALL_LANES, code);

    if (q)
        q[lane] = (int8_t)code;
    if (group && lane == 0) {
        group->d = d;
        group->dsum = d * (float)sum;
    }
}

/* This lane's part of a group that four lanes beside each other have, eight values each, all 32 lanes of the
 * warp together: its codes, their sum, and the group's step. */
KERN_CUDA_FN int act_codes_8(uint32_t (&words)[2], float &d, const float (&v)[8])
{
    uint32_t most = 0;
    int sum = 0;

#pragma unroll
    for (int i = 0; i < 8; i++)
        most = act_bits(v[i]) > most ? act_bits(v[i]) : most;
    most = kc_warp_max<4>(most);
    const bool broken = act_broken(most);
    d = act_step(__uint_as_float(most), broken);
    const float per = act_per(d);
    words[0] = words[1] = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int code = broken ? 0 : act_code(v[i], per);
        sum += code;
        words[i / 4] |= ((uint32_t)code & 0xffu) << 8 * (i % 4);
    }
    return sum;
}

/* One group by four lanes beside each other, all 32 lanes of the warp together: lane l has values 8 (l % 4)
 * and the next seven.  q is where these eight go; NULL: not wanted, which may differ between lanes.  group
 * likewise, of the first of the four. */
KERN_CUDA_FN void act_put_8(const float (&v)[8], uint2 *q, struct kern_cuda_group *group)
{
    uint32_t words[2];
    float d;
    const int sum = kc_warp_sum<4>(act_codes_8(words, d, v));

    if (q)
        *q = make_uint2(words[0], words[1]);
    if (group) {
        group->d = d;
        group->dsum = d * (float)sum;
    }
}

/* f16 rows hold this much of a value. */
#define ACT_HALF_UNIT 0x1p-4f
#define ACT_HALF_MOST 65504.0f

/* Where value i of a row lies: of each 16, four from 4 q on are what lane q of a quarter has of B's column,
 * the even ones in its first register, the odd ones in its second, as tile_half.cuh has A's. */
KERN_CUDA_FN size_t act_half_at(size_t i)
{
    return (i & ~(size_t)15) | i % 2 * 8 | i / 4 % 4 * 2 | i / 2 % 2;
}

KERN_CUDA_FN uint16_t act_half(float v)
{
    const float cut = fminf(fmaxf(v * ACT_HALF_UNIT, -ACT_HALF_MOST), ACT_HALF_MOST);

    return __half_as_ushort(__float2half_rn(cut + (v - v))); /* NaN for infinities as well */
}

/* Value i, a multiple of eight, and the next seven. */
KERN_CUDA_FN void act_put_half_8(uint16_t *h, size_t i, const float (&v)[8])
{
    uint2 *const to = reinterpret_cast<uint2 *>(h + act_half_at(i));
    uint32_t pair[4];

#pragma unroll
    for (int j = 0; j < 4; j++) { /* even ones of both fours, odd ones */
        const int first = j % 2 * 4 + j / 2;
        pair[j] = (uint32_t)act_half(v[first]) | (uint32_t)act_half(v[first + 2]) << 16;
    }
    to[0] = make_uint2(pair[0], pair[1]);
    to[2] = make_uint2(pair[2], pair[3]);
}

/* Group of 32 values of rows by a warp, in whatever forms are wanted: lane l has value l, which lies at `at`.
 */
KERN_CUDA_FN void act_put(const struct kern_cuda_act &act, size_t at, float v)
{
    if (act.f)
        act.f[at] = v;
    if (act.h)
        act.h[act_half_at(at)] = act_half(v);
    if (act.q)
        act_put_32(v, act.q + at / KERN_CUDA_GROUP * KERN_CUDA_GROUP, act.group + at / KERN_CUDA_GROUP);
}

/* Eight values to row positions from `at` on, in whatever forms are wanted; all lanes of the warp together,
 * which lie as for act_put_8(), with there false where a lane has none. */
KERN_CUDA_FN void act_put_row_8(const struct kern_cuda_act &act, size_t at, const float (&v)[8], bool there)
{
    if (there && act.f) {
        reinterpret_cast<float4 *>(act.f + at)[0] = make_float4(v[0], v[1], v[2], v[3]);
        reinterpret_cast<float4 *>(act.f + at)[1] = make_float4(v[4], v[5], v[6], v[7]);
    }
    if (there && act.h)
        act_put_half_8(act.h, at, v);
    if (act.q)
        act_put_8(v, there ? reinterpret_cast<uint2 *>(act.q + at) : nullptr,
                  there && at % KERN_CUDA_GROUP == 0 ? act.group + at / KERN_CUDA_GROUP : nullptr);
}
