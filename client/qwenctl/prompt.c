/* prompt.c - document and question.  See prompt.h. */
#include "prompt.h"

#include <string.h>

#include "input.h"

enum { PROMPT_SYSTEM_BYTES = 1 << 20 };

/* a text that grows */
struct prompt_text {
    FILE *file;
    char *data;
    size_t n;
};

/* Parts are a blank line apart; with raw they are joined as they stand. */
static void prompt_put(struct prompt_text *out, bool raw, const char *title, const char *text, size_t n)
{
    static const char *const gaps[] = {"\n\n", "\n", ""}; /* for 0, 1, 2 newlines that are there already */

    fflush(out->file);
    if (out->n && !raw) {
        size_t n_lines = out->data[out->n - 1] == '\n';

        if (n_lines && out->n > 1)
            n_lines += out->data[out->n - 2] == '\n';
        fputs(gaps[n_lines], out->file);
    }
    if (title && !raw)
        fprintf(out->file, "%s:\n", title);
    fwrite(text, 1, n, out->file);
}

static enum code prompt_put_file(struct prompt_text *out, bool raw, const char *path, size_t max,
                                 struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    const bool is_stdin = !strcmp(path, "-");
    enum code code;
    size_t n = 0;

    if (is_stdin)
        code = input_read(STDIN_FILENO, "standard input", max, &text, &n, fault);
    else
        code = input_read_file(path, max, &text, &n, fault);
    if (!code && n)
        prompt_put(out, raw, is_stdin ? NULL : path, text, n);
    return code;
}

static bool prompt_reads_stdin_by_name(const struct opt_values *values)
{
    for (size_t i = 0; i < values->file.n; i++)
        if (!strcmp(values->file.items[i], "-"))
            return true;
    return false;
}

static enum code prompt_gather_document(const struct cmd_args *args, size_t max, struct prompt_text *out,
                                        struct fault *fault)
{
    const struct opt_values *values = args->values;
    enum code code = CODE_OK;

    if (!prompt_reads_stdin_by_name(values) && !isatty(STDIN_FILENO))
        code = prompt_put_file(out, values->raw, "-", max, fault);
    for (size_t i = 0; !code && i < values->file.n; i++)
        code = prompt_put_file(out, values->raw, values->file.items[i], max, fault);
    return code;
}

static void prompt_put_words(const struct cmd_args *args, FILE *out)
{
    for (int i = 0; i < args->n; i++)
        fprintf(out, "%s%s", i ? " " : "", args->args[i]);
}

/* The words alone, or a template's text with the words in their place, or behind it. */
static void prompt_put_question(const struct cmd_args *args, const char *pattern, FILE *out)
{
    static const char slot[] = "{{question}}";
    const char *at = pattern ? strstr(pattern, slot) : NULL;

    if (!pattern) {
        prompt_put_words(args, out);
        return;
    }
    if (!at) {
        fputs(pattern, out);
        if (args->n && *pattern)
            fputs("\n\n", out);
        prompt_put_words(args, out);
        return;
    }
    fwrite(pattern, 1, (size_t)(at - pattern), out);
    prompt_put_words(args, out);
    fputs(at + sizeof(slot) - 1, out);
}

enum code prompt_gather(const struct cmd_args *args, const char *pattern, size_t max,
                        struct prompt *ret_prompt, struct fault *fault)
{
    struct prompt_text document = {}, question = {};
    enum code code = CODE_OK;

    document.file = open_memstream(&document.data, &document.n);
    question.file = open_memstream(&question.data, &question.n);
    if (!document.file || !question.file)
        code = (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    if (!code)
        code = prompt_gather_document(args, max, &document, fault);
    if (!code)
        prompt_put_question(args, pattern, question.file);
    if (document.file)
        fclose(document.file);
    if (question.file)
        fclose(question.file);
    if (code) {
        free(document.data);
        free(question.data);
        return code;
    }
    *ret_prompt = (struct prompt){document.data, question.data, document.n, question.n};
    return CODE_OK;
}

char *prompt_join(const struct prompt *prompt, bool raw, size_t *ret_n)
{
    struct prompt_text out = {};

    out.file = open_memstream(&out.data, &out.n);
    if (!out.file)
        return NULL;
    if (prompt->n_document)
        prompt_put(&out, raw, NULL, prompt->document, prompt->n_document);
    if (prompt->n_question)
        prompt_put(&out, raw, NULL, prompt->question, prompt->n_question);
    if (fclose(out.file)) {
        free(out.data);
        return NULL;
    }
    *ret_n = out.n;
    return out.data;
}

void prompt_deinit(struct prompt *prompt)
{
    free(prompt->document);
    free(prompt->question);
    *prompt = (struct prompt){};
}

enum code prompt_system(const struct opt_values *values, char **ret_text, struct fault *fault)
{
    const char *system = values->system;
    size_t n;

    *ret_text = NULL;
    if (!system)
        return CODE_OK;
    if (system[0] == '@' && system[1] != '@')
        return input_read_file(system + 1, PROMPT_SYSTEM_BYTES, ret_text, &n, fault);
    *ret_text = strdup(system + (system[0] == '@'));
    return *ret_text ? CODE_OK : (enum code)fault_set(fault, CODE_FAILED, "out of memory");
}
