/* golden.c - see golden.h. */
#include "tests/model/golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* reference */
static int *golden_ints(const json_t *array, int n_more, int *ret_n)
{
    int n = (int)json_array_size(array), *values = calloc((size_t)(n + n_more), sizeof(*values));

    assert_non_null(values);
    for (int i = 0; i < n; i++)
        values[i] = (int)json_integer_value(json_array_get(array, (size_t)i));
    *ret_n = n;
    return values;
}

/* The file's rows of a prompt: positions, greedy_last_row, in MTP models draft rows, which are left out. */
static void golden_read_prompt(const json_t *json, const float *file, int n_vocab, float **rows,
                               struct golden_prompt *p)
{
    int n_greedy, row = (int)json_integer_value(json_object_get(json, "row"));
    int last_row = (int)json_integer_value(json_object_get(json, "greedy_last_row"));
    int *greedy = golden_ints(json_object_get(json, "greedy"), 0, &n_greedy);

    p->ids = golden_ints(json_object_get(json, "ids"), n_greedy, &p->n_ids);
    memcpy(p->ids + p->n_ids, greedy, (size_t)n_greedy * sizeof(*greedy));
    free(greedy);
    p->greedy = p->ids + p->n_ids;
    p->n_greedy = n_greedy;
    p->margin = calloc((size_t)n_greedy, sizeof(*p->margin));
    assert_non_null(p->margin);
    for (int i = 0; i < n_greedy; i++)
        p->margin[i] = json_number_value(json_array_get(json_object_get(json, "greedy_margin"), (size_t)i));
    p->positions = golden_ints(json_object_get(json, "positions"), 1, &p->n_positions);
    for (int i = 0; i < p->n_positions; i++, *rows += n_vocab)
        memcpy(*rows, file + (size_t)(row + i) * (size_t)n_vocab, (size_t)n_vocab * sizeof(float));
    p->positions[p->n_positions++] = p->n_ids + n_greedy - 2; /* after ids + greedy[0 .. n - 2] */
    memcpy(*rows, file + (size_t)last_row * (size_t)n_vocab, (size_t)n_vocab * sizeof(float));
    *rows += n_vocab;
}

static float *golden_read_floats(const char *path, size_t n)
{
    float *values = malloc(n * sizeof(*values));
    FILE *in = fopen(path, "rb");

    assert_non_null(in);
    assert_non_null(values);
    assert_int_equal(fread(values, sizeof(*values), n, in), n);
    fclose(in);
    return values;
}

void golden_read(const char *dir, const char *name, struct golden *ret_golden)
{
    struct golden g = {0};
    char path[512];
    const json_t *prompts, *agreement;
    json_t *json;
    float *file, *rows;

    snprintf(path, sizeof(path), "%s/models/%s.json", dir, name);
    json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    snprintf(g.gguf, sizeof(g.gguf), "%s/models/%s.gguf", dir, name);
    snprintf(path, sizeof(path), "%s/models/%s.logits.f32", dir, name);
    g.n_vocab = (int)json_integer_value(json_object_get(json, "n_vocab"));
    int n_file = (int)json_integer_value(json_object_get(json, "n_rows"));
    file = golden_read_floats(path, (size_t)n_file * (size_t)g.n_vocab);
    prompts = json_object_get(json, "prompts");
    agreement = json_object_get(json, "agreement");
    g.llama_rms = json_number_value(json_object_get(agreement, "llama_vs_hf_rms"));
    g.llama_kl = json_number_value(json_object_get(agreement, "kl_mean"));
    g.is_f32 = json_object_size(json_object_get(json, "tensor_types")) == 1;
    g.n_prompts = (int)json_array_size(prompts);
    assert_true(g.n_prompts > 0 && g.llama_rms > 0 && g.llama_kl > 0);
    g.prompts = calloc((size_t)g.n_prompts, sizeof(*g.prompts));
    g.logits = rows = calloc((size_t)n_file * (size_t)g.n_vocab, sizeof(float));
    assert_true(g.prompts && rows);
    for (int i = 0; i < g.n_prompts; i++)
        golden_read_prompt(json_array_get(prompts, (size_t)i), file, g.n_vocab, &rows, &g.prompts[i]);
    g.n_rows = (int)((rows - g.logits) / g.n_vocab);
    free(file);
    json_decref(json);
    *ret_golden = g;
}

void golden_deinit(struct golden *g)
{
    for (int i = 0; i < g->n_prompts; i++) {
        free(g->prompts[i].ids);
        free(g->prompts[i].positions);
        free(g->prompts[i].margin);
    }
    free(g->prompts);
    free(g->logits);
}

/* ours */
static int golden_on_rows(void *user, const float *rows, int n_rows)
{
    struct {
        float *at;
        int n_vocab;
    } *to = user;

    memcpy(to->at, rows, (size_t)n_rows * (size_t)to->n_vocab * sizeof(float));
    to->at += (size_t)n_rows * (size_t)to->n_vocab;
    return 0;
}

/* Replaces pm's model by one that adopts its sealed weights on a backend of its own, as an engine does after
 * a crash. */
static void golden_adopt(const char *path, const struct probe_model_options *o, struct probe_model *pm)
{
    const struct kern_options options = {
        .backend = o->backend, .isa = o->isa, .n_threads = o->threads, .share_all = true};
    struct probe_model next = {0};
    struct fault fault = {0};
    const struct weights *w = &pm->model->weights;
    const struct weights_fds fds = {dup(w->mem.fd), w->host.base ? dup(w->host.fd) : -1};
    uint8_t digest[32];

    assert_true(fds.all >= 0 && (fds.host >= 0) == (w->host.base != NULL));
    memcpy(digest, pm->model->digest, sizeof(digest));
    probe_model_close(pm);
    assert_int_equal(gguf_open(path, &fault, &next.gguf), GGUF_OK);
    assert_int_equal(kern_open(&options, &fault, &next.kern), KERN_OK);
    assert_int_equal(model_adopt(next.gguf, path, next.kern, fds, digest, &fault, &next.model), MODEL_OK);
    *pm = next;
}

static bool golden_leaves_out(const struct golden_setup *s, const struct golden_prompt *p)
{
    return s->longest && p->n_ids > s->longest;
}

float *golden_run(const struct golden *g, const struct golden_setup *s, int *ret_n_rows)
{
    _cleanup_(probe_run_freep) struct probe_run *run = NULL;
    _cleanup_(freep) float *scratch = malloc((size_t)PROBE_ROWS_MAX * (size_t)g->n_vocab * sizeof(float));
    float *out = malloc((size_t)g->n_rows * (size_t)g->n_vocab * sizeof(float));
    struct probe_model pm = {0};
    struct {
        float *at;
        int n_vocab;
    } to = {out, g->n_vocab};

    assert_true(scratch && out);
    assert_int_equal(probe_model_open(g->gguf, &s->options, &pm), 0);
    if (s->adopt)
        golden_adopt(g->gguf, &s->options, &pm);
    assert_int_equal(probe_run_new(&pm, &s->options, 1024, &run), 0);
    for (int i = 0; i < g->n_prompts; i++) {
        const struct golden_prompt *p = &g->prompts[i];
        const struct probe_want want = {.ids = p->ids,
                                        .n_ids = p->n_ids + p->n_greedy,
                                        .positions = p->positions,
                                        .n_positions = p->n_positions,
                                        .logits = scratch,
                                        .on_rows = golden_on_rows,
                                        .user = &to};

        if (golden_leaves_out(s, p))
            continue;
        assert_int_equal(probe_run_reset(run), 0);
        assert_int_equal(probe_run_positions(run, &want), 0);
    }
    run = probe_run_free(run);
    probe_model_close(&pm);
    *ret_n_rows = (int)((to.at - out) / g->n_vocab);
    return out;
}

/* distance */
static double golden_log_sum(const float *x, int n)
{
    double most = -INFINITY, sum = 0;

    for (int i = 0; i < n; i++)
        most = fmax(most, (double)x[i]);
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - most);
    return most + log(sum);
}

struct golden_distance golden_compare(const float *ref, const float *ours, int n_rows, int n_vocab)
{
    struct golden_distance d = {0};

    for (int r = 0; r < n_rows; r++, ref += n_vocab, ours += n_vocab) {
        double ref_sum = golden_log_sum(ref, n_vocab), our_sum = golden_log_sum(ours, n_vocab);

        for (int i = 0; i < n_vocab; i++) {
            double diff = (double)ours[i] - (double)ref[i], log_p = (double)ref[i] - ref_sum;

            d.max = diff == diff ? fmax(d.max, fabs(diff)) : INFINITY;
            d.rms += diff * diff;
            d.kl += exp(log_p) * (log_p - ((double)ours[i] - our_sum));
        }
    }
    d.rms = sqrt(d.rms / ((double)n_rows * n_vocab));
    d.kl /= n_rows;
    return d;
}
