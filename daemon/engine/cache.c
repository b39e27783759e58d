/* cache.c - sequences and the prefix cache: where one begins, where its state is kept.  See prefix.h,
 * pages.h. */
#include "engine.h"

/* pages */

int32_t *engine_table(const struct engine *e, const struct seq *seq)
{
    return e->tables + (size_t)seq->slot * (size_t)e->pages_per_slot;
}

void engine_take_pages(struct engine *e, struct seq *seq, int n_tok)
{
    const int n = CEIL_DIV(seq->n_read + n_tok, KERN_PAGE_TOK);

    while (seq->n_pages < n)
        engine_table(e, seq)[seq->n_pages++] = pages_take(&e->pages);
}

void engine_drop_pages(struct engine *e, struct seq *seq)
{
    while (seq->n_pages)
        pages_drop(&e->pages, engine_table(e, seq)[--seq->n_pages]);
}

/* beginning */

/* Full pages are shared; the last one is copied if it is not full, since the sequence will write there. */
static int engine_cache_share(struct engine *e, struct seq *seq, const struct prefix_hit *hit)
{
    int32_t *table = engine_table(e, seq);
    int r = state_load(e->state, seq->slot, hit->ckpt);

    seq->n_read = seq->n_cached = seq->last_mark = hit->n_tok;
    seq->lender = hit->owner >= PREFIX_PUBLIC && hit->owner != seq->owner ? hit->owner : 0;
    for (; seq->n_pages < hit->n_tok / KERN_PAGE_TOK; seq->n_pages++)
        pages_hold(&e->pages, table[seq->n_pages]);
    if (!r && hit->n_tok % KERN_PAGE_TOK) {
        const int32_t from = table[seq->n_pages];

        table[seq->n_pages] = pages_take(&e->pages);
        r = state_copy_page(e->state, table[seq->n_pages++], from);
    }
    return r;
}

int engine_save_state(struct engine *e, int ckpt, int slot)
{
    ahead_on_use(&e->ahead, STATE_CKPTS, ckpt + 1);
    return state_save(e->state, ckpt, slot);
}

/* Between marks lie at least so many tokens. */
static bool engine_cache_is_far(const struct seq *seq, int pos, int n_tok)
{
    if (pos - seq->last_mark < n_tok)
        return false;
    for (int i = 0; i < seq->n_marks; i++)
        if (abs(pos - seq->marks[i]) < n_tok)
            return false;
    return true;
}

/* As far as a hit there leaves the prompt's bits as they are: where a piece may end, and another one is left.
 */
static void engine_cache_mark(const struct engine *e, struct seq *seq, int pos)
{
    const int cut_tok = e->kern->cut_tok;
    int i = seq->n_marks;

    if (cut_tok > 1)
        pos = MIN(pos, seq->n_prompt - cut_tok) / cut_tok * cut_tok;
    if (i == SEQ_MARKS_MAX || !engine_cache_is_far(seq, pos, MAX(cut_tok, (int)PREFIX_MIN_TOK)))
        return;
    for (; i && seq->marks[i - 1] > pos; i--)
        seq->marks[i] = seq->marks[i - 1];
    seq->marks[i] = pos;
    seq->n_marks++;
}

static int engine_cache_take(struct engine *e, struct seq *seq, const struct prefix_hit *hit)
{
    return hit->n_tok ? engine_cache_share(e, seq, hit) : state_clear_slot(e->state, seq->slot);
}

/* One token must be left: somebody needs its logits. */
static int engine_cache_max(const struct seq *seq)
{
    return seq->scores ? seq->n_prompt - 1 + seq->n_scored : seq->n_ids - 1;
}

/* Of the hits where a piece may end, none that leaves less than a piece: those rows would get other bits than
 * the whole prompt's.  Elsewhere lie what was published and the ends of answers, whose rows were generated,
 * not read: a prompt that goes on there has other bits anyway, and saves the reading of all of them. */
static void engine_cache_find(struct engine *e, struct seq *seq, struct prefix_hit *ret_hit)
{
    const int cut_tok = e->kern->cut_tok, last = seq->n_prompt - cut_tok;

    prefix_find(e->prefix, seq->owner, seq->ids, engine_cache_max(seq), engine_table(e, seq), ret_hit);
    if (ret_hit->n_tok > last && ret_hit->n_tok < seq->n_prompt && ret_hit->n_tok % cut_tok == 0)
        prefix_find(e->prefix, seq->owner, seq->ids, MAX(last, 0), engine_table(e, seq), ret_hit);
}

int engine_cache_begin_again(struct engine *e, struct seq *seq, int pos)
{
    struct prefix_hit hit;
    int r;

    engine_cache_find(e, seq, &hit);
    seq->last_mark = 0;
    r = engine_cache_take(e, seq, &hit);
    engine_cache_mark(e, seq, pos);
    return r;
}

int engine_cache_begin(struct engine *e, struct seq *seq, const struct prompt *prompt)
{
    struct prefix_hit hit = {};
    const int n_max = engine_cache_max(seq);
    int r = 0;

    if (seq->finish)
        return 0; /* nothing will be read */
    if (seq->uses_cache)
        engine_cache_find(e, seq, &hit);
    if (!seq->uses_cache || !engine_disk_begin(e, seq, n_max, hit.n_tok))
        r = engine_cache_take(e, seq, &hit);
    if (r || !seq->uses_cache)
        return r;
    seq->keeps_end = prompt->goes_on;
    for (int i = 0; i < prompt->n_borders; i++)
        engine_cache_mark(e, seq, (int)prompt->borders[i]);
    engine_cache_mark(e, seq, hit.n_known);
    return 0;
}

/* running */

int engine_cache_cut(const struct seq *seq, int n_tok)
{
    return seq->n_marks ? MIN(n_tok, seq->marks[0] - seq->n_read) : n_tok;
}

int engine_cache_keep(struct engine *e, struct seq *seq, uint64_t file)
{
    int ckpt, r = prefix_add(e->prefix, seq->owner, seq->ids, seq->n_read, engine_table(e, seq), &ckpt);

    seq->last_mark = seq->n_read;
    if (r)
        return MIN(r, 0);
    if (file)
        prefix_set_file(e->prefix, ckpt, file);
    else
        e->saver.is_done = false;
    return engine_save_state(e, ckpt, seq->slot);
}

int engine_cache_on_read(struct engine *e, struct seq *seq)
{
    if (!seq->n_marks || seq->n_read < seq->marks[0])
        return 0;
    seq->n_marks--;
    for (int i = 0; i < seq->n_marks; i++)
        seq->marks[i] = seq->marks[i + 1];
    return engine_cache_keep(e, seq, 0);
}

/* Where reading gives other bits than generating, little that was generated is not worth those. */
int engine_cache_on_end(struct engine *e, struct seq *seq)
{
    if (e->kern->cut_tok > 1 && seq->n_read - seq->n_prompt < e->kern->cut_tok)
        return 0;
    if (!seq->uses_cache || !seq->keeps_end || !engine_cache_is_far(seq, seq->n_read, PREFIX_MIN_TOK))
        return 0;
    return engine_cache_keep(e, seq, 0);
}

/* Where it is, so that it goes on without reading again. */
int engine_cache_on_preempt(struct engine *e, struct seq *seq)
{
    if (!seq->uses_cache || seq->n_read - seq->last_mark < PREFIX_MIN_TOK)
        return 0;
    return engine_cache_keep(e, seq, 0);
}

int engine_cache_forget(struct engine *e, const struct seq *seq)
{
    if (!seq->uses_cache)
        return 0;
    prefix_forget(e->prefix, seq->owner, seq->ids, seq->n_read);
    if (e->spill && seq->owner <= UINT32_MAX)
        spill_forget(e->spill, (uint32_t)seq->owner, seq->ids, seq->n_read);
    return seq->lender ? engine_publish_distrust(e, seq->lender) : 0;
}
