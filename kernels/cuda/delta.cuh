/* delta.cuh - what delta.cu exports. */
#pragma once

#include "delta.h"
#include "dev.cuh"

/* Runs the mixer of every span and advances its slot.  batch: the step's, on the host; grids are cut to it,
 * and op->step may hold fewer rows and spans (a captured graph).  Spans of up to KERN_CUDA_SHORT rows give
 * the same bits however a sequence is cut into them and whatever else is in the step.  pdl: as in
 * KERN_CUDA_LAUNCH.  -EINVAL for a shape that kern_cuda_delta_takes() refuses. */
extern "C" int kern_cuda_delta_mix(const struct kern_cuda_delta *op, const struct kern_batch *batch, bool pdl,
                                   cudaStream_t stream);
