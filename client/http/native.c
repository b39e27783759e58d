/* native.c - llama.cpp's own dialect of generation: POST /completion, and /infill, which its editors use. */
#include <stdio.h>
#include <string.h>

#include "llama.h"
#include "openai.h"
#include "serve.h"

/* -1 and -2 are "until it ends"; 0 only reads the prompt, so that the next request finds it in the cache. */
static int native_read_predict(struct ask *ask, const json_t *value, const char *param,
                               struct refusal *refusal)
{
    int64_t n = 0;
    int r = jin_int(value, param, -2, INT32_MAX, &n, refusal);

    ask->max_tokens = MAX(n, 0);
    ask->only_reads = !r && !n;
    return r;
}

static int native_read_probs(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    int r = jin_int(value, param, 0, ASK_TOP_LOGPROBS, &ask->top_logprobs, refusal);

    ask->logprobs = ask->top_logprobs > 0;
    return r;
}

static int native_read_extra(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const json_t *file;
    char place[96];
    size_t i;
    int r = jin_array(value, param, 256, refusal);

    json_array_foreach((json_t *)value, i, file)
    {
        const char *text = "", *name = "";
        size_t n_text = 0, n_name = 0;

        snprintf(place, sizeof(place), "%.60s[%zu].text", param, i);
        if (!r)
            r = jin_text(json_object_get(file, "text"), place, &text, &n_text, refusal);
        snprintf(place, sizeof(place), "%.60s[%zu].filename", param, i);
        if (!r && json_object_get(file, "filename"))
            r = jin_text(json_object_get(file, "filename"), place, &name, &n_name, refusal);
        if (!r)
            r = ask_refuse_set(qwend_req_fim_extra(ask->req, name, text, n_text), place, refusal);
    }
    return r;
}

static const struct ask_field native_fields[] = {
    {.name = "n_predict", .kind = ASK_READ, .read = native_read_predict},
    {.name = "max_tokens", .kind = ASK_READ, .read = native_read_predict},
    {.name = "n_probs", .kind = ASK_READ, .read = native_read_probs},
    {.name = "t_max_predict_ms",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, text_ms),
     .lo = 0,
     .hi = 86400000},
    {.name = "n", .kind = ASK_REFUSED, .why = "one answer a request here; /v1/completions has n"},
    ASK_END,
};
static const struct ask_field completion_fields[] = {
    {.name = "prompt", .kind = ASK_READ, .read = ask_read_prompt},
    ASK_END,
};
static const struct ask_field infill_fields[] = {
    {.name = "input_prefix", .kind = ASK_READ, .read = ask_read_prompt},
    {.name = "input_suffix", .kind = ASK_READ, .read = ask_read_suffix},
    {.name = "input_extra", .kind = ASK_READ, .read = native_read_extra},
    {.name = "prompt", .kind = ASK_REFUSED, .why = "put it at the end of input_prefix"},
    ASK_END,
};

static void native_put_timings(const struct job *job, const struct choice *choice, struct jout *j)
{
    const uint32_t n_read = job->prompt_tokens - job->cached_tokens;
    const uint32_t n_written = choice->answer_tokens + choice->reasoning_tokens;

    jout_open(j, "timings", '{');
    jout_int(j, "cache_n", job->cached_tokens);
    jout_int(j, "prompt_n", n_read);
    jout_real(j, "prompt_ms", choice->prefill_ms);
    jout_real(j, "prompt_per_second", choice->prefill_ms > 0 ? 1e3 * n_read / choice->prefill_ms : 0);
    jout_int(j, "predicted_n", n_written);
    jout_real(j, "predicted_ms", choice->decode_ms);
    jout_real(j, "predicted_per_second", choice->decode_ms > 0 ? 1e3 * n_written / choice->decode_ms : 0);
    jout_close(j, '}');
}

/* The object that says how it ended; text: what has not been said yet. */
static void native_put_end(struct job *job, struct choice *choice, const char *text, size_t n, struct jout *j)
{
    const char *type = choice->finish != QWEND_FINISH_STOP ? "limit" : *choice->stop ? "word" : "eos";

    jout_open(j, NULL, '{');
    jout_int(j, "index", choice->index);
    jout_text(j, "content", text, n);
    jout_open(j, "tokens", '[');
    jout_close(j, ']');
    jout_bool(j, "stop", true);
    jout_text(j, "model", job_model(job), (size_t)-1);
    jout_int(j, "tokens_predicted", (int64_t)choice->answer_tokens + choice->reasoning_tokens);
    jout_int(j, "tokens_evaluated", job->prompt_tokens);
    jout_int(j, "tokens_cached", job->cached_tokens);
    jout_bool(j, "truncated", false);
    jout_text(j, "stop_type", type, (size_t)-1);
    jout_text(j, "stopping_word", choice->stop, (size_t)-1);
    if (job->logprobs && !job->stream) {
        jout_open(j, "completion_probabilities", '[');
        jout_bytes(j, jout_buf_text(&choice->logprobs), buf_size(&choice->logprobs));
        jout_close(j, ']');
    }
    native_put_timings(job, choice, j);
    jout_close(j, '}');
}

static void native_begin(struct job *job, struct jout *j)
{
    jout_bytes(j, ": begin\n\n", 9);
}

static void native_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    if (!event->n && !event->n_logprobs)
        return;
    jout_bytes(j, "data: ", 6);
    j->more = false;
    jout_open(j, NULL, '{');
    jout_int(j, "index", choice->index);
    jout_text(j, "content", event->text, event->n);
    jout_open(j, "tokens", '[');
    jout_close(j, ']');
    jout_bool(j, "stop", false);
    if (job->logprobs) {
        jout_open(j, "completion_probabilities", '[');
        job_put_logprobs(j, event);
        jout_close(j, ']');
    }
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
}

static void native_end(struct job *job, struct choice *choice, struct jout *j)
{
    jout_bytes(j, "data: ", 6);
    j->more = false;
    native_put_end(job, choice, "", 0, j);
    jout_bytes(j, "\n\n", 2);
}

static void native_finish(struct job *job, struct jout *j) {}

static void native_whole(struct job *job, struct jout *j)
{
    struct choice *choice = &job->choices[0];

    native_put_end(job, choice, jout_buf_text(&choice->answer), buf_size(&choice->answer), j);
}

static const struct dialect native_dialect = {
    .stream_type = "text/event-stream",
    .begin = native_begin,
    .delta = native_delta,
    .end = native_end,
    .finish = native_finish,
    .whole = native_whole,
    .ping = openai_ping,
    .fail = openai_fail,
};

static int native_read_by(struct ask *ask, const json_t *root, const struct ask_field *fields,
                          struct refusal *refusal)
{
    const struct ask_field *const tables[] = {fields, native_fields, ask_sampling};

    ask->is_raw = ask->fits = true;
    return ask_read(ask, root, "", tables, ARRAY_SIZE(tables), refusal);
}

int native_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    return native_read_by(ask, root, completion_fields, refusal);
}

int infill_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    ask->has_suffix = true;
    return native_read_by(ask, root, infill_fields, refusal);
}

void native_serve(struct conn *conn)
{
    serve_job(conn, native_read, &native_dialect);
}

void infill_serve(struct conn *conn)
{
    serve_job(conn, infill_read, &native_dialect);
}
