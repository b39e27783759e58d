/* act.h - activations as the CUDA products read them: int8 per 32 values, with what the weights' minima need.
 *
 * Rows, not tiles: a row's groups lie one after another, and a product copies what it needs into shared
 * memory.  act.cuh writes them; a host sees the same bytes. */
#pragma once

#include <stdint.h>

enum { KERN_CUDA_GROUP = 32, KERN_CUDA_NORM_MAX = 20480 };

/* x[i] is about d q[i], q in -127..127.  Both f32: an f16 d loses digits where a row is small, and a product
 * would have to convert it for every tile of weights. */
struct kern_cuda_group {
    float d;    /* NaN where the row has a NaN; q is 0 then */
    float dsum; /* d times the sum of q, for weights that have a minimum */
};

/* Rows on their way into a product, written by whatever computed them; NULL where nobody reads a form.  f:
 * for weights that meet f32 (F16, BF16, F32).  h: for products on the tensor cores' f16, a sixteenth of the
 * value, at most 65504 (so values to 1e6 are whole), each 16 values in the order of act_half_at(); NaN where
 * the value is no number.  All aligned to 16 bytes. q, f, h [n_row][n]     group [n_row][n / 32] */
struct kern_cuda_act {
    int8_t *q;
    struct kern_cuda_group *group;
    float *f;
    uint16_t *h;
};

/* act = quantised(x / rms(x) w), rms(x) = sqrt(mean(x^2) + eps); w NULL: quantised(x).  dim % 32 == 0, at
 * most KERN_CUDA_NORM_MAX. act.q (with act.group), act.f or act.h NULL: not wanted. x [n_row][dim] f32     w
 * [dim] f32     rows NULL, or [n_row] on the device: row i is of x[rows[i]] */
struct kern_cuda_norm {
    int n_row, dim;
    const float *x, *w;
    float eps;
    struct kern_cuda_act act;
    const int32_t *rows;
};
