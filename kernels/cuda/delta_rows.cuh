/* delta_rows.cuh - what the kernels of the DeltaNet mixer share: which rows are whose, gates, layout. */
#pragma once

#include "act.cuh"
#include "delta.h"

/* A span's rows: up to chunk0 and from chunk1 on token by token, between them whole chunks.  Chunks lie at
 * multiples of 64 positions, so that how a prompt was cut there changes no bits. */
struct delta_rows {
    int row0, n_tok, slot, chunk0, chunk1;
};

static inline __host__ __device__ struct delta_rows delta_rows_cut(int row0, int n_tok, int pos0, int slot)
{
    const int first = (pos0 + KERN_CUDA_CHUNK - 1) / KERN_CUDA_CHUNK * KERN_CUDA_CHUNK - pos0;
    const int last = (pos0 + n_tok) / KERN_CUDA_CHUNK * KERN_CUDA_CHUNK - pos0;
    const bool chunks = n_tok > KERN_CUDA_SHORT && first < last;

    return delta_rows{row0, n_tok, slot, chunks ? first : n_tok, chunks ? last : n_tok};
}

/* No rows for a block that has no span. */
KERN_CUDA_FN struct delta_rows delta_rows_of(const struct kern_cuda_step *step, unsigned span)
{
    if ((int)span >= step->n[1])
        return delta_rows{};
    const struct kern_cuda_span s = step->spans[span];
    return delta_rows_cut(s.row0, s.n_tok, s.pos0, s.slot);
}

/* delta_chunk.cu: the chunks of all spans, n_chunk in all. */
int delta_chunk(const struct kern_cuda_delta *op, const struct kern_batch *batch, int n_chunk, bool pdl,
                cudaStream_t stream);

/* M of value head h; its window lies behind it. */
template <int D>
KERN_CUDA_FN float *delta_state(const struct kern_cuda_delta *op, int slot, int h)
{
    return reinterpret_cast<float *>(op->state) +
           ((size_t)slot * (size_t)op->n_vh + (size_t)h) * (size_t)(D * D + 3 * 3 * D);
}

/* Column in qkv of channel i of value head h's q, k and v, i < 3 D.  It reads key head h % n_kh. */
template <int D>
KERN_CUDA_FN int delta_channel(const struct kern_cuda_delta *op, int h, int i)
{
    const int g = h % op->n_kh;

    return i < D       ? g * D + i
           : i < 2 * D ? op->n_kh * D + g * D + i - D
                       : 2 * op->n_kh * D + h * D + i - 2 * D;
}

KERN_CUDA_FN float delta_silu(float y)
{
    return y / (1.0f + expf(-y));
}

KERN_CUDA_FN float delta_dot(float4 a, float4 b, float sum)
{
    return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, sum))));
}

/* 1 / sqrt(sum + 1e-6).  The 1e-6 is the model's, not the norms' eps. */
KERN_CUDA_FN float delta_l2(float sum)
{
    return 1.0f / sqrtf(sum + 1e-6f);
}

/* a softplus(x), <= 0; x: alpha + dt. */
KERN_CUDA_FN float delta_log_decay(float a, float x)
{
    return a * (fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))));
}

KERN_CUDA_FN float delta_beta(float beta)
{
    return 1.0f / (1.0f + expf(-beta));
}

/* The result at [row][h][i], one value a lane of a warp. */
KERN_CUDA_FN void delta_put(const struct kern_cuda_delta *op, size_t at, float v)
{
    act_put(op->act, at, v);
}
