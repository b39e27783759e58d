/* anthropic_out.c - messages as Anthropic's clients read them: blocks of thinking and text.  See anthropic.h.
 */
#include "anthropic_out.h"

#include <string.h>

#include "anthropic.h"

enum { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT, BLOCK_TOOL }; /* choice->block; job->seq is its index */

static const char *anthropic_error_type(int status)
{
    return status == 401   ? "authentication_error"
           : status == 403 ? "permission_error"
           : status == 404 ? "not_found_error"
           : status == 413 ? "request_too_large"
           : status == 429 ? "rate_limit_error"
           : status == 503 ? "overloaded_error"
           : status == 504 ? "timeout_error"
           : status < 500  ? "invalid_request_error"
                           : "api_error";
}

void anthropic_put_error(const struct refusal *refusal, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_text(j, "type", "error", 5);
    jout_open(j, "error", '{');
    jout_text(j, "type", anthropic_error_type(refusal->status), (size_t)-1);
    jout_text(j, "message", refusal->text, (size_t)-1);
    jout_close(j, '}');
    jout_close(j, '}');
}

/* "event: NAME", and the object of that type, open. */
static void anthropic_open(struct jout *j, const char *type)
{
    jout_bytes(j, "event: ", 7);
    jout_bytes(j, type, strlen(type));
    jout_bytes(j, "\ndata: ", 7);
    j->more = false;
    jout_open(j, NULL, '{');
    jout_text(j, "type", type, (size_t)-1);
}

static void anthropic_close(struct jout *j)
{
    jout_close(j, '}');
    jout_bytes(j, "\n\n", 2);
}

/* Tokens that were read from the cache do not count as input there. */
static void anthropic_put_usage(const struct job *job, uint32_t n_output, struct jout *j)
{
    jout_open(j, "usage", '{');
    jout_int(j, "input_tokens", job->prompt_tokens - MIN(job->prompt_tokens, job->cached_tokens));
    jout_int(j, "cache_creation_input_tokens", 0);
    jout_int(j, "cache_read_input_tokens", job->cached_tokens);
    jout_int(j, "output_tokens", n_output);
    jout_close(j, '}');
}

static void anthropic_put_stop(const struct job *job, const struct choice *choice, struct jout *j)
{
    const bool by_word = choice->finish == QWEND_FINISH_STOP && *choice->stop;

    jout_text(j, "stop_reason",
              choice->finish == QWEND_FINISH_TOOL   ? "tool_use"
              : by_word                             ? "stop_sequence"
              : choice->finish == QWEND_FINISH_STOP ? "end_turn"
              : job->fitted                         ? "model_context_window_exceeded"
                                                    : "max_tokens",
              (size_t)-1);
    jout_text(j, "stop_sequence", by_word ? choice->stop : NULL, (size_t)-1);
}

static void anthropic_put_message_head(const struct job *job, struct jout *j)
{
    jout_key_text(j, "id", "msg_", job->id);
    jout_text(j, "type", "message", 7);
    jout_text(j, "role", "assistant", 9);
    jout_text(j, "model", job_model(job), (size_t)-1);
}

static void anthropic_begin(struct job *job, struct jout *j)
{
    anthropic_open(j, "message_start");
    jout_open(j, "message", '{');
    anthropic_put_message_head(job, j);
    jout_open(j, "content", '[');
    jout_close(j, ']');
    jout_null(j, "stop_reason");
    jout_null(j, "stop_sequence");
    anthropic_put_usage(job, 0, j);
    jout_close(j, '}');
    anthropic_close(j);
}

static void anthropic_put_delta(struct job *job, const char *type, const char *key, const char *text,
                                size_t n, struct jout *j)
{
    anthropic_open(j, "content_block_delta");
    jout_int(j, "index", job->seq);
    jout_open(j, "delta", '{');
    jout_text(j, "type", type, (size_t)-1);
    jout_text(j, key, text, n);
    jout_close(j, '}');
    anthropic_close(j);
}

static void anthropic_close_block(struct job *job, struct choice *choice, struct jout *j)
{
    if (choice->block == BLOCK_NONE)
        return;
    if (choice->block ==
        BLOCK_THINKING) /* clients want one before they send the block back; it proves nothing here */
        anthropic_put_delta(job, "signature_delta", "signature", "", 0, j);
    anthropic_open(j, "content_block_stop");
    jout_int(j, "index", job->seq++);
    anthropic_close(j);
    choice->block = BLOCK_NONE;
}

static void anthropic_open_block(struct job *job, struct choice *choice, int block, struct jout *j)
{
    const bool thinks = block == BLOCK_THINKING;

    if (choice->block == block)
        return;
    anthropic_close_block(job, choice, j);
    choice->block = block;
    anthropic_open(j, "content_block_start");
    jout_int(j, "index", job->seq);
    jout_open(j, "content_block", '{');
    jout_text(j, "type", thinks ? "thinking" : "text", (size_t)-1);
    jout_text(j, thinks ? "thinking" : "text", "", 0);
    if (thinks)
        jout_text(j, "signature", "", 0);
    jout_close(j, '}');
    anthropic_close(j);
}

static void anthropic_delta(struct job *job, struct choice *choice, const qwend_event *event, struct jout *j)
{
    const bool thinks = event->type == QWEND_EV_REASONING;

    if (!event->n)
        return;
    anthropic_open_block(job, choice, thinks ? BLOCK_THINKING : BLOCK_TEXT, j);
    anthropic_put_delta(job, thinks ? "thinking_delta" : "text_delta", thinks ? "thinking" : "text",
                        event->text, event->n, j);
}

static void anthropic_put_use(const struct job *job, const struct choice *choice, size_t i, const char *key,
                              const char *input, struct jout *j)
{
    jout_open(j, key, '{');
    jout_text(j, "type", "tool_use", 8);
    job_put_call_id(j, "id", "toolu_", job, choice, i);
    jout_text(j, "name", choice->uses[i].name, (size_t)-1);
    jout_raw(j, "input", input, strlen(input));
    jout_close(j, '}');
}

static void anthropic_call(struct job *job, struct choice *choice, struct jout *j)
{
    const size_t i = choice->n_uses - 1;
    const char *arguments = choice->uses[i].arguments;

    anthropic_close_block(job, choice, j);
    choice->block = BLOCK_TOOL;
    anthropic_open(j, "content_block_start");
    jout_int(j, "index", job->seq);
    anthropic_put_use(job, choice, i, "content_block", "{}", j);
    anthropic_close(j);
    anthropic_put_delta(job, "input_json_delta", "partial_json", arguments, strlen(arguments), j);
    anthropic_close_block(job, choice, j);
}

static void anthropic_end(struct job *job, struct choice *choice, struct jout *j)
{
    uint32_t reasoning;

    anthropic_close_block(job, choice, j);
    anthropic_open(j, "message_delta");
    jout_open(j, "delta", '{');
    anthropic_put_stop(job, choice, j);
    jout_close(j, '}');
    anthropic_put_usage(job, job_tokens(job, &reasoning), j);
    anthropic_close(j);
}

static void anthropic_finish(struct job *job, struct jout *j)
{
    anthropic_open(j, "message_stop");
    anthropic_close(j);
}

static void anthropic_put_block(struct jout *j, const char *type, const struct buf *text)
{
    jout_open(j, NULL, '{');
    jout_text(j, "type", type, (size_t)-1);
    jout_text(j, type, jout_buf_text(text), buf_size(text));
    if (!strcmp(type, "thinking"))
        jout_text(j, "signature", "", 0);
    jout_close(j, '}');
}

static void anthropic_whole(struct job *job, struct jout *j)
{
    const struct choice *choice = &job->choices[0];
    uint32_t reasoning;

    jout_open(j, NULL, '{');
    anthropic_put_message_head(job, j);
    jout_open(j, "content", '[');
    if (buf_size(&choice->reasoning))
        anthropic_put_block(j, "thinking", &choice->reasoning);
    if (buf_size(&choice->answer))
        anthropic_put_block(j, "text", &choice->answer);
    for (size_t i = 0; i < choice->n_uses; i++)
        anthropic_put_use(job, choice, i, NULL, choice->uses[i].arguments, j);
    jout_close(j, ']');
    anthropic_put_stop(job, choice, j);
    anthropic_put_usage(job, job_tokens(job, &reasoning), j);
    jout_close(j, '}');
}

static void anthropic_ping(struct job *job, struct jout *j)
{
    anthropic_open(j, "ping");
    anthropic_close(j);
}

static void anthropic_fail(struct job *job, const struct refusal *refusal, struct jout *j)
{
    jout_bytes(j, "event: error\ndata: ", 19);
    j->more = false;
    anthropic_put_error(refusal, j);
    jout_bytes(j, "\n\n", 2);
}

const struct dialect anthropic_dialect = {
    .stream_type = "text/event-stream",
    .begin = anthropic_begin,
    .delta = anthropic_delta,
    .call = anthropic_call,
    .end = anthropic_end,
    .finish = anthropic_finish,
    .whole = anthropic_whole,
    .ping = anthropic_ping,
    .fail = anthropic_fail,
};
