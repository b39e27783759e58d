/* matmul_one.cu - products of one row, or of two: a decode step of as many sequences.  Bound by the
 * weights' bytes, and by what passes between two kernels.
 *
 * An H200 reads 2,304 bytes, 16 rows of a block of Q4_K, in the time of some 470 instructions of a warp: so
 * instructions are what there is to save (one_block.cuh).
 *
 * A block of warps takes a range of row tiles.  The warps share out a tile's slices of k, or several tiles
 * where there are fewer slices; each has a ring of blocks of weights in shared memory, which is under way
 * before the wait for the kernel in front.  A warp alone waits most of its time for its own results: some 24
 * of them keep a multiprocessor busy, in one block where that can have the shared memory, so that they have
 * the row but once.  Code is kept short, loops rolled: a launch may meet it cold.
 *
 * The row may come as x, to be normed: each block does so for itself, which costs less than a kernel of its
 * own in front.  Values and order are norm.cu's. */
#include "matmul_one.cuh"

#include "act.cuh"
#include "matmul_float.cuh"
#include "matmul_op.cuh"
#include "matmul_step.cuh"
#include "norm.cuh"
#include "one_block.cuh"

enum {
    ONE_PASS = 4,     /* row tiles of a warp between two barriers */
    ONE_RING_MIN = 2, /* blocks of weights on their way to a warp */
    ONE_RING_MAX = 4,
    ONE_RING_BYTES = 7680, /* of a warp; more in flight gain nothing */
    ONE_SHARED = 98 << 10, /* at most, of the 99 KiB that every device can give a block: for a few warps */
    ONE_MORE = 224 << 10,  /* of 227: for as many as a multiprocessor has registers for */
    ONE_FEW = 8,           /* warps */
    ONE_SOME = 16,
    ONE_MANY = 24,
    ONE_SLICES = 8,                         /* at most: kern_cuda_n_slice() */
    ONE_TILES = 32,                         /* of gate and of up that a block keeps, at most */
    ONE_DIM_MAX = NORM_THREADS * NORM_EACH, /* of a row to be normed */
};

/* Floats of a pass's sums. */
template <int W, int R>
static constexpr int one_n_sums = (ONE_PASS * W * R) * KERN_CUDA_TILE_ROWS;

struct one_op {
    struct kern_cuda_act in, out_act; /* out_act: of gate and up */
    int n_row, n_mat;
    bool add, glu; /* glu: mats are gate and up, of one type */
    struct kern_cuda_tiles mats[KERN_CUDA_STACK];
    float *out[KERN_CUDA_STACK];
    int block0[KERN_CUDA_STACK]; /* the first block of each; glu: all have both */
    struct kern_cuda_row_norm norm;
    int n_tile; /* of a block; glu: of each matrix */
    int n_ring; /* blocks of weights on their way to a warp */
    int ring_bytes, row_at, sums_at;
};

/* Row tiles of one matrix; glu: of gate and up in turn, two by two, 32 results of each. */
struct one_list {
    int mat, tile0, n;
};

/* Shared memory: rings, where float weights have their normed rows instead; the rows; then these.
 *   [R][n_in / 256] */
KERN_CUDA_FN struct one_x *one_row_at(const struct one_op &op, uint8_t *shared)
{
    return reinterpret_cast<struct one_x *>(shared + op.row_at);
}

/* [2] of one_n_sums<W, R>: [tile][slice][R][16 rows] */
KERN_CUDA_FN float *one_sums_at(const struct one_op &op, uint8_t *shared)
{
    return reinterpret_cast<float *>(shared + op.sums_at);
}

template <int W, int R>
KERN_CUDA_FN float *one_products_at(const struct one_op &op,
                                    uint8_t *shared) /* glu: [2][R][n_tile][16 rows] */
{
    return one_sums_at(op, shared) + 2 * one_n_sums<W, R>;
}

/* tiles */

KERN_CUDA_FN int one_mat_of(const struct one_op &op, const struct one_list &list, int i)
{
    return op.glu ? i / 2 % 2 : list.mat;
}

KERN_CUDA_FN int one_tile_of(const struct one_op &op, const struct one_list &list, int i)
{
    return list.tile0 + (op.glu ? i / 4 * 2 + i % 2 : i);
}

/* The warp's tiles: first, first + step ..., and of each the blocks [block0, block0 + n_block). */
struct one_share {
    int first, step, slice, n_slice, block0, n_block;
};

template <int W>
KERN_CUDA_FN struct one_share one_share_of(int n_in)
{
    const int warp = (int)threadIdx.x / KC_WARP, n_block = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K);
    const int log = kern_cuda_slice_log(n_in), n_slice = 1 << log; /* a division would be a subroutine */
    const int slice = warp & (n_slice - 1), block0 = slice * n_block >> log;

    return {warp >> log, W >> log, slice, n_slice, block0, ((slice + 1) * n_block >> log) - block0};
}

/* Where a result goes: of row n of activations, row `row` of tile i of the list. */
template <int W, int R>
KERN_CUDA_FN void one_put(const struct one_op &op, const struct one_list &list, uint8_t *shared, int i, int n,
                          int row, float v, float old)
{
    const int mat = one_mat_of(op, list, i), tile = one_tile_of(op, list, i), n_out = op.mats[mat].n_out;
    const int out_row = tile * KERN_CUDA_TILE_ROWS + row;

    if (op.glu)
        one_products_at<W, R>(
            op, shared)[((mat * R + n) * op.n_tile + tile - list.tile0) * KERN_CUDA_TILE_ROWS + row] = v;
    else if (out_row < n_out)
        op.out[mat][n * n_out + out_row] = op.add ? old + v : v;
}

/* weights on their way */

/* What a warp fetches next: block b of its slice of tile i of the list, number `block` of the matrix. */
struct one_feed {
    int i, b, block;
};

KERN_CUDA_FN int one_first_block(const struct one_op &op, const struct one_list &list,
                                 const struct one_share &share, int i)
{
    return one_tile_of(op, list, i) * CEIL_DIV(op.mats[0].n_in, KERN_CUDA_BLOCK_K) + share.block0;
}

/* The next block into its place, planes one after another; closes a group, also of nothing. */
template <enum quant_type T>
KERN_CUDA_FN void one_fetch(uint8_t *slot, struct one_feed &feed, const struct one_op &op,
                            const struct one_list &list, const struct one_share &share, int lane)
{
    using kind = one_kind<T>;
    constexpr int chunk = KC_WARP * 16, code = 4 * kind::code_bytes, high = 4 * kind::high_bytes,
                  scale = KERN_CUDA_TILE_ROWS * kind::row_bytes, d = 2 * KERN_CUDA_TILE_ROWS;
    uint8_t *const to = slot + lane * 16;

    if (feed.i < list.n) {
        const struct kern_cuda_tiles &t = op.mats[one_mat_of(op, list, feed.i)];
        const uint8_t *const from = t.data + lane * 16;
        const size_t block = (size_t)feed.block;
#pragma unroll
        for (int at = 0; at < code; at += chunk)
            kc_cp_async_16(to + at, from + block * code + at);
#pragma unroll
        for (int at = 0; at < high; at += chunk)
            kc_cp_async_16(to + code + at, from + t.high + block * high + at);
        if (lane < scale / 16)
            kc_cp_async_16(to + code + high, from + t.scale + block * scale);
        if constexpr (kind::six)
            if (lane < d / 16)
                kc_cp_async_16(to + code + high + scale, from + t.d + block * d);
        feed.block++;
        if (++feed.b == share.n_block) {
            feed.b = 0;
            feed.i += share.step;
            feed.block = one_first_block(op, list, share, feed.i);
        }
    }
    kc_cp_async_commit();
}

KERN_CUDA_FN void one_wait_for_block(int n_ring)
{
    if (n_ring == 2)
        kc_cp_async_wait<1>();
    else if (n_ring == 3)
        kc_cp_async_wait<2>();
    else
        kc_cp_async_wait<3>();
    __syncwarp();
}

/* the row */

/* Row n_th as it is quantised in memory, zeros behind it up to whole blocks; half a group a thread. */
template <int W>
KERN_CUDA_FN void one_stage(const struct one_op &op, struct one_x *x, int n_th)
{
    const int n_in = op.mats[0].n_in, n = CEIL_DIV(n_in, KERN_CUDA_BLOCK_K) * (KERN_CUDA_BLOCK_K / 16);
    const int8_t *const q_of = op.in.q + (size_t)n_th * (size_t)n_in;
    const struct kern_cuda_group *const group_of =
        op.in.group + (size_t)n_th * (size_t)(n_in / KERN_CUDA_GROUP);

#pragma unroll 1
    for (int i = (int)threadIdx.x; i < n; i += W * KC_WARP) {
        struct one_x &to = x[i / 16];
        const bool there = 16 * i < n_in;
        const struct kern_cuda_group none = {0.0f, 0.0f}, group = there ? group_of[i / 2] : none;
        const uint4 v =
            there ? kc_ld_l2(reinterpret_cast<const uint4 *>(q_of + 16 * (size_t)i)) : make_uint4(0, 0, 0, 0);
        uint32_t *const q = to.q + i % 16 / 2 * 8 + i % 2;
        int sum = __dp4a((int)v.x, 0x01010101, 0);
        sum = __dp4a((int)v.y, 0x01010101, sum);
        sum = __dp4a((int)v.z, 0x01010101, sum);
        q[0] = v.x;
        q[2] = v.y;
        q[4] = v.z;
        q[6] = v.w;
        to.half[i % 16] = __dp4a((int)v.w, 0x01010101, sum);
        if (i % 2 == 0)
            to.group[i % 16 / 2] = group;
    }
}

/* Eight values of the row, quantised, into their place: values 8 i to 8 i + 7. */
KERN_CUDA_FN void one_stage_eight(struct one_x *x, int i, int n, const float (&v)[NORM_EACH])
{
    struct one_x &to = x[i / 32];
    uint32_t words[2], *const q = to.q + i % 32 / 4 * 8 + i % 2 * 4 + i % 4 / 2;
    float d;
    int sum = act_codes_8(words, d, v);

    sum += __shfl_xor_sync(KC_ALL_LANES, sum, 1);
    const int of_group = sum + __shfl_xor_sync(KC_ALL_LANES, sum, 2);
    if (i >= n)
        return;
    q[0] = words[0];
    q[2] = words[1];
    if (i % 2 == 0)
        to.half[i % 32 / 2] = sum;
    if (i % 4 == 0)
        to.group[i % 32 / 4] = {d, d * (float)of_group};
}

/* x / rms(x) w of row n_th, quantised, or for float weights as it is; a thread does what one or two of
 * norm_q8() would. */
template <int W>
KERN_CUDA_FN void one_stage_normed(const struct one_op &op, uint8_t *shared, bool floats, int n_th)
{
    constexpr int n_each = CEIL_DIV(NORM_THREADS, W * KC_WARP); /* threads of norm_q8() that one stands for */
    const int n_in = op.mats[0].n_in, n = n_in / NORM_EACH;
    struct one_x *const to = one_row_at(op, shared) + n_th * CEIL_DIV(n_in, KERN_CUDA_BLOCK_K);
    float x[n_each][NORM_EACH], *const part = one_sums_at(op, shared) + n_th * NORM_WARPS;

#pragma unroll
    for (int j = 0; j < n_each; j++)
        norm_load(x[j], op.norm.x + (size_t)n_th * (size_t)n_in, (int)threadIdx.x + j * W * KC_WARP, n, 0.0f);
#pragma unroll
    for (int j = 0; j < n_each; j++) {
        const float sum = kc_warp_sum(norm_squares(x[j], 0.0f));
        const int warp = j * W + (int)threadIdx.x / KC_WARP;
        if (threadIdx.x % KC_WARP == 0 && warp < NORM_WARPS)
            part[warp] = sum;
    }
    __syncthreads();
    const float scale = norm_scale(norm_part_sum(part, CEIL_DIV(n, KC_WARP)), n_in, op.norm.eps);
#pragma unroll
    for (int j = 0; j < n_each; j++) {
        const int i = (int)threadIdx.x + j * W * KC_WARP;
        float w[NORM_EACH];
        norm_load(w, op.norm.w, i, n, 0.0f);
#pragma unroll
        for (int e = 0; e < NORM_EACH; e++)
            x[j][e] = x[j][e] * scale * w[e];
        if (!floats)
            one_stage_eight(to, i, ROUND_UP(n, KERN_CUDA_BLOCK_K / NORM_EACH), x[j]);
        for (int e = 0; e < NORM_EACH && floats && i < n; e++)
            reinterpret_cast<float *>(shared)[n_th * n_in + i * NORM_EACH + e] = x[j][e];
    }
}

/* products */

/* What is there already where a result is to be added: read while the weights are. */
KERN_CUDA_FN float one_old(const struct one_op &op, const struct one_list &list, int i, int n, int row)
{
    const int mat = one_mat_of(op, list, i), n_out = op.mats[mat].n_out;
    const int out_row = one_tile_of(op, list, i) * KERN_CUDA_TILE_ROWS + row;

    return op.add && i < list.n && out_row < n_out ? kc_ld_l2(op.out[mat] + n * n_out + out_row) : 0.0f;
}

/* A pass's sums of slices, added in order, once every warp has written its own.  old: of the first result of
 * this thread. */
template <int W, int R>
KERN_CUDA_FN void one_finish(const struct one_op &op, const struct one_list &list, uint8_t *shared,
                             const float *sums, int i0, const struct one_share &share, float old)
{
    constexpr int n_of_tile = R * KERN_CUDA_TILE_ROWS;
    const int n = MIN(ONE_PASS * share.step, list.n - i0) * n_of_tile;

#pragma unroll 1
    for (int i = (int)threadIdx.x; i < n; i += W * KC_WARP) {
        const int tile = i / n_of_tile, in_tile = i % n_of_tile, row = i % KERN_CUDA_TILE_ROWS;
        const float *const of_tile = sums + tile * share.n_slice * n_of_tile + in_tile;
        float sum = 0.0f;
#pragma unroll
        for (int s = 0; s < ONE_SLICES; s++)
            sum += s < share.n_slice ? of_tile[s * n_of_tile] : 0.0f;
        one_put<W, R>(op, list, shared, i0 + tile, in_tile / KERN_CUDA_TILE_ROWS, row, sum,
                      i < W * KC_WARP ? old
                                      : one_old(op, list, i0 + tile, in_tile / KERN_CUDA_TILE_ROWS, row));
    }
}

/* Waits for the kernel in front and has the rows in shared memory. */
template <int W, int R>
KERN_CUDA_FN void one_take_row(const struct one_op &op, uint8_t *shared, bool floats)
{
    const int line = (int)threadIdx.x * KC_LINE / (int)sizeof(float);

    if (op.norm.x && line < op.mats[0].n_in)
        kc_prefetch(op.norm.w + line);
    kc_pdl_wait();
    kc_pdl_launch();
#pragma unroll 1
    for (int n = 0; n < R; n++)
        if (op.norm.x)
            one_stage_normed<W>(op, shared, floats, n);
        else if (!floats)
            one_stage<W>(op, one_row_at(op, shared) + n * CEIL_DIV(op.mats[0].n_in, KERN_CUDA_BLOCK_K), n);
    __syncthreads();
}

/* The first blocks of weights, before anything of the kernel in front is there. */
template <enum quant_type T, int W>
KERN_CUDA_FN void one_open(struct one_feed &feed, const struct one_op &op, const struct one_list &list,
                           uint8_t *shared)
{
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    const struct one_share share = one_share_of<W>(op.mats[0].n_in);
    uint8_t *const ring = shared + warp * op.ring_bytes;

    feed = {share.first, 0, one_first_block(op, list, share, share.first)};
#pragma unroll 1
    for (int i = 0; i < op.n_ring; i++)
        one_fetch<T>(ring + i * one_kind<T>::block_bytes, feed, op, list, share, lane);
}

template <enum quant_type T, int W, int R>
KERN_CUDA_FN void one_tiles(struct one_feed &feed, const struct one_op &op, const struct one_list &list,
                            uint8_t *shared)
{
    using kind = one_kind<T>;
    const int warp = (int)threadIdx.x / KC_WARP, lane = (int)threadIdx.x % KC_WARP;
    const struct one_share share = one_share_of<W>(op.mats[0].n_in);
    uint8_t *const ring = shared + warp * op.ring_bytes;
    const int n_block = CEIL_DIV(op.mats[0].n_in, KERN_CUDA_BLOCK_K);
    int place = 0;

#pragma unroll 1
    for (int i0 = 0, pass = 0; i0 < list.n; i0 += ONE_PASS * share.step, pass++) {
        float *const sums = one_sums_at(op, shared) + pass % 2 * one_n_sums<W, R>;
        const float old =
            one_old(op, list, i0 + (int)threadIdx.x / (R * KERN_CUDA_TILE_ROWS),
                    (int)threadIdx.x / KERN_CUDA_TILE_ROWS % R, (int)threadIdx.x % KERN_CUDA_TILE_ROWS);
#pragma unroll 1
        for (int j = share.first; j < ONE_PASS * share.step && i0 + j < list.n; j += share.step) {
            float f[R][2] = {};
#pragma unroll 1
            for (int b = 0; b < share.n_block; b++) {
                uint8_t *const slot = ring + place * kind::block_bytes;
                one_wait_for_block(op.n_ring);
                one_block<T, R>(f, slot, one_row_at(op, shared) + share.block0 + b, n_block, lane);
                __syncwarp();
                one_fetch<T>(slot, feed, op, list, share, lane);
                place = place + 1 < op.n_ring ? place + 1 : 0;
            }
            if (lane % 4 == 0) {
                float *const to =
                    sums + (j * share.n_slice + share.slice) * R * KERN_CUDA_TILE_ROWS + lane / 4;
#pragma unroll
                for (int n = 0; n < R; n++) {
                    to[n * KERN_CUDA_TILE_ROWS] = f[n][0];
                    to[n * KERN_CUDA_TILE_ROWS + 8] = f[n][1];
                }
            }
        }
        __syncthreads();
        one_finish<W, R>(op, list, shared, sums, i0, share, old);
    }
    kc_cp_async_wait<0>();
}

template <enum quant_type T, int W, int R>
KERN_CUDA_FN void one_floats(const struct one_op &op, const struct one_list &list, uint8_t *shared)
{
    constexpr int n_pair = KERN_CUDA_TILE_ROWS / 2; /* a warp has two rows of a tile */
    const int warp = (int)threadIdx.x / KC_WARP, in_tile = warp % n_pair * 2, r = (int)threadIdx.x % KC_WARP;

#pragma unroll 1
    for (int i = warp / n_pair; i < list.n; i += W / n_pair) {
        float sum[2][R];
        mm_float_rows<T, R>(sum, op.mats[one_mat_of(op, list, i)],
                            one_tile_of(op, list, i) * KERN_CUDA_TILE_ROWS + in_tile,
                            op.norm.x ? reinterpret_cast<const float *>(shared) : op.in.f, R);
#pragma unroll
        for (int n = 0; n < R; n++)
            if (r < 2)
                one_put<W, R>(op, list, shared, i, n, in_tile + r, r ? sum[1][n] : sum[0][n],
                              one_old(op, list, i, n, in_tile + r));
    }
}

template <int W, int R>
KERN_CUDA_FN void one_product(const struct one_op &op, const struct one_list &list, uint8_t *shared)
{
    const enum quant_type type = op.mats[list.mat].type;
    struct one_feed feed = {0, 0, 0};

#define ONE_OPEN(T)                                                                                          \
    case T:                                                                                                  \
        one_open<T, W>(feed, op, list, shared);                                                              \
        break;
#define ONE_TILES(T)                                                                                         \
    case T:                                                                                                  \
        one_tiles<T, W, R>(feed, op, list, shared);                                                          \
        break;
    switch (type) {
        TILE_TYPES(ONE_OPEN)
    default:
        break;
    }
    one_take_row<W, R>(op, shared, type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16);
    switch (type) {
        TILE_TYPES(ONE_TILES)
    case QUANT_F32:
        one_floats<QUANT_F32, W, R>(op, list, shared);
        break;
    case QUANT_F16:
        one_floats<QUANT_F16, W, R>(op, list, shared);
        break;
    case QUANT_BF16:
        one_floats<QUANT_BF16, W, R>(op, list, shared);
        break;
    }
#undef ONE_OPEN
#undef ONE_TILES
}

/* The products of gate and up, 32 a group: to the activations of `down`. */
template <int W, int R>
KERN_CUDA_FN void one_quantise(const struct one_op &op, const float *products, int tile0, int n_tile)
{
    const int lane = (int)threadIdx.x % KC_WARP, n_of_mat = R * op.n_tile * KERN_CUDA_TILE_ROWS;

    for (int i = (int)threadIdx.x / KC_WARP; i < n_tile / 2 * R; i += W) {
        const int unit = i / R, n = i % R;
        const float *const gate =
            products + n * op.n_tile * KERN_CUDA_TILE_ROWS + unit * KERN_CUDA_GROUP + lane;
        const float v = mm_silu_times(gate[0], gate[n_of_mat]);
        const size_t at = (size_t)n * (size_t)op.mats[0].n_out + (size_t)(tile0 / 2 + unit) * KERN_CUDA_GROUP;
        act_put_32(v, op.out_act.q + at, op.out_act.group + at / KERN_CUDA_GROUP);
        if (op.out_act.f)
            op.out_act.f[at + (size_t)lane] = v;
    }
}

template <int W, int R>
KERN_CUDA_FN void one_list_of(const struct one_op &op, uint8_t *shared)
{
    struct one_list list = {0, 0, 0};

    if (!op.glu)
        while (list.mat + 1 < op.n_mat && (int)blockIdx.x >= op.block0[list.mat + 1])
            list.mat++;
    list.tile0 = ((int)blockIdx.x - op.block0[list.mat]) * op.n_tile;
    const int n_tile = MIN(op.n_tile, CEIL_DIV(op.mats[list.mat].n_out, KERN_CUDA_TILE_ROWS) - list.tile0);
    list.n = op.glu ? 2 * n_tile : n_tile;
    one_product<W, R>(op, list, shared);
    if (!op.glu)
        return;
    __syncthreads();
    one_quantise<W, R>(op, one_products_at<W, R>(op, shared), list.tile0, n_tile);
}

/* W warps: a few, or as many as a multiprocessor holds. */
template <int W, int R>
__global__ static void __launch_bounds__(W *KC_WARP, 1) matmul_one_row(struct one_op op)
{
    KERN_CUDA_SMEM_DYNAMIC(uint8_t, shared);

    if constexpr (W == ONE_FEW || KERN_CUDA_SHARED_227)
        one_list_of<W, R>(op, shared);
}

/* Host. */

/* The largest block of weights of any of them; 0: they are all floats. */
static int one_block_bytes(const struct kern_cuda_tiles *mats, int n_mat)
{
    int most = 0;

#define ONE_BYTES(T)                                                                                         \
    case T:                                                                                                  \
        most = MAX(most, one_kind<T>::block_bytes);                                                          \
        break;
    for (int i = 0; i < n_mat; i++)
        switch (mats[i].type) {
            TILE_TYPES(ONE_BYTES)
        default:
            break;
        }
#undef ONE_BYTES
    return most;
}

/* Of all rows. */
static size_t one_row_bytes(const struct one_op *op, int n_row)
{
    return (size_t)(n_row * CEIL_DIV(op->mats[0].n_in, KERN_CUDA_BLOCK_K)) * sizeof(struct one_x);
}

/* As many blocks of weights on their way as there is room for.  Returns the bytes of all shared memory; 0: it
 * does not fit. */
template <int W, int R>
static size_t one_choose_ring(struct one_op *op)
{
    const size_t most = W == ONE_FEW ? ONE_SHARED : ONE_MORE;
    const size_t block_bytes = (size_t)(W * one_block_bytes(op->mats, op->n_mat));
    const int n_product = op->glu ? 2 * R * op->n_tile * KERN_CUDA_TILE_ROWS : 0;
    const size_t beside = one_row_bytes(op, R) + (size_t)(2 * one_n_sums<W, R> + n_product) * sizeof(float);
    size_t bytes;

    if (beside + ONE_RING_MIN * block_bytes > most)
        return 0;
    op->n_ring = ONE_RING_MAX;
    while (op->n_ring > ONE_RING_MIN &&
           (size_t)op->n_ring * block_bytes > MIN((size_t)(W * ONE_RING_BYTES), most - beside))
        op->n_ring--;
    bytes = (size_t)op->n_ring * block_bytes;
    if (op->norm.x) /* a float matrix of the stack has them there */
        bytes = MAX(bytes, ROUND_UP((size_t)(R * op->mats[0].n_in) * sizeof(float), (size_t)(W * 16)));
    op->ring_bytes = (int)(bytes / (size_t)W);
    op->row_at = (int)bytes;
    op->sums_at = (int)(bytes + one_row_bytes(op, R));
    return bytes + beside <= most ? bytes + beside : 0;
}

/* Cuts the tiles so that the blocks that a device runs at a time have about as much each.  Returns how many.
 */
static int one_cut(struct one_op *op, int n_most)
{
    op->n_tile = CEIL_DIV(matmul_op_n_tile(op), n_most);
    if (op->glu) /* whole groups of 32 results, which wait in shared memory */
        op->n_tile = MIN(ROUND_UP(op->n_tile, 2), (int)ONE_TILES);
    return matmul_op_cut(op, op->n_tile * KERN_CUDA_TILE_ROWS);
}

/* What a launch takes of a device: warps in a block, rows, blocks on a multiprocessor. */
template <int W, int R>
static bool one_plan(struct one_op *op, int n_sm, size_t *ret_shared, int *ret_blocks)
{
    *ret_blocks = one_cut(op, W == ONE_FEW ? 3 * n_sm : n_sm); /* how many find room depends on the device */
    *ret_shared = one_choose_ring<W, R>(op);
    return *ret_shared > 0;
}

template <int W, int R>
static int one_launch(struct one_op *op, int n_sm, bool pdl, cudaStream_t stream)
{
    size_t shared;
    int n_block;

    if (!one_plan<W, R>(op, n_sm, &shared, &n_block))
        return -EINVAL;
    return kc_result(KERN_CUDA_LAUNCH((matmul_one_row<W, R>), dim3((unsigned)n_block), dim3(W * KC_WARP),
                                      shared, stream, pdl, *op));
}

/* Which kernel takes it.  Four rows would take longer so than by matmul_small: 2.9 ms a step of the 9B on an
 * H200 for 2.8. */
enum one_way { ONE_NONE, ONE_ROW_FEW, ONE_ROW_MANY, ONE_ROWS };

template <int W, int R>
static bool one_fits(const struct one_op *op, int n_sm)
{
    struct one_op copy = *op;
    size_t shared;
    int n_block;

    return one_plan<W, R>(&copy, n_sm, &shared, &n_block);
}

static enum one_way one_way_of(const struct one_op *op, int n_sm, int shared_bytes)
{
    const bool more = shared_bytes >= ONE_MORE;

    if (op->glu && op->mats[0].type != op->mats[1].type)
        return ONE_NONE;
    if (op->n_row == 1 && more && one_fits<ONE_MANY, 1>(op, n_sm))
        return ONE_ROW_MANY;
    if (op->n_row == 1)
        return one_fits<ONE_FEW, 1>(op, n_sm) ? ONE_ROW_FEW : ONE_NONE;
    return op->n_row == 2 && more && one_fits<ONE_SOME, 2>(op, n_sm) ? ONE_ROWS : ONE_NONE;
}

static int one_run(struct one_op *op, int n_sm, int shared_bytes, bool pdl, cudaStream_t stream)
{
    switch (one_way_of(op, n_sm, shared_bytes)) {
    case ONE_ROW_FEW:
        return one_launch<ONE_FEW, 1>(op, n_sm, pdl, stream);
    case ONE_ROW_MANY:
        return one_launch<ONE_MANY, 1>(op, n_sm, pdl, stream);
    case ONE_ROWS:
        return one_launch<ONE_SOME, 2>(op, n_sm, pdl, stream);
    case ONE_NONE:
        break;
    }
    return -EINVAL;
}

static struct one_op one_of(const struct kern_cuda_matmul *op)
{
    struct one_op one = matmul_op_of<struct one_op>(op);

    one.norm = op->norm;
    return one;
}

static struct one_op one_of_glu(const struct kern_cuda_gate_up *op)
{
    struct one_op one = matmul_op_of_glu<struct one_op>(op);

    one.norm = op->norm;
    return one;
}

bool matmul_one_takes(const struct kern_cuda_matmul *op)
{
    const struct one_op one = one_of(op);

    return one_way_of(&one, op->n_sm, op->shared_bytes) != ONE_NONE;
}

bool matmul_one_takes_glu(const struct kern_cuda_gate_up *op)
{
    const struct one_op one = one_of_glu(op);

    return one_way_of(&one, op->n_sm, op->shared_bytes) != ONE_NONE;
}

bool matmul_one_norms(int n_in)
{
    return n_in <= ONE_DIM_MAX;
}

int matmul_one(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    struct one_op one = one_of(op);

    return one_run(&one, op->n_sm, op->shared_bytes, pdl, stream);
}

int matmul_one_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    struct one_op one = one_of_glu(op);

    return one_run(&one, op->n_sm, op->shared_bytes, pdl, stream);
}

template <int W, int R>
static int one_init(void)
{
    return kc_result(cudaFuncSetAttribute((matmul_one_row<W, R>), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          W == ONE_FEW ? ONE_SHARED : ONE_MORE));
}

int matmul_one_init(int shared_bytes)
{
    int r = one_init<ONE_FEW, 1>();

    if (r == 0 && shared_bytes >= ONE_MORE)
        r = one_init<ONE_MANY, 1>();
    return r == 0 && shared_bytes >= ONE_MORE ? one_init<ONE_SOME, 2>() : r;
}
