/* session.c - opens a model for a verb, with the options that all such verbs share.  See probe.h. */
#include "probe.h"

#include <string.h>

void probe_model_opts(struct probe_model_options *o, struct probe_opt *opts)
{
    const struct probe_opt shared[PROBE_N_MODEL_OPTS] = {
        {"backend", .text = &o->backend},
        {"isa", .text = &o->isa},
        {"kv", .text = &o->kv},
        {"threads", .number = &o->threads, .lo = 0, .hi = 1024},
        {"chunk", .number = &o->chunk, .lo = 1, .hi = 4096},
        {"embedding", .text = &o->embedding},
    };

    memcpy(opts, shared, sizeof(shared));
}

int probe_kv_type(const char *name, enum kern_kv_type *ret_type)
{
    static const struct {
        const char *name;
        enum kern_kv_type type;
    } types[] = {{"f32", KERN_KV_F32}, {"f16", KERN_KV_F16}, {"q8_0", KERN_KV_Q8_0}};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (!strcmp(name, types[i].name)) {
            *ret_type = types[i].type;
            return 0;
        }
    }
    return probe_error("--kv is \"%s\", should be f32, f16 or q8_0", name);
}

int probe_model_open(const char *path, const struct probe_model_options *o, struct probe_model *ret_pm)
{
    const struct kern_options options = {.backend = o->backend, .isa = o->isa, .n_threads = o->threads};
    struct probe_model pm = {0};
    const char *embedding = o->embedding ? o->embedding : "device";
    const bool on_host = !strcmp(embedding, "host");
    struct fault fault = {0};
    int r;

    if (!on_host && strcmp(embedding, "device") != 0)
        return probe_error("--embedding is \"%s\", should be device or host", embedding);
    r = gguf_open(path, &fault, &pm.gguf);
    if (!r)
        r = kern_open(&options, &fault, &pm.kern);
    if (!r)
        r = model_open(pm.gguf, path, pm.kern, on_host ? WEIGHTS_TABLE_HOST : WEIGHTS_TABLE_WITH_ALL, NULL,
                       NULL, &fault, &pm.model);
    if (r) {
        probe_model_close(&pm);
        return probe_fault(path, r, &fault);
    }
    *ret_pm = pm;
    return 0;
}

void probe_model_close(struct probe_model *pm)
{
    pm->model = model_free(pm->model);
    pm->kern = kern_free(pm->kern);
    pm->gguf = gguf_free(pm->gguf);
}
