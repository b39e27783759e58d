/* gpu.h - what the verbs of gpu_driver share.
 *
 * gpu_driver runs a backend's ops, models and speeds through kernels.h alone: on a GPU by tests/gpu/run.sh,
 * which builds it with nothing but nvcc and a C compiler, and in CI on the emulation.  So it needs no test
 * library and reads no JSON: a check is a line on stdout, "ok NAME: DETAIL" or "FAILED NAME: DETAIL", and the
 * exit status says whether any failed. */
#pragma once

#include "kernels/kernels.h"

void gpu_check(bool ok, const char *name, const char *fmt, ...) _printf_(3, 4);
int gpu_n_failed(void);

struct kern *gpu_open(const char *backend); /* "cpu:avx512": that instruction set.  NULL: said why */

/* random, the same for a seed on every machine */
struct gpu_random {
    uint64_t state;
};
float gpu_uniform(struct gpu_random *random, float lo, float hi);
void gpu_fill(struct gpu_random *random, float *x, size_t n, float scale);
void gpu_fill_rows(struct gpu_random *random, enum quant_type type, uint8_t *rows, int n_out, int n_in);

/* verbs; argv[0] is the verb */
int gpu_ops(const char *backend, int argc, char **argv);
int gpu_model(const char *backend, int argc, char **argv);
int gpu_keep(const char *backend, int argc, char **argv);
int gpu_speed(const char *backend, int argc, char **argv);
int gpu_profile(const char *backend, int argc, char **argv);
int gpu_host(const char *backend, int argc, char **argv);
