/* wide_tiles.cuh - the sums of a block of matmul_wide.cu: tiles of weights and activations on their way from
 * memory, and what is added up of them. */
#pragma once

#include "act.cuh"
#include "matmul.h"
#include "tile_half.cuh"

enum {
    WIDE_WARPS = 8,
    WIDE_THREADS = WIDE_WARPS * KC_WARP,
    WIDE_COLUMNS = 128,
    WIDE_ROWS = 128,
    WIDE_TILES = WIDE_ROWS / KERN_CUDA_TILE_ROWS, /* of a block, side by side; a warp fetches one */
    WIDE_OF_WARP = 2,                             /* that a warp multiplies */
    WIDE_WARP_COLUMNS = 64,
    WIDE_8 = WIDE_WARP_COLUMNS / 8,
    WIDE_RING = 4,                         /* tiles of k, of columns */
    WIDE_WORDS = 3,                        /* the same of weights, which are in registers a tile earlier */
    WIDE_STEPS = KERN_CUDA_TILE_K / 16,    /* of a tile */
    WIDE_ROW_BYTES = 2 * KERN_CUDA_TILE_K, /* of a column in a tile */
    WIDE_CHUNKS = WIDE_ROW_BYTES / 16,     /* of 16 bytes */
    WIDE_STAGE = WIDE_COLUMNS * WIDE_ROW_BYTES,
    WIDE_SCALES = 4 * KERN_CUDA_TILE_ROWS, /* of a block of one row tile, 8 bytes each */
    WIDE_PAD = 4,                          /* floats between columns of products: rows in other banks */
    WIDE_COLUMN = WIDE_ROWS + WIDE_PAD,    /* from one to the next */
    WIDE_GLU_COLUMN = WIDE_ROWS / 2 + WIDE_PAD,
    WIDE_SHARED = 99 << 10, /* at most */
};

/* What f16 weights and activations were multiplied with. */
#define WIDE_UNDO (1.0f / (TILE_HALF_UNIT * ACT_HALF_UNIT))

struct wide_op {
    struct kern_cuda_act in, out_act; /* out_act: of gate and up */
    int n_row, n_mat;
    bool add, glu; /* glu: mats are gate and up, of one type */
    struct kern_cuda_tiles mats[KERN_CUDA_STACK];
    float *out[KERN_CUDA_STACK];
    int block0[KERN_CUDA_STACK]; /* the first row of blocks of each; glu: all have both */
};

/* A block's part of the work. */
struct wide_part {
    int mat, row0; /* of the matrix; glu: of both, 64 rows each, a row tile of either for a warp */
    int column0, n_column;
};

template <enum quant_type T>
struct wide_smem {
    using kind = tile_kind<T>;
    static constexpr int tiles_at = WIDE_RING * WIDE_STAGE, tiles_bytes = WIDE_TILES * kind::tile_bytes,
                         scales_at = tiles_at + WIDE_WORDS * tiles_bytes,
                         scales_bytes = WIDE_TILES * WIDE_SCALES * (int)sizeof(uint2),
                         raw_at = scales_at + 2 * scales_bytes,
                         bytes = raw_at + WIDE_TILES * kind::scale_bytes;
};

/* What a thread fetches next: its chunk of every 32nd column, its part of its warp's row tile. */
struct wide_source {
    const uint16_t *act;
    int k, place; /* k: of the chunk, n_in and more: there is none.  place: of the weights */
    struct tile_source tile;
};

/* A row tile may lie past the matrix's last: it then computes what is not for use, of the last. */
template <enum quant_type T>
KERN_CUDA_FN void wide_source_open(struct wide_source &from, const struct wide_op &op,
                                   const struct wide_part &part)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    const struct kern_cuda_tiles &mat = op.mats[op.glu ? warp % 2 : part.mat];
    const int row_tile = MIN(part.row0 / KERN_CUDA_TILE_ROWS + (op.glu ? warp / 2 : warp),
                             CEIL_DIV(mat.n_out, KERN_CUDA_TILE_ROWS) - 1);

    from.k = (int)threadIdx.x % WIDE_CHUNKS * 8;
    from.place = 0;
    from.act =
        op.in.h + (size_t)(part.column0 + (int)threadIdx.x / WIDE_CHUNKS) * (size_t)mat.n_in + (size_t)from.k;
    tile_source_open<T>(from.tile, mat, (size_t)row_tile * (size_t)CEIL_DIV(mat.n_in, KERN_CUDA_BLOCK_K),
                        lane);
}

/* The scales of the next block. */
template <enum quant_type T>
KERN_CUDA_FN void wide_fetch_scales(struct wide_source &from, uint8_t *shared)
{
    using kind = tile_kind<T>;

    tile_fetch_scales<T>(shared + wide_smem<T>::raw_at + (int)threadIdx.x / KC_WARP * kind::scale_bytes,
                         from.tile, (int)threadIdx.x % KC_WARP);
    from.tile.scale += kind::row_bytes * KERN_CUDA_TILE_ROWS;
    from.tile.d += 2 * KERN_CUDA_TILE_ROWS;
}

/* The next tile of k, tile i, into its place in the rings.  Columns and values that there are none of are
 * zeros; behind the last tile its weights come again, so that there is nothing to decide. */
template <enum quant_type T>
KERN_CUDA_FN void wide_fetch(struct wide_source &from, uint8_t *shared, const struct wide_op &op,
                             const struct wide_part &part, int i)
{
    using smem = wide_smem<T>;
    using kind = tile_kind<T>;
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP, n_in = op.mats[0].n_in;
    const int column = (int)threadIdx.x / WIDE_CHUNKS, chunk = (int)threadIdx.x % WIDE_CHUNKS;
    const bool more = (i + 1) * KERN_CUDA_TILE_K < n_in;
    /* the same chunk of eight columns in eight places: ldmatrix reads them at a time */
    uint8_t *const to =
        shared + i % WIDE_RING * WIDE_STAGE + column * WIDE_ROW_BYTES + (chunk ^ column % WIDE_CHUNKS) * 16;

    tile_fetch<T>(shared + smem::tiles_at + from.place * smem::tiles_bytes + warp * kind::tile_bytes,
                  from.tile, 0, lane);
#pragma unroll
    for (int j = 0; j < WIDE_COLUMNS; j += WIDE_THREADS / WIDE_CHUNKS)
        kc_cp_async_16_or_zero(to + j * WIDE_ROW_BYTES, from.act + (size_t)j * (size_t)n_in,
                               column + j < part.n_column && from.k < n_in);
    from.act += KERN_CUDA_TILE_K;
    from.k += KERN_CUDA_TILE_K;
    from.place = from.place + 1 < WIDE_WORDS ? from.place + 1 : 0;
    from.tile.code += more ? kind::code_bytes : 0;
    from.tile.high += more ? kind::high_bytes : 0;
    kc_cp_async_commit();
}

/* The scales of block b, which are there for the warp, for all to read after the next barrier. */
template <enum quant_type T>
KERN_CUDA_FN void wide_expand(uint8_t *shared, int b)
{
    using smem = wide_smem<T>;
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    uint2 *const to = reinterpret_cast<uint2 *>(shared + smem::scales_at + b % 2 * smem::scales_bytes);

    tile_half_expand<T>(to + warp * WIDE_SCALES, shared + smem::raw_at + warp * tile_kind<T>::scale_bytes,
                        lane);
}

/* A lane's sums: rows g and g + 8 of each row tile, columns 8 j + 2 q and the next. */
struct wide_sums {
    float f[WIDE_OF_WARP][WIDE_8][4];
};

/* A lane's part of the two row tiles, with their scales. */
template <enum quant_type T>
struct wide_weights {
    struct tile_words<T> words[WIDE_OF_WARP];
    uint2 scale[WIDE_OF_WARP][2];
};

/* Of tile i, whose place in the ring is given. */
template <enum quant_type T>
KERN_CUDA_FN void wide_read(struct wide_weights<T> &w, const uint8_t *shared, int row_tile, int i, int place)
{
    using smem = wide_smem<T>;
    const int lane = (int)threadIdx.x % KC_WARP;
    const uint8_t *const tiles =
        shared + smem::tiles_at + place * smem::tiles_bytes + row_tile * tile_kind<T>::tile_bytes;
    const uint2 *const scales =
        reinterpret_cast<const uint2 *>(shared + smem::scales_at + i / 4 % 2 * smem::scales_bytes) +
        row_tile * WIDE_SCALES + i % 4 * KERN_CUDA_TILE_ROWS + lane / 4;

#pragma unroll
    for (int t = 0; t < WIDE_OF_WARP; t++) {
        tile_read<T>(w.words[t], tiles + t * tile_kind<T>::tile_bytes, lane);
        w.scale[t][0] = scales[t * WIDE_SCALES];
        w.scale[t][1] = scales[t * WIDE_SCALES + 8];
    }
}

/* Fragments of both row tiles for step 0 to 3 of a tile. */
struct wide_fragments {
    uint32_t a[WIDE_OF_WARP][4];
};

template <enum quant_type T>
KERN_CUDA_FN void wide_take(struct wide_fragments &to, const struct wide_weights<T> &w, int step)
{
    const int s = step / 2;

#pragma unroll
    for (int t = 0; t < WIDE_OF_WARP; t++) {
        const uint32_t scale[2] = {s ? w.scale[t][0].y : w.scale[t][0].x,
                                   s ? w.scale[t][1].y : w.scale[t][1].x};
        tile_half_fragment<T>(to.a[t], w.words[t], s, step % 2, scale);
    }
}

/* Fragments of the warp's columns for a step: two registers for each eight. */
struct wide_columns {
    uint32_t b[WIDE_8 / 2][4];
};

/* column: where the lane's own begins for ldmatrix, of which four matrices are columns 0 to 7 and 8 to 15,
 * each with both halves of a step. */
KERN_CUDA_FN void wide_load(struct wide_columns &to, const uint8_t *shared, int column, int step)
{
    const uint8_t *const chunk = shared + (column ^ step * 32);

#pragma unroll
    for (int j = 0; j < WIDE_8 / 2; j++)
        kc_ldmatrix_x4(to.b[j], chunk + 16 * j * WIDE_ROW_BYTES);
}

KERN_CUDA_FN void wide_add(struct wide_sums &sums, const struct wide_fragments &from,
                           const struct wide_columns &columns)
{
#pragma unroll
    for (int j = 0; j < WIDE_8; j++) {
        const uint32_t b[2] = {columns.b[j / 2][j % 2 * 2], columns.b[j / 2][j % 2 * 2 + 1]};
#pragma unroll
        for (int t = 0; t < WIDE_OF_WARP; t++)
            kc_mma_f16(sums.f[t][j], from.a[t], b);
    }
}

/* The barrier stands in the middle of a tile, with the fragments behind it at hand: what is fetched, and the
 * next tile's weights, are read and taken apart while products go on. */
template <enum quant_type T>
KERN_CUDA_FN void wide_tiles(struct wide_sums &sums, uint8_t *shared, const struct wide_op &op,
                             const struct wide_part &part)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    const int row_tile = warp / 2 * WIDE_OF_WARP;
    const int column0 = (warp % 2 * WIDE_WARP_COLUMNS + lane / 16 * 8 + lane % 8) * WIDE_ROW_BYTES +
                        (lane / 8 % 2 ^ lane % WIDE_CHUNKS) * 16;
    const int n_tile = CEIL_DIV(op.mats[0].n_in, KERN_CUDA_TILE_K);
    const bool busy = warp % 2 * WIDE_WARP_COLUMNS < part.n_column;
    struct wide_fragments even, odd; /* of steps */
    struct wide_weights<T> weights;
    struct wide_columns columns;
    struct wide_source from;
    int place = 0;

    wide_source_open<T>(from, op, part);
    wide_fetch_scales<T>(from, shared);
    for (int i = 0; i < WIDE_RING - 1; i++)
        wide_fetch<T>(from, shared, op, part, i);
    kc_cp_async_wait<WIDE_RING - 2>();
    __syncwarp();
    wide_expand<T>(shared, 0);
    __syncthreads();
    wide_read<T>(weights, shared, row_tile, 0, 0);
    wide_take<T>(even, weights, 0);
#pragma unroll 1
    for (int i = 0; i < n_tile; i++) {
        const int column = column0 + i % WIDE_RING * WIDE_STAGE;
        if (busy) {
            wide_load(columns, shared, column, 0);
            wide_take<T>(odd, weights, 1);
            wide_add(sums, even, columns);
            wide_load(columns, shared, column, 1);
            wide_take<T>(even, weights, 2);
            wide_add(sums, odd, columns);
            wide_load(columns, shared, column, 2);
            wide_take<T>(odd, weights, 3);
        }
        kc_cp_async_wait<WIDE_RING - 3>();
        __syncthreads(); /* tile i + 1 is there for all, i - 1 is read, and the weights of i are */
        place = place + 1 < WIDE_WORDS ? place + 1 : 0;
        if (i % 4 == 0 && i + 4 < n_tile)
            wide_fetch_scales<T>(from, shared);
        if (i % 4 == 2 && i + 2 < n_tile)
            wide_expand<T>(shared, i / 4 + 1);
        if (busy) {
            wide_add(sums, even, columns);
            wide_fetch<T>(from, shared, op, part, i + WIDE_RING - 1);
            wide_load(columns, shared, column, 3);
            wide_read<T>(weights, shared, row_tile, i + 1, place);
            wide_take<T>(even, weights, 0);
            wide_add(sums, odd, columns);
        } else {
            wide_fetch<T>(from, shared, op, part, i + WIDE_RING - 1);
        }
    }
    kc_cp_async_wait<0>();
}
