/* chat.c - POST /v1/chat/completions. */
#include <string.h>

#include "openai.h"
#include "serve.h"

static int chat_read_logprobs(struct ask *ask, const json_t *value, const char *param,
                              struct refusal *refusal)
{
    return jin_bool(value, param, &ask->logprobs, refusal);
}

static const struct ask_field chat_fields[] = {
    {.name = "messages", .kind = ASK_READ, .read = ask_read_messages},
    {.name = "max_tokens",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, max_tokens_old),
     .lo = 1,
     .hi = INT32_MAX},
    {.name = "max_completion_tokens",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, max_tokens),
     .lo = 1,
     .hi = INT32_MAX},
    {.name = "logprobs", .kind = ASK_READ, .read = chat_read_logprobs},
    {.name = "top_logprobs",
     .kind = ASK_INT,
     .offset = offsetof(struct ask, top_logprobs),
     .lo = 0,
     .hi = ASK_TOP_LOGPROBS},
    {.name = "return_progress", .kind = ASK_BOOL, .offset = offsetof(struct ask, wants_progress)},
    {.name = "prediction", .kind = ASK_REFUSED, .why = "answers are not predicted by clients"},
    ASK_END,
};

/* The head of a chunk up to its choices. */
static void chat_put_head(struct job *job, struct jout *j, const char *object)
{
    jout_open(j, NULL, '{');
    jout_key_text(j, "id", "chatcmpl-", job->id);
    jout_text(j, "object", object, (size_t)-1);
    jout_int(j, "created", job->created_s);
    jout_text(j, "model", job_model(job), (size_t)-1);
    jout_open(j, "choices", '[');
}

/* A chunk up to its choices. */
static void chat_open_chunk(struct job *job, struct jout *j)
{
    jout_bytes(j, "data: ", 6);
    j->more = false;
    chat_put_head(job, j, "chat.completion.chunk");
}

static void chat_close_chunk(struct jout *j)
{
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
    j->more = false;
}

static void chat_put_tail(struct job *job, struct jout *j)
{
    jout_close(j, ']');
    if (job->include_usage)
        jout_null(j, "usage");
    chat_close_chunk(j);
}

/* A chunk of one choice, open inside of its delta. */
static void chat_open_delta(struct job *job, int index, struct jout *j)
{
    chat_open_chunk(job, j);
    jout_open(j, NULL, '{');
    jout_int(j, "index", index);
    jout_open(j, "delta", '{');
}

static void chat_close_delta(struct job *job, struct jout *j, const qwend_event *event, const char *finish)
{
    jout_close(j, '}');
    if (job->logprobs && event && event->n_logprobs && event->type == QWEND_EV_ANSWER) {
        jout_open(j, "logprobs", '{');
        jout_open(j, "content", '[');
        job_put_logprobs(job, j, event);
        jout_close(j, ']');
        jout_close(j, '}');
    } else {
        jout_null(j, "logprobs");
    }
    jout_text(j, "finish_reason", finish, (size_t)-1);
    jout_close(j, '}');
    chat_put_tail(job, j);
}

static void chat_begin(struct job *job, struct jout *j)
{
    for (int i = 0; i < job->n; i++) {
        chat_open_delta(job, i, j);
        jout_text(j, "role", "assistant", 9);
        jout_text(j, "content", "", 0);
        chat_close_delta(job, j, NULL, NULL);
    }
}

/* vLLM's newer name and the older one that most clients read. */
static void chat_put_reasoning(const struct job *job, struct jout *j, const char *text, size_t n)
{
    const char *field = job->reasoning_field;

    if (!strcmp(field, "both") || !strcmp(field, "reasoning_content"))
        jout_text(j, "reasoning_content", text, n);
    if (!strcmp(field, "both") || !strcmp(field, "reasoning"))
        jout_text(j, "reasoning", text, n);
}

static void chat_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    if (event->type == QWEND_EV_REASONING && (!event->n || !strcmp(job->reasoning_field, "none")))
        return;
    if (!event->n && !(job->logprobs && event->n_logprobs))
        return;
    chat_open_delta(job, choice->index, j);
    if (event->type == QWEND_EV_REASONING)
        chat_put_reasoning(job, j, event->text, event->n);
    else
        jout_text(j, "content", event->text, event->n);
    chat_close_delta(job, j, event, NULL);
}

static void chat_progress(struct job *job, const qwend_event *event, struct jout *j)
{
    chat_open_chunk(job, j);
    jout_close(j, ']');
    job_put_progress(job, event, j);
    chat_close_chunk(j);
}

static void chat_put_call(const struct job *job, const struct choice *choice, size_t i, bool is_chunk,
                          struct jout *j)
{
    jout_open(j, NULL, '{');
    if (is_chunk)
        jout_int(j, "index", (int64_t)i);
    job_put_call_id(j, "id", "call_", job, choice, i);
    jout_text(j, "type", "function", 8);
    jout_open(j, "function", '{');
    jout_text(j, "name", choice->uses[i].name, (size_t)-1);
    jout_text(j, "arguments", choice->uses[i].arguments, (size_t)-1);
    jout_close(j, '}');
    jout_close(j, '}');
}

static void chat_call(struct job *job, struct choice *choice, struct jout *j)
{
    chat_open_delta(job, choice->index, j);
    jout_open(j, "tool_calls", '[');
    chat_put_call(job, choice, choice->n_uses - 1, true, j);
    jout_close(j, ']');
    chat_close_delta(job, j, NULL, NULL);
}

static void chat_end(struct job *job, struct choice *choice, struct jout *j)
{
    chat_open_delta(job, choice->index, j);
    chat_close_delta(job, j, NULL, openai_finish_name(choice->finish));
}

static void chat_finish(struct job *job, struct jout *j)
{
    if (job->include_usage) {
        chat_open_chunk(job, j);
        jout_close(j, ']');
        openai_put_usage(job, j);
        chat_close_chunk(j);
    }
    jout_bytes(j, "data: [DONE]\n\n", 14);
}

static void chat_put_choice(struct job *job, struct choice *choice, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_int(j, "index", choice->index);
    jout_open(j, "message", '{');
    jout_text(j, "role", "assistant", 9);
    if (choice->n_uses && !buf_size(&choice->answer))
        jout_null(j, "content");
    else
        jout_text(j, "content", jout_buf_text(&choice->answer), buf_size(&choice->answer));
    if (choice->n_uses) {
        jout_open(j, "tool_calls", '[');
        for (size_t i = 0; i < choice->n_uses; i++)
            chat_put_call(job, choice, i, false, j);
        jout_close(j, ']');
    }
    if (buf_size(&choice->reasoning))
        chat_put_reasoning(job, j, (const char *)buf_head(&choice->reasoning), buf_size(&choice->reasoning));
    jout_null(j, "refusal");
    jout_close(j, '}');
    if (job->logprobs) {
        jout_open(j, "logprobs", '{');
        jout_open(j, "content", '[');
        jout_bytes(j, jout_buf_text(&choice->logprobs), buf_size(&choice->logprobs));
        jout_close(j, ']');
        jout_close(j, '}');
    } else {
        jout_null(j, "logprobs");
    }
    jout_text(j, "finish_reason", openai_finish_name(choice->finish), (size_t)-1);
    jout_close(j, '}');
}

static void chat_whole(struct job *job, struct jout *j)
{
    chat_put_head(job, j, "chat.completion");
    for (int i = 0; i < job->n; i++)
        chat_put_choice(job, &job->choices[i], j);
    jout_close(j, ']');
    openai_put_usage(job, j);
    jout_close(j, '}');
}

static const struct dialect chat_dialect = {
    .stream_type = "text/event-stream",
    .begin = chat_begin,
    .delta = chat_delta,
    .progress = chat_progress,
    .call = chat_call,
    .end = chat_end,
    .finish = chat_finish,
    .whole = chat_whole,
    .ping = openai_ping,
    .fail = openai_fail,
};

int chat_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    static const struct ask_field *const tables[] = {chat_fields, ask_sampling};
    int r = ask_read(ask, root, "", tables, ARRAY_SIZE(tables), refusal);

    if (!ask->max_tokens)
        ask->max_tokens = ask->max_tokens_old;
    return r;
}

void chat_serve(struct conn *conn)
{
    serve_job(conn, chat_read, &chat_dialect);
}
