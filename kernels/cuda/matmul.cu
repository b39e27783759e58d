/* matmul.cu - the products' entry points: what is refused, and which kernel computes what. */
#include "matmul.cuh"

#include "matmul_small.cuh"

extern "C" int kern_cuda_matmul_init(void)
{
    return matmul_small_init();
}

static bool matmul_is_float(enum quant_type type)
{
    return type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16;
}

/* Rows from row0 on. */
static struct kern_cuda_act matmul_act_from(const struct kern_cuda_act *act, int row0, int n)
{
    const size_t at = (size_t)row0 * (size_t)n;
    struct kern_cuda_act from = *act;

    if (act->q)
        from.q = act->q + at;
    if (act->group)
        from.group = act->group + at / KERN_CUDA_GROUP;
    if (act->f)
        from.f = act->f + at;
    return from;
}

/* A matrix that the rows do not fit, or whose kind of rows is not there. */
static bool matmul_takes(const struct kern_cuda_tiles *t, int n_in, const struct kern_cuda_act *in)
{
    return t->n_in == n_in && t->n_out >= 1 && t->data &&
           (matmul_is_float(t->type) ? in->f != NULL : in->q && in->group);
}

extern "C" int kern_cuda_matmul_rows(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    if (op->n_row < 1 || op->n_mat < 1 || op->n_mat > KERN_CUDA_STACK || op->n_sm < 1)
        return -EINVAL;
    for (int i = 0; i < op->n_mat; i++)
        if (!matmul_takes(&op->mats[i], op->mats[0].n_in, &op->in) || !op->out[i])
            return -EINVAL;
    for (int row = 0; row < op->n_row; row += MATMUL_SMALL_ROWS) {
        struct kern_cuda_matmul part = *op;
        part.n_row = MIN(op->n_row - row, (int)MATMUL_SMALL_ROWS);
        part.in = matmul_act_from(&op->in, row, op->mats[0].n_in);
        for (int i = 0; i < op->n_mat; i++)
            part.out[i] = op->out[i] + (size_t)row * (size_t)op->mats[i].n_out;
        const int r = matmul_small(&part, pdl, stream);
        if (r < 0)
            return r;
    }
    return 0;
}

extern "C" int kern_cuda_gate_up_rows(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    const int n_in = op->gate.n_in, n_out = op->gate.n_out;

    if (op->n_row < 1 || op->n_sm < 1 || n_out % KERN_CUDA_GROUP || op->up.n_out != n_out ||
        !matmul_takes(&op->gate, n_in, &op->in) || !matmul_takes(&op->up, n_in, &op->in) || !op->out.q ||
        !op->out.group)
        return -EINVAL;
    for (int row = 0; row < op->n_row; row += MATMUL_SMALL_ROWS) {
        struct kern_cuda_gate_up part = *op;
        part.n_row = MIN(op->n_row - row, (int)MATMUL_SMALL_ROWS);
        part.in = matmul_act_from(&op->in, row, n_in);
        part.out = matmul_act_from(&op->out, row, n_out);
        const int r = matmul_small_glu(&part, pdl, stream);
        if (r < 0)
            return r;
    }
    return 0;
}
