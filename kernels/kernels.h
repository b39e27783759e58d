/* kernels.h - the one interface between the model and the machine that computes: struct kern_ops.
 *
 * An op is a whole operation of the model (norm + all projections that read it, a whole MLP, a whole DeltaNet mixer),
 * not a node of a graph, so that a backend is free to fuse.  kernels/cpu/ref.c defines each op in plain C; every other
 * implementation is tested against it.  Ops of one step are called in order by one thread and may run asynchronously:
 * results are visible to the host after copy_out().  Nothing allocates after plan().
 *
 * Shape letters (docs/MODEL.md): n_tok rows of the step, dim residual width, n_ff MLP width, n_qh / n_kvh attention
 * heads, n_kh / n_vh DeltaNet key / value heads, d head size.  Layout [slow][fast], last index contiguous.
 * All activations are f32.  A row with a NaN in it gives NaN, however a backend rounds its inputs: the engine knows a
 * broken sequence by its logits.  Ops return 0 or < 0; a failed op makes the backend unusable (the engine exits). */
#pragma once

#include "quant.h"

enum { KERN_PAGE_TOK = 64 };                /* positions per KV page */

enum kern_kv_type { KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0 };

/* memory */
enum kern_mem_use {
    KERN_MEM_WEIGHTS,
    KERN_MEM_STATE,
    KERN_MEM_HOST,                          /* rows in main memory that embed() reads; host-writable at base until mem_seal() */
};
struct kern_mem {
    uint8_t *base;                          /* backend address; host-readable on the CPU only */
    uint8_t *host;                          /* of KERN_MEM_HOST on a device: where it is mapped here; NULL elsewhere */
    size_t bytes;
    int fd;                                 /* what another process can map it by; -1: none.  Owned. */
    bool locked;                            /* pinned in RAM or device memory */
    bool huge;                              /* what is written through base gets huge pages, if the system has some */
};

/* How a matrix lies in memory: as in the file (row gathers), or repacked for the backend's products. */
enum kern_layout { KERN_ROWS, KERN_PANELS };

struct kern_mat {
    enum quant_type type;                   /* in the file; what a backend makes of it is its own business */
    enum kern_layout layout;
    int n_out, n_in;                        /* out = M in; the file's ne is {n_in, n_out} */
    const uint8_t *data;                    /* borrowed from the weights' kern_mem */
    size_t bytes;                           /* == ops->mat_bytes(...) */
};

/* one step */
struct kern_span {                          /* consecutive rows of one sequence */
    int row0, n_tok;                        /* rows [row0, row0 + n_tok) of the step */
    int pos0;                               /* position of row0 in its sequence; 0 with a fresh state */
    int slot;                               /* which DeltaNet + conv state it owns */
    const int32_t *pages;                   /* borrowed [CEIL_DIV(pos0 + n_tok, KERN_PAGE_TOK)]: page of each 64 positions */
};
struct kern_batch {
    int n_tok, n_span;
    const int32_t *ids;                     /* [n_tok] token ids */
    const struct kern_span *spans;          /* [n_span] in row order, covering every row once; slots all different */
};

/* What a backend must make room for. */
struct kern_shape {
    int dim, n_ff, n_vocab;
    int n_qh, n_kvh, d_attn;                /* full attention */
    int n_kh, n_vh, d_delta, conv_k;        /* DeltaNet */
    int max_tok;                            /* rows of the largest step */
    int max_ctx;                            /* positions of the longest sequence */
    enum kern_kv_type kv_type;
};

/* n = rms(x) * norm_w per row (norm_w NULL: n = x); out[i] = mats[i] n for each i.
 *   x [n_tok][dim]   norm_w [dim]   out[i] [n_tok][mats[i]->n_out] */
enum { KERN_PROJ_MAX = 4 };
struct kern_norm_proj {
    int n_tok, n_mat;
    const float *x, *norm_w;
    float eps;
    const struct kern_mat *mats[KERN_PROJ_MAX];
    float *out[KERN_PROJ_MAX];
};

/* x += mat y.   y [n_tok][mat->n_in]   x [n_tok][mat->n_out] in/out */
struct kern_proj_add {
    int n_tok;
    const float *y;
    const struct kern_mat *mat;
    float *x;
};

/* x += down(silu(gate n) * (up n)), n = rms(x) * norm_w.   x [n_tok][dim] in/out */
struct kern_mlp {
    int n_tok;
    float *x;
    const float *norm_w;
    float eps;
    const struct kern_mat *gate, *up, *down;
};

/* The DeltaNet mixer between its projections (qwen35-math §4.2): causal conv + SiLU, L2 norms, gates, gated delta rule,
 * gated RMS norm.  Value head h reads key head h % n_kh.
 *   qkv   [n_tok][2 n_kh d + n_vh d]  all q heads, all k heads, all v heads, before the convolution
 *   z     [n_tok][n_vh d]     alpha, beta [n_tok][n_vh] raw projections     out [n_tok][n_vh d]
 *   conv_w [conv_k][2 n_kh d + n_vh d], the last tap is the current token     a, dt [n_vh]     norm_w [d]
 *   state  slot s at state + s * ops->delta_state_bytes(), all zero bytes = fresh; holds M (f32) and conv rows, layout
 *          the backend's own.  The spans' slots are read and advanced by their n_tok. */
struct kern_delta {
    const struct kern_batch *batch;
    const float *qkv, *z, *alpha, *beta;
    const float *conv_w, *a, *dt, *norm_w;
    float eps;
    uint8_t *state;
    float *out;
};

/* Gated full attention between its projections (§4.1): per-head RMS norm of q and k, rope, KV store, causal softmax
 * attention, sigmoid gate.  Query head h reads KV head h / (n_qh / n_kvh).
 *   q [n_tok][n_qh][2 d]  d query values, then d gate values per head      k, v [n_tok][n_kvh d]
 *   q_norm, k_norm [d]     out [n_tok][n_qh d]
 *   kv: page p at kv + p * ops->kv_page_bytes(); layout the backend's own */
struct kern_attn {
    const struct kern_batch *batch;
    const float *q, *k, *v;
    const float *q_norm, *k_norm;
    float eps;
    int n_rot;                              /* rope on dims [0, n_rot), pairs (i, i + n_rot / 2) */
    float rope_base;
    uint8_t *kv;
    float *out;
};

/* Selected rows to logits: hidden = rms(x[rows[i]]) * norm_w; logits[i] = mat hidden.
 *   rows [n_rows] host, ascending     hidden [n_rows][dim] or NULL     logits [n_rows][mat->n_out] */
struct kern_head {
    int n_rows;
    const int *rows;
    const float *x, *norm_w;
    float eps;
    const struct kern_mat *mat;
    float *hidden, *logits;
};

/* What sampling needs of rows of logits, so that they may stay where they are: the best of each, equal ones by id, and
 * the normaliser of the model's own softmax.  -inf is no candidate.
 *   logits [n_rows][n_vocab]     asked [n_rows] host: an id of each row whose logit is wanted, -1: none; NULL: none */
enum { KERN_TOP = 256 };
#define KERN_TOP_LSE_ERROR 1e-5             /* of lse, at most */
struct kern_top_row {
    bool is_bad;                            /* a logit is NaN or +inf; then nothing else is set */
    int n;                                  /* of ids: KERN_TOP, or all that there are */
    double lse;                             /* log of the sum of exp over the row; -inf: there is no candidate */
    float asked;                            /* the logit that was asked for */
    int32_t ids[KERN_TOP];                  /* best first */
    float logits[KERN_TOP];                 /* theirs */
};
struct kern_top {
    int n_rows, n_vocab;
    const float *logits;
    const int32_t *asked;
    struct kern_top_row *ret_rows;          /* host, [n_rows] */
};

/* Some rows of a matrix, from the file's layout to the backend's.  A matrix is packed from its first row to its last, in
 * as many calls as one likes; mat->data is written through. */
enum { KERN_PACK_ROWS = 16 };               /* rows that may be packed together: all pieces but the last are multiples */
struct kern_pack {
    const struct kern_mat *mat;
    const struct kern_mem *mem;             /* that mat->data lies in, not sealed yet; NULL: no mem_alloc() made it */
    int row, n_row;
    const void *src;                        /* [n_row] rows as in the file, borrowed for the call */
};

/* What one kind of phase has cost since the backend was opened, for reports: see struct kern's timed. */
struct kern_stage {
    const char *name;                       /* "in", "gate+up"; static */
    uint64_t n, n_shared;                   /* phases; of them, on more threads than the caller's */
    uint64_t ns, bytes, ops;                /* bytes of weights, states and KV pages read at least; multiplications */
};

enum { KERN_HUGE_BYTES = 2 << 20 };

struct kern;
struct kern_ops {
    const char *name;                       /* "ref", "cpu", "cuda" */

    /* set-up */
    int (*plan)(struct kern *kern, const struct kern_shape *shape);  /* once, before the first step; sizes all scratch */
    int (*mem_alloc)(struct kern *kern, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem); /* zeroed */
    /* takes the fd, also when it fails; checks seals and size */
    int (*mem_adopt)(struct kern *kern, int fd, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem);
    int (*mem_seal)(struct kern *kern, struct kern_mem *mem);        /* weights complete: read-only from here, here and elsewhere */
    void (*mem_free)(struct kern *kern, struct kern_mem *mem);       /* all-zero mem allowed */
    /* A part of state memory, or of plan()'s scratch (NULL, 0), gets its pages now, not in the step that uses it first; what
     * is there stays.  For any thread, beside steps.  NULL: memory has them from the start. */
    void (*populate)(struct kern *kern, void *at, size_t bytes);
    /* Moves KERN_HUGE_BYTES of sealed weights into one page, where they lie in many; addresses and contents stay.  at: a
     * multiple of that.  For any thread, beside steps.  0; -EAGAIN: there is none at present; -EOPNOTSUPP: there never is.
     * NULL: not offered. */
    int (*make_huge)(struct kern *kern, const struct kern_mem *mem, size_t at);
    uint64_t (*free_bytes)(struct kern *kern);                       /* what states may take, scratch set aside; NULL: main memory's */
    int (*copy_in)(struct kern *kern, void *dst, const void *src_host, size_t bytes);
    int (*copy_out)(struct kern *kern, void *dst_host, const void *src, size_t bytes); /* waits for the ops before it */
    int (*clear)(struct kern *kern, void *dst, size_t bytes);
    int (*copy)(struct kern *kern, void *dst, const void *src, size_t bytes); /* both the backend's; they do not overlap */
    size_t (*mat_bytes)(struct kern *kern, enum quant_type type, enum kern_layout layout, int n_out, int n_in);
    int (*mat_pack)(struct kern *kern, const struct kern_pack *pack);
    size_t (*delta_state_bytes)(struct kern *kern);                  /* per slot and layer; valid after plan() */
    size_t (*kv_page_bytes)(struct kern *kern);                      /* per page and layer; valid after plan() */

    /* step */
    int (*embed)(struct kern *kern, const struct kern_mat *table, const int32_t *ids, int n_tok, float *x);
    int (*norm_proj)(struct kern *kern, const struct kern_norm_proj *op);
    int (*proj_add)(struct kern *kern, const struct kern_proj_add *op);
    int (*mlp)(struct kern *kern, const struct kern_mlp *op);
    int (*delta)(struct kern *kern, const struct kern_delta *op);
    int (*attn)(struct kern *kern, const struct kern_attn *op);
    int (*head)(struct kern *kern, const struct kern_head *op);
    int (*top)(struct kern *kern, const struct kern_top *op);        /* waits, as copy_out; NULL: rows are the host's anyway */

    /* Copies out up to n_max stages, in the order of a layer, and returns how many there are.  NULL: none. */
    int (*stages)(const struct kern *kern, struct kern_stage *ret_stages, int n_max);
    /* Reads bytes of the backend's memory, a multiple of 64, on all threads, and does nothing else with them: what the
     * memory gives, to compare stages with.  NULL: not offered. */
    void (*read)(struct kern *kern, const uint8_t *data, size_t bytes);

    void (*free)(struct kern *kern);
};

/* One opened backend.  Implementations embed this first. */
struct kern {
    const struct kern_ops *ops;
    struct kern_shape shape;                /* set by plan() */
    char isa[24];                           /* "avx512vnni"; "" for ref */
    int n_threads;
    int row_tile;                           /* rows of a step that take as long as one of them, and so on; 0: there is no such limit */
    bool timed;                             /* set by the caller: stages are counted, at two clock readings a phase */
    char numerics_id[48];                   /* equal ids: equal bits for equal inputs, on any machine */
    /* Bits of a prompt are the same wherever it is cut, if pieces are cut_tok long and longer and end at multiples of it,
     * but for its end; and those of rows that were read one by one, if they are read again by again_tok at most.
     * 1 and 0: however it is cut, and by any number. */
    int cut_tok, again_tok;
    bool embeds_rows;                       /* embed() reads KERN_ROWS only: a table that is the head too is kept twice */
    int host_copies;                        /* how often main memory holds what is in KERN_MEM_HOST; 0: that is not offered */
    char no_host[120];                      /* why it is not; "": there is no other memory anyway */
    char trouble[120];                      /* what the machine said of a failed op; "": nothing */
};

enum { KERN_OK, KERN_E_BACKEND, KERN_E_ISA, KERN_E_THREADS };

struct kern_options {
    const char *backend;                    /* "ref", "cpu", "cuda"; "auto": cuda if it works, else cpu */
    const char *isa;                        /* NULL: the best this machine has */
    int n_threads;                          /* 0: every core we may run on */
    bool share_all;                         /* for tests: each phase on all threads, however little there is to do */
};

/* fault names what was asked for and what there is; with "auto" it says why a better backend was passed over, also when
 * another one was opened, and is left alone if none was.  ret_kern is freed with kern_free(), which takes NULL. */
int kern_open(const struct kern_options *options, struct fault *fault, struct kern **ret_kern);
struct kern *kern_free(struct kern *kern);
CLEANUP_FUNC(struct kern, kern_free)
