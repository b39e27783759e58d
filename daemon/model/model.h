/* model.h - a loaded Qwen 3.5: configuration, weights in backend memory, and the forward pass over a batch.
 *
 * model_open() reads the file once and packs the weights into one kern_mem (model->weights.mem), whose fd a later engine
 * may adopt.  struct state is everything that sequences own: KV pages and DeltaNet slots, sized once. */
#pragma once

#include "config.h"
#include "kernels/kernels.h"

struct layer_delta { struct kern_mat qkv, z, alpha, beta, out; const float *conv_w, *a, *dt, *norm_w; };
struct layer_attn { struct kern_mat q, k, v, out; const float *q_norm, *k_norm; };
struct layer {
    const float *norm_w, *post_norm_w;      /* [dim] */
    bool is_attn;
    union { struct layer_delta delta; struct layer_attn attn; };
    struct kern_mat gate, up, down;
};
struct weights {
    struct kern_mem mem;                    /* owned; everything below points into it */
    struct kern_mat embed;                  /* [n_vocab][dim]; KERN_ROWS, or the head itself if tied */
    struct kern_mat head;                   /* [n_vocab][dim] KERN_PANELS */
    const float *out_norm_w;                /* [dim] */
    struct layer *layers;                   /* owned, [n_layers] */
    bool tied;
    uint64_t n_params;
    char types[64];                         /* "Q4_K+Q6_K+F32", most bytes first */
};

struct model {
    struct kern *kern;                      /* borrowed; outlives the model */
    struct config config;
    struct weights weights;
    char name[64], file[128];
    uint64_t file_bytes;
    uint8_t digest[32];                     /* of the file's header */
};

enum { MODEL_OK, MODEL_E_TENSOR = 40, MODEL_E_MEMORY };

typedef void (*model_progress_fn)(void *user, uint64_t done_bytes, uint64_t all_bytes);

/* gguf is borrowed for the call.  0, GGUF_E_*, CONFIG_E_*, MODEL_E_*, < 0.  Faults name the tensor, what it is and what it should be. */
int model_open(const struct gguf *gguf, const char *path, struct kern *kern, model_progress_fn progress, void *user, struct fault *fault,
               struct model **ret_model);
struct model *model_free(struct model *model);
CLEANUP_FUNC(struct model, model_free)

/* state */
struct state_size {
    int n_slots;                            /* sequences alive at a time */
    int max_ctx;                            /* positions of the longest sequence */
    int n_pages;                            /* KV pages in all; 0: n_slots * CEIL_DIV(max_ctx, KERN_PAGE_TOK) */
    int max_tok;                            /* rows of the largest step */
    int max_rows;                           /* logit rows of one step */
    enum kern_kv_type kv_type;
};
struct state;                               /* KV arena, DeltaNet arena, activations */
uint64_t state_bytes(const struct model *model, const struct state_size *size); /* what state_new() would take; does not allocate */
int state_new(struct model *model, const struct state_size *size, struct fault *fault, struct state **ret_state); /* also plan()s the backend */
struct state *state_free(struct state *state);
CLEANUP_FUNC(struct state, state_free)
int state_clear_slot(struct state *state, int slot); /* a fresh sequence: DeltaNet and conv state zero */
int state_n_pages(const struct state *state);

/* Runs batch through all layers; then logits of rows[n_rows] (ascending rows of the step) into ret_logits, host,
 * [n_rows][n_vocab].  n_rows may be 0.  The spans' slots and pages are advanced.  0 or < 0 (backend unusable). */
int model_forward(struct model *model, struct state *state, const struct kern_batch *batch, const int *rows, int n_rows, float *ret_logits);
