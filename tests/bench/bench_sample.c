/* bench_sample.c - what one pick costs.
 *
 *     bench_sample [REPS]
 *
 * A row of the real vocabulary, random logits, the ids that no token has banned as in the engine, the
 * settings a request has without any of its own: milliseconds, the median and the fastest of REPS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/engine/sample.h"

enum { N_VOCAB = 248320, N_TOKENS = 248077, REPS = 101, REPS_MAX = 100000 };

static double sample_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int sample_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int sample_bench(struct sampler *s, const float *logits, double *ms, int reps)
{
    static const int32_t seen[] = {1, 2, 3};
    static bool banned[N_VOCAB];
    struct sample_params p;

    sample_params_default(&p, true);
    memset(banned + N_TOKENS, true, N_VOCAB - N_TOKENS);
    for (int i = 0; i < reps; i++) {
        struct sample_choice c;
        const double from = sample_now_ms();

        if (sampler_pick(s, &p, logits, banned, seen, (int)ARRAY_SIZE(seen), (uint64_t)i, -1, &c))
            return 1;
        ms[i] = sample_now_ms() - from;
    }
    qsort(ms, (size_t)reps, sizeof(*ms), sample_compare);
    printf("one pick of %d logits: %.3f ms, %.3f at best of %d\n", N_VOCAB, ms[reps / 2], ms[0], reps);
    return 0;
}

int main(int argc, char **argv)
{
    const int reps = argc > 1 ? atoi(argv[1]) : REPS;
    _cleanup_(sampler_freep) struct sampler *s = NULL;
    _cleanup_(freep) float *logits = malloc(N_VOCAB * sizeof(*logits));
    _cleanup_(freep) double *ms = NULL;

    if (argc > 2 || reps < 1 || reps > REPS_MAX) {
        fputs("usage: bench_sample [REPS]\n", stderr);
        return 2;
    }
    ms = malloc((size_t)reps * sizeof(*ms));
    if (!logits || !ms || sampler_new(N_VOCAB, &s))
        return 1;
    for (uint32_t i = 0, x = 1; i < N_VOCAB; i++, x = x * 1664525u + 1013904223u)
        logits[i] = (float)(x >> 8) / (float)(1 << 20) - 8.0f;
    return sample_bench(s, logits, ms, reps);
}
