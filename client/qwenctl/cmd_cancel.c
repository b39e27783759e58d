/* cmd_cancel.c - ends requests: one by its id or the start of it, or all of this user's. */
#include <string.h>

#include "cmd.h"

enum { CANCEL_ID_MIN = 4, CANCEL_ID_BYTES = 32 };

/* The one request whose id starts so. */
static enum code cancel_find(const struct cmd_args *args, qwend *q, const char *start,
                             char ret_id[CANCEL_ID_BYTES + 1])
{
    const qwend_request_info *info;
    size_t n, n_found = 0;
    int r;

    r = qwend_requests(q, &info, &n);
    if (r)
        return connect_fail(args, q, r);
    for (size_t i = 0; i < n; i++) {
        if (strncasecmp(info[i].request_id, start, strlen(start)))
            continue;
        memcpy(ret_id, info[i].request_id, CANCEL_ID_BYTES + 1);
        n_found++;
    }
    if (n_found == 1)
        return CODE_OK;
    if (n_found)
        ui_error(args->ui, "%zu requests start with %s: give more of the id", n_found, start);
    else
        ui_error(args->ui, "no request starts with %s (qwenctl ps lists them)", start);
    return n_found ? CODE_USAGE : CODE_NO;
}

static enum code cancel_check(const struct cmd_args *args)
{
    size_t n = args->n ? strlen(args->args[0]) : 0;

    if (!args->n != args->values->mine) {
        ui_error(args->ui, "cancel takes either an id or --mine");
        return CODE_USAGE;
    }
    if (args->n &&
        (n < CANCEL_ID_MIN || n > CANCEL_ID_BYTES || strspn(args->args[0], "0123456789abcdefABCDEF") != n)) {
        ui_error(args->ui, "\"%.40s\" is no request id: 4 to 32 hexadecimal digits", args->args[0]);
        return CODE_USAGE;
    }
    return CODE_OK;
}

enum code cmd_cancel(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    char id[CANCEL_ID_BYTES + 1] = "", line[64];
    enum code code;
    uint32_t n;
    int r;

    code = cancel_check(args);
    if (!code)
        code = connect_open(args, &q);
    if (!code && args->n && strlen(args->args[0]) < CANCEL_ID_BYTES)
        code = cancel_find(args, q, args->args[0], id);
    else if (!code && args->n)
        memcpy(id, args->args[0], CANCEL_ID_BYTES + 1);
    if (code)
        return code;
    r = qwend_cancel_request(q, *id ? id : NULL, &n);
    if (r)
        return connect_fail(args, q, r);
    if (!args->ui->quiet)
        code = cmd_print(args, line, (size_t)snprintf(line, sizeof(line), "cancelled %u\n", n));
    return code ? code : n ? CODE_OK : CODE_NO;
}
