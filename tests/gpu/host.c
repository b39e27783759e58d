/* host.c - gpu_driver host: the CPU backend of the machine that a GPU is in, one instruction set after the
 * other.
 *
 * Those machines often have what the machines of every day lack, AMX above all.  Products of every type have
 * to have the same bits from each instruction set that is there, and so have a prompt's logits; how fast the
 * prompt is read is printed as "host ISA TOK_S". */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gpu.h"
#include "gpu_run.h"

enum { HOST_IN = 1024, HOST_OUT = 272, HOST_ROWS = 512 };

#if defined(__aarch64__)
static const char *const host_isas[] = {"neon", "i8mm"};
#else
static const char *const host_isas[] = {"avx2", "avxvnni", "avx512", "amx"};
#endif
static const enum quant_type host_types[] = {QUANT_F16,  QUANT_BF16, QUANT_Q4_0, QUANT_Q4_1, QUANT_Q5_1,
                                             QUANT_Q8_0, QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K, QUANT_IQ4_XS};

/* NULL: this machine lacks it. */
static struct kern *host_open(const char *isa)
{
    const struct kern_shape shape = {
        .dim = HOST_IN,
        .n_ff = HOST_IN,
        .n_vocab = 64,
        .n_qh = 1,
        .n_kvh = 1,
        .d_attn = 16,
        .n_kh = 1,
        .n_vh = 1,
        .d_delta = 16,
        .conv_k = 4,
        .max_tok = HOST_ROWS,
        .max_ctx = 64,
        .kv_type = KERN_KV_F16,
    };
    const struct kern_options options = {.backend = "cpu", .isa = isa};
    struct kern *kern = NULL;
    struct fault fault = {0};

    if (kern_open(&options, &fault, &kern)) {
        printf("host: no %s: %s\n", isa, fault.text);
        return NULL;
    }
    return kern->ops->plan(kern, &shape) ? kern_free(kern) : kern;
}

/* [HOST_ROWS][HOST_OUT] of random rows times a random matrix, n_tok rows at a time; 0, or what an op said */
static int host_product(struct kern *kern, enum quant_type type, int n_tok, float *ret_out)
{
    struct gpu_random random = {.state = 5};
    const size_t row_bytes = quant_row_bytes(quant_find(type), HOST_IN);
    const size_t bytes = kern->ops->mat_bytes(kern, type, KERN_PANELS, HOST_OUT, HOST_IN);
    _cleanup_(freep) uint8_t *rows = malloc(HOST_OUT * row_bytes);
    _cleanup_(freep) uint8_t *data = aligned_alloc(64, ROUND_UP(bytes, (size_t)64));
    _cleanup_(freep) float *x = malloc(sizeof(float) * HOST_ROWS * HOST_IN);
    const struct kern_mat mat = {.type = type,
                                 .layout = KERN_PANELS,
                                 .n_out = HOST_OUT,
                                 .n_in = HOST_IN,
                                 .data = data,
                                 .bytes = bytes};
    const struct kern_pack pack = {.mat = &mat, .n_row = HOST_OUT, .src = rows};
    int r;

    if (!rows || !data || !x)
        return -ENOMEM;
    gpu_fill_rows(&random, type, rows, HOST_OUT, HOST_IN);
    gpu_fill(&random, x, (size_t)HOST_ROWS * HOST_IN, 1.0f);
    r = kern->ops->mat_pack(kern, &pack);
    for (int t = 0; t < HOST_ROWS && !r; t += n_tok) {
        const struct kern_norm_proj op = {
            .n_tok = MIN(n_tok, HOST_ROWS - t),
            .n_mat = 1,
            .x = x + t * HOST_IN,
            .mats = {&mat},
            .out = {ret_out + t * HOST_OUT},
        };
        r = kern->ops->norm_proj(kern, &op);
    }
    return r;
}

static bool host_products_agree(struct kern *first, struct kern *kern, enum quant_type type)
{
    static const int pieces[] = {1, 8, 9, 31, 48, 100, 512};
    const size_t bytes = sizeof(float) * HOST_ROWS * HOST_OUT;
    _cleanup_(freep) float *want = malloc(bytes);
    _cleanup_(freep) float *got = malloc(bytes);

    if (!want || !got || host_product(first, type, HOST_ROWS, want))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        memset(got, 0, bytes);
        if (host_product(kern, type, pieces[i], got) || memcmp(got, want, bytes) != 0)
            return false;
    }
    return true;
}

static void host_check_products(struct kern *first, struct kern *kern)
{
    bool agree = true;

    for (size_t i = 0; i < ARRAY_SIZE(host_types) && agree; i++) {
        agree = host_products_agree(first, kern, host_types[i]);
        if (!agree)
            gpu_check(false, "host products", "%s on %s has other bits than on %s",
                      quant_find(host_types[i])->name, kern->isa, first->isa);
    }
    if (agree)
        gpu_check(true, "host products", "all types on %s have the bits of %s", kern->isa, first->isa);
}

static double host_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Reads the prompt twice, the second time by the clock; its logits go to *ret_logits, the caller's to free.
 */
static int host_prefill(const char *isa, const char *path, int n, float **ret_logits, size_t *ret_bytes)
{
    _cleanup_(freep) int32_t *ids = malloc(sizeof(*ids) * (size_t)n);
    struct gpu_run run = {0};
    char backend[32];
    double seconds = 0;
    int r;

    snprintf(backend, sizeof(backend), "cpu:%s", isa);
    r = ids ? gpu_run_open(&run, backend, path, 1, n, n, n, KERN_KV_F16, WEIGHTS_TABLE_WITH_ALL) : -ENOMEM;
    for (int i = 0; i < n && !r; i++)
        ids[i] = (i * 37 + 11) % run.n_vocab;
    for (int i = 0; i < 2 && !r; i++) {
        seconds = -host_now();
        r = gpu_run_clear(&run, 0);
        r = r ? r : gpu_run_step(&run, ids, n, 0, run.logits);
        seconds += host_now();
    }
    if (!r) {
        printf("host %s %.1f\n", isa, n / seconds);
        *ret_bytes = sizeof(float) * (size_t)run.n_vocab;
        *ret_logits = run.logits;
        run.logits = NULL;
    }
    gpu_run_close(&run);
    return r;
}

struct host_first {
    struct kern *kern; /* NULL: none yet */
    float *logits;     /* owned, as kern */
    size_t bytes;
};

static void host_check_prefill(struct host_first *first, const char *isa, const char *path, int n)
{
    _cleanup_(freep) float *logits = NULL;
    size_t bytes = 0;
    const int r = host_prefill(isa, path, n, &logits, &bytes);

    if (r || !first->logits) {
        gpu_check(!r, "host prefill", "%d tokens on %s%s%s", n, isa, r ? ": " : "", r ? strerror(-r) : "");
        first->logits = steal(&logits);
        first->bytes = bytes;
        return;
    }
    gpu_check(memcmp(logits, first->logits, first->bytes) == 0, "host prefill",
              "%d tokens on %s have the logits of %s, bit for bit", n, isa, first->kern->isa);
}

/* argv: MODEL PREFILL */
int gpu_host(const char *backend _unused_, int argc, char **argv)
{
    struct host_first first = {0};
    int n;

    if (argc != 3 || (n = atoi(argv[2])) < 1)
        return 2;
    for (size_t i = 0; i < ARRAY_SIZE(host_isas); i++) {
        struct kern *kern = host_open(host_isas[i]);
        if (!kern)
            continue;
        if (first.kern)
            host_check_products(first.kern, kern);
        else
            first.kern = kern;
        host_check_prefill(&first, host_isas[i], argv[1], n);
        if (kern != first.kern)
            kern_free(kern);
    }
    gpu_check(first.kern != NULL, "host", "all were held against %s", first.kern ? first.kern->isa : "none");
    kern_free(first.kern);
    free(first.logits);
    return gpu_n_failed() > 0;
}
