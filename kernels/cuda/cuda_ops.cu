/* cuda_ops.cu - from the ops of kernels.h to kernels.  See cuda.cuh.
 *
 * Between two ops activations stay quantised where nobody else reads them: a mixer writes its rows as f32, as
 * kernels.h says, and as int8 or f16 beside them, and the product that follows, known by its operand's
 * address, takes the latter.
 *
 * Where products may be in f16 (cuda.wide), those of rows of a span of more than KERN_CUDA_FEW are, and no
 * others: a row's bits depend on its span and not on what else is in the step.  So a step of both kinds has
 * its products launched once for each run of spans of one kind. */
#include "cuda.cuh"

#include "attn.cuh"
#include "delta.cuh"
#include "matmul.cuh"
#include "norm.cuh"
#include "top.cuh"

/* products */

/* These meet f32 activations, all others quantised ones. */
static bool ops_reads_f32(const struct kern_mat *mat)
{
    return mat->type == QUANT_F32 || mat->type == QUANT_F16 || mat->type == QUANT_BF16;
}

static int ops_tiles(const struct kern_mat *mat, struct kern_cuda_tiles *ret_tiles)
{
    const int r = mat->layout == KERN_PANELS
                      ? kern_cuda_tiles_shape(mat->type, mat->n_out, mat->n_in, ret_tiles)
                      : -EINVAL;

    if (r < 0)
        return err_origin(r);
    ret_tiles->data = const_cast<uint8_t *>(mat->data);
    return 0;
}

/* Rows of spans next to each other whose products are of one kind.  All zero: before the first one. */
struct ops_run {
    int row0, n_row;
    bool wide; /* f16, or int8 */
};

/* Of n_tok rows; false: there is none behind it.  The rows that a graph has beyond the step's are the last
 * run's; without a mixer in the step they are taken for one span. */
static bool ops_next_run(const struct cuda *cuda, int n_tok, struct ops_run *run)
{
    const struct kern_batch *const batch = cuda->step.batch;

    run->row0 += run->n_row;
    run->n_row = n_tok - run->row0;
    if (run->n_row <= 0)
        return false;
    run->wide = cuda->wide && n_tok > KERN_CUDA_FEW;
    if (!cuda->wide || !batch)
        return true;
    int i = cuda->step.row_span[run->row0];
    run->wide = batch->spans[i].n_tok > KERN_CUDA_FEW;
    while (++i < batch->n_span && (batch->spans[i].n_tok > KERN_CUDA_FEW) == run->wide)
        ;
    if (i < batch->n_span)
        run->n_row = batch->spans[i].row0 - run->row0;
    return true;
}

/* The kinds of products that n_tok rows go into. */
struct ops_ways {
    bool int8, f16;
};

static struct ops_ways ops_ways_of(const struct cuda *cuda, int n_tok)
{
    struct ops_ways ways = {};
    struct ops_run run = {};

    while (ops_next_run(cuda, n_tok, &run)) {
        ways.f16 = ways.f16 || run.wide;
        ways.int8 = ways.int8 || !run.wide;
    }
    return ways;
}

/* The forms that quantised matrices read. */
static struct kern_cuda_act ops_form(struct kern_cuda_act act, struct ops_ways ways)
{
    if (!ways.int8) {
        act.q = NULL;
        act.group = NULL;
    }
    if (!ways.f16)
        act.h = NULL;
    return act;
}

static struct ops_ways ops_way(bool wide)
{
    return {!wide, wide};
}

static struct kern_cuda_act ops_rows_from(struct kern_cuda_act act, int row, int n)
{
    const size_t at = (size_t)row * (size_t)n;

    act.q = act.q ? act.q + at : NULL;
    act.group = act.group ? act.group + at / KERN_CUDA_GROUP : NULL;
    act.f = act.f ? act.f + at : NULL;
    act.h = act.h ? act.h + at : NULL;
    return act;
}

/* What the matrices read of act rows: nothing else is written. */
static struct kern_cuda_act ops_wanted(struct kern_cuda_act act, struct ops_ways ways,
                                       const struct kern_mat *const *mats, int n_mat)
{
    bool f32 = false, quantised = false;

    for (int i = 0; i < n_mat; i++) {
        f32 = f32 || ops_reads_f32(mats[i]);
        quantised = quantised || !ops_reads_f32(mats[i]);
    }
    act = ops_form(act, ways);
    if (!f32)
        act.f = NULL;
    if (!quantised) {
        act.q = NULL;
        act.group = NULL;
        act.h = NULL;
    }
    return act;
}

static int ops_norm(struct cuda *cuda, const float *x, const float *w, float eps, int n_row, int dim,
                    const int32_t *rows, const struct kern_cuda_act *act)
{
    struct kern_cuda_norm norm = {};

    norm.n_row = n_row;
    norm.dim = dim;
    norm.x = x;
    norm.w = w;
    norm.eps = eps;
    norm.act = *act;
    norm.rows = rows;
    return kern_cuda_norm_q8(&norm, cuda->pdl, cuda->stream);
}

/* out[i] = mats[i] in, or +=, without `in` yet. */
static int ops_stack(const struct cuda *cuda, int n_row, const struct kern_mat *const *mats, int n_mat,
                     bool add, float *const *out, struct kern_cuda_matmul *op)
{
    int r = 0;

    op->n_row = n_row;
    op->n_mat = n_mat;
    op->add = add;
    op->n_sm = cuda->n_sm;
    op->shared_bytes = cuda->shared_bytes;
    for (int i = 0; i < n_mat && r == 0; i++) {
        r = ops_tiles(mats[i], &op->mats[i]);
        op->out[i] = out[i];
    }
    return r;
}

/* Of the run's rows; in and out begin with row 0. */
static int ops_matmul(struct cuda *cuda, const struct kern_cuda_act *in, const struct ops_run *run,
                      const struct kern_mat *const *mats, int n_mat, bool add, float *const *out)
{
    struct kern_cuda_matmul op = {};
    const int r = ops_stack(cuda, run->n_row, mats, n_mat, add, out, &op);

    for (int i = 0; i < n_mat; i++)
        op.out[i] += (size_t)run->row0 * (size_t)mats[i]->n_out;
    op.in = ops_form(ops_rows_from(*in, run->row0, mats[0]->n_in), ops_way(run->wide));
    return r < 0 ? r : kern_cuda_matmul_rows(&op, cuda->pdl, cuda->stream);
}

static int ops_matmul_runs(struct cuda *cuda, const struct kern_cuda_act *in, int n_tok,
                           const struct kern_mat *const *mats, int n_mat, bool add, float *const *out)
{
    struct ops_run run = {};
    int r = 0;

    while (r == 0 && ops_next_run(cuda, n_tok, &run))
        r = ops_matmul(cuda, in, &run, mats, n_mat, add, out);
    return r;
}

static int ops_embed(struct cuda *cuda, const struct cuda_embed_op *embed)
{
    struct kern_cuda_embed op = {};

    if (embed->table->layout != KERN_ROWS)
        return err_origin(-EINVAL);
    op.type = embed->table->type;
    op.n_vocab = embed->table->n_out;
    op.n_in = embed->table->n_in;
    op.n_row = embed->n_tok;
    op.rows = embed->table->data;
    op.ids = cuda->step.device.ids;
    op.x = embed->x;
    return kern_cuda_embed_rows(&op, cuda->pdl, cuda->stream);
}

static int ops_norm_proj(struct cuda *cuda, const struct kern_norm_proj *op)
{
    struct kern_cuda_act act =
        ops_wanted(cuda->scratch.in, ops_ways_of(cuda, op->n_tok), op->mats, op->n_mat);
    struct kern_cuda_matmul one = {};
    int r = ops_stack(cuda, op->n_tok, op->mats, op->n_mat, false, op->out, &one);

    if (r < 0)
        return r;
    if (op->norm_w && kern_cuda_matmul_norms(&one)) {
        one.norm = {op->x, op->norm_w, op->eps};
        return kern_cuda_matmul_rows(&one, cuda->pdl, cuda->stream);
    }
    if (!op->norm_w && act.f) { /* x itself is what they read */
        act.f = NULL;
        r = act.q || act.h ? ops_norm(cuda, op->x, NULL, 0, op->n_tok, op->mats[0]->n_in, NULL, &act) : 0;
        act.f = const_cast<float *>(op->x);
    } else {
        r = ops_norm(cuda, op->x, op->norm_w, op->eps, op->n_tok, op->mats[0]->n_in, NULL, &act);
    }
    return r < 0 ? r : ops_matmul_runs(cuda, &act, op->n_tok, op->mats, op->n_mat, false, op->out);
}

static int ops_proj_add(struct cuda *cuda, const struct kern_proj_add *op)
{
    struct kern_cuda_act act = ops_form(cuda->scratch.mix, ops_ways_of(cuda, op->n_tok));
    int r = 0;

    if (op->y != cuda->mixed_out && !ops_reads_f32(op->mat))
        r = ops_norm(cuda, op->y, NULL, 0, op->n_tok, op->mat->n_in, NULL, &act);
    act.f = const_cast<float *>(op->y);
    cuda->mixed_out = NULL; /* a later op may write there what is not quantised */
    return r < 0 ? r : ops_matmul_runs(cuda, &act, op->n_tok, &op->mat, 1, true, &op->x);
}

/* The run's rows, normed already if op->norm does not say how. */
static int ops_mlp_run(struct cuda *cuda, const struct kern_mlp *mlp, const struct kern_cuda_act *in,
                       const struct ops_run *run, const struct kern_cuda_gate_up *whole)
{
    const struct ops_ways way = ops_way(run->wide);
    struct kern_cuda_act ff = ops_wanted(cuda->scratch.ff, way, &mlp->down, 1);
    struct kern_cuda_gate_up op = *whole;
    int r;

    if (!run->wide) { /* written whoever reads it */
        ff.q = cuda->scratch.ff.q;
        ff.group = cuda->scratch.ff.group;
    }
    op.n_row = run->n_row;
    op.in = ops_form(ops_rows_from(*in, run->row0, mlp->gate->n_in), way);
    op.out = ops_rows_from(ff, run->row0, mlp->down->n_in);
    r = kern_cuda_gate_up_rows(&op, cuda->pdl, cuda->stream);
    return r < 0 ? r : ops_matmul(cuda, &ff, run, &mlp->down, 1, true, &mlp->x);
}

static int ops_mlp(struct cuda *cuda, const struct kern_mlp *mlp)
{
    const struct kern_mat *const in_mats[] = {mlp->gate, mlp->up};
    const bool may_wide = mlp->gate->type == mlp->up->type && !ops_reads_f32(mlp->gate);
    const struct ops_ways ways = may_wide ? ops_ways_of(cuda, mlp->n_tok) : ops_way(false);
    const struct kern_cuda_act in = ops_wanted(cuda->scratch.in, ways, in_mats, 2);
    struct kern_cuda_gate_up op = {};
    struct ops_run run = {};
    int r;

    op.n_row = mlp->n_tok;
    op.n_sm = cuda->n_sm;
    op.shared_bytes = cuda->shared_bytes;
    r = ops_tiles(mlp->gate, &op.gate);
    if (r == 0)
        r = ops_tiles(mlp->up, &op.up);
    if (r == 0 && kern_cuda_gate_up_norms(&op))
        op.norm = {mlp->x, mlp->norm_w, mlp->eps};
    else if (r == 0)
        r = ops_norm(cuda, mlp->x, mlp->norm_w, mlp->eps, mlp->n_tok, mlp->gate->n_in, NULL, &in);
    while (r == 0 && ops_next_run(cuda, mlp->n_tok, &run)) {
        struct ops_run way = run;

        way.wide = run.wide && may_wide;
        r = ops_mlp_run(cuda, mlp, &in, &way, &op);
    }
    return r;
}

/* In int8 however many rows there are: they are one of each sequence, and those that are scored. */
static int ops_head(struct cuda *cuda, const struct kern_head *op)
{
    const struct ops_run run = {0, op->n_rows, false};
    struct kern_cuda_act act = ops_wanted(cuda->scratch.in, ops_way(false), &op->mat, 1);
    int r;

    if (op->hidden)
        act.f = op->hidden;
    r = ops_norm(cuda, op->x, op->norm_w, op->eps, op->n_rows, op->mat->n_in, cuda->step.rows, &act);
    return r < 0 ? r : ops_matmul(cuda, &act, &run, &op->mat, 1, false, &op->logits);
}

/* As many rows at a time as there is scratch for. */
static int ops_top(struct cuda *cuda, const struct kern_top *top)
{
    struct kern_cuda_top op = {};
    int r = 0;

    op.n_vocab = top->n_vocab;
    op.parts = cuda->scratch.top_parts;
    op.groups = cuda->scratch.top_groups;
    for (int i = 0; i < top->n_rows && r == 0; i += KERN_CUDA_TOP_ROWS) {
        op.n_row = MIN(top->n_rows - i, (int)KERN_CUDA_TOP_ROWS);
        op.logits = top->logits + (size_t)i * (size_t)top->n_vocab;
        op.asked = cuda->step.asked + i;
        op.out = cuda->step.tops + i;
        r = kern_cuda_top_rows(&op, cuda->pdl, cuda->stream);
    }
    return r;
}

/* mixers */

static int ops_delta(struct cuda *cuda, const struct kern_delta *delta)
{
    const struct kern_shape *s = &cuda->kern.shape;
    struct kern_cuda_delta op = {};

    op.step = cuda->step.device;
    op.n_kh = s->n_kh;
    op.n_vh = s->n_vh;
    op.d = s->d_delta;
    op.conv_k = s->conv_k;
    op.qkv = delta->qkv;
    op.z = delta->z;
    op.alpha = delta->alpha;
    op.beta = delta->beta;
    op.conv_w = delta->conv_w;
    op.a = delta->a;
    op.dt = delta->dt;
    op.norm_w = delta->norm_w;
    op.eps = delta->eps;
    op.state = delta->state;
    op.scratch = cuda->scratch.delta;
    op.act = ops_form(cuda->scratch.mix, ops_ways_of(cuda, delta->batch->n_tok));
    op.act.f = delta->out;
    cuda->mixed_out = delta->out;
    return kern_cuda_delta_mix(&op, delta->batch, cuda->pdl, cuda->stream);
}

static int ops_attn(struct cuda *cuda, const struct kern_attn *attn)
{
    const struct kern_shape *s = &cuda->kern.shape;
    struct kern_cuda_attn op = {};
    int r = 0;

    if (attn->rope_base != cuda->rope_base || attn->n_rot != cuda->rope.n_rot)
        r = kern_cuda_rope_init(attn->rope_base, attn->n_rot, &cuda->rope);
    if (r < 0)
        return r;
    cuda->rope_base = attn->rope_base;
    op.step = cuda->step.device;
    op.n_qh = s->n_qh;
    op.n_kvh = s->n_kvh;
    op.d = s->d_attn;
    op.max_ctx = s->max_ctx;
    op.kv_type = s->kv_type;
    op.q = attn->q;
    op.k = attn->k;
    op.v = attn->v;
    op.q_norm = attn->q_norm;
    op.k_norm = attn->k_norm;
    op.eps = attn->eps;
    op.kv = attn->kv;
    op.scratch = cuda->scratch.attn;
    op.act = ops_form(cuda->scratch.mix, ops_ways_of(cuda, attn->batch->n_tok));
    op.act.f = attn->out;
    cuda->mixed_out = attn->out;
    return kern_cuda_attn_mix(&op, attn->batch, &cuda->rope, cuda->pdl, cuda->stream);
}

int cuda_op_launch(struct cuda *cuda, const struct cuda_op *op)
{
    int r = -EINVAL;

    switch (op->kind) {
    case CUDA_EMBED:
        r = ops_embed(cuda, &op->embed);
        break;
    case CUDA_NORM_PROJ:
        r = ops_norm_proj(cuda, &op->norm_proj);
        break;
    case CUDA_PROJ_ADD:
        r = ops_proj_add(cuda, &op->proj_add);
        break;
    case CUDA_MLP:
        r = ops_mlp(cuda, &op->mlp);
        break;
    case CUDA_DELTA:
        r = ops_delta(cuda, &op->delta);
        break;
    case CUDA_ATTN:
        r = ops_attn(cuda, &op->attn);
        break;
    case CUDA_HEAD:
        r = ops_head(cuda, &op->head);
        break;
    case CUDA_TOP:
        r = ops_top(cuda, &op->top);
        break;
    }
    return r < 0 ? cuda_trouble(cuda, err_origin(r)) : 0;
}
