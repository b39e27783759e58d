/* top.cu - the best logits of a row, and the sum of their exponentials.  See struct kern_top.
 *
 * Two kernels.  top_parts, many blocks a row, reads it once: of each part the maximum and the sum, of each
 * group of 64 logits the best one.  top_pick, a block a row, bisects for a value that at least KERN_TOP
 * groups reach and few more: as many logits do, so the best KERN_TOP are all in those groups.  What reaches
 * it there, usually a tenth more than wanted, is ranked by comparing each with each.  Rows that this does not
 * fit (ties by the hundred, or the best ones all beside each other) are bisected themselves by the same
 * block, which takes longer and gives the same.
 *
 * Candidates are gathered in any order; ranks, by value and then by id, make the result one. */
#include "top.cuh"

#include <float.h>

enum {
    PART_THREADS = 256,
    PART_EACH = KERN_CUDA_TOP_PART / PART_THREADS,
    PART_WARPS = PART_THREADS / KC_WARP,
    GROUP_LANES = PART_THREADS / KERN_CUDA_TOP_GROUPS,
    GROUP = GROUP_LANES * PART_EACH,

    PICK_THREADS = 1024,
    PICK_WARPS = PICK_THREADS / KC_WARP,
    PICK_MOST = PICK_THREADS, /* candidates: a thread ranks one */
    GATHER_EACH = 8,
    PICK_ENOUGH = 320, /* groups: closer to KERN_TOP would cost another round of bisection */
};

/* Logits part * KERN_CUDA_TOP_PART + j * PART_THREADS + thread, j < PART_EACH; a group are those of
 * GROUP_LANES neighbouring threads. */
__global__ static void __launch_bounds__(PART_THREADS) top_parts(struct kern_cuda_top op)
{
    KERN_CUDA_SMEM(float, maxima, PART_WARPS);
    KERN_CUDA_SMEM(float, sums, PART_WARPS);
    const int part = (int)blockIdx.x, n_part = (int)gridDim.x, thread = (int)threadIdx.x;
    const int lane = thread % KC_WARP, warp = thread / KC_WARP;
    const size_t row = blockIdx.y, at = row * (size_t)n_part + (size_t)part;
    const float *const x = op.logits + row * (size_t)op.n_vocab;
    float v[PART_EACH], max = -INFINITY, sum = 0.0f;

    kc_pdl_wait();
    kc_pdl_launch();
#pragma unroll
    for (int j = 0; j < PART_EACH; j++) {
        const int i = part * KERN_CUDA_TOP_PART + j * PART_THREADS + thread;
        v[j] = i < op.n_vocab ? x[i] : -INFINITY;
    }
#pragma unroll
    for (int j = 0; j < PART_EACH; j++)
        max = fmaxf(max, v[j]);
    max = kc_warp_max<GROUP_LANES>(max);
    if (lane % GROUP_LANES == 0)
        op.groups[at * KERN_CUDA_TOP_GROUPS + (size_t)(thread / GROUP_LANES)] = max;
    max = kc_warp_max(max);
    if (lane == 0)
        maxima[warp] = max;
    __syncthreads();
    max = kc_warp_max(lane < PART_WARPS ? maxima[lane] : -INFINITY);
#pragma unroll
    for (int j = 0; j < PART_EACH; j++) /* NaN of NaN and of +inf, which is the maximum then */
        sum += v[j] == -INFINITY ? 0.0f : expf(v[j] - max);
    sum = kc_warp_sum(sum);
    if (lane == 0)
        sums[warp] = sum;
    __syncthreads();
    if (warp)
        return;
    sum = kc_warp_sum(lane < PART_WARPS ? sums[lane] : 0.0f);
    if (lane == 0)
        op.parts[at] = {max, sum};
}

/* counting and bisecting */

/* Sums over the block, one barrier each: a thread that is a sum ahead writes into the other half. */
struct top_block {
    int (*part)[PICK_WARPS]; /* shared, [2] */
    int turn;
};

/* *ret_before: the sum of the warps in front of this one. */
KERN_CUDA_FN int top_sum(struct top_block *block, int n, int *ret_before)
{
    const int lane = (int)threadIdx.x % KC_WARP, warp = (int)threadIdx.x / KC_WARP;
    int *const part = block->part[block->turn ^= 1];

    n = __reduce_add_sync(KC_ALL_LANES, n);
    if (lane == 0)
        part[warp] = n;
    __syncthreads();
    n = part[lane];
    *ret_before = __reduce_add_sync(KC_ALL_LANES, lane < warp ? n : 0);
    return __reduce_add_sync(KC_ALL_LANES, n);
}

/* How many of x reach t. */
KERN_CUDA_FN int top_count(struct top_block *block, const float *x, int n, float t)
{
    int count = 0, before;

#pragma unroll 4
    for (int i = (int)threadIdx.x; i < n; i += PICK_THREADS)
        count += x[i] >= t;
    return top_sum(block, count, &before);
}

/* Floats in their order, as numbers without gaps; -0 is 0. */
KERN_CUDA_FN uint32_t top_order(float x)
{
    const uint32_t bits = __float_as_uint(x + 0.0f);

    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

KERN_CUDA_FN float top_unorder(uint32_t order)
{
    return __uint_as_float(order >> 31 ? order & 0x7fffffffu : ~order);
}

/* A value that at least KERN_TOP of x reach, and at most `most` of them: *ret_n.  More than that only if it
 * is the KERN_TOP-th best and others are equal to it; less than KERN_TOP only if no more are above -inf. max:
 * the best of x, or above.  What a model gives is a few units below its best, which is looked at first. */
KERN_CUDA_FN float top_threshold(struct top_block *block, const float *x, int n, float max, int most,
                                 int *ret_n)
{
    enum { PROBES = 4, STEPS = 16 }; /* then by bits, of which there are 32 */
    float lo = -FLT_MAX, hi = top_unorder(top_order(max) + 1u), below = 8.0f;
    int n_lo = 0;

    for (int i = 0; i < PROBES && n_lo < KERN_TOP; i++, below *= 4.0f) {
        const float t = max - below;
        n_lo = t > -FLT_MAX ? top_count(block, x, n, t) : 0;
        if (n_lo >= KERN_TOP)
            lo = t;
        else if (t > -FLT_MAX)
            hi = t;
    }
    if (n_lo < KERN_TOP)
        n_lo = top_count(block, x, n, lo);
    for (int i = 0; n_lo > most && top_order(hi) - top_order(lo) > 1u; i++) {
        float t = 0.5f * lo + 0.5f * hi;
        if (i >= STEPS || !(t > lo && t < hi))
            t = top_unorder(top_order(lo) + (top_order(hi) - top_order(lo)) / 2u);
        const int count = top_count(block, x, n, t);
        if (count < KERN_TOP) {
            hi = t;
        } else {
            lo = t;
            n_lo = count;
        }
    }
    *ret_n = n_lo;
    return lo;
}

/* candidates */

/* By value, then by id from below, as one number. */
KERN_CUDA_FN uint64_t top_key(float x, int id)
{
    return (uint64_t)top_order(x) << 32 | (uint32_t)~id;
}

/* Shared by the block.  keys beyond PICK_MOST are counted and dropped. */
struct top_list {
    uint64_t *keys; /* [PICK_MOST] */
    int *n;
};

KERN_CUDA_FN void top_put(const struct top_list *list, float x, int id)
{
    const int at = atomicAdd(list->n, 1);

    if (at < PICK_MOST)
        list->keys[at] = top_key(x, id);
}

/* All that reach t in the groups whose best one does: they are listed first, then their logits are looked at
 * by neighbouring threads.  More than fit into either list: *list->n is above PICK_MOST. */
KERN_CUDA_FN void top_gather(const float *x, int n, const float *groups, int n_group, float t,
                             const struct top_list *list, int *passed, int *n_passed)
{
    for (int g = (int)threadIdx.x; g < n_group; g += PICK_THREADS)
        if (groups[g] >= t)
            passed[atomicAdd(n_passed, 1)] = g;
    __syncthreads();
    const int n_look = *n_passed * GROUP;
    for (int i0 = (int)threadIdx.x; i0 < n_look; i0 += GATHER_EACH * PICK_THREADS) {
        float v[GATHER_EACH];
        int id[GATHER_EACH];
#pragma unroll
        for (int k = 0; k < GATHER_EACH; k++) { /* under way together */
            const int i = i0 + k * PICK_THREADS, g = i < n_look ? passed[i / GROUP] : 0;
            id[k] = g / KERN_CUDA_TOP_GROUPS * KERN_CUDA_TOP_PART + i % GROUP / GROUP_LANES * PART_THREADS +
                    g % KERN_CUDA_TOP_GROUPS * GROUP_LANES + i % GROUP_LANES;
            v[k] = i < n_look && id[k] < n ? x[id[k]] : -INFINITY;
        }
#pragma unroll
        for (int k = 0; k < GATHER_EACH; k++)
            if (v[k] >= t)
                top_put(list, v[k], id[k]);
    }
    __syncthreads();
}

/* The same of the whole row.  More equal ones than fit: those above them, then the first of them. */
KERN_CUDA_FN void top_gather_row(struct top_block *block, const float *x, int n, float max,
                                 const struct top_list *list)
{
    int n_reach, before;
    const float t = top_threshold(block, x, n, max, PICK_MOST, &n_reach);
    const bool fits = n_reach <= PICK_MOST;

    if (threadIdx.x == 0)
        *list->n = 0;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += PICK_THREADS)
        if (fits ? x[i] >= t : x[i] > t)
            top_put(list, x[i], i);
    __syncthreads();
    int n_have = *list->n;
    __syncthreads();
    for (int i0 = 0; i0 < n && !fits && n_have < KERN_TOP; i0 += PICK_THREADS) {
        const int i = i0 + (int)threadIdx.x;
        const bool is_equal = i < n && x[i] == t;
        const unsigned mask = __ballot_sync(KC_ALL_LANES, is_equal);
        const int n_equal = top_sum(block, is_equal, &before);
        const int at = n_have + before + __popc(mask & ((1u << threadIdx.x % KC_WARP) - 1u));
        if (is_equal && at < KERN_TOP)
            list->keys[at] = top_key(t, i);
        n_have += n_equal;
    }
    if (threadIdx.x == 0)
        *list->n = fits ? n_have : KERN_TOP;
    __syncthreads();
}

/* A warp's: f64, since a row's parts are many. */
KERN_CUDA_FN double top_lse(const struct kern_cuda_top_part *parts, int n_part, float max)
{
    double sum = 0;

    for (int i = (int)threadIdx.x % KC_WARP; i < n_part; i += KC_WARP)
        if (parts[i].max > -INFINITY)
            sum += (double)parts[i].sum * exp((double)parts[i].max - (double)max);
#pragma unroll
    for (int m = KC_WARP / 2; m; m /= 2)
        sum += __shfl_xor_sync(KC_ALL_LANES, sum, m);
    return (double)max + log(sum);
}

__global__ static void __launch_bounds__(PICK_THREADS, 1) top_pick(struct kern_cuda_top op, int n_part)
{
    KERN_CUDA_SMEM(int, sums, 2 * PICK_WARPS);
    KERN_CUDA_SMEM(float, maxima, PICK_WARPS);
    KERN_CUDA_SMEM(uint64_t, keys, PICK_MOST);
    KERN_CUDA_SMEM(int, passed, PICK_MOST);
    KERN_CUDA_SMEM(uint64_t, best, KERN_TOP);
    KERN_CUDA_SMEM(int, counts, 2);
    const int thread = (int)threadIdx.x, lane = thread % KC_WARP, n_group = n_part * KERN_CUDA_TOP_GROUPS;
    const size_t row = blockIdx.x;
    const float *const x = op.logits + row * (size_t)op.n_vocab;
    const float *const groups = op.groups + row * (size_t)n_group;
    const struct kern_cuda_top_part *const parts = op.parts + row * (size_t)n_part;
    struct kern_top_row *const out = op.out + row;
    struct top_block block = {reinterpret_cast<int(*)[PICK_WARPS]>(sums), 0};
    const struct top_list list = {keys, &counts[0]};
    float max = -INFINITY;
    int n_bad = 0, n_pass, before;

    kc_pdl_wait();
    kc_pdl_launch();
    for (int i = thread; i < n_part; i += PICK_THREADS) {
        n_bad += isnan(parts[i].sum);
        max = fmaxf(max, parts[i].max);
    }
    max = kc_warp_max(max);
    if (lane == 0)
        maxima[thread / KC_WARP] = max;
    if (thread < 2)
        counts[thread] = 0;
    n_bad = top_sum(&block, n_bad, &before); /* its barrier is the others' too */
    max = kc_warp_max(maxima[lane]);
    if (thread == 0)
        out->is_bad = n_bad > 0;
    if (n_bad)
        return;
    if (max > -INFINITY) {
        const float t = top_threshold(&block, groups, n_group, max, PICK_ENOUGH, &n_pass);
        if (n_pass <= PICK_MOST)
            top_gather(x, op.n_vocab, groups, n_group, t, &list, passed, &counts[1]);
        if (n_pass > PICK_MOST || *list.n > PICK_MOST) {
            __syncthreads();
            top_gather_row(&block, x, op.n_vocab, max, &list);
        }
    }
    const int n = *list.n, n_best = n < KERN_TOP ? n : KERN_TOP;
    if (thread < n) {
        const uint64_t key = keys[thread];
        int rank = 0;
#pragma unroll 8
        for (int i = 0; i < n; i++)
            rank += keys[i] > key;
        if (rank < KERN_TOP)
            best[rank] = key;
    }
    if (thread / KC_WARP == PICK_WARPS - 1) { /* which has no candidate to rank, as a rule */
        const double lse = max > -INFINITY ? top_lse(parts, n_part, max) : -INFINITY;
        if (lane == 0) {
            out->n = n_best;
            out->lse = lse;
            if (op.asked[row] >= 0)
                out->asked = x[op.asked[row]];
        }
    }
    __syncthreads();
    if (thread < n_best) {
        out->ids[thread] = (int32_t) ~(uint32_t)best[thread];
        out->logits[thread] = top_unorder((uint32_t)(best[thread] >> 32));
    }
}

extern "C" int kern_cuda_top_rows(const struct kern_cuda_top *op, bool pdl, cudaStream_t stream)
{
    const int n_part = kern_cuda_top_n_part(op->n_vocab);
    int r;

    if (op->n_row < 1 || op->n_row > KERN_CUDA_TOP_ROWS || op->n_vocab < 1)
        return -EINVAL;
    r = kc_result(KERN_CUDA_LAUNCH(top_parts, dim3((unsigned)n_part, (unsigned)op->n_row), dim3(PART_THREADS),
                                   0, stream, pdl, *op));
    if (r < 0)
        return r;
    return kc_result(KERN_CUDA_LAUNCH(top_pick, dim3((unsigned)op->n_row), dim3(PICK_THREADS), 0, stream, pdl,
                                      *op, n_part));
}
