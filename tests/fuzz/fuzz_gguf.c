/* fuzz_gguf.c - libFuzzer target: any bytes as a GGUF file, through every check that a model's file meets.
 *
 * What opens is read through every accessor, so that a range that was not checked is touched; then come the
 * configuration, the plan of every tensor's place (weights_load() up to the allocation, which is refused),
 * and the vocabulary.  The mutator changes the structure of files that open, since random bytes hardly ever
 * give one; at the end the shares that got past each check are printed, and too small a share fails the run.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/model/tokenizer.h"
#include "daemon/model/weights.h"
#include "mutate_gguf.h"

enum {
    FUZZ_OPEN_PERCENT = 30,   /* of inputs: they open */
    FUZZ_CONFIG_PERCENT = 10, /* of inputs: their configuration is read, their tensors are planned */
    FUZZ_RATE_FROM = 1000,    /* fewer runs than this say nothing about shares */
    FUZZ_KEPT = 8,            /* whole models to go back to; the corpus has six */
    FUZZ_KEPT_BYTES = 1 << 16,
    FUZZ_PLACE_BYTES = 256, /* what a tensor's place is rounded up to */
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t n_max);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned seed);

static volatile uint8_t fuzz_sink; /* keeps the reads */
static struct kern *fuzz_kern;     /* ref, but for memory */
static struct kern_ops fuzz_ops;
static size_t fuzz_planned_bytes; /* what the last plan asked for; 0: it did not get that far */

static struct {
    uint64_t inputs, opened, configured, planned, with_vocab;
} fuzz_count;

/* The first models that were planned whole: those of the corpus, which run before any mutation. */
static struct {
    size_t n;
    uint8_t data[FUZZ_KEPT_BYTES];
} fuzz_kept[FUZZ_KEPT];

/* start and end */
static unsigned long long fuzz_percent(uint64_t n)
{
    return 100 * n / MAX(fuzz_count.inputs, 1u);
}

/* At exit: _Exit() because this is an exit handler. */
static void fuzz_report(void)
{
    fuzz_kern = kern_free(fuzz_kern);
    fprintf(
        stderr,
        "fuzz_gguf: %llu inputs; %llu %% open, %llu %% are configured, %llu %% planned whole, %llu %% have "
        "a vocabulary\n",
        (unsigned long long)fuzz_count.inputs, fuzz_percent(fuzz_count.opened),
        fuzz_percent(fuzz_count.configured), fuzz_percent(fuzz_count.planned),
        fuzz_percent(fuzz_count.with_vocab));
    if (fuzz_count.inputs >= FUZZ_RATE_FROM && (fuzz_percent(fuzz_count.opened) < FUZZ_OPEN_PERCENT ||
                                                fuzz_percent(fuzz_count.configured) < FUZZ_CONFIG_PERCENT)) {
        fprintf(stderr, "fuzz_gguf: too few inputs get past the checks: the mutator needs work\n");
        _Exit(1);
    }
}

static int fuzz_refuse_memory(struct kern *kern, size_t bytes, enum kern_mem_use use,
                              struct kern_mem *ret_mem)
{
    fuzz_planned_bytes = bytes;
    return -ENOMEM;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct kern_options options = {.backend = "ref"};
    struct fault fault = {0};

    if (kern_open(&options, &fault, &fuzz_kern)) {
        fprintf(stderr, "fuzz_gguf: %s\n", fault.text);
        exit(1);
    }
    fuzz_ops = *fuzz_kern->ops;
    fuzz_ops.mem_alloc = fuzz_refuse_memory;
    fuzz_kern->ops = &fuzz_ops;
    atexit(fuzz_report);
    return 0;
}

/* directory */
static void fuzz_touch(const uint8_t *p, size_t n)
{
    if (n)
        fuzz_sink = (uint8_t)(p[0] ^ p[n / 2] ^ p[n - 1]);
}

static void fuzz_words(const struct gguf *g, const char *key)
{
    struct gguf_array array;

    if (gguf_get_array(g, key, GGUF_STR, NULL, &array))
        return;
    const uint8_t *cursor = array.data;
    for (uint64_t i = 0; i < array.n; i++) {
        struct gguf_str s = gguf_array_next_str(&cursor);

        fuzz_touch((const uint8_t *)s.s, s.n);
    }
}

static void fuzz_keys(const struct gguf *g)
{
    char text[120], key[256];

    for (size_t i = 0; i < gguf_n_keys(g); i++) {
        uint32_t type;
        struct gguf_str name = gguf_key(g, i, &type);

        assert(gguf_format_value(g, i, text, sizeof(text)) >= 0);
        if (name.n >= sizeof(key))
            continue;
        for (size_t k = 0; k < name.n; k++)
            key[k] = name.s[k];
        key[name.n] = '\0';
        fuzz_words(g, key);
    }
}

static void fuzz_tensors(const struct gguf *g, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor(g, i);

        assert(t->data >= data && t->data + t->bytes <= data + n);
        fuzz_touch(t->data, t->bytes);
    }
}

/* model */
/* Returns whether every tensor has its place. */
static bool fuzz_plan(const struct gguf *g, const struct config *config)
{
    struct fault fault = {0};
    struct weights weights;
    int r;

    fuzz_planned_bytes = 0;
    r = weights_load(g, config, fuzz_kern, WEIGHTS_TABLE_WITH_ALL, NULL, NULL, &fault, &weights);
    assert(fault.text[0]);
    assert(r == (fuzz_planned_bytes ? WEIGHTS_E_MEMORY : WEIGHTS_E_TENSOR));
    /* no more memory than the file has bytes, whatever it says */
    assert(fuzz_planned_bytes <= gguf_file_bytes(g) + FUZZ_PLACE_BYTES * gguf_n_tensors(g));
    return fuzz_planned_bytes;
}

static bool fuzz_model(const struct gguf *g)
{
    struct fault fault = {0};
    struct config config;

    if (config_read(g, &fault, &config)) {
        assert(fault.text[0]);
        return false;
    }
    fuzz_count.configured++;
    assert(config.n_attn + config.n_delta == config.n_layers && config.n_vh % config.n_kh == 0);
    return fuzz_plan(g, &config);
}

static bool fuzz_has_vocab(const struct gguf *g)
{
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    struct fault fault = {0};

    if (!tokenizer_new(g, &fault, &t))
        return true;
    assert(fault.text[0]);
    return false;
}

static void fuzz_keep(const uint8_t *data, size_t n)
{
    for (int i = 0; i < FUZZ_KEPT && n <= FUZZ_KEPT_BYTES; i++) {
        if (fuzz_kept[i].n)
            continue;
        memcpy(fuzz_kept[i].data, data, n);
        fuzz_kept[i].n = n;
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    struct fault fault = {0};

    fuzz_count.inputs++;
    if (gguf_open_memory(data, n, &fault, &g)) {
        assert(fault.text[0]); /* a refusal always says why */
        return 0;
    }
    fuzz_count.opened++;
    fuzz_keys(g);
    fuzz_tensors(g, data, n);
    if (fuzz_model(g)) {
        fuzz_count.planned++;
        fuzz_keep(data, n);
    }
    fuzz_count.with_vocab += fuzz_has_vocab(g);
    return 0;
}

/* mutator */
/* A model that was kept, in place of the input; 0: none was, or it does not fit. */
static size_t fuzz_restore(struct gen *gen, uint8_t *data, size_t n_max)
{
    uint32_t n_kept = 0, i;

    while (n_kept < FUZZ_KEPT && fuzz_kept[n_kept].n)
        n_kept++;
    i = n_kept ? gen_below(gen, n_kept) : 0;
    if (!n_kept || fuzz_kept[i].n > n_max)
        return 0;
    memcpy(data, fuzz_kept[i].data, fuzz_kept[i].n);
    return fuzz_kept[i].n;
}

/* libFuzzer's own changes, in the header alone: most of a file is tensors, which nobody looks at. */
static size_t fuzz_mutate_header(uint8_t *data, size_t n)
{
    _cleanup_(gguf_freep) struct gguf *g = NULL;
    size_t n_header = 0, n_now;

    if (gguf_open_memory(data, n, NULL, &g))
        return LLVMFuzzerMutate(data, n, n);
    gguf_header(g, &n_header);
    n_now = LLVMFuzzerMutate(data, n_header, n_header);
    memmove(data + n_now, data + n_header, n - n_header);
    return n_now + n - n_header;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t n_max, unsigned seed)
{
    struct gen gen = {seed};
    uint32_t how = gen_below(&gen, 8);
    size_t n_now = 0;

    if (!how)
        return LLVMFuzzerMutate(data, n, n_max);
    if (how == 1)
        return fuzz_mutate_header(data, MAX(n, (size_t)1));
    if (gen_below(&gen, 4)) /* else from a kept one, whatever the input is */
        n_now = mutate_gguf(&gen, data, n, n_max);
    if (!n_now && (n_now = fuzz_restore(&gen, data, n_max)))
        n_now = mutate_gguf(&gen, data, n_now, n_max);
    return n_now ? n_now : LLVMFuzzerMutate(data, n, n_max);
}
