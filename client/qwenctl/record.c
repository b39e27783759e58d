/* record.c - a request as JSON.  See record.h. */
#include "record.h"

#include <string.h>

#include "proto/status.h"

int record_init(struct record *record, bool whole)
{
    *record = (struct record){.whole = whole};
    if (!whole)
        return 0;
    record->text = open_memstream(&record->text_data, &record->n_text);
    record->thinking = open_memstream(&record->thinking_data, &record->n_thinking);
    record->logprobs = open_memstream(&record->logprobs_data, &record->n_logprobs);
    if (!record->text || !record->thinking || !record->logprobs)
        return err_origin(-ENOMEM);
    record->logprobs_json.file = record->logprobs;
    return 0;
}

void record_deinit(struct record *record)
{
    FILE *const files[] = {record->text, record->thinking, record->logprobs};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (files[i])
            fclose(files[i]);
    free(record->text_data);
    free(record->thinking_data);
    free(record->logprobs_data);
}

/* One line of output under construction. */
struct record_line {
    struct json json;
    char *data;
    size_t n;
};

static int record_line_open(struct record_line *line, const char *e)
{
    *line = (struct record_line){};
    line->json.file = open_memstream(&line->data, &line->n);
    if (!line->json.file)
        return err_origin(-ENOMEM);
    json_open(&line->json, NULL, '{');
    json_text(&line->json, "e", e, (size_t)-1);
    return 0;
}

static int record_line_put(struct run *run, struct record_line *line)
{
    int r;

    json_close(&line->json, '}');
    fputc('\n', line->json.file);
    r = fclose(line->json.file) ? err_errno() : 0;
    if (!r)
        r = ui_out(run->ui, line->data, line->n);
    free(line->data);
    return r;
}

static void record_start(struct run *run, struct json *json, const qwend_event *event)
{
    const char *model = qwend_model_name(run->q);
    char seed[24];

    json_text(json, "id", event->request_id, (size_t)-1);
    if (model)
        json_text(json, "model", model, (size_t)-1);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->values->seed.value);
    if (run->values->seed.given)
        json_text(json, "seed", seed, (size_t)-1);
}

/* Token text is bytes: where they are not whole UTF-8, "t" is their readable form and "bytes" the truth. */
static void record_alternative(struct json *json, const qwend_alternative *token)
{
    json_uint(json, "id", token->id);
    json_real(json, "logprob", (double)token->logprob, 6);
    json_text(json, "t", token->text ? token->text : "", token->n);
    if (qwend_utf8_valid(token->text ? token->text : "", token->n) == token->n)
        return;
    json_open(json, "bytes", '[');
    for (size_t i = 0; i < token->n; i++)
        json_uint(json, NULL, (unsigned char)token->text[i]);
    json_close(json, ']');
}

static void record_logprobs(struct json *json, const qwend_event *event)
{
    for (size_t i = 0; i < event->n_logprobs; i++) {
        const qwend_logprob *entry = &event->logprobs[i];

        json_open(json, NULL, '{');
        record_alternative(json, &entry->token);
        json_open(json, "top", '[');
        for (size_t k = 0; k < entry->n_top; k++) {
            json_open(json, NULL, '{');
            record_alternative(json, &entry->top[k]);
            json_close(json, '}');
        }
        json_close(json, ']');
        json_close(json, '}');
    }
}

static void record_usage(struct run *run, struct json *json, const qwend_usage *usage)
{
    char seed[24];

    json_text(json, "id", run->stream ? qwend_stream_id(run->stream) : "", (size_t)-1);
    json_text(json, "finish", run_finish_name(usage->finish), (size_t)-1);
    if (usage->stop)
        json_text(json, "stop", usage->stop, (size_t)-1);
    json_open(json, "usage", '{');
    json_uint(json, "prompt", usage->prompt_tokens);
    json_uint(json, "cached", usage->cached_tokens);
    json_uint(json, "think", usage->reasoning_tokens);
    json_uint(json, "output", usage->answer_tokens);
    json_close(json, '}');
    json_open(json, "timing", '{');
    json_real(json, "queue_ms", usage->queue_ms, 3);
    json_real(json, "prefill_ms", usage->prefill_ms, 3);
    json_real(json, "decode_ms", usage->decode_ms, 3);
    json_real(json, "ttft_ms", run_first_ms(run), 3);
    json_real(json, "tok_s", run_tokens_per_s(usage), 3);
    json_close(json, '}');
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)usage->seed);
    json_text(json, "seed", seed, (size_t)-1);
    json_text(json, "backend", usage->backend ? usage->backend : "", (size_t)-1);
    json_uint(json, "replays", usage->replays);
    json_uint(json, "preemptions", usage->preemptions);
    json_open(json, "warnings", '[');
    for (size_t i = 0; i < usage->n_warnings; i++)
        json_text(json, NULL, usage->warnings[i], (size_t)-1);
    json_close(json, ']');
}

static void record_error(struct json *json, const qwend_event *event)
{
    json_uint(json, "code", (uint64_t)event->code);
    json_text(json, "name", event->code ? status_name(event->code) : "NO_DAEMON", (size_t)-1);
    json_text(json, "msg", event->text, event->n);
    if (event->retry_after_ms)
        json_uint(json, "retry_after_ms", event->retry_after_ms);
    json_open(json, "details", '{');
    for (size_t i = 0; i < event->n_details; i++)
        json_text(json, event->details[2 * i], event->details[2 * i + 1], (size_t)-1);
    json_close(json, '}');
}

static void record_queue(struct json *json, const qwend_event *event)
{
    json_uint(json, "pos", event->position);
    if (event->loading)
        json_uint(json, "load_permille", event->load_permille);
}

static void record_members(struct run *run, struct json *json, const qwend_event *event)
{
    switch ((int)event->type) {
    case RUN_EV_SENT:
        record_start(run, json, event);
        break;
    case QWEND_EV_QUEUED:
        record_queue(json, event);
        break;
    case QWEND_EV_STARTED:
        json_uint(json, "prompt", event->prompt_tokens);
        json_uint(json, "cached", event->cached_tokens);
        break;
    case QWEND_EV_READ:
        json_uint(json, "prompt", event->prompt_tokens);
        json_uint(json, "read", event->from_token);
        break;
    case QWEND_EV_RESUMED:
        json_uint(json, "from_token", event->from_token);
        break;
    case QWEND_EV_END:
        record_usage(run, json, event->usage);
        break;
    case QWEND_EV_ERROR:
        record_error(json, event);
        break;
    case QWEND_EV_REASONING:
    case QWEND_EV_ANSWER:
    case QWEND_EV_TOOL_CALL:
        json_text(json, "t", event->text, event->n);
        if (event->n_logprobs) {
            json_open(json, "logprobs", '[');
            record_logprobs(json, event);
            json_close(json, ']');
        }
        break;
    default:
        break;
    }
}

static void record_gather(struct record *record, const qwend_event *event)
{
    if (event->type == QWEND_EV_ANSWER)
        fwrite(event->text, 1, event->n, record->text);
    if (event->type == QWEND_EV_REASONING)
        fwrite(event->text, 1, event->n, record->thinking);
    record_logprobs(&record->logprobs_json, event);
}

static void record_whole(struct record *record, struct json *json)
{
    fflush(record->text);
    fflush(record->thinking);
    fflush(record->logprobs);
    json_text(json, "text", record->text_data, record->n_text);
    json_text(json, "thinking", record->thinking_data, record->n_thinking);
    if (!record->n_logprobs)
        return;
    json_open(json, "logprobs", '[');
    fwrite(record->logprobs_data, 1, record->n_logprobs, json->file);
    json_close(json, ']');
}

int record_event(struct run *run, struct record *record, const qwend_event *event)
{
    static const char *const names[] = {
        [RUN_EV_SENT] = "start",        [QWEND_EV_QUEUED] = "queue",      [QWEND_EV_STARTED] = "read",
        [QWEND_EV_REASONING] = "think", [QWEND_EV_ANSWER] = "text",       [QWEND_EV_TOOL_CALL] = "tool",
        [QWEND_EV_RESTART] = "restart", [QWEND_EV_RESUMED] = "resume",    [QWEND_EV_END] = "end",
        [QWEND_EV_ERROR] = "error",     [QWEND_EV_PREEMPTED] = "preempt", [QWEND_EV_READ] = "progress",
    };
    bool last = event->type == QWEND_EV_END || event->type == QWEND_EV_ERROR;
    struct record_line line;
    int r;

    if (record->whole && !last) {
        record_gather(record, event);
        return 0;
    }
    r = record_line_open(&line, names[event->type]);
    if (r)
        return r;
    record_members(run, &line.json, event);
    if (record->whole)
        record_whole(record, &line.json);
    return record_line_put(run, &line);
}
