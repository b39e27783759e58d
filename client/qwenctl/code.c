/* code.c - exit codes.  See code.h. */
#include "code.h"

#include "proto/status.h"

static const struct code_entry code_meanings[] = {
    {CODE_OK, "done"},
    {CODE_NO, "the answer is no: nothing found, nothing to do"},
    {CODE_USAGE, "wrong usage, or input that cannot be right"},
    {CODE_NO_DAEMON, "no daemon on the socket, or it went away"},
    {CODE_DENIED, "denied: permission, policy or quota"},
    {CODE_BUSY, "busy, draining or loading: try again later"},
    {CODE_TOO_LONG, "the input is longer than the context or the limit"},
    {CODE_CUT, "the answer was cut off at the limit of tokens (--strict)"},
    {CODE_GRAMMAR, "a grammar or schema was refused"},
    {CODE_DEADLINE, "out of time"},
    {CODE_FAILED, "the engine or an output failed"},
    {CODE_SOME, "map: some records failed"},
    {CODE_INT, "interrupted (SIGINT)"},
    {CODE_PIPE, "the reader of standard output went away"},
    {CODE_TERM, "terminated (SIGTERM)"},
};

const struct code_entry *code_table(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(code_meanings);
    return code_meanings;
}

struct code_pair {
    int from; /* a status, or an errno */
    enum code code;
};

static const struct code_pair code_statuses[] = {
    {STATUS_OK, CODE_OK},
    {STATUS_BAD_PREFACE, CODE_USAGE},
    {STATUS_FRAME_TOO_BIG, CODE_USAGE},
    {STATUS_BAD_MESSAGE, CODE_USAGE},
    {STATUS_BAD_STREAM, CODE_USAGE},
    {STATUS_VERSION, CODE_USAGE},
    {STATUS_INVALID, CODE_USAGE},
    {STATUS_TOO_LONG, CODE_TOO_LONG},
    {STATUS_GRAMMAR, CODE_GRAMMAR},
    {STATUS_TEMPLATE, CODE_USAGE},
    {STATUS_UNSUPPORTED, CODE_USAGE},
    {STATUS_UNKNOWN_REQUEST, CODE_USAGE},
    {STATUS_POISONED, CODE_FAILED},
    {STATUS_DENIED, CODE_DENIED},
    {STATUS_CONCURRENCY, CODE_DENIED},
    {STATUS_TOKEN_RATE, CODE_DENIED},
    {STATUS_CTX_LIMIT, CODE_DENIED},
    {STATUS_PENALISED, CODE_DENIED},
    {STATUS_QUEUE_FULL, CODE_BUSY},
    {STATUS_DEADLINE_UNMEETABLE, CODE_DEADLINE},
    {STATUS_DRAINING, CODE_BUSY},
    {STATUS_LOADING, CODE_BUSY},
    {STATUS_ENGINE_LOST, CODE_FAILED},
    {STATUS_OOM, CODE_FAILED},
    {STATUS_NUMERICS, CODE_FAILED},
    {STATUS_INTERNAL, CODE_FAILED},
    {STATUS_SLOW_CONSUMER, CODE_FAILED},
    {STATUS_DEADLINE, CODE_DEADLINE},
    {STATUS_CANCELLED, CODE_FAILED}, /* by somebody else: our own interrupt exits with 130 */
    {STATUS_RESUME_GAP, CODE_FAILED},
};

static const struct code_pair code_errnos[] = {
    {ENOENT, CODE_NO_DAEMON},   {ECONNREFUSED, CODE_NO_DAEMON},
    {EPIPE, CODE_NO_DAEMON},    {ECONNRESET, CODE_NO_DAEMON},
    {EPROTO, CODE_NO_DAEMON},   {ENOTSOCK, CODE_NO_DAEMON},
    {ENOTDIR, CODE_NO_DAEMON},  {EACCES, CODE_DENIED},
    {EPERM, CODE_DENIED},       {ENOBUFS, CODE_BUSY},
    {EBUSY, CODE_BUSY},         {EAGAIN, CODE_BUSY},
    {EMSGSIZE, CODE_TOO_LONG},  {EINVAL, CODE_USAGE},
    {EILSEQ, CODE_USAGE},       {ENAMETOOLONG, CODE_USAGE},
    {ETIMEDOUT, CODE_DEADLINE},
};

/* What is not in the table, a code of a later daemon for one, is a failure. */
static enum code code_find(const struct code_pair *pairs, size_t n, int from)
{
    for (size_t i = 0; i < n; i++)
        if (pairs[i].from == from)
            return pairs[i].code;
    return CODE_FAILED;
}

enum code code_of_status(int status)
{
    return code_find(code_statuses, ARRAY_SIZE(code_statuses), status);
}

enum code code_of_errno(int r)
{
    return code_find(code_errnos, ARRAY_SIZE(code_errnos), -r);
}
