/* cuda_graph.cu - steps that only decode, launched as one CUDA graph.  See cuda.cuh.
 *
 * A 9B's step is some 200 kernels of a few microseconds each; launched one by one, the gaps between them are
 * a fifth of the time of a fast GPU.  A graph is kept for each bucket of rows: lengths, slots and pages lie
 * in device memory and are not part of it, and a step with fewer rows than its bucket computes rows of token
 * 0 that nobody reads (the mixers, which keep state, ask the device how many there really are).
 *
 * The ops stand beside the graph that was made of them.  Others than those (another model's state, a backend
 * under test) make it anew.  A bucket's first step is launched plainly: the driver loads kernels at their
 * first launch, which a capture must not see. */
#include "cuda.cuh"

static const int graph_buckets[CUDA_GRAPHS] = {1, 2, 4, 8, 16};

int cuda_graph_init(struct cuda *cuda)
{
    for (int g = 0; g < CUDA_GRAPHS; g++) {
        struct cuda_graph *graph = &cuda->graphs[g];

        graph->ops = static_cast<struct cuda_op *>(calloc(CUDA_OPS_MAX, sizeof(*graph->ops)));
        if (!graph->ops)
            return err_origin(-ENOMEM);
        for (int i = 0; i < CUDA_GRAPH_ROWS; i++) { /* as long as can be: grids are cut to it */
            cuda->graph_spans[i].row0 = i;
            cuda->graph_spans[i].n_tok = 1;
            cuda->graph_spans[i].pos0 = cuda->kern.shape.max_ctx - 1;
        }
        graph->batch.n_tok = graph->batch.n_span = graph_buckets[g];
        graph->batch.spans = cuda->graph_spans;
    }
    return 0;
}

static void graph_drop(struct cuda_graph *graph)
{
    if (graph->exec)
        cudaGraphExecDestroy(graph->exec);
    graph->exec = NULL;
}

void cuda_graph_deinit(struct cuda *cuda)
{
    for (int g = 0; g < CUDA_GRAPHS; g++) {
        graph_drop(&cuda->graphs[g]);
        free(cuda->graphs[g].ops);
    }
}

static struct cuda_graph *graph_of(struct cuda *cuda)
{
    const struct cuda_step *s = &cuda->step;

    if (!s->batch || s->batch->n_tok != s->batch->n_span)
        return NULL;
    for (int g = 0; g < CUDA_GRAPHS; g++)
        if (s->batch->n_tok <= graph_buckets[g])
            return graph_buckets[g] <= cuda->kern.shape.max_tok ? &cuda->graphs[g] : NULL;
    return NULL;
}

/* The op as the graph has it: for the bucket's rows. */
static void graph_widen(const struct cuda_graph *graph, struct cuda_op *op)
{
    const int n_row = graph->batch.n_tok;

    switch (op->kind) {
    case CUDA_EMBED:
        op->embed.n_tok = n_row;
        break;
    case CUDA_NORM_PROJ:
        op->norm_proj.n_tok = n_row;
        break;
    case CUDA_PROJ_ADD:
        op->proj_add.n_tok = n_row;
        break;
    case CUDA_MLP:
        op->mlp.n_tok = n_row;
        break;
    case CUDA_DELTA:
        op->delta.batch = &graph->batch;
        break;
    case CUDA_ATTN:
        op->attn.batch = &graph->batch;
        break;
    case CUDA_HEAD:
    case CUDA_TOP:
        break;
    }
}

/* Are they the graph's?  If not, they are from here on, and the graph that was is none. */
static void graph_take_ops(struct cuda_graph *graph, struct cuda_op *ops, int n_ops)
{
    for (int i = 0; i < n_ops; i++)
        graph_widen(graph, &ops[i]);
    if (graph->n_ops == n_ops && !memcmp(graph->ops, ops, (size_t)n_ops * sizeof(*ops))) {
        graph->n_seen++;
        return;
    }
    graph_drop(graph);
    memcpy(graph->ops, ops, (size_t)n_ops * sizeof(*ops));
    graph->n_ops = n_ops;
    graph->n_seen = 1;
}

static int graph_launch_ops(struct cuda *cuda, const struct cuda_graph *graph)
{
    int r = 0;

    for (int i = 0; i < graph->n_ops && r == 0; i++)
        r = cuda_op_launch(cuda, &graph->ops[i]);
    return r;
}

static int graph_capture(struct cuda *cuda, struct cuda_graph *graph)
{
    cudaGraph_t captured = NULL;
    int r = cuda_result(cuda, cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal)), ended;

    if (r < 0)
        return r;
    r = graph_launch_ops(cuda, graph);
    ended = cuda_result(cuda, cudaStreamEndCapture(cuda->stream, &captured));
    if (r == 0)
        r = ended;
    if (r == 0)
        r = cuda_result(cuda, cudaGraphInstantiateWithFlags(&graph->exec, captured, 0));
    if (captured)
        cudaGraphDestroy(captured);
    return r;
}

int cuda_graph_run(struct cuda *cuda, int n_ops, bool *ret_done)
{
    struct cuda_graph *const graph = cuda->step.ops[0].kind == CUDA_EMBED ? graph_of(cuda) : NULL;
    int r = 0;

    *ret_done = graph != NULL;
    if (!graph)
        return 0;
    graph_take_ops(graph, cuda->step.ops, n_ops);
    if (graph->n_seen == 1)
        return graph_launch_ops(cuda, graph);
    if (!graph->exec)
        r = graph_capture(cuda, graph);
    cuda->n_graph_launches++;
    return r < 0 ? r : cuda_result(cuda, cudaGraphLaunch(graph->exec, cuda->stream));
}
