/* logits.c - qwend-probe logits: rows of logits after given positions of given sequences. */
#include "jobs.h"

#include <string.h>

static int logits_write(void *user, const float *rows, int n_rows)
{
    const struct probe_job_run *jr = user;

    if (fwrite(rows, sizeof(float) * (size_t)jr->n_vocab, (size_t)n_rows, stdout) != (size_t)n_rows)
        return probe_error("standard output: %s", strerror(errno));
    return 0;
}

static int logits_job(const struct probe_job_run *jr, const struct probe_job *job)
{
    const struct probe_want want = {
        .ids = job->ids,
        .n_ids = (int)job->n_ids,
        .positions = job->positions,
        .n_positions = (int)job->n_positions,
        .logits = jr->logits,
        .on_rows = logits_write,
        .user = (void *)jr,
    };
    int r = probe_run_reset(jr->run);

    return r ? r : probe_run_positions(jr->run, &want);
}

static int logits_run(const struct probe_verb *verb, int argc, char **argv)
{
    return probe_jobs_verb(verb, argc, argv, true, logits_job);
}

const struct probe_verb probe_logits = {
    "logits",
    "MODEL [--backend ref|cpu|cuda] [--isa NAME] [--kv f32|f16|q8_0] [--threads N] [--chunk N] [--embedding "
    "device|host] [--neighbours N] < "
    "lines",
    "{\"ids\":[...],\"positions\":[...]} per line to float32 rows of logits, one row a position",
    logits_run,
};
