/* attn.cu - gated full attention: which kernels a step needs. */
#include "attn.cuh"

#include "attn_rows.cuh"

extern "C" {
#include "kernels/cpu/rope.h"
}

extern "C" int kern_cuda_rope_init(float base, int n_rot, struct kern_cuda_rope *ret_rope)
{
    struct kern_cuda_rope rope = {};

    if (!(base > 0.0f) || n_rot < 2 || n_rot % 2 || n_rot > KERN_CUDA_ROT_MAX)
        return -EINVAL;
    rope.n_rot = n_rot;
    rope_freqs((double)base, n_rot, rope.freq);
    *ret_rope = rope;
    return 0;
}

/* The highest position of the slice's rows, or -1 if none of them is decode_part()'s. */
static int attn_slice_reach(const struct kern_batch *batch, const struct attn_slice *slice)
{
    int reach = -1;

    for (int i = 0; i < batch->n_span; i++) {
        const struct kern_span *const s = &batch->spans[i];
        const int end = MIN(s->row0 + s->n_tok, slice->row0 + slice->n_row);
        if (end > MAX(s->row0, slice->row0) && (slice->all || s->n_tok <= KERN_CUDA_SHORT))
            reach = MAX(reach, s->pos0 + end - 1 - s->row0);
    }
    return reach;
}

static int attn_check(const struct kern_cuda_attn *op, const struct kern_batch *batch,
                      const struct kern_cuda_rope *rope)
{
    struct kern_shape s = {};

    s.n_qh = op->n_qh;
    s.n_kvh = op->n_kvh;
    s.d_attn = op->d;
    if (!kern_cuda_attn_takes(&s) || rope->n_rot > op->d || batch->n_tok < 1)
        return -EINVAL;
    for (int i = 0; i < batch->n_span; i++)
        if (batch->spans[i].pos0 + batch->spans[i].n_tok > op->max_ctx)
            return -EINVAL;
    return 0;
}

extern "C" int kern_cuda_attn_mix(const struct kern_cuda_attn *op, const struct kern_batch *batch,
                                  const struct kern_cuda_rope *rope, bool pdl, cudaStream_t stream)
{
    int r = attn_check(op, batch, rope);

    if (r == 0)
        r = attn_rows(op, batch->n_tok, rope, pdl, stream);
    if (r < 0)
        return r;
    const bool all = !attn_prefill_takes(op);
    if (!all)
        r = attn_prefill(op, batch, pdl, stream);
    for (int row = 0; row < batch->n_tok && r == 0; row += KERN_CUDA_SHORT) {
        const struct attn_slice slice = {row, MIN((int)KERN_CUDA_SHORT, batch->n_tok - row), batch->n_tok,
                                         all};
        const int reach = attn_slice_reach(batch, &slice);
        if (reach >= 0)
            r = attn_decode(op, &slice, reach, pdl, stream);
    }
    return r;
}
