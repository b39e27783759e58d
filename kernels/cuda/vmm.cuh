/* vmm.cuh - device memory that outlives the process that made it: CUDA's virtual memory management.
 *
 * An fd stands for such memory and keeps it, in whatever process it is: the broker holds the weights' so,
 * without a CUDA context of its own, and hands it to the next engine, which maps what it finds.  Unlike a
 * sealed memfd, whoever has the fd could write to it; the broker, which has it, is trusted, and each engine
 * maps it read-only. */
#pragma once

#include "dev.cuh"

extern "C" {
#include "proto/base.h"
}

/* 0, -EOPNOTSUPP: this driver or device has none.  Sizes are multiples of *ret_bytes. */
extern "C" int kern_cuda_vmm_granularity(int device, size_t *ret_bytes);
/* New memory, mapped for writing, and its fd, or that of fd (borrowed), read-only.  -ENOMEM; -EINVAL: fd is
 * no such memory, or less. */
extern "C" int kern_cuda_vmm_new(int device, size_t bytes, void **ret_p, int *ret_fd);
extern "C" int kern_cuda_vmm_import(int device, int fd, size_t bytes, void **ret_p);
extern "C" int kern_cuda_vmm_protect(int device, void *p, size_t bytes); /* read-only from here on */
extern "C" void kern_cuda_vmm_free(void *p, size_t bytes); /* the mapping; fds keep the memory */
