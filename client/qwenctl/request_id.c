/* request_id.c - a request named on the command line, by its id or the start of it. */
#include <string.h>

#include "cmd.h"

enum { CMD_ID_MIN = 4 };

/* The one request whose id starts so. */
static enum code request_id_find(const struct cmd_args *args, qwend *q, const char *start,
                                 char ret_id[CMD_ID_BYTES + 1])
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
        memcpy(ret_id, info[i].request_id, CMD_ID_BYTES + 1);
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

enum code cmd_check_id(const struct cmd_args *args)
{
    const size_t n = strlen(args->args[0]);

    if (n >= CMD_ID_MIN && n <= CMD_ID_BYTES && strspn(args->args[0], "0123456789abcdefABCDEF") == n)
        return CODE_OK;
    ui_error(args->ui, "\"%.40s\" is no request id: 4 to 32 hexadecimal digits", args->args[0]);
    return CODE_USAGE;
}

enum code cmd_request_id(const struct cmd_args *args, qwend *q, char ret_id[CMD_ID_BYTES + 1])
{
    if (strlen(args->args[0]) < CMD_ID_BYTES)
        return request_id_find(args, q, args->args[0], ret_id);
    memcpy(ret_id, args->args[0], CMD_ID_BYTES + 1);
    return CODE_OK;
}
