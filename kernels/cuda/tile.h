/* tile.h - T16, the one layout in which the CUDA products read quantised matrices; as many bytes as in the
 * file, but for IQ4_XS (144 for 136) and a last block that is not whole.
 *
 * A tile is 16 rows by 64 values of k.  Lane l of a warp (g = l / 4, q = l % 4) owns what it feeds to
 * mma.m16n8k32: one 128-bit load of a warp is 512 bytes in a row, and nothing has to be shuffled.  Rows past
 * the last, and values past the last up to a multiple of 256, are zero bytes.  A matrix is planes, one after
 * another, each [n_out / 16][n_in / 256] blocks:
 *
 * - code [4 tiles][lane][4] words.  Word j, byte e, belongs to row g + 8 (j % 2), value 4 q + 16 (j / 2) + e:
 *   its low nibble, of the tile's first 32 values, its high one, of the second 32, are the low four bits.
 *   IQ4_NL, IQ4_XS: nibble e, then nibble e + 4, as byte permutations want it.  Q8_0 has [4 tiles][half]
 *   [lane][4] words of whole bytes
 *
 * - high, five bits: [4 tiles][lane] words.  Byte e, bit 4 s + j: the fifth bit of word j, half s
 *
 * - high, Q6_K: [4 tiles][lane][2] words.  Word s, byte e, bits 2 j and 2 j + 1: the top bits
 *
 * - scale, Q4_K, Q5_K and IQ4_XS: [16 rows] of 16 bytes: f16 d, f16 dmin, then eight times 12 bits from the
 *   low end of three words: a group of 32's scale, its minimum in the upper six
 *
 * - scale, Q6_K: [16 rows][16] int8, one for each 16 values
 *
 * - scale, Q4_0, Q5_0, Q8_0, IQ4_NL: [16 rows][8 groups] f16 d;  Q4_1, Q5_1: [16 rows][8 groups] f16 d, f16 m
 *
 * - d, Q6_K: [16 rows] f16
 *
 * F32, F16 and BF16 lie in rows, as in the file. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/quant.h"
#ifdef __cplusplus
}
#endif

/* Kernels ask the same as their hosts. */
#ifdef __CUDACC__
#define TILE_FN static inline __host__ __device__
#else
#define TILE_FN static inline
#endif

enum { KERN_CUDA_TILE_ROWS = 16, KERN_CUDA_TILE_K = 64, KERN_CUDA_BLOCK_K = 256 };

struct kern_cuda_tiles {
    enum quant_type type;
    int n_out, n_in;       /* n_in % 32 == 0 */
    size_t high, scale, d; /* where the planes begin; that of the codes at 0 */
    size_t bytes;
    uint8_t *data; /* borrowed, on the device, aligned to 256 bytes */
};

/* Bytes that a row has in a block of each plane; no code: the matrix lies in rows. */
struct kern_cuda_planes {
    int code, high, scale, d;
};

TILE_FN struct kern_cuda_planes kern_cuda_planes_of(enum quant_type type)
{
    struct kern_cuda_planes p = {KERN_CUDA_BLOCK_K / 2, 0, 16, 0};

    switch (type) {
    case QUANT_Q4_K:
    case QUANT_Q4_0:
    case QUANT_IQ4_NL:
    case QUANT_IQ4_XS:
        break;
    case QUANT_Q4_1:
        p.scale = 32;
        break;
    case QUANT_Q5_K:
    case QUANT_Q5_0:
        p.high = 32;
        break;
    case QUANT_Q5_1:
        p.high = 32;
        p.scale = 32;
        break;
    case QUANT_Q6_K:
        p.high = 64;
        p.d = 2;
        break;
    case QUANT_Q8_0:
        p.code = KERN_CUDA_BLOCK_K;
        break;
    case QUANT_F32:
    case QUANT_F16:
    case QUANT_BF16:
        p.code = p.scale = 0;
        break;
    }
    return p;
}

/* Everything but data.  -EINVAL for a shape that has no tiles: n_in is no multiple of the type's blocks or of
 * 32. */
static inline int kern_cuda_tiles_shape(enum quant_type type, int n_out, int n_in,
                                        struct kern_cuda_tiles *ret_tiles)
{
    const struct kern_cuda_planes p = kern_cuda_planes_of(type);
    const struct quant_info *const info = quant_find(type);
    const size_t rows = ROUND_UP((size_t)n_out, (size_t)KERN_CUDA_TILE_ROWS);
    const size_t n_block = rows * CEIL_DIV((size_t)n_in, (size_t)KERN_CUDA_BLOCK_K);

    if (n_out < 1 || n_in < 1 || n_in % 32 || n_in % info->n_block)
        return -EINVAL;
    ret_tiles->type = type;
    ret_tiles->n_out = n_out;
    ret_tiles->n_in = n_in;
    ret_tiles->high = n_block * (size_t)p.code;
    ret_tiles->scale = n_block * (size_t)(p.code + p.high);
    ret_tiles->d = n_block * (size_t)(p.code + p.high + p.scale);
    ret_tiles->bytes = p.code ? n_block * (size_t)(p.code + p.high + p.scale + p.d)
                              : (size_t)n_out * quant_row_bytes(info, n_in);
    ret_tiles->data = NULL;
    return 0;
}

/* Into how many slices the blocks of a row are cut: a product is the sum of its slices' sums, added in order
 * from 0.  Slice i has the blocks from i n_block / n_slice on.  It depends on n_in alone, so that a result
 * does not depend on who computes it; eight where a warp then still has work for a while. */
TILE_FN int kern_cuda_slice_log(int n_in) /* their number is a power of two */
{
    const int n_block = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K);

    return n_block >= 16 || n_block == 8 ? 3 : n_block >= 4 ? 2 : n_block >= 2 ? 1 : 0;
}

TILE_FN int kern_cuda_n_slice(int n_in)
{
    return 1 << kern_cuda_slice_log(n_in);
}
