/* bench_stages.c - see bench_stages.h. */
#include "bench_stages.h"

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

enum { BENCH_READ_BYTES = 512 << 20 };

int bench_read_init(struct bench_read *read, struct kern *kern, const struct kern_mem *weights)
{
    *read = (struct bench_read){.kern = kern, .data = weights->base, .bytes = weights->bytes / 64 * 64};
    if (!kern->ops->read || weights->bytes >= BENCH_READ_BYTES)
        return 0;
    const int r = kern->ops->mem_alloc(kern, BENCH_READ_BYTES, KERN_MEM_STATE, &read->own);
    if (r)
        return r;
    read->data = read->own.base;
    read->bytes = BENCH_READ_BYTES;
    return kern->ops->clear(kern, read->own.base,
                            BENCH_READ_BYTES); /* else one page of zeros would be all of it */
}

void bench_read_deinit(struct bench_read *read)
{
    if (read->kern)
        read->kern->ops->mem_free(read->kern, &read->own);
}

double bench_read_gb_s(const struct bench_read *read)
{
    struct timespec a, b;

    if (!read->kern->ops->read)
        return 0.0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    read->kern->ops->read(read->kern, read->data, read->bytes);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)read->bytes / ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec));
}
