/* inspect.c - qwend-probe inspect: what is in a GGUF file, what follows from it, and the memory that a
 * context takes.
 *
 * A file without weights (a vocabulary) or of another architecture is listed too; then "model" says why it is
 * none. */
#include "probe.h"

#include <inttypes.h>
#include <string.h>

/* metadata */
static json_t *inspect_metadata(const struct gguf *g)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        char value[400];
        uint32_t type = 0;
        struct gguf_str key = gguf_key(g, i, &type);

        gguf_format_value(g, i, value, sizeof(value));
        json_t *shown = json_string(value); /* NULL if the file's text is no UTF-8 */
        json_array_append_new(keys, json_pack("{s:o, s:o}", "key", json_string(gguf_label(key).text), "value",
                                              shown ? shown : json_string("(not UTF-8)")));
    }
    return keys;
}

static json_t *inspect_tensors(const struct gguf *g)
{
    json_t *tensors = json_array();

    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        json_t *shape = json_array();

        for (int d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)t->ne[d]));
        json_array_append_new(
            tensors, json_pack("{s:o, s:s, s:o, s:I}", "name", json_string(gguf_label(t->name).text), "type",
                               quant_find(t->type)->name, "ne", shape, "bytes", (json_int_t)t->bytes));
    }
    return tensors;
}

/* model */
static json_t *inspect_config(const struct config *c)
{
    return json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f}",
        "n_layers", c->n_layers, "n_mtp", c->n_mtp, "n_attn", c->n_attn, "n_delta", c->n_delta, "dim", c->dim,
        "n_ff", c->n_ff, "n_vocab", c->n_vocab, "n_qh", c->n_qh, "n_kvh", c->n_kvh, "d_attn", c->d_attn,
        "n_rot", c->n_rot, "n_kh", c->n_kh, "n_vh", c->n_vh, "d_delta", c->d_delta, "conv_k", c->conv_k,
        "context_trained", c->context_trained, "eps", (double)c->eps, "rope_base", (double)c->rope_base);
}

struct inspect_options {
    int ctx, slots;
    enum kern_kv_type kv_type;
};

static json_t *inspect_memory(const struct config *c, uint64_t tensor_bytes, const struct inspect_options *o)
{
    const struct model model = {.config = *c};
    const struct state_size one = {
        .n_slots = 1, .max_ctx = 1, .max_tok = 1, .n_pages = 1, .kv_type = o->kv_type};
    struct state_size page = one, slot = one, all = one;

    page.n_pages = 2;
    slot.n_slots = 2;
    slot.n_pages = 1;
    all = (struct state_size){
        .n_slots = o->slots, .max_ctx = o->ctx, .max_tok = 512, .max_rows = o->slots, .kv_type = o->kv_type};
    uint64_t state = state_bytes(&model, &all), base = state_bytes(&model, &one);
    return json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "ctx", o->ctx, "slots", o->slots, "weights",
                     (json_int_t)tensor_bytes, "kv_per_token",
                     (json_int_t)((state_bytes(&model, &page) - base) / KERN_PAGE_TOK), "per_slot",
                     (json_int_t)(state_bytes(&model, &slot) - base), "state", (json_int_t)state, "total",
                     (json_int_t)(tensor_bytes + state));
}

static json_t *inspect_model(const struct gguf *g, struct inspect_options *o)
{
    struct fault fault = {0};
    struct config c;
    uint64_t bytes = 0, n_params = 0;
    json_t *model;

    if (config_read(g, &fault, &c))
        return json_pack("{s:s}", "refused", fault.text);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);

        bytes += t->bytes;
        n_params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    }
    if (!o->ctx)
        o->ctx = MIN(c.context_trained, 32768);
    model = inspect_config(&c);
    json_object_set_new(model, "n_params", json_integer((json_int_t)n_params));
    json_object_set_new(model, "memory", inspect_memory(&c, bytes, o));
    return model;
}

/* for people */
static void inspect_print_object(const char *title, const json_t *object)
{
    const char *key;
    json_t *value;

    printf("%s\n", title);
    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_string(value))
            printf("  %-16s %s\n", key, json_string_value(value));
        else if (json_is_integer(value))
            printf("  %-16s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
        else if (json_is_real(value))
            printf("  %-16s %g\n", key, json_real_value(value));
    }
}

static void inspect_print(const json_t *all)
{
    const json_t *model = json_object_get(all, "model"), *item;
    size_t i;

    printf("metadata\n");
    json_array_foreach(json_object_get(all, "metadata"), i, item)
        printf("  %-44s %s\n", json_string_value(json_object_get(item, "key")),
               json_string_value(json_object_get(item, "value")));
    printf("tensors\n");
    json_array_foreach(json_object_get(all, "tensors"), i, item)
    {
        char *ne = json_dumps(json_object_get(item, "ne"), 0);

        printf("  %-36s %-7s %-16s %12" JSON_INTEGER_FORMAT " bytes\n",
               json_string_value(json_object_get(item, "name")),
               json_string_value(json_object_get(item, "type")), ne,
               json_integer_value(json_object_get(item, "bytes")));
        free(ne);
    }
    inspect_print_object("model", model);
    if (json_object_get(model, "memory"))
        inspect_print_object("memory (bytes)", json_object_get(model, "memory"));
    inspect_print_object("this machine", json_object_get(all, "machine"));
}

/* What the CPU backend would run with here, with nothing asked for. */
static json_t *inspect_machine(void)
{
    const struct kern_options options = {.backend = "cpu"};
    _cleanup_(kern_freep) struct kern *kern = NULL;
    struct fault fault = {0};

    if (kern_open(&options, &fault, &kern))
        return json_pack("{s:s}", "refused", fault.text);
    return json_pack("{s:s, s:i}", "cpu_isa", kern->isa, "threads", kern->n_threads);
}

static int inspect_file(const char *path, bool as_json, struct inspect_options *o)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    int r = gguf_open(path, &fault, &g);

    if (r)
        return probe_fault(path, r, &fault);
    json_t *all = json_pack("{s:i, s:I, s:o, s:o, s:o, s:o}", "version", (int)gguf_version(g), "file_bytes",
                            (json_int_t)gguf_file_bytes(g), "metadata", inspect_metadata(g), "tensors",
                            inspect_tensors(g), "model", inspect_model(g, o), "machine", inspect_machine());
    if (!all)
        return probe_error("%s: no memory to describe it", path);
    if (as_json)
        r = json_dumpf(all, stdout, JSON_COMPACT) || putchar('\n') < 0;
    else
        inspect_print(all);
    json_decref(all);
    return r ? probe_error("standard output: %s", strerror(errno)) : 0;
}

static int inspect_run(const struct probe_verb *verb, int argc, char **argv)
{
    struct inspect_options o = {.slots = 1};
    const char *path = NULL, *kv = "f16";
    bool as_json = false;
    const struct probe_opt opts[] = {
        {"json", .flag = &as_json},
        {"ctx", .number = &o.ctx, .lo = 1, .hi = 1 << 24},
        {"slots", .number = &o.slots, .lo = 1, .hi = 4096},
        {"kv", .text = &kv},
    };
    int r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);

    if (!r)
        r = probe_kv_type(kv, &o.kv_type);
    return r ? r : inspect_file(path, as_json, &o);
}

const struct probe_verb probe_inspect = {
    "inspect",
    "MODEL [--json] [--ctx N] [--slots N] [--kv f32|f16|q8_0]",
    "metadata, tensors, shapes, and the memory that a context takes",
    inspect_run,
};
