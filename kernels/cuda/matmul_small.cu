/* matmul_small.cu - products of few rows, by 16 at a time: bound by the weights' bytes.
 *
 * A block of eight warps takes a range of row tiles.  The warps share out a tile's slices of k (exact.c), or
 * several tiles where there are fewer slices.  Each has a ring of four tiles of weights in shared memory,
 * which is under way past the end of a row tile and before the wait for the kernel in front, and stages its
 * slice of the activations for itself: once, or where that does not fit along with the weights.  So only the
 * end of a row tile has a barrier.  The loop over tiles stays rolled: the warps of a multiprocessor hide its
 * latency, and ten types in one kernel are enough code. */
#include "matmul_small.cuh"

#include "act.cuh"
#include "matmul_float.cuh"
#include "matmul_op.cuh"
#include "matmul_step.cuh"

enum {
    SMALL_RING = 4, /* tiles; of a block, so that a tile's place is its number in the block */
    SMALL_COLUMN = KERN_CUDA_TILE_ROWS + 4, /* floats between columns of sums: rows in other banks */
    SMALL_SHARED = 98 << 10, /* at most, of the 99 KiB that every device can give a block: eight warps */
    SMALL_MORE = 224 << 10,  /* of 227: sixteen */
};

struct small_op {
    struct kern_cuda_act in, out_act; /* out_act: of gate and up */
    int n_row, n_mat;
    bool add, glu; /* glu: mats are gate and up */
    struct kern_cuda_tiles mats[KERN_CUDA_STACK];
    float *out[KERN_CUDA_STACK];
    int block0[KERN_CUDA_STACK]; /* the first block of each; glu: all have both */
    int n_tile;                  /* of a block */
    int n_slot;                  /* tiles of activations that lie there for a slice, or for a warp */
    int ring_bytes;              /* of a warp's ring */
    int stage_bytes;             /* of all activations */
};

/* A block's range of one matrix, and its rows of activations. */
struct small_range {
    int mat, tile0, n_tile;
    int row0, n_row;
};

/* What a block has done before: nothing; waited for the kernel in front; staged its activations, too. */
enum small_turn { SMALL_FIRST, SMALL_WAITED, SMALL_STAGED };

/* Shared memory. */
struct small_smem {
    uint8_t *ring;   /* [warp] of ring_bytes: mm_ring_bytes() */
    uint8_t *stage;  /* [slice, or warp][n_slot] of mm_slot_bytes() */
    float *partial;  /* [small_n_buffer<N>][warp][N][SMALL_COLUMN] sums of slices */
    float *products; /* glu: [n_tile][N][SMALL_COLUMN] */
};

/* Two row tiles in turn, where there is room: the one is added up while the next is multiplied. */
template <int N>
static constexpr int small_n_buffer = N == 16 ? 1 : 2;

/* A warp's share of the slices: blocks [block0, block0 + n_block) of row tiles tile, tile + step ... of the
 * range. */
struct small_share {
    int tile, step, slice, slice_log, block0, n_block;
};

template <int W>
KERN_CUDA_FN struct small_share small_share_of(int n_in, int warp)
{
    const int n_block = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K), log = kern_cuda_slice_log(n_in);
    const int slice = warp & ((1 << log) - 1), block0 = slice * n_block >> log; /* without dividing */

    return {warp >> log, W >> log, slice, log, block0, ((slice + 1) * n_block >> log) - block0};
}

/* Where a result goes.  tile: in the range. */
template <int N>
KERN_CUDA_FN void small_put(const struct small_op &op, const struct small_range &range,
                            const struct small_smem &smem, int tile, int row, int column, float v)
{
    const struct kern_cuda_tiles &t = op.mats[range.mat];
    const int out_row = (range.tile0 + tile) * KERN_CUDA_TILE_ROWS + row;

    if (op.glu) {
        float *const p = smem.products + (tile * N + column) * SMALL_COLUMN + row;
        *p = range.mat == 0 ? v : mm_silu_times(*p, v);
    } else if (out_row < t.n_out) {
        float *const p =
            op.out[range.mat] + (size_t)(range.row0 + column) * (size_t)t.n_out + (size_t)out_row;
        *p = op.add ? *p + v : v;
    }
}

/* Tile of k, all rows, into a slot: in the background; the caller commits. */
template <int N>
KERN_CUDA_FN void small_stage(const struct small_op &op, const struct small_range &range, uint8_t *slot,
                              int tile, int lane)
{
    const int n_in = op.mats[0].n_in, n = n_in / KERN_CUDA_GROUP, k = tile * KERN_CUDA_TILE_K + lane % 4 * 16;
    struct kern_cuda_group *const groups =
        reinterpret_cast<struct kern_cuda_group *>(slot + range.n_row * MM_ROW_BYTES);

    for (int row = lane / 4; row < range.n_row; row += KC_WARP / 4)
        kc_cp_async_16_or_zero(slot + row * MM_ROW_BYTES + lane % 4 * 16,
                               op.in.q + (size_t)(range.row0 + row) * (size_t)n_in + (k < n_in ? k : 0),
                               k < n_in);
    if (lane < range.n_row * MM_GROUPS) {
        const int row = lane / MM_GROUPS, group = tile * MM_GROUPS + lane % MM_GROUPS;
        struct kern_cuda_group *const to = groups + lane % MM_GROUPS * N + row;
        if (group < n)
            kc_cp_async_8(to, op.in.group + (size_t)(range.row0 + row) * (size_t)n + (size_t)group);
        else
            *to = {0.0f, 0.0f};
    }
}

/* A tile's sums of slices, added in order, once every warp has written its own. */
template <int N, int W>
KERN_CUDA_FN void small_finish(const struct small_op &op, const struct small_range &range,
                               const struct small_smem &smem, const float *partial, int tile0, int n_slice)
{
    const int n_tile = MIN(W / n_slice, range.n_tile - tile0);

#pragma unroll 1
    for (int i = (int)threadIdx.x; i < n_tile * N * KERN_CUDA_TILE_ROWS; i += W * KC_WARP) {
        const int row = i % KERN_CUDA_TILE_ROWS, column = i / KERN_CUDA_TILE_ROWS % N;
        const int tile = i / KERN_CUDA_TILE_ROWS / N;
        const float *const from = partial + (tile * n_slice * N + column) * SMALL_COLUMN + row;
        float sum = 0.0f;
        if (column >= range.n_row)
            continue;
#pragma unroll
        for (int s = 0; s < 8; s++)
            sum += s < n_slice ? from[s * N * SMALL_COLUMN] : 0.0f;
        small_put<N>(op, range, smem, tile0 + tile, row, column, sum);
    }
}

template <int N>
KERN_CUDA_FN void small_write_partial(float *to, const struct mm_sums<N> &sums, int lane)
{
    const int g = lane / 4, q = lane % 4;

#pragma unroll
    for (int j = 0; j < mm_sums<N>::n_8; j++)
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int c = 0; c < mm_sums<N>::n_column; c++)
                to[(8 * j + 2 * q + c) * SMALL_COLUMN + g + 8 * r] = sums.f[j][r][c];
}

/* A warp's tiles on their way into its ring. */
struct small_feed {
    uint8_t *ring, *stage;
    bool whole;         /* the slice's activations are all there, and stay; else they come along */
    int block, b, left; /* the next block of the matrix, of its slice; blocks to come, it among them */
};

/* To the block after that; step: blocks from the slice's end to its begin in the warp's next tile. */
KERN_CUDA_FN void small_advance(struct small_feed &feed, int n_block, int step)
{
    const bool last = ++feed.b == n_block;

    feed.block += last ? step : 1;
    feed.b = last ? 0 : feed.b;
    feed.left--;
}

/* The ring's first block, before the kernel in front has ended; then its activations, or the whole slice's,
 * for all warps that have this slice. */
template <enum quant_type T, int N>
KERN_CUDA_FN void small_begin(struct small_feed &feed, const struct small_op &op,
                              const struct small_range &range, const struct small_share &share,
                              enum small_turn turn, int lane)
{
    const bool shares = feed.whole && turn != SMALL_STAGED;
    const int end = !feed.whole ? feed.left ? SMALL_RING : 0 : shares ? SMALL_RING * share.n_block : 0;

    if (feed.left) {
        struct tile_source from;
        tile_source_open<T>(from, op.mats[range.mat], (size_t)feed.block, lane);
        tile_fetch_scales<T>(mm_ring_scales<T>(feed.ring, SMALL_RING, 0), from, lane);
        for (int i = 0; i < SMALL_RING; i++)
            tile_fetch<T>(feed.ring + i * tile_kind<T>::tile_bytes, from, i, lane);
    }
    if (turn == SMALL_FIRST) {
        kc_pdl_wait();
        kc_pdl_launch();
    }
#pragma unroll 1
    for (int i = feed.whole ? share.tile : 0; i < end; i += feed.whole ? share.step : 1)
        small_stage<N>(op, range, feed.stage + (size_t)i * mm_slot_bytes(N, range.n_row),
                       share.block0 * SMALL_RING + i, lane);
    kc_cp_async_commit();
    kc_cp_async_wait<0>();
    if (shares)
        __syncthreads();
}

/* Block n of the warp: tiles are multiplied in order, each place in the ring is filled again at once.  slot:
 * the first tile's activations. */
template <enum quant_type T, int N>
KERN_CUDA_FN void small_block(struct mm_sums<N> &sums, const struct small_feed &feed,
                              const struct small_op &op, const struct small_range &range,
                              const struct small_share &share, int n, uint8_t *slot, int lane)
{
    using kind = tile_kind<T>;
    const int slot_bytes = (int)mm_slot_bytes(N, range.n_row);
    const bool more = feed.left > 0;
    struct tile_source from;
    uint8_t *tile = feed.ring;

    tile_source_open<T>(from, op.mats[range.mat], (size_t)feed.block, lane);
    kc_cp_async_wait<SMALL_RING - 1>();
    __syncwarp();
    const uint8_t *const scales = mm_ring_expand<T>(feed.ring, SMALL_RING, n, lane);
    if (more)
        tile_fetch_scales<T>(mm_ring_scales<T>(feed.ring, SMALL_RING, n + 1), from, lane);
#pragma unroll 1
    for (int i = 0; i < SMALL_RING; i++) {
        kc_cp_async_wait<SMALL_RING - 1>();
        __syncwarp();
        mm_tile<T, N>(sums, tile, scales, slot, range.n_row, i, lane);
        __syncwarp();
        if (more)
            tile_fetch<T>(tile, from, i, lane);
        if (more && !feed.whole)
            small_stage<N>(op, range, slot, (share.block0 + feed.b) * 4 + i, lane);
        kc_cp_async_commit();
        tile += kind::tile_bytes;
        slot += slot_bytes;
    }
}

/* The range's tiles of a quantised matrix. */
template <enum quant_type T, int N, int W>
KERN_CUDA_FN void small_tiles(const struct small_op &op, const struct small_range &range,
                              const struct small_smem &smem, enum small_turn turn)
{
    const int lane = (int)threadIdx.x % KC_WARP, warp = (int)threadIdx.x / KC_WARP;
    const int n_in = op.mats[range.mat].n_in, n_block = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K);
    const struct small_share share = small_share_of<W>(n_in, warp);
    const int n_slice = 1 << share.slice_log;
    const int to_next = share.step * n_block - (share.n_block - 1);
    struct small_feed feed;
    int n = 0;

    feed.ring = smem.ring + warp * op.ring_bytes;
    feed.whole = op.n_slot >= 4 * ((n_block + n_slice - 1) >> share.slice_log);
    feed.stage =
        smem.stage + (size_t)((feed.whole ? share.slice : warp) * op.n_slot) * mm_slot_bytes(N, range.n_row);
    feed.b = 0;
    feed.left = 0;
    for (int tile = share.tile; tile < range.n_tile; tile += share.step)
        feed.left += share.n_block;
    feed.block = (range.tile0 + share.tile) * n_block + share.block0;
    small_begin<T, N>(feed, op, range, share, turn, lane);
    small_advance(feed, share.n_block, to_next);
    for (int tile0 = 0, pass = 0; tile0 < range.n_tile; tile0 += share.step, pass++) {
        float *const partial = smem.partial + pass % small_n_buffer<N> * W * N * SMALL_COLUMN;
        struct mm_sums<N> sums;
        if (tile0 + share.tile < range.n_tile)
            for (int b = 0; b < share.n_block; b++) {
                const size_t slot = feed.whole ? (size_t)(4 * b) * mm_slot_bytes(N, range.n_row) : 0;
                small_block<T, N>(sums, feed, op, range, share, n++, feed.stage + slot, lane);
                small_advance(feed, share.n_block, to_next);
            }
        if (small_n_buffer<N> == 1 && pass)
            __syncthreads(); /* the sums before are added up */
        small_write_partial<N>(partial + warp * N * SMALL_COLUMN, sums, lane);
        __syncthreads();
        small_finish<N, W>(op, range, smem, partial, tile0, n_slice);
    }
    kc_cp_async_wait<0>();
}

template <enum quant_type T, int N, int W>
KERN_CUDA_FN void small_floats(const struct small_op &op, const struct small_range &range,
                               const struct small_smem &smem, enum small_turn turn)
{
    constexpr int n = 4;                                     /* rows of activations at a time */
    constexpr int at_a_time = W / (KERN_CUDA_TILE_ROWS / 2); /* tiles; a warp has two rows of one */
    const int lane = (int)threadIdx.x % KC_WARP, pair = (int)threadIdx.x / KC_WARP;
    const int in_tile = pair % (KERN_CUDA_TILE_ROWS / 2) * 2;
    const struct kern_cuda_tiles &t = op.mats[range.mat];

    if (turn == SMALL_FIRST) {
        kc_pdl_wait();
        kc_pdl_launch();
    }
    for (int tile = pair / (KERN_CUDA_TILE_ROWS / 2); tile < range.n_tile; tile += at_a_time)
        for (int column0 = 0; column0 < range.n_row; column0 += n) {
            float sum[2][n];
            mm_float_rows<T, n>(sum, t, (range.tile0 + tile) * KERN_CUDA_TILE_ROWS + in_tile,
                                op.in.f + (size_t)(range.row0 + column0) * (size_t)t.n_in,
                                range.n_row - column0);
#pragma unroll
            for (int r = 0; r < 2; r++)
#pragma unroll
                for (int c = 0; c < n; c++)
                    if (lane == 0 && column0 + c < range.n_row)
                        small_put<N>(op, range, smem, tile, in_tile + r, column0 + c, sum[r][c]);
        }
}

template <int N, int W>
KERN_CUDA_FN void small_product(const struct small_op &op, const struct small_range &range,
                                const struct small_smem &smem, enum small_turn turn)
{
#define SMALL_CASE(T)                                                                                        \
    case T:                                                                                                  \
        small_tiles<T, N, W>(op, range, smem, turn);                                                         \
        break;
    switch (op.mats[range.mat].type) {
        TILE_TYPES(SMALL_CASE)
    case QUANT_F32:
        small_floats<QUANT_F32, N, W>(op, range, smem, turn);
        break;
    case QUANT_F16:
        small_floats<QUANT_F16, N, W>(op, range, smem, turn);
        break;
    case QUANT_BF16:
        small_floats<QUANT_BF16, N, W>(op, range, smem, turn);
        break;
    }
#undef SMALL_CASE
}

/* The products of gate and up, 32 a group: to the activations of `down`. */
template <int N, int W>
KERN_CUDA_FN void small_quantise(const struct small_op &op, const struct small_range &range,
                                 const float *products)
{
    const int lane = (int)threadIdx.x % KC_WARP, n = op.mats[0].n_out, n_unit = range.n_tile / 2;

    for (int i = (int)threadIdx.x / KC_WARP; i < n_unit * N; i += W) {
        const int unit = i / N, column = i % N;
        const int tile = 2 * unit + lane / KERN_CUDA_TILE_ROWS, row = lane % KERN_CUDA_TILE_ROWS;
        if (column >= range.n_row)
            continue;
        const float v = products[(tile * N + column) * SMALL_COLUMN + row];
        const size_t at =
            (size_t)(range.row0 + column) * (size_t)n + (size_t)(range.tile0 / 2 + unit) * KERN_CUDA_GROUP;
        act_put_32(v, op.out_act.q + at, op.out_act.group + at / KERN_CUDA_GROUP);
        if (op.out_act.f)
            op.out_act.f[at + (size_t)lane] = v;
    }
}

template <int N, int W>
KERN_CUDA_FN void small_ranges(const struct small_op &op, uint8_t *shared)
{
    struct small_range range = {0, 0, 0, 0, 0};
    struct small_smem smem;

    range.row0 = (int)blockIdx.y * MATMUL_SMALL_ROWS;
    range.n_row = MIN((int)MATMUL_SMALL_ROWS, op.n_row - range.row0);
    smem.ring = shared;
    smem.stage = smem.ring + W * op.ring_bytes;
    smem.partial = reinterpret_cast<float *>(smem.stage + op.stage_bytes);
    smem.products = smem.partial + small_n_buffer<N> * W * N * SMALL_COLUMN;
    if (!op.glu)
        while (range.mat + 1 < op.n_mat && (int)blockIdx.x >= op.block0[range.mat + 1])
            range.mat++;
    range.tile0 = ((int)blockIdx.x - op.block0[range.mat]) * op.n_tile;
    range.n_tile = MIN(op.n_tile, CEIL_DIV(op.mats[range.mat].n_out, KERN_CUDA_TILE_ROWS) - range.tile0);
    for (int part = 0; part < (op.glu ? 2 : 1); part++) {
        enum small_turn turn = SMALL_FIRST;
        if (part) {
            __syncthreads(); /* gate's sums, by whichever threads */
            range.mat = 1;
            turn = kern_cuda_planes_of(op.mats[0].type).code ? SMALL_STAGED : SMALL_WAITED;
        }
        small_product<N, W>(op, range, smem, turn);
    }
    if (!op.glu)
        return;
    __syncthreads();
    small_quantise<N, W>(op, range, smem.products);
}

/* W warps: eight, as many blocks as shared memory leaves room for, or sixteen that share the rows. */
template <int N, int W>
__global__ static void __launch_bounds__(W *KC_WARP, N == 8 && W == 8 ? KERN_CUDA_BLOCKS(2, 1) : 1)
    matmul_small_rows(struct small_op op)
{
    KERN_CUDA_SMEM_DYNAMIC(uint8_t, shared);

    if constexpr (W == 8 || KERN_CUDA_SHARED_227)
        small_ranges<N, W>(op, shared);
}

/* Host. */

/* Bytes of a warp's ring: those of its largest tiles. */
static int small_ring_bytes(const struct kern_cuda_tiles *t)
{
#define SMALL_BYTES(T)                                                                                       \
    case T:                                                                                                  \
        return mm_ring_bytes<T>(SMALL_RING);
    switch (t->type) {
        TILE_TYPES(SMALL_BYTES)
    default:
        return 0;
    }
#undef SMALL_BYTES
}

static size_t small_float_bytes(const struct small_op *op, int n_column, int n_warp)
{
    const int n_buffer = n_column == 16 ? small_n_buffer<16> : small_n_buffer<8>;
    const int n_sums = n_buffer * n_warp + (op->glu ? op->n_tile : 0);

    return (size_t)(n_sums * n_column * SMALL_COLUMN) * sizeof(float);
}

/* All slices where they fit, for all warps together, else as much for each of them as its ring has. */
static size_t small_choose_shared(struct small_op *op, int n_column, int n_warp, size_t most)
{
    const int n_in = op->mats[0].n_in, n_slice = kern_cuda_n_slice(n_in);
    const int slice = CEIL_DIV(CEIL_DIV(n_in, KERN_CUDA_BLOCK_K), n_slice) * SMALL_RING;
    const size_t slot = mm_slot_bytes(n_column, MIN(op->n_row, (int)MATMUL_SMALL_ROWS));
    size_t bytes, stage;

    op->ring_bytes = 0;
    for (int i = 0; i < op->n_mat; i++)
        op->ring_bytes = MAX(op->ring_bytes, small_ring_bytes(&op->mats[i]));
    bytes = (size_t)(n_warp * op->ring_bytes) + small_float_bytes(op, n_column, n_warp);
    op->n_slot = slice;
    stage = (size_t)(n_slice * slice) * slot;
    if (bytes + stage > most) {
        op->n_slot = SMALL_RING;
        stage = (size_t)(n_warp * SMALL_RING) * slot;
    }
    op->stage_bytes = op->ring_bytes ? (int)stage : 0; /* floats have none */
    return bytes + (size_t)op->stage_bytes;
}

/* Cuts the tiles so that the blocks of a multiprocessor have about as much each.  Returns how many. */
static int small_cut(struct small_op *op, int n_column, int n_sm, int n_warp)
{
    op->n_tile = CEIL_DIV(matmul_op_n_tile(op), n_warp == 16 ? n_sm : 2 * n_sm);
    if (op->glu) /* whole groups of 32 results, which wait in shared memory */
        op->n_tile = MIN(ROUND_UP(op->n_tile, 2), n_warp == 8 && n_column == 16 ? 2 : 8);
    return matmul_op_cut(op, op->n_tile * KERN_CUDA_TILE_ROWS);
}

template <int N, int W>
static int small_launch(struct small_op *op, int n_sm, bool pdl, cudaStream_t stream)
{
    const dim3 grid((unsigned)small_cut(op, N, n_sm, W),
                    (unsigned)CEIL_DIV(op->n_row, (int)MATMUL_SMALL_ROWS)),
        block(W * KC_WARP);
    const size_t shared = small_choose_shared(op, N, W, W == 8 ? SMALL_SHARED : SMALL_MORE);

    return kc_result(KERN_CUDA_LAUNCH((matmul_small_rows<N, W>), grid, block, shared, stream, pdl, *op));
}

static int small_run(struct small_op *op, int n_sm, int shared_bytes, bool pdl, cudaStream_t stream)
{
    const bool more = shared_bytes >= SMALL_MORE;

    if (op->n_row <= 8)
        return more ? small_launch<8, 16>(op, n_sm, pdl, stream) : small_launch<8, 8>(op, n_sm, pdl, stream);
    return more ? small_launch<16, 16>(op, n_sm, pdl, stream) : small_launch<16, 8>(op, n_sm, pdl, stream);
}

int matmul_small(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    struct small_op small = matmul_op_of<struct small_op>(op);

    return small_run(&small, op->n_sm, op->shared_bytes, pdl, stream);
}

int matmul_small_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    struct small_op small = matmul_op_of_glu<struct small_op>(op);

    return small_run(&small, op->n_sm, op->shared_bytes, pdl, stream);
}

template <int N, int W>
static int small_init(int shared)
{
    return kc_result(
        cudaFuncSetAttribute((matmul_small_rows<N, W>), cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
}

int matmul_small_init(int shared_bytes)
{
    int r = small_init<8, 8>(SMALL_SHARED);

    if (r == 0)
        r = small_init<16, 8>(SMALL_SHARED);
    if (r == 0 && shared_bytes >= SMALL_MORE)
        r = small_init<8, 16>(SMALL_MORE);
    return r == 0 && shared_bytes >= SMALL_MORE ? small_init<16, 16>(SMALL_MORE) : r;
}
