/* sample.c - verb sample: the filtered distribution of the sampler, case by case. */
#include "probe.h"

#include <string.h>

#include "daemon/engine/sample.h"

enum { SAMPLE_PROBS_MAX = 200 }; /* printed; ids are printed all */

struct sample_job {
    struct sampler *sampler;
    float *logits; /* [n_rows][n_vocab] */
    size_t n_rows;
    int n_vocab;
};

static int sample_read_logits(const char *path, struct sample_job *job)
{
    const size_t row_bytes = (size_t)job->n_vocab * sizeof(float);
    FILE *f = fopen(path, "rb");
    long size = -1;
    bool ok;

    if (!f)
        return probe_error("%s: %s", path, strerror(errno));
    if (!fseek(f, 0, SEEK_END))
        size = ftell(f);
    rewind(f);
    if (size <= 0 || (size_t)size % row_bytes) {
        fclose(f);
        return probe_error("%s: %ld bytes, should be rows of %d float32", path, size, job->n_vocab);
    }
    job->n_rows = (size_t)size / row_bytes;
    job->logits = malloc((size_t)size);
    ok = job->logits && fread(job->logits, row_bytes, job->n_rows, f) == job->n_rows;
    fclose(f);
    return ok ? 0 : probe_error("%s: could not be read", path);
}

static int sample_get_float(const json_t *object, size_t line_no, const char *key, float *value)
{
    const json_t *v = json_object_get(object, key);

    if (v && !json_is_number(v))
        return probe_error("line %zu: \"%s\" should be a number", line_no, key);
    if (v)
        *value = (float)json_number_value(v);
    return 0;
}

static int sample_get_int(const json_t *object, size_t line_no, const char *key, int lo, int hi, int *value)
{
    return json_object_get(object, key) ? probe_get_int(object, line_no, key, lo, hi, value) : 0;
}

static int sample_params_get(const json_t *object, size_t line_no, int n_vocab, struct sample_params *p)
{
    struct fault fault;
    int r;

    /* absent: off, as the cases' description has it */
    *p = (struct sample_params){.temperature = 1, .top_p = 1, .repeat_penalty = 1};
    r = sample_get_float(object, line_no, "temperature", &p->temperature);
    if (!r)
        r = sample_get_float(object, line_no, "top_p", &p->top_p);
    if (!r)
        r = sample_get_float(object, line_no, "min_p", &p->min_p);
    if (!r)
        r = sample_get_float(object, line_no, "repeat_penalty", &p->repeat_penalty);
    if (!r)
        r = sample_get_float(object, line_no, "presence_penalty", &p->presence_penalty);
    if (!r)
        r = sample_get_float(object, line_no, "frequency_penalty", &p->frequency_penalty);
    if (!r)
        r = sample_get_int(object, line_no, "top_k", 0, INT32_MAX, &p->top_k);
    if (!r)
        r = sample_get_int(object, line_no, "penalty_last_n", -1, INT32_MAX, &p->penalty_last_n);
    if (!r && sample_params_check(p, n_vocab, &fault))
        r = probe_error("line %zu: %s", line_no, fault.text);
    return r;
}

static void sample_print(const int32_t *ids, const double *probs, int n)
{
    fputs("{\"ids\": [", stdout);
    for (int i = 0; i < n; i++)
        printf(i ? ", %d" : "%d", ids[i]);
    fputs("], \"probs\": [", stdout);
    for (int i = 0; i < MIN(n, SAMPLE_PROBS_MAX); i++)
        printf(i ? ", %.17g" : "%.17g", probs[i]);
    printf("], \"n_kept\": %d}\n", n);
}

static int sample_line(void *user, size_t line_no, const json_t *object)
{
    const struct sample_job *job = user;
    _cleanup_(freep) int *recent = NULL;
    const json_t *params = json_object_get(object, "params");
    struct sample_params p;
    const int32_t *ids;
    const double *probs;
    size_t n_recent = 0;
    int row, n, r;

    r = probe_get_int(object, line_no, "logits_row", 0, (int)job->n_rows - 1, &row);
    if (!r)
        r = sample_params_get(params ? params : object, line_no, job->n_vocab, &p);
    if (!r && json_array_size(json_object_get(object, "recent")))
        r = probe_get_ints(object, line_no, "recent", 0, job->n_vocab - 1, &recent, &n_recent);
    if (r)
        return r;
    r = sampler_distribution(job->sampler, &p, job->logits + (size_t)row * (size_t)job->n_vocab, NULL, recent,
                             n_recent, &ids, &probs, &n);
    if (r)
        return probe_error("line %zu: no finite logit is left", line_no);
    sample_print(ids, probs, n);
    return 0;
}

static int sample_run(const struct probe_verb *verb, int argc, char **argv)
{
    struct sample_job job = {0};
    const struct probe_opt opts[] = {{.name = "vocab", .number = &job.n_vocab, .lo = 1, .hi = 1 << 24}};
    const char *path;
    int r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);

    if (r)
        return r;
    if (!job.n_vocab)
        return probe_usage(verb, "--vocab is missing");
    r = sample_read_logits(path, &job);
    if (!r && sampler_new(job.n_vocab, &job.sampler))
        r = probe_error("no memory for a vocabulary of %d", job.n_vocab);
    if (!r)
        r = probe_each_line(sample_line, &job);
    sampler_free(job.sampler);
    free(job.logits);
    return r;
}

const struct probe_verb probe_sample = {
    .name = "sample",
    .args = "LOGITS.f32 --vocab N",
    .help =
        "one case per line (logits_row, recent, parameters) to {\"ids\":[...],\"probs\":[...]}, best first",
    .run = sample_run,
};
