/* layer_mlp.c - the MLP (qwen35-math §4): x += down(silu(gate n) * (up n)), n = rms(x). */
#include "layers.h"

int layer_mlp(const struct model *model, struct state *s, const struct kern_batch *batch,
              const struct layer *layer)
{
    const struct kern_mlp mlp = {
        .n_tok = batch->n_tok,
        .x = s->x,
        .norm_w = layer->post_norm_w,
        .eps = model->config.eps,
        .gate = &layer->gate,
        .up = &layer->up,
        .down = &layer->down,
    };

    return model->kern->ops->mlp(model->kern, &mlp);
}
