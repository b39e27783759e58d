/* hostmem.h - kern_mem in main memory: the memory operations of kern_ops that every CPU backend shares.
 *
 * Weights are a memfd, so that another process can map the same pages; sealed, nobody can change them any
 * more. State is anonymous memory.  The functions fit into struct kern_ops as they are; kern is not used. */
#pragma once

#include "kernels.h"

int hostmem_alloc(struct kern *kern, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem);
int hostmem_adopt(struct kern *kern, int fd, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem);
int hostmem_seal(struct kern *kern, struct kern_mem *mem);
void hostmem_free(struct kern *kern, struct kern_mem *mem);
void hostmem_populate(struct kern *kern, void *at, size_t bytes); /* at: never NULL */
int hostmem_make_huge(struct kern *kern, const struct kern_mem *mem, size_t at);
int hostmem_copy_in(struct kern *kern, void *dst, const void *src_host, size_t bytes);
int hostmem_copy_out(struct kern *kern, void *dst_host, const void *src, size_t bytes);
int hostmem_clear(struct kern *kern, void *dst, size_t bytes);
int hostmem_copy(struct kern *kern, void *dst, const void *src, size_t bytes);

/* For a backend that maps weights in a way of its own: their memfd alone.  Sealing wants every writable map
 * to be gone; a check is 0, -EPERM: it is not sealed, -EMSGSIZE: it is not of this size, or what fcntl() and
 * fstat() say. */
int hostmem_seal_fd(int fd);
int hostmem_check_fd(int fd, size_t bytes);
