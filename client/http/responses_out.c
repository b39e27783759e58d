/* responses_out.c - items, parts and their events.  See responses.h.
 *
 * Every event has a number; each part is told of as it is added, as it grows, and whole; the last event has
 * all of them once more.  So a stream is gathered too. */
#include "responses_out.h"

#include <stdio.h>
#include <string.h>

#include "openai.h"

enum { ITEM_NONE, ITEM_REASONING, ITEM_MESSAGE }; /* choice->block */

static int responses_item_index(const struct choice *choice)
{
    return choice->block == ITEM_MESSAGE && buf_size(&choice->reasoning) ? 1 : 0;
}

static const char *responses_item_prefix(int block)
{
    return block == ITEM_REASONING ? "rs_" : "msg_";
}

static void responses_open(struct job *job, const char *type, struct jout *j)
{
    jout_bytes(j, "event: ", 7);
    jout_bytes(j, type, strlen(type));
    jout_bytes(j, "\ndata: ", 7);
    j->more = false;
    jout_open(j, NULL, '{');
    jout_text(j, "type", type, (size_t)-1);
    jout_int(j, "sequence_number", job->seq++);
}

static void responses_close(struct jout *j)
{
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
}

/* An event of the open item's only part. */
static void responses_open_part(struct job *job, const struct choice *choice, const char *type,
                                struct jout *j)
{
    responses_open(job, type, j);
    jout_key_text(j, "item_id", responses_item_prefix(choice->block), job->id);
    jout_int(j, "output_index", responses_item_index(choice));
    jout_int(j, "content_index", 0);
}

/* objects: of those tokens that are told of, with commas; "" */
static void responses_put_logprobs(struct jout *j, const struct buf *objects)
{
    jout_open(j, "logprobs", '[');
    jout_bytes(j, jout_buf_text(objects), buf_size(objects));
    jout_close(j, ']');
}

/* choice NULL: it has only begun */
static void responses_put_part(struct jout *j, const char *key, int block, const struct choice *choice)
{
    static const struct buf nothing = {};
    const struct buf *text = !choice                   ? &nothing
                             : block == ITEM_REASONING ? &choice->reasoning
                                                       : &choice->answer;

    jout_open(j, key, '{');
    jout_text(j, "type", block == ITEM_REASONING ? "reasoning_text" : "output_text", (size_t)-1);
    jout_text(j, "text", jout_buf_text(text), buf_size(text));
    if (block == ITEM_MESSAGE) {
        jout_open(j, "annotations", '[');
        jout_close(j, ']');
        responses_put_logprobs(j, choice ? &choice->logprobs : &nothing);
    }
    jout_close(j, '}');
}

static void responses_put_item(const struct job *job, struct jout *j, const char *key, int block,
                               const struct choice *choice, const char *status)
{
    jout_open(j, key, '{');
    jout_key_text(j, "id", responses_item_prefix(block), job->id);
    jout_text(j, "type", block == ITEM_REASONING ? "reasoning" : "message", (size_t)-1);
    jout_text(j, "status", status, (size_t)-1);
    if (block == ITEM_REASONING) {
        jout_open(j, "summary", '[');
        jout_close(j, ']');
    } else {
        jout_text(j, "role", "assistant", 9);
    }
    jout_open(j, "content", '[');
    if (choice)
        responses_put_part(j, NULL, block, choice);
    jout_close(j, ']');
    jout_close(j, '}');
}

/* arguments: "" while it has only begun */
static void responses_put_call(const struct job *job, const struct choice *choice, size_t i, const char *key,
                               const char *arguments, const char *status, struct jout *j)
{
    jout_open(j, key, '{');
    job_put_call_id(j, "id", "fc_", job, choice, i);
    jout_text(j, "type", "function_call", (size_t)-1);
    jout_text(j, "status", status, (size_t)-1);
    job_put_call_id(j, "call_id", "call_", job, choice, i);
    jout_text(j, "name", choice->uses[i].name, (size_t)-1);
    jout_text(j, "arguments", arguments, (size_t)-1);
    jout_close(j, '}');
}

static void responses_put_usage(const struct job *job, struct jout *j)
{
    uint32_t reasoning, n = job_tokens(job, &reasoning);

    jout_open(j, "usage", '{');
    jout_int(j, "input_tokens", job->prompt_tokens);
    jout_open(j, "input_tokens_details", '{');
    jout_int(j, "cached_tokens", job->cached_tokens);
    jout_int(j, "cache_write_tokens", 0); /* newer SDKs want it */
    jout_close(j, '}');
    jout_int(j, "output_tokens", n);
    jout_open(j, "output_tokens_details", '{');
    jout_int(j, "reasoning_tokens", reasoning);
    jout_close(j, '}');
    jout_int(j, "total_tokens", (int64_t)job->prompt_tokens + n);
    jout_close(j, '}');
}

/* Fields that say what was asked, which says nothing new, or what is not there. */
static void responses_put_constants(const struct job *job, struct jout *j)
{
    static const char *const nulls[] = {"instructions", "max_output_tokens", "previous_response_id",
                                        "temperature", "top_p"};

    for (size_t i = 0; i < ARRAY_SIZE(nulls); i++)
        jout_null(j, nulls[i]);
    jout_bool(j, "parallel_tool_calls", job->tools && !job->one_call);
    jout_bool(j, "store", false);
    jout_text(j, "tool_choice", job->tools ? "auto" : "none", 4);
    jout_open(j, "tools", '[');
    jout_close(j, ']');
    jout_open(j, "metadata", '{');
    jout_close(j, '}');
}

/* status: in_progress, completed, incomplete or failed */
static void responses_put_response(const struct job *job, struct jout *j, const char *key, const char *status,
                                   const struct refusal *refusal)
{
    const struct choice *choice = &job->choices[0];
    const bool ended = strcmp(status, "in_progress") != 0;

    jout_open(j, key, '{');
    jout_key_text(j, "id", "resp_", job->id);
    jout_text(j, "object", "response", 8);
    jout_int(j, "created_at", job->created_s);
    jout_text(j, "status", status, (size_t)-1);
    jout_text(j, "model", job_model(job), (size_t)-1);
    if (refusal) {
        jout_open(j, "error", '{');
        jout_text(j, "code", refusal->reason, (size_t)-1);
        jout_text(j, "message", refusal->text, (size_t)-1);
        jout_close(j, '}');
    } else {
        jout_null(j, "error");
    }
    if (!strcmp(status, "incomplete")) {
        jout_open(j, "incomplete_details", '{');
        jout_text(j, "reason", "max_output_tokens", (size_t)-1);
        jout_close(j, '}');
    } else {
        jout_null(j, "incomplete_details");
    }
    jout_open(j, "output", '[');
    if (ended && buf_size(&choice->reasoning))
        responses_put_item(job, j, NULL, ITEM_REASONING, choice, "completed");
    if (ended && (buf_size(&choice->answer) || (!buf_size(&choice->reasoning) && !choice->n_uses)))
        responses_put_item(job, j, NULL, ITEM_MESSAGE, choice, ended ? status : "in_progress");
    for (size_t i = 0; ended && i < choice->n_uses; i++)
        responses_put_call(job, choice, i, NULL, choice->uses[i].arguments, "completed", j);
    jout_close(j, ']');
    responses_put_constants(job, j);
    if (ended)
        responses_put_usage(job, j);
    else
        jout_null(j, "usage");
    jout_close(j, '}');
}

static void responses_begin(struct job *job, struct jout *j)
{
    static const char *const events[] = {"response.created", "response.in_progress"};

    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        responses_open(job, events[i], j);
        responses_put_response(job, j, "response", "in_progress", NULL);
        responses_close(j);
    }
}

static void responses_close_item(struct job *job, struct choice *choice, struct jout *j)
{
    const bool thinks = choice->block == ITEM_REASONING;
    const struct buf *text = thinks ? &choice->reasoning : &choice->answer;

    if (choice->block == ITEM_NONE)
        return;
    responses_open_part(job, choice, thinks ? "response.reasoning_text.done" : "response.output_text.done",
                        j);
    jout_text(j, "text", jout_buf_text(text), buf_size(text));
    if (!thinks)
        responses_put_logprobs(j, &choice->logprobs);
    responses_close(j);
    responses_open_part(job, choice, "response.content_part.done", j);
    responses_put_part(j, "part", choice->block, choice);
    responses_close(j);
    responses_open(job, "response.output_item.done", j);
    jout_int(j, "output_index", responses_item_index(choice));
    responses_put_item(job, j, "item", choice->block, choice, "completed");
    responses_close(j);
    choice->block = ITEM_NONE;
}

static void responses_open_item(struct job *job, struct choice *choice, int block, struct jout *j)
{
    if (choice->block == block)
        return;
    responses_close_item(job, choice, j);
    choice->block = block;
    responses_open(job, "response.output_item.added", j);
    jout_int(j, "output_index", responses_item_index(choice));
    responses_put_item(job, j, "item", block, NULL, "in_progress");
    responses_close(j);
    responses_open_part(job, choice, "response.content_part.added", j);
    responses_put_part(j, "part", block, NULL);
    responses_close(j);
}

static void responses_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    const bool thinks = event->type == QWEND_EV_REASONING;

    if (!event->n)
        return;
    responses_open_item(job, choice, thinks ? ITEM_REASONING : ITEM_MESSAGE, j);
    responses_open_part(job, choice, thinks ? "response.reasoning_text.delta" : "response.output_text.delta",
                        j);
    jout_text(j, "delta", event->text, event->n);
    if (!thinks) {
        jout_open(j, "logprobs", '[');
        job_put_logprobs(job, j, event);
        jout_close(j, ']');
    }
    responses_close(j);
}

/* Its whole arguments at once: they are known when it is complete. */
static void responses_call(struct job *job, struct choice *choice, struct jout *j)
{
    static const char *const events[] = {
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done"};
    const size_t i = choice->n_uses - 1;
    const struct tool_use *use = &choice->uses[i];
    const int64_t index = (buf_size(&choice->reasoning) > 0) + (buf_size(&choice->answer) > 0) + (int64_t)i;

    responses_close_item(job, choice, j);
    for (size_t k = 0; k < ARRAY_SIZE(events); k++) {
        responses_open(job, events[k], j);
        jout_int(j, "output_index", index);
        if (k == 0 || k == 3) {
            responses_put_call(job, choice, i, "item", k ? use->arguments : "",
                               k ? "completed" : "in_progress", j);
        } else {
            job_put_call_id(j, "item_id", "fc_", job, choice, i);
            if (k == 2)
                jout_text(j, "name", use->name, (size_t)-1);
            jout_text(j, k == 1 ? "delta" : "arguments", use->arguments, (size_t)-1);
        }
        responses_close(j);
    }
}

static const char *responses_status(const struct job *job)
{
    const qwend_finish finish = job->choices[0].finish;

    return finish == QWEND_FINISH_STOP || finish == QWEND_FINISH_TOOL ? "completed" : "incomplete";
}

static void responses_end(struct job *job, struct choice *choice, struct jout *j)
{
    char type[32];

    responses_close_item(job, choice, j);
    snprintf(type, sizeof(type), "response.%s", responses_status(job));
    responses_open(job, type, j);
    responses_put_response(job, j, "response", responses_status(job), NULL);
    responses_close(j);
}

static void responses_finish(struct job *job, struct jout *j) {}

static void responses_whole(struct job *job, struct jout *j)
{
    responses_put_response(job, j, NULL, responses_status(job), NULL);
}

static void responses_fail(struct job *job, const struct refusal *refusal, struct jout *j)
{
    responses_open(job, "response.failed", j);
    responses_put_response(job, j, "response", "failed", refusal);
    responses_close(j);
}

const struct dialect responses_dialect = {
    .stream_type = "text/event-stream",
    .gathers = true,
    .begin = responses_begin,
    .delta = responses_delta,
    .call = responses_call,
    .end = responses_end,
    .finish = responses_finish,
    .whole = responses_whole,
    .ping = openai_ping,
    .fail = responses_fail,
};
