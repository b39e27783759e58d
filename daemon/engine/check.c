/* check.c - whether a file could be loaded, without loading it: the answer to Check.  See engine.h.
 *
 * Another engine serves meanwhile, so this takes neither its device nor memory that matters: header,
 * vocabulary and the shape of every tensor are looked at, through the CPU's backend whatever is configured.
 * What only a load can tell (numbers that are none, a device without room) is left to the load. */
#include <stdio.h>
#include <string.h>

#include "daemon/util/log.h"
#include "engine.h"
#include "memory.h"

struct engine_check {
    const Qwe__Start *start;
    struct gguf *gguf;
    struct kern *kern;
    struct tokenizer *tokenizer;
    struct config config;
    struct weights_size size;
    struct fault fault;
};

static void engine_check_deinit(struct engine_check *c)
{
    tokenizer_free(c->tokenizer);
    kern_free(c->kern);
    gguf_free(c->gguf);
}

/* As the load would find it. */
static int engine_check_options(struct engine_check *c)
{
    const uint32_t asked = c->start->context, trained = (uint32_t)c->config.context_trained;

    if (asked > trained)
        return fault_set(&c->fault, STATUS_INVALID, "context %u is configured, the model was trained for %u",
                         asked, trained);
    if (tokenizer_n_vocab(c->tokenizer) != c->config.n_vocab)
        return fault_set(&c->fault, STATUS_INVALID,
                         "the vocabulary has %d tokens, token_embd.weight has %d rows",
                         tokenizer_n_vocab(c->tokenizer), c->config.n_vocab);
    return 0;
}

static int engine_check_file(struct engine_check *c)
{
    const struct kern_options options = {.backend = "cpu", .n_threads = 1};
    int r = config_read(c->gguf, &c->fault, &c->config);

    if (!r)
        r = tokenizer_new(c->gguf, &c->fault, &c->tokenizer);
    if (!r)
        r = kern_open(&options, &c->fault, &c->kern);
    if (!r)
        r = weights_measure(c->gguf, &c->config, c->kern, &c->fault, &c->size);
    return r ? r : engine_check_options(c);
}

static int engine_check_run(struct engine_check *c)
{
    int r;

    if (!c->start || !c->start->model_path || !*c->start->model_path)
        return fault_set(&c->fault, STATUS_INVALID, "no model was named");
    r = gguf_open(c->start->model_path, &c->fault, &c->gguf);
    return r ? r : engine_check_file(c);
}

static int engine_put_checked(struct engine *e, const struct engine_check *c, uint64_t held_bytes)
{
    Qwe__Checked checked = QWE__CHECKED__INIT;

    checked.has_weights_bytes = checked.has_free_bytes = checked.has_limit_bytes = 1;
    checked.weights_bytes = c->size.all_bytes;
    checked.free_bytes = memory_available_bytes(held_bytes);
    checked.limit_bytes = memory_limit_bytes(held_bytes);
    return uplink_put(&e->up, 0, MSG_E_CHECKED, &checked.base);
}

/* The broker names the file, and says what comes of it. */
static int engine_put_unfit(struct engine *e, struct engine_check *c, int r)
{
    Qwe__Failed failed = QWE__FAILED__INIT;
    char text[ENGINE_TEXT_BYTES];

    if (r < 0)
        fault_set(&c->fault, 0, "%s", strerror(-r));
    failed.has_code = 1;
    failed.code = r == -ENOMEM ? STATUS_OOM : STATUS_INVALID;
    failed.text = engine_clean_text(c->fault.text, text);
    return uplink_put(&e->up, 0, MSG_E_FAILED, &failed.base);
}

int engine_check(struct engine *e, const Qwe__Check *check)
{
    struct engine_check c = {.start = check->start};
    int r = engine_check_run(&c);

    r = r ? engine_put_unfit(e, &c, r) : engine_put_checked(e, &c, check->held_bytes);
    engine_check_deinit(&c);
    return r ? r : ENGINE_E_ENDS;
}
