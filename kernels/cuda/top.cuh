/* top.cuh - what top.cu exports. */
#pragma once

#include "dev.cuh"
#include "top.h"

/* pdl: as in KERN_CUDA_LAUNCH.  -EINVAL for a shape that top.h does not allow. */
extern "C" int kern_cuda_top_rows(const struct kern_cuda_top *op, bool pdl, cudaStream_t stream);
