/* refusal.h - why a request is not served: an HTTP status, and what each dialect's own error shape is made
 * of. */
#pragma once

#include "proto/base.h"

struct refusal {
    int status;             /* HTTP; 0: nothing was refused */
    int code;               /* stable code of the daemon (status.h); 0: the gateway itself says no */
    const char *reason;     /* static, one word: "invalid_value", "unsupported_parameter", "loading" */
    char param[80];         /* what is wrong: "messages[2].role"; "" if it is no single thing */
    uint32_t retry_after_s; /* 0: none */
    char text[500];         /* one line for people, never a piece of a prompt */
};

/* Fills in, returns status.  param NULL: none. */
int refuse(struct refusal *refusal, int status, const char *reason, const char *param, const char *fmt, ...)
    _printf_(5, 6);

/* What the daemon refused, as HTTP says it.  code 0: its connection was lost. */
void refuse_code(struct refusal *refusal, int code, uint32_t retry_after_ms, const char *text);
