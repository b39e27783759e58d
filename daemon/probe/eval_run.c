/* eval_run.c - sequences side by side.  See eval_run.h. */
#include "eval_run.h"

#include <string.h>

#include "daemon/model/detok.h"

struct eval_seq {
    bool busy;
    size_t index; /* of the item */
    int32_t *ids; /* owned, [max_ctx] prompt and answer */
    int n_prompt, n_ids, n_read;
    int max_ids;               /* prompt and the most it may answer */
    bool reasoning;            /* not closed yet */
    int n_reasoning, n_picked; /* n_picked: tokens of it in the step under way */
    struct sample_params sampling;
    struct eval_kl kl;
};

struct eval_batch {
    const struct eval_run *run;
    struct token_ids *prompts; /* owned, [suite->n] */
    size_t next;               /* item to start */
    int max_ctx, max_tok, n_vocab;
    int32_t close_id;                  /* </think>; -1: none */
    struct state *state, *other_state; /* owned */
    struct sampler *sampler;           /* owned */
    bool *banned, *stops;              /* owned, [n_vocab] */
    struct eval_seq *seqs;             /* owned, [parallel]; slot i is seqs[i]'s */
    int32_t *pages, *ids;              /* owned, [parallel][pages of max_ctx], [max_tok] */
    struct kern_span *spans;           /* owned, [parallel] */
    int *rows;                         /* owned, [parallel] */
    float *logits, *other_logits;      /* owned, [parallel][n_vocab] */
    struct unicode_text text;          /* owned: the last answer that ended */
};

static void eval_batch_deinit(struct eval_batch *b)
{
    for (size_t i = 0; b->prompts && i < b->run->suite->n; i++)
        token_ids_deinit(&b->prompts[i]);
    for (int i = 0; b->seqs && i < b->run->parallel; i++)
        free(b->seqs[i].ids);
    state_free(b->state);
    state_free(b->other_state);
    sampler_free(b->sampler);
    void *const owned[] = {b->prompts, b->banned, b->stops, b->seqs,   b->pages,
                           b->ids,     b->spans,  b->rows,  b->logits, b->other_logits};
    for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
        free(owned[i]);
    unicode_text_deinit(&b->text);
}

/* set-up */

static int eval_encode_item(struct eval_batch *b, size_t i)
{
    const struct eval_run *run = b->run;
    const struct eval_item *item = &run->suite->items[i];
    const int context = run->pm->model->config.context_trained;
    struct fault fault = {0};
    int r = tokenizer_encode(run->tokenizer, item->prompt.text, item->prompt.n, TOKENIZER_ALL,
                             item->prompt.plain, item->prompt.n_plain, &fault, &b->prompts[i]);

    if (r)
        return probe_fault(run->suite_name, r, &fault);
    if (b->prompts[i].n >= (size_t)context)
        return probe_error(
            "%s:%zu: the prompt has %zu tokens, the model's context %d, and the answer needs room "
            "too",
            run->suite_name, item->line_no, b->prompts[i].n, context);
    b->max_ctx = MAX(b->max_ctx, (int)MIN((int64_t)b->prompts[i].n + run->max_tokens, (int64_t)context));
    return 0;
}

static int eval_encode(struct eval_batch *b)
{
    int r = 0;

    b->prompts = calloc(b->run->suite->n, sizeof(*b->prompts));
    if (!b->prompts)
        return probe_error("no memory for %zu prompts", b->run->suite->n);
    for (size_t i = 0; i < b->run->suite->n && !r; i++)
        r = eval_encode_item(b, i);
    return r;
}

static int eval_state_new(const struct eval_batch *b, const struct probe_model *pm, struct state **ret_state)
{
    struct state_size size = {.n_slots = b->run->parallel,
                              .max_ctx = b->max_ctx,
                              .max_tok = b->max_tok,
                              .max_rows = b->run->parallel};
    struct fault fault = {0};
    int r = probe_kv_type(b->run->options->kv, &size.kv_type);

    if (r)
        return r;
    r = state_new(pm->model, &size, &fault, ret_state);
    return r ? probe_fault("state", r, &fault) : 0;
}

static int eval_batch_alloc(struct eval_batch *b)
{
    const size_t n = (size_t)b->run->parallel, n_pages = (size_t)CEIL_DIV(b->max_ctx, KERN_PAGE_TOK);
    const size_t n_vocab = (size_t)b->n_vocab;
    bool good;

    b->banned = calloc(n_vocab, sizeof(*b->banned));
    b->stops = calloc(n_vocab, sizeof(*b->stops));
    b->seqs = calloc(n, sizeof(*b->seqs));
    b->pages = calloc(n * n_pages, sizeof(*b->pages));
    b->ids = calloc((size_t)b->max_tok, sizeof(*b->ids));
    b->spans = calloc(n, sizeof(*b->spans));
    b->rows = calloc(n, sizeof(*b->rows));
    b->logits = malloc(n * n_vocab * sizeof(float));
    b->other_logits = b->run->other ? malloc(n * n_vocab * sizeof(float)) : NULL;
    good = b->banned && b->stops && b->seqs && b->pages && b->ids && b->spans && b->rows && b->logits &&
           (b->other_logits || !b->run->other) && !sampler_new(b->n_vocab, &b->sampler);
    for (size_t i = 0; i < n && good; i++)
        good = (b->seqs[i].ids = calloc((size_t)b->max_ctx, sizeof(int32_t)));
    for (size_t i = 0; i < n * n_pages && good; i++)
        b->pages[i] = (int32_t)i;
    return good ? 0 : probe_error("no memory for %zu sequences of %d tokens", n, b->max_ctx);
}

/* Tokens beyond the vocabulary (rows that only fill the matrix up) are never picked either. */
static int eval_batch_marks(struct eval_batch *b)
{
    const struct tokenizer *t = b->run->tokenizer;

    for (int32_t id = 0; id < b->n_vocab; id++) {
        b->banned[id] = id >= tokenizer_n_vocab(t) || tokenizer_is_unused(t, id);
        b->stops[id] = !b->banned[id] && tokenizer_is_stop(t, id);
    }
    b->close_id = tokenizer_find(t, "</think>");
    if (b->run->thinking && b->close_id < 0)
        return probe_error("the vocabulary has no </think>: its model cannot think; --think off");
    return 0;
}

static int eval_batch_init(struct eval_batch *b)
{
    int r = eval_encode(b);

    b->n_vocab = b->run->pm->model->config.n_vocab;
    b->max_tok = b->run->options->chunk + b->run->parallel;
    if (!r)
        r = eval_batch_alloc(b);
    if (!r)
        r = eval_batch_marks(b);
    if (!r)
        r = eval_state_new(b, b->run->pm, &b->state);
    return r || !b->run->other ? r : eval_state_new(b, b->run->other, &b->other_state);
}

/* sequences */

static int eval_seq_start(struct eval_batch *b, int slot)
{
    const struct token_ids *prompt = &b->prompts[b->next];
    struct eval_seq *seq = &b->seqs[slot];
    int r = state_clear_slot(b->state, slot);

    if (!r && b->other_state)
        r = state_clear_slot(b->other_state, slot);
    if (r)
        return probe_fault("state", r, &(struct fault){0});
    *seq = (struct eval_seq){.busy = true,
                             .index = b->next,
                             .ids = seq->ids,
                             .n_prompt = (int)prompt->n,
                             .n_ids = (int)prompt->n,
                             .reasoning = b->run->thinking,
                             .sampling = b->run->sampling};
    seq->max_ids = (int)MIN((int64_t)prompt->n + b->run->max_tokens, (int64_t)b->max_ctx);
    seq->sampling.seed += b->next;
    memcpy(seq->ids, prompt->id, prompt->n * sizeof(*prompt->id));
    b->next++;
    return 0;
}

static int eval_start_all(struct eval_batch *b)
{
    int r = 0;

    for (int i = 0; i < b->run->parallel && b->next < b->run->suite->n && !r; i++)
        if (!b->seqs[i].busy)
            r = eval_seq_start(b, i);
    return r;
}

/* The blank line behind </think> belongs to neither part. */
static size_t eval_skip_newlines(struct chat_str s)
{
    size_t n = 0;

    while (n < 2 && n < s.n && s.s[n] == '\n')
        n++;
    return n;
}

/* Appends the text of ids; the end mark and other control tokens have none. */
static int eval_detok(const struct tokenizer *tokenizer, const int32_t *ids, int n, struct unicode_text *out)
{
    struct detok d;
    int r = 0;

    detok_init(&d, tokenizer);
    for (int i = 0; i <= n && !r; i++) {
        const size_t max = i < n ? detok_max_bytes(&d, ids[i]) : DETOK_HOLD_MAX;
        char *text = malloc(max + 1);

        if (!text)
            return err_origin(-ENOMEM);
        r = unicode_text_append(out, text, i < n ? detok_push(&d, ids[i], text) : detok_flush(&d, text));
        free(text);
    }
    return r;
}

int eval_split(const struct tokenizer *tokenizer, bool thinking, const int32_t *ids, int n,
               struct unicode_text *out, struct eval_done *done)
{
    const int32_t close_id = tokenizer_find(tokenizer, "</think>");
    int n_reasoning = 0, r;
    size_t split;

    out->n = 0;
    while (thinking && n_reasoning < n && ids[n_reasoning] != close_id)
        n_reasoning++;
    r = eval_detok(tokenizer, ids, n_reasoning, out);
    split = out->n;
    if (!r && n_reasoning < n)
        r = eval_detok(tokenizer, ids + n_reasoning + thinking, n - n_reasoning - thinking, out);
    if (r)
        return r;
    const char *text = out->s ? out->s : "";
    done->reasoning = (struct chat_str){text, split};
    split += thinking ? eval_skip_newlines((struct chat_str){text + split, out->n - split}) : 0;
    done->text = (struct chat_str){text + split, out->n - split};
    return 0;
}

static int eval_seq_end(struct eval_batch *b, struct eval_seq *seq, bool cut)
{
    struct eval_done done = {.index = seq->index,
                             .n_prompt = seq->n_prompt,
                             .n_reasoning = seq->n_reasoning,
                             .n_answer = seq->n_ids - seq->n_prompt - seq->n_reasoning,
                             .cut = cut,
                             .kl = seq->kl};
    int r = eval_split(b->run->tokenizer, b->run->thinking, seq->ids + seq->n_prompt,
                       seq->n_ids - seq->n_prompt, &b->text, &done);

    seq->busy = false;
    token_ids_deinit(&b->prompts[seq->index]);
    return r ? probe_error("no memory for an answer") : b->run->on_done(b->run->user, &done);
}

/* Picks the token behind what was read, from its row of logits. */
static int eval_seq_advance(struct eval_batch *b, struct eval_seq *seq, const float *logits,
                            const float *other)
{
    const struct eval_item *item = &b->run->suite->items[seq->index];
    struct sample_choice choice;
    int r = sampler_pick(b->sampler, &seq->sampling, logits, b->banned, seq->ids, (size_t)seq->n_ids,
                         (uint64_t)seq->n_ids, -1, &choice);

    if (r || (other && !eval_kl_add(&seq->kl, logits, other, b->n_vocab)))
        return probe_error("%s:%zu: the model gave no usable number for token %d", b->run->suite_name,
                           item->line_no, seq->n_ids);
    seq->ids[seq->n_ids++] = choice.id;
    seq->n_reasoning += seq->reasoning;
    if (choice.id == b->close_id)
        seq->reasoning = false;
    if (b->stops[choice.id] || seq->n_ids == seq->max_ids)
        return eval_seq_end(b, seq, !b->stops[choice.id]);
    return 0;
}

/* steps */

static void eval_pack_seq(struct eval_batch *b, int slot, int n_tok, struct kern_batch *batch)
{
    struct eval_seq *seq = &b->seqs[slot];

    seq->n_picked = n_tok;
    if (!n_tok)
        return;
    b->spans[batch->n_span++] = (struct kern_span){
        .row0 = batch->n_tok,
        .n_tok = n_tok,
        .pos0 = seq->n_read,
        .slot = slot,
        .pages = b->pages + (size_t)slot * (size_t)CEIL_DIV(b->max_ctx, KERN_PAGE_TOK),
    };
    memcpy(b->ids + batch->n_tok, seq->ids + seq->n_read, (size_t)n_tok * sizeof(*b->ids));
    batch->n_tok += n_tok;
}

/* Each running answer's last token; prompts share what a chunk has room for.  Returns the rows to pick from.
 */
static int eval_pack(struct eval_batch *b, struct kern_batch *batch)
{
    int room = b->run->options->chunk, n_rows = 0;

    *batch = (struct kern_batch){.ids = b->ids, .spans = b->spans};
    for (int i = 0; i < b->run->parallel; i++) {
        const struct eval_seq *seq = &b->seqs[i];
        const int pending = seq->busy ? seq->n_ids - seq->n_read : 0,
                  n = pending == 1 ? 1 : MIN(pending, room);

        room -= n > 1 ? n : 0;
        eval_pack_seq(b, i, n, batch);
        if (n && n == pending)
            b->rows[n_rows++] = batch->n_tok - 1;
    }
    return n_rows;
}

static int eval_forward(struct eval_batch *b, const struct kern_batch *batch, int n_rows)
{
    const struct eval_run *run = b->run;
    int r = model_forward(run->pm->model, b->state, batch, b->rows, n_rows, b->logits);

    if (!r && run->other)
        r = model_forward(run->other->model, b->other_state, batch, b->rows, n_rows, b->other_logits);
    return r ? probe_fault("forward", r, &(struct fault){0}) : 0;
}

static int eval_step(struct eval_batch *b)
{
    struct kern_batch batch;
    const int n_rows = eval_pack(b, &batch);
    int r = eval_forward(b, &batch, n_rows), row = 0;

    for (int i = 0; i < b->run->parallel && !r; i++) {
        struct eval_seq *seq = &b->seqs[i];
        const size_t at = (size_t)row * (size_t)b->n_vocab;

        if (!seq->busy || !seq->n_picked)
            continue;
        seq->n_read += seq->n_picked;
        if (seq->n_read < seq->n_ids)
            continue;
        row++;
        r = eval_seq_advance(b, seq, b->logits + at, b->other_logits ? b->other_logits + at : NULL);
    }
    if (!r)
        b->run->on_step(b->run->user, n_rows);
    return r;
}

static bool eval_is_busy(const struct eval_batch *b)
{
    for (int i = 0; i < b->run->parallel; i++)
        if (b->seqs[i].busy)
            return true;
    return false;
}

int eval_run(const struct eval_run *run)
{
    _cleanup_(eval_batch_deinit) struct eval_batch b = {.run = run};
    int r = eval_batch_init(&b);

    while (!r && !*run->stop) {
        r = eval_start_all(&b);
        if (!r && !eval_is_busy(&b))
            break;
        if (!r)
            r = eval_step(&b);
    }
    return r;
}
