/* top.h - the best of a row of logits: what top.cu takes.  See struct kern_top. */
#pragma once

#include "kernels/kernels.h"

enum {
    KERN_CUDA_TOP_ROWS = 64,   /* of a launch: scratch is for so many */
    KERN_CUDA_TOP_PART = 2048, /* logits that a block looks at */
    KERN_CUDA_TOP_GROUPS = 32, /* of a part: so many of them are told by their best one */
};

struct kern_cuda_top_part { /* sum of exp(logit - max); NaN: the part has a NaN or +inf */
    float max, sum;
};

/* Everything on the device, but for out: pinned, written from there. */
struct kern_cuda_top {
    int n_row, n_vocab;
    const float *logits;              /* [n_row][n_vocab] */
    const int32_t *asked;             /* [n_row] -1: none */
    struct kern_cuda_top_part *parts; /* [n_row][parts] scratch */
    float *groups;                    /* [n_row][parts][KERN_CUDA_TOP_GROUPS] scratch */
    struct kern_top_row *out;         /* [n_row] */
};

static inline int kern_cuda_top_n_part(int n_vocab)
{
    return CEIL_DIV(n_vocab, (int)KERN_CUDA_TOP_PART);
}
