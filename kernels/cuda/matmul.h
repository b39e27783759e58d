/* matmul.h - products of packed matrices and quantised rows; what cuda.cu calls, and rows of embeddings.
 *
 * A result depends on its row and its matrix alone: not on how many rows there are, nor on the kernel that
 * computes them (exact.h has the definition, bit for bit).  So it is with rows that are f16 (in.h), but they
 * give other results than int8 ones. */
#pragma once

#include "act.h"
#include "tile.h"

enum {
    KERN_CUDA_STACK = 4, /* matrices that read the same rows */
    KERN_CUDA_FEW = 32,  /* rows up to which reading the weights once more costs less than idle columns */
};

/* Rows that a product norms and quantises for itself, as kern_cuda_norm_q8() would.
 *   x [n_row][n_in] f32     w [n_in] f32     x NULL: the rows are quantised already */
struct kern_cuda_row_norm {
    const float *x, *w;
    float eps;
};

/* out[i] = mats[i] in, or out[i] += it, for each matrix of the stack.
 *   in [n_row][n_in]     out[i] [n_row][mats[i].n_out] f32     mats with data, all of the same n_in
 * in.f is read by F32, F16 and BF16 alone, by all others in.h where it is not NULL, else in.q and in.group;
 * with norm.x none of them. */
struct kern_cuda_matmul {
    int n_row, n_mat;
    bool add;
    struct kern_cuda_act in;
    struct kern_cuda_tiles mats[KERN_CUDA_STACK];
    float *out[KERN_CUDA_STACK];
    struct kern_cuda_row_norm norm;
    int n_sm, shared_bytes; /* of the device and of a block: how a launch is cut, never what it computes */
};

/* out = quantised(silu(gate in) * (up in)), out.f as well if it is wanted.  gate and up of one shape, n_out
 * % 32 == 0; types may differ where in.h is NULL, and then out.h is not written. */
struct kern_cuda_gate_up {
    int n_row;
    struct kern_cuda_act in, out;
    struct kern_cuda_tiles gate, up;
    struct kern_cuda_row_norm norm;
    int n_sm, shared_bytes;
};

/* x[t] = row ids[t] of a table that lies as in the file, in device memory or host memory that the device can
 * read; NaN for an id that the table does not have.
 *   rows [n_vocab] of whole blocks     ids [n_row] device     x [n_row][n_in] f32 */
struct kern_cuda_embed {
    enum quant_type type;
    int n_vocab, n_in, n_row;
    const uint8_t *rows;
    const int32_t *ids;
    float *x;
};
