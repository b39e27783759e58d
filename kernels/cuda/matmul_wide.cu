/* matmul_wide.cu - products of many rows in f16 on the tensor cores, where these add to f32 at their full
 * rate.
 *
 * A block takes 128 rows of weights and 128 rows of activations, columns here; a warp 32 by 64 of them, so
 * that a fragment of either feeds two products and more.  Both come through rings of tiles of k, with one
 * barrier a tile.  Weights become f16 on their way from shared memory to registers (tile_half.cuh); their
 * scales are rounded once for each 256.  Everything is a step ahead of the products, which never wait for it:
 * so it takes half of the registers, and a multiprocessor has one block.  Blocks of the same weights and
 * other columns run side by side: the weights come from memory once.
 *
 * A result depends on its row and its matrix alone, not on the number of rows; it is not what the integer
 * kernels give. */
#include "matmul_wide.cuh"

#include "matmul_op.cuh"
#include "matmul_step.cuh"
#include "wide_tiles.cuh"

/* Where a lane's first product goes, where the rings were: [column] of n_row + WIDE_PAD floats. */
KERN_CUDA_FN float *wide_place(float *products, int n_row)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;

    return products + (warp % 2 * WIDE_WARP_COLUMNS + 2 * (lane % 4)) * (n_row + WIDE_PAD) +
           warp / 2 * (n_row / 4) + lane / 4;
}

KERN_CUDA_FN void wide_gather(const struct wide_sums &sums, float *products)
{
    float *const to = wide_place(products, WIDE_ROWS);

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

/* A warp has a row tile of gate and the same of up: a lane has both of each product. */
KERN_CUDA_FN void wide_gather_glu(const struct wide_sums &sums, float *products)
{
    float *const to = wide_place(products, WIDE_ROWS / 2);

    __syncthreads(); /* the rings are read */
#pragma unroll
    for (int j = 0; j < WIDE_8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            to[(8 * j + i % 2) * WIDE_GLU_COLUMN + i / 2 * 8] =
                mm_silu_times(sums.f[0][j][i] * WIDE_UNDO, sums.f[1][j][i] * WIDE_UNDO);
    __syncthreads();
}

/* 64 results, two groups, of each column; a warp four columns at a time. */
KERN_CUDA_FN void wide_store_glu(const float *products, const struct wide_op &op,
                                 const struct wide_part &part)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP, n = op.mats[0].n_out;
    const int row = lane % 8 * 8;

    for (int column0 = 4 * warp; column0 < part.n_column; column0 += 4 * WIDE_WARPS) {
        const int column = column0 + lane / 8;
        const float4 *const from =
            reinterpret_cast<const float4 *>(products + column * WIDE_GLU_COLUMN + row);
        const float v[8] = {from[0].x, from[0].y, from[0].z, from[0].w,
                            from[1].x, from[1].y, from[1].z, from[1].w};
        act_put_row_8(op.out_act, (size_t)(part.column0 + column) * (size_t)n + (size_t)(part.row0 + row), v,
                      column < part.n_column && part.row0 + row < n);
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
    if (op.glu) {
        wide_gather_glu(sums, products);
        wide_store_glu(products, op, part);
    } else {
        wide_gather(sums, products);
        wide_store(products, op, part);
    }
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
    const int n_block = matmul_op_cut(op, op->glu ? WIDE_ROWS / 2 : WIDE_ROWS);
    int shared = WIDE_COLUMNS * WIDE_COLUMN * (int)sizeof(float);

    for (int i = 0; i < op->n_mat; i++) /* gate and up are of one type */
        shared = MAX(shared, wide_shared_bytes(op->mats[i].type));
    return kc_result(KERN_CUDA_LAUNCH(
        matmul_wide_rows, dim3((unsigned)CEIL_DIV(op->n_row, (int)WIDE_COLUMNS), (unsigned)n_block),
        dim3(WIDE_THREADS), (size_t)shared, stream, pdl, *op));
}

int matmul_wide(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    struct wide_op wide = matmul_op_of<struct wide_op>(op);

    return wide_run(&wide, pdl, stream);
}

int matmul_wide_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    struct wide_op wide = matmul_op_of_glu<struct wide_op>(op);

    return wide_run(&wide, pdl, stream);
}

int matmul_wide_init(void)
{
    return kc_result(
        cudaFuncSetAttribute(matmul_wide_rows, cudaFuncAttributeMaxDynamicSharedMemorySize, WIDE_SHARED));
}
