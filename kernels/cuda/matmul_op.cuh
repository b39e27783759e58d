/* matmul_op.cuh - what the products' hosts share: Op, which a kernel is given, has in, out_act, n_row, n_mat,
 * add, glu, mats, out and block0 of these meanings beside what is its own. */
#pragma once

#include "dev.cuh"
#include "matmul.h"

/* A stack. */
template <class Op>
static inline Op matmul_op_of(const struct kern_cuda_matmul *op)
{
    Op to = {};

    to.in = op->in;
    to.n_row = op->n_row;
    to.n_mat = op->n_mat;
    to.add = op->add;
    for (int i = 0; i < op->n_mat; i++) {
        to.mats[i] = op->mats[i];
        to.out[i] = op->out[i];
    }
    return to;
}

/* Gate and up, as a stack of two. */
template <class Op>
static inline Op matmul_op_of_glu(const struct kern_cuda_gate_up *op)
{
    Op to = {};

    to.in = op->in;
    to.out_act = op->out;
    to.n_row = op->n_row;
    to.n_mat = 2;
    to.glu = true;
    to.mats[0] = op->gate;
    to.mats[1] = op->up;
    return to;
}

/* Matrices that have blocks of their own: gate's have up as well. */
template <class Op>
static inline int matmul_op_n_range(const Op *op)
{
    return op->glu ? 1 : op->n_mat;
}

/* Row tiles of those. */
template <class Op>
static inline int matmul_op_n_tile(const Op *op)
{
    int n = 0;

    for (int i = 0; i < matmul_op_n_range(op); i++)
        n += CEIL_DIV(op->mats[i].n_out, KERN_CUDA_TILE_ROWS);
    return n;
}

/* Numbers their blocks, of n_row rows of a matrix each.  Returns how many there are. */
template <class Op>
static inline int matmul_op_cut(Op *op, int n_row)
{
    int n_block = 0;

    for (int i = 0; i < matmul_op_n_range(op); i++) {
        op->block0[i] = n_block;
        n_block += CEIL_DIV(op->mats[i].n_out, n_row);
    }
    return n_block;
}
