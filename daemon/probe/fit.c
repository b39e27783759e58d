/* fit.c - qwend-probe fit: what of a model fits into a GPU's memory, before anything is loaded.
 *
 * Figures: docs/CUDA.md.  What is needed of a card beside weights and sequences is an estimate: a fortieth of
 * it that the driver and a screen take, and room for CUDA's own context, kernels and the scratch of a step.
 */
#include "probe.h"

#include <string.h>

#define FIT_GIB ((double)(1u << 30))
#define FIT_MIB ((double)(1u << 20))
enum { FIT_LARGE_GIB = 40 }; /* of server cards, which run wider steps */

static const struct {
    const char *name;
    enum kern_kv_type type;
} fit_kv[] = {{"f16", KERN_KV_F16}, {"q8_0", KERN_KV_Q8_0}, {"f32", KERN_KV_F32}};
static const int fit_ctx[] = {4096, 16384, 32768, 131072};

/* The table of embeddings on the card, or in main memory beside it. */
enum fit_side { FIT_DEVICE, FIT_HOST, FIT_SIDES };
static const char *const fit_names[FIT_SIDES] = {"device", "host"};

struct fit {
    struct model model; /* configuration only */
    double vram, reserve, workspace, table;
    double weights[FIT_SIDES], free[FIT_SIDES]; /* of the card */
    double slot;                                /* a sequence's DeltaNet state */
    int ctx, slots;
    const char *embedding; /* auto, device, host */
    bool is_on[FIT_SIDES]; /* which of the two there are, of those that may be */
    enum fit_side chosen;
    enum kern_kv_type kv;
    const char *kv_name;
    bool json;
};

/* "8G", "12.5G", "24576M" */
static int fit_parse_vram(const struct probe_verb *verb, const char *text, double *ret_bytes)
{
    char *end = NULL;
    const double v = text ? strtod(text, &end) : 0;
    const double unit = !end || end == text ? 0
                        : !strcmp(end, "G") ? FIT_GIB
                        : !strcmp(end, "M") ? FIT_MIB
                                            : 0;

    if (!text)
        return probe_usage(verb, "--vram is missing");
    if (!(v * unit >= FIT_MIB && v * unit <= 1024 * FIT_GIB))
        return probe_usage(verb, "--vram is \"%s\", should be like 8G or 24576M, 1M to 1024G", text);
    *ret_bytes = v * unit;
    return 0;
}

/* The tensors that are loaded.  IQ4_XS takes 144 bytes of tiles for 136; a table that is the head too is kept
 * twice, as rows and as tiles.  ret_table: of it, if it is not. */
static double fit_weights(const struct gguf *g, const struct config *c, double *ret_table)
{
    const bool tied = !gguf_find_tensor(g, "output.weight");
    double bytes = 0;

    *ret_table = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);
        const double tiles = (double)t->bytes * (t->type == QUANT_IQ4_XS ? 144.0 / 136 : 1.0);
        char name[GGUF_TENSOR_NAME_MAX + 1];
        int layer = 0;

        snprintf(name, sizeof(name), "%.*s", (int)MIN(t->name.n, (size_t)GGUF_TENSOR_NAME_MAX), t->name.s);
        if (sscanf(name, "blk.%d.", &layer) == 1 && layer >= c->n_layers)
            continue; /* a draft block, which is not loaded */
        if (strcmp(name, "token_embd.weight") != 0)
            bytes += tiles;
        else
            bytes += (double)t->bytes + (tied ? tiles : 0);
        if (!tied && !strcmp(name, "token_embd.weight"))
            *ret_table = (double)t->bytes;
    }
    return bytes;
}

/* Each value head has its convolution's window beside its matrix (kernels/cuda/delta.h). */
static double fit_slot(const struct config *c)
{
    const double d = c->d_delta;

    return (double)c->n_delta * c->n_vh * (d * d + (c->conv_k - 1) * 3 * d) * (double)sizeof(float);
}

static double fit_per_token(const struct fit *f, enum kern_kv_type type)
{
    return (double)state_page_bytes(&f->model, type) / KERN_PAGE_TOK;
}

static int fit_max_ctx(const struct fit *f, enum fit_side side, enum kern_kv_type type)
{
    const double n = (f->free[side] - f->slot) / fit_per_token(f, type);

    return n < 0 ? 0 : (int)MIN(n, (double)f->model.config.context_trained);
}

static int fit_sequences(const struct fit *f, enum fit_side side, enum kern_kv_type type, int ctx)
{
    return f->free[side] < 0 ? 0 : (int)(f->free[side] / (f->slot + ctx * fit_per_token(f, type)));
}

static double fit_needed(const struct fit *f)
{
    return f->slots * (f->slot + f->ctx * fit_per_token(f, f->kv));
}

static bool fit_fits(const struct fit *f, enum fit_side side)
{
    return f->free[side] >= 0 && fit_needed(f) <= f->free[side];
}

/* As the engine does (daemon/engine/place.h): the card, if all fits there. */
static void fit_choose(struct fit *f)
{
    f->chosen =
        f->is_on[FIT_DEVICE] && (fit_fits(f, FIT_DEVICE) || !f->is_on[FIT_HOST]) ? FIT_DEVICE : FIT_HOST;
}

static int fit_set_sides(struct fit *f, const struct gguf *g)
{
    const bool is_auto = !strcmp(f->embedding, "auto");

    f->weights[FIT_DEVICE] = fit_weights(g, &f->model.config, &f->table);
    f->weights[FIT_HOST] = f->weights[FIT_DEVICE] - f->table;
    for (int side = 0; side < FIT_SIDES; side++) {
        f->free[side] = f->vram - f->reserve - f->workspace - f->weights[side];
        f->is_on[side] =
            (is_auto || !strcmp(f->embedding, fit_names[side])) && (side == FIT_DEVICE || f->table != 0);
    }
    if (!f->is_on[FIT_DEVICE] && !f->is_on[FIT_HOST])
        return probe_error(
            "--embedding is host, but token_embd.weight is the head too and stays on the device");
    return 0;
}

/* for programs */
static json_t *fit_json_kinds(const struct fit *f, enum fit_side side)
{
    json_t *kinds = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(fit_kv); i++) {
        json_t *counts = json_object();
        char key[16];
        for (size_t k = 0; k < ARRAY_SIZE(fit_ctx); k++) {
            snprintf(key, sizeof(key), "%d", fit_ctx[k]);
            json_object_set_new(counts, key,
                                json_integer(fit_sequences(f, side, fit_kv[i].type, fit_ctx[k])));
        }
        json_object_set_new(kinds, fit_kv[i].name,
                            json_pack("{s:f, s:i, s:o}", "per_token", fit_per_token(f, fit_kv[i].type),
                                      "max_ctx", fit_max_ctx(f, side, fit_kv[i].type), "sequences", counts));
    }
    return kinds;
}

static int fit_print_json(const struct fit *f)
{
    json_t *all =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:s, s:b}", "vram", f->vram, "reserve", f->reserve,
                  "workspace", f->workspace, "table", f->table, "per_slot", f->slot, "needed", fit_needed(f),
                  "embedding", fit_names[f->chosen], "fits", fit_fits(f, f->chosen));
    int r;

    for (int side = 0; side < FIT_SIDES; side++)
        if (f->is_on[side])
            json_object_set_new(all, fit_names[side],
                                json_pack("{s:f, s:f, s:b, s:o}", "weights", f->weights[side], "free",
                                          f->free[side], "fits", fit_fits(f, side), "kv",
                                          fit_json_kinds(f, side)));
    r = json_dumpf(all, stdout, JSON_COMPACT) || putchar('\n') < 0;
    json_decref(all);
    return r ? probe_error("standard output: %s", strerror(errno)) : 0;
}

/* for people */
static void fit_print_table(const struct fit *f, enum fit_side side)
{
    printf("KV      a token    one sequence   sequences of");
    for (size_t k = 0; k < ARRAY_SIZE(fit_ctx); k++)
        printf(" %5dk", fit_ctx[k] >> 10);
    putchar('\n');
    for (size_t i = 0; i < ARRAY_SIZE(fit_kv); i++) {
        printf("%-6s %6.1f KiB %8d tokens               ", fit_kv[i].name,
               fit_per_token(f, fit_kv[i].type) / 1024, fit_max_ctx(f, side, fit_kv[i].type));
        for (size_t k = 0; k < ARRAY_SIZE(fit_ctx); k++)
            printf(" %6d", fit_sequences(f, side, fit_kv[i].type, fit_ctx[k]));
        putchar('\n');
    }
}

static void fit_print_side(const struct fit *f, enum fit_side side)
{
    if (side == FIT_HOST)
        printf("\nembeddings in main memory: %.2f GiB there, twice where the driver pins a copy\n",
               f->table / FIT_GIB);
    else
        printf("\n%s", f->table != 0 ? "embeddings on the device:\n" : "");
    printf("weights    %8.2f GiB\nfree       %8.2f GiB  for sequences, %.1f MiB each and what their tokens "
           "take\n",
           f->weights[side] / FIT_GIB, f->free[side] / FIT_GIB, f->slot / FIT_MIB);
    if (f->free[side] >= 0)
        fit_print_table(f, side);
    else
        printf("The weights do not fit: %.2f GiB are missing.\n", -f->free[side] / FIT_GIB);
    if (f->free[side] >= 0 && f->ctx)
        printf("%d slots of %d tokens with %s KV need %.0f MiB of %.0f: %s\n", f->slots, f->ctx, f->kv_name,
               fit_needed(f) / FIT_MIB, f->free[side] / FIT_MIB,
               fit_fits(f, side) ? "they fit" : "they do not fit");
}

static void fit_print(const struct fit *f)
{
    printf("card       %8.2f GiB\nreserve    %8.2f GiB  driver, screen\nworkspace  %8.2f GiB  CUDA's "
           "context, kernels, a step's scratch\n",
           f->vram / FIT_GIB, f->reserve / FIT_GIB, f->workspace / FIT_GIB);
    for (int side = 0; side < FIT_SIDES; side++)
        if (f->is_on[side])
            fit_print_side(f, (enum fit_side)side);
}

static int fit_file(const char *path, struct fit *f)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};
    int r = gguf_open(path, &fault, &g);

    if (!r)
        r = config_read(g, &fault, &f->model.config);
    if (r)
        return probe_fault(path, r, &fault);
    if (f->ctx > f->model.config.context_trained)
        return probe_error("--ctx is %d, the model was trained for %d", f->ctx,
                           f->model.config.context_trained);
    f->reserve = f->vram / 40;
    f->workspace = (f->vram >= FIT_LARGE_GIB * FIT_GIB ? 1.0 : 0.6) * FIT_GIB;
    f->slot = fit_slot(&f->model.config);
    r = fit_set_sides(f, g);
    if (r)
        return r;
    fit_choose(f);
    if (f->json)
        r = fit_print_json(f);
    else
        fit_print(f);
    return r ? r : !fit_fits(f, f->chosen);
}

/* 0 or an exit status. */
static int fit_check_embedding(const char *embedding)
{
    if (!strcmp(embedding, "auto") || !strcmp(embedding, "device") || !strcmp(embedding, "host"))
        return 0;
    return probe_error("--embedding is \"%s\", should be auto, device or host", embedding);
}

static int fit_run(const struct probe_verb *verb, int argc, char **argv)
{
    struct fit f = {.slots = 1, .kv_name = "f16", .embedding = "auto"};
    const char *path = NULL, *vram = NULL;
    const struct probe_opt opts[] = {
        {"vram", .text = &vram},
        {"ctx", .number = &f.ctx, .lo = 1, .hi = 1 << 24},
        {"slots", .number = &f.slots, .lo = 1, .hi = 4096},
        {"kv", .text = &f.kv_name},
        {"embedding", .text = &f.embedding},
        {"json", .flag = &f.json},
    };
    int r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);

    if (!r)
        r = fit_parse_vram(verb, vram, &f.vram);
    if (!r)
        r = probe_kv_type(f.kv_name, &f.kv);
    if (!r)
        r = fit_check_embedding(f.embedding);
    return r ? r : fit_file(path, &f);
}

const struct probe_verb probe_fit = {
    "fit",
    "MODEL --vram 8G [--ctx N] [--slots N] [--kv f32|f16|q8_0] [--embedding auto|device|host] "
    "[--json]",
    "what fits into a GPU's memory beside the weights; status 1 if it does not",
    fit_run,
};
