/* matmul_pack.cu - matrices from the file's rows to T16 (tile.h), once at load.
 *
 * One thread makes one lane's part of a tile, byte by byte: it runs once, and the disk is slower. */
#include "matmul_pack.cuh"

#include "block.cuh"
#include "tile.cuh"

enum { PACK_THREADS = 128 };

struct pack_source {
    const uint8_t *rows;
    size_t row_bytes;
};

/* Value k of a row, all its bits; 0 past the last. */
template <enum quant_type T>
KERN_CUDA_FN uint32_t pack_code(const uint8_t *row, int k, int n_in)
{
    const int n = block_values(T);

    return k < n_in ? block_code(T, row + (size_t)(k / n) * (size_t)block_bytes(T), k % n) : 0;
}

/* What a lane owns of a tile. */
struct pack_part {
    uint32_t code[4], more[4]; /* more: Q8_0's second half */
    uint32_t high[2];
};

/* Value v of byte e of word j, half s. */
template <enum quant_type T>
KERN_CUDA_FN void pack_put(struct pack_part *part, int j, int e, int s, uint32_t v)
{
    if (T == QUANT_Q8_0) {
        (s ? part->more : part->code)[j] |= v << 8 * e;
    } else if (tile_kind<T>::iq4) {
        part->code[j] |= v << (4 * e + 16 * s);
    } else {
        part->code[j] |= (v & 15) << (8 * e + 4 * s);
        if (tile_kind<T>::six)
            part->high[s] |= v >> 4 << (8 * e + 2 * j);
        else if (tile_kind<T>::five)
            part->high[0] |= v >> 4 << (8 * e + 4 * s + j);
    }
}

template <enum quant_type T>
KERN_CUDA_FN void pack_lane(const struct kern_cuda_tiles &t, const struct pack_source &src, int row0, int k0,
                            int lane, struct pack_part *ret_part)
{
    const int g = lane / 4, q = lane % 4;

    *ret_part = {};
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const int row = row0 + g + 8 * (j % 2);
        const uint8_t *const from = src.rows + (size_t)row * src.row_bytes;
        if (row >= t.n_out)
            continue;
#pragma unroll
        for (int e = 0; e < 4; e++)
#pragma unroll
            for (int s = 0; s < 2; s++)
                pack_put<T>(ret_part, j, e, s,
                            pack_code<T>(from, k0 + 32 * s + 4 * q + 16 * (j / 2) + e, t.n_in));
    }
}

/* Grid: tiles of k, tiles of rows; a warp a tile. */
template <enum quant_type T>
__global__ static void __launch_bounds__(PACK_THREADS)
    pack_codes(struct kern_cuda_tiles t, struct pack_source src)
{
    const int n_k = CEIL_DIV(t.n_in, KERN_CUDA_BLOCK_K) * (KERN_CUDA_BLOCK_K / KERN_CUDA_TILE_K);
    const int lane = (int)threadIdx.x % KC_WARP;
    const int k = (int)(blockIdx.x * (PACK_THREADS / KC_WARP) + threadIdx.x / KC_WARP);
    uint4 *const codes = reinterpret_cast<uint4 *>(t.data);
    struct pack_part part;

    if (k >= n_k)
        return;
    const size_t tile = (size_t)blockIdx.y * (size_t)n_k + (size_t)k, at = tile * KC_WARP + (size_t)lane;
    pack_lane<T>(t, src, (int)blockIdx.y * KERN_CUDA_TILE_ROWS, k * KERN_CUDA_TILE_K, lane, &part);
    const uint4 code = make_uint4(part.code[0], part.code[1], part.code[2], part.code[3]);
    if (T == QUANT_Q8_0) {
        codes[tile * 2 * KC_WARP + (size_t)lane] = code;
        codes[(tile * 2 + 1) * KC_WARP + (size_t)lane] =
            make_uint4(part.more[0], part.more[1], part.more[2], part.more[3]);
    } else {
        codes[at] = code;
    }
    if (tile_kind<T>::five)
        reinterpret_cast<uint32_t *>(t.data + t.high)[at] = part.high[0];
    if (tile_kind<T>::six)
        reinterpret_cast<uint2 *>(t.data + t.high)[at] = make_uint2(part.high[0], part.high[1]);
}

/* Q4_K, Q5_K, IQ4_XS: d, dmin, eight pairs of 12 bits. */
KERN_CUDA_FN void pack_scales_k(enum quant_type type, const uint8_t *block, uint32_t *w)
{
    const bool iq4 = type == QUANT_IQ4_XS;

    for (int b = 0; b < (iq4 ? 2 : 4); b++)
        w[0] |= (uint32_t)block[b] << 8 * b;
    for (int g = 0; g < 8; g++) {
        const uint64_t pair = (uint64_t)(iq4 ? block_scale_iq4(block, g) : block_scale_pair(block + 4, g))
                              << 12 * g % 32;
        w[1 + 12 * g / 32] |= (uint32_t)pair;
        if (12 * g % 32 > 20)
            w[2 + 12 * g / 32] |= (uint32_t)(pair >> 32);
    }
}

/* Types with a d, or a d and an m, for each 32 values: those of eight blocks of the file beside each other.
 */
KERN_CUDA_FN void pack_scales_32(const struct kern_cuda_tiles &t, const uint8_t *row, int k0, bool with_m,
                                 uint32_t *w)
{
    for (int g = 0; g < 8 && k0 + 32 * g < t.n_in; g++) {
        const uint8_t *const block = row + (size_t)(k0 / 32 + g) * (size_t)block_bytes(t.type);
        const uint32_t d = (uint32_t)(block[0] | block[1] << 8);
        if (with_m)
            w[g] = d | (uint32_t)(block[2] | block[3] << 8) << 16;
        else
            w[g / 2] |= d << 16 * (g % 2);
    }
}

/* A thread a row's block, rows fastest: as they lie in the scales' plane. */
__global__ static void __launch_bounds__(PACK_THREADS)
    pack_scales(struct kern_cuda_tiles t, struct pack_source src)
{
    const int n_k = CEIL_DIV(t.n_in, KERN_CUDA_BLOCK_K);
    const size_t i = (size_t)blockIdx.x * PACK_THREADS + threadIdx.x;
    const int k = (int)(i / KERN_CUDA_TILE_ROWS % (size_t)n_k);
    const int row =
        (int)(i / KERN_CUDA_TILE_ROWS / (size_t)n_k * KERN_CUDA_TILE_ROWS + i % KERN_CUDA_TILE_ROWS);
    const bool wide = kern_cuda_planes_of(t.type).scale == 32, of_256 = block_values(t.type) == 256;
    uint32_t w[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    uint16_t d = 0;

    if (row >= ROUND_UP(t.n_out, KERN_CUDA_TILE_ROWS))
        return;
    const uint8_t *const from = src.rows + (size_t)row * src.row_bytes;
    const uint8_t *const block = from + (size_t)k * (size_t)block_bytes(t.type); /* if they are of 256 */
    if (row < t.n_out && t.type == QUANT_Q6_K) {
        for (int b = 0; b < 16; b++)
            w[b / 4] |= (uint32_t)block[192 + b] << 8 * (b % 4);
        d = (uint16_t)(block[208] | block[209] << 8);
    } else if (row < t.n_out && of_256) {
        pack_scales_k(t.type, block, w);
    } else if (row < t.n_out) {
        pack_scales_32(t, from, k * KERN_CUDA_BLOCK_K, wide, w);
    }
    uint4 *const to = reinterpret_cast<uint4 *>(t.data + t.scale) + i * (wide ? 2 : 1);
    to[0] = make_uint4(w[0], w[1], w[2], w[3]);
    if (wide)
        to[1] = make_uint4(w[4], w[5], w[6], w[7]);
    if (t.type == QUANT_Q6_K)
        reinterpret_cast<uint16_t *>(t.data + t.d)[i] = d;
}

static cudaError_t pack_launch_codes(const struct kern_cuda_tiles *t, const struct pack_source *src,
                                     dim3 grid, cudaStream_t stream)
{
#define PACK_CASE(T)                                                                                         \
    case T:                                                                                                  \
        return KERN_CUDA_LAUNCH(pack_codes<T>, grid, PACK_THREADS, 0, stream, false, *t, *src);
    switch (t->type) {
        TILE_TYPES(PACK_CASE)
    default:
        return cudaErrorInvalidValue;
    }
#undef PACK_CASE
}

extern "C" int kern_cuda_pack(const struct kern_cuda_tiles *tiles, const uint8_t *src, cudaStream_t stream)
{
    const struct pack_source source = {src, quant_row_bytes(quant_find(tiles->type), tiles->n_in)};
    const unsigned n_block = (unsigned)CEIL_DIV(tiles->n_in, KERN_CUDA_BLOCK_K);
    const unsigned n_k = n_block * (KERN_CUDA_BLOCK_K / KERN_CUDA_TILE_K);
    const unsigned n_row_tiles = (unsigned)CEIL_DIV(tiles->n_out, KERN_CUDA_TILE_ROWS);
    const dim3 grid(CEIL_DIV(n_k, (unsigned)(PACK_THREADS / KC_WARP)), n_row_tiles);
    int r;

    if (!kern_cuda_planes_of(tiles->type).code)
        return kc_result(cudaMemcpyAsync(tiles->data, src, tiles->bytes, cudaMemcpyDeviceToDevice, stream));
    r = kc_result(pack_launch_codes(tiles, &source, grid, stream));
    if (r < 0)
        return r;
    return kc_result(KERN_CUDA_LAUNCH(
        pack_scales, CEIL_DIV(n_row_tiles * KERN_CUDA_TILE_ROWS * n_block, (unsigned)PACK_THREADS),
        PACK_THREADS, 0, stream, false, *tiles, source));
}
