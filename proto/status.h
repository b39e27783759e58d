/* status.h - the stable error codes of QWP/1 (docs/PROTOCOL.md §6).  Numbers are never reused. */
#pragma once

#include "base.h"

enum status_code {
    STATUS_OK = 0,
    /* protocol: the connection is closed after these */
    STATUS_BAD_PREFACE = 101, STATUS_FRAME_TOO_BIG = 102, STATUS_BAD_MESSAGE = 103, STATUS_BAD_STREAM = 104,
    STATUS_VERSION = 105,
    /* the request itself */
    STATUS_INVALID = 201, STATUS_TOO_LONG = 202, STATUS_GRAMMAR = 203, STATUS_TEMPLATE = 204, STATUS_UNSUPPORTED = 205,
    STATUS_UNKNOWN_REQUEST = 206, STATUS_POISONED = 207,
    /* policy */
    STATUS_DENIED = 301, STATUS_CONCURRENCY = 302, STATUS_TOKEN_RATE = 303, STATUS_CTX_LIMIT = 304, STATUS_PENALISED = 305,
    /* capacity: may be tried again */
    STATUS_QUEUE_FULL = 401, STATUS_DEADLINE_UNMEETABLE = 402, STATUS_DRAINING = 403, STATUS_LOADING = 404,
    /* engine */
    STATUS_ENGINE_LOST = 501, STATUS_OOM = 502, STATUS_NUMERICS = 503, STATUS_INTERNAL = 504,
    /* flow */
    STATUS_SLOW_CONSUMER = 601, STATUS_DEADLINE = 602, STATUS_CANCELLED = 603, STATUS_RESUME_GAP = 604,
};

const char *status_name(int code);      /* "TOO_LONG"; "UNKNOWN" for a number that is not in the table */
bool status_is_retryable(int code);     /* the 4xx codes */
