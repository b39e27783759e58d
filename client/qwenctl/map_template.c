/* map_template.c - "Classify: {{.text}}": what is asked about a record.  See map.h. */
#include <string.h>

#include "map.h"

void map_path_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

char **map_path_parse(const char *text, size_t n, size_t *ret_n)
{
    char **names = calloc(MAP_FIELDS, sizeof(*names));
    size_t n_names = 0, at = 1;

    if (!names || !n || text[0] != '.')
        goto fail;
    while (at < n) {
        const char *dot = memchr(text + at, '.', n - at);
        const size_t k = dot ? (size_t)(dot - text) - at : n - at;

        if (!k || n_names == MAP_FIELDS || (dot && at + k + 1 == n))
            goto fail;
        names[n_names] = strndup(text + at, k);
        if (!names[n_names++])
            goto fail;
        at += k + 1;
    }
    *ret_n = n_names;
    return names;
fail:
    map_path_free(names, names ? n_names : 0);
    return NULL;
}

void map_template_deinit(struct map_template *template)
{
    for (size_t i = 0; i < template->n; i++)
        if (template->pieces[i].names)
            map_path_free(template->pieces[i].names, template->pieces[i].n_names);
    freep(&template->text);
    template->n = 0;
}

static enum code template_full(struct fault *fault)
{
    return (enum code)fault_set(fault, CODE_USAGE, "the template has more than %d pieces", MAP_FIELDS);
}

/* "{{.name}}", blanks allowed, at text; *ret_n: its bytes.  0: it is none. */
static size_t template_field_at(const char *text, const char **ret_path, size_t *ret_n_path)
{
    const char *start = text + 2, *end;

    if (strncmp(text, "{{", 2))
        return 0;
    while (*start == ' ')
        start++;
    if (*start != '.')
        return 0;
    end = strstr(start, "}}");
    *ret_path = start;
    *ret_n_path = end ? (size_t)(end - start) : 0;
    while (*ret_n_path && start[*ret_n_path - 1] == ' ')
        --*ret_n_path;
    return end ? (size_t)(end + 2 - text) : (size_t)-1;
}

static enum code template_add_field(struct map_template *template, const char *path, size_t n,
                                    struct fault *fault)
{
    struct map_piece *piece = &template->pieces[template->n];

    if (template->n == MAP_FIELDS)
        return template_full(fault);
    piece->names = map_path_parse(path, n, &piece->n_names);
    if (!piece->names)
        return (enum code)fault_set(fault, CODE_USAGE,
                                    "\"%.*s\" in the template is no field: {{.}}, {{.name}}, {{.a.b}}",
                                    (int)MIN(n, (size_t)80), path);
    template->n++;
    return CODE_OK;
}

static enum code template_add_text(struct map_template *template, const char *text, size_t n,
                                   struct fault *fault)
{
    if (!n)
        return CODE_OK;
    if (template->n == MAP_FIELDS)
        return template_full(fault);
    template->pieces[template->n++] = (struct map_piece){.text = text, .n = n};
    return CODE_OK;
}

enum code map_template_init(struct map_template *template, const char *text, struct fault *fault)
{
    const char *at, *from, *path;
    enum code code = CODE_OK;
    size_t n_path, n;

    *template = (struct map_template){.text = strdup(text), .appends = true};
    if (!template->text)
        return (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    for (at = from = template->text; !code && *at; at++) {
        n = template_field_at(at, &path, &n_path);
        if (!n)
            continue;
        if (n == (size_t)-1)
            return (enum code)fault_set(fault, CODE_USAGE, "the template has \"%.40s\" without its }}", at);
        code = template_add_text(template, from, (size_t)(at - from), fault);
        if (!code)
            code = template_add_field(template, path, n_path, fault);
        template->appends = false;
        from = at + n;
        at = from - 1;
    }
    if (!code)
        code = template_add_text(template, from, strlen(from), fault);
    return code;
}

size_t map_template_head(const struct map_template *template)
{
    return template->n && template->pieces[0].text ? template->pieces[0].n : 0;
}

static int template_put_field(const struct map_record *record, const struct map_piece *piece, FILE *out,
                              struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    size_t n;
    int r = map_record_field(record, piece->names, piece->n_names, &text, &n, fault);

    if (!r)
        fwrite(text, 1, n, out);
    return r;
}

int map_template_put(const struct map_template *template, const struct map_record *record, char **ret_text,
                     size_t *ret_n, struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    int r = out ? MAP_OK : -ENOMEM;

    for (size_t i = 0; !r && i < template->n; i++) {
        const struct map_piece *piece = &template->pieces[i];

        if (piece->text)
            fwrite(piece->text, 1, piece->n, out);
        else
            r = template_put_field(record, piece, out, fault);
    }
    if (!r && template->appends)
        fprintf(out, "%s%s", template->n ? "\n\n" : "", record->text);
    if (out && fclose(out) && !r)
        r = -ENOMEM;
    if (!r && n > MAP_RECORD_BYTES)
        r = fault_set(fault, MAP_E_BAD, "with the template it has %zu bytes, a prompt may have %d", n,
                      MAP_RECORD_BYTES);
    if (r)
        return r;
    *ret_text = steal(&text);
    *ret_n = n;
    return MAP_OK;
}
