/* speed.c - gpu_driver speed: tokens a second, and what each stage makes of the memory's bandwidth.
 *
 * Lines for run.sh's report: "read GB_S", "speed WHAT TOK_S", "stage PHASE NAME US GB_S", a step each. Random
 * weights serve: speed depends on shapes and types alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gpu.h"
#include "gpu_run.h"

enum { SPEED_STAGES = 16, SPEED_WARM = 2, SPEED_SEQS = 16, SPEED_READS = 5, SPEED_PIECE = 2048 };

struct speed_sizes {
    int prefill, context, decode, deep;
};

static double speed_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void speed_stages(struct gpu_run *run, const char *phase, int n_steps, const struct kern_stage *before)
{
    struct kern_stage now[SPEED_STAGES];
    const int n = MIN(run->kern->ops->stages(run->kern, now, SPEED_STAGES), (int)SPEED_STAGES);

    for (int i = 0; i < n; i++) {
        const double ns = (double)(now[i].ns - before[i].ns),
                     bytes = (double)(now[i].bytes - before[i].bytes);
        if (ns > 0)
            printf("stage %s %s %.1f %.1f\n", phase, now[i].name, ns * 1e-3 / n_steps, bytes / ns);
    }
}

/* A prompt of n tokens from pos on, in pieces. */
static int speed_read(struct gpu_run *run, const int32_t *ids, int n, int pos)
{
    int r = pos ? 0 : gpu_run_clear(run, 0);

    for (int at = 0, piece; at < n && !r; at += piece) {
        piece = MIN(n - at, run->chunk);
        r = gpu_run_step(run, ids + at, piece, pos + at, at + piece == n ? run->logits : NULL);
    }
    return r;
}

static int speed_prefill(struct gpu_run *run, const int32_t *ids, int n, int piece)
{
    struct kern_stage before[SPEED_STAGES] = {{0}};
    char phase[32];
    int r;

    run->chunk = piece;
    r = speed_read(run, ids, n, 0); /* the first one loads kernels */
    const double from = speed_now();
    if (!r)
        r = speed_read(run, ids, n, 0);
    if (!r)
        printf("speed prefill-%d-by-%d %.1f\n", n, piece, n / (speed_now() - from));
    if (r || !run->kern->ops->stages)
        return r;
    snprintf(phase, sizeof(phase), "prefill-by-%d", piece);
    run->kern->ops->stages(run->kern, before, SPEED_STAGES);
    run->kern->timed = true;
    r = speed_read(run, ids, n, 0);
    run->kern->timed = false;
    speed_stages(run, phase, CEIL_DIV(n, piece), before);
    return r;
}

static int speed_decode(struct gpu_run *run, int n_seq, int pos, int n, bool stages)
{
    struct kern_stage before[SPEED_STAGES] = {{0}};
    char phase[32];
    int r = 0;

    for (int i = 0; i < SPEED_WARM && !r; i++)
        r = gpu_run_decode(run, n_seq, pos + i);
    const double from = speed_now();
    for (int i = 0; i < n && !r; i++)
        r = gpu_run_decode(run, n_seq, pos + SPEED_WARM + i);
    if (r)
        return r;
    printf("speed decode-%d-at-%d %.1f\n", n_seq, pos, n * n_seq / (speed_now() - from));
    fflush(stdout); /* what was measured is worth having if the step's time is up */
    if (!stages || !run->kern->ops->stages)
        return 0;
    snprintf(phase, sizeof(phase), "decode-%d", n_seq);
    run->kern->ops->stages(run->kern, before, SPEED_STAGES);
    run->kern->timed = true;
    for (int i = 0; i < n && !r; i++)
        r = gpu_run_decode(run, n_seq, pos + SPEED_WARM + n + i);
    run->kern->timed = false;
    speed_stages(run, phase, n, before);
    return r;
}

/* What the memory gives: the weights, read and nothing else done with them, the best of some. */
static void speed_plain_read(struct gpu_run *run)
{
    const struct kern_mem *mem = &run->model->weights.mem;
    const size_t bytes = mem->bytes / 64 * 64;
    double best = 0;

    if (!run->kern->ops->read)
        return;
    for (int i = 0; i < SPEED_READS; i++) {
        const double from = speed_now();
        run->kern->ops->read(run->kern, mem->base, bytes);
        best = fmax(best, (double)bytes / (speed_now() - from));
    }
    printf("read %.1f\n", best * 1e-9);
}

/* Nobody read what is before these positions: times depend on lengths alone. */
static int speed_table(struct gpu_run *run, int context, int n)
{
    static const int seqs[] = {1, 2, 4, 8, 16};
    const int at[] = {0, context / 8, context};
    int r = 0;

    for (size_t c = 0; c < ARRAY_SIZE(at); c++)
        for (size_t i = 0; i < ARRAY_SIZE(seqs) && !r; i++)
            if ((at[c] || (seqs[i] != 1 && seqs[i] != 16)) &&
                (at[c] != context || seqs[i] != 1)) /* measured */
                r = speed_decode(run, seqs[i], at[c], n, false);
    return r;
}

/* Of the last decode. */
static bool speed_is_finite(struct gpu_run *run)
{
    if (model_logits(run->model, run->state, 0, run->logits) < 0)
        return false;
    for (int i = 0; i < run->n_vocab; i++)
        if (!isfinite(run->logits[i]))
            return false;
    return true;
}

/* A prompt, then what was read decides what is read next: the logits of 1 sequence at CONTEXT must be finite.
 */
static int speed_all(struct gpu_run *run, const int32_t *ids, const struct speed_sizes *size,
                     bool *ret_finite)
{
    static const int pieces[] = {512, SPEED_PIECE};
    int r = 0;

    speed_plain_read(run);
    for (size_t i = 0; i < ARRAY_SIZE(pieces) && !r; i++)
        if (!i || size->prefill > pieces[i - 1])
            r = speed_prefill(run, ids, size->prefill, pieces[i]);
    for (int i = 0; i < SPEED_SEQS && !r; i++)
        r = gpu_run_clear(run, i);
    if (!r)
        r = speed_decode(run, 1, 0, size->decode, true);
    if (!r)
        r = speed_decode(run, SPEED_SEQS, 0, size->decode, true);
    if (!r)
        r = speed_read(run, ids, size->context, 0);
    if (!r)
        r = speed_decode(run, 1, size->context, size->decode, false);
    *ret_finite = !r && speed_is_finite(run);
    if (!r)
        r = speed_table(run, size->context, CEIL_DIV(size->decode, 2));
    if (!r && size->deep > size->context)
        r = speed_decode(run, 1, size->deep, CEIL_DIV(size->decode, 2), false);
    return r;
}

/* argv: MODEL PREFILL CONTEXT DECODE [DEEP]: a prompt of PREFILL tokens; DECODE steps of 1 sequence and of 16
 * at 0, half as many of those between, and at an eighth of CONTEXT and at CONTEXT; of 1 at DEEP, where it is
 * more. */
int gpu_speed(const char *backend, int argc, char **argv)
{
    struct speed_sizes size;
    struct gpu_run run;
    bool finite = false;
    int r;

    if (argc < 5 || argc > 6 || (size.prefill = atoi(argv[2])) < 1 || (size.context = atoi(argv[3])) < 8 ||
        (size.decode = atoi(argv[4])) < 1)
        return 2;
    size.deep = argc == 6 ? atoi(argv[5]) : 0;
    const int steps = 2 * size.decode + SPEED_WARM, n_ids = MAX(size.prefill, size.context);
    r = gpu_run_open(&run, backend, argv[1], SPEED_SEQS, SPEED_PIECE, MAX(n_ids, size.deep) + steps,
                     size.context + steps, KERN_KV_F16, WEIGHTS_TABLE_WITH_ALL);
    _cleanup_(freep) int32_t *ids = calloc((size_t)n_ids, sizeof(*ids));
    for (int i = 0; i < n_ids && !r; i++)
        ids[i] = (i * 37 + 11) % run.n_vocab;
    if (!r)
        r = speed_all(&run, ids, &size, &finite);
    gpu_check(!r && finite, "speed", "%s: %s %s", argv[1],
              r        ? strerror(-r)
              : finite ? "logits are finite"
                       : "logits are not finite",
              run.kern ? run.kern->trouble : "");
    gpu_run_close(&run);
    return gpu_n_failed() > 0;
}
