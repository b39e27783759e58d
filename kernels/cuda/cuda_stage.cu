/* cuda_stage.cu - what each kind of op costs: struct kern's timed.  See cuda.cuh.
 *
 * While it is set, events stand between the ops of a step, which is then launched plainly and waited for. The
 * gaps between kernels are part of what is told; what a graph saves is seen by timing without. */
#include "cuda.cuh"

static const char *const stage_names[CUDA_STAGES] /* of enum cuda_op_kind */ = {
    "embed", "in", "delta", "attn", "out", "gate+up+down", "head", "top"};

void cuda_stage_deinit(struct cuda *cuda)
{
    for (int i = 0; i < cuda->n_events; i++)
        cudaEventDestroy(cuda->events[i]);
    free(cuda->events);
}

/* The first time: nobody measures who has not asked. */
static int stage_init(struct cuda *cuda)
{
    if (!cuda->events)
        cuda->events = static_cast<cudaEvent_t *>(calloc(CUDA_OPS_MAX + 1, sizeof(*cuda->events)));
    if (!cuda->events)
        return err_origin(-ENOMEM);
    while (cuda->n_events <= cuda->step.n_ops) {
        const int r =
            cuda_result(cuda, cudaEventCreateWithFlags(&cuda->events[cuda->n_events], cudaEventDefault));

        if (r < 0)
            return r;
        cuda->n_events++;
    }
    return 0;
}

static void stage_add_mat(struct kern_stage *stage, const struct kern_mat *mat, int n_row)
{
    stage->bytes += mat->bytes;
    stage->ops += (uint64_t)n_row * (uint64_t)mat->n_out * (uint64_t)mat->n_in;
}

/* Each slot is read once and has a multiply for what it forgets, recalls, corrects and gives. */
static void stage_add_delta(const struct cuda *cuda, struct kern_stage *stage, const struct kern_batch *batch)
{
    const struct kern_shape *s = &cuda->kern.shape;

    stage->bytes += (uint64_t)batch->n_span * kern_cuda_delta_state_bytes(s);
    stage->ops +=
        4 * (uint64_t)batch->n_tok * (uint64_t)s->n_vh * (uint64_t)s->d_delta * (uint64_t)s->d_delta;
}

static void stage_add_attn(const struct cuda *cuda, struct kern_stage *stage, const struct kern_batch *batch)
{
    const struct kern_shape *s = &cuda->kern.shape;

    for (int i = 0; i < batch->n_span; i++) {
        const uint64_t n_tok = (uint64_t)batch->spans[i].n_tok, end = (uint64_t)batch->spans[i].pos0 + n_tok;

        stage->bytes += CEIL_DIV(end, (uint64_t)KERN_PAGE_TOK) * kern_cuda_page_bytes(s);
        stage->ops += 2 * n_tok * end * (uint64_t)(s->n_qh * s->d_attn);
    }
}

static void stage_add(const struct cuda *cuda, const struct cuda_op *op, struct kern_stage *stage)
{
    switch (op->kind) {
    case CUDA_EMBED:
        stage->bytes += (uint64_t)op->embed.n_tok * (op->embed.table->bytes / (size_t)op->embed.table->n_out);
        break;
    case CUDA_NORM_PROJ:
        for (int i = 0; i < op->norm_proj.n_mat; i++)
            stage_add_mat(stage, op->norm_proj.mats[i], op->norm_proj.n_tok);
        break;
    case CUDA_PROJ_ADD:
        stage_add_mat(stage, op->proj_add.mat, op->proj_add.n_tok);
        break;
    case CUDA_MLP:
        stage_add_mat(stage, op->mlp.gate, op->mlp.n_tok);
        stage_add_mat(stage, op->mlp.up, op->mlp.n_tok);
        stage_add_mat(stage, op->mlp.down, op->mlp.n_tok);
        break;
    case CUDA_DELTA:
        stage_add_delta(cuda, stage, op->delta.batch);
        break;
    case CUDA_ATTN:
        stage_add_attn(cuda, stage, op->attn.batch);
        break;
    case CUDA_HEAD:
        stage_add_mat(stage, op->head.mat, op->head.n_rows);
        break;
    case CUDA_TOP:
        stage->bytes += (uint64_t)op->top.n_rows * (uint64_t)op->top.n_vocab * sizeof(float);
        break;
    }
}

/* Launches the step and waits for it. */
int cuda_stage_run(struct cuda *cuda)
{
    const struct cuda_step *s = &cuda->step;
    int r = stage_init(cuda);

    for (int i = 0; i < s->n_ops && r == 0; i++) {
        r = cuda_result(cuda, cudaEventRecord(cuda->events[i], cuda->stream));
        if (r == 0)
            r = cuda_op_launch(cuda, &s->ops[i]);
    }
    if (r == 0)
        r = cuda_result(cuda, cudaEventRecord(cuda->events[s->n_ops], cuda->stream));
    if (r == 0)
        r = cuda_result(cuda, cudaEventSynchronize(cuda->events[s->n_ops]));
    for (int i = 0; i < s->n_ops && r == 0; i++) {
        struct kern_stage *stage = &cuda->stages[s->ops[i].kind];
        float ms = 0;
        r = cuda_result(cuda, cudaEventElapsedTime(&ms, cuda->events[i], cuda->events[i + 1]));
        stage->n++;
        stage->ns += (uint64_t)((double)ms * 1e6);
        stage_add(cuda, &s->ops[i], stage);
    }
    return r;
}

int cuda_stages(const struct kern *kern, struct kern_stage *ret_stages, int n_max)
{
    const struct cuda *cuda = reinterpret_cast<const struct cuda *>(kern);

    for (int i = 0; i < CUDA_STAGES && i < n_max; i++) {
        ret_stages[i] = cuda->stages[i];
        ret_stages[i].name = stage_names[i];
    }
    return CUDA_STAGES;
}
