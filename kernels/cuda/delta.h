/* delta.h - the DeltaNet mixer on the device: its state, its operands, what it needs beside them.
 *
 * A slot holds, one value head after another, all that this head's block reads and writes:
 *
 * - M [d value][d key] f32
 *
 * - window [conv_k - 1][q, k, v][d] f32, the head's last rows before the convolution, oldest first
 *
 * Value heads that share a key head each have their own copy of its window, so that no block of a launch
 * reads what another one writes: 2 % more state (9B: 51.4 MiB a slot instead of 50.3), no second launch. */
#pragma once

#include "act.h"
#include "step.h"

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kernels.h"
#ifdef __cplusplus
}
#endif

enum { KERN_CUDA_CHUNK = 64 }; /* rows of a chunk of the delta rule */

/* struct kern_delta with everything in device memory. */
struct kern_cuda_delta {
    struct kern_cuda_step step;
    int n_kh, n_vh, d, conv_k; /* as in kern_shape */
    const float *qkv, *z, *alpha, *beta;
    const float *conv_w, *a, *dt, *norm_w;
    float eps;
    uint8_t *state;           /* slot s at s * kern_cuda_delta_state_bytes(), aligned to 16 bytes */
    float *scratch;           /* kern_cuda_delta_scratch_bytes() */
    struct kern_cuda_act act; /* rows of n_vh d; q (with group), f or h NULL: not wanted */
};

/* Head sizes and convolutions that there are kernels for: the family's, and those of the test models. */
static inline bool kern_cuda_delta_takes(const struct kern_shape *s)
{
    return (s->d_delta == 32 || s->d_delta == 64 || s->d_delta == 128) && s->conv_k == 4 && s->n_kh > 0 &&
           s->n_vh > 0 && s->n_vh % s->n_kh == 0;
}

static inline size_t kern_cuda_delta_head_floats(int d, int conv_k)
{
    return (size_t)d * (size_t)d + (size_t)(conv_k - 1) * 3 * (size_t)d;
}

/* Per slot and layer. */
static inline size_t kern_cuda_delta_state_bytes(const struct kern_shape *s)
{
    return (size_t)s->n_vh * kern_cuda_delta_head_floats(s->d_delta, s->conv_k) * sizeof(float);
}

/* What the chunks of long spans hand from kernel to kernel, for each row: q, k and v after convolution and
 * norms; W and QK^T of a value head; its gates. */
static inline size_t kern_cuda_delta_scratch_bytes(const struct kern_shape *s)
{
    const size_t n_vh = (size_t)s->n_vh, d = (size_t)s->d_delta;
    const size_t row = (2 * (size_t)s->n_kh + n_vh) * d + n_vh * d + n_vh * KERN_CUDA_CHUNK + 2 * n_vh;

    return (size_t)s->max_tok * row * sizeof(float);
}
