/* publish.c - beginnings that the administrator publishes: read once, while nothing else runs, for everybody.
 *
 * Each is a scope of the prefix cache of its own (prefix.h).  One is read at a time, by a sequence without a
 * client, in a slot that is free; it stands still as soon as anything else runs, and gives the slot up, but
 * not what it has read, when a request needs it. */
#include "engine.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"
#include "public_text.h"

static uint64_t engine_public_owner(const struct engine *e, const struct engine_public *item)
{
    return PREFIX_PUBLIC + (uint64_t)(item - e->publics);
}

static struct engine_public *engine_public_find(struct engine *e, uint32_t handle)
{
    for (int i = 0; i < ENGINE_PUBLICS_MAX; i++)
        if (e->publics[i].handle == handle)
            return &e->publics[i];
    return NULL;
}

static int engine_put_published(struct engine *e, uint32_t handle, uint32_t n_tok, const struct fault *fault)
{
    Qwe__Published published = QWE__PUBLISHED__INIT;
    char text[ENGINE_TEXT_BYTES];

    published.has_tokens = 1;
    published.tokens = n_tok;
    published.has_code = fault != NULL;
    if (fault) {
        published.code = (uint32_t)fault->code;
        published.text = engine_clean_text(fault->text, text);
    }
    return uplink_put(&e->up, handle, MSG_E_PUBLISHED, &published.base);
}

/* Nothing of it stays. */
static void engine_public_drop(struct engine *e, struct engine_public *item)
{
    if (e->publishing.item == item) {
        if (e->publishing.seq)
            engine_drop_seq(e, e->publishing.seq->slot);
        engine_publish_close(e);
    }
    if (e->prefix)
        prefix_drop_public(e->prefix, engine_public_owner(e, item));
    *item = (struct engine_public){};
}

static int engine_public_refuse(struct engine *e, struct engine_public *item, struct fault *fault, int code)
{
    const uint32_t handle = item->handle;

    log_warn("public prefix %s is not kept: %s", item->name, fault->text);
    engine_public_drop(e, item);
    fault->code = code;
    return engine_put_published(e, handle, 0, fault);
}

/* what may be kept */

/* Half of the cache is the users', whatever is published. */
static int engine_public_fits(const struct engine *e, int n_tok, struct fault *fault)
{
    const struct prefix *p = e->prefix;
    const int n_pages = CEIL_DIV(n_tok, KERN_PAGE_TOK), room = p->size.n_pages / 2 - p->n_public_pages;

    if (n_tok < PREFIX_MIN_TOK)
        return fault_set(fault, STATUS_INVALID, "it has %d tokens, fewer than %d are soon read", n_tok,
                         PREFIX_MIN_TOK);
    if (n_tok + 1 >= e->context)
        return fault_set(fault, STATUS_TOO_LONG, "it has %d tokens, a request's context is %d", n_tok,
                         e->context);
    if (n_pages > room)
        return fault_set(fault, STATUS_TOO_LONG,
                         "it has %d tokens, %d are left of the %d in half of the cache (cache_mib)", n_tok,
                         MAX(room, 0) * KERN_PAGE_TOK, p->size.n_pages / 2 * KERN_PAGE_TOK);
    if (prefix_n_public_ckpts(p) >= p->size.n_ckpts / 2)
        return fault_set(fault, STATUS_TOO_LONG,
                         "the cache has %d checkpoints (cache_mib), public ones may have half of them",
                         p->size.n_ckpts);
    return 0;
}

static int engine_public_read(const struct engine *e, int fd, struct fault *fault, struct token_ids *ret_ids)
{
    _cleanup_(freep) uint8_t *text = NULL;
    size_t n = 0;
    int r;

    if (!e->prefix)
        return fault_set(fault, STATUS_INVALID, "there is no prefix cache (cache_mib)");
    r = prompt_read_fd(fd, fault, &text, &n);
    if (r)
        return r;
    text[n] = '\0';
    r = public_encode(e->tokenizer, (const char *)text, n, fault, ret_ids);
    return r ? r : engine_public_fits(e, (int)ret_ids->n, fault);
}

int engine_publish(struct engine *e, uint32_t handle, const char *name, int fd)
{
    struct engine_public *item = engine_public_find(e, 0);

    if (!item || e->publishing.item || !handle || engine_public_find(e, handle) || fd < 0)
        return err_origin(-EBADMSG); /* the broker sends one at a time, and no more than there may be */
    e->publishing.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (e->publishing.fd < 0)
        return err_errno();
    item->handle = handle;
    snprintf(item->name, sizeof(item->name), "%s", name);
    e->publishing.item = item;
    return 0;
}

void engine_unpublish(struct engine *e, uint32_t handle)
{
    struct engine_public *item = engine_public_find(e, handle);

    if (handle && item) /* else it was refused while the frame was under way */
        engine_public_drop(e, item);
}

/* reading */

/* Its tokens and one more, which is never read: that one's logits nobody needs. */
static int engine_public_seq(struct engine *e, struct seq **ret_seq)
{
    struct token_ids *ids = &e->publishing.ids;
    struct seq_config config = {.max_tokens = 1,
                                .n_logprobs = -1,
                                .stops_at = e->stops_at,
                                .text = {.tokenizer = e->tokenizer, .max_raw = e->max_raw}};
    struct fault fault;
    int r = token_ids_push(ids, ids->id[0]);

    if (r)
        return r;
    config.prompt = ids->id;
    config.n_prompt = (int)ids->n;
    sample_params_default(&config.sampling, false);
    r = seq_new(&config, &fault, ret_seq);
    ids->n--;
    assert(r <= 0);
    return r;
}

/* Refused, it is no longer there. */
static int engine_public_encode(struct engine *e)
{
    struct engine_publishing *now = &e->publishing;
    struct fault fault = {0};
    int r = engine_public_read(e, now->fd, &fault, &now->ids);

    closep(&now->fd);
    if (r == -ENOMEM)
        r = fault_set(&fault, STATUS_OOM, "not enough memory to read it");
    return r > 0 ? engine_public_refuse(e, now->item, &fault, r) : r;
}

static int engine_public_free_slot(const struct engine *e)
{
    for (int i = e->n_slots - 1; i >= 0; i--)
        if (!e->seqs[i])
            return i;
    return -1;
}

static int engine_public_begin(struct engine *e)
{
    struct engine_publishing *now = &e->publishing;
    struct seq *seq;
    int r = engine_public_seq(e, &seq);

    if (r)
        return r;
    seq->slot = engine_public_free_slot(e);
    e->seqs[seq->slot] = now->seq = seq;
    seq->owner = engine_public_owner(e, now->item);
    seq->account = sched_join(&e->sched, seq->owner, 1);
    seq->band = SCHED_BAND_BATCH;
    seq->uses_cache = seq->yields = true;
    r = engine_cache_begin_again(e, seq, 0); /* where it had to give its slot up */
    seq->marks[0] = (int)now->ids.n;
    seq->n_marks = 1;
    return r;
}

static int engine_public_end(struct engine *e)
{
    struct engine_publishing *now = &e->publishing;
    struct engine_public *item = now->item;
    const int n_tok = (int)now->ids.n;
    struct fault fault = {0};

    engine_drop_seq(e, now->seq->slot);
    engine_publish_close(e);
    prefix_keep_only(e->prefix, engine_public_owner(e, item), n_tok);
    if (!prefix_has_owner(e->prefix, engine_public_owner(e, item))) {
        fault_set(&fault, STATUS_TOO_LONG, "its %d tokens found no room in the cache (cache_mib)", n_tok);
        return engine_public_refuse(e, item, &fault, STATUS_TOO_LONG);
    }
    item->n_tok = n_tok;
    log_info("public prefix %s: %d tokens are read", item->name, n_tok);
    return engine_put_published(e, item->handle, (uint32_t)n_tok, NULL);
}

static bool engine_public_is_read(const struct engine_publishing *now)
{
    return now->seq && now->seq->n_read == (int)now->ids.n;
}

bool engine_publish_is_due(const struct engine *e)
{
    const struct engine_publishing *now = &e->publishing;

    if (now->seq)
        return engine_public_is_read(now);
    return now->item && !e->reader.seq && !engine_has_work(e) && engine_public_free_slot(e) >= 0;
}

/* What begins may be there as a whole: it gave its slot up when its last piece had just been read. */
int engine_publish_turn(struct engine *e)
{
    struct engine_publishing *now = &e->publishing;
    int r = 0;

    if (!engine_publish_is_due(e))
        return 0;
    if (now->fd >= 0)
        r = engine_public_encode(e);
    if (!r && now->item && !now->seq)
        r = engine_public_begin(e);
    return !r && engine_public_is_read(now) ? engine_public_end(e) : r;
}

int engine_publish_yield(struct engine *e)
{
    struct seq *seq = e->publishing.seq;
    int r;

    if (!seq)
        return 0;
    r = engine_cache_on_preempt(e, seq);
    engine_drop_seq(e, seq->slot);
    e->publishing.seq = NULL;
    return r;
}

int engine_publish_distrust(struct engine *e, uint64_t owner)
{
    struct engine_public *item = &e->publics[owner - PREFIX_PUBLIC];
    struct fault fault = {0};

    if (!item->n_tok)
        return 0;
    fault_set(&fault, STATUS_NUMERICS, "the model gave no usable number behind it");
    return engine_public_refuse(e, item, &fault, STATUS_NUMERICS);
}

void engine_publish_close(struct engine *e)
{
    token_ids_deinit(&e->publishing.ids);
    closep(&e->publishing.fd);
    e->publishing = (struct engine_publishing){.fd = -1};
}
