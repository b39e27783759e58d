/* openai.c - what OpenAI's endpoints have in common.  See openai.h. */
#include "openai.h"

#include <string.h>

static const char *openai_error_type(int status)
{
    return status == 401   ? "authentication_error"
           : status == 403 ? "permission_error"
           : status == 404 ? "not_found_error"
           : status == 429 ? "rate_limit_error"
           : status == 503 ? "unavailable_error"
           : status < 500  ? "invalid_request_error"
                           : "server_error";
}

void openai_put_error(const struct refusal *refusal, struct jout *j)
{
    jout_open(j, NULL, '{');
    jout_open(j, "error", '{');
    jout_text(j, "message", refusal->text, (size_t)-1);
    jout_text(j, "type", openai_error_type(refusal->status), (size_t)-1);
    jout_text(j, "param", *refusal->param ? refusal->param : NULL, (size_t)-1);
    jout_text(j, "code", refusal->reason, (size_t)-1);
    jout_close(j, '}');
    jout_close(j, '}');
}

void openai_fail(struct job *job, const struct refusal *refusal, struct jout *j)
{
    jout_bytes(j, "data: ", 6);
    j->more = false;
    openai_put_error(refusal, j);
    jout_bytes(j, "\n\n", 2);
}

void openai_ping(struct job *job, struct jout *j)
{
    jout_bytes(j, ": ping\n\n", 8);
}

void openai_put_usage(struct job *job, struct jout *j)
{
    uint32_t reasoning, n = job_tokens(job, &reasoning);

    jout_open(j, "usage", '{');
    jout_int(j, "prompt_tokens", job->prompt_tokens);
    jout_int(j, "completion_tokens", n);
    jout_int(j, "total_tokens", (int64_t)job->prompt_tokens + n);
    jout_open(j, "prompt_tokens_details", '{');
    jout_int(j, "cached_tokens", job->cached_tokens);
    jout_close(j, '}');
    jout_open(j, "completion_tokens_details", '{');
    jout_int(j, "reasoning_tokens", reasoning);
    jout_close(j, '}');
    jout_close(j, '}');
}

const char *openai_finish_name(qwend_finish finish)
{
    return finish == QWEND_FINISH_STOP ? "stop" : finish == QWEND_FINISH_TOOL ? "tool_calls" : "length";
}
