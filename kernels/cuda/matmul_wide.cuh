/* matmul_wide.cuh - what matmul_wide.cu does for matmul.cu: quantised matrices and rows that are f16. */
#pragma once

#include "dev.cuh"
#include "matmul.h"

int matmul_wide_init(void);
int matmul_wide(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream);
int matmul_wide_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream); /* of one type */
