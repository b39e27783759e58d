/* block.cuh - blocks as the file has them, value by value: for what runs once at load, and for single rows.
 *
 * Layouts: ggml's block structs; the host's reader is kernels/blocks.c, and the tests hold one against the
 * other. */
#pragma once

#include "dev.cuh"
#include "tile.h"

KERN_CUDA_FN float block_half(const uint8_t *p)
{
    return __half2float(__ushort_as_half((unsigned short)(p[0] | p[1] << 8)));
}

KERN_CUDA_FN int block_values(enum quant_type type)
{
    return type == QUANT_Q4_K || type == QUANT_Q5_K || type == QUANT_Q6_K || type == QUANT_IQ4_XS ? 256 : 32;
}

KERN_CUDA_FN int block_bytes(enum quant_type type)
{
    switch (type) {
    case QUANT_Q4_0:
    case QUANT_IQ4_NL:
        return 18;
    case QUANT_Q4_1:
        return 20;
    case QUANT_Q5_0:
        return 22;
    case QUANT_Q5_1:
        return 24;
    case QUANT_Q8_0:
        return 34;
    case QUANT_IQ4_XS:
        return 136;
    case QUANT_Q4_K:
        return 144;
    case QUANT_Q5_K:
        return 176;
    default:
        return 210; /* Q6_K */
    }
}

/* Nibble i of 32: the low halves of 16 bytes, then the high ones. */
KERN_CUDA_FN uint32_t block_nibble(const uint8_t *bytes, int i)
{
    return bytes[i % 16] >> 4 * (i / 16) & 15u;
}

/* Value i of a K block.  A pair of groups shares 32 bytes: low nibbles, then high.  Q6_K: 128 values have 64
 * bytes of nibbles and 32 with two bits each. */
KERN_CUDA_FN uint32_t block_code_k(enum quant_type type, const uint8_t *block, int i)
{
    const int c = i / 64, s = i / 32 % 2, b = i % 32, part = i / 128, quarter = i / 32 % 4;

    if (type == QUANT_Q4_K)
        return block[16 + c * 32 + b] >> 4 * s & 15u;
    if (type == QUANT_Q5_K)
        return (block[48 + c * 32 + b] >> 4 * s & 15u) | (block[16 + b] >> (2 * c + s) & 1u) << 4;
    const uint8_t low = block[part * 64 + quarter % 2 * 32 + b], high = block[128 + part * 32 + b];
    return (low >> 4 * (quarter / 2) & 15u) | (high >> 2 * quarter & 3u) << 4;
}

/* Value i of a block, all its bits. */
KERN_CUDA_FN uint32_t block_code(enum quant_type type, const uint8_t *block, int i)
{
    switch (type) {
    case QUANT_Q4_0:
    case QUANT_IQ4_NL:
        return block_nibble(block + 2, i);
    case QUANT_Q4_1:
        return block_nibble(block + 4, i);
    case QUANT_Q5_0:
        return block_nibble(block + 6, i) | (block[2 + i / 8] >> i % 8 & 1u) << 4;
    case QUANT_Q5_1:
        return block_nibble(block + 8, i) | (block[4 + i / 8] >> i % 8 & 1u) << 4;
    case QUANT_Q8_0:
        return block[2 + i];
    case QUANT_IQ4_XS:
        return block_nibble(block + 8 + i / 32 * 16, i % 32);
    default:
        return block_code_k(type, block, i);
    }
}

/* Q4_K, Q5_K, of the 12 bytes; IQ4_XS, of the block.  Six bits of scale and of minimum of group 0..7, side by
 * side. */
KERN_CUDA_FN uint32_t block_scale_pair(const uint8_t *scales, int group)
{
    if (group < 4)
        return (scales[group] & 63u) | (scales[group + 4] & 63u) << 6;
    const uint32_t both = scales[group + 4];
    return (both & 15) | (scales[group - 4] >> 6) << 4 | (both >> 4 | (scales[group] >> 6) << 4) << 6;
}

KERN_CUDA_FN uint32_t block_scale_iq4(const uint8_t *block, int group)
{
    const uint32_t high = (uint32_t)(block[2] | block[3] << 8);

    return (block[4 + group / 2] >> 4 * (group % 2) & 15u) | (high >> 2 * group & 3u) << 4;
}

/* The sixteen values of IQ4 types, from the low end of four words: block_iq4_values of kernels/blocks.h. */
#define BLOCK_IQ4_0 0xbfad9881u /* -127 -104  -83  -65 */
#define BLOCK_IQ4_1 0xf6eaddcfu /*  -49  -35  -22  -10 */
#define BLOCK_IQ4_2 0x26190d01u /*    1   13   25   38 */
#define BLOCK_IQ4_3 0x71594535u /*   53   69   89  113 */

KERN_CUDA_FN int block_iq4(uint32_t code)
{
    const uint32_t low = code & 4 ? BLOCK_IQ4_1 : BLOCK_IQ4_0, high = code & 4 ? BLOCK_IQ4_3 : BLOCK_IQ4_2;

    return (int8_t)((code & 8 ? high : low) >> 8 * (code & 3));
}

/* What value i stands for, with the roundings of quant.c. */
KERN_CUDA_FN float block_value(enum quant_type type, const uint8_t *block, int i)
{
    const uint32_t code = block_code(type, block, i);

    switch (type) {
    case QUANT_Q4_0:
        return (float)((int)code - 8) * block_half(block);
    case QUANT_Q5_0:
        return (float)((int)code - 16) * block_half(block);
    case QUANT_Q8_0:
        return (float)(int8_t)code * block_half(block);
    case QUANT_IQ4_NL:
        return block_half(block) * (float)block_iq4(code);
    case QUANT_Q4_1:
    case QUANT_Q5_1:
        return (float)code * block_half(block) + block_half(block + 2);
    case QUANT_IQ4_XS:
        return block_half(block) * (float)((int)block_scale_iq4(block, i / 32) - 32) * (float)block_iq4(code);
    case QUANT_Q6_K:
        return block_half(block + 208) * (float)(int8_t)block[192 + i / 16] * (float)((int)code - 32);
    default:
        break;
    }
    const uint32_t pair = block_scale_pair(block + 4, i / 32);
    return block_half(block) * (float)(pair & 63) * (float)code - block_half(block + 2) * (float)(pair >> 6);
}
