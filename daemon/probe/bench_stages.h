/* bench_stages.h - where a bench's time goes, stage by stage, and what the memory gives a plain read. */
#pragma once

#include "probe.h"

enum { BENCH_STAGES_MAX = 32 };

/* Sums over what runs between begin and end; all zero: none yet.  Empty for a backend that does not count. */
struct bench_stages {
    int n;
    struct kern_stage at_begin[BENCH_STAGES_MAX], sum[BENCH_STAGES_MAX];
};
void bench_stages_begin(struct bench_stages *stages, const struct kern *kern);
void bench_stages_end(struct bench_stages *stages, const struct kern *kern);

/* [{"stage", "phases", "shared", "us", "mb": each divided by n_step, "gb_s", "gop_s"}] */
json_t *bench_stages_json(const struct bench_stages *stages, int n_step);

/* What the backend's threads read that do nothing else: the weights, if they are larger than caches are, else
 * memory of its own. */
struct bench_read {
    struct kern *kern;   /* borrowed; NULL: nothing was begun */
    struct kern_mem own; /* owned; no base: the weights are read */
    const uint8_t *data; /* borrowed: own or the weights */
    size_t bytes;
};
int bench_read_init(struct bench_read *read, struct kern *kern,
                    const struct kern_mem *weights); /* 0, or < 0 */
void bench_read_deinit(struct bench_read *read);
double bench_read_gb_s(const struct bench_read *read); /* once; 0: the backend does not offer it */
