/* layer_delta.c - the Gated DeltaNet mixer (qwen35-math §4.2): x += out delta(qkv n, z n, alpha n, beta n), n
 * = rms(x). */
#include "layers.h"

int layer_delta(const struct model *model, struct state *s, const struct kern_batch *batch,
                const struct layer *layer)
{
    const struct kern_ops *ops = model->kern->ops;
    const struct layer_delta *w = &layer->delta;
    const struct kern_norm_proj in = {
        .n_tok = batch->n_tok,
        .n_mat = 4,
        .x = s->x,
        .norm_w = layer->norm_w,
        .eps = model->config.eps,
        .mats = {&w->qkv, &w->z, &w->alpha, &w->beta},
        .out = {s->qkv, s->z, s->alpha, s->beta},
    };
    const struct kern_delta mix = {
        .batch = batch,
        .qkv = s->qkv,
        .z = s->z,
        .alpha = s->alpha,
        .beta = s->beta,
        .conv_w = w->conv_w,
        .a = w->a,
        .dt = w->dt,
        .norm_w = w->norm_w,
        .eps = model->config.eps,
        .state = state_delta(s, layer->i_kind),
        .out = s->mix,
    };
    const struct kern_proj_add out = {.n_tok = batch->n_tok, .y = s->mix, .mat = &w->out, .x = s->x};
    int r = ops->norm_proj(model->kern, &in);

    if (!r)
        r = ops->delta(model->kern, &mix);
    return r ? r : ops->proj_add(model->kern, &out);
}
