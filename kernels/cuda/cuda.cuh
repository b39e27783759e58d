/* cuda.cuh - the opened CUDA backend: what its parts share.  Internal to kernels/cuda.
 *
 * cuda.cu opens, plans and has the table; cuda_mem.cu is memory and weights, cuda_host.cu weights in main
 * memory, cuda_step.cu gathers the ops of a step, cuda_ops.cu launches them.
 *
 * An op is not launched when it is called but noted: with top(), or when somebody asks for memory, the step
 * is complete, what its kernels must know of it goes to the device in one copy, and they are launched in one
 * go. */
#pragma once

extern "C" {
#include "kernels/backend.h"
}

#include "attn.h"
#include "delta.h"
#include "dev.cuh"
#include "step.h"
#include "top.h"

enum {
    CUDA_OPS_MAX = 2048,  /* of one step: three a layer, and more layers than config.h lets through */
    CUDA_SPANS_MAX = 256, /* of one step */
    CUDA_ALIGN = 256,     /* of whatever a kernel reads */
};

enum cuda_op_kind { /* in the order of a layer */
                    CUDA_EMBED,
                    CUDA_NORM_PROJ,
                    CUDA_DELTA,
                    CUDA_ATTN,
                    CUDA_PROJ_ADD,
                    CUDA_MLP,
                    CUDA_HEAD,
                    CUDA_TOP
};

enum { CUDA_STAGES = CUDA_TOP + 1 };

struct cuda_embed_op {
    const struct kern_mat *table;
    int n_tok;
    float *x;
};

struct cuda_op {
    enum cuda_op_kind kind;
    struct kern_mat mats[KERN_PROJ_MAX]; /* the op's, as they are: a graph is good for them alone */
    union { /* as kernels.h has them; pointers to ids and rows are not used, both are in the step */
        struct cuda_embed_op embed;
        struct kern_norm_proj norm_proj;
        struct kern_proj_add proj_add;
        struct kern_mlp mlp;
        struct kern_delta delta;
        struct kern_attn attn;
        struct kern_head head;
        struct kern_top top;
    };
};

/* One step: what its kernels must know of it, twice, and its ops. */
struct cuda_step {
    struct kern_cuda_step device; /* into device_base */
    const int32_t *rows, *asked;  /* of head() and of top(), on the device */
    uint8_t *host_base, *device_base;
    size_t pages_at, all_bytes; /* the pages lie last: up to them everything is copied */
    int32_t *n, *ids, *row_span, *host_rows, *host_asked, *pages; /* into host_base, pinned */
    struct kern_top_row *tops; /* owned, pinned: [max_tok] what top() gives, written by the device */
    struct kern_cuda_span *spans;
    int max_span, n_pages;
    const struct kern_batch *batch; /* borrowed until the step is launched; NULL: no mixer was called yet */
    struct cuda_op *ops;            /* [CUDA_OPS_MAX] */
    int n_ops;
    cudaEvent_t copied; /* host_base may be written again */
};

/* A backend's scratch of plan(): activations on their way from one kernel to the next. */
struct cuda_scratch {
    struct kern_cuda_act in;  /* [max_tok][dim] normed rows */
    struct kern_cuda_act mix; /* [max_tok][max(n_vh d_delta, n_qh d_attn)] what a mixer has written */
    struct kern_cuda_act ff;  /* [max_tok][n_ff] silu(gate) * up */
    float *delta;             /* what their kernels need for themselves */
    uint8_t *attn;
    struct kern_cuda_top_part *top_parts;
    float *top_groups;
};

/* What decodes up to so many rows, but for the head: its ops, and the graph that was made of them. */
enum { CUDA_GRAPHS = 5, CUDA_GRAPH_ROWS = 16 };
struct cuda_graph {
    struct cuda_op *ops; /* [CUDA_OPS_MAX] */
    int n_ops, n_seen;   /* n_seen: steps in a row that had these */
    struct kern_batch batch;
    cudaGraphExec_t exec; /* NULL: not made yet */
};

struct cuda {
    struct kern kern;
    int device;
    int n_sm, shared_bytes; /* that a block can be given */
    size_t granule;         /* of memory with an fd; 0: there is none */
    bool pins_read_only;    /* main memory that nobody may write to can be registered as it is */
    bool pdl;               /* kernels may start early: compute capability 9.0 */
    bool wide;              /* products of spans of more than KERN_CUDA_FEW rows are in f16 */
    cudaStream_t stream;
    struct cuda_step step;
    struct cuda_scratch scratch;
    struct cuda_graph graphs[CUDA_GRAPHS];
    struct kern_span graph_spans[CUDA_GRAPH_ROWS];
    uint64_t n_graph_launches;
    struct kern_stage stages[CUDA_STAGES];
    cudaEvent_t *events; /* owned, [CUDA_OPS_MAX + 1]; NULL: nobody has measured */
    int n_events;
    uint8_t *arena; /* owned; what plan() cut up */
    uint8_t *stage; /* owned; rows of a file on their way into tiles */
    size_t stage_bytes;
    struct kern_cuda_rope rope; /* of rope_base, 0: not set */
    float rope_base;
    const float *mixed_out; /* whose quantised form is scratch.mix; NULL: nobody's */
};

static inline struct cuda *cuda_of(struct kern *kern)
{
    return reinterpret_cast<struct cuda *>(kern);
}

/* cuda.cu */
int cuda_result(struct cuda *cuda,
                cudaError_t error);         /* kc_result(), and CUDA's word for it into kern.trouble */
int cuda_trouble(struct cuda *cuda, int r); /* the same of a launch that gave r < 0; returns r */

/* cuda_mem.cu */
int cuda_mem_alloc(struct kern *kern, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem);
int cuda_mem_adopt(struct kern *kern, int fd, size_t bytes, enum kern_mem_use use, struct kern_mem *ret_mem);
int cuda_mem_seal(struct kern *kern, struct kern_mem *mem);
void cuda_mem_free(struct kern *kern, struct kern_mem *mem);
int cuda_copy_in(struct kern *kern, void *dst, const void *src_host, size_t bytes);
int cuda_copy_out(struct kern *kern, void *dst_host, const void *src, size_t bytes);
int cuda_clear(struct kern *kern, void *dst, size_t bytes);
int cuda_copy(struct kern *kern, void *dst, const void *src, size_t bytes);
void cuda_read(struct kern *kern, const uint8_t *data, size_t bytes);
size_t cuda_mat_bytes(struct kern *kern, enum quant_type type, enum kern_layout layout, int n_out, int n_in);
int cuda_mat_pack(struct kern *kern, const struct kern_pack *pack);

/* cuda_host.cu.  Of KERN_MEM_HOST; fd is taken, also on failure. */
void cuda_host_init(struct cuda *cuda); /* whether there is any: host_copies and no_host */
int cuda_host_alloc(struct cuda *cuda, size_t bytes, struct kern_mem *ret_mem);
int cuda_host_adopt(struct cuda *cuda, int fd, size_t bytes, struct kern_mem *ret_mem);
int cuda_host_seal(struct cuda *cuda, struct kern_mem *mem);
void cuda_host_free(struct kern_mem *mem); /* the maps; its fd stays */

/* cuda_step.cu */
int cuda_step_init(struct cuda *cuda);
void cuda_step_deinit(struct cuda *cuda);
int cuda_step_flush(struct cuda *cuda); /* launches what was noted */
int cuda_embed(struct kern *kern, const struct kern_mat *table, const int32_t *ids, int n_tok, float *x);
int cuda_norm_proj(struct kern *kern, const struct kern_norm_proj *op);
int cuda_proj_add(struct kern *kern, const struct kern_proj_add *op);
int cuda_mlp(struct kern *kern, const struct kern_mlp *op);
int cuda_delta(struct kern *kern, const struct kern_delta *op);
int cuda_attn(struct kern *kern, const struct kern_attn *op);
int cuda_head(struct kern *kern, const struct kern_head *op);
int cuda_top(struct kern *kern, const struct kern_top *op);

/* cuda_graph.cu */
int cuda_graph_init(struct cuda *cuda);
void cuda_graph_deinit(struct cuda *cuda);
int cuda_graph_run(struct cuda *cuda, int n_ops,
                   bool *ret_done); /* the step's first n_ops; not done: no step for it */

/* cuda_stage.cu */
int cuda_stage_run(struct cuda *cuda); /* all ops of the step, measured */
int cuda_stages(const struct kern *kern, struct kern_stage *ret_stages, int n_max);
void cuda_stage_deinit(struct cuda *cuda);

/* cuda_ops.cu */
int cuda_op_launch(struct cuda *cuda, const struct cuda_op *op);
