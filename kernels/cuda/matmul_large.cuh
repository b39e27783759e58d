/* matmul_large.cuh - what matmul_large.cu does for matmul.cu: quantised matrices, any number of rows. */
#pragma once

#include "dev.cuh"
#include "matmul.h"

int matmul_large_init(void);
int matmul_large(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream);
int matmul_large_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream); /* of one type */
