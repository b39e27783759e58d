/* emu_test.h - what tests of CUDA sources share: device buffers, the orders to run in, checks that print both
 * values. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

extern "C" {
#include <cmocka.h>
}

/* Every order and fill that a correct kernel gives the same bits in. */
struct emu_mode {
    const char *order, *fill;
};
static const struct emu_mode emu_modes[] = {
    {"forward", "nan"}, {"reverse", "1"}, {"random:1", "nan"}, {"random:2", "2"}, {"random:3", "3"}};
enum { EMU_N_MODES = sizeof(emu_modes) / sizeof(emu_modes[0]) };

static inline void emu_use_mode(int i)
{
    emu_set_order(emu_modes[i].order);
    emu_set_fill(emu_modes[i].fill);
}

/* A copy of n values on the device; src NULL: undefined.  Freed with cudaFree(). */
template <class T>
static inline T *emu_device(const T *src, size_t n)
{
    void *p;

    assert_int_equal(cudaMalloc(&p, n * sizeof(T)), cudaSuccess);
    if (src)
        assert_int_equal(cudaMemcpy(p, src, n * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    return static_cast<T *>(p);
}

/* Brings n values back and frees the buffer. */
template <class T>
static inline void emu_take(T *dst, T *device, size_t n)
{
    assert_int_equal(cudaMemcpy(dst, device, n * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    assert_int_equal(cudaFree(device), cudaSuccess);
}

static inline uint32_t emu_next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return uint32_t(*seed >> 32);
}
