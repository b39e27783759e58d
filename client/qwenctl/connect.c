/* connect.c - opening the connection, and what to say when that fails. */
#include <string.h>

#include "cmd.h"
#include "proto/status.h"

enum code connect_open(const struct cmd_args *args, qwend **ret_q)
{
    const struct opt_int timeout = args->values->timeout_ms;
    int r;

    r = qwend_open_as(ret_q, args->values->socket, QWEND_RESUME, "qwenctl " QWEND_VERSION);
    if (r == QWEND_REFUSED) {
        ui_error(args->ui, "refused: %s (%s %d)", qwend_error(NULL), status_name(qwend_error_code(NULL)),
                 qwend_error_code(NULL));
        return code_of_status(qwend_error_code(NULL));
    }
    if (r) {
        ui_error(args->ui, "%s", qwend_error(NULL));
        if (r == -ENOENT || r == -ECONNREFUSED)
            ui_error(args->ui,
                     "start it: systemctl start qwend.socket, or: qwend --socket PATH --model FILE.gguf");
        return r == -ETIMEDOUT ? CODE_NO_DAEMON
                               : code_of_errno(r); /* no answer to Hello: no daemon worth the name */
    }
    if (timeout.given)
        qwend_set_timeout(*ret_q, (int)timeout.value);
    return CODE_OK;
}

enum code connect_fail(const struct cmd_args *args, qwend *q, int r)
{
    int status = r == QWEND_REFUSED ? qwend_error_code(q) : 0;

    if (status) {
        ui_error(args->ui, "refused: %s (%s %d)", qwend_error(q), status_name(status), status);
        return code_of_status(status);
    }
    ui_error(args->ui, "%s", *qwend_error(q) ? qwend_error(q) : strerror(-r));
    return code_of_errno(r);
}

enum code cmd_print(const struct cmd_args *args, const char *text, size_t n)
{
    int r = ui_out(args->ui, text, n);

    if (r < 0)
        ui_error(args->ui, "writing to standard output: %s", strerror(-r));
    return r < 0 ? CODE_FAILED : r == UI_E_GONE ? CODE_PIPE : r == UI_E_SIGNAL ? CODE_INT : CODE_OK;
}

enum code cmd_page_open(const struct cmd_args *args, struct cmd_page *page)
{
    *page = (struct cmd_page){};
    page->file = open_memstream(&page->data, &page->n);
    if (page->file)
        return CODE_OK;
    ui_error(args->ui, "out of memory");
    return CODE_FAILED;
}

enum code cmd_page_close(const struct cmd_args *args, struct cmd_page *page)
{
    enum code code;

    if (fclose(page->file)) {
        ui_error(args->ui, "out of memory");
        code = CODE_FAILED;
    } else {
        code = cmd_print(args, page->data, page->n);
    }
    free(page->data);
    return code;
}
