/* eval.c - qwend-probe eval: a model's answers to a suite of questions, scored; or, with --kl, how far its
 * next tokens are from a reference's.  docs/EVAL.md has the formats and what each scorer accepts. */
#include <string.h>

#include "eval_code.h"
#include "eval_report.h"
#include "text.h"

struct eval {
    struct probe_model_options model_options;
    const char *model, *suite_path, *reference, *format, *think, *sampling_name, *out_path, *choice_by;
    const char *seed, *temperature, *top_p, *min_p, *presence_penalty; /* as they were given, or NULL */
    int limit, max_tokens, parallel, top_k;                            /* top_k -1: not given */
    bool json, run_code;

    bool by_score;
    bool thinking;
    struct sample_params sampling;
    struct eval_suite suite;
    struct eval_report report;
    struct eval_progress progress;
    FILE *out; /* owned, or NULL */
};

static volatile sig_atomic_t eval_stop;

static void eval_on_signal(int sig)
{
    eval_stop = 1;
}

/* The first one ends the run in order; a second one ends the process. */
static void eval_catch_signals(void)
{
    const struct sigaction action = {.sa_handler = eval_on_signal,
                                     .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* options */

static int eval_number_option(const struct probe_verb *verb, const char *name, const char *text, float *value)
{
    char *end;

    if (!text)
        return 0;
    *value = strtof(text, &end);
    if (end == text || *end)
        return probe_usage(verb, "--%s is \"%s\", should be a number", name, text);
    return 0;
}

static int eval_seed_option(const struct probe_verb *verb, const char *text, uint64_t *seed)
{
    char *end;

    if (!text)
        return 0;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        return probe_usage(verb, "--seed is \"%s\", should be an integer from 0 to 2^64 - 1", text);
    return 0;
}

/* Greedy unless asked otherwise: the same model gives the same figures. */
static int eval_sampling(const struct probe_verb *verb, struct eval *e)
{
    struct sample_params *s = &e->sampling;
    struct fault fault = {0};
    int r;

    *s = (struct sample_params){.top_p = 1, .repeat_penalty = 1};
    if (!strcmp(e->sampling_name, "card"))
        sample_params_default(s, e->thinking);
    else if (strcmp(e->sampling_name, "greedy"))
        return probe_usage(verb, "--sampling is \"%s\", should be greedy or card", e->sampling_name);
    if (e->top_k >= 0)
        s->top_k = e->top_k;
    r = eval_number_option(verb, "temperature", e->temperature, &s->temperature);
    if (!r)
        r = eval_number_option(verb, "top-p", e->top_p, &s->top_p);
    if (!r)
        r = eval_number_option(verb, "min-p", e->min_p, &s->min_p);
    if (!r)
        r = eval_number_option(verb, "presence-penalty", e->presence_penalty, &s->presence_penalty);
    if (!r && s->presence_penalty != 0)
        s->penalty_last_n = 64; /* as the service has it, docs/MODEL.md §7 */
    if (!r)
        r = eval_seed_option(verb, e->seed, &s->seed);
    if (!r && sample_params_check(s, INT32_MAX, &fault))
        r = probe_usage(verb, "%s", fault.text);
    return r;
}

static int eval_words(const struct probe_verb *verb, struct eval *e, struct eval_suite_options *options)
{
    e->thinking = !strcmp(e->think, "on");
    if (!e->thinking && strcmp(e->think, "off"))
        return probe_usage(verb, "--think is \"%s\", should be on or off", e->think);
    while (options->format < EVAL_N_FORMATS && strcmp(e->format, eval_formats[options->format]))
        options->format++;
    if (options->format == EVAL_N_FORMATS)
        return probe_usage(verb, "--format is \"%s\", should be auto, suite, gpqa, math500 or humaneval",
                           e->format);
    e->by_score = !strcmp(e->choice_by, "score");
    if (!e->by_score && strcmp(e->choice_by, "text"))
        return probe_usage(verb, "--choice-by is \"%s\", should be text or score", e->choice_by);
    if (e->by_score && e->thinking)
        return probe_usage(verb, "--choice-by score asks for no thought: --think off");
    if (e->by_score && e->reference)
        return probe_usage(verb, "--kl needs answers: not with --choice-by score");
    if (e->reference && e->out_path)
        return probe_usage(verb, "--kl scores no answers: there is nothing to write to --out");
    return 0;
}

static int eval_parse(const struct probe_verb *verb, int argc, char **argv, struct eval *e)
{
    struct probe_opt opts[PROBE_N_MODEL_OPTS + 17] = {
        [PROBE_N_MODEL_OPTS] = {"think", .text = &e->think},
        {"limit", .number = &e->limit, .lo = 1, .hi = INT32_MAX},
        {"max-tokens", .number = &e->max_tokens, .lo = 1, .hi = 1 << 20},
        {"parallel", .number = &e->parallel, .lo = 1, .hi = 256},
        {"choice-by", .text = &e->choice_by},
        {"format", .text = &e->format},
        {"sampling", .text = &e->sampling_name},
        {"temperature", .text = &e->temperature},
        {"top-p", .text = &e->top_p},
        {"top-k", .number = &e->top_k, .lo = 0, .hi = INT32_MAX},
        {"min-p", .text = &e->min_p},
        {"presence-penalty", .text = &e->presence_penalty},
        {"seed", .text = &e->seed},
        {"out", .text = &e->out_path},
        {"kl", .text = &e->reference},
        {"json", .flag = &e->json},
        {"run-code", .flag = &e->run_code},
    };
    const char *operands[2];
    int r;

    probe_model_opts(&e->model_options, opts);
    r = probe_parse_operands(verb, argc, argv, opts, ARRAY_SIZE(opts), operands, ARRAY_SIZE(operands));
    if (r)
        return r;
    e->model = operands[0];
    e->suite_path = operands[1];
    return 0;
}

/* files */

/* An empty program through the sandbox: better refused now than at the first answer. */
static int eval_check_sandbox(void)
{
    _cleanup_(eval_sandbox_result_deinit) struct eval_sandbox_result result = {0};
    struct fault fault = {0};
    int r = eval_sandbox_run((struct chat_str){"", 0}, &EVAL_SANDBOX_LIMITS, &fault, &result);

    if (r)
        return probe_fault("--run-code", r, &fault);
    return result.passed ? 0
                         : probe_error("--run-code: Python does not run in the sandbox: %.*s",
                                       (int)result.n_output, result.output);
}

static int eval_read_suite(struct eval *e, struct eval_suite_options *options)
{
    struct fault fault = {0};
    int r;

    options->thinking = e->thinking;
    options->run_code = e->run_code || e->reference; /* with --kl nothing is run */
    options->limit = (size_t)e->limit;
    options->seed = e->sampling.seed;
    r = eval_suite_read(e->suite_path, options, &fault, &e->suite);
    if (r)
        return probe_error("%s", r < 0 ? "no memory for the suite" : fault.text);
    for (size_t i = 0; i < e->suite.n && e->by_score; i++)
        if (e->suite.items[i].goal.kind != EVAL_CHOICE)
            return probe_error("%s:%zu: it is no multiple choice: not with --choice-by score", e->suite_path,
                               e->suite.items[i].line_no);
    for (size_t i = 0; i < e->suite.n && !e->reference; i++)
        if (e->suite.items[i].goal.kind == EVAL_CODE)
            return eval_check_sandbox();
    return 0;
}

static int eval_open_out(struct eval *e)
{
    if (!e->out_path)
        return 0;
    e->out = fopen(e->out_path, "we");
    return e->out ? 0 : probe_error("%s: %s", e->out_path, strerror(errno));
}

/* Both must mean the same by an id. */
static int eval_check_vocab(const struct eval *e, const struct probe_model *pm,
                            const struct probe_model *other, const struct tokenizer *tokenizer)
{
    _cleanup_(tokenizer_freep) struct tokenizer *t = NULL;
    int r = text_open(e->model, &t);

    if (r)
        return r;
    if (pm->model->config.n_vocab != other->model->config.n_vocab)
        return probe_error("%s has a vocabulary of %d tokens, %s of %d: they cannot be compared",
                           e->reference, pm->model->config.n_vocab, e->model, other->model->config.n_vocab);
    for (int32_t id = 0; id < MIN(tokenizer_n_vocab(t), tokenizer_n_vocab(tokenizer)); id++) {
        const struct gguf_str a = tokenizer_bytes(t, id), b = tokenizer_bytes(tokenizer, id);

        if (a.n != b.n || memcmp(a.s, b.s, a.n))
            return probe_error(
                "%s and %s have different vocabularies, from token %d on: they cannot be compared",
                e->reference, e->model, id);
    }
    return 0;
}

/* answers */

/* Of choices that were scored: the log-probability of each. */
static int eval_put_scores(json_t *line, const struct eval_done *done)
{
    json_t *scores = done->scores ? json_array() : NULL;

    for (int i = 0; i < done->n_scores; i++)
        json_array_append_new(scores, json_real(done->scores[i]));
    return done->scores ? json_object_set_new(line, "scores", scores) : 0;
}

/* A line of JSON, written at once: what was scored stays, whatever happens next. */
static int eval_write_out(const struct eval *e, const struct eval_item *item, const struct eval_done *done,
                          const struct eval_verdict *verdict)
{
    json_t *line =
        json_pack("{s:s, s:s, s:I, s:b, s:s, s:s%, s:s%, s:s, s:i, s:i, s:i}", "id", item->id, "family",
                  item->family, "line", (json_int_t)item->line_no, "right", verdict->right, "got",
                  verdict->got, "reasoning", done->reasoning.s, done->reasoning.n, "answer", done->text.s,
                  done->text.n, "finish", done->cut ? "length" : "stop", "prompt_tokens", done->n_prompt,
                  "reasoning_tokens", done->n_reasoning, "answer_tokens", done->n_answer);
    int failed = !line || eval_put_scores(line, done) || json_dumpf(line, e->out, JSON_COMPACT) ||
                 fputc('\n', e->out) < 0 || fflush(e->out);

    json_decref(line);
    return failed ? probe_error("%s: cannot be written", e->out_path) : 0;
}

static int eval_judge(const struct eval_item *item, const struct eval_done *done,
                      struct eval_verdict *verdict)
{
    struct fault fault = {0};
    int r;

    if (done->scores) {
        verdict->right = done->choice == json_string_value(item->goal.answer)[0] - 'A';
        eval_got(verdict, done->text);
        return 0;
    }
    r = item->goal.kind == EVAL_CODE ? eval_code_score(&item->goal, done->text, &fault, verdict)
                                     : eval_goal_score(&item->goal, done->text, verdict);

    return r ? probe_fault(item->id, r, &fault) : 0;
}

static int eval_on_done(void *user, const struct eval_done *done)
{
    struct eval *e = user;
    const struct eval_item *item = &e->suite.items[done->index];
    struct eval_verdict verdict = {0};
    int r = e->reference ? 0 : eval_judge(item, done, &verdict);

    if (!r && e->out)
        r = eval_write_out(e, item, done, &verdict);
    if (r)
        return r;
    eval_report_add(&e->report, item, done, verdict.right);
    e->progress.n_done++;
    return 0;
}

static void eval_on_step(void *user, int n_tok)
{
    struct eval *e = user;

    e->progress.n_tok += n_tok;
    eval_progress_show(&e->progress);
}

static int eval_print(struct eval *e, const struct probe_model *pm)
{
    struct eval_report *report = &e->report;

    report->seconds = eval_now_s() - e->progress.start_s;
    report->interrupted = eval_stop;
    report->model = e->model;
    report->reference = e->reference;
    report->suite = e->suite_path;
    report->pm = pm;
    report->sampling = &e->sampling;
    report->thinking = e->thinking;
    report->by_score = e->by_score;
    report->max_tokens = e->max_tokens;
    if (e->json)
        return eval_report_print_json(report);
    eval_report_print(report);
    return 0;
}

/* pm makes the answers; other, if there is one, is measured on them. */
static int eval_ask(struct eval *e, const struct probe_model *pm, const struct probe_model *other)
{
    _cleanup_(tokenizer_freep) struct tokenizer *tokenizer = NULL;
    struct eval_run run = {.pm = pm,
                           .other = other,
                           .options = &e->model_options,
                           .suite = &e->suite,
                           .suite_name = e->suite_path,
                           .sampling = e->sampling,
                           .thinking = e->thinking,
                           .max_tokens = e->max_tokens,
                           .parallel = (int)MIN((size_t)e->parallel, e->suite.n),
                           .stop = &eval_stop,
                           .on_done = eval_on_done,
                           .on_step = eval_on_step,
                           .user = e};
    int r = text_open(other ? e->reference : e->model, &tokenizer), shown;

    run.tokenizer = tokenizer;
    if (!r && other)
        r = eval_check_vocab(e, pm, other, tokenizer);
    if (!r && eval_report_init(&e->report, &e->suite))
        r = probe_error("no memory for the report");
    if (r)
        return r;
    eval_catch_signals();
    eval_progress_start(&e->progress, e->suite.n);
    r = e->by_score ? eval_likely(&run) : eval_run(&run);
    eval_progress_clear(&e->progress);
    if (r && !e->report.all.n)
        return r;
    shown = eval_print(e, pm); /* also after a failure: nothing that was scored is lost */
    return r ? r : shown ? shown : eval_stop ? 130 : 0;
}

static int eval_open_models(struct eval *e)
{
    struct probe_model pm = {0}, other = {0};
    int r = probe_model_open(e->model, &e->model_options, &pm);

    if (!r && e->reference)
        r = probe_model_open(e->reference, &e->model_options, &other);
    if (!r)
        r = e->reference ? eval_ask(e, &other, &pm) : eval_ask(e, &pm, NULL);
    probe_model_close(&other);
    probe_model_close(&pm);
    return r;
}

static int eval_verb(const struct probe_verb *verb, int argc, char **argv)
{
    struct eval e = {.model_options = PROBE_MODEL_OPTIONS_INIT,
                     .format = "auto",
                     .think = "on",
                     .choice_by = "text",
                     .sampling_name = "greedy",
                     .max_tokens = 2048,
                     .parallel = 8,
                     .top_k = -1};
    struct eval_suite_options options = {.format = EVAL_AUTO};
    int r = eval_parse(verb, argc, argv, &e);

    if (!r)
        r = eval_words(verb, &e, &options);
    if (!r)
        r = eval_sampling(verb, &e);
    if (!r)
        r = eval_read_suite(&e, &options);
    if (!r)
        r = eval_open_out(&e);
    if (!r)
        r = eval_open_models(&e);
    if (e.out && fclose(e.out) && !r)
        r = probe_error("%s: %s", e.out_path, strerror(errno));
    eval_report_deinit(&e.report);
    eval_suite_deinit(&e.suite);
    return r;
}

const struct probe_verb probe_eval = {
    "eval",
    "MODEL SUITE.jsonl [--think on|off] [--choice-by text|score] [--max-tokens N] [--limit N] [--parallel N] "
    "[--format "
    "auto|suite|gpqa|math500|humaneval] [--sampling greedy|card] [--temperature X] [--top-p X] [--top-k N] "
    "[--min-p X] [--presence-penalty X] [--seed N] [--run-code] [--kl REFERENCE.gguf] [--out FILE] [--json] "
    "[--backend ref|cpu|cuda] [--isa NAME] [--kv f32|f16|q8_0] [--threads N] [--chunk N] "
    "[--embedding device|host]",
    "asks the questions of a suite and scores the answers by family, or with --kl measures the distance to a "
    "reference model on its answers (docs/EVAL.md)",
    eval_verb,
};
