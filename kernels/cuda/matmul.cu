/* matmul.cu - the products' entry points: what is refused, and which kernel computes what. */
#include "matmul.cuh"

#include "matmul_large.cuh"
#include "matmul_one.cuh"
#include "matmul_small.cuh"
#include "matmul_wide.cuh"

extern "C" int kern_cuda_matmul_init(int shared_bytes)
{
    int r = matmul_one_init(shared_bytes);

    if (r == 0)
        r = matmul_small_init(shared_bytes);
    if (r == 0)
        r = matmul_large_init();
    return r == 0 ? matmul_wide_init() : r;
}

static bool matmul_is_float(const struct kern_cuda_tiles *t)
{
    return kern_cuda_planes_of(t->type).code == 0;
}

/* The rows fit the matrix, and what it reads of them is there. */
static bool matmul_takes(const struct kern_cuda_tiles *t, int n_in, const struct kern_cuda_act *in,
                         const struct kern_cuda_row_norm *norm)
{
    if (t->n_in != n_in || t->n_out < 1 || !t->data)
        return false;
    if (norm->x)
        return norm->w != NULL;
    return matmul_is_float(t) ? in->f != NULL : in->h || (in->q && in->group);
}

/* Those of the stack that are floats, or those that are not. */
static struct kern_cuda_matmul matmul_part(const struct kern_cuda_matmul *op, bool floats)
{
    struct kern_cuda_matmul part = *op;

    part.n_mat = 0;
    for (int i = 0; i < op->n_mat; i++)
        if (matmul_is_float(&op->mats[i]) == floats) {
            part.mats[part.n_mat] = op->mats[i];
            part.out[part.n_mat++] = op->out[i];
        }
    return part;
}

extern "C" bool kern_cuda_matmul_norms(const struct kern_cuda_matmul *op)
{
    return matmul_one_norms(op->mats[0].n_in) && matmul_one_takes(op);
}

extern "C" bool kern_cuda_gate_up_norms(const struct kern_cuda_gate_up *op)
{
    return matmul_one_norms(op->gate.n_in) && matmul_one_takes_glu(op);
}

extern "C" int kern_cuda_matmul_rows(const struct kern_cuda_matmul *op, bool pdl, cudaStream_t stream)
{
    int r = 0;

    if (op->n_row < 1 || op->n_mat < 1 || op->n_mat > KERN_CUDA_STACK || op->n_sm < 1)
        return -EINVAL;
    for (int i = 0; i < op->n_mat; i++)
        if (!matmul_takes(&op->mats[i], op->mats[0].n_in, &op->in, &op->norm) || !op->out[i])
            return -EINVAL;
    if (op->norm.x && !kern_cuda_matmul_norms(op))
        return -EINVAL;
    if (!op->in.h && matmul_one_takes(op))
        return matmul_one(op, pdl, stream);
    if (op->n_row <= KERN_CUDA_FEW && !op->in.h)
        return matmul_small(op, pdl, stream);
    const struct kern_cuda_matmul floats = matmul_part(op, true), others = matmul_part(op, false);
    if (others.n_mat)
        r = op->in.h ? matmul_wide(&others, pdl, stream) : matmul_large(&others, pdl, stream);
    return r == 0 && floats.n_mat ? matmul_small(&floats, pdl, stream) : r;
}

extern "C" int kern_cuda_gate_up_rows(const struct kern_cuda_gate_up *op, bool pdl, cudaStream_t stream)
{
    const int n_in = op->gate.n_in, n_out = op->gate.n_out;

    if (op->n_row < 1 || op->n_sm < 1 || n_out % KERN_CUDA_GROUP || op->up.n_out != n_out ||
        !matmul_takes(&op->gate, n_in, &op->in, &op->norm) ||
        !matmul_takes(&op->up, n_in, &op->in, &op->norm) || (op->norm.x && !kern_cuda_gate_up_norms(op)))
        return -EINVAL;
    if (op->in.h) /* whatever form is wanted */
        return op->gate.type == op->up.type && !matmul_is_float(&op->gate) ? matmul_wide_glu(op, pdl, stream)
                                                                           : -EINVAL;
    if (!op->out.q || !op->out.group)
        return -EINVAL;
    if (matmul_one_takes_glu(op))
        return matmul_one_glu(op, pdl, stream);
    if (op->n_row <= KERN_CUDA_FEW || op->gate.type != op->up.type || matmul_is_float(&op->gate))
        return matmul_small_glu(op, pdl, stream);
    return matmul_large_glu(op, pdl, stream);
}
