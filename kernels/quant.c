/* quant.c - names, sizes and values of the weight types.  See quant.h; the packed formats are taken apart in
 * blocks.c. */
#include "quant.h"

#include <string.h>

#include "blocks.h"
#include "half.h"

/* Indexed by the number in the file.  Numbers without a name were never used or are withdrawn (4, 5, 31-33,
 * 36-38). Sizes of types that are not loadable serve to name a tensor's extent in a refusal. */
static const struct quant_info quant_table[] = {
    [QUANT_F32] = {"F32", 1, 4, true},
    [QUANT_F16] = {"F16", 1, 2, true},
    [QUANT_Q4_0] = {"Q4_0", 32, 18, true},
    [QUANT_Q4_1] = {"Q4_1", 32, 20, true},
    [QUANT_Q5_0] = {"Q5_0", 32, 22, true},
    [QUANT_Q5_1] = {"Q5_1", 32, 24, true},
    [QUANT_Q8_0] = {"Q8_0", 32, 34, true},
    [9] = {"Q8_1", 32, 36, false},
    [10] = {"Q2_K", 256, 84, false},
    [11] = {"Q3_K", 256, 110, false},
    [QUANT_Q4_K] = {"Q4_K", 256, 144, true},
    [QUANT_Q5_K] = {"Q5_K", 256, 176, true},
    [QUANT_Q6_K] = {"Q6_K", 256, 210, true},
    [15] = {"Q8_K", 256, 292, false},
    [16] = {"IQ2_XXS", 256, 66, false},
    [17] = {"IQ2_XS", 256, 74, false},
    [18] = {"IQ3_XXS", 256, 98, false},
    [19] = {"IQ1_S", 256, 50, false},
    [QUANT_IQ4_NL] = {"IQ4_NL", 32, 18, true},
    [21] = {"IQ3_S", 256, 110, false},
    [22] = {"IQ2_S", 256, 82, false},
    [QUANT_IQ4_XS] = {"IQ4_XS", 256, 136, true},
    [24] = {"I8", 1, 1, false},
    [25] = {"I16", 1, 2, false},
    [26] = {"I32", 1, 4, false},
    [27] = {"I64", 1, 8, false},
    [28] = {"F64", 1, 8, false},
    [29] = {"IQ1_M", 256, 56, false},
    [QUANT_BF16] = {"BF16", 1, 2, true},
    [34] = {"TQ1_0", 256, 54, false},
    [35] = {"TQ2_0", 256, 66, false},
    [39] = {"MXFP4", 32, 17, false},
    [40] = {"NVFP4", 64, 36, false},
};

const struct quant_info *quant_find(uint32_t gguf_type)
{
    if (gguf_type >= ARRAY_SIZE(quant_table) || !quant_table[gguf_type].name)
        return NULL;
    return &quant_table[gguf_type];
}

int quant_find_by_name(const char *name, enum quant_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(quant_table); i++) {
        if (quant_table[i].loadable && !strcmp(quant_table[i].name, name)) {
            *ret_type = (enum quant_type)i;
            return 0;
        }
    }
    return err_origin(-ENOENT);
}

static void quant_values_iq4(const struct block *b, int n, bool scaled, float *dst)
{
    const float d = half_to_float(b->d);

    for (int i = 0; i < n; i++)
        dst[i] = (scaled ? d * (float)b->scale[i / 32] : d) * (float)block_iq4_values[b->code[i]];
}

static void quant_values_32(const struct block *b, int offset, float *dst)
{
    const float d = half_to_float(b->d);

    for (int i = 0; i < 32; i++)
        dst[i] = (float)(b->code[i] - offset) * d;
}

static void quant_values_32_min(const struct block *b, float *dst)
{
    const float d = half_to_float(b->d), m = half_to_float(b->m);

    for (int i = 0; i < 32; i++)
        dst[i] = (float)b->code[i] * d + m;
}

static void quant_values_k_min(const struct block *b, float *dst)
{
    const float d = half_to_float(b->d), m = half_to_float(b->m);

    for (int i = 0; i < 256; i++)
        dst[i] = d * (float)b->scale[i / 32] * (float)b->code[i] - m * (float)b->min[i / 32];
}

static void quant_values_q6(const struct block *b, float *dst)
{
    const float d = half_to_float(b->d);

    for (int i = 0; i < 256; i++)
        dst[i] = d * (float)b->scale[i / 16] * (float)(b->code[i] - 32);
}

static void quant_values(enum quant_type type, const struct block *b, float *dst)
{
    switch (type) {
    case QUANT_IQ4_NL:
        quant_values_iq4(b, 32, false, dst);
        break;
    case QUANT_IQ4_XS:
        quant_values_iq4(b, 256, true, dst);
        break;
    case QUANT_Q4_1:
    case QUANT_Q5_1:
        quant_values_32_min(b, dst);
        break;
    case QUANT_Q4_K:
    case QUANT_Q5_K:
        quant_values_k_min(b, dst);
        break;
    case QUANT_Q6_K:
        quant_values_q6(b, dst);
        break;
    default:
        quant_values_32(b, block_offset(type), dst);
        break;
    }
}

/* F16 and BF16: memcpy because the file promises no alignment of rows. */
static void quant_values_16bit(enum quant_type type, const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, sizeof(h));
        dst[i] = type == QUANT_F16 ? half_to_float(h) : half_from_bf16(h);
    }
}

void quant_dequantise(enum quant_type type, const void *src, float *dst, int64_t n_values)
{
    const struct quant_info *info = &quant_table[type];
    const uint8_t *p = src;
    struct block b;

    if (type == QUANT_F32) {
        memcpy(dst, src, (size_t)n_values * sizeof(float));
        return;
    }
    if (type == QUANT_F16 || type == QUANT_BF16) {
        quant_values_16bit(type, p, dst, n_values);
        return;
    }
    for (int64_t i = 0; i < n_values; i += info->n_block, p += info->n_bytes) {
        block_read(type, p, &b);
        quant_values(type, &b, dst + i);
    }
}
