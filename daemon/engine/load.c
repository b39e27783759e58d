/* load.c - from Start to Ready: opens the file, the backend, the model, and takes all memory that steps will
 * need. See engine.h. */
#include "engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"
#include "fim.h"
#include "keep.h"
#include "memory.h"
#include "place.h"

/* What a request may use where nobody said: enough for long documents, little enough that four of them fit
 * beside a 9B on a 16 GB machine (1 GiB of KV each in f16). */
enum {
    ENGINE_CONTEXT_DEFAULT = 32768,
    ENGINE_CONTEXT_MIN = 256,
    ENGINE_SLOTS_DEFAULT = 4,
    ENGINE_SLOTS_MAX = SCHED_ITEMS_MAX
};

/* Of the prefix cache, where nobody said how big.  Eight GiB are 100 chats of 4,000 tokens of a 9B; of a tiny
 * model they would be more than anyone can look through. */
enum {
    ENGINE_CACHE_MIB_MAX = 8192,
    ENGINE_CACHE_MIB_USE = 512,
    ENGINE_CKPTS_MAX = 1024,
    ENGINE_CACHE_FILLS = 4
};

struct engine_load {
    struct engine *e;
    const Qwe__Start *start;
    struct gguf *gguf;
    struct keep keep;
    struct weights_fds fds; /* owned; the weights of an earlier engine */
    struct place place;
    enum kern_kv_type kv_type;
    bool adopted; /* they are this one's */
    struct fault fault;
    char note[ENGINE_TEXT_BYTES];   /* why they are not; empty: there were none, or they are */
    char passed[ENGINE_TEXT_BYTES]; /* why "auto" took the CPU */
    uint32_t permille;              /* last said */
    int cache_pages;
    char tight[200]; /* warning: what was asked for may not fit; empty: it does */
};

static int engine_put_failed(struct engine *e, const struct fault *fault)
{
    Qwe__Failed failed = QWE__FAILED__INIT;
    char text[ENGINE_TEXT_BYTES];
    int r;

    failed.has_code = 1;
    failed.code = (uint32_t)fault->code;
    failed.text = engine_clean_text(fault->text, text);
    r = uplink_put(&e->up, 0, MSG_E_FAILED, &failed.base);
    return r ? r : ENGINE_E_ENDS;
}

/* Called for each piece of the file; a broker that has gone is noticed after the load. */
static void engine_on_progress(void *user, uint64_t done_bytes, uint64_t all_bytes)
{
    struct engine_load *load = user;
    const uint32_t permille = all_bytes ? (uint32_t)(1000 * done_bytes / all_bytes) : 1000;
    Qwe__Loading loading = QWE__LOADING__INIT;

    if (permille == load->permille)
        return;
    load->permille = permille;
    loading.has_permille = 1;
    loading.permille = permille;
    if (!uplink_put(&load->e->up, 0, MSG_E_LOADING, &loading.base))
        sock_flush(&load->e->up.sock);
}

static const struct {
    const char *name;
    enum kern_kv_type type;
    int value_bits; /* q8_0: 8 bits and a 16-bit scale per 32 */
} engine_kv_types[] = {{"f16", KERN_KV_F16, 16}, {"f32", KERN_KV_F32, 32}, {"q8_0", KERN_KV_Q8_0, 9}};

static int engine_load_kv(struct engine_load *load, const char **ret_name)
{
    const char *wanted = load->start->kv_type && *load->start->kv_type ? load->start->kv_type : "f16";

    for (size_t i = 0; i < ARRAY_SIZE(engine_kv_types); i++) {
        if (strcmp(engine_kv_types[i].name, wanted))
            continue;
        *ret_name = engine_kv_types[i].name;
        load->kv_type = engine_kv_types[i].type;
        return 0;
    }
    return fault_set(&load->fault, STATUS_INVALID, "kv type '%s', should be f16, f32 or q8_0", wanted);
}

/* Faults of the file name the place in it; a person wants to know which file. */
static int engine_load_name_file(struct engine_load *load, int r)
{
    char text[sizeof(load->fault.text)];

    if (r <= 0)
        return r;
    memcpy(text, load->fault.text, sizeof(text));
    return fault_set(&load->fault, r, "%s: %s", load->start->model_path, text);
}

/* What Start brought cannot be used: the broker lets go of it before memory has to hold the next. */
static int engine_load_reject(struct engine_load *load, const struct fault *why)
{
    Qwe__Weights none = QWE__WEIGHTS__INIT;
    char text[ENGINE_TEXT_BYTES];
    int r;

    closep(&load->fds.all);
    closep(&load->fds.host);
    snprintf(text, sizeof(text), "weights loaded anew: %.470s", why->text);
    engine_clean_text(text, load->note);
    log_warn("%s", load->note);
    r = uplink_put(&load->e->up, 0, MSG_E_WEIGHTS, &none.base);
    if (!r)
        (void)sock_flush(&load->e->up.sock);
    return r;
}

/* What sequences will take of the device, and the cache if its size was given.  Where no context was named,
 * the usual one should fit, in the three quarters that engine_load_context() lets it have. */
static uint64_t engine_load_need_bytes(const struct engine_load *load, const struct model *model)
{
    const Qwe__Start *start = load->start;
    const uint32_t trained = (uint32_t)model->config.context_trained;
    const int n_slots =
        start->slots ? (int)MIN(start->slots, (uint32_t)ENGINE_SLOTS_MAX) : ENGINE_SLOTS_DEFAULT;
    const struct state_size size = {
        .n_slots = n_slots,
        .max_ctx = (int)MIN(start->context ? start->context : (uint32_t)ENGINE_CONTEXT_DEFAULT, trained),
        .max_tok = SCHED_PIECE_MAX + n_slots,
        .max_rows = n_slots,
        .kv_type = load->kv_type};
    const uint64_t bytes = state_bytes(model, &size);

    return (start->context ? bytes : bytes / 3 * 4) + ((uint64_t)start->cache_mib << 20);
}

static int engine_load_place(struct engine_load *load)
{
    const Qwe__Weights *kept = load->start->weights;
    struct kern *kern = load->e->kern;
    struct place *place = &load->place;
    struct model model = {0}; /* configuration only */
    int r;

    *place = (struct place){.wanted = load->start->embedding};
    if (!kern->ops->free_bytes)
        return 0; /* there is but one memory */
    r = config_read(load->gguf, &load->fault, &model.config);
    if (!r)
        r = weights_measure(load->gguf, &model.config, kern, &load->fault, &place->size);
    if (r)
        return r;
    place->need_bytes = engine_load_need_bytes(load, &model);
    place->free_bytes = kern->ops->free_bytes(kern);
    if (load->fds.all >= 0 && kept && keep_is_of(kept, kern))
        place->free_bytes += kept->bytes;
    place->main_bytes = memory_available_bytes(0);
    place->host_copies = kern->host_copies;
    place->no_host = kern->no_host;
    return place_choose(place, &load->fault);
}

/* The driver may not pin so much: then an engine before this one had no choice, nor will this one. */
static bool engine_load_can_pin(const struct engine_load *load)
{
    struct kern *kern = load->e->kern;
    struct kern_mem mem = {.fd = -1};
    int r = kern->ops->mem_alloc(kern, load->place.size.table_bytes, KERN_MEM_HOST, &mem);

    if (!r)
        r = kern->ops->mem_seal(kern, &mem);
    kern->ops->mem_free(kern, &mem);
    *kern->trouble = '\0'; /* it was a question */
    return !r;
}

/* Whether they have the table of embeddings where it is to be.  In main memory it does no harm, also if it
 * would fit on the device by now. */
static int engine_load_compare_place(const struct engine_load *load, struct fault *why)
{
    const struct place *place = &load->place;
    const bool apart = load->start->weights->host_bytes;
    char numbers[200];

    if (apart != (load->fds.host >= 0))
        return fault_set(why, KEEP_E_DIFFERS, "the part in main memory %s",
                         apart ? "did not come with them" : "is not theirs");
    if (apart
            ? place_is_auto(place) || place->table == WEIGHTS_TABLE_HOST
            : place->table == WEIGHTS_TABLE_WITH_ALL || (place_is_auto(place) && !engine_load_can_pin(load)))
        return KEEP_OK;
    place_describe(place, numbers, sizeof(numbers));
    return fault_set(why, KEEP_E_DIFFERS, "their table of embeddings is to be %s%s",
                     apart ? "on the device" : "in main memory", numbers);
}

/* > 0: not to be had, and said so. */
static int engine_load_adopt(struct engine_load *load)
{
    const Qwe__Weights *kept = load->start->weights;
    struct fault why = {0};
    int r = keep_compare(kept, &load->keep, &why);

    if (!r)
        r = engine_load_compare_place(load, &why);
    if (!r) {
        const struct weights_fds fds = {steal_fd(&load->fds.all), steal_fd(&load->fds.host)};

        r = model_adopt(load->gguf, load->start->model_path, load->e->kern, fds, kept->model_digest.data,
                        &why, &load->e->model);
    }
    load->adopted = !r;
    if (r <= 0)
        return r;
    r = engine_load_reject(load, &why);
    return r ? r : KEEP_E_DIFFERS;
}

/* If the device's main memory is not to be had after all, then the device's own, unless that is not wanted.
 */
static int engine_load_tensors(struct engine_load *load)
{
    const char *const path = load->start->model_path;
    struct engine *e = load->e;
    char text[ENGINE_TEXT_BYTES];
    int r = model_open(load->gguf, path, e->kern, load->place.table, engine_on_progress, load, &load->fault,
                       &e->model);

    if (r != MODEL_E_HOST || !place_is_auto(&load->place))
        return r;
    snprintf(text, sizeof(text), "the table of embeddings goes on the device: %.440s", load->fault.text);
    engine_clean_text(text, load->note);
    log_warn("%s", load->note);
    load->place.table = WEIGHTS_TABLE_WITH_ALL;
    return model_open(load->gguf, path, e->kern, load->place.table, engine_on_progress, load, &load->fault,
                      &e->model);
}

/* A device that what was planned does not fit on says by how much. */
static int engine_load_add_numbers(struct engine_load *load, int r)
{
    char text[sizeof(load->fault.text)], numbers[200];

    if (r != MODEL_E_MEMORY || !load->e->kern->ops->free_bytes)
        return r;
    memcpy(text, load->fault.text, sizeof(text));
    place_describe(&load->place, numbers, sizeof(numbers));
    return fault_set(&load->fault, r, "%.250s%s", text, numbers);
}

static int engine_load_weights(struct engine_load *load)
{
    struct engine *e = load->e;
    int r = keep_describe(load->gguf, load->start->model_path, e->kern, &load->keep);

    if (!r)
        r = engine_load_place(load);
    if (r)
        return r;
    if (load->fds.all >= 0 && load->start->weights) {
        r = engine_load_adopt(load);
        if (r <= 0)
            return r;
    }
    return engine_load_add_numbers(load, engine_load_tensors(load));
}

/* Weights that were loaded are for the next engine too, if the backend has them where it can map them. */
static int engine_put_weights(struct engine_load *load)
{
    const struct model *m = load->e->model;
    Qwe__Weights *msg = &load->keep.msg, part = QWE__WEIGHTS__INIT;
    int r = 0;

    if (load->adopted || m->weights.mem.fd < 0)
        return 0;
    msg->has_host_bytes = part.has_host_bytes = m->weights.host.base != NULL;
    msg->host_bytes = part.host_bytes = m->weights.host.bytes;
    if (part.has_host_bytes)
        r = uplink_put_fd(&load->e->up, 0, MSG_E_WEIGHTS, &part.base, m->weights.host.fd);
    if (r)
        return r;
    msg->has_bytes = msg->has_model_digest = 1;
    msg->bytes = m->weights.mem.bytes;
    msg->model_digest = (ProtobufCBinaryData){.data = (uint8_t *)m->digest, .len = sizeof(m->digest)};
    return uplink_put_fd(&load->e->up, 0, MSG_E_WEIGHTS, &msg->base, m->weights.mem.fd);
}

static bool engine_load_is_auto(const Qwe__Start *start)
{
    return !start->backend || !*start->backend || !strcmp(start->backend, "auto");
}

/* Why "auto" took the CPU, if it did. */
static void engine_load_passed(struct engine_load *load)
{
    char text[ENGINE_TEXT_BYTES];

    if (!engine_load_is_auto(load->start) || strcmp(load->e->kern->ops->name, "cpu") != 0)
        return;
    snprintf(text, sizeof(text), "backend auto: %.400s; the CPU serves",
             load->fault.text[0] ? load->fault.text : "this build has none for a GPU");
    engine_clean_text(text, load->passed);
}

static int engine_load_backend(struct engine_load *load, const char *name)
{
    const Qwe__Start *start = load->start;
    const struct kern_options options = {
        .backend = name,
        .isa = start->isa && *start->isa ? start->isa : NULL,
        .n_threads = (int)MIN(start->threads, 4096u),
    };

    return kern_open(&options, &load->fault, &load->e->kern);
}

/* The weights do not fit: with "auto", main memory may hold them. */
static int engine_load_retreat(struct engine_load *load)
{
    const struct fault why = load->fault;
    int r;

    if (!engine_load_is_auto(load->start) || !strcmp(load->e->kern->ops->name, "cpu"))
        return MODEL_E_MEMORY;
    log_warn("%s: the CPU takes over", why.text);
    load->e->kern = kern_free(load->e->kern);
    r = engine_load_backend(load, "cpu");
    if (r)
        return r;
    load->fault = why;
    engine_load_passed(load);
    return engine_load_weights(load);
}

/* All but the backend comes from the file. */
static int engine_load_file(struct engine_load *load)
{
    struct engine *e = load->e;
    int r = tokenizer_new(load->gguf, &load->fault, &e->tokenizer);

    if (!r)
        r = engine_load_weights(load);
    if (r == MODEL_E_MEMORY)
        r = engine_load_retreat(load);
    if (r)
        return r;
    e->n_vocab = e->model->config.n_vocab;
    if (tokenizer_n_vocab(e->tokenizer) != e->n_vocab)
        return fault_set(&load->fault, STATUS_INVALID,
                         "the vocabulary has %d tokens, token_embd.weight has %d rows",
                         tokenizer_n_vocab(e->tokenizer), e->n_vocab);
    return 0;
}

static int engine_load_model(struct engine_load *load)
{
    const Qwe__Start *start = load->start;
    int r;

    if (!start->model_path || !*start->model_path)
        return fault_set(&load->fault, STATUS_INVALID, "no model was named");
    r = gguf_open(start->model_path, &load->fault, &load->gguf);
    if (r)
        return engine_load_name_file(load, r);
    r = engine_load_backend(load, engine_load_is_auto(start) ? "auto" : start->backend);
    if (!r)
        engine_load_passed(load);
    return r ? r : engine_load_name_file(load, engine_load_file(load));
}

/* For states: on the device, or in this machine beside the weights. */
static uint64_t engine_load_free_bytes(const struct engine_load *load)
{
    struct kern *kern = load->e->kern;

    return kern->ops->free_bytes ? kern->ops->free_bytes(kern)
                                 : memory_available_bytes(load->e->model->weights.mem.bytes);
}

/* Context from what was asked, what the model was trained for and, where nothing was asked, what is free:
 * state memory may take three quarters of it. */
static int engine_load_context(struct engine_load *load, struct state_size *size)
{
    const uint32_t trained = (uint32_t)load->e->model->config.context_trained, asked = load->start->context;
    const uint64_t free_bytes = engine_load_free_bytes(load);

    if (asked > trained)
        return fault_set(&load->fault, STATUS_INVALID,
                         "context %u was asked for, the model was trained for %u", asked, trained);
    if (asked && asked < 2)
        return fault_set(&load->fault, STATUS_INVALID, "context %u leaves no room for an answer", asked);
    size->max_ctx = (int)(asked ? asked : MIN(trained, (uint32_t)ENGINE_CONTEXT_DEFAULT));
    while (!asked && size->max_ctx > ENGINE_CONTEXT_MIN &&
           state_bytes(load->e->model, size) > free_bytes / 4 * 3)
        size->max_ctx /= 2;
    return 0;
}

static uint64_t engine_load_cache_of_use(const struct engine_load *load, const struct state_size *size)
{
    const struct model *m = load->e->model;
    const uint64_t n_pages = (uint64_t)CEIL_DIV(size->max_ctx, KERN_PAGE_TOK);

    return MAX((uint64_t)ENGINE_CACHE_MIB_USE << 20,
               ENGINE_CACHE_FILLS * (uint64_t)size->n_slots *
                   (n_pages * state_page_bytes(m, size->kv_type) + state_slot_bytes(m)));
}

/* A quarter of the memory that is free, half of what the sequences' state leaves of it, and not more than
 * four times what all slots can fill: beyond that it is past conversations that nobody comes back to.  Few
 * small slots serve many users none the less, so this never leaves less than ENGINE_CACHE_MIB_USE. */
static uint64_t engine_load_cache_share(const struct engine_load *load, const struct state_size *size)
{
    const uint64_t free_bytes = engine_load_free_bytes(load);
    const uint64_t need_bytes = state_bytes(load->e->model, size);
    const uint64_t left_bytes = free_bytes > need_bytes ? free_bytes - need_bytes : 0;

    return MIN(MIN(free_bytes / 4, left_bytes / 2),
               MIN(engine_load_cache_of_use(load, size), (uint64_t)ENGINE_CACHE_MIB_MAX << 20));
}

static uint64_t engine_load_cache_bytes(const struct engine_load *load, const struct state_size *size)
{
    return (uint64_t)size->n_ckpts * state_slot_bytes(load->e->model) +
           (uint64_t)load->cache_pages * state_page_bytes(load->e->model, size->kv_type);
}

/* Half for checkpoints, half for pages: of a 9B, one checkpoint to 1,600 tokens. */
static int engine_load_cache(struct engine_load *load, struct state_size *size)
{
    const bool asked = load->start->has_cache_mib;
    const uint64_t bytes =
        asked ? (uint64_t)load->start->cache_mib << 20 : engine_load_cache_share(load, size);
    const uint64_t ckpt_bytes = state_slot_bytes(load->e->model),
                   page_bytes = state_page_bytes(load->e->model, size->kv_type);
    const int n_ckpts = (int)MIN(bytes / 2 / ckpt_bytes, (uint64_t)ENGINE_CKPTS_MAX);
    const int slot_pages = CEIL_DIV(size->max_ctx, KERN_PAGE_TOK);
    uint64_t n_pages = MIN((bytes - (uint64_t)n_ckpts * ckpt_bytes) / page_bytes,
                           (uint64_t)n_ckpts * (uint64_t)slot_pages); /* no checkpoint can have more */

    size->n_pages = size->n_slots * slot_pages;
    if (n_ckpts && n_pages) {
        n_pages = MIN(n_pages, (uint64_t)(INT32_MAX / 2));
        size->n_ckpts = n_ckpts;
        load->cache_pages = (int)n_pages;
        size->n_pages += load->cache_pages;
    } else if (asked && bytes) {
        return fault_set(
            &load->fault, STATUS_INVALID,
            "a cache of %u MiB was asked for; with checkpoints of %llu KiB and pages of %llu KiB "
            "at least %llu MiB are needed (0: no cache)",
            load->start->cache_mib, (unsigned long long)(ckpt_bytes >> 10),
            (unsigned long long)(page_bytes >> 10),
            (unsigned long long)CEIL_DIV(2 * MAX(ckpt_bytes, page_bytes), 1ull << 20));
    }
    return 0;
}

/* Memory is taken page by page: nothing fails until requests use it. */
static void engine_load_warn(struct engine_load *load, const struct state_size *size)
{
    const uint64_t free_bytes = engine_load_free_bytes(load);
    const uint64_t need_bytes = state_bytes(load->e->model, size);

    if (need_bytes <= free_bytes)
        return;
    snprintf(
        load->tight, sizeof(load->tight),
        "%d requests of %d tokens and a cache of %llu MiB may need %llu MiB, %llu MiB are available: the "
        "engine may run out of memory",
        size->n_slots, size->max_ctx, (unsigned long long)(engine_load_cache_bytes(load, size) >> 20),
        (unsigned long long)(need_bytes >> 20), (unsigned long long)(free_bytes >> 20));
}

static int engine_load_state(struct engine_load *load, struct state_size *size)
{
    const uint32_t asked = load->start->slots;
    struct engine *e = load->e;
    int r;

    if (asked > ENGINE_SLOTS_MAX)
        return fault_set(&load->fault, STATUS_INVALID, "%u slots were asked for, at most %d are possible",
                         asked, ENGINE_SLOTS_MAX);
    e->n_slots = asked ? (int)asked : ENGINE_SLOTS_DEFAULT;
    e->max_tok = SCHED_PIECE_MAX + e->n_slots;
    *size = (struct state_size){
        .n_slots = e->n_slots, .max_tok = e->max_tok, .max_rows = e->n_slots, .kv_type = load->kv_type};
    e->sched.cut_tok = e->kern->cut_tok;
    e->sched.again_tok = e->kern->again_tok;
    r = engine_load_context(load, size);
    if (!r)
        r = engine_load_cache(load, size);
    if (r)
        return r;
    engine_load_warn(load, size);
    r = engine_load_add_numbers(load, state_new(e->model, size, &load->fault, &e->state));
    e->context = size->max_ctx;
    return r;
}

/* Ids that are never chosen, ids that end an answer. */
static void engine_load_tables(struct engine *e)
{
    for (int id = 0; id < e->n_vocab; id++) {
        e->banned[id] = tokenizer_is_unused(e->tokenizer, id);
        e->stops_at[id] = e->stops_fim[id] = tokenizer_is_stop(e->tokenizer, id);
    }
    fim_mark_stops(e->tokenizer, e->stops_fim);
    e->max_raw = pieces_max_raw(e->tokenizer);
}

static int engine_load_prefix(struct engine_load *load, const struct state_size *size)
{
    struct engine *e = load->e;
    const struct prefix_size prefix = {
        .n_ckpts = size->n_ckpts,
        .n_pages = load->cache_pages,
        .ckpt_bytes = state_slot_bytes(e->model),
        .page_bytes = state_page_bytes(e->model, size->kv_type),
    };
    int r = pages_init(&e->pages, state_n_pages(e->state));

    return r || !prefix.n_ckpts ? r : prefix_new(&e->pages, &prefix, &e->prefix);
}

static int engine_load_scratch(struct engine *e)
{
    const size_t n_slots = (size_t)e->n_slots, n_vocab = (size_t)e->n_vocab;

    e->pages_per_slot = CEIL_DIV(e->context, KERN_PAGE_TOK);
    e->banned = calloc(n_vocab, sizeof(*e->banned));
    e->stops_at = calloc(n_vocab, sizeof(*e->stops_at));
    e->stops_fim = calloc(n_vocab, sizeof(*e->stops_fim));
    e->tables = calloc(n_slots * (size_t)e->pages_per_slot, sizeof(*e->tables));
    e->seqs = calloc(n_slots, sizeof(struct seq *));
    e->items = calloc(n_slots, sizeof(*e->items));
    e->picks = calloc(n_slots, sizeof(*e->picks));
    e->item_slots = calloc(n_slots, sizeof(*e->item_slots));
    e->spans = calloc(n_slots, sizeof(*e->spans));
    e->ids = calloc((size_t)e->max_tok, sizeof(*e->ids));
    e->rows = calloc(n_slots, sizeof(*e->rows));
    e->asked = calloc(n_slots, sizeof(*e->asked));
    if (e->kern->ops->top)
        e->tops = calloc(n_slots, sizeof(*e->tops));
    e->logits = calloc((e->kern->ops->top ? 1 : n_slots) * n_vocab, sizeof(*e->logits));
    if (!e->banned || !e->stops_at || !e->stops_fim || !e->tables || !e->seqs || !e->items || !e->picks ||
        !e->item_slots || !e->spans || !e->ids || !e->rows || !e->asked || !e->logits ||
        (e->kern->ops->top && !e->tops))
        return err_origin(-ENOMEM);
    engine_load_tables(e);
    return sampler_new(e->n_vocab, &e->sampler);
}

static void engine_ready_model(const struct engine *e, Qwp__Model *model)
{
    const struct model *m = e->model;

    model->name = (char *)m->name;
    model->architecture = "qwen35";
    model->file = (char *)m->file;
    model->quantisation = (char *)m->weights.types;
    model->numerics_id = e->kern->numerics_id;
    model->has_file_bytes = model->has_n_params = model->has_n_vocab = model->has_n_layers = 1;
    model->has_context_trained = model->has_digest = 1;
    model->file_bytes = m->file_bytes;
    model->n_params = m->weights.n_params;
    model->n_vocab = (uint32_t)e->n_vocab;
    model->n_layers = (uint32_t)m->config.n_layers;
    model->context_trained = (uint32_t)m->config.context_trained;
    model->digest = (ProtobufCBinaryData){.data = (uint8_t *)m->digest, .len = sizeof(m->digest)};
}

/* What a person should know of how it was loaded, in one line. */
static char *engine_ready_note(struct engine_load *load)
{
    if (load->note[0])
        return load->note;
    return load->passed[0] ? load->passed : NULL;
}

static int engine_put_ready(struct engine_load *load, const struct state_size *size, const char *kv_name)
{
    struct engine *e = load->e;
    Qwe__Ready ready = QWE__READY__INIT;
    Qwp__Model model = QWP__MODEL__INIT;
    char *warnings[2];

    engine_ready_model(e, &model);
    ready.model = &model;
    ready.backend = (char *)e->kern->ops->name;
    ready.note = engine_ready_note(load);
    ready.has_weights_adopted = 1;
    ready.weights_adopted = load->adopted;
    ready.isa = e->kern->isa;
    ready.kv_type = (char *)kv_name;
    ready.has_context = ready.has_slots = ready.has_threads = ready.has_weights_bytes =
        ready.has_state_bytes = 1;
    ready.has_weights_locked = 1;
    ready.context = (uint32_t)e->context;
    ready.slots = (uint32_t)e->n_slots;
    ready.threads = (uint32_t)e->kern->n_threads;
    ready.has_weights_host_bytes = e->model->weights.host.base != NULL;
    ready.weights_host_bytes = e->model->weights.host.bytes;
    ready.weights_bytes = e->model->weights.mem.bytes + ready.weights_host_bytes;
    ready.has_cache_bytes = ready.has_cache_pages = ready.has_cache_checkpoints = 1;
    ready.cache_bytes = engine_load_cache_bytes(load, size);
    ready.cache_pages = (uint32_t)load->cache_pages;
    ready.cache_checkpoints = (uint32_t)size->n_ckpts;
    ready.state_bytes = state_bytes(e->model, size) - ready.cache_bytes;
    ready.has_cache_dir_bytes = ready.has_cache_dir_used_bytes = e->spill != NULL;
    if (e->spill) {
        ready.cache_dir_bytes = spill_max_bytes(e->spill);
        ready.cache_dir_used_bytes = e->beat_disk_bytes = spill_used_bytes(e->spill);
    }
    ready.weights_locked = e->model->weights.mem.locked;
    ready.warnings = warnings;
    if (!ready.weights_locked)
        warnings[ready.n_warnings++] =
            "the weights are not locked in memory (LimitMEMLOCK): they may be swapped out";
    if (load->tight[0])
        warnings[ready.n_warnings++] = load->tight;
    return uplink_put(&e->up, 0, MSG_E_READY, &ready.base);
}

/* Nothing of this is the fault of a client: each of its requests is answered with the code.  r may be any
 * module's own number, and those of gguf.h and kernels.h are also uplink.h's: it says nothing of the broker,
 * whose end is noticed when the answer is written. */
static int engine_load_failed(struct engine_load *load, int r)
{
    if (r < 0)
        fault_set(&load->fault, 0, "%s: %s", load->start->model_path, strerror(-r));
    load->fault.code = r == MODEL_E_MEMORY || r == -ENOMEM ? STATUS_OOM
                       : r == STATUS_NUMERICS              ? r
                                                           : STATUS_INTERNAL;
    if (r < 0)
        log_err("%s (%s); giving up", load->fault.text, err_place());
    else
        log_err("%s; giving up", load->fault.text);
    return engine_put_failed(load->e, &load->fault);
}

int engine_load(struct engine *e, const Qwe__Start *start, int fd)
{
    struct engine_load load = {.e = e, .start = start, .fds = {fd, steal_fd(&e->part_fd)}};
    struct state_size size;
    const char *kv_name = NULL;
    int r = engine_load_kv(&load, &kv_name);

    if (!r)
        r = engine_load_model(&load);
    gguf_free(load.gguf); /* the model and the tokenizer copied what they need */
    closep(&load.fds.all);
    closep(&load.fds.host);
    if (!r)
        r = engine_load_state(&load, &size);
    if (!r)
        r = engine_load_scratch(e);
    if (!r)
        r = engine_load_prefix(&load, &size);
    if (!r)
        r = engine_disk_open(e, start, kv_name);
    if (!r)
        r = ahead_init(&e->ahead, e->model, e->state);
    if (!r)
        r = engine_selftest(e, &load.fault);
    if (r)
        return engine_load_failed(&load, r);
    r = engine_put_weights(&load);
    if (r)
        return r;
    e->serving = true;
    return engine_put_ready(&load, &size, kv_name);
}
