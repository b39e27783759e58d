/* native.c - llama.cpp's own dialect of generation: POST /completion, and /infill, which its editors use. */
#include <stdio.h>
#include <string.h>

#include "llama.h"
#include "openai.h"
#include "serve.h"

enum { NATIVE_FIELDS = 64, NATIVE_FIELD_BYTES = 128 };

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

/* What an editor has of the line so far, read behind the gap's mark there: before the gap here. */
static int native_read_typed(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    const char *text;
    size_t n;
    int r = jin_text(value, param, &text, &n, refusal);

    return r ? r : ask_append(&ask->head, text, n, param, refusal);
}

/* "content", "timings/prompt_n": the whole answer's members that are wanted, each under that name. */
static int native_read_wanted(struct ask *ask, const json_t *value, const char *param,
                              struct refusal *refusal)
{
    const json_t *name;
    const char *text;
    char place[96];
    size_t i, n;
    int r = jin_array(value, param, NATIVE_FIELDS, refusal);

    json_array_foreach((json_t *)value, i, name)
    {
        snprintf(place, sizeof(place), "%.60s[%zu]", param, i);
        if (!r)
            r = jin_text(name, place, &text, &n, refusal);
        if (!r && n > NATIVE_FIELD_BYTES)
            r = refuse(refusal, 400, "invalid_value", place, "%s has more than %d bytes", place,
                       NATIVE_FIELD_BYTES);
    }
    ask->fields = r || !json_array_size(value) ? NULL : json_incref((json_t *)value);
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
    {.name = "max_completion_tokens", .kind = ASK_READ, .read = native_read_predict},
    {.name = "n", .kind = ASK_READ, .read = ask_read_one},
    {.name = "n_cmpl", .kind = ASK_READ, .read = ask_read_one},
    {.name = "return_progress", .kind = ASK_BOOL, .offset = offsetof(struct ask, wants_progress)},
    {.name = "return_tokens", .kind = ASK_BOOL, .offset = offsetof(struct ask, wants_ids)},
    {.name = "response_fields", .kind = ASK_READ, .read = native_read_wanted},
    {.name = "post_sampling_probs", .kind = ASK_REFUSED, .why = "probabilities are those before the filters"},
    {.name = "lora", .kind = ASK_REFUSED, .why = "there are no adapters"},
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
    {.name = "prompt", .kind = ASK_READ, .read = native_read_typed},
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
    jout_real(j, "prompt_per_token_ms", n_read ? choice->prefill_ms / n_read : 0);
    jout_real(j, "prompt_per_second", choice->prefill_ms > 0 ? 1e3 * n_read / choice->prefill_ms : 0);
    jout_int(j, "predicted_n", n_written);
    jout_real(j, "predicted_ms", choice->decode_ms);
    jout_real(j, "predicted_per_token_ms", n_written ? choice->decode_ms / n_written : 0);
    jout_real(j, "predicted_per_second", choice->decode_ms > 0 ? 1e3 * n_written / choice->decode_ms : 0);
    jout_close(j, '}');
}

/* text, ids: what has not been said yet */
static void native_put_all(struct job *job, struct choice *choice, const struct buf *text,
                           const struct buf *ids, struct jout *j)
{
    const char *type = choice->finish != QWEND_FINISH_STOP ? "limit" : *choice->stop ? "word" : "eos";

    jout_open(j, NULL, '{');
    jout_int(j, "index", choice->index);
    jout_text(j, "content", jout_buf_text(text), buf_size(text));
    jout_open(j, "tokens", '[');
    jout_bytes(j, jout_buf_text(ids), buf_size(ids));
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

/* The members of an object that were asked for; one that is not there is left out, as llama.cpp does. */
static void native_pick(const json_t *names, const struct buf *object, struct jout *j)
{
    _cleanup_(jin_decrefp) json_t *root =
        json_loadb(jout_buf_text(object), buf_size(object), JSON_ALLOW_NUL, NULL);
    const json_t *name;
    size_t i;

    if (!root)
        j->r = j->r ? j->r : -ENOMEM; /* we wrote it: nothing else can be wrong */
    jout_open(j, NULL, '{');
    json_array_foreach((json_t *)names, i, name)
    {
        char path[NATIVE_FIELD_BYTES + 1], *part, *rest = path;
        _cleanup_(freep) char *text = NULL;
        const json_t *value = root;

        snprintf(path, sizeof(path), "%s", json_string_value(name));
        while (value && (part = strsep(&rest, "/")))
            value = json_object_get(value, part);
        text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        if (text)
            jout_raw(j, json_string_value(name), text, strlen(text));
    }
    jout_close(j, '}');
}

/* The object that says how it ended. */
static void native_put_end(struct job *job, struct choice *choice, const struct buf *text,
                           const struct buf *ids, struct jout *j)
{
    _cleanup_(buf_deinit) struct buf all = BUF_INIT(CONN_OUT_BYTES);
    struct jout inner = {.buf = &all};

    if (!job->fields) {
        native_put_all(job, choice, text, ids, j);
        return;
    }
    native_put_all(job, choice, text, ids, &inner);
    native_pick(job->fields, &all, j);
}

static void native_begin(struct job *job, struct jout *j)
{
    jout_bytes(j, ": begin\n\n", 9);
}

static void native_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    if (!event->n && !event->n_logprobs && !event->n_ids)
        return;
    jout_bytes(j, "data: ", 6);
    j->more = false;
    jout_open(j, NULL, '{');
    jout_int(j, "index", choice->index);
    jout_text(j, "content", event->text, event->n);
    jout_open(j, "tokens", '[');
    job_put_ids(j, event);
    jout_close(j, ']');
    jout_bool(j, "stop", false);
    if (job->logprobs) {
        jout_open(j, "completion_probabilities", '[');
        job_put_logprobs(job, j, event);
        jout_close(j, ']');
    }
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
}

static void native_progress(struct job *job, const qwend_event *event, struct jout *j)
{
    jout_bytes(j, "data: ", 6);
    j->more = false;
    jout_open(j, NULL, '{');
    jout_int(j, "index", 0);
    jout_text(j, "content", "", 0);
    jout_open(j, "tokens", '[');
    jout_close(j, ']');
    jout_bool(j, "stop", false);
    job_put_progress(job, event, j);
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
    j->more = false;
}

static void native_end(struct job *job, struct choice *choice, struct jout *j)
{
    static const struct buf nothing = {};

    jout_bytes(j, "data: ", 6);
    j->more = false;
    native_put_end(job, choice, &nothing, &nothing, j);
    jout_bytes(j, "\n\n", 2);
}

static void native_finish(struct job *job, struct jout *j) {}

static void native_whole(struct job *job, struct jout *j)
{
    struct choice *choice = &job->choices[0];

    native_put_end(job, choice, &choice->answer, &choice->ids, j);
}

static const struct dialect native_dialect = {
    .stream_type = "text/event-stream",
    .begin = native_begin,
    .delta = native_delta,
    .progress = native_progress,
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

    int r;

    ask->is_raw = ask->fits = ask->shows_ids = true;
    r = ask_read(ask, root, "", tables, ARRAY_SIZE(tables), refusal);
    ask->wants_ids |= ask->stream;
    return r;
}

int native_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    return native_read_by(ask, root, completion_fields, refusal);
}

int infill_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    int r;

    ask->has_suffix = true;
    r = native_read_by(ask, root, infill_fields, refusal);
    return r ? r : ask_append(&ask->raw, jout_buf_text(&ask->head), buf_size(&ask->head), "prompt", refusal);
}

void native_serve(struct conn *conn)
{
    serve_job(conn, native_read, &native_dialect);
}

void infill_serve(struct conn *conn)
{
    serve_job(conn, infill_read, &native_dialect);
}
