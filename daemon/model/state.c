/* state.c - everything that sequences own, sized once: KV pages, DeltaNet slots, activations.  See model.h,
 * state.h.
 *
 * Arenas are layer-major, [layer][page] and [layer][slot], since an op gets one layer's base and indexes
 * pages or slots. */
#include "state.h"

#include <inttypes.h>
#include <string.h>

enum { STATE_ALIGN = 64 }; /* floats are read in cache lines */

/* activations */
struct state_cut {
    uint8_t *base; /* NULL: only measure */
    size_t used;
};

static float *state_cut(struct state_cut *cut, int n_rows, int n_cols)
{
    size_t at = cut->used;

    cut->used += ROUND_UP((size_t)n_rows * (size_t)n_cols * sizeof(float), (size_t)STATE_ALIGN);
    return cut->base ? (float *)(void *)(cut->base + at) : NULL;
}

/* Lays the activations out from base; returns the bytes that they take. */
static size_t state_lay_out(struct state *s, const struct config *c, uint8_t *base)
{
    struct state_cut cut = {.base = base}, over;
    int n_tok = s->size.max_tok;

    s->x = state_cut(&cut, n_tok, c->dim);
    s->mix = state_cut(&cut, n_tok, MAX(config_n_inner(c), config_n_q(c)));
    s->logits = state_cut(&cut, s->size.max_rows, c->n_vocab);
    over = cut;
    s->qkv = state_cut(&cut, n_tok, config_n_qkv(c));
    s->z = state_cut(&cut, n_tok, config_n_inner(c));
    s->alpha = state_cut(&cut, n_tok, c->n_vh);
    s->beta = state_cut(&cut, n_tok, c->n_vh);
    s->q = state_cut(&over, n_tok, 2 * config_n_q(c));
    s->k = state_cut(&over, n_tok, config_n_kv(c));
    s->v = state_cut(&over, n_tok, config_n_kv(c));
    return MAX(cut.used, over.used);
}

/* sizes */
static int state_pages(const struct state_size *size)
{
    return size->n_pages ? size->n_pages : size->n_slots * CEIL_DIV(size->max_ctx, KERN_PAGE_TOK);
}

/* Bytes of one KV value times 32, since a Q8_0 block is 34 bytes for 32 values. */
static uint64_t state_kv_bytes_32(enum kern_kv_type type)
{
    return type == KERN_KV_F32 ? 128 : type == KERN_KV_F16 ? 64 : 34;
}

uint64_t state_page_bytes(const struct model *model, enum kern_kv_type kv_type)
{
    const struct config *c = &model->config;

    return (uint64_t)KERN_PAGE_TOK * (uint64_t)config_n_kv(c) * 2 * state_kv_bytes_32(kv_type) / 32 *
           (uint64_t)c->n_attn;
}

uint64_t state_slot_bytes(const struct model *model)
{
    const struct config *c = &model->config;
    uint64_t matrices = (uint64_t)c->n_vh * (uint64_t)c->d_delta * (uint64_t)c->d_delta;
    uint64_t conv = (uint64_t)(c->conv_k - 1) * (uint64_t)config_n_qkv(c);

    return (matrices + conv) * sizeof(float) * (uint64_t)c->n_delta;
}

uint64_t state_bytes(const struct model *model, const struct state_size *size)
{
    struct state measured = {.size = *size};

    return state_page_bytes(model, size->kv_type) * (uint64_t)state_pages(size) +
           state_slot_bytes(model) * (uint64_t)(size->n_slots + size->n_ckpts) +
           state_lay_out(&measured, &model->config, NULL);
}

static int state_check_size(const struct config *c, const struct state_size *size, struct fault *fault)
{
    enum { SLOTS_MAX = 4096, TOK_MAX = 1 << 16 }; /* far beyond use; products below stay inside an int */

    if (size->n_slots < 1 || size->n_slots > SLOTS_MAX)
        return fault_set(fault, MODEL_E_STATE, "%d slots, should be 1 to %d", size->n_slots, SLOTS_MAX);
    if (size->n_ckpts < 0 || size->n_ckpts > SLOTS_MAX)
        return fault_set(fault, MODEL_E_STATE, "%d checkpoints, should be 0 to %d", size->n_ckpts, SLOTS_MAX);
    if (size->max_ctx < 1 || size->max_ctx > c->context_trained)
        return fault_set(fault, MODEL_E_STATE,
                         "context of %d tokens, should be 1 to %d (qwen35.context_length)", size->max_ctx,
                         c->context_trained);
    if (size->max_tok < 1 || size->max_tok > TOK_MAX)
        return fault_set(fault, MODEL_E_STATE, "steps of %d rows, should be 1 to %d", size->max_tok, TOK_MAX);
    if (size->max_rows < 0 || size->max_rows > size->max_tok)
        return fault_set(fault, MODEL_E_STATE, "%d logit rows a step, should be 0 to %d", size->max_rows,
                         size->max_tok);
    if (size->n_pages < 0 ||
        (int64_t)size->n_slots * CEIL_DIV((int64_t)size->max_ctx, KERN_PAGE_TOK) > INT32_MAX)
        return fault_set(fault, MODEL_E_STATE, "%d KV pages for %d slots of %d tokens: out of range",
                         size->n_pages, size->n_slots, size->max_ctx);
    if (size->kv_type == KERN_KV_Q8_0 && c->d_attn % 32)
        return fault_set(fault, MODEL_E_STATE,
                         "KV type q8_0 needs heads of a multiple of 32 values, this model's have %d",
                         c->d_attn);
    return 0;
}

/* making */
static int state_plan(struct kern *kern, const struct config *c, const struct state_size *size)
{
    const struct kern_shape shape = {
        .dim = c->dim,
        .n_ff = c->n_ff,
        .n_vocab = c->n_vocab,
        .n_qh = c->n_qh,
        .n_kvh = c->n_kvh,
        .d_attn = c->d_attn,
        .n_kh = c->n_kh,
        .n_vh = c->n_vh,
        .d_delta = c->d_delta,
        .conv_k = c->conv_k,
        .max_tok = size->max_tok,
        .max_ctx = size->max_ctx,
        .kv_type = size->kv_type,
    };

    return kern->ops->plan(kern, &shape);
}

static int state_alloc(struct state *s, size_t bytes, const char *what, struct fault *fault,
                       struct kern_mem *mem)
{
    int r = s->kern->ops->mem_alloc(s->kern, bytes, KERN_MEM_STATE, mem);

    if (r)
        return fault_set(fault, MODEL_E_MEMORY, "no memory for %zu MiB of %s: %s", bytes >> 20, what,
                         strerror(-r));
    return 0;
}

static int state_alloc_all(struct state *s, struct fault *fault)
{
    const struct config *c = s->config;
    size_t kv = s->page_bytes * (size_t)s->size.n_pages * (size_t)c->n_attn;
    size_t delta = s->slot_bytes * (size_t)(s->size.n_slots + s->size.n_ckpts) * (size_t)c->n_delta;
    int r = state_alloc(s, kv, "KV cache", fault, &s->kv);

    if (!r)
        r = state_alloc(s, delta, "DeltaNet state", fault, &s->delta);
    if (!r)
        r = state_alloc(s, state_lay_out(s, c, NULL), "activations", fault, &s->act);
    if (!r)
        state_lay_out(s, c, s->act.base);
    return r;
}

int state_new(struct model *model, const struct state_size *size, struct fault *fault,
              struct state **ret_state)
{
    _cleanup_(state_freep) struct state *s = NULL;
    int r = state_check_size(&model->config, size, fault);

    if (!r)
        r = state_plan(model->kern, &model->config, size);
    if (r)
        return r;
    s = calloc(1, sizeof(*s));
    if (!s)
        return err_origin(-ENOMEM);
    *s = (struct state){.kern = model->kern, .config = &model->config, .size = *size};
    s->size.n_pages = state_pages(size);
    s->page_bytes = s->kern->ops->kv_page_bytes(s->kern);
    s->slot_bytes = s->kern->ops->delta_state_bytes(s->kern);
    r = state_alloc_all(s, fault);
    if (r)
        return r;
    *ret_state = steal(&s);
    return MODEL_OK;
}

struct state *state_free(struct state *s)
{
    if (!s)
        return NULL;
    s->kern->ops->mem_free(s->kern, &s->kv);
    s->kern->ops->mem_free(s->kern, &s->delta);
    s->kern->ops->mem_free(s->kern, &s->act);
    free(s);
    return NULL;
}

int state_clear_slot(struct state *s, int slot)
{
    for (int i = 0; i < s->config->n_delta; i++) {
        int r = s->kern->ops->clear(s->kern, state_delta(s, i) + (size_t)slot * s->slot_bytes, s->slot_bytes);

        if (r)
            return r;
    }
    return 0;
}

int state_n_pages(const struct state *s)
{
    return s->size.n_pages;
}

/* Checkpoints lie behind the sequences' slots. */
static int state_copy_slot(struct state *s, int to, int from)
{
    for (int i = 0; i < s->config->n_delta; i++) {
        uint8_t *base = state_delta(s, i);
        int r = s->kern->ops->copy(s->kern, base + (size_t)to * s->slot_bytes,
                                   base + (size_t)from * s->slot_bytes, s->slot_bytes);

        if (r)
            return r;
    }
    return 0;
}

int state_save(struct state *s, int ckpt, int slot)
{
    return state_copy_slot(s, s->size.n_slots + ckpt, slot);
}

int state_load(struct state *s, int slot, int ckpt)
{
    return state_copy_slot(s, slot, s->size.n_slots + ckpt);
}

int state_copy_page(struct state *s, int32_t to, int32_t from)
{
    for (int i = 0; i < s->config->n_attn; i++) {
        uint8_t *base = state_kv(s, i);
        int r = s->kern->ops->copy(s->kern, base + (size_t)to * s->page_bytes,
                                   base + (size_t)from * s->page_bytes, s->page_bytes);

        if (r)
            return r;
    }
    return 0;
}

/* pages before their first use */

bool state_can_populate(const struct state *s)
{
    return s->kern->ops->populate;
}

int state_n_parts(const struct state *s, enum state_part part)
{
    const int n[STATE_PART_N] = {
        [STATE_SCRATCH] = 1,
        [STATE_SLOTS] = s->size.n_slots,
        [STATE_CKPTS] = s->size.n_ckpts,
        [STATE_PAGES] = s->size.n_pages,
    };

    return n[part];
}

static void state_populate_slot(struct state *s, int slot)
{
    for (int i = 0; i < s->config->n_delta; i++)
        s->kern->ops->populate(s->kern, state_delta(s, i) + (size_t)slot * s->slot_bytes, s->slot_bytes);
}

static void state_populate_page(struct state *s, int page)
{
    for (int i = 0; i < s->config->n_attn; i++)
        s->kern->ops->populate(s->kern, state_kv(s, i) + (size_t)page * s->page_bytes, s->page_bytes);
}

void state_populate(struct state *s, enum state_part part, int i)
{
    switch (part) {
    case STATE_SCRATCH:
        s->kern->ops->populate(s->kern, s->act.base, s->act.bytes);
        s->kern->ops->populate(s->kern, NULL, 0);
        break;
    case STATE_SLOTS:
        state_populate_slot(s, i);
        break;
    case STATE_CKPTS:
        state_populate_slot(s, s->size.n_slots + i);
        break;
    case STATE_PAGES:
        state_populate_page(s, i);
        break;
    case STATE_PART_N:
        break;
    }
}

/* to the host and back */

size_t state_page_part_bytes(const struct state *s)
{
    return s->page_bytes * (size_t)s->config->n_attn;
}

size_t state_slot_part_bytes(const struct state *s)
{
    return s->slot_bytes;
}

int state_n_slot_parts(const struct state *s)
{
    return s->config->n_delta;
}

int state_get_page(struct state *s, int32_t page, void *host)
{
    for (int i = 0; i < s->config->n_attn; i++) {
        int r = s->kern->ops->copy_out(s->kern, (uint8_t *)host + (size_t)i * s->page_bytes,
                                       state_kv(s, i) + (size_t)page * s->page_bytes, s->page_bytes);

        if (r)
            return r;
    }
    return 0;
}

int state_put_page(struct state *s, int32_t page, const void *host)
{
    for (int i = 0; i < s->config->n_attn; i++) {
        int r = s->kern->ops->copy_in(s->kern, state_kv(s, i) + (size_t)page * s->page_bytes,
                                      (const uint8_t *)host + (size_t)i * s->page_bytes, s->page_bytes);

        if (r)
            return r;
    }
    return 0;
}

int state_get_ckpt_part(struct state *s, int ckpt, int part, void *host)
{
    const size_t slot = (size_t)(s->size.n_slots + ckpt);

    return s->kern->ops->copy_out(s->kern, host, state_delta(s, part) + slot * s->slot_bytes, s->slot_bytes);
}

int state_put_slot_part(struct state *s, int slot, int part, const void *host)
{
    return s->kern->ops->copy_in(s->kern, state_delta(s, part) + (size_t)slot * s->slot_bytes, host,
                                 s->slot_bytes);
}
