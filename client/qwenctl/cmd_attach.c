/* cmd_attach.c - shows the answer of a request that was started with --detach, from its beginning.
 *
 * Whoever only looks must not end it: a signal or a gone reader leaves it running. */
#include <string.h>

#include "answer.h"
#include "cmd.h"
#include "sig.h"

enum code cmd_attach(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    char id[CMD_ID_BYTES + 1] = "";
    struct fault fault = {};
    enum code code;

    if (!args->n) {
        ui_error(args->ui, "attach takes the id of a request (qwenctl ps lists them)");
        return CODE_USAGE;
    }
    if (args->values->json && args->values->ndjson) {
        ui_error(args->ui, "--json and --ndjson exclude each other");
        return CODE_USAGE;
    }
    if (args->values->extract && (args->values->json || args->values->ndjson)) {
        ui_error(args->ui, "--extract and --json or --ndjson exclude each other");
        return CODE_USAGE;
    }
    code = cmd_check_id(args);
    if (!code)
        code = connect_open(args, &q);
    if (!code)
        code = cmd_request_id(args, q, id);
    if (code)
        return code;
    if (sig_listen()) {
        ui_error(args->ui, "cannot watch for signals: %s", strerror(errno));
        return CODE_FAILED;
    }
    code = answer_run(&(struct answer){.args = args, .q = q, .attach_id = id}, &fault);
    if (*fault.text)
        ui_error(args->ui, "%s", fault.text);
    return code;
}
