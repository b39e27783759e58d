/* profile.c - gpu_driver profile: one step for a profiler to look at, and nothing else.
 *
 * "ncu --profile-from-start off gpu_driver cuda profile ..." sees the kernels of the second of two equal
 * steps: the first one loads them.  What is before the step's positions was never written, since times depend
 * on lengths alone; so no logits are checked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "gpu_run.h"

/* Of CUDA's runtime, or of the emulation; a C compiler on a bare machine has no headers of either. */
int cudaProfilerStart(void);
int cudaProfilerStop(void);

enum { PROFILE_SEQS = 16 };

static int profile_steps(struct gpu_run *run, bool reads, int n, int ctx)
{
    _cleanup_(freep) int32_t *ids = calloc((size_t)n, sizeof(*ids));
    int r = 0;

    for (int i = 0; i < n; i++)
        ids[i] = (i * 37 + 11) % run->n_vocab;
    run->kern->timed = true; /* kernels one by one, not a graph */
    for (int i = 0; i < 2 && !r; i++) {
        if (i == 1)
            cudaProfilerStart();
        r = reads ? gpu_run_step(run, ids, n, ctx, run->logits) : gpu_run_decode(run, n, ctx);
    }
    cudaProfilerStop();
    return r;
}

/* argv: MODEL decode|prefill ROWS CONTEXT: one token of each of ROWS sequences, or ROWS tokens of one, at
 * CONTEXT. */
int gpu_profile(const char *backend, int argc, char **argv)
{
    struct gpu_run run;
    int n, ctx, r;

    if (argc != 5 || (n = atoi(argv[3])) < 1 || (ctx = atoi(argv[4])) < 0)
        return 2;
    const bool reads = !strcmp(argv[2], "prefill");
    if (!reads && (strcmp(argv[2], "decode") || n > PROFILE_SEQS))
        return 2;
    const int n_seq = reads ? 1 : n, most = ctx + (reads ? n : 1);
    r = gpu_run_open(&run, backend, argv[1], n_seq, reads ? n : n_seq, most, most, KERN_KV_F16,
                     WEIGHTS_TABLE_WITH_ALL);
    for (int i = 0; i < n_seq && !r; i++)
        r = gpu_run_clear(&run, i);
    if (!r)
        r = profile_steps(&run, reads, n, ctx);
    gpu_check(!r, "profile", "%s of %d at %d: %s", argv[2], n, ctx,
              r ? run.kern ? run.kern->trouble : strerror(-r) : "done");
    gpu_run_close(&run);
    return gpu_n_failed() > 0;
}
