/* matmul_pack.cu - K-quants from the file's rows to T16 (tile.h), once at load.
 *
 * One thread makes one lane's part of a tile, byte by byte: it runs once, and the disk is slower. */
#include "matmul_pack.cuh"

enum { PACK_THREADS = 128 };

/* Value i of a block, all its bits.  Layouts: ggml's block_q4_K, block_q5_K, block_q6_K. */
KERN_CUDA_FN uint32_t pack_code(enum quant_type type, const uint8_t *block, int i)
{
    const int c = i / 64, s = i / 32 % 2,
              b = i % 32; /* a pair of groups shares 32 bytes: low nibbles, then high */

    if (type == QUANT_Q4_K)
        return block[16 + c * 32 + b] >> 4 * s & 15u;
    if (type == QUANT_Q5_K)
        return (block[48 + c * 32 + b] >> 4 * s & 15u) | (block[16 + b] >> (2 * c + s) & 1u) << 4;
    const int part = i / 128, quarter = i / 32 % 4; /* 128 values: 64 bytes of nibbles, 32 of two bits each */
    const uint8_t low = block[part * 64 + quarter % 2 * 32 + b], high = block[128 + part * 32 + b];
    return (low >> 4 * (quarter / 2) & 15u) | (high >> 2 * quarter & 3u) << 4;
}

/* Six bits of scale and of minimum of group 0..7, side by side. */
KERN_CUDA_FN uint32_t pack_scale_pair(const uint8_t *scales, int group)
{
    if (group < 4)
        return (scales[group] & 63u) | (scales[group + 4] & 63u) << 6;
    const uint32_t both = scales[group + 4];
    return (both & 15) | (scales[group - 4] >> 6) << 4 | (both >> 4 | (scales[group] >> 6) << 4) << 6;
}

/* The lane's four words of code and its high bits, of the tile that begins at value k0 of its 16 rows. */
KERN_CUDA_FN void pack_lane(const struct kern_cuda_tiles &t, const uint8_t *src, size_t row_bytes,
                            size_t block_bytes, int row0, int k0, int lane, uint32_t (&code)[4],
                            uint32_t (&high)[2])
{
    const int g = lane / 4, q = lane % 4;

    for (int j = 0; j < 4; j++) {
        const int row = row0 + g + 8 * (j % 2);
        const uint8_t *const block =
            src + (size_t)row * row_bytes + (size_t)(k0 / KERN_CUDA_BLOCK_K) * block_bytes;
        code[j] = 0;
        if (row >= t.n_out)
            continue;
        for (int e = 0; e < 4; e++)
            for (int s = 0; s < 2; s++) {
                const uint32_t v =
                    pack_code(t.type, block, k0 % KERN_CUDA_BLOCK_K + 32 * s + 4 * q + 16 * (j / 2) + e);
                code[j] |= (v & 15) << (8 * e + 4 * s);
                if (t.type == QUANT_Q5_K)
                    high[0] |= v >> 4 << (8 * e + 4 * s + j);
                else
                    high[s] |= v >> 4 << (8 * e + 2 * j);
            }
    }
}

/* Grid: tiles of k, tiles of rows; a warp a tile. */
__global__ static void __launch_bounds__(PACK_THREADS)
    pack_codes(struct kern_cuda_tiles t, const uint8_t *src, size_t row_bytes, size_t block_bytes)
{
    const int n_k = t.n_in / KERN_CUDA_TILE_K, lane = (int)threadIdx.x % KC_WARP;
    const int k = (int)(blockIdx.x * (PACK_THREADS / KC_WARP) + threadIdx.x / KC_WARP);
    uint32_t code[4], high[2] = {0, 0};

    if (k >= n_k)
        return;
    const size_t tile = (size_t)blockIdx.y * (size_t)n_k + (size_t)k, at = tile * KC_WARP + (size_t)lane;
    pack_lane(t, src, row_bytes, block_bytes, (int)blockIdx.y * KERN_CUDA_TILE_ROWS, k * KERN_CUDA_TILE_K,
              lane, code, high);
    reinterpret_cast<uint4 *>(t.data)[at] = make_uint4(code[0], code[1], code[2], code[3]);
    if (t.type == QUANT_Q5_K)
        reinterpret_cast<uint32_t *>(t.data + t.high)[at] = high[0];
    if (t.type == QUANT_Q6_K)
        reinterpret_cast<uint2 *>(t.data + t.high)[at] = make_uint2(high[0], high[1]);
}

/* A thread a row's block, rows fastest: as they lie in the scales' plane. */
__global__ static void __launch_bounds__(PACK_THREADS)
    pack_scales(struct kern_cuda_tiles t, const uint8_t *src, size_t row_bytes, size_t block_bytes)
{
    const int n_k = t.n_in / KERN_CUDA_BLOCK_K;
    const size_t i = (size_t)blockIdx.x * PACK_THREADS + threadIdx.x;
    const int k = (int)(i / KERN_CUDA_TILE_ROWS % (size_t)n_k);
    const int row =
        (int)(i / KERN_CUDA_TILE_ROWS / (size_t)n_k * KERN_CUDA_TILE_ROWS + i % KERN_CUDA_TILE_ROWS);
    uint32_t w[4] = {0, 0, 0, 0};
    uint16_t d = 0;

    if (row >= (t.n_out + KERN_CUDA_TILE_ROWS - 1) / KERN_CUDA_TILE_ROWS * KERN_CUDA_TILE_ROWS)
        return;
    const uint8_t *const block = src + (size_t)row * row_bytes + (size_t)k * block_bytes;
    if (row < t.n_out && t.type == QUANT_Q6_K) {
        for (int b = 0; b < 16; b++)
            w[b / 4] |= (uint32_t)block[192 + b] << 8 * (b % 4);
        d = (uint16_t)(block[208] | block[209] << 8);
    } else if (row < t.n_out) {
        for (int b = 0; b < 4; b++)
            w[0] |= (uint32_t)block[b] << 8 * b;
        for (int g = 0; g < 8; g++) {
            const uint64_t pair = (uint64_t)pack_scale_pair(block + 4, g) << 12 * g % 32;
            w[1 + 12 * g / 32] |= (uint32_t)pair;
            if (12 * g % 32 > 20)
                w[2 + 12 * g / 32] |= (uint32_t)(pair >> 32);
        }
    }
    reinterpret_cast<uint4 *>(t.data + t.scale)[i] = make_uint4(w[0], w[1], w[2], w[3]);
    if (t.type == QUANT_Q6_K)
        reinterpret_cast<uint16_t *>(t.data + t.d)[i] = d;
}

extern "C" int kern_cuda_pack(const struct kern_cuda_tiles *tiles, const uint8_t *src, cudaStream_t stream)
{
    const size_t block_bytes = tiles->type == QUANT_Q4_K ? 144 : tiles->type == QUANT_Q5_K ? 176 : 210;
    const size_t row_bytes = block_bytes * (size_t)(tiles->n_in / KERN_CUDA_BLOCK_K);
    const unsigned n_k = (unsigned)(tiles->n_in / KERN_CUDA_TILE_K);
    const unsigned n_row_tiles = (unsigned)CEIL_DIV(tiles->n_out, KERN_CUDA_TILE_ROWS);
    const unsigned n_scales =
        n_row_tiles * KERN_CUDA_TILE_ROWS * (n_k / (KERN_CUDA_BLOCK_K / KERN_CUDA_TILE_K));
    const dim3 grid(CEIL_DIV(n_k, (unsigned)(PACK_THREADS / KC_WARP)), n_row_tiles);
    int r;

    r = kc_result(KERN_CUDA_LAUNCH(pack_codes, grid, PACK_THREADS, 0, stream, false, *tiles, src, row_bytes,
                                   block_bytes));
    if (r < 0)
        return r;
    return kc_result(KERN_CUDA_LAUNCH(pack_scales, CEIL_DIV(n_scales, (unsigned)PACK_THREADS), PACK_THREADS,
                                      0, stream, false, *tiles, src, row_bytes, block_bytes));
}
