/* completion.c - POST /v1/completions: text that goes on, as it stands, without a chat. */
#include <string.h>

#include "openai.h"
#include "serve.h"

enum { COMPLETION_TOKENS = 16 }; /* where max_tokens is absent, as OpenAI has it */

static int completion_read_logprobs(struct ask *ask, const json_t *value, const char *param,
                                    struct refusal *refusal)
{
    ask->logprobs = true;
    return jin_int(value, param, 0, 5, &ask->top_logprobs, refusal);
}

static const struct ask_field completion_fields[] = {
    {.name = "prompt", .kind = ASK_READ, .read = ask_read_prompt},
    {.name = "max_tokens",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, max_tokens),
     .lo = 1,
     .hi = INT32_MAX},
    {.name = "logprobs", .kind = ASK_READ, .read = completion_read_logprobs},
    {.name = "echo", .kind = ASK_REFUSED, .why = "the prompt is not said again"},
    {.name = "suffix", .kind = ASK_READ, .read = ask_read_suffix},
    ASK_END,
};

/* OpenAI's older shape: one array for each kind of fact.  objects: those of chat completions, with commas. */
static void completion_put_logprobs(struct jout *j, const char *objects, size_t n)
{
    _cleanup_(buf_deinit) struct buf text = BUF_INIT(n + 2);
    _cleanup_(jin_decrefp) json_t *tokens = NULL;
    const json_t *token, *top;
    size_t i, k;

    if (buf_append(&text, "[", 1) || buf_append(&text, objects, n) || buf_append(&text, "]", 1))
        return;
    tokens = json_loadb((const char *)buf_head(&text), buf_size(&text), 0, NULL);
    jout_open(j, "logprobs", '{');
    jout_open(j, "tokens", '[');
    json_array_foreach(tokens, i, token)
        jout_text(j, NULL, json_string_value(json_object_get(token, "token")), (size_t)-1);
    jout_close(j, ']');
    jout_open(j, "token_logprobs", '[');
    json_array_foreach(tokens, i, token)
        jout_real(j, NULL, json_number_value(json_object_get(token, "logprob")));
    jout_close(j, ']');
    jout_open(j, "top_logprobs", '[');
    json_array_foreach(tokens, i, token)
    {
        jout_open(j, NULL, '{');
        json_array_foreach(json_object_get(token, "top_logprobs"), k, top)
            jout_real(j, json_string_value(json_object_get(top, "token")),
                      json_number_value(json_object_get(top, "logprob")));
        jout_close(j, '}');
    }
    jout_close(j, ']');
    jout_close(j, '}');
}

static void completion_put_head(struct job *job, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_key_text(j, "id", "cmpl-", job->id);
    jout_text(j, "object", "text_completion", (size_t)-1);
    jout_int(j, "created", job->created_s);
    jout_text(j, "model", job_model(job), (size_t)-1);
    jout_open(j, "choices", '[');
}

/* objects NULL: no log-probabilities; finish NULL: it goes on */
static void completion_put_choice(struct jout *j, int index, const char *text, size_t n,
                                  const struct buf *objects, const char *finish)
{
    jout_open(j, NULL, '{');
    jout_int(j, "index", index);
    jout_text(j, "text", text, n);
    if (objects)
        completion_put_logprobs(j, jout_buf_text(objects), buf_size(objects));
    else
        jout_null(j, "logprobs");
    jout_text(j, "finish_reason", finish, (size_t)-1);
    jout_close(j, '}');
}

static void completion_put_chunk(struct job *job, struct choice *choice, const qwend_event *event,
                                 const char *finish, struct jout *j)
{
    _cleanup_(buf_deinit) struct buf objects = BUF_INIT(1 << 20);
    struct jout inner = {.buf = &objects};
    const bool lists = job->logprobs && event && event->n_logprobs;

    if (lists)
        job_put_logprobs(job, &inner, event);
    jout_bytes(j, "data: ", 6);
    j->more = false;
    completion_put_head(job, j);
    completion_put_choice(j, choice->index, event ? event->text : "", event ? event->n : 0,
                          lists ? &objects : NULL, finish);
    jout_close(j, ']');
    if (job->include_usage)
        jout_null(j, "usage");
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
}

static void completion_begin(struct job *job, struct jout *j)
{
    jout_bytes(j, ": begin\n\n", 9); /* headers alone would be held back by some proxies */
}

static void completion_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    if (event->n || (job->logprobs && event->n_logprobs))
        completion_put_chunk(job, choice, event, NULL, j);
}

static void completion_end(struct job *job, struct choice *choice, struct jout *j)
{
    completion_put_chunk(job, choice, NULL, openai_finish_name(choice->finish), j);
}

static void completion_finish(struct job *job, struct jout *j)
{
    if (job->include_usage) {
        jout_bytes(j, "data: ", 6);
        completion_put_head(job, j);
        jout_close(j, ']');
        openai_put_usage(job, j);
        jout_close(j, '}');
        jout_bytes(j, "\n\n", 2);
    }
    jout_bytes(j, "data: [DONE]\n\n", 14);
}

static void completion_whole(struct job *job, struct jout *j)
{
    completion_put_head(job, j);
    for (int i = 0; i < job->n; i++) {
        const struct choice *choice = &job->choices[i];

        completion_put_choice(j, i, jout_buf_text(&choice->answer), buf_size(&choice->answer),
                              job->logprobs ? &choice->logprobs : NULL, openai_finish_name(choice->finish));
    }
    jout_close(j, ']');
    openai_put_usage(job, j);
    jout_close(j, '}');
}

static const struct dialect completion_dialect = {
    .stream_type = "text/event-stream",
    .begin = completion_begin,
    .delta = completion_delta,
    .end = completion_end,
    .finish = completion_finish,
    .whole = completion_whole,
    .ping = openai_ping,
    .fail = openai_fail,
};

int completion_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    static const struct ask_field *const tables[] = {completion_fields, ask_sampling};
    int r = ask_read(ask, root, "", tables, ARRAY_SIZE(tables), refusal);

    if (!r && !ask->is_raw)
        r = refuse(refusal, 400, "invalid_value", "prompt", "prompt is missing");
    if (!ask->max_tokens)
        ask->max_tokens = COMPLETION_TOKENS;
    return r;
}

void completion_serve(struct conn *conn)
{
    serve_job(conn, completion_read, &completion_dialect);
}
