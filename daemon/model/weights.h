/* weights.h - the tensors of a model, in one piece of backend memory; or in two, the table of embeddings, of
 * which a step needs a few rows, in main memory that the device reads.
 *
 * weights_load() finds each tensor by name, checks its type and shape against the configuration, and packs it
 * through the backend.  Where each one lies in the memory follows from the file's directory and the backend
 * alone, so that a later engine can adopt the memory by its fds (weights_adopt) instead of reading the file
 * again. */
#pragma once

#include "config.h"
#include "kernels/kernels.h"

enum {
    WEIGHTS_E_TENSOR = 40,
    WEIGHTS_E_MEMORY,
    WEIGHTS_E_READ,
    WEIGHTS_E_HOST = 44 /* main memory as the device needs it is not to be had */
};

/* Where the table of embeddings lies; it can only leave the others if it is not the head too. */
enum weights_table { WEIGHTS_TABLE_WITH_ALL, WEIGHTS_TABLE_HOST };

/* n_qkv = 2 n_kh d + n_vh d, n_inner = n_vh d of struct config; matrices are [n_out][n_in], see qwen35-math
 * §2 */
struct layer_delta {
    struct kern_mat qkv;                   /* [n_qkv][dim] */
    struct kern_mat z, alpha, beta;        /* [n_inner][dim], [n_vh][dim], [n_vh][dim] */
    struct kern_mat out;                   /* [dim][n_inner] */
    const float *conv_w, *a, *dt, *norm_w; /* [conv_k][n_qkv], [n_vh], [n_vh], [d_delta]; backend addresses */
};
struct layer_attn {
    struct kern_mat q;            /* [2 n_qh d_attn][dim]: per head d query rows, then d gate rows */
    struct kern_mat k, v;         /* [n_kvh d_attn][dim] */
    struct kern_mat out;          /* [dim][n_qh d_attn] */
    const float *q_norm, *k_norm; /* [d_attn]; backend addresses */
};
struct layer {
    const float *norm_w, *post_norm_w; /* [dim]; backend addresses */
    bool is_attn;
    int i_kind; /* how many layers of its kind come before it */
    union {
        struct layer_delta delta;
        struct layer_attn attn;
    };
    struct kern_mat gate, up, down; /* [n_ff][dim], [n_ff][dim], [dim][n_ff] */
};
struct weights {
    struct kern_mem mem;     /* owned; everything below points into it */
    struct kern_mem host;    /* owned; but for embed, which may lie here; all zero: it does not */
    struct kern_mat embed;   /* [n_vocab][dim] KERN_ROWS; if tied, and the backend reads panels, head */
    struct kern_mat head;    /* [n_vocab][dim] KERN_PANELS */
    const float *out_norm_w; /* [dim] */
    struct layer *layers;    /* owned, [n_layers] */
    bool tied;
    uint64_t n_params;
    uint64_t file_bytes; /* of the tensors that were taken from the file */
    char types[64];      /* "Q4_K+Q6_K+F32", most bytes first */
};

typedef void (*model_progress_fn)(void *user, uint64_t done_bytes, uint64_t all_bytes);

/* 0, WEIGHTS_E_*, < 0.  Faults name the tensor, what it is and what it should be. */
int weights_load(const struct gguf *gguf, const struct config *config, struct kern *kern,
                 enum weights_table table, model_progress_fn progress, void *user, struct fault *fault,
                 struct weights *ret_weights);

/* Checks as weights_load() does, and says what it would take; no tensor is read. */
struct weights_size {
    uint64_t all_bytes;               /* in one piece */
    uint64_t rest_bytes, table_bytes; /* in two; table_bytes 0: the table is the head too */
};
int weights_measure(const struct gguf *gguf, const struct config *config, struct kern *kern,
                    struct fault *fault, struct weights_size *ret_size);

/* What an earlier weights_load() of the same file, on a backend of the same numerics_id, left in mem.fd and
 * host.fd; taken over, also on failure.  Size and seals are checked, the bytes are not: whoever kept the fds
 * vouches for them. */
struct weights_fds {
    int all;  /* -1: none */
    int host; /* -1: the table is with the others */
};
int weights_adopt(const struct gguf *gguf, const struct config *config, struct kern *kern,
                  struct weights_fds fds, struct fault *fault, struct weights *ret_weights);
/* The fault of a tensor that could not be read, r as gguf_read() has it: WEIGHTS_E_READ. */
int weights_unreadable(const struct gguf *gguf, const struct gguf_tensor *tensor, int r, struct fault *fault);
void weights_deinit(struct weights *weights, struct kern *kern);
