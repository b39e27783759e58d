/* attn.h - gated full attention on the device: pages, operands, what it needs beside them.
 *
 * A page holds 64 positions: [n_kvh] heads of K and then V, each
 *
 * - F32, F16: [64][d]
 *
 * - Q8_0: codes [64][d] int8, then scales [64][d / 32] f16 */
#pragma once

#include "act.h"
#include "step.h"

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kernels.h"
#ifdef __cplusplus
}
#endif

enum {
    KERN_CUDA_ROT_MAX = 256,
    KERN_CUDA_SPLITS = 64, /* most parts that the pages of one row are read in */
};

/* freq[i] = base^(-2 i / n_rot).  In double, as angles at position 262,143 need it. */
struct kern_cuda_rope {
    int n_rot;
    double freq[KERN_CUDA_ROT_MAX / 2];
};

/* struct kern_attn with everything in device memory but rope, which is borrowed from the host for the call.
 */
struct kern_cuda_attn {
    struct kern_cuda_step step;
    int n_qh, n_kvh, d, max_ctx; /* as in kern_shape */
    enum kern_kv_type kv_type;
    const float *q, *k, *v;
    const float *q_norm, *k_norm;
    float eps;
    uint8_t *kv;              /* page p at p * kern_cuda_page_bytes(), aligned to 16 bytes */
    void *scratch;            /* kern_cuda_attn_scratch_bytes() */
    struct kern_cuda_act act; /* rows of n_qh d; q (with group), f or h NULL: not wanted */
};

/* Head sizes that there are kernels for: the family's, and those of the test models. */
static inline bool kern_cuda_attn_takes(const struct kern_shape *s)
{
    return (s->d_attn == 64 || s->d_attn == 128 || s->d_attn == 256) && s->n_kvh > 0 && s->n_qh > 0 &&
           s->n_qh % s->n_kvh == 0;
}

/* K or V of one head of one page. */
static inline size_t kern_cuda_page_half_bytes(enum kern_kv_type type, int d)
{
    const size_t n = (size_t)KERN_PAGE_TOK * (size_t)d;

    return type == KERN_KV_F32 ? n * 4 : type == KERN_KV_F16 ? n * 2 : n + n / 16;
}

/* Per page and layer. */
static inline size_t kern_cuda_page_bytes(const struct kern_shape *s)
{
    return 2 * (size_t)s->n_kvh * kern_cuda_page_half_bytes(s->kv_type, s->d_attn);
}

/* Normed and rotated q of every row; then, for KERN_CUDA_SHORT rows at a time, what each split of their pages
 * gave: d sums, the largest score and the sum of weights of each head. */
static inline size_t kern_cuda_attn_scratch_bytes(const struct kern_shape *s)
{
    const size_t heads = (size_t)s->n_qh, d = (size_t)s->d_attn;

    return ((size_t)s->max_tok * heads * d + (size_t)KERN_CUDA_SHORT * heads * KERN_CUDA_SPLITS * (d + 2)) *
           sizeof(float);
}
