/* step.c - one step: pick rows, run the model, sample, emit.  Nothing here allocates. */
#include "engine.h"

#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "score.h"

static bool engine_slot_is_live(const struct engine *e, int slot)
{
    return e->seqs[slot] && !e->seqs[slot]->paused;
}

/* To whatever is of a client: it runs, waits for a file, or its text is being read. */
static bool engine_slot_yields(const struct engine *e, int slot)
{
    for (int i = 0; i < e->n_slots; i++)
        if (i != slot && engine_slot_is_live(e, i))
            return true;
    return e->reading;
}

static bool engine_slot_runs(const struct engine *e, int slot)
{
    if (!engine_slot_is_live(e, slot) || e->seqs[slot]->waits)
        return false;
    return !e->seqs[slot]->yields || !engine_slot_yields(e, slot);
}

bool engine_has_work(const struct engine *e)
{
    for (int i = 0; i < e->n_slots; i++)
        if (engine_slot_runs(e, i))
            return true;
    return false;
}

static int engine_pick(struct engine *e)
{
    e->n_items = 0;

    for (int i = 0; i < e->n_slots; i++) {
        const struct seq *seq = e->seqs[i];

        if (!engine_slot_runs(e, i))
            continue;
        e->items[e->n_items] = (struct sched_item){.n_pending = seq_n_pending(seq),
                                                   .order = seq->order,
                                                   .account = seq->account,
                                                   .band = (enum sched_band)seq->band,
                                                   .deadline = seq->deadline_ns,
                                                   .pos = seq->n_read,
                                                   .n_again = seq->n_ids - MAX(seq->n_prompt, seq->n_read)};
        e->item_slots[e->n_items++] = i;
    }
    return sched_step(&e->sched, e->items, e->n_items, e->max_tok, e->picks);
}

static struct seq *engine_picked(const struct engine *e, int i)
{
    return e->seqs[e->item_slots[e->picks[i].item]];
}

/* Of logits: after the last token that is known, or where a given one has to be scored. */
static int engine_pick_rows(const struct engine *e, int i)
{
    const struct seq *seq = engine_picked(e, i);

    if (seq->warms)
        return 0;
    return seq->scores ? score_n_rows(seq, e->picks[i].n_tok) : e->picks[i].n_tok == seq_n_pending(seq);
}

/* A piece ends where a state is to be kept. */
static void engine_cut_picks(struct engine *e, int n_picks)
{
    for (int i = 0; i < n_picks; i++)
        e->picks[i].n_tok = engine_cache_cut(engine_picked(e, i), e->picks[i].n_tok);
}

/* Short ones first: a backend that reads them in another way than long ones then has one run of each. */
static void engine_order_picks(struct engine *e, int n_picks)
{
    for (int i = 1; i < n_picks; i++) {
        const struct sched_pick pick = e->picks[i];
        int to = i;

        for (; to && e->picks[to - 1].n_tok > pick.n_tok; to--)
            e->picks[to] = e->picks[to - 1];
        e->picks[to] = pick;
    }
}

/* Fills spans, ids and the rows to sample from; returns the number of rows. */
static int engine_pack(struct engine *e, int n_picks, struct kern_batch *ret_batch)
{
    int n_tok = 0, n_rows = 0;

    for (int i = 0; i < n_picks; i++) {
        struct seq *seq = engine_picked(e, i);

        engine_take_pages(e, seq, e->picks[i].n_tok);
        e->spans[i] = (struct kern_span){
            .row0 = n_tok,
            .n_tok = e->picks[i].n_tok,
            .pos0 = seq->n_read,
            .slot = seq->slot,
            .pages = engine_table(e, seq),
        };
        for (int k = 0; k < e->picks[i].n_tok; k++)
            e->ids[n_tok++] = seq->ids[seq->n_read + k];
        for (int n = engine_pick_rows(e, i), k = 0; k < n; k++) {
            e->asked[n_rows] = seq->scores ? score_id(seq, k) : -1;
            e->rows[n_rows++] = n_tok - n + k;
        }
    }
    *ret_batch = (struct kern_batch){.n_tok = n_tok, .n_span = n_picks, .ids = e->ids, .spans = e->spans};
    return n_rows;
}

/* Samples the next token of one sequence and says what came of it. */
static int engine_advance(struct engine *e, struct seq *seq, int row)
{
    struct sample_choice choice;
    const int slot = seq->slot;
    int r = engine_row_pick(e, seq, row, &choice);

    if (r == SAMPLE_E_NAN) {
        struct fault fault;

        log_err("request %u: the model gave no usable number for token %d; refused", seq->handle, seq->n_ids);
        fault_set(&fault, STATUS_NUMERICS, "the model gave no usable number for token %d", seq->n_ids);
        r = engine_put_refused(e, seq->handle, &fault);
        if (!r)
            r = engine_cache_forget(e, seq);
        engine_drop_seq(e, slot);
        return r;
    }
    if (r)
        return r;
    seq_push(seq, choice.id);
    r = engine_emit(e, seq, &choice);
    if (!seq->finish)
        return r;
    if (!r)
        r = engine_cache_on_end(e, seq);
    engine_drop_seq(e, slot);
    return r;
}

static int engine_warm_end(struct engine *e, struct seq *seq)
{
    int r;

    seq->finish = SEQ_LENGTH;
    r = engine_emit(e, seq, NULL);
    engine_drop_seq(e, seq->slot);
    return r;
}

static int engine_sample(struct engine *e, int n_picks)
{
    int row = 0, r = 0;

    for (int i = 0; !r && i < n_picks; i++) {
        struct seq *seq = engine_picked(e, i);
        const int n_rows = engine_pick_rows(e, i);

        seq->n_read += e->picks[i].n_tok;
        r = engine_cache_on_read(e, seq);
        if (!r && seq->scores)
            r = score_advance(e, seq, row, n_rows);
        else if (!r && n_rows)
            r = engine_advance(e, seq, row);
        else if (!r && seq->warms && !seq_n_pending(seq))
            r = engine_warm_end(e, seq);
        row += n_rows;
    }
    return r;
}

static void engine_learn_cost(struct engine *e, int n_picks, uint64_t ns)
{
    int n_piece = 0, n_rows = 0;
    double n_before = 0;

    for (int i = 0; i < n_picks; i++) {
        const int n_tok = e->picks[i].n_tok;

        n_rows += n_tok;
        if (e->items[e->picks[i].item].n_pending > 1) {
            n_piece += n_tok;
            n_before += n_tok * (e->items[e->picks[i].item].pos + (n_tok - 1) / 2.0);
        }
    }
    if (n_piece) {
        sched_cost_add_piece(&e->sched.cost, n_piece, (double)ns);
        sched_cost_add_rows(&e->sched.cost, n_rows, n_before, (double)ns);
    } else {
        sched_cost_add_decode(&e->sched.cost, (double)ns);
    }
}

int engine_step(struct engine *e)
{
    const int n_picks = engine_pick(e);
    const uint64_t t0 = clock_now_ns();
    struct kern_batch batch;
    uint64_t now;
    int n_rows, r;

    if (!n_picks)
        return 0;
    engine_cut_picks(e, n_picks);
    score_cut_picks(e, n_picks);
    if (e->kern->cut_tok > 1)
        engine_order_picks(e, n_picks);
    n_rows = engine_pack(e, n_picks, &batch);
    ahead_on_use(&e->ahead, STATE_PAGES, e->pages.n_used);
    r = engine_forward(e, &batch, n_rows);
    if (r)
        return r; /* the backend is unusable: this process ends, the broker replays */
    now = clock_now_ns();
    engine_learn_cost(e, n_picks, now - t0);
    sched_charge(&e->sched, e->items, e->n_items, e->picks, n_picks);
    r = engine_sample(e, n_picks);
    e->n_steps++;
    return r ? r : engine_put_beat(e, now);
}
