/* cache_disk.c - the prefix cache's files: when one is written, and how a request waits for one.  See
 * spill.h.
 *
 * While nothing runs, checkpoints that save much are written, each once; at the stop of the service all that
 * fit. Those of a gateway's users are not: their numbers (Terms.account) are given anew at each start of the
 * broker. */
#include "engine.h"

#include <stdio.h>
#include <string.h>

#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "proto/sha256.h"

enum {
    ENGINE_DISK_MIB_DEFAULT = 4096,
    ENGINE_SAVE_TOK = 256, /* saved tokens; a question alone is not worth a state's bytes each time */
    ENGINE_REST_MS = 1000, /* who sends the next turn within a second does not wait for a slice */
    ENGINE_READ_MS = 4000, /* then the prompt is read instead: far below engine_timeout_s */
    ENGINE_STOP_MS = 8000, /* the broker waits for 10 s */
};
static const uint64_t engine_disk_owner_max = UINT32_MAX; /* uids */
static const uint64_t engine_disk_no_file = UINT64_MAX;   /* there was no room for it */

/* Everything that the bytes of a page or a state mean anything with.  To be changed with the layout of
 * either. */
static void engine_disk_key(const struct engine *e, const char *kv_name, uint8_t ret_key[SPILL_KEY_BYTES])
{
    const struct model *m = e->model;
    struct sha256 sha;
    char text[400];

    snprintf(text, sizeof(text), "qwend 1 %s %s %s kv %s page %zu slot %zu*%d model %llu", e->kern->ops->name,
             e->kern->isa, e->kern->numerics_id, kv_name, state_page_part_bytes(e->state),
             state_slot_part_bytes(e->state), state_n_slot_parts(e->state),
             (unsigned long long)m->file_bytes);
    sha256_init(&sha);
    sha256_put(&sha, text, strlen(text) + 1);
    sha256_put(&sha, m->digest, sizeof(m->digest));
    sha256_end(&sha, ret_key);
}

int engine_disk_open(struct engine *e, const Qwe__Start *start, const char *kv_name)
{
    struct spill_config config = {
        .folder = start->cache_dir,
        .max_bytes = (uint64_t)(start->has_cache_dir_mib ? start->cache_dir_mib : ENGINE_DISK_MIB_DEFAULT)
                     << 20,
        .state = e->state,
    };
    struct fault fault = {0};
    int r;

    if (!config.folder || !*config.folder)
        return 0;
    if (!e->prefix) {
        log_warn("cache_dir is not used: there is no prefix cache");
        return 0;
    }
    e->saver.ids = calloc((size_t)e->pages_per_slot * KERN_PAGE_TOK, sizeof(*e->saver.ids));
    e->saver.pages = calloc((size_t)e->pages_per_slot, sizeof(*e->saver.pages));
    if (!e->saver.ids || !e->saver.pages)
        return err_origin(-ENOMEM);
    e->warmer.last = SPILL_LEAF_FIRST;
    engine_disk_key(e, kv_name, config.key);
    r = spill_open(&config, &fault, &e->spill);
    if (r > 0)
        log_warn("cache_dir is not used: %s", fault.text);
    return MIN(r, 0);
}

void engine_disk_close(struct engine *e)
{
    engine_warm_drop(e);
    e->spill = spill_free(e->spill);
    freep(&e->saver.ids);
    freep(&e->saver.pages);
}

/* reading */

bool engine_disk_begin(struct engine *e, struct seq *seq, int n_max, int n_have)
{
    struct engine_reader *reader = &e->reader;

    if (!e->spill || reader->seq || seq->owner > engine_disk_owner_max)
        return false;
    reader->n_tok = spill_find(e->spill, (uint32_t)seq->owner, seq->ids, n_max, &reader->id);
    if (reader->n_tok < n_have + PREFIX_MIN_TOK)
        return false;
    reader->seq = seq;
    reader->until_ns = clock_now_ns() + ENGINE_READ_MS * 1000000ull;
    seq->waits = true;
    seq->last_mark = reader->n_tok;
    engine_take_pages(e, seq, reader->n_tok);
    spill_read_begin(e->spill, reader->id, seq->ids, seq->slot, engine_table(e, seq));
    return true;
}

void engine_disk_drop(struct engine *e, const struct seq *seq)
{
    if (e->reader.seq != seq)
        return;
    spill_read_drop(e->spill);
    e->reader.seq = NULL;
}

/* Slices for half as long as a step of the others takes, at least one: they go on at two thirds of their
 * pace. */
static int engine_disk_read_slices(struct engine *e)
{
    const uint64_t now = clock_now_ns(), end = now + (uint64_t)(e->sched.cost.step_ns / 2);
    int r;

    if (now >= e->reader.until_ns)
        return SPILL_E_BAD;
    do
        r = spill_read_more(e->spill);
    while (r == SPILL_E_AGAIN && clock_now_ns() < end);
    return r;
}

static int engine_disk_read(struct engine *e)
{
    struct seq *seq = e->reader.seq;
    int r = engine_disk_read_slices(e);

    if (r == SPILL_E_AGAIN)
        return 0;
    engine_disk_drop(e, seq);
    seq->waits = false;
    if (!r) {
        seq->n_read = seq->n_cached = e->reader.n_tok;
        r = engine_cache_keep(e, seq, e->reader.id);
    } else if (r > 0) {
        engine_drop_pages(e, seq);
        r = engine_cache_begin_again(e, seq, e->reader.n_tok);
    }
    return r ? r : engine_put_started(e, seq);
}

/* writing */

static bool engine_disk_is_same(const struct engine *e)
{
    const struct prefix_node *node = &e->prefix->nodes[e->saver.node];

    return node->parent && node->ckpt >= 0 && node->made == e->saver.made;
}

static void engine_disk_pick(struct engine *e, int min_tok, uint64_t keep_from)
{
    struct engine_saver *saver = &e->saver;
    const int i = prefix_find_unsaved(e->prefix, engine_disk_owner_max, min_tok);
    struct prefix_node *node = &e->prefix->nodes[i];
    int r;

    if (!i) {
        saver->is_done = true;
        return;
    }
    prefix_copy_path(e->prefix, i, saver->ids, saver->pages);
    r = spill_write_begin(e->spill, (uint32_t)e->prefix->scopes[node->scope].owner, saver->ids, node->pos,
                          keep_from, &saver->id);
    node->file = r == SPILL_E_HAVE ? saver->id : r == SPILL_E_FULL ? engine_disk_no_file : 0;
    saver->is_done = r == SPILL_E_OFF;
    if (r)
        return;
    saver->node = i;
    saver->made = node->made;
}

/* A slice of the checkpoint that is being written, or the choice of the next one. */
static int engine_disk_write(struct engine *e, int min_tok, uint64_t keep_from)
{
    struct engine_saver *saver = &e->saver;
    struct prefix_node *node = &e->prefix->nodes[saver->node];
    int r;

    if (!saver->node) {
        engine_disk_pick(e, min_tok, keep_from);
        return 0;
    }
    if (!engine_disk_is_same(e)) { /* memory has given it up */
        spill_write_drop(e->spill);
        saver->node = 0;
        return 0;
    }
    prefix_copy_path(e->prefix, saver->node, saver->ids,
                     saver->pages); /* the tree may have other pages by now */
    r = spill_write_more(e->spill, node->ckpt, saver->pages);
    if (r == SPILL_E_AGAIN)
        return 0;
    saver->node = 0;
    if (!r)
        node->file = saver->id;
    saver->is_done = r != 0;
    return MIN(r, 0);
}

/* turns */

void engine_disk_rest(struct engine *e, uint64_t now_ns)
{
    e->saver.rest_ns = now_ns + ENGINE_REST_MS * 1000000ull;
}

int engine_disk_wait_ms(const struct engine *e)
{
    uint64_t now;

    if (e->reader.seq)
        return 0;
    if (engine_warm_is_due(e))
        return 0;
    if (!e->spill || e->saver.is_done)
        return -1;
    now = clock_now_ns();
    return now < e->saver.rest_ns ? (int)((e->saver.rest_ns - now) / 1000000) + 1 : 0;
}

int engine_disk_turn(struct engine *e)
{
    uint64_t now;
    int r;

    if (e->reader.seq)
        return engine_disk_read(e);
    if (engine_warm_is_due(e)) {
        r = engine_warm_turn(e);
        return r || !e->warmer.is_done ? r : engine_put_beat(e, clock_now_ns());
    }
    engine_warm_drop(e);
    if (!e->spill || e->saver.is_done || engine_has_work(e))
        return 0;
    now = clock_now_ns();
    if (now < e->saver.rest_ns)
        return 0;
    r = engine_disk_write(e, ENGINE_SAVE_TOK, UINT64_MAX);
    return r || !e->saver.is_done ? r : engine_put_beat(e, now);
}

void engine_disk_stop(struct engine *e)
{
    const uint64_t until_ns = clock_now_ns() + ENGINE_STOP_MS * 1000000ull;
    uint64_t first;
    int r = 0;

    if (!e->spill || !spill_writes(e->spill))
        return;
    engine_warm_drop(e);
    first = spill_next_id(e->spill); /* what is written now must not make room for what is worth less */
    for (e->saver.is_done = false; !e->saver.is_done && !r && clock_now_ns() < until_ns;)
        r = engine_disk_write(e, PREFIX_MIN_TOK, first);
    if (r < 0)
        log_errno(r, "cache folder: the end was not written");
    else
        log_info("cache folder: %llu MiB in it at the end%s",
                 (unsigned long long)(spill_used_bytes(e->spill) >> 20),
                 e->saver.is_done ? "" : "; no time was left for all");
}
