/* matmul_small.cuh - what matmul_small.cu does for matmul.cu: any matrix, any number of rows. */
#pragma once

#include "dev.cuh"
#include "matmul.h"

enum { MATMUL_SMALL_ROWS = 16 }; /* that a block takes; more read the weights once more */

int matmul_small_init(int shared_bytes); /* that the device can give a block */
int matmul_small(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream);
int matmul_small_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream);
