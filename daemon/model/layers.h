/* layers.h - the three halves of a layer: a mixer, DeltaNet or attention, and the MLP.  Called by
 * model_forward() only. Each reads and adds to state->x [n_tok][dim].  0 or < 0 (backend unusable). */
#pragma once

#include "state.h"

int layer_delta(const struct model *model, struct state *state, const struct kern_batch *batch,
                const struct layer *layer);
int layer_attn(const struct model *model, struct state *state, const struct kern_batch *batch,
               const struct layer *layer);
int layer_mlp(const struct model *model, struct state *state, const struct kern_batch *batch,
              const struct layer *layer);
