/* matmul.cuh - the products' entry points.
 *
 * Each: 0, -EINVAL for a shape that the struct does not allow, or what the launch gave.  pdl: as in
 * KERN_CUDA_LAUNCH. One launch each, but two for a stack of both quantised and float matrices and more than
 * 32 rows, or with in.h. */
#pragma once

#include "dev.cuh"
#include "matmul.h"

/* Once per device, before the first launch and outside of a capture: leave for shared memory over 48 KiB, of
 * which the device can give a block this much. */
extern "C" int kern_cuda_matmul_init(int shared_bytes);

/* Would they take rows that are to be normed first? */
extern "C" bool kern_cuda_matmul_norms(const struct kern_cuda_matmul *op);
extern "C" bool kern_cuda_gate_up_norms(const struct kern_cuda_gate_up *op);

extern "C" int kern_cuda_matmul_rows(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream);
extern "C" int kern_cuda_gate_up_rows(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream);
extern "C" int kern_cuda_embed_rows(const struct kern_cuda_embed *op, bool pdl, cudaStream_t stream);
