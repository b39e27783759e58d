/* matmul_large.cu - products of many rows: bound by arithmetic.
 *
 * A block takes 128 rows of weights, 16 a warp, and 64 rows of activations, which its warps share.  Both go
 * through rings of three tiles of k, with one barrier a tile.  A weight is taken apart once for 64 products.
 * Slices of k (exact.c) are added up one after another, so that a row's result is what it would be alone.
 * Blocks of the same weights and other activations run side by side: the weights come from memory once. */
#include "matmul_large.cuh"

#include "act.cuh"
#include "matmul_op.cuh"
#include "matmul_step.cuh"

enum {
    LARGE_WARPS = 8,
    LARGE_THREADS = LARGE_WARPS * KC_WARP,
    LARGE_COLUMNS = 64,
    LARGE_RING = 3, /* tiles */
    LARGE_ROWS = LARGE_WARPS * KERN_CUDA_TILE_ROWS,
    LARGE_COLUMN = LARGE_ROWS + 4, /* floats between columns of sums: rows in other banks */
    LARGE_SHARED = 48 << 10,       /* at most: two blocks on a multiprocessor of 99 KiB */
};

struct large_op {
    struct kern_cuda_act in, out_act; /* out_act: of gate and up */
    int n_row, n_mat;
    bool add, glu; /* glu: mats are gate and up, of one type */
    struct kern_cuda_tiles mats[KERN_CUDA_STACK];
    float *out[KERN_CUDA_STACK];
    int block0[KERN_CUDA_STACK]; /* the first row of blocks of each; glu: all have both */
    int ring_bytes;              /* of a warp's ring */
};

/* A block's part of the work.  A warp's row tile may lie past the matrix's last: it then computes what is not
 * for use, of the last. */
struct large_part {
    int mat, tile; /* of this warp */
    int column0, n_column;
};

struct large_smem {
    uint8_t *ring;  /* of this warp: mm_ring_bytes() */
    uint8_t *stage; /* [LARGE_RING] of mm_slot_bytes() */
};

/* Tile of k, of the block's rows of activations, by all threads. */
KERN_CUDA_FN void large_stage(const struct large_op &op, const struct large_part &part, uint8_t *slot,
                              int tile)
{
    const int n_in = op.mats[0].n_in, n = n_in / KERN_CUDA_GROUP;
    const int row = (int)threadIdx.x / 4, chunk = (int)threadIdx.x % 4 * 16,
              k = tile * KERN_CUDA_TILE_K + chunk;
    struct kern_cuda_group *const groups =
        reinterpret_cast<struct kern_cuda_group *>(slot + part.n_column * MM_ROW_BYTES);

    if (row < part.n_column)
        kc_cp_async_16_or_zero(slot + row * MM_ROW_BYTES + chunk,
                               op.in.q + (size_t)(part.column0 + row) * (size_t)n_in + (k < n_in ? k : 0),
                               k < n_in);
    if (row < part.n_column && threadIdx.x % 4 < MM_GROUPS) {
        const int in_tile = (int)threadIdx.x % 4, group = tile * MM_GROUPS + in_tile;
        struct kern_cuda_group *const to = groups + in_tile * LARGE_COLUMNS + row;
        if (group < n)
            kc_cp_async_8(to, op.in.group + (size_t)(part.column0 + row) * (size_t)n + (size_t)group);
        else
            *to = {0.0f, 0.0f};
    }
}

/* Tile i of k into its place in the rings.  from: of the tile's block. */
template <enum quant_type T>
KERN_CUDA_FN void large_fetch(const struct large_op &op, const struct large_part &part,
                              const struct large_smem &smem, struct tile_source &from, int i, int lane)
{
    using kind = tile_kind<T>;
    const int n_block = CEIL_DIV(op.mats[part.mat].n_in, KERN_CUDA_BLOCK_K), place = i % LARGE_RING;

    if (i < 4 * n_block) {
        tile_fetch<T>(smem.ring + place * kind::tile_bytes, from, i % 4, lane);
        if (i % 4 == 0)
            tile_fetch_scales<T>(mm_ring_scales<T>(smem.ring, LARGE_RING, i / 4), from, lane);
        large_stage(op, part, smem.stage + place * mm_slot_bytes(LARGE_COLUMNS, LARGE_COLUMNS), i);
        if (i % 4 == 3)
            tile_source_skip<T>(from, 1);
    }
    kc_cp_async_commit();
}

/* A thread's sums of the slices so far, kept out of registers on purpose: they are touched once a slice, and
 * would leave room for one block on a multiprocessor instead of two. */
struct large_total {
    volatile float f[LARGE_COLUMNS / 8][4];
};

KERN_CUDA_FN void large_add(struct mm_sums<LARGE_COLUMNS> &sums, struct large_total &total)
{
#pragma unroll
    for (int j = 0; j < LARGE_COLUMNS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            sums.f[j][i / 2][i % 2] = total.f[j][i] + sums.f[j][i / 2][i % 2];
}

KERN_CUDA_FN void large_keep(struct large_total &total, const struct mm_sums<LARGE_COLUMNS> &sums)
{
#pragma unroll
    for (int j = 0; j < LARGE_COLUMNS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            total.f[j][i] = sums.f[j][i / 2][i % 2];
}

template <enum quant_type T>
KERN_CUDA_FN void large_tiles(struct mm_sums<LARGE_COLUMNS> &sums, const struct large_op &op,
                              const struct large_part &part, const struct large_smem &smem)
{
    using kind = tile_kind<T>;
    const int lane = (int)threadIdx.x % KC_WARP, n_in = op.mats[part.mat].n_in;
    const int n_block = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K), n_slice = kern_cuda_n_slice(n_in);
    struct large_total total;
    const uint8_t *scales = nullptr;
    struct tile_source from;
    int place = 0;

    tile_source_open<T>(from, op.mats[part.mat], (size_t)part.tile * (size_t)n_block, lane);
    large_keep(total, sums);
    for (int i = 0; i < LARGE_RING - 1; i++)
        large_fetch<T>(op, part, smem, from, i, lane);
    for (int slice = 0, b = 0; slice < n_slice; slice++) {
        sums = {};
#pragma unroll 1
        for (int i = 4 * b; i < (slice + 1) * n_block / n_slice * 4; i++) {
            kc_cp_async_wait<LARGE_RING - 2>();
            __syncthreads(); /* tile i is there for all, and the one before is read */
            large_fetch<T>(op, part, smem, from, i + LARGE_RING - 1, lane);
            if (i % 4 == 0)
                scales = mm_ring_expand<T>(smem.ring, LARGE_RING, i / 4, lane);
            mm_tile<T, LARGE_COLUMNS>(sums, smem.ring + place * kind::tile_bytes, scales,
                                      smem.stage + place * mm_slot_bytes(LARGE_COLUMNS, LARGE_COLUMNS),
                                      part.n_column, i % 4, lane);
            place = place + 1 < LARGE_RING ? place + 1 : 0;
        }
        large_add(sums, total);
        large_keep(total, sums);
        b = (slice + 1) * n_block / n_slice;
    }
    kc_cp_async_wait<0>();
}

KERN_CUDA_FN void large_store(const struct mm_sums<LARGE_COLUMNS> &sums, const struct large_op &op,
                              const struct large_part &part, int tile)
{
    const int lane = (int)threadIdx.x % KC_WARP, g = lane / 4, q = lane % 4, n_out = op.mats[part.mat].n_out;

#pragma unroll
    for (int j = 0; j < LARGE_COLUMNS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = tile * KERN_CUDA_TILE_ROWS + g + i / 2 * 8, column = 8 * j + 2 * q + i % 2;
            float *const p = op.out[part.mat] + (size_t)(part.column0 + column) * (size_t)n_out + (size_t)row;
            if (row < n_out && column < part.n_column)
                *p = op.add ? *p + sums.f[j][i / 2][i % 2] : sums.f[j][i / 2][i % 2];
        }
}

/* Gate's rows are the first half of the block's, up's the second: 64 results, two groups, of each column. */
KERN_CUDA_FN void large_quantise(const struct mm_sums<LARGE_COLUMNS> &sums, const struct large_op &op,
                                 const struct large_part &part, float *products)
{
    const int lane = (int)threadIdx.x % KC_WARP, warp = (int)threadIdx.x / KC_WARP, g = lane / 4,
              q = lane % 4;
    const int n = op.mats[0].n_out, row0 = (int)blockIdx.y * (LARGE_ROWS / 2);

    __syncthreads(); /* the rings are read; this takes their place */
#pragma unroll
    for (int j = 0; j < LARGE_COLUMNS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            products[(8 * j + 2 * q + i % 2) * LARGE_COLUMN + warp * KERN_CUDA_TILE_ROWS + g + i / 2 * 8] =
                sums.f[j][i / 2][i % 2];
    __syncthreads();
    for (int i = warp; i < 2 * part.n_column; i += LARGE_WARPS) {
        const int group = i % 2, column = i / 2, row = group * KERN_CUDA_GROUP + lane;
        const float *const of_column = products + column * LARGE_COLUMN;
        const float v = mm_silu_times(of_column[row], of_column[LARGE_ROWS / 2 + row]);
        const size_t at =
            (size_t)(part.column0 + column) * (size_t)n + (size_t)(row0 + group * KERN_CUDA_GROUP);
        if (row0 + group * KERN_CUDA_GROUP >= n)
            continue;
        act_put_32(v, op.out_act.q + at, op.out_act.group + at / KERN_CUDA_GROUP);
        if (op.out_act.f)
            op.out_act.f[at + (size_t)lane] = v;
    }
}

/* Grid: rows of activations by 64, fastest; rows of weights. */
__global__ static void __launch_bounds__(LARGE_THREADS, 2) matmul_large_rows(struct large_op op)
{
    KERN_CUDA_SMEM_DYNAMIC(uint8_t, shared);
    const int warp = (int)threadIdx.x / KC_WARP, of_mat = op.glu ? LARGE_WARPS / 2 : LARGE_WARPS;
    const struct large_smem smem = {shared + warp * op.ring_bytes, shared + LARGE_WARPS * op.ring_bytes};
    struct mm_sums<LARGE_COLUMNS> sums;
    struct large_part part;

    part.column0 = (int)blockIdx.x * LARGE_COLUMNS;
    part.n_column = MIN((int)LARGE_COLUMNS, op.n_row - part.column0);
    part.mat = op.glu ? warp / of_mat : 0;
    if (!op.glu)
        while (part.mat + 1 < op.n_mat && (int)blockIdx.y >= op.block0[part.mat + 1])
            part.mat++;
    const int tile = ((int)blockIdx.y - op.block0[part.mat]) * of_mat + warp % of_mat;
    part.tile = MIN(tile, CEIL_DIV(op.mats[part.mat].n_out, KERN_CUDA_TILE_ROWS) - 1);
    kc_pdl_wait();
    kc_pdl_launch();
#define LARGE_CASE(T)                                                                                        \
    case T:                                                                                                  \
        large_tiles<T>(sums, op, part, smem);                                                                \
        break;
    switch (op.mats[part.mat].type) {
        TILE_TYPES(LARGE_CASE)
    default:
        break;
    }
#undef LARGE_CASE
    if (op.glu)
        large_quantise(sums, op, part, reinterpret_cast<float *>(shared));
    else
        large_store(sums, op, part, tile);
}

/* Host. */

static int large_ring_bytes(const struct kern_cuda_tiles *t)
{
#define LARGE_BYTES(T)                                                                                       \
    case T:                                                                                                  \
        return mm_ring_bytes<T>(LARGE_RING);
    switch (t->type) {
        TILE_TYPES(LARGE_BYTES)
    default:
        return 0;
    }
#undef LARGE_BYTES
}

static int large_run(struct large_op *op, bool pdl, cudaStream_t stream)
{
    const unsigned n_block = (unsigned)matmul_op_cut(op, op->glu ? LARGE_ROWS / 2 : LARGE_ROWS);
    const size_t products = op->glu ? LARGE_COLUMNS * LARGE_COLUMN * sizeof(float) : 0;
    size_t shared = LARGE_RING * mm_slot_bytes(LARGE_COLUMNS, LARGE_COLUMNS);

    for (int i = 0; i < op->n_mat; i++)
        op->ring_bytes = MAX(op->ring_bytes, large_ring_bytes(&op->mats[i]));
    shared = MAX(shared + LARGE_WARPS * (size_t)op->ring_bytes, products);
    return kc_result(KERN_CUDA_LAUNCH(matmul_large_rows,
                                      dim3((unsigned)CEIL_DIV(op->n_row, (int)LARGE_COLUMNS), n_block),
                                      dim3(LARGE_THREADS), shared, stream, pdl, *op));
}

int matmul_large(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    struct large_op large = matmul_op_of<struct large_op>(op);

    return large_run(&large, pdl, stream);
}

int matmul_large_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    struct large_op large = matmul_op_of_glu<struct large_op>(op);

    return large_run(&large, pdl, stream);
}

int matmul_large_init(void)
{
    return kc_result(
        cudaFuncSetAttribute(matmul_large_rows, cudaFuncAttributeMaxDynamicSharedMemorySize, LARGE_SHARED));
}
