/* embed.cu - rows of the embedding table, which stays as it lies in the file: a token needs one row of it. */
#include "block.cuh"
#include "matmul.cuh"

enum { EMBED_THREADS = 256 };

KERN_CUDA_FN float embed_value(enum quant_type type, const uint8_t *row, int i)
{
    const uint8_t *const p2 = row + 2 * (size_t)i, *const p4 = row + 4 * (size_t)i;
    const int n = block_values(type);

    switch (type) {
    case QUANT_F32:
        return __uint_as_float(p4[0] | (uint32_t)p4[1] << 8 | (uint32_t)p4[2] << 16 | (uint32_t)p4[3] << 24);
    case QUANT_F16:
        return block_half(p2);
    case QUANT_BF16:
        return __uint_as_float((uint32_t)p2[0] << 16 | (uint32_t)p2[1] << 24);
    default:
        return block_value(type, row + (size_t)(i / n) * (size_t)block_bytes(type), i % n);
    }
}

/* A thread a value, so that a row costs one wait for memory after that for its id.  Byte by byte, but the
 * bytes that a warp asks for lie beside each other. */
__global__ static void __launch_bounds__(EMBED_THREADS)
    embed_rows(struct kern_cuda_embed op, size_t row_bytes)
{
    const int i = (int)(blockIdx.y * EMBED_THREADS + threadIdx.x);

    kc_pdl_wait();
    kc_pdl_launch();
    if (i >= op.n_in)
        return;
    const int id = op.ids[blockIdx.x];
    const bool known = id >= 0 && id < op.n_vocab;
    op.x[(size_t)blockIdx.x * (size_t)op.n_in + (size_t)i] =
        known ? embed_value(op.type, op.rows + (size_t)id * row_bytes, i) : NAN;
}

extern "C" int kern_cuda_embed_rows(const struct kern_cuda_embed *op, bool pdl, cudaStream_t stream)
{
    const struct quant_info *const info = quant_find(op->type);

    if (op->n_row < 1 || op->n_vocab < 1 || op->n_in < 1 || op->n_in % info->n_block)
        return -EINVAL;
    const dim3 grid((unsigned)op->n_row, (unsigned)((op->n_in + EMBED_THREADS - 1) / EMBED_THREADS));
    return kc_result(KERN_CUDA_LAUNCH(embed_rows, grid, dim3(EMBED_THREADS), 0, stream, pdl, *op,
                                      quant_row_bytes(info, op->n_in)));
}
