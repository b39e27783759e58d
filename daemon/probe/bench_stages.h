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

/* Bytes a nanosecond of n_threads that read and add up memory, nothing else: the weights, if they are larger
 * than caches are, else as much of its own.  Median of three; NaN: no memory. */
double bench_read_gb_s(const struct kern_mem *weights, int n_threads);
