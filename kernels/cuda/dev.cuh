/* dev.cuh - what CUDA sources are written against: PTX, launches and shared-memory declarations are only
 * here.
 *
 * The same source is built twice: by nvcc for sm_80 and up, and by a C++17 compiler with tests/emu/emu.h
 * force-included, which runs it on the host thread by thread (docs/CUDA.md).  So that both are one program:
 *
 * - what CUDA C++ spells without PTX keeps its CUDA name: threadIdx, __syncthreads(), the *_sync collectives,
 *   __dp4a(), atomics, half conversions, runtime calls.  emu.h has those that may be used;
 *
 * - what needs PTX is a kc_* function: the asm body stands here, the host body in emu.h;
 *
 * - launches and shared memory go through the KERN_CUDA_* macros below;
 *
 * - no operators on half or bf16, no fast intrinsics (__expf, __fdividef), no rsqrtf(): f32 with IEEE
 *   rounding, so that bits can be compared.  nvcc gets -fmad=false, and fmaf() is written where it is meant;
 *   where pairs of f16 are computed with, kc_half2_*() says which roundings there are;
 *
 * - every collective names its lanes.  Only __syncwarp(), barriers and __threadfence() order memory.
 *
 * Not for use outside kernels/cuda. */
#pragma once

#ifdef __CUDACC__

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#ifdef __CUDA_ARCH__
#define KERN_CUDA_SM (__CUDA_ARCH__ / 10)
#else
#define KERN_CUDA_SM 0
#endif

/* For __launch_bounds__(): of what a multiprocessor with 164 KiB of shared memory or more has room for, or
 * one with 100. */
#define KERN_CUDA_BLOCKS(roomy, small)                                                                       \
    (KERN_CUDA_SM == 80 || KERN_CUDA_SM == 90 || KERN_CUDA_SM == 100 ? (roomy) : (small))

/* Can a block have 227 KiB?  What is only launched where it can is only compiled for where it can. */
#define KERN_CUDA_SHARED_227 (KERN_CUDA_SM == 90 || KERN_CUDA_SM == 100 || KERN_CUDA_SM == 103)

#define KERN_CUDA_FN static __device__ __forceinline__

#define KERN_CUDA_NAME "cuda" /* the backend's */

/* type (&name)[n], n a constant; the same for the whole block, undefined at first.  sizeof(name) is the
 * array's. */
#define KERN_CUDA_SMEM(type, name, n) __shared__ __align__(16) type name[n]
/* type *name: the bytes that the launch asked for. */
#define KERN_CUDA_SMEM_DYNAMIC(type, name)                                                                   \
    extern __shared__ __align__(16) unsigned char kc_smem[];                                                 \
    type *const name = reinterpret_cast<type *>(kc_smem)

/* cudaError_t.  A template's name with a comma in it goes in parentheses.  pdl: the kernel may start before
 * the one in front of it has ended, so every thread of it calls kc_pdl_wait(); only where the device has
 * compute capability 9.0. */
#define KERN_CUDA_LAUNCH(kernel, grid, block, smem_bytes, stream, pdl, ...)                                  \
    kc_launch(kernel, grid, block, smem_bytes, stream, pdl, __VA_ARGS__)

template <class... P, class... A>
static inline cudaError_t kc_launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t smem_bytes,
                                    cudaStream_t stream, bool pdl, A... args)
{
    cudaLaunchAttribute attribute = {};
    cudaLaunchConfig_t config = {};

    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = smem_bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = pdl ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
}

/* A call of the driver's that the runtime has no name for, so that nothing links libcuda; NULL: there is
 * none. */
#define KERN_CUDA_DRIVER(call) kc_driver<decltype(&call)>(#call)

template <class F>
static inline F kc_driver(const char *name)
{
    void *p = NULL;
    enum cudaDriverEntryPointQueryResult found;

#if CUDART_VERSION >= 12050
    if (cudaGetDriverEntryPointByVersion(name, &p, 11080, cudaEnableDefault, &found))
        return NULL;
#else
    if (cudaGetDriverEntryPoint(name, &p, cudaEnableDefault))
        return NULL;
    found = cudaDriverEntryPointSuccess;
#endif
    return found == cudaDriverEntryPointSuccess ? reinterpret_cast<F>(p) : NULL;
}

/* PDL.  wait: what earlier kernels wrote is there from here on.  launch: the next kernel may start now. */
KERN_CUDA_FN void kc_pdl_wait(void)
{
#if KERN_CUDA_SM >= 90
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

KERN_CUDA_FN void kc_pdl_launch(void)
{
#if KERN_CUDA_SM >= 90
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* Barrier id (1..15) of n_threads of the block, a multiple of 32. */
KERN_CUDA_FN void kc_bar_sync(int id, int n_threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n_threads) : "memory");
}

/* Weights, read once: no place in L1; 16, 8, 4 or 2 bytes.  The memory is not written while the kernel runs.
 */
KERN_CUDA_FN uint4 kc_ld_stream(const uint4 *p)
{
    uint4 v;

    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

KERN_CUDA_FN uint2 kc_ld_stream(const uint2 *p)
{
    uint2 v;

    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}

KERN_CUDA_FN uint32_t kc_ld_stream(const uint32_t *p)
{
    uint32_t v;

    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}

KERN_CUDA_FN uint16_t kc_ld_stream(const uint16_t *p)
{
    uint16_t v;

    asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(v) : "l"(p));
    return v;
}

/* What an earlier kernel wrote, from L2, past an L1 that may have older bytes of the same line: for loads
 * before kc_pdl_wait(), and for what lies beside those in memory. */
KERN_CUDA_FN uint4 kc_ld_l2(const uint4 *p)
{
    uint4 v;

    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

KERN_CUDA_FN float4 kc_ld_l2(const float4 *p)
{
    float4 v;

    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "l"(p));
    return v;
}

KERN_CUDA_FN uint2 kc_ld_l2(const uint2 *p)
{
    uint2 v;

    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}

KERN_CUDA_FN float kc_ld_l2(const float *p)
{
    float v;

    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p));
    return v;
}

KERN_CUDA_FN uint16_t kc_ld_l2(const uint16_t *p)
{
    uint16_t v;

    asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(v) : "l"(p));
    return v;
}

/* A line of memory on its way into L2. */
KERN_CUDA_FN void kc_prefetch(const void *p)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

KERN_CUDA_FN uint32_t kc_smem_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/* Global to shared in the background, both aligned to the size.  A commit closes a group; wait<N> returns
 * when all but the last N groups of this thread have arrived, which a barrier then tells the others. */
KERN_CUDA_FN void kc_cp_async_4(void *dst, const void *src)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(kc_smem_address(dst)), "l"(src) : "memory");
}

KERN_CUDA_FN void kc_cp_async_8(void *dst, const void *src)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(kc_smem_address(dst)), "l"(src) : "memory");
}

KERN_CUDA_FN void kc_cp_async_16(void *dst, const void *src)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(kc_smem_address(dst)), "l"(src)
                 : "memory");
}

/* Zeros instead of src where there is none: rows past the last. */
KERN_CUDA_FN void kc_cp_async_16_or_zero(void *dst, const void *src, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(kc_smem_address(dst)), "l"(src),
                 "r"(there ? 16 : 0)
                 : "memory");
}

KERN_CUDA_FN void kc_cp_async_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int N>
KERN_CUDA_FN void kc_cp_async_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* 8x8 matrices of 16-bit values from shared memory.  Lanes 8i..8i+7 give the addresses of matrix i's rows, 16
 * bytes each and aligned so; lane l gets row l / 4, columns 2 (l % 4) and the next.  trans: of the transposed
 * matrix. */
KERN_CUDA_FN void kc_ldmatrix_x1(uint32_t (&r)[1], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(r[0])
                 : "r"(kc_smem_address(row))
                 : "memory");
}

KERN_CUDA_FN void kc_ldmatrix_x2(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(kc_smem_address(row))
                 : "memory");
}

KERN_CUDA_FN void kc_ldmatrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(kc_smem_address(row))
                 : "memory");
}

KERN_CUDA_FN void kc_ldmatrix_x1_trans(uint32_t (&r)[1], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(r[0])
                 : "r"(kc_smem_address(row))
                 : "memory");
}

KERN_CUDA_FN void kc_ldmatrix_x2_trans(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(kc_smem_address(row))
                 : "memory");
}

KERN_CUDA_FN void kc_ldmatrix_x4_trans(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(kc_smem_address(row))
                 : "memory");
}

/* d += A B.  With g = lane / 4, q = lane % 4 and e the values of a register from its low end (PTX ISA,
 * "Matrix fragments for mma"):
 *
 * - s8, k = 32: a[i] = A[g + 8 (i % 2)][4 q + 16 (i / 2) + e], b[i] = B[4 q + 16 i + e][g], e 0..3
 *
 * - s8, k = 16: a[i] = A[g + 8 i][4 q + e], b[0] = B[4 q + e][g], e 0..3
 *
 * - f16, bf16, k = 16: a[i] = A[g + 8 (i % 2)][2 q + 8 (i / 2) + e], b[i] = B[2 q + 8 i + e][g], e 0..1
 *
 * - all: A 16 x k, B k x 8, d[i] = D[g + 8 (i / 2)][2 q + i % 2] */
KERN_CUDA_FN void kc_mma_s8_k32(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* A of unsigned bytes. */
KERN_CUDA_FN void kc_mma_u8s8_k32(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

KERN_CUDA_FN void kc_mma_s8_k16(int (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}

/* d = A B + c: with the same c each time nothing has to be cleared. */
KERN_CUDA_FN void kc_mma_s8_k32_from(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                     const int (&c)[4])
{
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %11, %12, %13};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]),
          "r"(c[3]));
}

KERN_CUDA_FN void kc_mma_s8_k16_from(int (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1],
                                     const int (&c)[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%7, %8, %9, %10};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}

KERN_CUDA_FN void kc_mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

KERN_CUDA_FN void kc_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* (a & mask) | bits in one instruction, which nvcc makes two of where both are constants. */
KERN_CUDA_FN uint32_t kc_and_or(uint32_t a, uint32_t mask, uint32_t bits)
{
    uint32_t d;

    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "r"(mask), "r"(bits));
    return d;
}

/* Two f16 in a word, each rounded once to nearest even, subnormals kept. */
KERN_CUDA_FN uint32_t kc_half2_add(uint32_t a, uint32_t b)
{
    uint32_t d;

    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

KERN_CUDA_FN uint32_t kc_half2_mul(uint32_t a, uint32_t b)
{
    uint32_t d;

    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

KERN_CUDA_FN uint32_t kc_half2_fma(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t d;

    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

/* One of the two, twice: no instruction of its own where the above take it. */
KERN_CUDA_FN uint32_t kc_half2_low(uint32_t a)
{
    uint32_t d;

    asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; mov.b32 %0, {l, l};}" : "=r"(d) : "r"(a));
    return d;
}

KERN_CUDA_FN uint32_t kc_half2_high(uint32_t a)
{
    uint32_t d;

    asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; mov.b32 %0, {h, h};}" : "=r"(d) : "r"(a));
    return d;
}

#elif !defined(EMU_H)
#error "kernels/cuda is built by nvcc, or for tests by a C++17 compiler with -include tests/emu/emu.h"
#endif

/* What is built from the above, once for both. */

#include <errno.h>

enum { KC_WARP = 32, KC_LINE = 128 /* bytes */ };
#define KC_ALL_LANES 0xffffffffu

/* As the rest of the tree has it: 0 or negative errno.  What a kernel did wrong is sticky: the engine exits.
 */
static inline int kc_result(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return 0;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
        return -EINVAL;
    case cudaErrorMemoryAllocation:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* Over the 32 lanes, or over each aligned n of them; every lane gets the result, which is the same in all. */
template <int N = KC_WARP>
KERN_CUDA_FN float kc_warp_sum(float v)
{
#pragma unroll
    for (int m = N / 2; m; m /= 2)
        v += __shfl_xor_sync(KC_ALL_LANES, v, m);
    return v;
}

template <int N = KC_WARP>
KERN_CUDA_FN float kc_warp_max(float v)
{
#pragma unroll
    for (int m = N / 2; m; m /= 2)
        v = fmaxf(v, __shfl_xor_sync(KC_ALL_LANES, v, m));
    return v;
}

template <int N = KC_WARP>
KERN_CUDA_FN uint32_t kc_warp_max(uint32_t v)
{
#pragma unroll
    for (int m = N / 2; m; m /= 2) {
        const uint32_t other = __shfl_xor_sync(KC_ALL_LANES, v, m);
        v = other > v ? other : v;
    }
    return v;
}

template <int N = KC_WARP>
KERN_CUDA_FN int kc_warp_sum(int v)
{
#pragma unroll
    for (int m = N / 2; m; m /= 2)
        v += __shfl_xor_sync(KC_ALL_LANES, v, m);
    return v;
}
