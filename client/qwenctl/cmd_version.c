/* cmd_version.c - versions of qwenctl, of the library and, if one answers, of the daemon. */
#include "cmd.h"

enum code cmd_version(const struct cmd_args *args)
{
    const unsigned lib = qwend_version();
    _cleanup_(qwend_closep) qwend *q = NULL;
    qwend_status_info info;
    struct cmd_page page;
    enum code code;

    code = cmd_page_open(args, &page);
    if (code)
        return code;
    fprintf(page.file, "qwenctl %s, libqwend %u.%u.%u", QWEND_VERSION, lib >> 16, lib >> 8 & 0xff,
            lib & 0xff);
    /* No daemon is no fault here: the question was for versions. */
    if (!qwend_open_as(&q, args->values->socket, 0, "qwenctl " QWEND_VERSION) &&
        !qwend_set_timeout(q, args->values->timeout_ms.given ? (int)args->values->timeout_ms.value : 2000) &&
        !qwend_status(q, &info))
        fprintf(page.file, ", daemon %s on %s", info.server, qwend_socket_path(q));
    fputc('\n', page.file);
    return cmd_page_close(args, &page);
}
