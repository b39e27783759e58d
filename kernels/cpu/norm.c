/* norm.c - RMS norm, quantisation of activations, SwiGLU.  Compiled once per instruction set; see vec.h. */
#include "isa_fn.h"

void ISA_FN(norm_rms)(float *out, const float *x, const float *w, int n, float eps)
{
    const vf scale = vf_set1(1.0f / sqrtf(norm_sum_squares(x, n) / (float)n + eps));
    int i = 0;

    for (; i + 16 <= n; i += 16)
        vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), scale), vf_load(w + i)));
    if (i < n)
        vf_store_n(out + i, vf_mul(vf_mul(vf_load_n(x + i, n - i), scale), vf_load_n(w + i, n - i)), n - i);
}

VEC int norm_sum16(const int8_t *q)
{
    int sum = 0;

    for (int i = 0; i < 16; i++)
        sum += q[i];
    return sum;
}

void ISA_FN(norm_act256)(uint8_t *tile, int row, const float *x, int n_in)
{
    struct act256 *a = (struct act256 *)tile + row;

    for (int b = 0; b < n_in / 256; b++, a += ACT_TILE) {
        a->d = norm_quantise(a->q, x + b * 256, 256);
        for (int g = 0; g < 16; g++)
            a->sum16[act_sum_place(g)] = (int16_t)norm_sum16(a->q + 16 * g);
        for (int g = 0; g < 8; g++)
            a->sum32[act_sum_place(g)] =
                (int16_t)(a->sum16[act_sum_place(2 * g)] + a->sum16[act_sum_place(2 * g + 1)]);
    }
}

void ISA_FN(norm_act32)(uint8_t *tile, int row, const float *x, int n_in)
{
    struct act32 *a = (struct act32 *)tile;

    for (int b = 0; b < n_in / 32; b++, a++) {
        a->d[row] = norm_quantise(a->q[row], x + b * 32, 32);
        a->sum[row] = norm_sum16(a->q[row]) + norm_sum16(a->q[row] + 16);
    }
}

void ISA_FN(norm_act_f32)(uint8_t *tile, int row, const float *x, int n_in)
{
    float *a = (float *)tile + row;

    for (int64_t k = 0; k < n_in; k++)
        a[k * ACT_TILE] = x[k];
}

void ISA_FN(norm_swiglu)(float *out, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i += 16) {
        const int left = n - i;
        if (left >= 16)
            vf_store(out + i, vf_mul(vf_silu(vf_load(gate + i)), vf_load(up + i)));
        else
            vf_store_n(out + i, vf_mul(vf_silu(vf_load_n(gate + i, left)), vf_load_n(up + i, left)), left);
    }
}

/* The bytes are no floats: maxima take any, and never need a slow path as sums do. */
float ISA_FN(norm_read)(const uint8_t *data, size_t bytes)
{
    vf most[4] = {vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f), vf_set1(0.0f)};
    size_t i = 0;

    for (; i + 256 <= bytes; i += 256)
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++)
            most[j] = vf_max(most[j], vf_load((const float *)(data + i + 64 * j)));
    for (; i < bytes; i += 64)
        most[0] = vf_max(most[0], vf_load((const float *)(data + i)));
    return vf_max_lane(vf_max(vf_max(most[0], most[1]), vf_max(most[2], most[3])));
}
