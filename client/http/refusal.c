/* refusal.c - see refusal.h. */
#include "refusal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/status.h"

int refuse(struct refusal *refusal, int status, const char *reason, const char *param, const char *fmt, ...)
{
    va_list ap;

    *refusal = (struct refusal){.status = status, .reason = reason};
    snprintf(refusal->param, sizeof(refusal->param), "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(refusal->text, sizeof(refusal->text), fmt, ap);
    va_end(ap);
    return status;
}

/* By code; what is not listed goes by its hundred. */
static const struct {
    int code, status;
    const char *reason;
} refusal_codes[] = {
    {0, 503, "daemon_unreachable"},
    {STATUS_INVALID, 400, "invalid_value"},
    {STATUS_TOO_LONG, 400, "context_length_exceeded"},
    {STATUS_GRAMMAR, 400, "invalid_grammar"},
    {STATUS_TEMPLATE, 400, "invalid_messages"},
    {STATUS_UNSUPPORTED, 400, "unsupported"},
    {STATUS_UNKNOWN_REQUEST, 404, "unknown_request"},
    {STATUS_POISONED, 500, "poisoned"},
    {STATUS_DENIED, 403, "denied"},
    {STATUS_CONCURRENCY, 429, "concurrency"},
    {STATUS_TOKEN_RATE, 429, "rate_limit_exceeded"},
    {STATUS_CTX_LIMIT, 400, "context_length_exceeded"},
    {STATUS_PENALISED, 429, "penalised"},
    {STATUS_QUEUE_FULL, 429, "queue_full"},
    {STATUS_DEADLINE_UNMEETABLE, 429, "deadline_unmeetable"},
    {STATUS_DRAINING, 503, "draining"},
    {STATUS_LOADING, 503, "loading"},
    {STATUS_ENGINE_LOST, 500, "engine_lost"},
    {STATUS_OOM, 503, "out_of_memory"},
    {STATUS_SLOW_CONSUMER, 503, "slow_consumer"},
    {STATUS_DEADLINE, 504, "deadline"},
    {STATUS_CANCELLED, 503, "cancelled"},
};

void refuse_code(struct refusal *refusal, int code, uint32_t retry_after_ms, const char *text)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(refusal_codes) && refusal_codes[i].code != code; i++)
        ;
    if (i < ARRAY_SIZE(refusal_codes))
        refuse(refusal, refusal_codes[i].status, refusal_codes[i].reason, NULL, "%s", text);
    else
        refuse(refusal, 500, "internal_error", NULL, "%s", text);
    refusal->code = code;
    refusal->retry_after_s = CEIL_DIV(retry_after_ms, 1000u);
    if (!refusal->retry_after_s && (refusal->status == 429 || refusal->status == 503))
        refusal->retry_after_s = 1;
}
