/* state.h - the inside of struct state; included by state.c and the layers. */
#pragma once

#include "model.h"

struct state {
    struct kern *kern;           /* borrowed from the model */
    const struct config *config; /* borrowed from the model */
    struct state_size size;
    size_t page_bytes, slot_bytes; /* per layer, the backend's figures */
    struct kern_mem kv;            /* owned; [n_attn][n_pages] pages */
    struct kern_mem delta;         /* owned; [n_delta][n_slots + n_ckpts] slots */
    struct kern_mem act;           /* owned; the activations below point into it */

    float *x;   /* [max_tok][dim] residual stream */
    float *mix; /* [max_tok][max(n_inner, n_q)] a mixer's output before its last projection */
    /* The mixers' inputs; DeltaNet's and attention's lie over each other, since no layer has both. */
    float *qkv, *z, *alpha, *beta; /* [max_tok][n_qkv], [..][n_inner], [..][n_vh], [..][n_vh] */
    float *q, *k, *v;              /* [max_tok][2 n_q], [..][n_kv], [..][n_kv] */
    float *logits;                 /* [max_rows][n_vocab] */
};

static inline uint8_t *state_kv(const struct state *s, int i_attn)
{
    return s->kv.base + (size_t)i_attn * (size_t)s->size.n_pages * s->page_bytes;
}

static inline uint8_t *state_delta(const struct state *s, int i_delta)
{
    return s->delta.base + (size_t)i_delta * (size_t)(s->size.n_slots + s->size.n_ckpts) * s->slot_bytes;
}
