/* norm.cuh - what norm.cu exports. */
#pragma once

#include "act.h"
#include "dev.cuh"

/* pdl: as in KERN_CUDA_LAUNCH.  -EINVAL for a shape that act.h does not allow. */
extern "C" int kern_cuda_norm_q8(const struct kern_cuda_norm *op, bool pdl, cudaStream_t stream);
