/* gpu_run.c - see gpu_run.h. */
#include "gpu_run.h"

#include <string.h>

#include "gpu.h"

/* Page k of a sequence lies between the k-th ones of the others, the last ones first; sequence 0 goes on in
 * what is not its own. */
static void gpu_run_deal(struct gpu_run *run, int n_short, int n_pages)
{
    int at = n_short;

    for (int i = 0; i < run->n_seq; i++)
        for (int p = 0; p < n_short; p++)
            run->pages[i * run->n_page + p] = n_pages - 1 - (p * run->n_seq + i);
    for (int k = 0; k < n_pages && at < run->n_page; k++)
        if (k >= n_short * run->n_seq || k % run->n_seq)
            run->pages[at++] = n_pages - 1 - k;
}

int gpu_run_open(struct gpu_run *run, const char *backend, const char *path, int n_seq, int chunk,
                 int max_ctx, int short_ctx, enum kern_kv_type kv_type, enum weights_table table)
{
    const int n_page = CEIL_DIV(max_ctx, KERN_PAGE_TOK), n_short = CEIL_DIV(short_ctx, KERN_PAGE_TOK);
    const int n_pages = MAX(n_page, n_seq * n_short);
    const struct state_size size = {.n_pages = n_pages,
                                    .n_slots = n_seq,
                                    .max_ctx = max_ctx,
                                    .max_tok = MAX(chunk, n_seq),
                                    .max_rows = n_seq,
                                    .kv_type = kv_type};
    struct fault fault = {0};
    int r;

    *run = (struct gpu_run){.n_seq = n_seq, .chunk = chunk, .n_page = n_page};
    r = gguf_open(path, &fault, &run->gguf);
    if (!r)
        run->kern = gpu_open(backend);
    if (!r && !run->kern)
        return -ENODEV;
    if (!r)
        r = model_open(run->gguf, path, run->kern, table, NULL, NULL, &fault, &run->model);
    if (!r)
        r = state_new(run->model, &size, &fault, &run->state);
    if (r) {
        gpu_check(false, path, "%s %s", r > 0 ? fault.text : strerror(-r),
                  run->kern ? run->kern->trouble : "");
        return r > 0 ? -EINVAL : r;
    }
    run->n_vocab = run->model->config.n_vocab;
    run->pages = calloc((size_t)n_seq * (size_t)run->n_page, sizeof(*run->pages));
    run->logits = calloc((size_t)n_seq * (size_t)run->n_vocab, sizeof(*run->logits));
    run->tops = calloc((size_t)n_seq, sizeof(*run->tops));
    if (!run->pages || !run->logits || !run->tops)
        return -ENOMEM;
    gpu_run_deal(run, n_short, n_pages);
    return 0;
}

void gpu_run_close(struct gpu_run *run)
{
    state_free(run->state);
    model_free(run->model);
    kern_free(run->kern);
    gguf_free(run->gguf);
    free(run->pages);
    free(run->logits);
    free(run->tops);
}

int gpu_run_clear(struct gpu_run *run, int seq)
{
    return state_clear_slot(run->state, seq);
}

int gpu_run_step(struct gpu_run *run, const int32_t *ids, int n, int pos, float *ret_logits)
{
    const struct kern_span span = {.n_tok = n, .pos0 = pos, .pages = run->pages};
    const struct kern_batch batch = {.n_tok = n, .n_span = 1, .ids = ids, .spans = &span};
    const int row = n - 1;

    return model_forward(run->model, run->state, &batch, &row, ret_logits != NULL, ret_logits);
}

int gpu_run_decode(struct gpu_run *run, int n_seq, int pos)
{
    struct kern_span spans[64];
    int32_t ids[64];
    int rows[64];

    if (n_seq > run->n_seq || n_seq > (int)ARRAY_SIZE(spans))
        return -EINVAL;
    for (int i = 0; i < n_seq; i++) {
        spans[i] = (struct kern_span){
            .row0 = i, .n_tok = 1, .pos0 = pos, .slot = i, .pages = run->pages + i * run->n_page};
        ids[i] = (pos * 31 + i * 7) % run->n_vocab;
        rows[i] = i;
    }
    const struct kern_batch batch = {.n_tok = n_seq, .n_span = n_seq, .ids = ids, .spans = spans};
    if (!run->kern->ops->top)
        return model_forward(run->model, run->state, &batch, rows, n_seq, run->logits);
    return model_forward_top(run->model, run->state, &batch, rows, n_seq, NULL, run->tops);
}
