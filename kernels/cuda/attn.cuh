/* attn.cuh - what attn.cu exports. */
#pragma once

#include "attn.h"
#include "dev.cuh"

/* -EINVAL: n_rot odd, below 2 or above KERN_CUDA_ROT_MAX. */
extern "C" int kern_cuda_rope_init(float base, int n_rot, struct kern_cuda_rope *ret_rope);

/* Stores k and v of every row, then attends.  batch: the step's, on the host; grids are cut to it, and
 * op->step may hold fewer rows and lower positions (a captured graph).  Rows of spans of up to
 * KERN_CUDA_SHORT give the same bits alone, in such a span, and whatever else is in the step.  pdl: as in
 * KERN_CUDA_LAUNCH.  -EINVAL for a shape that kern_cuda_attn_takes() refuses, or positions past max_ctx. */
extern "C" int kern_cuda_attn_mix(const struct kern_cuda_attn *op, const struct kern_batch *batch,
                                  const struct kern_cuda_rope *rope, bool pdl, cudaStream_t stream);
