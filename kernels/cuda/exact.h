/* exact.h - the products of the CUDA backend in plain C: the definition that its kernels are memcmp-tested
 * against. */
#pragma once

#include "act.h"
#include "tile.h"

#ifdef __cplusplus
extern "C" {
#endif

/* row in: one row of a matrix as the file has it, times one row of activations.  x.f is read for F32, F16 and
 * BF16 alone. */
float kern_cuda_exact(enum quant_type type, const uint8_t *row, const struct kern_cuda_act *x, int n_in);

#ifdef __cplusplus
}
#endif
