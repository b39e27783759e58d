/* template.c - roles in files.  See template.h. */
#include "template.h"

#include <string.h>

#include "conf.h"
#include "file.h"
#include "input.h"

void template_folders(char *ret_folders[TEMPLATE_FOLDERS])
{
    ret_folders[0] = file_home("XDG_CONFIG_HOME", ".config", "templates");
    ret_folders[1] = strdup(QWENCTL_SYSCONF "/templates");
    ret_folders[2] = strdup(QWENCTL_DATA "/templates");
}

enum code template_path(const char *name, char **ret_path, struct fault *fault)
{
    char *folders[TEMPLATE_FOLDERS], *path = NULL;

    if (!file_is_name(name))
        return (enum code)fault_set(
            fault, CODE_USAGE, "\"%.40s\" is no name for a template: up to 64 letters, digits, - _ .", name);
    template_folders(folders);
    for (size_t i = 0; i < TEMPLATE_FOLDERS; i++) {
        char *file = NULL;

        if (!path && folders[i] && asprintf(&file, "%s/%s.txt", folders[i], name) >= 0 && !access(file, F_OK))
            path = file;
        else
            free(file);
        free(folders[i]);
    }
    if (!path)
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "no template is called \"%s\" (qwenctl template ls lists them)", name);
    *ret_path = path;
    return CODE_OK;
}

void template_deinit(struct template *template)
{
    for (size_t i = 0; i < template->n_options; i++)
        free(template->options[i].value);
    free(template->options);
    free(template->path);
    free(template->system);
    free(template->question);
    *template = (struct template){};
}

/* reading */

struct template_reader {
    struct template *template;
    const char *at, *end;
    int line;
};

/* The next line without its newline; false: there is none. */
static bool template_line(struct template_reader *reader, const char **ret_line, size_t *ret_n)
{
    const char *end;

    if (reader->at == reader->end)
        return false;
    end = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    if (!end)
        end = reader->end;
    *ret_line = reader->at;
    *ret_n = (size_t)(end - reader->at);
    reader->at = end + (end < reader->end);
    reader->line++;
    return true;
}

static bool template_is(const char *line, size_t n, const char *word)
{
    while (n && (line[n - 1] == ' ' || line[n - 1] == '\r'))
        n--;
    return n == strlen(word) && !memcmp(line, word, n);
}

static int template_add_option(struct template *template, const struct conf_line *line, struct fault *fault)
{
    struct opt_values scratch = {};
    struct template_option option = {}, *grown;
    int r;

    if (!line->key)
        return fault_set(fault, CONF_E_FAULT, "there are no sections here");
    r = conf_find_key(line->key, line->n_key, &option.opt, fault);
    if (r)
        return r;
    option.value = strndup(line->value, line->n_value);
    grown = reallocarray(template->options, template->n_options + 1, sizeof(*grown));
    if (grown)
        template->options = grown;
    r = !option.value || !grown ? -ENOMEM : opt_assign(&scratch, option.opt, option.value, fault);
    if (r) {
        free(option.value);
        return r;
    }
    template->options[template->n_options++] = option;
    return 0;
}

static enum code template_read_options(struct template_reader *reader, struct fault *fault)
{
    struct fault why = {};
    struct conf_line conf;
    const char *line;
    size_t n;

    while (template_line(reader, &line, &n)) {
        if (template_is(line, n, "---"))
            return CODE_OK;
        if (conf_line(line, n, &conf) && template_add_option(reader->template, &conf, &why))
            return (enum code)fault_set(fault, CODE_USAGE, "%s:%d: %s", reader->template->path, reader->line,
                                        *why.text ? why.text : "out of memory");
    }
    return (enum code)fault_set(fault, CODE_USAGE, "%s: the options have no --- behind them",
                                reader->template->path);
}

static char *template_copy(const char *text, const char *end, bool escape)
{
    char *copy = NULL;

    while (end > text && (end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\r'))
        end--;
    while (text < end && *text == '\n')
        text++;
    if (text == end)
        return NULL;
    return asprintf(&copy, "%s%.*s", escape && *text == '@' ? "@" : "", (int)(end - text), text) < 0 ? NULL
                                                                                                     : copy;
}

/* System message and question; each may be empty. */
static void template_read_text(struct template_reader *reader)
{
    const char *start = reader->at, *end = reader->end, *line;
    size_t n;

    while (template_line(reader, &line, &n)) {
        if (!template_is(line, n, "--- question"))
            continue;
        end = line;
        reader->template->question = template_copy(reader->at, reader->end, false);
        break;
    }
    reader->template->system = template_copy(start, end, true);
}

enum code template_parse(struct template *template, const char *text, size_t n, struct fault *fault)
{
    struct template_reader reader = {.template = template, .at = text, .end = text + n};
    enum code code = CODE_OK;
    const char *line;
    size_t n_line;

    if (template_line(&reader, &line, &n_line) && template_is(line, n_line, "---"))
        code = template_read_options(&reader, fault);
    else
        reader.at = text;
    if (!code)
        template_read_text(&reader);
    return code;
}

enum code template_load(const char *name, struct template *ret_template, struct fault *fault)
{
    struct template template = {};
    _cleanup_(freep) char *text = NULL;
    enum code code;
    size_t n;

    code = template_path(name, &template.path, fault);
    if (!code)
        code = input_read_file(template.path, TEMPLATE_BYTES, &text, &n, fault);
    if (!code)
        code = template_parse(&template, text, n, fault);
    if (code) {
        template_deinit(&template);
        return code;
    }
    *ret_template = template;
    return CODE_OK;
}

enum code template_apply(const struct template *template, uint64_t verb, struct opt_values *values,
                         struct fault *fault)
{
    const struct opt *opt;
    int r = 0;

    for (size_t i = 0; !r && i < template->n_options; i++)
        if (template->options[i].opt->verbs & verb)
            r = opt_assign(values, template->options[i].opt, template->options[i].value, fault);
    if (!r && template->system) {
        r = conf_find_key("system", strlen("system"), &opt, fault);
        if (!r)
            r = opt_assign(values, opt, template->system, fault);
    }
    return r ? CODE_USAGE : CODE_OK;
}
