/* tile.h - T16, the one layout in which the CUDA products read K-quants; as many bytes as in the file.
 *
 * A tile is 16 rows by 64 values of k.  Lane l of a warp (g = l / 4, q = l % 4) owns what it feeds to
 * mma.m16n8k32: one 128-bit load of a warp is 512 bytes in a row, and nothing has to be shuffled.  Rows past
 * the last are zero bytes up to a multiple of 16.  A matrix is planes, one after another:
 *
 * - code [n_out / 16][n_in / 64][lane][4] words.  Word j, byte e: the low nibble, then the high one, are the
 *   low four bits of row g + 8 (j % 2), value 4 q + 16 (j / 2) + e of the tile's first, then second 32
 *
 * - high, Q5_K: [n_out / 16][n_in / 64][lane] words.  Byte e, bit 4 s + j: the fifth bit of word j, half s
 *
 * - high, Q6_K: [n_out / 16][n_in / 64][lane][2] words.  Word s, byte e, bits 2 j and 2 j + 1: the top bits
 *
 * - scale, Q4_K and Q5_K: [n_out / 16][n_in / 256][16 rows] of 16 bytes: f16 d, f16 dmin, then eight times 12
 *   bits from the low end of three words: a group of 32's scale, its minimum in the upper six
 *
 * - scale, Q6_K: [n_out / 16][n_in / 256][16 rows][16] int8, one for each 16 values
 *
 * - d, Q6_K: [n_out / 16][n_in / 256][16 rows] f16 */
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

enum { KERN_CUDA_TILE_ROWS = 16, KERN_CUDA_TILE_K = 64, KERN_CUDA_BLOCK_K = 256 };

struct kern_cuda_tiles {
    enum quant_type type;  /* Q4_K, Q5_K or Q6_K */
    int n_out, n_in;       /* n_in % 256 == 0 */
    size_t high, scale, d; /* where the planes begin; that of the codes at 0 */
    size_t bytes;
    uint8_t *data; /* borrowed, on the device, aligned to 256 bytes */
};

/* Everything but data.  -EINVAL for a type or shape that has no tiles. */
static inline int kern_cuda_tiles_shape(enum quant_type type, int n_out, int n_in,
                                        struct kern_cuda_tiles *ret_tiles)
{
    const size_t rows = ROUND_UP((size_t)n_out, (size_t)KERN_CUDA_TILE_ROWS);
    const size_t n_block = rows * (size_t)(n_in / KERN_CUDA_BLOCK_K);
    const size_t high = type == QUANT_Q6_K ? 64 : type == QUANT_Q5_K ? 32 : 0;

    if ((type != QUANT_Q4_K && type != QUANT_Q5_K && type != QUANT_Q6_K) || n_out < 1 ||
        n_in < KERN_CUDA_BLOCK_K || n_in % KERN_CUDA_BLOCK_K)
        return -EINVAL;
    ret_tiles->type = type;
    ret_tiles->n_out = n_out;
    ret_tiles->n_in = n_in;
    ret_tiles->high = n_block * 128;
    ret_tiles->scale = n_block * (128 + high);
    ret_tiles->d = n_block * (128 + high + 16);
    ret_tiles->bytes = n_block * (128 + high + 16 + (type == QUANT_Q6_K ? 2 : 0));
    ret_tiles->data = NULL;
    return 0;
}
