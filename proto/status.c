/* status.c - the table of stable error codes.  See status.h. */
#include "status.h"

static const struct {
    int code;
    const char *name;
} status_table[] = {
    {STATUS_OK, "OK"},
    {STATUS_BAD_PREFACE, "BAD_PREFACE"},
    {STATUS_FRAME_TOO_BIG, "FRAME_TOO_BIG"},
    {STATUS_BAD_MESSAGE, "BAD_MESSAGE"},
    {STATUS_BAD_STREAM, "BAD_STREAM"},
    {STATUS_VERSION, "VERSION"},
    {STATUS_INVALID, "INVALID"},
    {STATUS_TOO_LONG, "TOO_LONG"},
    {STATUS_GRAMMAR, "GRAMMAR"},
    {STATUS_TEMPLATE, "TEMPLATE"},
    {STATUS_UNSUPPORTED, "UNSUPPORTED"},
    {STATUS_UNKNOWN_REQUEST, "UNKNOWN_REQUEST"},
    {STATUS_POISONED, "POISONED"},
    {STATUS_DENIED, "DENIED"},
    {STATUS_CONCURRENCY, "CONCURRENCY"},
    {STATUS_TOKEN_RATE, "TOKEN_RATE"},
    {STATUS_CTX_LIMIT, "CTX_LIMIT"},
    {STATUS_PENALISED, "PENALISED"},
    {STATUS_QUEUE_FULL, "QUEUE_FULL"},
    {STATUS_DEADLINE_UNMEETABLE, "DEADLINE_UNMEETABLE"},
    {STATUS_DRAINING, "DRAINING"},
    {STATUS_LOADING, "LOADING"},
    {STATUS_ENGINE_LOST, "ENGINE_LOST"},
    {STATUS_OOM, "OOM"},
    {STATUS_NUMERICS, "NUMERICS"},
    {STATUS_INTERNAL, "INTERNAL"},
    {STATUS_SLOW_CONSUMER, "SLOW_CONSUMER"},
    {STATUS_DEADLINE, "DEADLINE"},
    {STATUS_CANCELLED, "CANCELLED"},
    {STATUS_RESUME_GAP, "RESUME_GAP"},
};

const char *status_name(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(status_table); i++)
        if (status_table[i].code == code)
            return status_table[i].name;
    return "UNKNOWN";
}

bool status_is_retryable(int code)
{
    return code >= 400 && code < 500;
}
