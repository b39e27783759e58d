/* attn_rows.cuh - the parts that attn.cu puts together, by file. */
#pragma once

#include "attn.h"
#include "dev.cuh"

/* attn_rows.cu: q of every row normed, rotated and scaled by 1 / sqrt(d), to scratch; k likewise and v to
 * their pages. */
int attn_rows(const struct kern_cuda_attn *op, int n_tok, const struct kern_cuda_rope *rope, bool pdl,
              cudaStream_t stream);

/* attn_decode.cu: up to KERN_CUDA_SHORT rows of the step, none at a position past pos. */
struct attn_slice {
    int row0, n_row;
    int n_tok; /* of the step: q has so much of scratch */
    bool all;  /* rows of long spans, too */
};
int attn_decode(const struct kern_cuda_attn *op, const struct attn_slice *slice, int pos, bool pdl,
                cudaStream_t stream);

/* attn_prefill.cu: all rows of long spans.  What it does not take is attn_decode()'s, too. */
bool attn_prefill_takes(const struct kern_cuda_attn *op);
int attn_prefill(const struct kern_cuda_attn *op, const struct kern_batch *batch, bool pdl,
                 cudaStream_t stream);

/* Returns FN<head size, type>(...): the op's shape was checked. */
#define ATTN_DISPATCH(FN, OP, ...)                                                                           \
    switch ((OP)->d) {                                                                                       \
    case 64:                                                                                                 \
        ATTN_DISPATCH_TYPE(FN, OP, 64, __VA_ARGS__)                                                          \
    case 128:                                                                                                \
        ATTN_DISPATCH_TYPE(FN, OP, 128, __VA_ARGS__)                                                         \
    default:                                                                                                 \
        ATTN_DISPATCH_TYPE(FN, OP, 256, __VA_ARGS__)                                                         \
    }
#define ATTN_DISPATCH_TYPE(FN, OP, D, ...)                                                                   \
    switch ((OP)->kv_type) {                                                                                 \
    case KERN_KV_F32:                                                                                        \
        return FN<D, KERN_KV_F32>(__VA_ARGS__);                                                              \
    case KERN_KV_F16:                                                                                        \
        return FN<D, KERN_KV_F16>(__VA_ARGS__);                                                              \
    default:                                                                                                 \
        return FN<D, KERN_KV_Q8_0>(__VA_ARGS__);                                                             \
    }
