/* conf_page.c - the keys of a configuration in a manual page.  See conf_page.h. */
#include "conf_page.h"

#include <string.h>

enum { PAGE_TABLES_MAX = 8 };

struct page {
    FILE *out;
    const char *path;
    const struct conf_table *tables;
    size_t n_tables;
    int line;
    bool seen[PAGE_TABLES_MAX][CONF_KEYS_MAX];
    const struct conf_key *open; /* whose text is being copied; NULL: none */
    const void *field;           /* its default */
    bool told;                   /* the text says what the default is */
    struct fault *fault;
};

static int page_refuse(struct page *page, const char *why, const char *name)
{
    return fault_set(page->fault, CONF_PAGE_E_TEXT, "%s:%d: %s%s%.64s", page->path, page->line, why,
                     *name ? ": " : "", name);
}

static void page_escape(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("_*\\<>#`~|[]", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void page_put_choices(FILE *out, const struct conf_key *key, const char *gap)
{
    for (size_t i = 0; key->choices[i]; i++) {
        fputs(i ? gap : "", out);
        page_escape(out, key->choices[i]);
    }
}

/* what may stand for the value */
static void page_put_value(FILE *out, const struct conf_key *key)
{
    static const char *const words[] = {
        [CONF_STRING] = "_TEXT_", [CONF_UINT] = "_N_", [CONF_BOOL] = "yes \\| no", [CONF_SET] = "_LIST_"};

    if (key->type == CONF_CHOICE)
        page_put_choices(out, key, " \\| ");
    else
        fputs(words[key->type], out);
}

/* Can the default be shown?  A number outside of its range stands for something else, as does no text. */
static bool page_has_default(const struct page *page)
{
    const struct conf_key *key = page->open;

    switch (key->type) {
    case CONF_STRING:
    case CONF_CHOICE:
        return *(const char *const *)page->field;
    case CONF_UINT:
        return *(const uint32_t *)page->field >= key->min && *(const uint32_t *)page->field <= key->max;
    case CONF_BOOL:
    case CONF_SET:
        break;
    }
    return true;
}

static void page_put_set(FILE *out, const struct conf_key *key, uint32_t set)
{
    const char *gap = "";

    for (size_t i = 0; key->choices[i]; i++) {
        if (!(set >> i & 1))
            continue;
        fputs(gap, out);
        page_escape(out, key->choices[i]);
        gap = ",";
    }
    fputs(set ? "" : "no", out);
}

static void page_put_default(const struct page *page)
{
    const struct conf_key *key = page->open;

    fputs("\tDefault: ", page->out);
    switch (key->type) {
    case CONF_STRING:
    case CONF_CHOICE:
        page_escape(page->out, *(const char *const *)page->field);
        break;
    case CONF_UINT:
        fprintf(page->out, "%u", *(const uint32_t *)page->field);
        break;
    case CONF_BOOL:
        fputs(*(const bool *)page->field ? "yes" : "no", page->out);
        break;
    case CONF_SET:
        page_put_set(page->out, key, *(const uint32_t *)page->field);
        break;
    }
    fputs(".\n", page->out);
}

/* Behind the text of a key: its range, its default. */
static int page_close_key(struct page *page)
{
    const struct conf_key *key = page->open;
    const bool has_default = page_has_default(page);

    if (has_default == page->told)
        return page_refuse(page, has_default ? "the default is in the table, not here" : "no default is told",
                           key->name);
    if (key->type == CONF_UINT)
        fprintf(page->out, "\t%u to %u.\n", key->min, key->max);
    else if (key->type == CONF_SET) {
        fputs(key->min ? "\tOf " : "\tno, or of ", page->out);
        page_put_choices(page->out, key, ", ");
        fputs(".\n", page->out);
    }
    if (has_default)
        page_put_default(page);
    page->open = NULL;
    return CONF_PAGE_OK;
}

/* "SECTION NAME" */
static int page_open_key(struct page *page, char *words)
{
    char *name = strchr(words, ' ');

    if (!name)
        return page_refuse(page, "should be @key SECTION NAME", "");
    *name++ = '\0';
    for (size_t t = 0; t < page->n_tables; t++) {
        const struct conf_table *table = &page->tables[t];
        const struct conf_key *key = conf_find(table->keys, table->n, words, name);

        if (!key)
            continue;
        if (page->seen[t][key - table->keys])
            return page_refuse(page, "a second entry", name);
        page->seen[t][key - table->keys] = true;
        page->open = key;
        page->field = (const char *)table->defaults + key->offset;
        page->told = false;
        fputc('*', page->out);
        page_escape(page->out, name);
        fputs("* = ", page->out);
        page_put_value(page->out, key);
        fputc('\n', page->out);
        return CONF_PAGE_OK;
    }
    return page_refuse(page, "no such key", name);
}

static int page_put_options(struct page *page, const char *section)
{
    size_t n = 0;

    for (size_t t = 0; t < page->n_tables; t++)
        for (size_t i = 0; i < page->tables[t].n; i++) {
            const struct conf_key *key = &page->tables[t].keys[i];

            if (strcmp(key->section, section))
                continue;
            n++;
            fputs("*--", page->out);
            for (const char *p = key->name; *p; p++)
                fputc(*p == '_' ? '-' : *p, page->out);
            fputc('*', page->out);
            if (key->type != CONF_BOOL) {
                fputc(' ', page->out);
                page_put_value(page->out, key);
            }
            fputs("\n\t", page->out);
            page_escape(page->out, key->help);
            fputs("\n\n", page->out);
        }
    return n ? CONF_PAGE_OK : page_refuse(page, "no such section", section);
}

static int page_put_line(struct page *page, char *line)
{
    int r = page->open && *line != '\t' ? page_close_key(page) : CONF_PAGE_OK;

    if (r)
        return r;
    if (*line != '@') {
        page->told = page->told || strstr(line, "Default");
        fprintf(page->out, "%s\n", line);
        return CONF_PAGE_OK;
    }
    if (!strncmp(line, "@key ", 5))
        return page_open_key(page, line + 5);
    if (!strncmp(line, "@options ", 9))
        return page_put_options(page, line + 9);
    return page_refuse(page, "neither @key nor @options", line);
}

/* A section of which the page has a key, but not every one. */
static int page_finish(struct page *page)
{
    for (size_t t = 0; t < page->n_tables; t++) {
        size_t n = 0, absent = 0;

        for (size_t i = 0; i < page->tables[t].n; i++) {
            n += page->seen[t][i];
            absent = page->seen[t][i] ? absent : i;
        }
        if (n && n < page->tables[t].n)
            return page_refuse(page, "the page does not have the key", page->tables[t].keys[absent].name);
    }
    return CONF_PAGE_OK;
}

int conf_page_put(FILE *in, const char *path, FILE *out, const struct conf_table *tables, size_t n_tables,
                  struct fault *fault)
{
    struct page page = {.out = out, .path = path, .tables = tables, .n_tables = n_tables, .fault = fault};
    _cleanup_(freep) char *line = NULL;
    size_t size = 0;
    int r = n_tables > PAGE_TABLES_MAX ? err_origin(-EINVAL) : 0;

    while (!r && getline(&line, &size, in) > 0) {
        page.line++;
        line[strcspn(line, "\n")] = '\0';
        r = page_put_line(&page, line);
    }
    if (!r && page.open)
        r = page_close_key(&page);
    if (!r && ferror(in))
        r = err_origin(-EIO);
    return r ? r : page_finish(&page);
}

int conf_page_run(int argc, char **argv, const struct conf_table *tables, size_t n_tables)
{
    _cleanup_(conf_fclosep) FILE *in = argc == 2 ? fopen(argv[1], "re") : NULL;
    struct fault fault = {};
    int r;

    if (!in) {
        fprintf(stderr, "usage: %s PAGE, a file that can be read\n", argv[0]);
        return 2;
    }
    r = conf_page_put(in, argv[1], stdout, tables, n_tables, &fault);
    if (r)
        fprintf(stderr, "%s\n", r > 0 ? fault.text : strerror(-r));
    return r || fflush(stdout) ? 1 : 0;
}
