/* bench_stages.c - see bench_stages.h. */
#include "bench_stages.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static int bench_stages_read(const struct kern *kern, struct kern_stage *ret_stages)
{
    return kern->ops->stages
               ? MIN(kern->ops->stages(kern, ret_stages, BENCH_STAGES_MAX), (int)BENCH_STAGES_MAX)
               : 0;
}

void bench_stages_begin(struct bench_stages *stages, const struct kern *kern)
{
    stages->n = bench_stages_read(kern, stages->at_begin);
}

void bench_stages_end(struct bench_stages *stages, const struct kern *kern)
{
    struct kern_stage now[BENCH_STAGES_MAX];

    stages->n = bench_stages_read(kern, now);
    for (int i = 0; i < stages->n; i++) {
        struct kern_stage *sum = &stages->sum[i], *from = &stages->at_begin[i];
        sum->name = now[i].name;
        sum->n += now[i].n - from->n;
        sum->n_shared += now[i].n_shared - from->n_shared;
        sum->ns += now[i].ns - from->ns;
        sum->bytes += now[i].bytes - from->bytes;
        sum->ops += now[i].ops - from->ops;
    }
}

/* A product is an addition too. */
json_t *bench_stages_json(const struct bench_stages *stages, int n_step)
{
    json_t *all = json_array();

    for (int i = 0; i < stages->n; i++) {
        const struct kern_stage *s = &stages->sum[i];
        const double ns = (double)s->ns, per = 1.0 / n_step;
        json_array_append_new(
            all, json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "stage", s->name, "phases",
                           (double)s->n * per, "shared", (double)s->n_shared * per, "us", ns * per * 1e-3,
                           "mb", (double)s->bytes * per * 1e-6, "gb_s", s->ns ? (double)s->bytes / ns : 0.0,
                           "gop_s", s->ns ? 2 * (double)s->ops / ns : 0.0));
    }
    return all;
}

/* plain read */

enum { BENCH_READ_BYTES = 512 << 20, BENCH_READERS_MAX = 64 };

struct bench_reader {
    pthread_t thread;
    const uint64_t *words;
    size_t n_words;
    uint64_t sum; /* keeps the reads */
};

static void *bench_read_main(void *arg)
{
    struct bench_reader *r = arg;
    uint64_t sum[8] = {0};

    for (size_t i = 0; i + 8 <= r->n_words; i += 8)
        for (size_t j = 0; j < 8; j++)
            sum[j] += r->words[i + j];
    for (size_t j = 0; j < 8; j++)
        r->sum += sum[j];
    return NULL;
}

static double bench_read_once(const uint64_t *words, size_t n_words, int n_threads)
{
    struct bench_reader readers[BENCH_READERS_MAX];
    struct timespec a, b;
    int n = 0;

    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < n_threads; i++) {
        const size_t from = n_words * (size_t)i / (size_t)n_threads,
                     to = n_words * ((size_t)i + 1) / (size_t)n_threads;
        readers[i] = (struct bench_reader){.words = words + from, .n_words = to - from};
    }
    while (n + 1 < n_threads && !pthread_create(&readers[n].thread, NULL, bench_read_main, &readers[n]))
        n++;
    for (int i = n; i < n_threads; i++)
        bench_read_main(&readers[i]);
    for (int i = 0; i < n; i++)
        pthread_join(readers[i].thread, NULL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)n_words * 8 / ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec));
}

double bench_read_gb_s(const struct kern_mem *weights, int n_threads)
{
    const bool own = weights->bytes < BENCH_READ_BYTES;
    const size_t bytes = own ? BENCH_READ_BYTES : weights->bytes;
    _cleanup_(freep) uint64_t *buf = own ? malloc(bytes) : NULL;
    const uint64_t *words = own ? buf : (const uint64_t *)weights->base;
    double a, b, c;

    if (!words)
        return (double)NAN;
    if (own)
        memset(buf, 1, bytes);
    n_threads = CLAMP(n_threads, 1, BENCH_READERS_MAX);
    a = bench_read_once(words, bytes / 8, n_threads);
    b = bench_read_once(words, bytes / 8, n_threads);
    c = bench_read_once(words, bytes / 8, n_threads);
    return fmax(fmin(a, b), fmin(fmax(a, b), c));
}
