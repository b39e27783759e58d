/* ollama.c - /api/chat and /api/generate: lines of JSON, one a piece of the answer, until one says done. */
#include "ollama.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "serve.h"

void ollama_put_error(const struct refusal *refusal, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_text(j, "error", refusal->text, (size_t)-1);
    jout_close(j, '}');
}

/* reading */

/* Levels are on, as long as the engine has no budget for thinking. */
static int ollama_read_think(struct ask *ask, const json_t *value, const char *param, struct refusal *refusal)
{
    return json_is_string(value) ? ask_read_effort(ask, value, param, refusal)
                                 : ask_read_thinking(ask, value, param, refusal);
}

static int ollama_read_predict(struct ask *ask, const json_t *value, const char *param,
                               struct refusal *refusal)
{
    int64_t n = 0;
    int r = jin_int(value, param, -2, INT32_MAX, &n, refusal);

    ask->max_tokens = MAX(n, 0);
    return r;
}

static int ollama_read_options(struct ask *ask, const json_t *value, const char *param,
                               struct refusal *refusal)
{
    static const struct ask_field fields[] = {
        {.name = "num_predict", .kind = ASK_READ, .read = ollama_read_predict},
        /* of a request, not of its options */
        {.name = "stream", .kind = ASK_REFUSED, .why = "it belongs beside options, not into them"},
        ASK_END,
    };
    static const struct ask_field *const tables[] = {fields, ask_sampling};
    int r = jin_object(value, param, refusal);

    return r ? r : ask_read(ask, value, "options.", tables, ARRAY_SIZE(tables), refusal);
}

static int ollama_read_messages(struct ask *ask, const json_t *value, const char *param,
                                struct refusal *refusal)
{
    const json_t *message, *thinking;
    size_t i;
    int r = ask_read_messages(ask, value, param, refusal);

    json_array_foreach((json_t *)value, i, message)
    {
        thinking = json_object_get(message, "thinking");
        if (!r && json_array_size(json_object_get(message, "images")))
            r = refuse(refusal, 400, "unsupported_value", "messages.images",
                       "images: the model knows text only");
        if (r || !json_is_string(thinking) || ask->n_turns != json_array_size(value) ||
            ask->turns[i].role != QWEND_ASSISTANT)
            continue;
        ask->turns[i].has_reasoning = true;
        r = ask_append(&ask->turns[i].reasoning, json_string_value(thinking), json_string_length(thinking),
                       param, refusal);
    }
    return r;
}

static int ollama_read_format(struct ask *ask, const json_t *value, const char *param,
                              struct refusal *refusal)
{
    if (json_is_string(value) && !json_string_length(value))
        return 0;
    return refuse(refusal, 400, "unsupported_parameter", param,
                  "format: the engine cannot hold an answer to a schema yet");
}

static int ollama_read_system(struct ask *ask, const json_t *value, const char *param,
                              struct refusal *refusal)
{
    struct turn *turn = ask_turn(ask, QWEND_SYSTEM, param, refusal);
    const char *text;
    size_t n;
    int r = turn ? jin_text(value, param, &text, &n, refusal) : refusal->status;

    if (!r && !n)
        ask->n_turns = 0; /* none: it is the first turn */
    return r || !n ? r : ask_append(&turn->text, text, n, param, refusal);
}

#define OLLAMA_SHARED                                                                                        \
    {.name = "model", .kind = ASK_READ, .read = ask_read_model},                                             \
        {.name = "stream", .kind = ASK_BOOL, .offset = offsetof(struct ask, stream)},                        \
        {.name = "options", .kind = ASK_READ, .read = ollama_read_options},                                  \
        {.name = "local_only", .kind = ASK_BOOL, .offset = offsetof(struct ask, local_only)},                \
        {.name = "think", .kind = ASK_READ, .read = ollama_read_think},                                      \
        {.name = "format", .kind = ASK_READ, .read = ollama_read_format},                                    \
    {                                                                                                        \
        .name = "tools", .kind = ASK_READ, .read = ask_read_tools                                            \
    }

static const struct ask_field ollama_chat_fields[] = {
    OLLAMA_SHARED,
    {.name = "messages", .kind = ASK_READ, .read = ollama_read_messages},
    ASK_END,
};
static const struct ask_field ollama_generate_fields[] = {
    OLLAMA_SHARED,
    {.name = "prompt", .kind = ASK_READ, .read = ask_read_prompt},
    {.name = "suffix", .kind = ASK_READ, .read = ask_read_suffix},
    {.name = "system", .kind = ASK_READ, .read = ollama_read_system},
    {.name = "raw", .kind = ASK_BOOL, .offset = offsetof(struct ask, echo)},
    {.name = "images", .kind = ASK_REFUSED, .why = "the model knows text only"},
    {.name = "template", .kind = ASK_REFUSED, .why = "the model's own template is used; raw does without"},
    {.name = "context", .kind = ASK_REFUSED, .why = "no context is kept: use /api/chat"},
    ASK_END,
};

/* writing */

static void ollama_put_head(struct job *job, struct jout *j)
{
    struct timespec now;
    char text[64], date[32];
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%09ldZ", date, now.tv_nsec);
    jout_open(j, NULL, '{');
    jout_text(j, "model", job_model(job), (size_t)-1);
    jout_text(j, "created_at", text, (size_t)-1);
}

extern const struct dialect ollama_chat_dialect, ollama_generate_dialect;

/* The calls [from, n_uses) of a choice. */
static void ollama_put_calls(const struct choice *choice, size_t from, struct jout *j)
{
    jout_open(j, "tool_calls", '[');
    for (size_t i = from; i < choice->n_uses; i++) {
        jout_open(j, NULL, '{');
        jout_open(j, "function", '{');
        jout_int(j, "index", (int64_t)i);
        jout_text(j, "name", choice->uses[i].name, (size_t)-1);
        jout_raw(j, "arguments", choice->uses[i].arguments, strlen(choice->uses[i].arguments));
        jout_close(j, '}');
        jout_close(j, '}');
    }
    jout_close(j, ']');
}

/* calls: its calls from that one on are told as well; NULL: none */
static void ollama_put_text(struct job *job, const char *text, size_t n, const char *thinking,
                            size_t n_thinking, const struct choice *calls, size_t from, struct jout *j)
{
    const bool is_chat = job->dialect == &ollama_chat_dialect;

    if (is_chat) {
        jout_open(j, "message", '{');
        jout_text(j, "role", "assistant", 9);
    }
    jout_text(j, is_chat ? "content" : "response", text, n);
    if (n_thinking)
        jout_text(j, "thinking", thinking, n_thinking);
    if (calls && calls->n_uses > from)
        ollama_put_calls(calls, from, j);
    if (is_chat)
        jout_close(j, '}');
}

static void ollama_begin(struct job *job, struct jout *j) {}

static void ollama_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    const bool thinks = event->type == QWEND_EV_REASONING;

    if (!event->n)
        return;
    ollama_put_head(job, j);
    ollama_put_text(job, thinks ? "" : event->text, thinks ? 0 : event->n, event->text, thinks ? event->n : 0,
                    NULL, 0, j);
    jout_bool(j, "done", false);
    jout_close(j, '}');
    jout_bytes(j, "\n", 1);
    j->more = false;
}

static void ollama_call(struct job *job, struct choice *choice, struct jout *j)
{
    ollama_put_head(job, j);
    ollama_put_text(job, "", 0, NULL, 0, choice, choice->n_uses - 1, j);
    jout_bool(j, "done", false);
    jout_close(j, '}');
    jout_bytes(j, "\n", 1);
    j->more = false;
}

static void ollama_put_end(struct job *job, const struct choice *choice, struct jout *j)
{
    uint32_t reasoning, n = job_tokens(job, &reasoning);

    jout_bool(j, "done", true);
    jout_text(j, "done_reason",
              choice->finish == QWEND_FINISH_STOP || choice->finish == QWEND_FINISH_TOOL ? "stop" : "length",
              (size_t)-1);
    jout_int(j, "total_duration",
             (int64_t)(1e6 * (choice->queue_ms + choice->prefill_ms + choice->decode_ms)));
    jout_int(j, "load_duration", 0);
    jout_int(j, "prompt_eval_count", job->prompt_tokens);
    jout_int(j, "prompt_eval_duration", (int64_t)(1e6 * choice->prefill_ms));
    jout_int(j, "eval_count", n);
    jout_int(j, "eval_duration", (int64_t)(1e6 * choice->decode_ms));
    jout_close(j, '}');
}

static void ollama_end(struct job *job, struct choice *choice, struct jout *j)
{
    ollama_put_head(job, j);
    ollama_put_text(job, "", 0, NULL, 0, NULL, 0, j);
    ollama_put_end(job, choice, j);
    jout_bytes(j, "\n", 1);
}

static void ollama_whole(struct job *job, struct jout *j)
{
    const struct choice *choice = &job->choices[0];

    ollama_put_head(job, j);
    ollama_put_text(job, jout_buf_text(&choice->answer), buf_size(&choice->answer),
                    jout_buf_text(&choice->reasoning), buf_size(&choice->reasoning), choice, 0, j);
    ollama_put_end(job, choice, j);
}

static void ollama_fail(struct job *job, const struct refusal *refusal, struct jout *j)
{
    ollama_put_error(refusal, j);
    jout_bytes(j, "\n", 1);
}

/* Lines have no comments: nothing can be said while nothing is said. */
#define OLLAMA_DIALECT(its_call)                                                                             \
    {                                                                                                        \
        .stream_type = "application/x-ndjson", .begin = ollama_begin, .delta = ollama_delta,                 \
        .call = its_call, .end = ollama_end, .finish = ollama_begin, .whole = ollama_whole,                  \
        .fail = ollama_fail,                                                                                 \
    }
const struct dialect ollama_chat_dialect = OLLAMA_DIALECT(ollama_call),
                     ollama_generate_dialect = OLLAMA_DIALECT(NULL);

int ollama_chat_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    static const struct ask_field *const tables[] = {ollama_chat_fields};

    ask->stream = ask->fits = true;
    return ask_read(ask, root, "", tables, 1, refusal);
}

void ollama_chat_serve(struct conn *conn)
{
    serve_job(conn, ollama_chat_read, &ollama_chat_dialect);
}

/* Unless raw or with a gap, the prompt is what a user says. */
static int ollama_make_chat(struct ask *ask, struct refusal *refusal)
{
    struct turn *turn;

    if (ask->has_suffix || (ask->echo && !ask->is_nothing) || ask->has_ids)
        return 0;
    turn = ask_turn(ask, QWEND_USER, "prompt", refusal);
    if (!turn)
        return refusal->status;
    turn->text = ask->raw;
    ask->raw = BUF_INIT(ASK_TEXT_BYTES);
    ask->is_raw = false;
    return 0;
}

int ollama_generate_read(struct ask *ask, const json_t *root, struct refusal *refusal)
{
    static const struct ask_field *const tables[] = {ollama_generate_fields};
    int r;

    ask->stream = ask->fits = true;
    r = ask_read(ask, root, "", tables, 1, refusal);
    ask->is_nothing = !ask->has_ids && !ask->has_suffix && !buf_size(&ask->raw);
    return r ? r : ollama_make_chat(ask, refusal);
}

/* Without a prompt it only asks whether the model is there. */
void ollama_generate_serve(struct conn *conn)
{
    static const char loaded[] = "{\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}";
    _cleanup_(ask_deinit) struct ask ask = {};

    if (!serve_read(conn, ollama_generate_read, &ask))
        return;
    if (ask.is_nothing)
        conn_reply(conn, 200, "application/json", loaded, sizeof(loaded) - 1);
    else
        job_start(conn, &ollama_generate_dialect, &ask);
}
