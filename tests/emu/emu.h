/* emu.h - CUDA on the host, one fiber a device thread: what a .cu file sees instead of nvcc's headers.
 *
 * Force-included (-include tests/emu/emu.h) by test builds only; kernels/cuda/dev.cuh says what a .cu file
 * may use. Anything else of CUDA is missing here on purpose and does not compile.  emu_run.cpp runs blocks
 * one after another, emu_warp.cpp has the collectives, emu_host.cpp streams and memory.  A fault of a kernel
 * is told on stderr with block, thread and source line, then the process aborts.  docs/CUDA.md: modes, and
 * what is caught by which.
 *
 * One host thread may use it at a time. */
#pragma once
#define EMU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tuple>

#if defined(__SANITIZE_THREAD__)
#define EMU_TSAN_ON 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EMU_TSAN_ON 1
#endif
#endif
#ifdef EMU_TSAN_ON
extern "C" void __tsan_acquire(void *);
extern "C" void __tsan_release(void *);
#endif

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define KERN_CUDA_FN static inline __attribute__((unused))

#define KERN_CUDA_NAME       "emu"
#define KERN_CUDA_SHARED_227 true /* whatever the machine says that it is */

/* Where a call stands in the source. */
#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* vector types, aligned as on the device so that UBSan sees a misaligned access */
#define EMU_VEC2(type, name, n)                                                                              \
    struct alignas(n) name {                                                                                 \
        type x, y;                                                                                           \
    };                                                                                                       \
    static inline name make_##name(type x, type y)                                                           \
    {                                                                                                        \
        return name{x, y};                                                                                   \
    }
#define EMU_VEC4(type, name, n)                                                                              \
    struct alignas(n) name {                                                                                 \
        type x, y, z, w;                                                                                     \
    };                                                                                                       \
    static inline name make_##name(type x, type y, type z, type w)                                           \
    {                                                                                                        \
        return name{x, y, z, w};                                                                             \
    }
EMU_VEC2(float, float2, 8)
EMU_VEC4(float, float4, 16)
EMU_VEC2(int, int2, 8)
EMU_VEC4(int, int4, 16)
EMU_VEC2(unsigned, uint2, 8)
EMU_VEC4(unsigned, uint4, 16)
EMU_VEC2(short, short2, 4)
EMU_VEC4(signed char, char4, 4)
EMU_VEC4(unsigned char, uchar4, 4)
struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

/* the running thread; written by the runtime at each switch */
struct emu_place {
    uint3 thread_idx, block_idx;
    dim3 block_dim, grid_dim;
};
extern struct emu_place emu_place;
#define threadIdx (emu_place.thread_idx)
#define blockIdx  (emu_place.block_idx)
#define blockDim  (emu_place.block_dim)
#define gridDim   (emu_place.grid_dim)

/* The block's bytes for the array that key stands for, undefined at first. */
void *emu_smem(const void *key, size_t bytes, const char *name, const char *file, int line);
void *emu_smem_dynamic(void);

#define KERN_CUDA_SMEM(type, name, n)                                                                        \
    static char name##_emu_key;                                                                              \
    type(&name)[n] =                                                                                         \
        *static_cast<type(*)[n]>(emu_smem(&name##_emu_key, sizeof(type) * (n), #name, __FILE__, __LINE__))
#define KERN_CUDA_SMEM_DYNAMIC(type, name) type *const name = static_cast<type *>(emu_smem_dynamic())

#include "emu_api.h"
#include "emu_half.h"
#include "emu_warp.h"

/* launch: arguments are converted and copied now, the kernel runs when somebody waits for it */
struct emu_grid {
    const char *name;
    dim3 grid, block;
    size_t smem_bytes;
    bool pdl;
    const void *kernel;
};
struct emu_work { /* what one thread does */
    virtual ~emu_work() {}
    virtual void run() const = 0;
};
cudaError_t emu_launch(const struct emu_grid *grid, cudaStream_t stream, emu_work *work); /* takes work */

template <class... P>
struct emu_kernel_work final : emu_work {
    void (*kernel)(P...);
    std::tuple<P...> args;
    emu_kernel_work(void (*k)(P...), P... a) : kernel(k), args(a...) {}
    void run() const override { std::apply(kernel, args); }
};

template <class... P, class... A>
static inline cudaError_t emu_launch_kernel(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                                            size_t smem_bytes, cudaStream_t stream, bool pdl, A... args)
{
    const struct emu_grid g = {name, grid, block, smem_bytes, pdl, reinterpret_cast<const void *>(kernel)};

    return emu_launch(&g, stream, new emu_kernel_work<P...>(kernel, static_cast<P>(args)...));
}
#define KERN_CUDA_LAUNCH(kernel, grid, block, smem_bytes, stream, pdl, ...)                                  \
    emu_launch_kernel(#kernel, kernel, grid, block, smem_bytes, stream, pdl, __VA_ARGS__)
