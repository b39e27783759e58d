/* jobs.h - lines of stdin that each ask for one sequence: {"ids":[...], and "positions":[...] or "n":N}. */
#pragma once

#include "run.h"

struct probe_job {
    int *ids; /* owned, [n_ids] */
    size_t n_ids;
    int *positions; /* owned, [n_positions], ascending, below n_ids */
    size_t n_positions;
    int n; /* tokens to add */
};
/* logits: room for [PROBE_ROWS_MAX][n_vocab].  0 or an exit status. */
struct probe_job_run {
    struct probe_run *run;
    int n_vocab;
    float *logits;
};
typedef int (*probe_job_fn)(const struct probe_job_run *jr, const struct probe_job *job);

/* The whole of such a verb: options, model, stdin to its end (the state must have room for the longest), then
 * on_job for each line.  Returns the exit status. */
int probe_jobs_verb(const struct probe_verb *verb, int argc, char **argv, bool want_positions,
                    probe_job_fn on_job);
