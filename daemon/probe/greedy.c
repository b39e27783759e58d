/* greedy.c - qwend-probe greedy: the argmax continuation of given sequences. */
#include "jobs.h"

static int greedy_best(const float *logits, int n_vocab)
{
    int best = 0;

    for (int i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static int greedy_print(json_t *ids)
{
    json_t *object = json_pack("{s:o}", "ids", ids);
    int failed = !object || json_dumpf(object, stdout, JSON_COMPACT) || putchar('\n') < 0;

    json_decref(object);
    return failed ? probe_error("cannot write the answer") : 0;
}

static int greedy_job(const struct probe_job_run *jr, const struct probe_job *job)
{
    json_t *ids = json_array();
    int r = probe_run_reset(jr->run);

    if (!r)
        r = probe_run_prompt(jr->run, job->ids, job->n_ids, jr->logits);
    for (int i = 0; i < job->n && !r; i++) {
        int id = greedy_best(jr->logits, jr->n_vocab), row = 0;

        json_array_append_new(ids, json_integer(id));
        if (i + 1 < job->n)
            r = probe_run_step(jr->run, &id, 1, &row, 1, jr->logits);
    }
    if (r) {
        json_decref(ids);
        return r;
    }
    return greedy_print(ids);
}

static int greedy_run(const struct probe_verb *verb, int argc, char **argv)
{
    return probe_jobs_verb(verb, argc, argv, false, greedy_job);
}

const struct probe_verb probe_greedy = {
    "greedy",
    "MODEL [--backend ref|cpu|cuda] [--isa NAME] [--kv f32|f16|q8_0] [--threads N] [--chunk N] [--embedding "
    "device|host] [--neighbours N] < "
    "lines",
    "{\"ids\":[...],\"n\":N} per line to {\"ids\":[...]}: the N most likely next tokens, one after the other",
    greedy_run,
};
