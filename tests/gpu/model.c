/* model.c - gpu_driver model: a whole model against its reference logits (tests/golden/README.md).
 *
 * CASES is what run.sh makes of the model's JSON: "n_vocab n_prompts rms kl is_f32", then for each prompt
 * "row n_ids n_positions", its ids and its positions.  The limits are those of tests/model/test_golden.c.
 * With "host" the table of embeddings lies in main memory, and bits are compared with those of a model that
 * has it on the device. */
#include "gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gpu_run.h"

static const double MODEL_SLACK = 1.2, MODEL_F32 = 2e-3;
enum { MODEL_CHUNK = 64, MODEL_CTX = 1024, MODEL_ROWS_MAX = 64 };

struct model_case {
    int row, n_ids, n_positions;
    int32_t ids[MODEL_CTX];
    int positions[MODEL_ROWS_MAX];
};

static bool model_read_ints(FILE *in, int *values, int n)
{
    for (int i = 0; i < n; i++)
        if (fscanf(in, "%d", &values[i]) != 1)
            return false;
    return true;
}

static bool model_read_case(FILE *in, struct model_case *c)
{
    return fscanf(in, "%d %d %d", &c->row, &c->n_ids, &c->n_positions) == 3 && c->n_ids > 0 &&
           c->n_ids <= MODEL_CTX && c->n_positions > 0 && c->n_positions <= MODEL_ROWS_MAX &&
           model_read_ints(in, c->ids, c->n_ids) && model_read_ints(in, c->positions, c->n_positions);
}

static double model_log_sum(const float *x, int n)
{
    double most = -INFINITY, sum = 0;

    for (int i = 0; i < n; i++)
        most = fmax(most, (double)x[i]);
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - most);
    return most + log(sum);
}

struct model_distance {
    double squares, kl, max;
    int n_rows, n_other; /* n_other: with other bits than the twin's */
};

static void model_compare(struct model_distance *d, const float *want, const float *got, int n_vocab)
{
    const double want_sum = model_log_sum(want, n_vocab), got_sum = model_log_sum(got, n_vocab);

    for (int i = 0; i < n_vocab; i++) {
        const double diff = (double)got[i] - (double)want[i], log_p = (double)want[i] - want_sum;
        d->max = diff == diff ? fmax(d->max, fabs(diff)) : INFINITY;
        d->squares += diff * diff;
        d->kl += exp(log_p) * (log_p - ((double)got[i] - got_sum));
    }
    d->n_rows++;
}

/* From at to the position, in pieces of at most MODEL_CHUNK tokens; logits of the last. */
static int model_run_to(struct gpu_run *run, const struct model_case *c, int at, int position, float *got)
{
    int r = 0;

    for (int n; at <= position && !r; at += n) {
        n = MIN(position + 1 - at, (int)MODEL_CHUNK);
        r = gpu_run_step(run, c->ids + at, n, at, at + n > position ? got : NULL);
    }
    return r;
}

static int model_run_case(struct gpu_run *run, struct gpu_run *twin, const struct model_case *c, FILE *logits,
                          float *want, float *got, struct model_distance *d)
{
    int at = 0, r = gpu_run_clear(run, 0);

    if (!r && twin)
        r = gpu_run_clear(twin, 0);
    for (int p = 0; p < c->n_positions && !r; p++, at = c->positions[p - 1] + 1) {
        r = model_run_to(run, c, at, c->positions[p], got);
        if (!r && twin) {
            r = model_run_to(twin, c, at, c->positions[p], twin->logits);
            d->n_other += memcmp(twin->logits, got, (size_t)run->n_vocab * sizeof(float)) != 0;
        }
        if (r || fseek(logits, (long)(c->row + p) * run->n_vocab * (long)sizeof(float), SEEK_SET) ||
            fread(want, sizeof(float), (size_t)run->n_vocab, logits) != (size_t)run->n_vocab)
            return r ? r : -EIO;
        model_compare(d, want, got, run->n_vocab);
    }
    return r;
}

int gpu_model(const char *backend, int argc, char **argv)
{
    static struct model_case c;
    struct model_distance d = {0};
    struct gpu_run run, twin;
    const bool on_host = argc == 5 && !strcmp(argv[4], "host");
    int n_vocab, n_prompts, is_f32, r;
    double rms, kl;

    if (argc != 4 && !on_host)
        return 2;
    FILE *cases = fopen(argv[2], "r"), *logits = fopen(argv[3], "rb");
    if (!cases || !logits ||
        fscanf(cases, "%d %d %lf %lf %d", &n_vocab, &n_prompts, &rms, &kl, &is_f32) != 5) {
        gpu_check(false, argv[1], "%s or %s cannot be read", argv[2], argv[3]);
        return 1;
    }
    r = gpu_run_open(&run, backend, argv[1], 1, MODEL_CHUNK, MODEL_CTX, 0, KERN_KV_F32,
                     on_host ? WEIGHTS_TABLE_HOST : WEIGHTS_TABLE_WITH_ALL);
    if (!r && on_host)
        r = gpu_run_open(&twin, backend, argv[1], 1, MODEL_CHUNK, MODEL_CTX, 0, KERN_KV_F32,
                         WEIGHTS_TABLE_WITH_ALL);
    float *want = r ? NULL : malloc((size_t)run.n_vocab * sizeof(float)),
          *got = r ? NULL : malloc((size_t)run.n_vocab * sizeof(float));
    for (int i = 0; i < n_prompts && !r; i++)
        r = model_read_case(cases, &c) && run.n_vocab == n_vocab
                ? model_run_case(&run, on_host ? &twin : NULL, &c, logits, want, got, &d)
                : -EINVAL;
    if (r) {
        gpu_check(false, argv[1], "%s %s", strerror(-r), run.kern ? run.kern->trouble : "");
    } else {
        const double our_rms = sqrt(d.squares / ((double)d.n_rows * n_vocab)), our_kl = d.kl / d.n_rows;
        const bool ok =
            is_f32 ? d.max <= MODEL_F32 : our_rms <= MODEL_SLACK * rms && our_kl <= MODEL_SLACK * kl;
        gpu_check(ok, argv[1], "%d rows, rms %.2e (llama.cpp's CPU code: %.2e), KL %.2e (%.2e), max %.2e",
                  d.n_rows, our_rms, rms, our_kl, kl, d.max);
        if (on_host)
            gpu_check(!d.n_other && run.model->weights.host.base, argv[1],
                      "%d of %d rows have other bits with the table of embeddings in main memory, pinned %s",
                      d.n_other, d.n_rows, run.kern->host_copies == 1 ? "as it is" : "as a copy");
    }
    free(want);
    free(got);
    gpu_run_close(&run);
    if (on_host)
        gpu_run_close(&twin);
    fclose(cases);
    fclose(logits);
    return gpu_n_failed() > 0;
}
