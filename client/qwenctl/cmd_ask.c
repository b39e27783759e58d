/* cmd_ask.c - one question, one answer: `git diff | qwenctl ask "Write a commit message"`.
 *
 * The long and constant part comes first in the prompt (standard input, files), the question last: ten
 * questions about one document then share its prefix in the daemon's cache. */
#include <string.h>

#include "cmd.h"
#include "gen.h"
#include "input.h"
#include "sig.h"

struct ask {
    const struct cmd_args *args;
    qwend *q;
    struct fault fault;
    char *prompt;
    size_t n_prompt;
    FILE *file; /* writes prompt */
};

/* Parts are a blank line apart; with --raw they are joined as they stand. */
static void ask_put(struct ask *ask, const char *title, const char *text, size_t n)
{
    static const char *const gaps[] = {"\n\n", "\n", ""}; /* for 0, 1, 2 newlines that are there already */

    if (ask->args->values->raw) {
        fwrite(text, 1, n, ask->file);
        return;
    }
    fflush(ask->file);
    if (ask->n_prompt) {
        size_t n_lines = ask->prompt[ask->n_prompt - 1] == '\n';

        if (n_lines && ask->n_prompt > 1)
            n_lines += ask->prompt[ask->n_prompt - 2] == '\n';
        fputs(gaps[n_lines], ask->file);
    }
    if (title)
        fprintf(ask->file, "%s:\n", title);
    fwrite(text, 1, n, ask->file);
}

static enum code ask_put_file(struct ask *ask, const char *path)
{
    size_t max = qwend_prompt_max(ask->q), n = 0;
    _cleanup_(freep) char *text = NULL;
    enum code code;

    if (!strcmp(path, "-"))
        code = input_read(STDIN_FILENO, "standard input", max, &text, &n, &ask->fault);
    else
        code = input_read_file(path, max, &text, &n, &ask->fault);
    if (!code && n)
        ask_put(ask, strcmp(path, "-") ? path : NULL, text, n);
    return code;
}

static bool ask_reads_stdin_by_name(const struct opt_values *values)
{
    for (size_t i = 0; i < values->file.n; i++)
        if (!strcmp(values->file.items[i], "-"))
            return true;
    return false;
}

/* stdin, files in their order, then the words of the command line. */
static enum code ask_gather(struct ask *ask)
{
    const struct cmd_args *args = ask->args;
    _cleanup_(freep) char *words = NULL;
    enum code code = CODE_OK;
    size_t n_words = 0;
    FILE *file;

    if (!ask_reads_stdin_by_name(args->values) && !isatty(STDIN_FILENO))
        code = ask_put_file(ask, "-");
    for (size_t i = 0; !code && i < args->values->file.n; i++)
        code = ask_put_file(ask, args->values->file.items[i]);
    if (code || !args->n)
        return code;
    file = open_memstream(&words, &n_words);
    if (!file)
        return (enum code)fault_set(&ask->fault, CODE_FAILED, "out of memory");
    for (int i = 0; i < args->n; i++)
        fprintf(file, "%s%s", i ? " " : "", args->args[i]);
    fclose(file);
    ask_put(ask, NULL, words, n_words);
    return CODE_OK;
}

static enum code ask_build(struct ask *ask, qwend_req *req)
{
    const struct opt_values *values = ask->args->values;
    struct opt_values sent = *values;
    enum code code;
    int r = 0;

    if (values->raw)
        sent.thinking.given = false; /* of the configuration: raw text is no chat */
    code = gen_set(req, &sent, &ask->fault);
    if (code)
        return code;
    if (values->raw) {
        r = qwend_req_set_s(req, QWEND_OPT_RAW, ask->prompt, ask->n_prompt);
        if (!r)
            r = qwend_req_set_i(req, QWEND_OPT_RAW_SPECIAL,
                                values->special ? QWEND_SPECIAL_ALL : QWEND_SPECIAL_NONE);
    } else {
        if (values->system)
            r = qwend_req_message(req, QWEND_SYSTEM, values->system, (size_t)-1);
        if (!r)
            r = qwend_req_message(req, QWEND_USER, ask->prompt, ask->n_prompt);
    }
    if (r)
        return (enum code)fault_set(&ask->fault, code_of_errno(r), "the prompt: %s", strerror(-r));
    return CODE_OK;
}

static enum code ask_check(const struct ask *ask, struct fault *fault)
{
    const struct opt_values *values = ask->args->values;

    if (values->json && values->ndjson)
        return (enum code)fault_set(fault, CODE_USAGE, "--json and --ndjson exclude each other");
    if (values->detach && (values->json || values->ndjson))
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "--detach prints the request's id only: no --json, no --ndjson");
    if (values->raw &&
        (opt_is_given(values, "system") || opt_is_given(values, "think") || opt_is_given(values, "no-think")))
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "--raw is no chat: it takes no --system and no --think");
    if (values->special && !values->raw)
        return (enum code)fault_set(fault, CODE_USAGE, "--special goes with --raw");
    if (values->logprobs.given && !values->json && !values->ndjson)
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "--logprobs shows in --json or --ndjson: give one of them");
    return gen_check_args(values, ask->args->args, ask->args->n, fault);
}

static enum code ask_prepare(struct ask *ask)
{
    enum code code;

    code = ask_check(ask, &ask->fault);
    if (code)
        return code;
    if (!ask->args->n && !ask->args->values->file.n && isatty(STDIN_FILENO))
        return (enum code)fault_set(&ask->fault, CODE_USAGE,
                                    "nothing to ask: qwenctl ask TEXT, or a pipe, or -f FILE");
    code = connect_open(ask->args, &ask->q); /* before stdin is read: no daemon is known at once */
    if (code)
        return code;
    if (sig_listen())
        return (enum code)fault_set(&ask->fault, CODE_FAILED, "cannot watch for signals: %s",
                                    strerror(errno));
    code = ask_gather(ask);
    if (code)
        return code;
    fflush(ask->file);
    if (!ask->n_prompt)
        return (enum code)fault_set(&ask->fault, CODE_USAGE, "nothing to ask: standard input is empty");
    return CODE_OK;
}

enum code cmd_ask(const struct cmd_args *args)
{
    struct ask ask = {.args = args};
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    enum code code = CODE_FAILED;

    ask.file = open_memstream(&ask.prompt, &ask.n_prompt);
    if (!ask.file || !req)
        fault_set(&ask.fault, CODE_FAILED, "out of memory");
    else
        code = ask_prepare(&ask);
    if (!code)
        code = ask_build(&ask, req);
    if (!code)
        code = answer_run(args, ask.q, req, NULL, &ask.fault);
    if (*ask.fault.text && code != CODE_INT && code != CODE_TERM)
        ui_error(args->ui, "%s", ask.fault.text);
    qwend_close(ask.q);
    if (ask.file)
        fclose(ask.file);
    free(ask.prompt);
    return code;
}
