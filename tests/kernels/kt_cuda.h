/* kt_cuda.h - what the tests of the CUDA products share: rows of matrices as files have them, rows of f16. */
#pragma once

#include "kernels/cuda/tile.h"

#include "tests/emu/emu_test.h"

#include <string.h>

#include <vector>

static const enum quant_type kt_tiled[] = {QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1,   QUANT_Q8_0,
                                           QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K, QUANT_IQ4_NL, QUANT_IQ4_XS};
static const enum quant_type kt_floats[] = {QUANT_F32, QUANT_F16, QUANT_BF16};

static inline void kt_push_float(std::vector<uint8_t> *rows, enum quant_type type, float v)
{
    uint32_t bits = half_bits(v);
    size_t n = 4;

    if (type != QUANT_F32) {
        bits = type == QUANT_F16 ? half_from_float(v) : bits >> 16;
        n = 2;
    }
    for (size_t i = 0; i < n; i++)
        rows->push_back(uint8_t(bits >> 8 * i));
}

/* Random bits but for the f16 scales, which are small numbers; float types have values in -1..1. */
static inline std::vector<uint8_t> kt_file_rows(enum quant_type type, int n_out, int n_in, uint64_t seed)
{
    const struct quant_info *info = quant_find(type);
    const bool with_m = type == QUANT_Q4_K || type == QUANT_Q5_K || type == QUANT_Q4_1 || type == QUANT_Q5_1;
    std::vector<uint8_t> rows;

    for (int i = 0; i < n_out * n_in / info->n_block; i++) {
        const size_t at = rows.size(), d = at + (type == QUANT_Q6_K ? 208 : 0);
        if (info->n_block == 1) {
            kt_push_float(&rows, type, float(int32_t(emu_next(&seed))) * 0x1p-31f);
            continue;
        }
        for (int b = 0; b < info->n_bytes; b++)
            rows.push_back(uint8_t(emu_next(&seed)));
        const uint16_t h = half_from_float(float(emu_next(&seed) % 1000 + 1) * 1e-5f);
        memcpy(&rows[d], &h, 2);
        if (with_m)
            memcpy(&rows[d + 2], &h, 2);
    }
    return rows;
}

/* Rows as f16 products read them, what act.h says of it once more: x / 16, of each 16 values, four from 4 q
 * on at 2 q, 2 q + 8, 2 q + 1 and 2 q + 9. */
static inline uint16_t kt_half(float x)
{
    if (x - x != 0)
        return 0x7fff;
    if (x == 0)
        return 0; /* of either sign */
    return half_from_float(x > 1048064.0f ? 65504.0f : x < -1048064.0f ? -65504.0f : x / 16);
}

static inline std::vector<uint16_t> kt_halves(const std::vector<float> &x)
{
    static const int place[] = {0, 8, 1, 9};
    std::vector<uint16_t> h(x.size());

    for (size_t i = 0; i < x.size(); i++)
        h[i / 16 * 16 + size_t(i / 4 % 4 * 2) + size_t(place[i % 4])] = kt_half(x[i]);
    return h;
}
