/* cmd_cancel.c - ends requests: one by its id or the start of it, or all of this user's. */
#include <string.h>

#include "cmd.h"

static enum code cancel_check(const struct cmd_args *args)
{
    if (!args->n != args->values->mine) {
        ui_error(args->ui, "cancel takes either an id or --mine");
        return CODE_USAGE;
    }
    return CODE_OK;
}

enum code cmd_cancel(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    char id[CMD_ID_BYTES + 1] = "", line[64];
    enum code code;
    uint32_t n;
    int r;

    code = cancel_check(args);
    if (!code && args->n)
        code = cmd_check_id(args);
    if (!code)
        code = connect_open(args, &q);
    if (!code && args->n)
        code = cmd_request_id(args, q, id);
    if (code)
        return code;
    r = qwend_cancel_request(q, *id ? id : NULL, &n);
    if (r)
        return connect_fail(args, q, r);
    if (!args->ui->quiet)
        code = cmd_print(args, line, (size_t)snprintf(line, sizeof(line), "cancelled %u\n", n));
    return code ? code : n ? CODE_OK : CODE_NO;
}
