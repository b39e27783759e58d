/* weights.c - from the tensors of a file to matrices of the backend.  See weights.h.
 *
 * Two passes: the first finds and checks every tensor and gives it a place (weights_plan_*), the second packs
 * pieces of them as the file brings them (feed.h), and binds the pointers once the memory is sealed. So there
 * is never more in RAM than one copy of the weights and the pieces in flight. */
#include "weights.h"

#include "feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WEIGHTS_ALIGN = 256 }; /* of the widest load: CUDA's tiles; a cache line is 64 */
enum { WEIGHTS_PER_LAYER = 16, WEIGHTS_GLOBAL = 4 }; /* at least as many as are asked for */

/* One tensor that the model needs: exactly one of mat and vec is set, or none where it is only checked. */
struct weights_want {
    const char *suffix; /* "attn_q.weight" */
    int n_out, n_in;    /* n_out = 0: a vector of n_in values */
    struct kern_mat *mat;
    const float **vec;
    bool turned; /* a matrix [n_out][n_in] that is kept as plain values [n_in][n_out] (ssm_conv1d) */
    bool optional;
    bool on_host; /* in a memory of its own */
};

struct weights_item {
    const struct gguf_tensor *tensor; /* borrowed from gguf */
    struct kern_mat *mat;             /* in struct weights; NULL: plain f32 values behind *vec */
    const float **vec;
    int n_out, n_in;      /* != 0: values are turned */
    size_t offset, bytes; /* in mem, or in host */
    bool on_host;
};

struct weights_plan {
    const struct gguf *gguf;
    const struct config *config;
    struct kern *kern;
    struct fault *fault;
    struct weights_item *items; /* owned */
    int n_items;
    enum weights_table table;
    size_t bytes;       /* of mem */
    size_t host_bytes;  /* of host; 0: there is none */
    size_t table_bytes; /* of the table, if it need not be in mem */
    bool check_only;    /* wants are verified, nothing is placed */
};

/* checks */
static int weights_check_shape(const struct weights_plan *p, const char *name, const struct gguf_tensor *t,
                               int n_out, int n_in)
{
    char is[64], should[64];

    if (t->ne[0] == (uint64_t)n_in && t->ne[1] == (uint64_t)MAX(n_out, 1) && t->ne[2] == 1 && t->ne[3] == 1)
        return 0;
    if (t->n_dims > 2)
        snprintf(is, sizeof(is), "[%" PRIu64 ", %" PRIu64 ", ...] of %d dimensions", t->ne[0], t->ne[1],
                 t->n_dims);
    else if (t->n_dims == 2)
        snprintf(is, sizeof(is), "[%" PRIu64 ", %" PRIu64 "]", t->ne[0], t->ne[1]);
    else
        snprintf(is, sizeof(is), "[%" PRIu64 "]", t->ne[0]);
    if (n_out)
        snprintf(should, sizeof(should), "[%d, %d]", n_in, n_out);
    else
        snprintf(should, sizeof(should), "[%d]", n_in);
    return fault_set(p->fault, WEIGHTS_E_TENSOR, "%s is %s, should be %s", name, is, should);
}

static int weights_check_type(const struct weights_plan *p, const char *name, const struct gguf_tensor *t,
                              bool f32)
{
    const struct quant_info *q = quant_find(t->type);

    if (f32 && t->type != QUANT_F32)
        return fault_set(p->fault, WEIGHTS_E_TENSOR, "%s is %s, should be F32", name, q->name);
    if (!q->loadable)
        return fault_set(p->fault, WEIGHTS_E_TENSOR, "%s is %s, a type that cannot be loaded", name, q->name);
    return 0;
}

/* plan */
static void weights_place(struct weights_plan *p, const struct gguf_tensor *t,
                          const struct weights_want *want, enum kern_layout layout)
{
    struct weights_item *item = &p->items[p->n_items++];

    *item = (struct weights_item){
        .tensor = t, .mat = want->mat, .vec = want->vec, .offset = p->bytes, .bytes = t->bytes};
    if (want->turned) {
        item->n_out = want->n_out;
        item->n_in = want->n_in;
    }
    if (want->mat) {
        *want->mat = (struct kern_mat){
            .type = (enum quant_type)t->type, .layout = layout, .n_out = want->n_out, .n_in = want->n_in};
        item->bytes = p->kern->ops->mat_bytes(p->kern, want->mat->type, layout, want->n_out, want->n_in);
        want->mat->bytes = item->bytes;
    }
    if (want->on_host) {
        item->on_host = true;
        item->offset = 0;
        p->host_bytes = item->bytes;
        return;
    }
    p->bytes = ROUND_UP(p->bytes + item->bytes, (size_t)WEIGHTS_ALIGN);
}

static int weights_want_at(struct weights_plan *p, const char *name, const struct weights_want *want,
                           enum kern_layout layout)
{
    const struct gguf_tensor *t = gguf_find_tensor(p->gguf, name);
    int r;

    if (!t && want->optional)
        return 0;
    if (!t)
        return fault_set(p->fault, WEIGHTS_E_TENSOR, "%s is missing", name);
    r = weights_check_shape(p, name, t, want->n_out, want->n_in);
    if (!r)
        r = weights_check_type(p, name, t, want->turned || !want->n_out);
    if (!r && !p->check_only)
        weights_place(p, t, want, layout);
    return r;
}

static int weights_want_layer(struct weights_plan *p, int i_layer, const struct weights_want *wants,
                              size_t n_wants)
{
    char name[GGUF_TENSOR_NAME_MAX + 1];

    for (size_t i = 0; i < n_wants; i++) {
        snprintf(name, sizeof(name), "blk.%d.%s", i_layer, wants[i].suffix);
        int r = weights_want_at(p, name, &wants[i], KERN_PANELS);
        if (r)
            return r;
    }
    return 0;
}

static int weights_plan_attn(struct weights_plan *p, int i_layer, struct layer_attn *a)
{
    const struct config *c = p->config;
    const struct weights_want wants[] = {
        {"attn_q.weight", 2 * config_n_q(c), c->dim, .mat = &a->q},
        {"attn_k.weight", config_n_kv(c), c->dim, .mat = &a->k},
        {"attn_v.weight", config_n_kv(c), c->dim, .mat = &a->v},
        {"attn_output.weight", c->dim, config_n_q(c), .mat = &a->out},
        {"attn_q_norm.weight", 0, c->d_attn, .vec = &a->q_norm},
        {"attn_k_norm.weight", 0, c->d_attn, .vec = &a->k_norm},
    };

    return weights_want_layer(p, i_layer, wants, ARRAY_SIZE(wants));
}

static int weights_plan_delta(struct weights_plan *p, int i_layer, struct layer_delta *d)
{
    const struct config *c = p->config;
    const struct weights_want wants[] = {
        {"attn_qkv.weight", config_n_qkv(c), c->dim, .mat = &d->qkv},
        {"attn_gate.weight", config_n_inner(c), c->dim, .mat = &d->z},
        {"ssm_alpha.weight", c->n_vh, c->dim, .mat = &d->alpha},
        {"ssm_beta.weight", c->n_vh, c->dim, .mat = &d->beta},
        {"ssm_out.weight", c->dim, config_n_inner(c), .mat = &d->out},
        {"ssm_conv1d.weight", config_n_qkv(c), c->conv_k, .vec = &d->conv_w, .turned = true},
        {"ssm_a", 0, c->n_vh, .vec = &d->a},
        {"ssm_dt.bias", 0, c->n_vh, .vec = &d->dt},
        {"ssm_norm.weight", 0, c->d_delta, .vec = &d->norm_w},
    };

    return weights_want_layer(p, i_layer, wants, ARRAY_SIZE(wants));
}

static int weights_plan_layer(struct weights_plan *p, int i_layer, struct layer *layer)
{
    const struct config *c = p->config;
    const struct weights_want wants[] = {
        {"attn_norm.weight", 0, c->dim, .vec = &layer->norm_w},
        {"post_attention_norm.weight", 0, c->dim, .vec = &layer->post_norm_w},
        {"ffn_gate.weight", c->n_ff, c->dim, .mat = &layer->gate},
        {"ffn_up.weight", c->n_ff, c->dim, .mat = &layer->up},
        {"ffn_down.weight", c->dim, c->n_ff, .mat = &layer->down},
    };
    int r = layer->is_attn ? weights_plan_attn(p, i_layer, &layer->attn)
                           : weights_plan_delta(p, i_layer, &layer->delta);

    return r ? r : weights_want_layer(p, i_layer, wants, ARRAY_SIZE(wants));
}

/* The draft head is not used yet, but a file that has a broken one is broken. */
static int weights_check_nextn(struct weights_plan *p)
{
    const struct config *c = p->config;
    const struct weights_want wants[] = {
        {"nextn.eh_proj.weight", c->dim, 2 * c->dim},
        {"nextn.enorm.weight", 0, c->dim},
        {"nextn.hnorm.weight", 0, c->dim},
        {"nextn.shared_head_norm.weight", 0, c->dim},
        {"nextn.embed_tokens.weight", c->n_vocab, c->dim, .optional = true},
        {"nextn.shared_head_head.weight", c->n_vocab, c->dim, .optional = true},
    };
    struct layer unused = {.is_attn = true};
    int r = 0;

    p->check_only = true;
    for (int i = c->n_layers; i < c->n_layers + c->n_mtp && !r; i++) {
        r = weights_plan_layer(p, i, &unused);
        if (!r)
            r = weights_want_layer(p, i, wants, ARRAY_SIZE(wants));
    }
    p->check_only = false;
    return r;
}

/* One table for both ends? */
static bool weights_share(const struct kern *kern, const struct weights *w)
{
    return w->tied && !kern->embeds_rows;
}

static int weights_plan_global(struct weights_plan *p, struct weights *w)
{
    const struct config *c = p->config;
    const bool on_host = p->table == WEIGHTS_TABLE_HOST;
    const struct weights_want embed = {NULL, c->n_vocab, c->dim, .mat = &w->embed, .on_host = on_host};
    const struct weights_want head = {NULL, c->n_vocab, c->dim, .mat = &w->head};
    const struct weights_want norm = {NULL, 0, c->dim, .vec = &w->out_norm_w};
    int r = weights_want_at(p, "output_norm.weight", &norm, KERN_PANELS);

    w->tied = !gguf_find_tensor(p->gguf, "output.weight");
    if (!r && w->tied && on_host)
        return fault_set(p->fault, WEIGHTS_E_HOST,
                         "token_embd.weight is the head too and stays with the other weights");
    if (!r && !weights_share(p->kern, w))
        r = weights_want_at(p, "token_embd.weight", &embed, KERN_ROWS);
    if (!r && !w->tied)
        p->table_bytes = w->embed.bytes;
    if (!r)
        r = weights_want_at(p, w->tied ? "token_embd.weight" : "output.weight", &head, KERN_PANELS);
    return r;
}

static int weights_plan(struct weights_plan *p, struct weights *w)
{
    const struct config *c = p->config;
    int n_kind[2] = {0, 0}, r;

    p->items = calloc((size_t)c->n_layers * WEIGHTS_PER_LAYER + WEIGHTS_GLOBAL, sizeof(*p->items));
    w->layers = calloc((size_t)c->n_layers, sizeof(*w->layers));
    if (!p->items || !w->layers)
        return err_origin(-ENOMEM);
    r = weights_plan_global(p, w);
    for (int i = 0; i < c->n_layers && !r; i++) {
        w->layers[i].is_attn = c->is_attn[i];
        w->layers[i].i_kind = n_kind[c->is_attn[i]]++;
        r = weights_plan_layer(p, i, &w->layers[i]);
    }
    return r ? r : weights_check_nextn(p);
}

/* A tied table that is kept twice counts once. */
static bool weights_repeats(const struct weights_plan *p, int i)
{
    return i > 0 && i < p->n_items && p->items[i].tensor == p->items[i - 1].tensor;
}

/* what people want to know about it */
static void weights_describe(const struct weights_plan *p, struct weights *w)
{
    enum { TYPES = 64 }; /* more than GGUF has */
    uint64_t bytes[TYPES] = {0};
    size_t used = 0;

    for (int i = 0; i < p->n_items; i++) {
        const struct gguf_tensor *t = p->items[i].tensor;

        if (weights_repeats(p, i))
            continue;
        w->n_params += t->ne[0] * t->ne[1];
        w->file_bytes += t->bytes;
        bytes[t->type % TYPES] += t->bytes;
    }
    for (;;) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < TYPES; i++)
            if (bytes[i] > bytes[best])
                best = i;
        if (!bytes[best] || used >= sizeof(w->types))
            return;
        used += (size_t)snprintf(w->types + used, sizeof(w->types) - used, "%s%s", used ? "+" : "",
                                 quant_find(best)->name);
        bytes[best] = 0;
    }
}

/* pack */
static int weights_compare_items(const void *a, const void *b)
{
    const struct weights_item *ia = a, *ib = b;

    return (ia->tensor->data > ib->tensor->data) - (ia->tensor->data < ib->tensor->data);
}

/* A tensor that is packed in one go, or some rows of a matrix. */
struct weights_piece {
    int item, row, n_row; /* n_row = 0: all of it */
};

/* What is read, in the order of the file. */
struct weights_cut {
    struct feed_piece *ranges;    /* owned, [n] */
    struct weights_piece *pieces; /* owned, [n] */
    int n;
};

static void weights_cut_deinit(struct weights_cut *cut)
{
    free(cut->ranges);
    free(cut->pieces);
}

/* Rows of a matrix that make a piece: whole groups of those that are packed together. */
static int weights_piece_rows(const struct weights_item *item)
{
    const size_t group = KERN_PACK_ROWS * quant_row_bytes(quant_find(item->mat->type), item->mat->n_in);

    return (int)MIN(MAX((size_t)FEED_PIECE_BYTES / group, (size_t)1) * KERN_PACK_ROWS,
                    (size_t)item->mat->n_out);
}

/* cut->ranges = NULL: they are only counted. */
static void weights_cut_item(const struct weights_plan *p, int i, struct weights_cut *cut)
{
    const struct weights_item *item = &p->items[i];
    const uint64_t at = gguf_tensor_offset(p->gguf, item->tensor);
    const int n_out = item->mat ? item->mat->n_out : 1, by = item->mat ? weights_piece_rows(item) : 1;
    const size_t row_bytes = item->tensor->bytes / (size_t)n_out;

    for (int row = 0; row < n_out; row += by, cut->n++) {
        const int n_row = MIN(by, n_out - row);
        if (!cut->ranges)
            continue;
        cut->ranges[cut->n] = (struct feed_piece){at + (size_t)row * row_bytes, (size_t)n_row * row_bytes};
        cut->pieces[cut->n] = (struct weights_piece){i, row, item->mat ? n_row : 0};
    }
}

static int weights_cut(struct weights_plan *p, struct weights_cut *ret_cut)
{
    struct weights_cut cut = {0};

    qsort(p->items, (size_t)p->n_items, sizeof(*p->items), weights_compare_items);
    for (int i = 0; i < p->n_items; i++)
        if (!weights_repeats(p, i))
            weights_cut_item(p, i, &cut);
    cut.ranges = calloc((size_t)cut.n, sizeof(*cut.ranges));
    cut.pieces = calloc((size_t)cut.n, sizeof(*cut.pieces));
    *ret_cut = cut;
    if (!cut.ranges || !cut.pieces)
        return err_origin(-ENOMEM);
    ret_cut->n = 0;
    for (int i = 0; i < p->n_items; i++)
        if (!weights_repeats(p, i))
            weights_cut_item(p, i, ret_cut);
    return 0;
}

/* As the kernels read them: all channels of a tap side by side. */
static int weights_pack_turned(const struct weights_plan *p, const struct weights_item *item,
                               const uint8_t *src, uint8_t *to)
{
    const size_t n_out = (size_t)item->n_out, n_in = (size_t)item->n_in;
    _cleanup_(freep) float *values = malloc(item->bytes);

    if (!values)
        return err_origin(-ENOMEM);
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            memcpy(&values[i * n_out + o], src + (o * n_in + i) * sizeof(float), sizeof(float));
    return p->kern->ops->copy_in(p->kern, to, values, item->bytes);
}

static int weights_pack(const struct weights_plan *p, const struct weights_item *item,
                        const struct weights_piece *piece, const uint8_t *src, const struct weights *w)
{
    uint8_t *const to = w->mem.base + item->offset;
    struct kern_mat mat;

    if (item->n_out)
        return weights_pack_turned(p, item, src, to);
    if (!item->mat)
        return p->kern->ops->copy_in(p->kern, to, src, item->bytes);
    if (item->on_host) { /* KERN_ROWS, as in the file */
        const size_t row_bytes = item->bytes / (size_t)item->mat->n_out;

        memcpy(w->host.base + (size_t)piece->row * row_bytes, src, (size_t)piece->n_row * row_bytes);
        return 0;
    }
    mat = *item->mat;
    mat.data = to;
    const struct kern_pack pack = {
        .mat = &mat, .mem = &w->mem, .row = piece->row, .n_row = piece->n_row, .src = src};
    return p->kern->ops->mat_pack(p->kern, &pack);
}

int weights_unreadable(const struct gguf *gguf, const struct gguf_tensor *tensor, int r, struct fault *fault)
{
    return fault_set(fault, WEIGHTS_E_READ, "%s cannot be read, at byte %" PRIu64 " of the file: %s",
                     gguf_label(tensor->name).text, gguf_tensor_offset(gguf, tensor),
                     r == -ENODATA ? "the file has become shorter" : strerror(-r));
}

/* feed: NULL for a file that lies in memory. */
static int weights_pack_pieces(const struct weights_plan *p, const struct weights_cut *cut, struct feed *feed,
                               const struct weights *w, model_progress_fn progress, void *user)
{
    uint64_t done = 0;
    int r = 0;

    for (int i = 0; i < cut->n && r == 0; i++) {
        const struct weights_piece *piece = &cut->pieces[i];
        const struct gguf_tensor *tensor = p->items[piece->item].tensor;
        const uint8_t *src = tensor->data + (cut->ranges[i].offset - gguf_tensor_offset(p->gguf, tensor));
        if (feed)
            r = feed_next(feed, &src);
        if (r < 0)
            return weights_unreadable(p->gguf, tensor, r, p->fault);
        for (int j = piece->item; r == 0 && (j == piece->item || weights_repeats(p, j)); j++)
            r = weights_pack(p, &p->items[j], piece, src, w);
        done += cut->ranges[i].bytes;
        if (progress)
            progress(user, done, w->file_bytes);
    }
    return r;
}

static int weights_pack_all(struct weights_plan *p, const struct weights *w, model_progress_fn progress,
                            void *user)
{
    _cleanup_(weights_cut_deinit) struct weights_cut cut = {0};
    _cleanup_(feed_freep) struct feed *feed = NULL;
    int r = weights_cut(p, &cut);

    if (r == 0 && gguf_fd(p->gguf) >= 0)
        r = feed_new(gguf_fd(p->gguf), cut.ranges, cut.n, &feed);
    return r < 0 ? r : weights_pack_pieces(p, &cut, feed, w, progress, user);
}

/* Only now are the addresses final: sealing may map the memory anew. */
static void weights_bind(const struct weights_plan *p, struct weights *w)
{
    for (int i = 0; i < p->n_items; i++) {
        const struct weights_item *item = &p->items[i];
        const uint8_t *const at = (item->on_host ? w->host.base : w->mem.base) + item->offset;

        if (item->mat)
            item->mat->data = at;
        else
            *item->vec = (const float *)(const void *)at;
    }
    if (weights_share(p->kern, w))
        w->embed = w->head;
}

/* What the machine said goes into the fault: the backend itself is as good as before. */
static int weights_no_host(const struct weights_plan *p, int r)
{
    struct kern *const kern = p->kern;
    const char *why = *kern->no_host ? kern->no_host : *kern->trouble ? kern->trouble : strerror(-r);

    fault_set(p->fault, WEIGHTS_E_HOST,
              "no main memory for %zu MiB of embeddings that the %s backend reads: %s", p->host_bytes >> 20,
              kern->ops->name, why);
    *kern->trouble = '\0';
    return WEIGHTS_E_HOST;
}

static int weights_alloc_host(const struct weights_plan *p, struct weights *w)
{
    int r = !p->host_bytes         ? 0
            : p->kern->host_copies ? p->kern->ops->mem_alloc(p->kern, p->host_bytes, KERN_MEM_HOST, &w->host)
                                   : -EOPNOTSUPP;

    return r ? weights_no_host(p, r) : 0;
}

static int weights_fill(struct weights_plan *p, struct weights *w, model_progress_fn progress, void *user)
{
    const struct kern_ops *ops = p->kern->ops;
    int r = ops->mem_alloc(p->kern, p->bytes, KERN_MEM_WEIGHTS, &w->mem);

    if (r)
        return fault_set(p->fault, WEIGHTS_E_MEMORY, "no memory for %zu MiB of weights: %s", p->bytes >> 20,
                         strerror(-r));
    r = weights_alloc_host(p, w);
    if (!r)
        r = weights_pack_all(p, w, progress, user);
    if (!r && p->host_bytes) {
        r = ops->mem_seal(p->kern, &w->host);
        r = r ? weights_no_host(p, r) : 0;
    }
    return r ? r : ops->mem_seal(p->kern, &w->mem);
}

static int weights_take_fds(const struct weights_plan *p, struct weights_fds *fds, struct weights *w)
{
    const struct kern_ops *ops = p->kern->ops;
    int r = ops->mem_adopt(p->kern, steal_fd(&fds->all), p->bytes, KERN_MEM_WEIGHTS, &w->mem);

    if (r)
        return fault_set(p->fault, WEIGHTS_E_MEMORY,
                         "the kept memory does not hold %zu sealed bytes of weights: %s", p->bytes,
                         strerror(-r));
    if (p->host_bytes)
        r = ops->mem_adopt(p->kern, steal_fd(&fds->host), p->host_bytes, KERN_MEM_HOST, &w->host);
    if (r) {
        fault_set(p->fault, WEIGHTS_E_MEMORY,
                  "the kept main memory does not hold %zu sealed bytes of embeddings: %s", p->host_bytes,
                  *p->kern->trouble ? p->kern->trouble : strerror(-r));
        *p->kern->trouble = '\0';
        return WEIGHTS_E_MEMORY;
    }
    return 0;
}

static void weights_fds_close(struct weights_fds *fds)
{
    closep(&fds->all);
    closep(&fds->host);
}

static void weights_plan_deinit(struct weights_plan *p)
{
    free(p->items);
}

/* Without fds: packs the file's tensors; else takes the memory over. */
static int weights_init(const struct weights_plan *plan_in, struct weights_fds fds,
                        model_progress_fn progress, void *user, struct weights *ret_weights)
{
    _cleanup_(weights_plan_deinit) struct weights_plan plan = *plan_in;
    _cleanup_(weights_fds_close) struct weights_fds owned = fds;
    struct weights w = {.mem.fd = -1, .host.fd = -1};
    int r = weights_plan(&plan, &w);

    if (!r) {
        weights_describe(&plan, &w);
        r = owned.all < 0 ? weights_fill(&plan, &w, progress, user) : weights_take_fds(&plan, &owned, &w);
    }
    if (r) {
        weights_deinit(&w, plan.kern);
        return r;
    }
    weights_bind(&plan, &w);
    *ret_weights = w;
    return 0;
}

int weights_measure(const struct gguf *gguf, const struct config *config, struct kern *kern,
                    struct fault *fault, struct weights_size *ret_size)
{
    _cleanup_(weights_plan_deinit) struct weights_plan plan = {
        .gguf = gguf, .config = config, .kern = kern, .fault = fault};
    struct weights w = {.mem.fd = -1, .host.fd = -1};
    int r = weights_plan(&plan, &w);

    free(w.layers);
    if (r)
        return r;
    *ret_size = (struct weights_size){.all_bytes = plan.bytes, .rest_bytes = plan.bytes};
    if (!w.tied) {
        ret_size->table_bytes = plan.table_bytes;
        ret_size->rest_bytes -= ROUND_UP(plan.table_bytes, (size_t)WEIGHTS_ALIGN);
    }
    return 0;
}

int weights_load(const struct gguf *gguf, const struct config *config, struct kern *kern,
                 enum weights_table table, model_progress_fn progress, void *user, struct fault *fault,
                 struct weights *ret_weights)
{
    const struct weights_plan plan = {
        .gguf = gguf, .config = config, .kern = kern, .fault = fault, .table = table};

    return weights_init(&plan, (struct weights_fds){-1, -1}, progress, user, ret_weights);
}

int weights_adopt(const struct gguf *gguf, const struct config *config, struct kern *kern,
                  struct weights_fds fds, struct fault *fault, struct weights *ret_weights)
{
    const struct weights_plan plan = {.gguf = gguf,
                                      .config = config,
                                      .kern = kern,
                                      .fault = fault,
                                      .table = fds.host >= 0 ? WEIGHTS_TABLE_HOST : WEIGHTS_TABLE_WITH_ALL};

    return weights_init(&plan, fds, NULL, NULL, ret_weights);
}

void weights_deinit(struct weights *w, struct kern *kern)
{
    if (w->mem.base)
        kern->ops->mem_free(kern, &w->mem);
    if (w->host.base)
        kern->ops->mem_free(kern, &w->host);
    free(w->layers);
    *w = (struct weights){.mem.fd = -1, .host.fd = -1};
}
