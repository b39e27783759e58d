/* planted.cu - small kernels, correct or with one fault.  test_faults.cpp runs each in a process of its
 * own, as `planted FAULT`, and checks that the emulation tells. */
#include "kernels/cuda/dev.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planted.h"

enum { PLANTED_THREADS = 64, PLANTED_TILES = 4, PLANTED_N = PLANTED_THREADS * PLANTED_TILES };

/* The block's sum, through shared memory; v is the thread's. */
template <int F>
KERN_CUDA_FN float planted_block_sum(float v)
{
    const int t = (int)threadIdx.x;
    KERN_CUDA_SMEM(float, part, 2);
    float *const p = part; /* no array bounds: the fault is for the guards to find */

    if (F == PLANTED_LANE_ENDED && t == 40)
        return v;
    if (F == PLANTED_HALF_WARP && t % 32 < 16)
        v += __shfl_xor_sync(KC_ALL_LANES, v, 8);
    if (F == PLANTED_TWO_PARTNERS && t < 3)
        v += __shfl_sync(t == 1 ? 0x6u : 0x7u, v, 2);
    if (F == PLANTED_LANE_NOT_IN_MASK && t < 16)
        v += __shfl_sync(0xffffu, v, t + 4);
    if (F == PLANTED_LANE_AT_BARRIER && t == 3)
        __syncthreads();
    v = kc_warp_sum(v);
    if (F == PLANTED_WRONG_LANE)
        v = __shfl_down_sync(KC_ALL_LANES, v + (float)(t % 32), 1);
    if (t % 32 == 0 && (F != PLANTED_NEVER_WRITTEN || t == 0))
        p[t / 32 + (F == PLANTED_PAST_SHARED ? 1 : 0)] = v;
    if (F == PLANTED_TWO_BARRIERS && t < 32)
        __syncthreads();
    else
        __syncthreads();
    if (F == PLANTED_FEW_AT_BARRIER && t < 32)
        kc_bar_sync(1, 64);
    return p[0] + p[1];
}

/* Each thread adds up its mirror image's values of all tiles; the block's sum is added to each.
 *   in [PLANTED_N]   out [grid][PLANTED_THREADS] */
template <int F>
__global__ void planted_tiles(const float *in, float *out)
{
    const int t = (int)threadIdx.x;
    KERN_CUDA_SMEM(float, tile, PLANTED_THREADS);
    float sum = 0.0f;

    if (F != PLANTED_NO_PDL_WAIT || t != 5)
        kc_pdl_wait();
    for (int i = 0; i < PLANTED_TILES; i++) {
        kc_cp_async_4(tile + t, in + i * PLANTED_THREADS + t);
        kc_cp_async_commit();
        if (F != PLANTED_NO_WAIT)
            kc_cp_async_wait<F == PLANTED_WEAK_WAIT ? 1 : 0>();
        if (F != PLANTED_NO_BARRIER)
            __syncthreads();
        sum += tile[PLANTED_THREADS - 1 - t];
        if (F != PLANTED_NO_SECOND_BARRIER)
            __syncthreads();
    }
    if (F == PLANTED_WEAK_WAIT)
        kc_cp_async_wait<0>();
    if (F == PLANTED_SHUFFLE_FOR_SYNCWARP) {
        tile[t] = sum;
        sum = __shfl_sync(KC_ALL_LANES, sum, t % 32);
        sum += tile[t ^ 1] - __shfl_xor_sync(KC_ALL_LANES, sum, 1);
    }
    const float block = planted_block_sum<F>(sum);
    const unsigned row = F == PLANTED_BLOCK_RACE ? 0 : blockIdx.x;
    out[row * PLANTED_THREADS + t + (F == PLANTED_PAST_GLOBAL && t == 63 && row == 1 ? 1 : 0)] = sum + block;
}

/* A [16][32] int8 times the same, its first 8 rows as columns.  out [16][8] */
template <int F>
__global__ void planted_mma(const int8_t *a, int *out)
{
    const int lane = (int)threadIdx.x, g = lane / 4, q = lane % 4;
    uint32_t fa[4], fb[2];
    int fd[4] = {0, 0, 0, 0};

    for (int i = 0; i < 4; i++) {
        const int row = F == PLANTED_WRONG_FRAGMENT ? i / 2 : i % 2,
                  k = F == PLANTED_WRONG_FRAGMENT ? i % 2 : i / 2;
        fa[i] = *reinterpret_cast<const uint32_t *>(a + (g + 8 * row) * 32 + 16 * k + 4 * q);
    }
    for (int i = 0; i < 2; i++)
        fb[i] = *reinterpret_cast<const uint32_t *>(a + g * 32 + 16 * i + 4 * q);
    kc_mma_s8_k32(fd, fa, fb);
    for (int i = 0; i < 4; i++)
        out[(g + 8 * (i / 2)) * 8 + 2 * q + i % 2] = fd[i];
}

/* 32 threads, or 48; what a device would fault for, or compute nonsense.  p [256] */
template <int F>
__global__ void planted_limits(uint32_t *p)
{
    KERN_CUDA_SMEM(uint32_t, s, 128);
    uint32_t r[4] = {0, 0, 0, 0};

    if (F == PLANTED_COPY_MISALIGNED)
        kc_cp_async_8(s + 1, p);
    if (F == PLANTED_COPY_NOT_TO_SHARED)
        kc_cp_async_16(p, p + 4);
    for (int i = 0; F == PLANTED_MANY_COPIES && i < 193; i++)
        kc_cp_async_4(s, p + i);
    if (F == PLANTED_LDMATRIX_MISALIGNED)
        kc_ldmatrix_x4(r, s + threadIdx.x);
    if (F == PLANTED_LDMATRIX_PAST_END)
        kc_ldmatrix_x4(r, s + 4 * threadIdx.x + 4);
    if (F == PLANTED_TOO_MUCH_SHARED) {
        KERN_CUDA_SMEM(uint32_t, big, 48 * 256 - 127);
        big[threadIdx.x] = 0;
    }
    if (F == PLANTED_SHORT_WARP)
        __syncwarp();
    if (F == PLANTED_BARRIER_OF_ODD_SIZE)
        kc_bar_sync(1, 24);
    if (F == PLANTED_WIDTH_NO_POWER)
        r[0] = __shfl_sync(KC_ALL_LANES, r[1], 0, 12);
    p[threadIdx.x] = r[0];
}

/* Prints the hash of what came out, and whether that is wrong. */
static void planted_report(const void *got, const void *want, size_t bytes)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ static_cast<const uint8_t *>(got)[i]) * 1099511628211u;
    printf("%s %016llx\n", memcmp(got, want, bytes) ? "WRONG" : "RIGHT", (unsigned long long)hash);
}

template <int F>
static void planted_run_tiles(void)
{
    float in[PLANTED_N], got[2 * PLANTED_THREADS], want[2 * PLANTED_THREADS], total = 0.0f;
    void *d_in, *d_out;

    for (int i = 0; i < PLANTED_N; i++) /* small whole numbers: sums are exact in any order */
        total += in[i] = (float)(i * 37 % 101);
    for (int i = 0; i < 2 * PLANTED_THREADS; i++) {
        want[i] = total;
        for (int j = 0; j < PLANTED_TILES; j++)
            want[i] += in[j * PLANTED_THREADS + PLANTED_THREADS - 1 - i % PLANTED_THREADS];
    }
    cudaMalloc(&d_in, sizeof(in));
    cudaMalloc(&d_out, sizeof(got));
    cudaMemcpy(d_in, in, sizeof(in), cudaMemcpyHostToDevice);
    KERN_CUDA_LAUNCH(planted_tiles<F>, 2, PLANTED_THREADS, 0, NULL, true, static_cast<float *>(d_in),
                     static_cast<float *>(d_out));
    cudaMemcpy(got, d_out, sizeof(got), cudaMemcpyDeviceToHost);
    planted_report(got, want, sizeof(got));
    cudaFree(d_in);
    cudaFree(d_out);
}

template <int F>
static void planted_run_mma(void)
{
    int8_t a[16 * 32];
    int got[16 * 8], want[16 * 8] = {0};
    void *d_a, *d_out;

    for (int i = 0; i < 16 * 32; i++)
        a[i] = (int8_t)(i * 29 % 251 - 125);
    for (int i = 0; i < 16 * 8; i++)
        for (int k = 0; k < 32; k++)
            want[i] += a[i / 8 * 32 + k] * a[i % 8 * 32 + k];
    cudaMalloc(&d_a, sizeof(a));
    cudaMalloc(&d_out, sizeof(got));
    cudaMemcpy(d_a, a, sizeof(a), cudaMemcpyHostToDevice);
    KERN_CUDA_LAUNCH(planted_mma<F>, 1, 32, 0, NULL, false, static_cast<int8_t *>(d_a),
                     static_cast<int *>(d_out));
    cudaMemcpy(got, d_out, sizeof(got), cudaMemcpyDeviceToHost);
    planted_report(got, want, sizeof(got));
    cudaFree(d_a);
    cudaFree(d_out);
}

template <int F>
static void planted_run_limits(void)
{
    void *p;

    cudaMalloc(&p, 1024);
    KERN_CUDA_LAUNCH(planted_limits<F>, 1, F == PLANTED_SHORT_WARP ? 48 : 32, 0, NULL, false,
                     static_cast<uint32_t *>(p));
    cudaFree(p);
}

template <int F>
static bool planted_run(int fault)
{
    if (fault == F) {
        if (F == PLANTED_NOTHING_MMA || F == PLANTED_WRONG_FRAGMENT)
            planted_run_mma<F>();
        else if (F >= PLANTED_COPY_MISALIGNED)
            planted_run_limits<F>();
        else
            planted_run_tiles<F>();
        return true;
    }
    if constexpr (F + 1 < PLANTED_N_FAULTS)
        return planted_run<F + 1>(fault);
    return false;
}

int main(int argc, char **argv)
{
    return argc == 2 && planted_run<0>(atoi(argv[1])) ? 0 : 2;
}
