/* bench.c - qwend-probe bench: prefill and decode speed, load time and memory of one model.
 *
 * Each repetition is a new sequence of made-up tokens: --prefill of them in pieces of --chunk, then --decode
 * single ones, with --rows N one of each of N sequences in a step. Medians are reported with the spread
 * between the slowest and the fastest repetition. */
#include "bench_stages.h"
#include "run.h"

#include <string.h>
#include <time.h>

struct bench {
    int prefill, decode, reps;
    bool json, stages;
    double *prefill_s, *decode_s; /* owned, [reps] */
    double load_s;
    struct bench_stages in_prefill, in_decode;
};

static double bench_now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct bench_memory {
    long rss_kib, peak_kib; /* shared memory counts, so the weights' memfd does */
};

/* Both from one reading: the kernel's figures are approximate, and only there is the peak never below the
 * other. */
static struct bench_memory bench_memory(void)
{
    struct bench_memory m = {-1, -1};
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];

    while (f && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, "VmRSS:", 6))
            m.rss_kib = strtol(line + 6, NULL, 10);
        else if (!strncmp(line, "VmHWM:", 6))
            m.peak_kib = strtol(line + 6, NULL, 10);
    }
    if (f)
        fclose(f);
    return m;
}

/* Repetition -1 warms up: pages of the state are touched for the first time. */
static int bench_rep(const struct probe_model *pm, struct probe_run *run, const struct probe_model_options *o,
                     struct bench *b, int rep, int n_vocab, int *ids, float *logits)
{
    double t0, t1, t2;
    int r = probe_run_reset(run), row = 0;

    for (int i = 0; i < b->prefill; i++)
        ids[i] = (int)(((uint32_t)i * 2654435761u + (uint32_t)rep * 40503u) % (uint32_t)n_vocab);
    pm->kern->timed = b->stages && rep >= 0;
    bench_stages_begin(&b->in_prefill, pm->kern);
    t0 = bench_now_s();
    if (!r && b->prefill)
        r = probe_run_prompt(run, ids, (size_t)b->prefill, logits);
    t1 = bench_now_s();
    bench_stages_end(&b->in_prefill, pm->kern);
    bench_stages_begin(&b->in_decode, pm->kern);
    for (int i = 0; i < b->decode && !r; i++) {
        int id = (int)(((uint32_t)i * 2246822519u) % (uint32_t)n_vocab);

        r = o->rows > 1 ? probe_run_rows(run, id, logits) : probe_run_step(run, &id, 1, &row, 1, logits);
    }
    t2 = bench_now_s();
    bench_stages_end(&b->in_decode, pm->kern);
    if (rep >= 0) {
        b->prefill_s[rep] = t1 - t0;
        b->decode_s[rep] = t2 - t1;
    }
    return r;
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* {"tok_s": median, "spread": (slowest - fastest) / median} */
static json_t *bench_rate(double *seconds, int reps, int n_tok)
{
    qsort(seconds, (size_t)reps, sizeof(*seconds), bench_compare);
    double median = reps % 2 ? seconds[reps / 2] : (seconds[reps / 2 - 1] + seconds[reps / 2]) / 2;

    if (!n_tok)
        return json_null();
    return json_pack("{s:i, s:f, s:f}", "n", n_tok, "tok_s", n_tok / median, "spread",
                     (seconds[reps - 1] - seconds[0]) / median);
}

static int bench_report(const struct probe_model *pm, const struct probe_model_options *o, struct bench *b)
{
    struct bench_memory memory = bench_memory();
    json_t *all =
        json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:i, s:f, s:I, s:I, s:o, s:o}", "file",
                  pm->model->file, "types", pm->model->weights.types, "backend", pm->kern->ops->name,
                  "threads", pm->kern->n_threads, "isa", pm->kern->isa, "chunk", o->chunk, "rows", o->rows,
                  "reps", b->reps, "load_s", b->load_s, "rss_kib", (json_int_t)memory.rss_kib, "peak_rss_kib",
                  (json_int_t)memory.peak_kib, "prefill", bench_rate(b->prefill_s, b->reps, b->prefill),
                  "decode", bench_rate(b->decode_s, b->reps, o->rows * b->decode));
    int failed;

    if (all && b->stages) {
        json_object_set_new(all, "read_gb_s",
                            json_real(bench_read_gb_s(&pm->model->weights.mem, pm->kern->n_threads)));
        json_object_set_new(all, "prefill_stages",
                            bench_stages_json(&b->in_prefill, b->reps * MAX(b->prefill, 1)));
        json_object_set_new(all, "decode_stages",
                            bench_stages_json(&b->in_decode, b->reps * MAX(b->decode, 1)));
    }
    failed = !all || json_dumpf(all, stdout, b->json ? JSON_COMPACT : JSON_INDENT(2)) || putchar('\n') < 0;

    json_decref(all);
    return failed ? probe_error("cannot write the report") : 0;
}

static int bench_model(const struct probe_model *pm, const struct probe_model_options *o, struct bench *b)
{
    int n_vocab = pm->model->config.n_vocab, r;
    _cleanup_(probe_run_freep) struct probe_run *run = NULL;
    _cleanup_(freep) int *ids = calloc((size_t)b->prefill + 1, sizeof(*ids));
    _cleanup_(freep) float *logits = malloc((size_t)o->rows * (size_t)n_vocab * sizeof(float));

    b->prefill_s = calloc((size_t)b->reps, sizeof(double));
    b->decode_s = calloc((size_t)b->reps, sizeof(double));
    if (!ids || !logits || !b->prefill_s || !b->decode_s)
        return probe_error("no memory");
    r = probe_run_new(pm, o, MAX(b->prefill + b->decode, 1), &run);
    for (int rep = -1; rep < b->reps && !r; rep++)
        r = bench_rep(pm, run, o, b, rep, n_vocab, ids, logits);
    return r ? r : bench_report(pm, o, b);
}

static int bench_run(const struct probe_verb *verb, int argc, char **argv)
{
    struct probe_model_options o = PROBE_MODEL_OPTIONS_INIT;
    struct bench b = {.prefill = 512, .decode = 64, .reps = 5};
    struct probe_opt opts[PROBE_N_MODEL_OPTS + 6] = {
        [PROBE_N_MODEL_OPTS] = {"prefill", .number = &b.prefill, .lo = 0, .hi = 1 << 20},
        {"decode", .number = &b.decode, .lo = 0, .hi = 1 << 20},
        {"rows", .number = &o.rows, .lo = 1, .hi = PROBE_ROWS_MAX},
        {"reps", .number = &b.reps, .lo = 1, .hi = 1000},
        {"json", .flag = &b.json},
        {"stages", .flag = &b.stages},
    };
    struct probe_model pm = {0};
    const char *path = NULL;
    double start = bench_now_s();
    int r;

    o.rows = 1;
    probe_model_opts(&o, opts);
    r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);
    if (!r)
        r = probe_model_open(path, &o, &pm);
    b.load_s = bench_now_s() - start;
    if (!r)
        r = bench_model(&pm, &o, &b);
    probe_model_close(&pm);
    free(b.prefill_s);
    free(b.decode_s);
    return r;
}

const struct probe_verb probe_bench = {
    "bench",
    "MODEL [--prefill N] [--decode N] [--rows N] [--reps N] [--backend ref|cpu] [--isa NAME] [--kv "
    "f32|f16|q8_0] "
    "[--threads N] "
    "[--chunk N] [--stages] [--json]",
    "prefill and decode tokens per second (median, spread), load time, memory",
    bench_run,
};
