/* bench.c - qwend-probe bench: prefill and decode speed, load time and memory of one model.
 *
 * Each repetition is a new sequence of made-up tokens: --prefill of them in pieces of --chunk, then --decode
 * single ones, with --rows N one of each of N sequences in a step, with --rows N,M,... that many of each in
 * turn. Medians are reported with the spread between the slowest and the fastest repetition. */
#include "bench_stages.h"
#include "run.h"

#include <string.h>
#include <time.h>

enum { BENCH_LISTS_MAX = 8 };

struct bench {
    int prefill, decode, reps;
    int rows[BENCH_LISTS_MAX], n_rows; /* of --rows */
    bool json, stages;
    double *prefill_s, *decode_s[BENCH_LISTS_MAX], *read_gb_s; /* owned, [reps] */
    double load_s;
    struct bench_stages in_prefill, in_decode; /* of the first of rows */
    struct bench_read read;
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

static int bench_prefill(struct probe_run *run, const struct bench *b, int rep, int n_vocab, int *ids,
                         float *logits)
{
    for (int i = 0; i < b->prefill; i++)
        ids[i] = (int)(((uint32_t)i * 2654435761u + (uint32_t)rep * 40503u) % (uint32_t)n_vocab);
    return b->prefill ? probe_run_prompt(run, ids, (size_t)b->prefill, logits) : 0;
}

static int bench_decode(struct probe_run *run, const struct bench *b, int rows, int n_vocab, float *logits)
{
    int row = 0, r = 0;

    for (int i = 0; i < b->decode && !r; i++) {
        int id = (int)(((uint32_t)i * 2246822519u) % (uint32_t)n_vocab);

        r = rows > 1 ? probe_run_rows(run, rows, id, logits) : probe_run_step(run, &id, 1, &row, 1, logits);
    }
    return r;
}

/* Repetition -1 warms up: pages of the state are touched for the first time. */
static int bench_rep(const struct probe_model *pm, struct probe_run *run, struct bench *b, int rep,
                     int n_vocab, int *ids, float *logits)
{
    int r = probe_run_reset(run), keep = MAX(rep, 0);

    pm->kern->timed = b->stages && rep >= 0;
    bench_stages_begin(&b->in_prefill, pm->kern);
    b->prefill_s[keep] = -bench_now_s();
    r = r ? r : bench_prefill(run, b, rep, n_vocab, ids, logits);
    b->prefill_s[keep] += bench_now_s();
    bench_stages_end(&b->in_prefill, pm->kern);
    for (int i = 0; i < b->n_rows && !r; i++) {
        bench_stages_begin(&b->in_decode, pm->kern);
        b->decode_s[i][keep] = -bench_now_s();
        r = bench_decode(run, b, b->rows[i], n_vocab, logits);
        b->decode_s[i][keep] += bench_now_s();
        if (i == 0)
            bench_stages_end(&b->in_decode, pm->kern);
    }
    if (b->stages)
        b->read_gb_s[keep] = bench_read_gb_s(&b->read);
    return r;
}

static int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double bench_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof(*values), bench_compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* {"tok_s": median, "spread": (slowest - fastest) / median} */
static json_t *bench_rate(double *seconds, int reps, int n_tok)
{
    double median = bench_median(seconds, reps);

    if (!n_tok)
        return json_null();
    return json_pack("{s:i, s:f, s:f}", "n", n_tok, "tok_s", n_tok / median, "spread",
                     (seconds[reps - 1] - seconds[0]) / median);
}

/* Adds what only some of the reports have. */
static void bench_report_more(json_t *all, struct bench *b)
{
    if (b->n_rows > 1) {
        json_t *list = json_array();
        for (int i = 0; i < b->n_rows; i++) {
            json_t *rate = bench_rate(b->decode_s[i], b->reps, b->rows[i] * b->decode);
            json_object_set_new(rate, "rows", json_integer(b->rows[i]));
            json_array_append_new(list, rate);
        }
        json_object_set_new(all, "decode_rows", list);
    }
    if (b->stages) {
        json_object_set_new(all, "read_gb_s", json_real(bench_median(b->read_gb_s, b->reps)));
        json_object_set_new(all, "prefill_stages",
                            bench_stages_json(&b->in_prefill, b->reps * MAX(b->prefill, 1)));
        json_object_set_new(all, "decode_stages",
                            bench_stages_json(&b->in_decode, b->reps * MAX(b->decode, 1)));
    }
}

static int bench_report(const struct probe_model *pm, const struct probe_model_options *o, struct bench *b)
{
    struct bench_memory memory = bench_memory();
    json_t *all =
        json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:i, s:f, s:I, s:I, s:o, s:o}", "file",
                  pm->model->file, "types", pm->model->weights.types, "backend", pm->kern->ops->name,
                  "threads", pm->kern->n_threads, "isa", pm->kern->isa, "chunk", o->chunk, "rows", b->rows[0],
                  "reps", b->reps, "load_s", b->load_s, "rss_kib", (json_int_t)memory.rss_kib, "peak_rss_kib",
                  (json_int_t)memory.peak_kib, "prefill", bench_rate(b->prefill_s, b->reps, b->prefill),
                  "decode", bench_rate(b->decode_s[0], b->reps, b->rows[0] * b->decode));
    int failed;

    if (all)
        bench_report_more(all, b);
    failed = !all || json_dumpf(all, stdout, b->json ? JSON_COMPACT : JSON_INDENT(2)) || putchar('\n') < 0;
    json_decref(all);
    return failed ? probe_error("cannot write the report") : 0;
}

static int bench_alloc(const struct probe_model *pm, struct bench *b)
{
    bool whole;

    b->prefill_s = calloc((size_t)b->reps, sizeof(double));
    b->read_gb_s = calloc((size_t)b->reps, sizeof(double));
    whole = b->prefill_s && b->read_gb_s;
    for (int i = 0; i < b->n_rows; i++) {
        b->decode_s[i] = calloc((size_t)b->reps, sizeof(double));
        whole = whole && b->decode_s[i];
    }
    if (b->stages)
        whole = bench_read_init(&b->read, pm->kern, &pm->model->weights.mem) == 0 && whole;
    return whole ? 0 : probe_error("no memory");
}

/* As the engine does beside its steps. */
static void bench_make_huge(const struct probe_model *pm)
{
    for (int i = 0; i < model_n_huge(pm->model); i++)
        if (model_make_huge(pm->model, i) == -EOPNOTSUPP)
            break;
}

static int bench_model(const struct probe_model *pm, const struct probe_model_options *o, struct bench *b)
{
    int n_vocab = pm->model->config.n_vocab, r;
    _cleanup_(probe_run_freep) struct probe_run *run = NULL;
    _cleanup_(freep) int *ids = calloc((size_t)b->prefill + 1, sizeof(*ids));
    const bool tops = pm->kern->ops->top; /* then no logits come here, as in an engine */
    _cleanup_(freep) float *logits = tops ? NULL : malloc((size_t)o->rows * (size_t)n_vocab * sizeof(float));

    if (!ids || (!logits && !tops))
        return probe_error("no memory");
    r = bench_alloc(pm, b);
    if (!r)
        r = probe_run_new(pm, o, MAX(b->prefill + b->n_rows * b->decode, 1), &run);
    bench_make_huge(pm);
    for (int rep = -1; rep < b->reps && !r; rep++)
        r = bench_rep(pm, run, b, rep, n_vocab, ids, logits);
    return r ? r : bench_report(pm, o, b);
}

/* "8" or "1,3,8" */
static int bench_parse_rows(const struct probe_verb *verb, const char *text, struct bench *b)
{
    const char *at = text;

    do {
        char *end;
        long n = strtol(at, &end, 10);

        if (end == at || (*end && *end != ',') || n < 1 || n > PROBE_ROWS_MAX || b->n_rows == BENCH_LISTS_MAX)
            return probe_usage(verb, "--rows is \"%s\", should be up to %d numbers in [1, %d], with commas",
                               text, (int)BENCH_LISTS_MAX, (int)PROBE_ROWS_MAX);
        b->rows[b->n_rows++] = (int)n;
        at = *end ? end + 1 : NULL;
    } while (at);
    return 0;
}

static int bench_run(const struct probe_verb *verb, int argc, char **argv)
{
    struct probe_model_options o = PROBE_MODEL_OPTIONS_INIT;
    struct bench b = {.prefill = 512, .decode = 64, .reps = 5};
    const char *rows = "1";
    struct probe_opt opts[PROBE_N_MODEL_OPTS + 6] = {
        [PROBE_N_MODEL_OPTS] = {"prefill", .number = &b.prefill, .lo = 0, .hi = 1 << 20},
        {"decode", .number = &b.decode, .lo = 0, .hi = 1 << 20},
        {"rows", .text = &rows},
        {"reps", .number = &b.reps, .lo = 1, .hi = 1000},
        {"json", .flag = &b.json},
        {"stages", .flag = &b.stages},
    };
    struct probe_model pm = {0};
    const char *path = NULL;
    double start = bench_now_s();
    int r;

    probe_model_opts(&o, opts);
    r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);
    if (!r)
        r = bench_parse_rows(verb, rows, &b);
    for (int i = 0; i < b.n_rows; i++)
        o.rows = MAX(o.rows, b.rows[i]);
    if (!r)
        r = probe_model_open(path, &o, &pm);
    b.load_s = bench_now_s() - start;
    if (!r)
        r = bench_model(&pm, &o, &b);
    bench_read_deinit(&b.read);
    free(b.prefill_s);
    free(b.read_gb_s);
    for (int i = 0; i < b.n_rows; i++)
        free(b.decode_s[i]);
    probe_model_close(&pm);
    return r;
}

const struct probe_verb probe_bench = {
    "bench",
    "MODEL [--prefill N] [--decode N] [--rows N,...] [--reps N] [--backend ref|cpu|cuda] [--isa NAME] [--kv "
    "f32|f16|q8_0] "
    "[--threads N] "
    "[--chunk N] [--embedding device|host] [--stages] [--json]",
    "prefill and decode tokens per second (median, spread), load time, memory",
    bench_run,
};
