/* matmul_one.cuh - what matmul_one.cu does for matmul.cu: one row of activations, or two, where they
 * fit into shared memory beside the weights on their way. */
#pragma once

#include "dev.cuh"
#include "matmul.h"

bool matmul_one_takes(const struct kern_cuda_matmul *op);
bool matmul_one_takes_glu(const struct kern_cuda_gate_up *op);
bool matmul_one_norms(int n_in); /* rows of that length itself */

int matmul_one_init(int shared_bytes); /* that the device can give a block */
int matmul_one(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream);
int matmul_one_glu(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream);
