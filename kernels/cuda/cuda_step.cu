/* cuda_step.cu - notes the ops of a step and launches them together.  See cuda.cuh.
 *
 * What kernels must know of the step (ids, spans, page tables) is written straight into pinned memory as the
 * ops name it, in the order of struct cuda_step.  The page tables lie last, since of them a step has as many
 * as its sequences are long: all before them and what is there of them is one copy. */
#include "cuda.cuh"

#include <stddef.h>

/* memory */

static size_t step_cut(size_t *used, size_t bytes)
{
    const size_t at = *used;

    *used += ROUND_UP(bytes, (size_t)CUDA_ALIGN);
    return at;
}

template <class T>
static T *step_at(uint8_t *base, size_t at)
{
    return reinterpret_cast<T *>(base + at);
}

/* Places of the parts, the same in both memories. */
static void step_lay_out(struct cuda_step *s, const struct kern_shape *shape)
{
    const size_t n_tok = (size_t)shape->max_tok, n_pages = (size_t)CEIL_DIV(shape->max_ctx, KERN_PAGE_TOK);
    size_t used = 0;
    const size_t n = step_cut(&used, 2 * sizeof(int32_t)), ids = step_cut(&used, n_tok * sizeof(int32_t)),
                 row_span = step_cut(&used, n_tok * sizeof(int32_t)),
                 rows = step_cut(&used, n_tok * sizeof(int32_t)),
                 asked = step_cut(&used, n_tok * sizeof(int32_t)),
                 spans = step_cut(&used, (size_t)s->max_span * sizeof(struct kern_cuda_span));

    s->pages_at = used;
    s->all_bytes = used + (size_t)s->max_span * n_pages * sizeof(int32_t);
    if (!s->host_base)
        return;
    s->n = step_at<int32_t>(s->host_base, n);
    s->ids = step_at<int32_t>(s->host_base, ids);
    s->row_span = step_at<int32_t>(s->host_base, row_span);
    s->host_rows = step_at<int32_t>(s->host_base, rows);
    s->host_asked = step_at<int32_t>(s->host_base, asked);
    s->spans = step_at<struct kern_cuda_span>(s->host_base, spans);
    s->pages = step_at<int32_t>(s->host_base, s->pages_at);
    s->device.n = step_at<int32_t>(s->device_base, n);
    s->device.ids = step_at<int32_t>(s->device_base, ids);
    s->device.row_span = step_at<int32_t>(s->device_base, row_span);
    s->rows = step_at<int32_t>(s->device_base, rows);
    s->asked = step_at<int32_t>(s->device_base, asked);
    s->device.spans = step_at<struct kern_cuda_span>(s->device_base, spans);
    s->device.pages = step_at<int32_t>(s->device_base, s->pages_at);
}

int cuda_step_init(struct cuda *cuda)
{
    struct cuda_step *s = &cuda->step;
    void *host = NULL, *device = NULL, *tops = NULL;
    int r;

    s->max_span = MIN(cuda->kern.shape.max_tok, (int)CUDA_SPANS_MAX);
    step_lay_out(s, &cuda->kern.shape);
    s->ops = static_cast<struct cuda_op *>(calloc(CUDA_OPS_MAX, sizeof(*s->ops)));
    if (!s->ops)
        return err_origin(-ENOMEM);
    r = cuda_result(cuda, cudaHostAlloc(&host, s->all_bytes, cudaHostAllocDefault));
    if (r < 0)
        return r;
    s->host_base = static_cast<uint8_t *>(host);
    r = cuda_result(cuda, cudaMalloc(&device, s->all_bytes));
    if (r < 0)
        return r;
    s->device_base = static_cast<uint8_t *>(device);
    r = cuda_result(cuda, cudaHostAlloc(&tops, (size_t)cuda->kern.shape.max_tok * sizeof(*s->tops),
                                        cudaHostAllocDefault));
    if (r < 0)
        return r;
    s->tops = static_cast<struct kern_top_row *>(tops);
    memset(s->host_base, 0, s->all_bytes);
    step_lay_out(s, &cuda->kern.shape);
    r = cuda_result(cuda, cudaEventCreateWithFlags(&s->copied, cudaEventDisableTiming));
    return r < 0 ? r : cuda_result(cuda, cudaEventRecord(s->copied, cuda->stream));
}

void cuda_step_deinit(struct cuda *cuda)
{
    struct cuda_step *s = &cuda->step;

    if (s->copied)
        cudaEventDestroy(s->copied);
    cudaFreeHost(s->host_base);
    cudaFreeHost(s->tops);
    cudaFree(s->device_base);
    free(s->ops);
}

/* writing */

/* The first op of a step may find the last one still on its way to the device. */
static int step_note(struct cuda *cuda, enum cuda_op_kind kind, struct cuda_op **ret_op)
{
    struct cuda_step *s = &cuda->step;
    int r;

    if (!s->ops)
        return err_origin(-EINVAL);
    if (s->n_ops == CUDA_OPS_MAX)
        return err_origin(-E2BIG);
    if (!s->n_ops) {
        r = cuda_result(cuda, cudaEventSynchronize(s->copied));
        if (r < 0)
            return r;
    }
    *ret_op = &s->ops[s->n_ops++];
    memset(*ret_op, 0, sizeof(**ret_op));
    (*ret_op)->kind = kind;
    return 0;
}

/* The spans of the step; the same for each of its mixers. */
static int step_put_batch(struct cuda *cuda, const struct kern_batch *batch)
{
    struct cuda_step *s = &cuda->step;
    const struct kern_shape *shape = &cuda->kern.shape;

    if (s->batch == batch)
        return 0;
    if (s->batch || batch->n_span < 1 || batch->n_span > s->max_span || batch->n_tok > shape->max_tok)
        return err_origin(-EINVAL);
    s->n_pages = 0;
    for (int i = 0; i < batch->n_span; i++) {
        const struct kern_span *span = &batch->spans[i];
        const int n_pages = CEIL_DIV(span->pos0 + span->n_tok, KERN_PAGE_TOK);
        struct kern_cuda_span *to = &s->spans[i];
        if (span->n_tok < 1 || span->pos0 + span->n_tok > shape->max_ctx)
            return err_origin(-EINVAL);
        to->row0 = span->row0;
        to->n_tok = span->n_tok;
        to->pos0 = span->pos0;
        to->slot = span->slot;
        to->page0 = s->n_pages;
        if (span->pages) { /* without attention there are none */
            memcpy(s->pages + s->n_pages, span->pages, (size_t)n_pages * sizeof(int32_t));
            s->n_pages += n_pages;
        }
        for (int t = 0; t < span->n_tok; t++)
            s->row_span[span->row0 + t] = i;
    }
    s->n[0] = batch->n_tok;
    s->n[1] = batch->n_span;
    s->batch = batch;
    return 0;
}

/* launching */

static int step_upload(struct cuda *cuda)
{
    struct cuda_step *s = &cuda->step;
    const size_t bytes = s->pages_at + (size_t)s->n_pages * sizeof(int32_t);
    int r = cuda_result(
        cuda, cudaMemcpyAsync(s->device_base, s->host_base, bytes, cudaMemcpyHostToDevice, cuda->stream));

    return r < 0 ? r : cuda_result(cuda, cudaEventRecord(s->copied, cuda->stream));
}

/* Everything but head and top, whose rows are picked anew each time, may be a graph. */
static int step_launch(struct cuda *cuda)
{
    struct cuda_step *s = &cuda->step;
    bool done = false;
    int n_body = s->n_ops, r;

    while (n_body && s->ops[n_body - 1].kind >= CUDA_HEAD)
        n_body--;
    r = n_body ? cuda_graph_run(cuda, n_body, &done) : 0;
    for (int i = done ? n_body : 0; i < s->n_ops && r == 0; i++)
        r = cuda_op_launch(cuda, &s->ops[i]);
    return r;
}

int cuda_step_flush(struct cuda *cuda)
{
    struct cuda_step *s = &cuda->step;
    int r;

    if (!s->n_ops)
        return 0;
    r = step_upload(cuda);
    if (r == 0)
        r = cuda->kern.timed ? cuda_stage_run(cuda) : step_launch(cuda);
    s->n_ops = s->n_pages = 0;
    s->batch = NULL;
    cuda->mixed_out = NULL;
    return r;
}

/* ops */

int cuda_embed(struct kern *kern, const struct kern_mat *table, const int32_t *ids, int n_tok, float *x)
{
    struct cuda *cuda = cuda_of(kern);
    struct cuda_op *op = NULL;
    int r = cuda_step_flush(cuda);

    if (r < 0)
        return r;
    if (n_tok < 1 || n_tok > kern->shape.max_tok)
        return err_origin(-EINVAL);
    for (int t = 0; t < n_tok; t++)
        if (ids[t] < 0 || ids[t] >= table->n_out)
            return err_origin(-EINVAL);
    r = step_note(cuda, CUDA_EMBED, &op);
    if (r < 0)
        return r;
    memcpy(cuda->step.ids, ids, (size_t)n_tok * sizeof(*ids));
    for (int t = n_tok; t < MIN(kern->shape.max_tok, (int)CUDA_GRAPH_ROWS); t++)
        cuda->step.ids[t] = 0; /* rows of a graph that the step does not have */
    op->mats[0] = *table;
    op->embed.table = table;
    op->embed.n_tok = n_tok;
    op->embed.x = x;
    return 0;
}

int cuda_norm_proj(struct kern *kern, const struct kern_norm_proj *norm_proj)
{
    struct cuda_op *op = NULL;
    int r = step_note(cuda_of(kern), CUDA_NORM_PROJ, &op);

    if (r < 0)
        return r;
    op->norm_proj = *norm_proj;
    for (int i = 0; i < norm_proj->n_mat; i++)
        op->mats[i] = *norm_proj->mats[i];
    return 0;
}

int cuda_proj_add(struct kern *kern, const struct kern_proj_add *proj_add)
{
    struct cuda_op *op = NULL;
    int r = step_note(cuda_of(kern), CUDA_PROJ_ADD, &op);

    if (r < 0)
        return r;
    op->proj_add = *proj_add;
    op->mats[0] = *proj_add->mat;
    return 0;
}

int cuda_mlp(struct kern *kern, const struct kern_mlp *mlp)
{
    struct cuda_op *op = NULL;
    int r = step_note(cuda_of(kern), CUDA_MLP, &op);

    if (r < 0)
        return r;
    op->mlp = *mlp;
    op->mats[0] = *mlp->gate;
    op->mats[1] = *mlp->up;
    op->mats[2] = *mlp->down;
    return 0;
}

int cuda_delta(struct kern *kern, const struct kern_delta *delta)
{
    struct cuda_op *op = NULL;
    int r = step_note(cuda_of(kern), CUDA_DELTA, &op);

    if (r < 0)
        return r;
    op->delta = *delta;
    return step_put_batch(cuda_of(kern), delta->batch);
}

int cuda_attn(struct kern *kern, const struct kern_attn *attn)
{
    struct cuda_op *op = NULL;
    int r = step_note(cuda_of(kern), CUDA_ATTN, &op);

    if (r < 0)
        return r;
    op->attn = *attn;
    return step_put_batch(cuda_of(kern), attn->batch);
}

int cuda_head(struct kern *kern, const struct kern_head *head)
{
    struct cuda *cuda = cuda_of(kern);
    struct cuda_op *op = NULL;
    int r;

    if (head->n_rows < 1 || head->n_rows > kern->shape.max_tok)
        return err_origin(-EINVAL);
    r = step_note(cuda, CUDA_HEAD, &op);
    if (r < 0)
        return r;
    op->head = *head;
    for (int i = 0; i < head->n_rows; i++)
        cuda->step.host_rows[i] = head->rows[i];
    return 0;
}

int cuda_top(struct kern *kern, const struct kern_top *top)
{
    struct cuda *cuda = cuda_of(kern);
    struct cuda_op *op = NULL;
    int r;

    if (top->n_rows < 1 || top->n_rows > kern->shape.max_tok || top->n_vocab < 1 ||
        top->n_vocab > kern->shape.n_vocab)
        return err_origin(-EINVAL);
    for (int i = 0; top->asked && i < top->n_rows; i++)
        if (top->asked[i] >= top->n_vocab)
            return err_origin(-EINVAL);
    r = step_note(cuda, CUDA_TOP, &op);
    if (r < 0)
        return r;
    op->top = *top;
    for (int i = 0; i < top->n_rows; i++)
        cuda->step.host_asked[i] = top->asked ? top->asked[i] : -1;
    r = cuda_step_flush(cuda);
    if (r == 0)
        r = cuda_result(cuda, cudaStreamSynchronize(cuda->stream));
    if (r == 0)
        memcpy(top->ret_rows, cuda->step.tops, (size_t)top->n_rows * sizeof(*top->ret_rows));
    return r;
}
