/* logits.c - qwend-probe logits: rows of logits after given positions of given sequences. */
#include "jobs.h"

#include <string.h>

/* One piece: at most chunk ids, and at most PROBE_ROWS_MAX of the wanted positions. */
static int logits_piece(const struct probe_job_run *jr, const struct probe_job *job, size_t *at,
                        size_t *i_pos)
{
    int n = (int)MIN(job->n_ids - *at, (size_t)jr->chunk), rows[PROBE_ROWS_MAX], n_rows = 0, r;

    while (*i_pos < job->n_positions && job->positions[*i_pos] < (int)*at + n) {
        if (n_rows == PROBE_ROWS_MAX) {
            n = job->positions[*i_pos] - (int)*at; /* the rest in the next piece */
            break;
        }
        rows[n_rows++] = job->positions[(*i_pos)++] - (int)*at;
    }
    r = probe_run_step(jr->run, job->ids + *at, n, rows, n_rows, jr->logits);
    if (r)
        return r;
    *at += (size_t)n;
    if (fwrite(jr->logits, sizeof(float) * (size_t)jr->n_vocab, (size_t)n_rows, stdout) != (size_t)n_rows)
        return probe_error("standard output: %s", strerror(errno));
    return 0;
}

static int logits_job(const struct probe_job_run *jr, const struct probe_job *job)
{
    size_t at = 0, i_pos = 0;
    int r = probe_run_reset(jr->run);

    while (i_pos < job->n_positions && !r)
        r = logits_piece(jr, job, &at, &i_pos);
    return r;
}

static int logits_run(const struct probe_verb *verb, int argc, char **argv)
{
    return probe_jobs_verb(verb, argc, argv, true, logits_job);
}

const struct probe_verb probe_logits = {
    "logits",
    "MODEL [--backend ref|cpu] [--isa NAME] [--kv f32|f16|q8_0] [--threads N] [--chunk N] [--neighbours N] < "
    "lines",
    "{\"ids\":[...],\"positions\":[...]} per line to float32 rows of logits, one row a position",
    logits_run,
};
