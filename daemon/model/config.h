/* config.h - the hyper-parameters of one Qwen 3.5 file, read from its metadata and checked against each
 * other.
 *
 * Keys: qwen35-math §1; names as llama.cpp's converter writes them (conversion/qwen.py).  What config_read()
 * lets through is consistent: every shape that the model computes from it fits an int, and both kinds of
 * layer are there. */
#pragma once

#include "gguf.h"
#include "kernels/kernels.h"

enum { CONFIG_OK, CONFIG_E_ARCH = 20, CONFIG_E_VALUE };
enum { CONFIG_LAYERS_MAX = 512 };

/* What the file recommends (general.sampling.*, llama.cpp's keys); below 0: it does not say. */
struct config_sampling {
    float temperature, top_p, min_p, repeat_penalty;
    int top_k;
};

struct config {
    int n_layers; /* main layers, MTP blocks not counted */
    int n_mtp;    /* MTP (nextn) blocks behind them: 0 or 1 */
    int dim, n_ff, n_vocab;
    int n_qh, n_kvh, d_attn, n_rot; /* full attention; n_rot dims are rotated */
    int n_kh, n_vh, d_delta, conv_k;
    float eps, rope_base;
    int context_trained;
    bool is_attn[CONFIG_LAYERS_MAX];
    int n_attn, n_delta; /* how many of n_layers are which */
    struct config_sampling sampling;
};

/* 0, GGUF_E_* or CONFIG_E_*; the fault names the key, what it is and what it should be. */
int config_read(const struct gguf *gguf, struct fault *fault, struct config *ret_config);

/* Does the file recommend anything? */
static inline bool config_has_sampling(const struct config *c)
{
    const struct config_sampling *s = &c->sampling;

    return s->temperature >= 0 || s->top_p >= 0 || s->min_p >= 0 || s->repeat_penalty >= 0 || s->top_k >= 0;
}

/* Widths that follow from it, in values per token. */
static inline int config_n_qkv(const struct config *c)
{
    return 2 * c->n_kh * c->d_delta + c->n_vh * c->d_delta;
}
static inline int config_n_inner(const struct config *c)
{
    return c->n_vh * c->d_delta;
}
static inline int config_n_q(const struct config *c)
{
    return c->n_qh * c->d_attn;
}
static inline int config_n_kv(const struct config *c)
{
    return c->n_kvh * c->d_attn;
}
