/* pull_main.c - qwenctl-pull, a program of its own: `qwenctl pull URL` becomes it, so that only those who
 * fetch a model load libcurl, whose libraries take longer to link than all of qwenctl runs. */
#include <locale.h>
#include <string.h>

#include "cmd.h"
#include "pull.h"
#include "sig.h"

int main(int argc, char **argv)
{
    struct opt_values values = {};
    struct fault fault = {};
    struct ui ui;
    char **args;
    enum code code;
    int n = 0, r;

    setlocale(LC_CTYPE, "");
    args = calloc((size_t)argc + 1, sizeof(*args));
    r = args ? opt_parse(argc, argv, OPT_PULL, &values, args, &n, &fault) : OPT_OK;
    ui_init(&ui, &values);
    if (!args || sig_init()) {
        ui_error(&ui, "cannot start: %s", strerror(errno));
        code = CODE_FAILED;
    } else if (r || n != 2) {
        ui_error(&ui, "%s", r ? fault.text : "pull takes one URL");
        code = CODE_USAGE;
    } else {
        code = pull_run(&(struct cmd_args){&values, &ui, args + 1, 1});
    }
    free(args);
    return code;
}
