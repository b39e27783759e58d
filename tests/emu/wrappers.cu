/* wrappers.cu - every function of dev.cuh and every intrinsic that may be used, once.  test_wrappers.cpp runs
 * it in the emulation, tests/lint/nvcc.py compiles it for each architecture. */
#include "kernels/cuda/dev.cuh"

enum { WRAP_WARP_ROWS = 22, WRAP_INT_ROWS = 13, WRAP_HALF_ROWS = 8, WRAP_HALF2_ROWS = 5 };

/* One warp.  in [32]   out [WRAP_WARP_ROWS][32] */
__global__ void wrap_warp(const unsigned *in, unsigned *out)
{
    const unsigned lane = threadIdx.x, v = in[lane], odd = lane & 1 ? 0xaaaaaaaau : 0x55555555u;
    int all = 0;

    out[0 * 32 + lane] = __shfl_sync(KC_ALL_LANES, v, (int)(v % 32));
    out[1 * 32 + lane] = __shfl_sync(KC_ALL_LANES, v, 5, 8);
    out[2 * 32 + lane] = __shfl_up_sync(KC_ALL_LANES, v, 3);
    out[3 * 32 + lane] = __shfl_up_sync(KC_ALL_LANES, v, 2, 16);
    out[4 * 32 + lane] = __shfl_down_sync(KC_ALL_LANES, v, 7);
    out[5 * 32 + lane] = __shfl_down_sync(KC_ALL_LANES, v, 1, 4);
    out[6 * 32 + lane] = __shfl_xor_sync(KC_ALL_LANES, v, 21);
    out[7 * 32 + lane] = __shfl_xor_sync(KC_ALL_LANES, v, 9, 8);
    out[8 * 32 + lane] = __ballot_sync(KC_ALL_LANES, v & 4);
    out[9 * 32 + lane] =
        (unsigned)__any_sync(KC_ALL_LANES, v == in[31]) + 2 * (unsigned)__any_sync(KC_ALL_LANES, 0);
    out[10 * 32 + lane] =
        (unsigned)__all_sync(KC_ALL_LANES, 1) + 2 * (unsigned)__all_sync(KC_ALL_LANES, lane != 3);
    out[11 * 32 + lane] = __match_any_sync(KC_ALL_LANES, v % 4);
    out[12 * 32 + lane] = __match_all_sync(KC_ALL_LANES, v / 1000000, &all);
    out[13 * 32 + lane] = (unsigned)all;
    out[14 * 32 + lane] = __reduce_add_sync(KC_ALL_LANES, v);
    out[15 * 32 + lane] = (unsigned)__reduce_add_sync(KC_ALL_LANES, (int)v);
    out[16 * 32 + lane] =
        (unsigned)__reduce_min_sync(KC_ALL_LANES, (int)v) ^ __reduce_min_sync(KC_ALL_LANES, v);
    out[17 * 32 + lane] =
        (unsigned)__reduce_max_sync(KC_ALL_LANES, (int)v) ^ __reduce_max_sync(KC_ALL_LANES, v);
    out[18 * 32 + lane] = __reduce_add_sync(odd, v); /* two halves, each with itself */
    out[19 * 32 + lane] = (unsigned)(int)kc_warp_sum((float)(v % 64));
    out[20 * 32 + lane] = (unsigned)(int)kc_warp_max<8>((float)(v % 4096));
    out[21 * 32 + lane] = (unsigned)kc_warp_sum<4>((int)(v % 1024));
    __syncwarp();
}

/* in [n][3]   out [WRAP_INT_ROWS][n] */
__global__ void wrap_int(const unsigned *in, unsigned *out, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i >= n)
        return;
    const unsigned a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
    out[0 * n + i] = (unsigned)__dp4a((int)a, (int)b, (int)c);
    out[1 * n + i] = __dp4a(a, b, c);
    out[2 * n + i] = __funnelshift_r(a, b, c);
    out[3 * n + i] = __funnelshift_l(a, b, c);
    out[4 * n + i] = __byte_perm(a, b, c & 0x7777);
    out[5 * n + i] = (unsigned)__popc(a);
    out[6 * n + i] = (unsigned)__clz((int)(a >> (b & 31)));
    out[7 * n + i] = (unsigned)__ffs((int)(a << (b & 31)));
    out[8 * n + i] = (unsigned)__float2int_rn((float)(int)a / 65536.0f);
    out[9 * n + i] =
        __float_as_uint(__uint_as_float(a >> 2)) + (unsigned)__float_as_int(__int_as_float((int)(b >> 2)));
    out[10 * n + i] = __float_as_uint(fmaf(__uint_as_float(0x3f800000u | a >> 9), 3.0f, 0.1f));
    out[12 * n + i] = kc_and_or(a, b, c);
    out[11 * n + i] = __float_as_uint(expf((float)(int)b / 1e9f));
}

/* in [n]   out [WRAP_HALF_ROWS][n] */
__global__ void wrap_half(const float *in, unsigned *out, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i >= n)
        return;
    const float x = in[i], y = in[(i + 1) % n];
    const __half2 pair = __floats2half2_rn(x, y),
                  swapped = __halves2half2(__high2half(pair), __low2half(pair));
    const __nv_bfloat162 bpair = __floats2bfloat162_rn(x, y);
    out[0 * n + i] = __half_as_ushort(__float2half_rn(x));
    out[1 * n + i] = __float_as_uint(__half2float(__ushort_as_half((unsigned short)i)));
    out[2 * n + i] = __float_as_uint(__half22float2(swapped).x);
    out[3 * n + i] = __float_as_uint(__half22float2(swapped).y);
    out[4 * n + i] = __float_as_uint(__bfloat162float(__float2bfloat16_rn(x)));
    out[5 * n + i] = __float_as_uint(__bfloat1622float2(bpair).x);
    out[6 * n + i] = __float_as_uint(__bfloat1622float2(bpair).y);
    out[7 * n + i] = __float_as_uint(sqrtf(fabsf(x)));
}

/* in [n][3] words of two halves   out [WRAP_HALF2_ROWS][n] */
__global__ void wrap_half2(const unsigned *in, unsigned *out, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i >= n)
        return;
    const unsigned a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
    out[0 * n + i] = kc_half2_add(a, c);
    out[1 * n + i] = kc_half2_mul(a, b);
    out[2 * n + i] = kc_half2_fma(a, b, c);
    out[3 * n + i] = kc_half2_low(a);
    out[4 * n + i] = kc_half2_high(a);
}

/* One warp a product, in place and not; where they differ d is what no product gives.
 *   A [16][K] int8, U: uint8   B [8][K] int8, its columns   D [16][8] in/out */
template <int K, bool U>
__global__ void wrap_mma_s8(const int8_t *a, const int8_t *b, int *d)
{
    const int lane = (int)threadIdx.x, g = lane / 4, q = lane % 4;
    uint32_t fa[K / 8], fb[K / 16];
    int fd[4];

    for (int i = 0; i < K / 8; i++)
        fa[i] = *reinterpret_cast<const uint32_t *>(a + (g + 8 * (i % 2)) * K + 16 * (i / 2) + 4 * q);
    for (int i = 0; i < K / 16; i++)
        fb[i] = *reinterpret_cast<const uint32_t *>(b + g * K + 16 * i + 4 * q);
    for (int i = 0; i < 4; i++)
        fd[i] = d[(g + 8 * (i / 2)) * 8 + 2 * q + i % 2];
    int from[4];
    if constexpr (U) {
        for (int i = 0; i < 4; i++)
            from[i] = fd[i];
        kc_mma_u8s8_k32(from, fa, fb);
        kc_mma_u8s8_k32(fd, fa, fb);
    } else if constexpr (K == 32) {
        kc_mma_s8_k32_from(from, fa, fb, fd);
        kc_mma_s8_k32(fd, fa, fb);
    } else {
        kc_mma_s8_k16_from(from, fa, fb, fd);
        kc_mma_s8_k16(fd, fa, fb);
    }
    for (int i = 0; i < 4; i++)
        d[(g + 8 * (i / 2)) * 8 + 2 * q + i % 2] = from[i] == fd[i] ? fd[i] : 0x7fffffff;
}

/* A [16][16], B [16][8] 16-bit floats, row by row, through shared memory and ldmatrix: A as it lies, B
 * transposed. */
template <bool BF16>
__global__ void wrap_mma_float(const uint16_t *a, const uint16_t *b, float *d)
{
    const int lane = (int)threadIdx.x, g = lane / 4, q = lane % 4;
    KERN_CUDA_SMEM(uint16_t, sa, 16 * 16);
    KERN_CUDA_SMEM(uint16_t, sb, 16 * 8);
    uint32_t fa[4], fb[2];
    float fd[4];

    kc_cp_async_16(sa + lane * 8, a + lane * 8);
    if (lane < 16)
        kc_cp_async_16_or_zero(sb + lane * 8, b + lane * 8, true);
    kc_cp_async_commit();
    kc_cp_async_wait<0>();
    __syncwarp();
    kc_ldmatrix_x4(fa, sa + lane % 16 * 16 + lane / 16 * 8);
    kc_ldmatrix_x2_trans(fb, sb + lane % 16 * 8);
    for (int i = 0; i < 4; i++)
        fd[i] = d[(g + 8 * (i / 2)) * 8 + 2 * q + i % 2];
    if constexpr (BF16)
        kc_mma_bf16(fd, fa, fb);
    else
        kc_mma_f16(fd, fa, fb);
    for (int i = 0; i < 4; i++)
        d[(g + 8 * (i / 2)) * 8 + 2 * q + i % 2] = fd[i];
}

/* in [4][8][8] 16-bit   out [14][32]: x1, x2, x4, then the same transposed */
__global__ void wrap_ldmatrix(const uint16_t *in, uint32_t *out)
{
    const int lane = (int)threadIdx.x;
    KERN_CUDA_SMEM_DYNAMIC(uint16_t, m);
    uint32_t r1[1], r2[2], r4[4];

    for (int i = lane; i < 4 * 64; i += 32)
        m[i] = in[i];
    __syncthreads();
    const uint16_t *const row = m + lane * 8;
    kc_ldmatrix_x1(r1, row);
    out[lane] = r1[0];
    kc_ldmatrix_x2(r2, row);
    for (int i = 0; i < 2; i++)
        out[(1 + i) * 32 + lane] = r2[i];
    kc_ldmatrix_x4(r4, row);
    for (int i = 0; i < 4; i++)
        out[(3 + i) * 32 + lane] = r4[i];
    kc_ldmatrix_x1_trans(r1, row);
    out[7 * 32 + lane] = r1[0];
    kc_ldmatrix_x2_trans(r2, row);
    for (int i = 0; i < 2; i++)
        out[(8 + i) * 32 + lane] = r2[i];
    kc_ldmatrix_x4_trans(r4, row);
    for (int i = 0; i < 4; i++)
        out[(10 + i) * 32 + lane] = r4[i];
}

/* A ring of three stages, each size of copy.  in [n_stage][64] words, out the same.  64 threads; words past
 * n_valid are zero. */
__global__ void wrap_copies(const uint32_t *in, uint32_t *out, int n_stage, int n_valid)
{
    enum { STAGES = 3, WORDS = 64 };
    const int t = (int)threadIdx.x;
    KERN_CUDA_SMEM(uint32_t, ring, STAGES * WORDS);

    for (int s = 0; s < n_stage + STAGES - 1; s++) {
        uint32_t *const to = ring + s % STAGES * WORDS;
        const uint32_t *const from = in + s * WORDS;
        if (s < n_stage) {
            if (t < 16)
                kc_cp_async_4(to + t, from + t);
            else if (t < 24)
                kc_cp_async_8(to + 16 + (t - 16) * 2, from + 16 + (t - 16) * 2);
            else if (t < 28)
                kc_cp_async_16(to + 32 + (t - 24) * 4, from + 32 + (t - 24) * 4);
            else if (t < 32)
                kc_cp_async_16_or_zero(to + 48 + (t - 28) * 4, from + 48 + (t - 28) * 4,
                                       s * WORDS + 48 + (t - 28) * 4 < n_valid);
        }
        kc_cp_async_commit();
        if (s < STAGES - 1)
            continue;
        kc_cp_async_wait<STAGES - 1>();
        __syncthreads();
        const int done = s - (STAGES - 1);
        out[done * WORDS + t] = ring[done % STAGES * WORDS + t];
        __syncthreads();
    }
    kc_cp_async_wait<0>();
}

/* Any number of blocks of 96 threads.  u [4] = {0, 0, 0xffffffff, 0}, f [1] = {0} */
__global__ void wrap_atomics(unsigned *u, float *f, const uint4 *weights, uint4 *last)
{
    KERN_CUDA_SMEM(unsigned, n, 1);
    const unsigned warp = threadIdx.x / 32;

    kc_pdl_wait();
    if (threadIdx.x == 0)
        n[0] = 0;
    __syncthreads();
    atomicAdd(&n[0], 1u);
    if (warp < 2)
        kc_bar_sync(1, 64);
    atomicMax(&u[1], blockIdx.x * blockDim.x + threadIdx.x);
    atomicAdd(f, 0.5f);
    atomicCAS(&u[2], 0xffffffffu, blockIdx.x);
    if (threadIdx.x == 95)
        atomicExch(&u[3], 7u);
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicAdd(&u[0], n[0]);
        __threadfence();
        kc_prefetch(weights);
        *last = kc_ld_stream(weights);
        const uint2 low = kc_ld_stream(reinterpret_cast<const uint2 *>(weights));
        const uint32_t second = kc_ld_stream(reinterpret_cast<const uint32_t *>(weights) + 1);
        const uint16_t third = kc_ld_stream(reinterpret_cast<const uint16_t *>(weights) + 4);
        if (low.x != last->x || second != last->y || third != (last->z & 0xffff))
            last->w = 0;
        const uint4 all = kc_ld_l2(weights);
        const float4 values = kc_ld_l2(reinterpret_cast<const float4 *>(weights));
        const float value = kc_ld_l2(reinterpret_cast<const float *>(weights) + 1);
        if (all.w != last->w || __float_as_uint(values.z) != all.z || __float_as_uint(value) != all.y ||
            kc_ld_l2(reinterpret_cast<const uint2 *>(weights)).y != all.y ||
            kc_ld_l2(reinterpret_cast<const uint16_t *>(weights) + 4) != (all.z & 0xffff))
            last->w = 0;
    }
    kc_pdl_launch();
}

template __global__ void wrap_mma_s8<32, false>(const int8_t *, const int8_t *, int *);
template __global__ void wrap_mma_s8<32, true>(const int8_t *, const int8_t *, int *);
template __global__ void wrap_mma_s8<16, false>(const int8_t *, const int8_t *, int *);
template __global__ void wrap_mma_float<false>(const uint16_t *, const uint16_t *, float *);
template __global__ void wrap_mma_float<true>(const uint16_t *, const uint16_t *, float *);
