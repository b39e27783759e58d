/* probe.h - what the verbs of qwend-probe share: the verb table's entry, options, JSON lines, an opened
 * model.
 *
 * qwend-probe is the model library from the shell: data in on stdin, data out on stdout, complaints on stderr
 * as "qwend-probe: ...".  A verb returns the exit status: 0, 1 (bad input, nothing more is printed), 2
 * (usage), 130 (interrupted). */
#pragma once

#include "daemon/model/model.h"

#include <jansson.h>
#include <stdio.h>

struct probe_verb {
    const char *name;
    const char *args;                                                 /* "MODEL [--json]" */
    const char *help;                                                 /* one line */
    int (*run)(const struct probe_verb *verb, int argc, char **argv); /* argv[0] is the verb */
};
extern const struct probe_verb probe_inspect, probe_tokenize, probe_detokenize, probe_render, probe_logits,
    probe_greedy, probe_sample, probe_dequant, probe_bench, probe_eval, probe_fit;

int probe_error(const char *fmt, ...) _printf_(1, 2); /* prints; returns 1 */
int probe_usage(const struct probe_verb *verb, const char *fmt, ...)
    _printf_(2, 3); /* prints with the verb's usage; returns 2 */
int probe_fault(const char *what, int r,
                const struct fault *fault); /* for a failed call of the model; returns 1 */

/* options: --name VALUE or --name=VALUE or, for flags, --name */
struct probe_opt {
    const char *name; /* without the dashes */
    bool *flag;       /* exactly one of flag, number, text is set */
    int *number;      /* within [lo, hi] */
    int lo, hi;
    const char **text;
};
/* Everything that is not an option is one operand, which must be there.  0 or an exit status. */
int probe_parse(const struct probe_verb *verb, int argc, char **argv, const struct probe_opt *opts,
                size_t n_opts, const char **ret_operand);
/* The same with n_operands of them, in order; set as they are met. */
int probe_parse_operands(const struct probe_verb *verb, int argc, char **argv, const struct probe_opt *opts,
                         size_t n_opts, const char **operands, size_t n_operands);

/* lines */
/* One JSON object per line of stdin; empty lines are passed over.  on_line returns 0 to go on, else an exit
 * status. */
typedef int (*probe_line_fn)(void *user, size_t line_no, const json_t *object);
int probe_each_line(probe_line_fn on_line, void *user);

/* object[key], an array of integers in [lo, hi], into *ret_values (malloc'ed).  0 or an exit status; names
 * line and key. */
int probe_get_ints(const json_t *object, size_t line_no, const char *key, int lo, int hi, int **ret_values,
                   size_t *ret_n);
int probe_get_int(const json_t *object, size_t line_no, const char *key, int lo, int hi, int *ret_value);

/* model */
struct probe_model_options {
    const char *backend, *isa, *kv, *embedding; /* embedding: NULL (device), device, host */
    int threads, chunk, neighbours, rows;       /* rows: of probe_run_rows(), run.h */
};
#define PROBE_MODEL_OPTIONS_INIT ((struct probe_model_options){.backend = "cpu", .kv = "f16", .chunk = 512})
enum { PROBE_N_MODEL_OPTS = 6 };
/* The first PROBE_N_MODEL_OPTS entries of opts: --backend --isa --kv --threads --chunk
 * --embedding. */
void probe_model_opts(struct probe_model_options *options, struct probe_opt *opts);
int probe_kv_type(const char *name, enum kern_kv_type *ret_type); /* 0 or an exit status */

struct probe_model {
    struct gguf *gguf;
    struct kern *kern;
    struct model *model;
};
int probe_model_open(const char *path, const struct probe_model_options *options, struct probe_model *ret_pm);
void probe_model_close(struct probe_model *pm);
