/* layer_attn.c - gated full attention (qwen35-math §4.1): x += out attn(q n, k n, v n), n = rms(x). */
#include "layers.h"

int layer_attn(const struct model *model, struct state *s, const struct kern_batch *batch,
               const struct layer *layer)
{
    const struct kern_ops *ops = model->kern->ops;
    const struct layer_attn *w = &layer->attn;
    const struct kern_norm_proj in = {
        .n_tok = batch->n_tok,
        .n_mat = 3,
        .x = s->x,
        .norm_w = layer->norm_w,
        .eps = model->config.eps,
        .mats = {&w->q, &w->k, &w->v},
        .out = {s->q, s->k, s->v},
    };
    const struct kern_attn mix = {
        .batch = batch,
        .q = s->q,
        .k = s->k,
        .v = s->v,
        .q_norm = w->q_norm,
        .k_norm = w->k_norm,
        .eps = model->config.eps,
        .n_rot = model->config.n_rot,
        .rope_base = model->config.rope_base,
        .kv = state_kv(s, layer->i_kind),
        .out = s->mix,
    };
    const struct kern_proj_add out = {.n_tok = batch->n_tok, .y = s->mix, .mat = &w->out, .x = s->x};
    int r = ops->norm_proj(model->kern, &in);

    if (!r)
        r = ops->attn(model->kern, &mix);
    return r ? r : ops->proj_add(model->kern, &out);
}
