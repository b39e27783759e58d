/* cmd_complete.c - `complete`: a text goes on as it stands; `fim`: the gap in one is filled.
 *
 * Neither is a chat: what comes out is what the model would write there, for editors and pipes. */
#include <string.h>

#include "answer.h"
#include "cmd.h"
#include "gen.h"
#include "input.h"
#include "sig.h"

struct part {
    char *text; /* owned */
    size_t n;
};

/* path "-": standard input */
static enum code complete_read(const char *path, qwend *q, struct part *ret_part, struct fault *fault)
{
    const size_t max = qwend_prompt_max(q);

    if (!strcmp(path, "-"))
        return input_read(STDIN_FILENO, "standard input", max, &ret_part->text, &ret_part->n, fault);
    return input_read_file(path, max, &ret_part->text, &ret_part->n, fault);
}

static enum code complete_fail(struct fault *fault, int r)
{
    return (enum code)fault_set(fault, code_of_errno(r), "the prompt: %s", strerror(-r));
}

static enum code complete_text(const struct cmd_args *args, qwend *q, qwend_req *req, struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    struct part part = {};
    enum code code = CODE_OK;
    int r;

    if (!args->n)
        code = complete_read("-", q, &part, fault);
    if (code)
        return code;
    text = part.text;
    if (!args->n && !part.n)
        return (enum code)fault_set(fault, CODE_USAGE, "nothing to go on with: standard input is empty");
    r = qwend_req_set_s(req, QWEND_OPT_RAW, args->n ? args->args[0] : text,
                        args->n ? strlen(args->args[0]) : part.n);
    return r ? complete_fail(fault, r) : CODE_OK;
}

static enum code fim_extras(const struct cmd_args *args, qwend *q, qwend_req *req, struct fault *fault)
{
    const struct opt_list *extra = &args->values->extra;

    for (size_t i = 0; i < extra->n; i++) {
        struct part part = {};
        enum code code = complete_read(extra->items[i], q, &part, fault);
        int r = code ? 0 : qwend_req_fim_extra(req, extra->items[i], part.text, part.n);

        free(part.text);
        if (code || r)
            return code ? code : complete_fail(fault, r);
    }
    return CODE_OK;
}

static enum code fim_gap(const struct cmd_args *args, qwend *q, qwend_req *req, struct fault *fault)
{
    const struct opt_values *values = args->values;
    const bool is_pipe = !values->prefix && !isatty(STDIN_FILENO);
    struct part before = {}, behind = {};
    enum code code = fim_extras(args, q, req, fault);
    int r;

    if (!code && (values->prefix || is_pipe))
        code = complete_read(values->prefix ? values->prefix : "-", q, &before, fault);
    if (!code && values->suffix)
        code = complete_read(values->suffix, q, &behind, fault);
    if (!code && !before.n && !behind.n)
        code =
            (enum code)fault_set(fault, CODE_USAGE, "nothing stands around the gap: --prefix F, --suffix F");
    r = code ? 0
             : qwend_req_fim(req, before.n ? before.text : "", before.n, behind.n ? behind.text : "",
                             behind.n);
    if (!code && !r && values->suffix_first)
        r = qwend_req_set_i(req, QWEND_OPT_FIM_ORDER, 2);
    free(before.text);
    free(behind.text);
    return code ? code : r ? complete_fail(fault, r) : CODE_OK;
}

static enum code complete_check(const struct cmd_args *args, struct fault *fault)
{
    const struct opt_values *values = args->values;
    const char *const inputs[] = {values->prefix, values->suffix};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
        n += inputs[i] && !strcmp(inputs[i], "-");
    for (size_t i = 0; i < values->extra.n; i++)
        n += !strcmp(values->extra.items[i], "-");
    if (n > 1)
        return (enum code)fault_set(fault, CODE_USAGE, "standard input (-) can be one part only");
    if (values->json && values->ndjson)
        return (enum code)fault_set(fault, CODE_USAGE, "--json and --ndjson exclude each other");
    if (values->warm && values->max_tokens.given)
        return (enum code)fault_set(fault, CODE_USAGE, "--warm writes nothing: no --max-tokens");
    return gen_check_args(values, args->args, args->n, fault);
}

static enum code complete_options(const struct opt_values *values, qwend_req *req, struct fault *fault)
{
    enum code code = gen_set(req, values, fault);
    int r = 0;

    if (code)
        return code;
    if (values->time_limit_ms.given)
        r = qwend_req_set_i(req, QWEND_OPT_DEADLINE_MS, values->time_limit_ms.value);
    if (!r && values->warm)
        r = qwend_req_set_i(req, QWEND_OPT_MAX_TOKENS, 0);
    return r ? complete_fail(fault, r) : CODE_OK;
}

typedef enum code (*complete_take)(const struct cmd_args *args, qwend *q, qwend_req *req,
                                   struct fault *fault);

static enum code complete_run(const struct cmd_args *args, complete_take take)
{
    _cleanup_(qwend_req_freep) qwend_req *req = qwend_req_new();
    _cleanup_(qwend_closep) qwend *q = NULL;
    struct fault fault = {};
    enum code code =
        req ? complete_check(args, &fault) : (enum code)fault_set(&fault, CODE_FAILED, "out of memory");

    if (!code)
        code = complete_options(args->values, req, &fault);
    if (!code)
        code = connect_open(args, &q);
    if (!code && sig_listen())
        code = (enum code)fault_set(&fault, CODE_FAILED, "cannot watch for signals: %s", strerror(errno));
    if (!code)
        code = take(args, q, req, &fault);
    if (!code)
        code = answer_run(&(struct answer){.args = args, .q = q, .req = req, .plain = true}, &fault);
    if (*fault.text && code != CODE_INT && code != CODE_TERM)
        ui_error(args->ui, "%s", fault.text);
    return code;
}

enum code cmd_complete(const struct cmd_args *args)
{
    return complete_run(args, complete_text);
}

enum code cmd_fim(const struct cmd_args *args)
{
    return complete_run(args, fim_gap);
}
