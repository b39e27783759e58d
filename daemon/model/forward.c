/* forward.c - one step of the model: embed, the layers in order, logits of the rows that are asked for.
 *
 * Called by the engine's step loop and by qwend-probe.  It allocates nothing and decides nothing: what is in
 * the batch is the scheduler's business, how it is computed the backend's. */
#include "layers.h"

#include <assert.h>

static int forward_layers(const struct model *model, struct state *s, const struct kern_batch *batch,
                          bool head)
{
    for (int i = 0; i < model->config.n_layers; i++) {
        const struct layer *layer = &model->weights.layers[i];
        int r = layer->is_attn ? layer_attn(model, s, batch, layer) : layer_delta(model, s, batch, layer);

        if (r)
            return r;
        if (i == model->config.n_layers - 1 && !head)
            return 0; /* the last MLP changes no state, so without logits nobody would read it: 2 % of a
                         prefill */
        r = layer_mlp(model, s, batch, layer);
        if (r)
            return r;
    }
    return 0;
}

static int forward_head(const struct model *model, struct state *s, const int *rows, int n_rows)
{
    const struct kern_head head = {
        .n_rows = n_rows,
        .rows = rows,
        .x = s->x,
        .norm_w = model->weights.out_norm_w,
        .eps = model->config.eps,
        .mat = &model->weights.head,
        .logits = s->logits,
    };

    return model->kern->ops->head(model->kern, &head);
}

/* Logits of the rows into the state.  Without rows it waits: who measures the step measures its work, also on
 * a backend that runs behind. */
static int forward_run(struct model *model, struct state *s, const struct kern_batch *batch, const int *rows,
                       int n_rows)
{
    int r;

    assert(batch->n_tok > 0 && batch->n_tok <= s->size.max_tok);
    assert(n_rows >= 0 && n_rows <= s->size.max_rows);
    r = model->kern->ops->embed(model->kern, &model->weights.embed, batch->ids, batch->n_tok, s->x);
    if (!r)
        r = forward_layers(model, s, batch, n_rows > 0);
    if (r)
        return r;
    return n_rows ? forward_head(model, s, rows, n_rows)
                  : model->kern->ops->copy_out(model->kern, NULL, NULL, 0);
}

int model_forward(struct model *model, struct state *s, const struct kern_batch *batch, const int *rows,
                  int n_rows, float *ret_logits)
{
    const size_t bytes = (size_t)n_rows * (size_t)model->config.n_vocab * sizeof(float);
    int r = forward_run(model, s, batch, rows, n_rows);

    return r || !n_rows ? r : model->kern->ops->copy_out(model->kern, ret_logits, s->logits, bytes);
}

int model_forward_top(struct model *model, struct state *s, const struct kern_batch *batch, const int *rows,
                      int n_rows, const int32_t *asked, struct kern_top_row *ret_tops)
{
    const struct kern_top top = {
        .n_rows = n_rows,
        .n_vocab = model->config.n_vocab,
        .logits = s->logits,
        .asked = asked,
        .ret_rows = ret_tops,
    };
    int r = forward_run(model, s, batch, rows, n_rows);

    return r || !n_rows ? r : model->kern->ops->top(model->kern, &top);
}

int model_logits(struct model *model, struct state *s, int i_row, float *ret_logits)
{
    const size_t n = (size_t)model->config.n_vocab;

    assert(i_row >= 0 && i_row < s->size.max_rows);
    return model->kern->ops->copy_out(model->kern, ret_logits, s->logits + (size_t)i_row * n,
                                      n * sizeof(float));
}
