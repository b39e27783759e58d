/* cmd_probe.c - verbs that are another program's: inspect, bench and eval are
 * qwend-probe, log is journalctl, pull is qwenctl-pull. */
#include <string.h>

#include "cmd.h"
#include "tool.h"

enum { PROBE_ARGS = 4 };

/* first: what stands before the user's arguments */
static enum code probe_exec(const struct cmd_args *args, const char *name,
                            const char *const first[PROBE_ARGS])
{
    char **argv = calloc((size_t)args->n + PROBE_ARGS + 2, sizeof(*argv));
    enum code code;
    int n = 1;

    if (!argv) {
        ui_error(args->ui, "out of memory");
        return CODE_FAILED;
    }
    for (int i = 0; i < PROBE_ARGS && first[i]; i++)
        argv[n++] = (char *)first[i];
    memcpy(argv + n, args->args, (size_t)args->n * sizeof(*argv));
    code = tool_exec(args->ui, name, argv);
    free(argv);
    return code;
}

enum code cmd_inspect(const struct cmd_args *args)
{
    return probe_exec(args, "qwend-probe", (const char *const[PROBE_ARGS]){"inspect"});
}

enum code cmd_bench(const struct cmd_args *args)
{
    return probe_exec(args, "qwend-probe", (const char *const[PROBE_ARGS]){"bench"});
}

enum code cmd_eval(const struct cmd_args *args)
{
    return probe_exec(args, "qwend-probe", (const char *const[PROBE_ARGS]){"eval"});
}

enum code cmd_log(const struct cmd_args *args)
{
    return probe_exec(args, "journalctl", (const char *const[PROBE_ARGS]){"--unit", "qwend.service"});
}

/* libcurl's own program: see pull_main.c. */
enum code cmd_pull(const struct cmd_args *args)
{
    return probe_exec(args, "qwenctl-pull", (const char *const[PROBE_ARGS]){"pull"});
}
