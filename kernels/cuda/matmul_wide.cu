/* matmul_wide.cu - products of many rows in f16 on the tensor cores, where these add to f32 at their full
 * rate.
 *
 * A block takes 128 rows of weights and 128 rows of activations, columns here; a warp 32 by 64 of them, so
 * that a fragment of either feeds two products and more.  Both come through rings of three tiles of k, with
 * one barrier a tile.  Weights become f16 on their way from shared memory to registers (tile_half.cuh); their
 * scales are rounded once for each 256, a tile ahead.  Blocks of the same weights and other columns run side
 * by side: the weights come from memory once.
 *
 * A result depends on its row and its matrix alone, not on the number of rows; it is not what the integer
 * kernels give. */
#include "matmul_wide.cuh"

#include "act.cuh"
#include "matmul_step.cuh"
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
    WIDE_RING = 3,                         /* tiles of k */
    WIDE_STEPS = KERN_CUDA_TILE_K / 16,    /* of a tile */
    WIDE_ROW_BYTES = 2 * KERN_CUDA_TILE_K, /* of a column in a tile */
    WIDE_CHUNKS = WIDE_ROW_BYTES / 16,     /* of 16 bytes */
    WIDE_STAGE = WIDE_COLUMNS * WIDE_ROW_BYTES,
    WIDE_SCALES = 4 * KERN_CUDA_TILE_ROWS, /* of a block of one row tile, 8 bytes each */
    WIDE_COLUMN = WIDE_ROWS + 4,           /* floats between columns of sums: rows in other banks */
    WIDE_SHARED = 99 << 10,                /* at most */
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
    int mat, row0; /* of the matrix; glu: of both, 64 rows each */
    int column0, n_column;
};

/* Where each warp's row tile begins in its planes is kept here as well, and read once a tile: registers are
 * short. */
template <enum quant_type T>
struct wide_smem {
    using kind = tile_kind<T>;
    static constexpr int tiles_at = WIDE_RING * WIDE_STAGE, tiles_bytes = WIDE_TILES * kind::tile_bytes,
                         scales_at = tiles_at + WIDE_RING * tiles_bytes,
                         scales_bytes = WIDE_TILES * WIDE_SCALES * (int)sizeof(uint2),
                         raw_at = scales_at + 2 * scales_bytes,
                         sources_at = raw_at + WIDE_TILES * kind::scale_bytes,
                         bytes = sources_at + WIDE_WARPS * (int)sizeof(struct tile_source);
};

/* A row tile may lie past the matrix's last: it then computes what is not for use, of the last. */
template <enum quant_type T>
KERN_CUDA_FN void wide_open(uint8_t *shared, const struct wide_op &op, const struct wide_part &part)
{
    const int warp = (int)threadIdx.x / KC_WARP, of_mat = op.glu ? WIDE_TILES / 2 : WIDE_TILES;
    const struct kern_cuda_tiles &mat = op.mats[op.glu ? warp / of_mat : part.mat];
    const int row_tile =
        MIN(part.row0 / KERN_CUDA_TILE_ROWS + warp % of_mat, CEIL_DIV(mat.n_out, KERN_CUDA_TILE_ROWS) - 1);
    struct tile_source from;

    tile_source_open<T>(from, mat, (size_t)row_tile * (size_t)CEIL_DIV(mat.n_in, KERN_CUDA_BLOCK_K), 0);
    if (threadIdx.x % KC_WARP == 0)
        reinterpret_cast<struct tile_source *>(shared + wide_smem<T>::sources_at)[warp] = from;
    __syncwarp();
}

/* Scales of block b. */
template <enum quant_type T>
KERN_CUDA_FN void wide_fetch_scales(uint8_t *shared, int b)
{
    using kind = tile_kind<T>;
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    struct tile_source from =
        reinterpret_cast<const struct tile_source *>(shared + wide_smem<T>::sources_at)[warp];

    from.scale += b * (kind::row_bytes * KERN_CUDA_TILE_ROWS) + lane * 16;
    from.d += b * (2 * KERN_CUDA_TILE_ROWS) + lane * 16;
    tile_fetch_scales<T>(shared + wide_smem<T>::raw_at + warp * kind::scale_bytes, from, lane);
}

/* Tile i of k into its place in the rings; with the last tile of a block the scales of the next.  Columns
 * and values that there are none of are zeros.  act: the thread's chunk of the first tile, of its first
 * column, in chunks. */
template <enum quant_type T>
KERN_CUDA_FN void wide_fetch(uint8_t *shared, const struct wide_op &op, const struct wide_part &part,
                             uint32_t act, int i, int place)
{
    using smem = wide_smem<T>;
    using kind = tile_kind<T>;
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP, n_in = op.mats[0].n_in;
    const int column = (int)threadIdx.x / WIDE_CHUNKS, chunk = (int)threadIdx.x % WIDE_CHUNKS;
    /* the same chunk of eight columns in eight places: ldmatrix reads them at a time */
    uint8_t *const to =
        shared + place * WIDE_STAGE + column * WIDE_ROW_BYTES + (chunk ^ column % WIDE_CHUNKS) * 16;

    if (i * KERN_CUDA_TILE_K < n_in) {
        struct tile_source from =
            reinterpret_cast<const struct tile_source *>(shared + smem::sources_at)[warp];
        from.code += i * kind::code_bytes + lane * 16;
        from.high += i * kind::high_bytes + lane * (kind::high_bytes / KC_WARP);
        tile_fetch<T>(shared + smem::tiles_at + place * smem::tiles_bytes + warp * kind::tile_bytes, from, 0,
                      lane);
#pragma unroll
        for (int j = 0; j < WIDE_COLUMNS; j += WIDE_THREADS / WIDE_CHUNKS)
            kc_cp_async_16_or_zero(
                to + j * WIDE_ROW_BYTES,
                op.in.h + (size_t)(act + (uint32_t)(i * WIDE_CHUNKS) + (uint32_t)(j * (n_in / 8))) * 8,
                column + j < part.n_column && i * KERN_CUDA_TILE_K + chunk * 8 < n_in);
        if (i % 4 == 3 && (i + 1) * KERN_CUDA_TILE_K < n_in)
            wide_fetch_scales<T>(shared, i / 4 + 1);
    }
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

/* Adds tile i of a block.  tiles, scales: of the warp's first row tile; column: where the lane's own begins
 * for ldmatrix, of which four matrices are columns 0 to 7 and 8 to 15, each with both halves of a step. */
template <enum quant_type T>
KERN_CUDA_FN void wide_tile(struct wide_sums &sums, const uint8_t *tiles, const uint32_t *scales,
                            const uint8_t *shared, int column)
{
    const int lane = (int)threadIdx.x % KC_WARP;

#pragma unroll
    for (int s = 0; s < 2; s++) {
        struct tile_words<T>
            words[WIDE_OF_WARP]; /* read once more for the second half: registers are short */
        uint32_t scale[WIDE_OF_WARP][2];
#pragma unroll
        for (int t = 0; t < WIDE_OF_WARP; t++) {
            tile_read<T>(words[t], tiles + t * tile_kind<T>::tile_bytes, lane);
            scale[t][0] = scales[(t * WIDE_SCALES + lane / 4) * 2 + s];
            scale[t][1] = scales[(t * WIDE_SCALES + lane / 4 + 8) * 2 + s];
        }
#pragma unroll
        for (int step = 0; step < 2; step++) {
            const uint8_t *const chunk = shared + (column ^ (4 * s + 2 * step) * 16);
            uint32_t a[WIDE_OF_WARP][4];
#pragma unroll
            for (int t = 0; t < WIDE_OF_WARP; t++)
                tile_half_fragment<T>(a[t], words[t], s, step, scale[t]);
#pragma unroll
            for (int j = 0; j < WIDE_8; j += 2) {
                uint32_t b[4];
                kc_ldmatrix_x4(b, chunk + 8 * j * WIDE_ROW_BYTES);
                const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
                for (int t = 0; t < WIDE_OF_WARP; t++) {
                    kc_mma_f16(sums.f[t][j], a[t], first);
                    kc_mma_f16(sums.f[t][j + 1], a[t], second);
                }
            }
        }
    }
}

template <enum quant_type T>
KERN_CUDA_FN void wide_tiles(struct wide_sums &sums, uint8_t *shared, const struct wide_op &op,
                             const struct wide_part &part)
{
    using smem = wide_smem<T>;
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    const int row_tile = warp / 2 * WIDE_OF_WARP, column0 = warp % 2 * WIDE_WARP_COLUMNS;
    const int n_tile = CEIL_DIV(op.mats[0].n_in, KERN_CUDA_TILE_K);
    const int column =
        (column0 + lane / 16 * 8 + lane % 8) * WIDE_ROW_BYTES + (lane / 8 % 2 ^ lane % WIDE_CHUNKS) * 16;
    const uint8_t *const tiles = shared + smem::tiles_at + row_tile * tile_kind<T>::tile_bytes;
    const uint32_t *const scales =
        reinterpret_cast<const uint32_t *>(shared + smem::scales_at) + row_tile * WIDE_SCALES * 2;
    const uint32_t act = (part.column0 + threadIdx.x / WIDE_CHUNKS) * (uint32_t)(op.mats[0].n_in / 8) +
                         threadIdx.x % WIDE_CHUNKS;
    int place = 0;

    wide_open<T>(shared, op, part);
    wide_fetch_scales<T>(shared, 0);
    kc_cp_async_commit();
    for (int i = 0; i < WIDE_RING - 1; i++)
        wide_fetch<T>(shared, op, part, act, i, i);
    kc_cp_async_wait<WIDE_RING - 1>();
    __syncwarp();
    wide_expand<T>(shared, 0);
#pragma unroll 1
    for (int i = 0; i < n_tile; i++) {
        kc_cp_async_wait<WIDE_RING - 2>();
        __syncthreads(); /* tile i is there for all, and the one before is read */
        wide_fetch<T>(shared, op, part, act, i + WIDE_RING - 1, place ? place - 1 : WIDE_RING - 1);
        if (i % 4 == 3 && i + 1 < n_tile)
            wide_expand<T>(shared, i / 4 + 1);
        if (column0 < part.n_column)
            wide_tile<T>(sums, tiles + place * smem::tiles_bytes,
                         scales + (i / 4 % 2 * (WIDE_TILES * WIDE_SCALES) + i % 4 * KERN_CUDA_TILE_ROWS) * 2,
                         shared, column + place * WIDE_STAGE);
        place = place + 1 < WIDE_RING ? place + 1 : 0;
    }
    kc_cp_async_wait<0>();
}

/* The block's products, where the rings were: [column] of WIDE_COLUMN floats. */
KERN_CUDA_FN void wide_gather(const struct wide_sums &sums, float *products)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    float *const to = products + (warp % 2 * WIDE_WARP_COLUMNS + 2 * (lane % 4)) * WIDE_COLUMN +
                      warp / 2 * WIDE_OF_WARP * KERN_CUDA_TILE_ROWS + lane / 4;

    __syncthreads(); /* the rings are read */
#pragma unroll
    for (int t = 0; t < WIDE_OF_WARP; t++)
#pragma unroll
        for (int j = 0; j < WIDE_8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                to[(8 * j + i % 2) * WIDE_COLUMN + t * KERN_CUDA_TILE_ROWS + i / 2 * 8] =
                    sums.f[t][j][i] * WIDE_UNDO;
    __syncthreads();
}

/* A warp every eighth column, four of them at a time: what is added to is on its way before the first is
 * waited for. */
KERN_CUDA_FN void wide_store(const float *products, const struct wide_op &op, const struct wide_part &part)
{
    enum { AT_ONCE = 4, OF_LANE = WIDE_ROWS / KC_WARP };
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    const int n_out = op.mats[part.mat].n_out, n_left = n_out - part.row0 - lane;

    for (int column0 = warp; column0 < part.n_column; column0 += AT_ONCE * WIDE_WARPS) {
        const float *const from = products + column0 * WIDE_COLUMN + lane;
        float *const to =
            op.out[part.mat] + (size_t)(part.column0 + column0) * (size_t)n_out + (size_t)(part.row0 + lane);
        float old[AT_ONCE][OF_LANE];
#pragma unroll
        for (int c = 0; c < AT_ONCE; c++)
#pragma unroll
            for (int i = 0; i < OF_LANE; i++)
                old[c][i] = op.add && column0 + c * WIDE_WARPS < part.n_column && i * KC_WARP < n_left
                                ? to[(size_t)(c * WIDE_WARPS) * (size_t)n_out + (size_t)(i * KC_WARP)]
                                : 0.0f;
#pragma unroll
        for (int c = 0; c < AT_ONCE; c++)
#pragma unroll
            for (int i = 0; i < OF_LANE; i++)
                if (column0 + c * WIDE_WARPS < part.n_column && i * KC_WARP < n_left)
                    to[(size_t)(c * WIDE_WARPS) * (size_t)n_out + (size_t)(i * KC_WARP)] =
                        old[c][i] + from[c * WIDE_WARPS * WIDE_COLUMN + i * KC_WARP];
    }
}

/* Gate's rows are the first half of the block's, up's the second: 64 results, two groups, of each column. */
KERN_CUDA_FN void wide_glu(const float *products, const struct wide_op &op, const struct wide_part &part)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP, n = op.mats[0].n_out;

    for (int i = warp; i < 2 * part.n_column; i += WIDE_WARPS) {
        const int group = i % 2 * KERN_CUDA_GROUP, column = i / 2;
        const float *const of_column = products + column * WIDE_COLUMN + group + lane;
        if (part.row0 + group < n)
            act_put(op.out_act,
                    (size_t)(part.column0 + column) * (size_t)n + (size_t)(part.row0 + group + lane),
                    mm_silu_times(of_column[0], of_column[WIDE_ROWS / 2]));
    }
}

/* Grid: rows of activations by 128, fastest; rows of weights. */
__global__ static void __launch_bounds__(WIDE_THREADS, 1) matmul_wide_rows(struct wide_op op)
{
    KERN_CUDA_SMEM_DYNAMIC(uint8_t, shared);
    struct wide_sums sums = {};
    struct wide_part part = {};

    part.column0 = (int)blockIdx.x * WIDE_COLUMNS;
    part.n_column = MIN((int)WIDE_COLUMNS, op.n_row - part.column0);
    if (!op.glu)
        while (part.mat + 1 < op.n_mat && (int)blockIdx.y >= op.block0[part.mat + 1])
            part.mat++;
    part.row0 = ((int)blockIdx.y - op.block0[part.mat]) * (op.glu ? WIDE_ROWS / 2 : WIDE_ROWS);
    kc_pdl_wait();
    kc_pdl_launch();
#define WIDE_CASE(T)                                                                                         \
    case T:                                                                                                  \
        wide_tiles<T>(sums, shared, op, part);                                                               \
        break;
    switch (op.mats[part.mat].type) {
        TILE_TYPES(WIDE_CASE)
    default:
        break;
    }
#undef WIDE_CASE
    float *const products = reinterpret_cast<float *>(shared);
    wide_gather(sums, products);
    if (op.glu)
        wide_glu(products, op, part);
    else
        wide_store(products, op, part);
}

/* Host. */

static int wide_shared_bytes(enum quant_type type)
{
#define WIDE_BYTES(T)                                                                                        \
    case T:                                                                                                  \
        return wide_smem<T>::bytes;
    switch (type) {
        TILE_TYPES(WIDE_BYTES)
    default:
        return 0;
    }
#undef WIDE_BYTES
}

static int wide_run(struct wide_op *op, bool pdl, cudaStream_t stream)
{
    const int of_mat = op->glu ? WIDE_ROWS / 2 : WIDE_ROWS, n_range = op->glu ? 1 : op->n_mat;
    int shared = WIDE_COLUMNS * WIDE_COLUMN * (int)sizeof(float), n_block = 0;

    for (int i = 0; i < n_range; i++) {
        op->block0[i] = n_block;
        n_block += CEIL_DIV(op->mats[i].n_out, of_mat);
        shared = MAX(shared, wide_shared_bytes(op->mats[i].type));
    }
    return kc_result(KERN_CUDA_LAUNCH(
        matmul_wide_rows, dim3((unsigned)CEIL_DIV(op->n_row, (int)WIDE_COLUMNS), (unsigned)n_block),
        dim3(WIDE_THREADS), (size_t)shared, stream, pdl, *op));
}

int matmul_wide(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    struct wide_op wide = {};

    wide.in = op->in;
    wide.n_row = op->n_row;
    wide.n_mat = op->n_mat;
    wide.add = op->add;
    for (int i = 0; i < op->n_mat; i++) {
        wide.mats[i] = op->mats[i];
        wide.out[i] = op->out[i];
    }
    return wide_run(&wide, pdl, stream);
}

int matmul_wide_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    struct wide_op wide = {};

    wide.in = op->in;
    wide.out_act = op->out;
    wide.n_row = op->n_row;
    wide.n_mat = 2;
    wide.glu = true;
    wide.mats[0] = op->gate;
    wide.mats[1] = op->up;
    return wide_run(&wide, pdl, stream);
}

int matmul_wide_init(void)
{
    return kc_result(
        cudaFuncSetAttribute(matmul_wide_rows, cudaFuncAttributeMaxDynamicSharedMemorySize, WIDE_SHARED));
}
