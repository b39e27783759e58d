/* cmd_tokenize.c - text to token ids, as the model sees it: `qwenctl tokenize --count < file`. */
#include <string.h>

#include "cmd.h"
#include "input.h"
#include "json.h"

static void tokenize_print(FILE *out, const struct opt_values *values, const uint32_t *ids, size_t n)
{
    struct json json = {.file = out};

    if (values->json) {
        json_open(&json, NULL, '{');
        json_uint(&json, "n", n);
        if (!values->count) {
            json_open(&json, "ids", '[');
            for (size_t i = 0; i < n; i++)
                json_uint(&json, NULL, ids[i]);
            json_close(&json, ']');
        }
        json_close(&json, '}');
    } else if (values->count) {
        fprintf(out, "%zu", n);
    } else {
        for (size_t i = 0; i < n; i++)
            fprintf(out, i ? " %u" : "%u", ids[i]);
    }
    fputc('\n', out);
}

/* The words of the command line, or standard input. */
static enum code tokenize_text(const struct cmd_args *args, qwend *q, char **ret_text, size_t *ret_n)
{
    struct fault fault = {};
    enum code code;

    if (args->n) {
        *ret_text = strdup(args->args[0]);
        if (!*ret_text)
            return CODE_FAILED;
        *ret_n = strlen(*ret_text);
        code = input_check("the text of the command line", *ret_text, *ret_n, &fault);
    } else {
        code = input_read(STDIN_FILENO, "standard input", qwend_prompt_max(q), ret_text, ret_n, &fault);
    }
    if (code && code != CODE_INT && code != CODE_TERM)
        ui_error(args->ui, "%s", fault.text);
    return code;
}

enum code cmd_tokenize(const struct cmd_args *args)
{
    _cleanup_(qwend_closep) qwend *q = NULL;
    _cleanup_(freep) char *text = NULL;
    _cleanup_(freep) uint32_t *ids = NULL;
    struct cmd_page page;
    enum code code;
    size_t n_text, n;
    int r;

    if (!args->n && isatty(STDIN_FILENO)) {
        ui_error(args->ui, "nothing to tokenize: qwenctl tokenize TEXT, or a pipe");
        return CODE_USAGE;
    }
    code = connect_open(args, &q);
    if (!code)
        code = tokenize_text(args, q, &text, &n_text);
    if (code)
        return code;
    r = qwend_tokenize(q, text, n_text, args->values->special ? QWEND_SPECIAL_ALL : QWEND_SPECIAL_NONE, &ids,
                       &n);
    if (r)
        return connect_fail(args, q, r);
    code = cmd_page_open(args, &page);
    if (code)
        return code;
    tokenize_print(page.file, args->values, ids, n);
    return cmd_page_close(args, &page);
}
