/* read.cuh - a plain read of device memory: what a card's memory gives, to compare kernels with. */
#pragma once

#include "dev.cuh"

enum { READ_THREADS = 256 };

/* n values of 16 bytes.  sums: [n_block][READ_THREADS], what each thread has read, xored; NULL: nobody wants
 * it. */
extern "C" int kern_cuda_read(const uint4 *data, size_t n, int n_block, uint32_t *sums, cudaStream_t stream);
