/* jobs.c - see jobs.h. */
#include "jobs.h"

struct probe_jobs {
    struct probe_job *jobs; /* owned */
    size_t n, cap;
    bool want_positions;  /* else "n" */
    int n_vocab, max_ctx; /* bounds */
    int longest;          /* positions of the longest sequence, at least 1 */
};

static struct probe_job *probe_jobs_push(struct probe_jobs *jobs)
{
    if (jobs->n == jobs->cap) {
        size_t cap = MAX(2 * jobs->cap, (size_t)16);
        struct probe_job *grown = reallocarray(jobs->jobs, cap, sizeof(*grown));

        if (!grown)
            return NULL;
        jobs->jobs = grown;
        jobs->cap = cap;
    }
    jobs->jobs[jobs->n] = (struct probe_job){0};
    return &jobs->jobs[jobs->n++];
}

static int probe_job_positions(const json_t *object, size_t line_no, struct probe_job *job)
{
    int r = probe_get_ints(object, line_no, "positions", 0, (int)job->n_ids - 1, &job->positions,
                           &job->n_positions);

    for (size_t i = 1; i < job->n_positions && !r; i++)
        if (job->positions[i] <= job->positions[i - 1])
            return probe_error("line %zu: \"positions\" should be ascending, but %d follows %d", line_no,
                               job->positions[i], job->positions[i - 1]);
    return r;
}

static int probe_job_on_line(void *user, size_t line_no, const json_t *object)
{
    struct probe_jobs *jobs = user;
    struct probe_job *job = probe_jobs_push(jobs);
    int r;

    if (!job)
        return probe_error("line %zu: no memory", line_no);
    r = probe_get_ints(object, line_no, "ids", 0, jobs->n_vocab - 1, &job->ids, &job->n_ids);
    if (!r && job->n_ids > (size_t)jobs->max_ctx)
        return probe_error("line %zu: %zu ids, should be at most %d", line_no, job->n_ids, jobs->max_ctx);
    if (!r && jobs->want_positions)
        r = probe_job_positions(object, line_no, job);
    if (!r && !jobs->want_positions)
        r = probe_get_int(object, line_no, "n", 1, jobs->max_ctx - (int)job->n_ids, &job->n);
    jobs->longest = MAX(jobs->longest, (int)job->n_ids + job->n);
    return r;
}

static void probe_jobs_deinit(struct probe_jobs *jobs)
{
    for (size_t i = 0; i < jobs->n; i++) {
        free(jobs->jobs[i].ids);
        free(jobs->jobs[i].positions);
    }
    free(jobs->jobs);
}

static int probe_jobs_run(const struct probe_model *pm, const struct probe_model_options *o,
                          bool want_positions, probe_job_fn on_job)
{
    const struct config *c = &pm->model->config;
    _cleanup_(probe_jobs_deinit) struct probe_jobs jobs = {
        .want_positions = want_positions, .n_vocab = c->n_vocab, .max_ctx = c->context_trained, .longest = 1};
    _cleanup_(probe_run_freep) struct probe_run *run = NULL;
    _cleanup_(freep) float *logits = malloc((size_t)PROBE_ROWS_MAX * (size_t)c->n_vocab * sizeof(float));
    int r = probe_each_line(probe_job_on_line, &jobs);

    if (!r && !logits)
        r = probe_error("no memory for %d rows of logits", PROBE_ROWS_MAX);
    if (!r)
        r = probe_run_new(pm, o, jobs.longest, &run);
    struct probe_job_run jr = {.run = run, .n_vocab = c->n_vocab, .logits = logits};
    for (size_t i = 0; i < jobs.n && !r; i++)
        r = on_job(&jr, &jobs.jobs[i]);
    return r;
}

int probe_jobs_verb(const struct probe_verb *verb, int argc, char **argv, bool want_positions,
                    probe_job_fn on_job)
{
    struct probe_model_options o = PROBE_MODEL_OPTIONS_INIT;
    struct probe_opt opts[PROBE_N_MODEL_OPTS + 1] = {
        [PROBE_N_MODEL_OPTS] = {"neighbours", .number = &o.neighbours, .lo = 0, .hi = 64}};
    struct probe_model pm = {0};
    const char *path = NULL;
    int r;

    o.kv = "f32"; /* what is compared with a float reference keeps its keys and values exactly */
    probe_model_opts(&o, opts);
    r = probe_parse(verb, argc, argv, opts, ARRAY_SIZE(opts), &path);
    if (!r)
        r = probe_model_open(path, &o, &pm);
    if (!r)
        r = probe_jobs_run(&pm, &o, want_positions, on_job);
    probe_model_close(&pm);
    return r;
}
