/* act.h - activations as the CUDA products read them: int8 per 32 values, with what the weights' minima need.
 *
 * Rows, not tiles: a row's groups lie one after another, and a product copies what it needs into shared
 * memory. Host and device see the same bytes. */
#pragma once

#include <stdint.h>

enum { KERN_CUDA_GROUP = 32 };

/* x[i] is about d q[i], q in -127..127.  The sum of q, exact; d times it would not fit f16 where |x| passes
 * 2047. */
struct kern_cuda_group {
    uint16_t d; /* f16 bits.  NaN where the row has a NaN; q is 0 then */
    int16_t sum;
};

/* Rows on their way into a product, written by whatever computed them.  f: for weights that meet f32 (F16,
 * BF16, F32); NULL where nobody reads it. q, f [n_row][n]     group [n_row][n / 32] */
struct kern_cuda_act {
    int8_t *q;
    struct kern_cuda_group *group;
    float *f;
};

/* q = quantised(x / rms(x) w), rms(x) = sqrt(mean(x^2) + eps).  dim % 32 == 0.
 *   x [n_row][dim] f32     w [dim] f32     q [n_row][dim] int8     group [n_row][dim / 32] */
struct kern_cuda_norm {
    int n_row, dim;
    const float *x, *w;
    float eps;
    int8_t *q;
    struct kern_cuda_group *group;
};
