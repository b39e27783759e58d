/* matmul_pack.cuh - what matmul_pack.cu exports. */
#pragma once

#include "dev.cuh"
#include "tile.h"

/* Writes tiles->data from the file's rows, which lie on the device: src [n_out] rows of whole blocks, aligned
 * to 16 bytes.  tiles from kern_cuda_tiles_shape(). */
extern "C" int kern_cuda_pack(const struct kern_cuda_tiles *tiles, const uint8_t *src, cudaStream_t stream);
