/* kt.h - what the kernel tests share: opened backends, random data, checks that print both values. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/kernels.h"

/* Deterministic: the same seed gives the same data on every machine. */
struct kt_rng {
    uint64_t state;
};
uint64_t kt_next(struct kt_rng *rng);
float kt_uniform(struct kt_rng *rng, float lo, float hi);
void kt_fill(struct kt_rng *rng, float *x, size_t n, float scale);

/* isa NULL: default.  NULL if this machine lacks it (a forced isa only). */
struct kern *kt_open(const char *backend, const char *isa, int n_threads);
struct kern *kt_open_planned(const char *backend, const char *isa, int n_threads,
                             const struct kern_shape *shape);

/* For products: all that only the mixers look at is as small as may be. */
struct kern_shape kt_shape(int dim, int n_ff, int max_tok);

/* A matrix of random blocks with sane scales, packed for kern.  Owns data; from one seed the same values
 * everywhere. */
struct kt_mat {
    struct kern_mat mat;
    uint8_t *data; /* owned */
};
/* Whole blocks of n values as a file has them: any codes, modest scales. */
void kt_random_weights(struct kt_rng *rng, enum quant_type type, uint8_t *dst, int64_t n);
struct kt_mat kt_mat_new(struct kern *kern, enum quant_type type, enum kern_layout layout, int n_out,
                         int n_in, uint64_t seed);
void kt_mat_free(struct kt_mat *m);

void kt_check_near(const float *got, const float *want, size_t n, double tolerance, const char *what);
void kt_check_same(const void *got, const void *want, size_t bytes,
                   const char *what); /* floats, bit for bit */
float *kt_floats(size_t n);           /* zeroed; freed by the caller */

extern const enum quant_type kt_types[13]; /* every loadable type */
