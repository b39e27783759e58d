/* cuda_ops.cu - from the ops of kernels.h to kernels.  See cuda.cuh.
 *
 * Between two ops activations stay quantised where nobody else reads them: a mixer writes its rows as f32, as
 * kernels.h says, and as int8 or f16 beside them, and the product that follows, known by its operand's
 * address, takes the latter. */
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

/* Of n_row rows quantised matrices read one form: f16 if wide, or int8. */
static struct kern_cuda_act ops_form(struct kern_cuda_act act, bool wide)
{
    if (wide) {
        act.q = NULL;
        act.group = NULL;
    } else {
        act.h = NULL;
    }
    return act;
}

static bool ops_is_wide(const struct cuda *cuda, int n_row)
{
    return cuda->wide && n_row > KERN_CUDA_FEW;
}

/* What the matrices read of act rows: nothing else is written. */
static struct kern_cuda_act ops_wanted(struct kern_cuda_act act, bool wide,
                                       const struct kern_mat *const *mats, int n_mat)
{
    bool f32 = false, quantised = false;

    for (int i = 0; i < n_mat; i++) {
        f32 = f32 || ops_reads_f32(mats[i]);
        quantised = quantised || !ops_reads_f32(mats[i]);
    }
    act = ops_form(act, wide);
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

static int ops_matmul(struct cuda *cuda, const struct kern_cuda_act *in, int n_row,
                      const struct kern_mat *const *mats, int n_mat, bool add, float *const *out)
{
    struct kern_cuda_matmul op = {};
    const int r = ops_stack(cuda, n_row, mats, n_mat, add, out, &op);

    op.in = *in;
    return r < 0 ? r : kern_cuda_matmul_rows(&op, cuda->pdl, cuda->stream);
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
        ops_wanted(cuda->scratch.in, ops_is_wide(cuda, op->n_tok), op->mats, op->n_mat);
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
    return r < 0 ? r : ops_matmul(cuda, &act, op->n_tok, op->mats, op->n_mat, false, op->out);
}

static int ops_proj_add(struct cuda *cuda, const struct kern_proj_add *op)
{
    struct kern_cuda_act act = ops_form(cuda->scratch.mix, ops_is_wide(cuda, op->n_tok));
    int r = 0;

    if (op->y != cuda->mixed_out && !ops_reads_f32(op->mat))
        r = ops_norm(cuda, op->y, NULL, 0, op->n_tok, op->mat->n_in, NULL, &act);
    act.f = const_cast<float *>(op->y);
    cuda->mixed_out = NULL; /* a later op may write there what is not quantised */
    return r < 0 ? r : ops_matmul(cuda, &act, op->n_tok, &op->mat, 1, true, &op->x);
}

static int ops_mlp(struct cuda *cuda, const struct kern_mlp *mlp)
{
    const struct kern_mat *const in_mats[] = {mlp->gate, mlp->up};
    const bool wide = ops_is_wide(cuda, mlp->n_tok) && mlp->gate->type == mlp->up->type;
    const struct kern_cuda_act in = ops_wanted(cuda->scratch.in, wide, in_mats, 2);
    struct kern_cuda_gate_up op = {};
    int r;

    op.n_row = mlp->n_tok;
    op.in = in;
    op.out = in.h ? ops_wanted(cuda->scratch.ff, true, &mlp->down, 1) : ops_form(cuda->scratch.ff, false);
    if (!ops_reads_f32(mlp->down))
        op.out.f = NULL;
    op.n_sm = cuda->n_sm;
    op.shared_bytes = cuda->shared_bytes;
    r = ops_tiles(mlp->gate, &op.gate);
    if (r == 0)
        r = ops_tiles(mlp->up, &op.up);
    if (r == 0 && kern_cuda_gate_up_norms(&op))
        op.norm = {mlp->x, mlp->norm_w, mlp->eps};
    else if (r == 0)
        r = ops_norm(cuda, mlp->x, mlp->norm_w, mlp->eps, mlp->n_tok, mlp->gate->n_in, NULL, &in);
    if (r == 0)
        r = kern_cuda_gate_up_rows(&op, cuda->pdl, cuda->stream);
    return r < 0 ? r : ops_matmul(cuda, &op.out, mlp->n_tok, &mlp->down, 1, true, &mlp->x);
}

static int ops_head(struct cuda *cuda, const struct kern_head *op)
{
    struct kern_cuda_act act = ops_wanted(cuda->scratch.in, ops_is_wide(cuda, op->n_rows), &op->mat, 1);
    int r;

    if (op->hidden)
        act.f = op->hidden;
    r = ops_norm(cuda, op->x, op->norm_w, op->eps, op->n_rows, op->mat->n_in, cuda->step.rows, &act);
    return r < 0 ? r : ops_matmul(cuda, &act, op->n_rows, &op->mat, 1, false, &op->logits);
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
    op.act = ops_form(cuda->scratch.mix, ops_is_wide(cuda, delta->batch->n_tok));
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
    op.act = ops_form(cuda->scratch.mix, ops_is_wide(cuda, attn->batch->n_tok));
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
