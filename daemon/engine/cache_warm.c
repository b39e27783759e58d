/* cache_warm.c - the prefix cache's files, read back before anybody asks: after a restart the next turn of a
 * chat is as quick as it was before.  See spill.h.
 *
 * What was used last comes first, as much as there is room for without giving anything up; then the engine
 * idles. A file is read with all that it goes on behind, whose states are its own checkpoints' too, so a turn
 * that was cut back finds its place.  A slice at a time while nothing runs: a request takes the slot and the
 * pages away at once, and what was half read begins again later. */
#include "engine.h"

#include "daemon/util/clock.h"
#include "daemon/util/log.h"

/* The saver's room is free: nothing is written before this is done. */
static int32_t *engine_warm_ids(const struct engine *e)
{
    return e->saver.ids;
}

void engine_warm_drop(struct engine *e)
{
    struct engine_warmer *w = &e->warmer;

    if (!w->reads)
        return;
    spill_read_drop(e->spill);
    while (w->n_pages)
        pages_drop(&e->pages, e->saver.pages[--w->n_pages]);
    w->reads = false;
}

/* As many tokens as there is room for; 0: none. */
static int engine_warm_room(const struct engine *e)
{
    return e->prefix->n_free_ckpts ? MIN(e->pages_per_slot, e->prefix->n_free_pages) * KERN_PAGE_TOK : 0;
}

static void engine_warm_end(struct engine *e)
{
    e->warmer.is_done = true;
    if (e->warmer.n_read)
        log_info("cache folder: %d beginnings of prompts are back in memory", e->warmer.n_read);
}

/* The next file that there is room for. */
static int engine_warm_pick(struct engine *e)
{
    struct engine_warmer *w = &e->warmer;
    struct spill_leaf leaf = w->last;
    const int r = spill_next_leaf(e->spill, &leaf, engine_warm_room(e), engine_warm_ids(e));

    if (r == SPILL_E_OFF)
        engine_warm_end(e);
    if (r)
        return 0;
    w->leaf = leaf;
    w->id = leaf.id;
    w->n_tok = leaf.n_tok;
    for (w->n_pages = 0; w->n_pages < CEIL_DIV(leaf.n_tok, KERN_PAGE_TOK); w->n_pages++)
        e->saver.pages[w->n_pages] = pages_take(&e->pages);
    w->reads = true;
    spill_read_ahead(e->spill, w->id, engine_warm_ids(e), 0, e->saver.pages);
    return 0;
}

static void engine_warm_leave(struct engine *e)
{
    e->warmer.last = e->warmer.leaf;
    engine_warm_drop(e);
}

/* What was read becomes a checkpoint; then the state of what it goes on behind, whose pages are here. */
static int engine_warm_keep(struct engine *e)
{
    struct engine_warmer *w = &e->warmer;
    int ckpt, r = prefix_add(e->prefix, w->leaf.uid, engine_warm_ids(e), w->n_tok, e->saver.pages, &ckpt);

    if (r == PREFIX_OK) {
        prefix_set_file(e->prefix, ckpt, w->id);
        prefix_set_old(e->prefix, ckpt, (uint64_t)w->n_read); /* they come the last one used first */
        r = engine_save_state(e, ckpt, 0);
        w->n_read++;
    }
    if (r < 0)
        return r;
    if (r == PREFIX_E_FULL || !e->prefix->n_free_ckpts || !spill_parent(e->spill, w->id, &w->id, &w->n_tok))
        engine_warm_leave(e);
    else
        spill_read_ahead(e->spill, w->id, engine_warm_ids(e), 0, NULL);
    return 0;
}

int engine_warm_turn(struct engine *e)
{
    int r;

    if (!e->warmer.reads)
        return engine_warm_pick(e);
    r = spill_read_more(e->spill);
    if (r == SPILL_OK)
        return engine_warm_keep(e);
    if (r == SPILL_E_BAD)
        engine_warm_leave(e);
    return MIN(r, 0);
}

/* Nobody has a slot, not even one that waits for its reader. */
static bool engine_warm_is_alone(const struct engine *e)
{
    for (int i = 0; i < e->n_slots; i++)
        if (e->seqs[i])
            return false;
    return !e->reading && !engine_publish_is_due(e);
}

bool engine_warm_is_due(const struct engine *e)
{
    return e->spill && !e->warmer.is_done && engine_warm_is_alone(e);
}
