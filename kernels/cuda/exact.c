/* exact.c - the products of the CUDA backend, value by value.
 *
 * The scheme.  A row of n_in values is cut into blocks of 256, the blocks into slices (kern_cuda_n_slice()):
 *   out = sum over slices, in order, from 0, of
 *     f = 0, then for each tile of 64, in order of k: f = f + p
 *     p = 0, then for both groups of 32 of the tile, with activations d, dsum, xq:
 *       p = s (w d) + p     fused; s the sum of q xq, exact; w the group's scale, rounded to f32
 *       p = m dsum + p      fused; types with a minimum only, m rounded to f32
 *
 * with q the signed value (offset taken off), and
 *
 *   Q4_K, Q5_K             w = d_block scale_g     m = -(dmin min_g)
 *   IQ4_XS                 w = d_block scale_g
 *   types of 32 a block    w = d_block             m = m_block
 *   Q6_K                   w = d_block, s the sum over both halves of 16 of scale times the sum of q xq,
 * exact
 *
 * Tiles are summed apart so that a kernel of one row can have the lanes of a warp compute different ones.
 *
 * Float weights: lane l of 32 has values 4 l to 4 l + 3 of each 128; f = w x + f, fused, in order of k; then
 * lanes are added in a butterfly, 16 apart first. */
#include "exact.h"

#include <math.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/half.h"

enum { EXACT_LANES = 32 };

static float exact_weight(enum quant_type type, const uint8_t *row, int i)
{
    float f;
    uint16_t h;

    if (type == QUANT_F32) {
        memcpy(&f, row + 4 * (size_t)i, sizeof(f));
        return f;
    }
    memcpy(&h, row + 2 * (size_t)i, sizeof(h));
    return type == QUANT_F16 ? half_to_float(h) : half_from_bf16(h);
}

static float exact_floats(enum quant_type type, const uint8_t *row, const float *x, int n_in)
{
    float lane[EXACT_LANES] = {0}, next[EXACT_LANES];

    for (int i = 0; i < n_in; i++)
        lane[i / 4 % EXACT_LANES] = fmaf(exact_weight(type, row, i), x[i], lane[i / 4 % EXACT_LANES]);
    for (int m = EXACT_LANES / 2; m; m /= 2) {
        for (int l = 0; l < EXACT_LANES; l++)
            next[l] = lane[l] + lane[l ^ m];
        memcpy(lane, next, sizeof(lane));
    }
    return lane[0];
}

/* Group g of a block read from the file, against 32 values of x. */
static float exact_group(enum quant_type type, const struct block *b, int g, const int8_t *xq,
                         const struct kern_cuda_group *x, float f)
{
    const bool iq4 = type == QUANT_IQ4_NL || type == QUANT_IQ4_XS;
    const bool with_min = type == QUANT_Q4_K || type == QUANT_Q5_K;
    const float d = half_to_float(b->d), m = half_to_float(b->m);
    int32_t s = 0;

    for (int i = 0; i < 32; i++) {
        const int code = b->code[32 * g + i];
        const int q = iq4 ? block_iq4_values[code] : code - block_offset(type);
        s += q * xq[i] * (type == QUANT_Q6_K ? b->scale[2 * g + i / 16] : 1);
    }
    f = fmaf((float)s, (with_min || type == QUANT_IQ4_XS ? d * (float)b->scale[g] : d) * x->d, f);
    if (with_min)
        f = fmaf(-(m * (float)b->min[g]), x->dsum, f);
    if (type == QUANT_Q4_1 || type == QUANT_Q5_1)
        f = fmaf(m, x->dsum, f);
    return f;
}

static float exact_slice(enum quant_type type, const uint8_t *row, const struct kern_cuda_act *x, int k0,
                         int k1)
{
    const struct quant_info *const info = quant_find(type);
    struct block b = {0};
    float f = 0, p = 0;

    for (int k = k0; k < k1; k += 32) {
        if (k % info->n_block == 0)
            block_read(type, row + quant_row_bytes(info, k), &b);
        p = exact_group(type, &b, k % info->n_block / 32, x->q + k, x->group + k / 32, p);
        if (k % KERN_CUDA_TILE_K == 32 || k + 32 >= k1) {
            f += p;
            p = 0;
        }
    }
    return f;
}

float kern_cuda_exact(enum quant_type type, const uint8_t *row, const struct kern_cuda_act *x, int n_in)
{
    const int n_slice = kern_cuda_n_slice(n_in), n_block = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K);
    float sum = 0;

    if (type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16)
        return exact_floats(type, row, x->f, n_in);
    for (int i = 0; i < n_slice; i++)
        sum += exact_slice(type, row, x, i * n_block / n_slice * KERN_CUDA_BLOCK_K,
                           MIN(n_in, (i + 1) * n_block / n_slice * KERN_CUDA_BLOCK_K));
    return sum;
}
