/* speed.c - gpu_driver speed: tokens a second, and what each stage makes of the memory's bandwidth.
 *
 * Lines for run.sh's report: "speed WHAT TOK_S", "stage PHASE NAME US GB_S", a step each.  Random weights
 * serve: speed depends on shapes and types alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gpu.h"
#include "gpu_run.h"

enum { SPEED_STAGES = 16, SPEED_WARM = 3 };

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

static int speed_prefill(struct gpu_run *run, const int32_t *ids, int n)
{
    struct kern_stage before[SPEED_STAGES] = {{0}};
    int r = speed_read(run, ids, n, 0); /* the first one loads kernels */
    const double from = speed_now();

    if (!r)
        r = speed_read(run, ids, n, 0);
    if (!r)
        printf("speed prefill-%d %.1f\n", n, n / (speed_now() - from));
    if (!r && run->kern->ops->stages) {
        run->kern->ops->stages(run->kern, before, SPEED_STAGES);
        run->kern->timed = true;
        r = speed_read(run, ids, n, 0);
        run->kern->timed = false;
        speed_stages(run, "prefill", CEIL_DIV(n, run->chunk), before);
    }
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

/* argv: MODEL PREFILL CONTEXT DECODE: prompts of PREFILL tokens; DECODE steps at 0 and at CONTEXT of 1
 * sequence, and of 16. */
int gpu_speed(const char *backend, int argc, char **argv)
{
    enum { SEQS = 16, CHUNK = 512 };
    struct gpu_run run;
    int prefill, context, decode, r;

    if (argc != 5 || (prefill = atoi(argv[2])) < 1 || (context = atoi(argv[3])) < 1 ||
        (decode = atoi(argv[4])) < 1)
        return 2;
    const int steps = 2 * decode + SPEED_WARM;
    r = gpu_run_open(&run, backend, argv[1], SEQS, CHUNK, MAX(prefill, context) + steps, steps, KERN_KV_F16);
    _cleanup_(freep) int32_t *ids = calloc((size_t)MAX(prefill, context), sizeof(*ids));
    for (int i = 0; i < MAX(prefill, context) && !r; i++)
        ids[i] = (i * 37 + 11) % run.n_vocab;
    if (!r)
        r = speed_prefill(&run, ids, prefill);
    for (int i = 0; i < SEQS && !r; i++)
        r = gpu_run_clear(&run, i);
    if (!r)
        r = speed_decode(&run, 1, 0, decode, true);
    if (!r)
        r = speed_decode(&run, SEQS, 0, decode, true);
    if (!r)
        r = speed_read(&run, ids, context, 0);
    if (!r)
        r = speed_decode(&run, 1, context, decode, false);
    bool finite = true;
    for (int i = 0; i < run.n_vocab && !r; i++)
        finite = finite && isfinite(run.logits[i]);
    gpu_check(!r && finite, "speed", "%s: %s %s", argv[1],
              r        ? strerror(-r)
              : finite ? "logits are finite"
                       : "logits are not finite",
              run.kern ? run.kern->trouble : "");
    gpu_run_close(&run);
    return gpu_n_failed() > 0;
}
