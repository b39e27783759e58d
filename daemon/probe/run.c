/* run.c - batches for one sequence and its neighbours.  See run.h. */
#include "run.h"

#include <string.h>

struct probe_neighbour {
    int pos;         /* positions it has */
    uint32_t random; /* its next made-up token */
};

struct probe_run {
    struct model *model; /* borrowed */
    struct state *state; /* owned */
    int chunk, max_ctx, pos, n_neighbours;
    int n_seq; /* the one under test and its neighbours, or the rows of probe_run_rows() if they are more */
    struct probe_neighbour *neighbours; /* owned, [n_neighbours]; i has slot i + 1 */
    int32_t *pages;                     /* owned, [n_seq][CEIL_DIV(max_ctx, KERN_PAGE_TOK)] */
    int32_t *ids;                       /* owned, [n_seq * chunk] */
    struct kern_span *spans;            /* owned, [n_seq] */
    struct kern_top_row *tops;          /* owned, [max_rows] */
    struct kern_batch batch;
};

struct probe_run *probe_run_free(struct probe_run *run)
{
    if (!run)
        return NULL;
    state_free(run->state);
    free(run->neighbours);
    free(run->pages);
    free(run->ids);
    free(run->spans);
    free(run->tops);
    free(run);
    return NULL;
}

static int probe_run_alloc(struct probe_run *run, int max_rows)
{
    size_t n_seq = (size_t)run->n_seq, n_pages = (size_t)CEIL_DIV(run->max_ctx, KERN_PAGE_TOK);

    run->neighbours = calloc(n_seq, sizeof(*run->neighbours));
    run->pages = calloc(n_seq * n_pages, sizeof(*run->pages));
    run->ids = calloc(n_seq * (size_t)run->chunk, sizeof(*run->ids));
    run->spans = calloc(n_seq, sizeof(*run->spans));
    run->tops = calloc((size_t)max_rows, sizeof(*run->tops));
    if (!run->neighbours || !run->pages || !run->ids || !run->spans || !run->tops)
        return probe_error("no memory for batches of %zu x %d tokens", n_seq, run->chunk);
    for (size_t s = 0; s < n_seq; s++)
        for (size_t p = 0; p < n_pages; p++)
            run->pages[s * n_pages + p] = (int32_t)(p * n_seq + (s + p) % n_seq);
    for (int i = 0; i < run->n_neighbours; i++)
        run->neighbours[i].random = (uint32_t)i + 1;
    return 0;
}

int probe_run_new(const struct probe_model *pm, const struct probe_model_options *o, int max_ctx,
                  struct probe_run **ret_run)
{
    _cleanup_(probe_run_freep) struct probe_run *run = calloc(1, sizeof(*run));
    struct state_size size = {.n_slots = MAX(o->neighbours + 1, o->rows), .max_ctx = max_ctx};
    struct fault fault = {0};
    int r;

    if (!run)
        return probe_error("no memory");
    r = probe_kv_type(o->kv, &size.kv_type);
    if (r)
        return r;
    size.max_tok = o->chunk * size.n_slots;
    size.max_rows = MAX(MIN(o->chunk, PROBE_ROWS_MAX), o->rows);
    r = state_new(pm->model, &size, &fault, &run->state);
    if (r)
        return probe_fault("state", r, &fault);
    run->model = pm->model;
    run->chunk = o->chunk;
    run->max_ctx = max_ctx;
    run->n_neighbours = o->neighbours;
    run->n_seq = size.n_slots;
    r = probe_run_alloc(run, size.max_rows);
    if (r)
        return r;
    *ret_run = steal(&run);
    return 0;
}

static int probe_run_clear(struct probe_run *run, int slot)
{
    int r = state_clear_slot(run->state, slot);

    return r ? probe_fault("state", r, &(struct fault){0}) : 0;
}

int probe_run_reset(struct probe_run *run)
{
    int r = 0;

    run->pos = 0;
    for (int slot = 0; slot < run->n_seq && !r; slot++)
        if (!slot || slot > run->n_neighbours)
            r = probe_run_clear(run, slot);
    return r;
}

/* batches */
static int32_t *probe_run_span(struct probe_run *run, int slot, int pos0, int n)
{
    struct kern_batch *b = &run->batch;
    int32_t *ids = run->ids + b->n_tok;

    run->spans[b->n_span++] = (struct kern_span){
        .row0 = b->n_tok,
        .n_tok = n,
        .pos0 = pos0,
        .slot = slot,
        .pages = run->pages + (size_t)slot * (size_t)CEIL_DIV(run->max_ctx, KERN_PAGE_TOK),
    };
    b->n_tok += n;
    return ids;
}

static int probe_run_add_neighbour(struct probe_run *run, int i)
{
    struct probe_neighbour *nb = &run->neighbours[i];
    int n = MIN(1 + (int)(nb->random >> 16) % run->chunk, run->max_ctx), r;
    int32_t *ids;

    if (nb->pos + n > run->max_ctx) {
        r = probe_run_clear(run, i + 1);
        if (r)
            return r;
        nb->pos = 0;
    }
    ids = probe_run_span(run, i + 1, nb->pos, n);
    for (int t = 0; t < n; t++) {
        nb->random =
            nb->random * 1664525u + 1013904223u; /* any sequence will do; this one is Numerical Recipes' */
        ids[t] = (int32_t)((nb->random >> 8) % (uint32_t)run->model->config.n_vocab);
    }
    nb->pos += n;
    return 0;
}

/* Even neighbours stand before the sequence, odd ones behind it.  *ret_row0: where its rows begin. */
static int probe_run_fill(struct probe_run *run, const int *ids, int n, int *ret_row0)
{
    int r = 0;

    run->batch = (struct kern_batch){.ids = run->ids, .spans = run->spans};
    for (int i = 0; i < run->n_neighbours && !r; i += 2)
        r = probe_run_add_neighbour(run, i);
    *ret_row0 = run->batch.n_tok;
    int32_t *own = probe_run_span(run, 0, run->pos, n);
    for (int t = 0; t < n; t++)
        own[t] = ids[t];
    for (int i = 1; i < run->n_neighbours && !r; i += 2)
        r = probe_run_add_neighbour(run, i);
    return r;
}

static int probe_run_forward(struct probe_run *run, const int *rows, int n_rows, float *ret_logits)
{
    int r = ret_logits || !n_rows
                ? model_forward(run->model, run->state, &run->batch, rows, n_rows, ret_logits)
                : model_forward_top(run->model, run->state, &run->batch, rows, n_rows, NULL, run->tops);

    return r ? probe_fault("forward", r, &(struct fault){0}) : 0;
}

int probe_run_step(struct probe_run *run, const int *ids, int n, const int *rows, int n_rows,
                   float *ret_logits)
{
    int batch_rows[PROBE_ROWS_MAX], row0 = 0;
    int r = probe_run_fill(run, ids, n, &row0);

    if (r)
        return r;
    for (int i = 0; i < n_rows; i++)
        batch_rows[i] = row0 + rows[i];
    r = probe_run_forward(run, batch_rows, n_rows, ret_logits);
    if (!r)
        run->pos += n;
    return r;
}

int probe_run_rows(struct probe_run *run, int n_rows, int id, float *ret_logits)
{
    int rows[PROBE_ROWS_MAX];

    run->batch = (struct kern_batch){.ids = run->ids, .spans = run->spans};
    for (int i = 0; i < n_rows; i++) {
        *probe_run_span(run, i, run->pos, 1) = (id + i) % run->model->config.n_vocab;
        rows[i] = i;
    }
    run->pos++;
    return probe_run_forward(run, rows, n_rows, ret_logits);
}

/* One piece from *at on: at most chunk ids, and at most PROBE_ROWS_MAX of the wanted positions from *i_pos
 * on. */
static int probe_run_piece(struct probe_run *run, const struct probe_want *w, int *at, int *i_pos)
{
    int n = MIN(w->n_ids - *at, run->chunk), rows[PROBE_ROWS_MAX] = {0}, n_rows = 0, r;

    for (; *i_pos < w->n_positions && w->positions[*i_pos] < *at + n; (*i_pos)++) {
        if (n_rows == PROBE_ROWS_MAX) {
            n = w->positions[*i_pos] - *at; /* the rest in the next piece */
            break;
        }
        rows[n_rows++] = w->positions[*i_pos] - *at;
    }
    r = probe_run_step(run, w->ids + *at, n, rows, n_rows, w->logits);
    *at += n;
    return r || !n_rows ? r : w->on_rows(w->user, w->logits, n_rows);
}

int probe_run_positions(struct probe_run *run, const struct probe_want *w)
{
    int at = 0, i_pos = 0, r = 0;

    while (i_pos < w->n_positions && !r)
        r = probe_run_piece(run, w, &at, &i_pos);
    return r;
}

int probe_run_prompt(struct probe_run *run, const int *ids, size_t n, float *ret_logits)
{
    for (size_t at = 0; at < n;) {
        int piece = (int)MIN(n - at, (size_t)run->chunk), last = piece - 1;
        int r = probe_run_step(run, ids + at, piece, &last, at + (size_t)piece == n, ret_logits);

        if (r)
            return r;
        at += (size_t)piece;
    }
    return 0;
}
