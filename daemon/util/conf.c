/* conf.c - the key table meets INI text.  See conf.h. */
#include "conf.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct conf_reader {
    FILE *file;
    const char *path;
    const struct conf_key *keys;
    size_t n_keys;
    void *target;
    struct fault *fault;
    int line;                /* being read; inih does not tell its handler */
    int seen[CONF_KEYS_MAX]; /* line that set the key; 0: none yet */
    int r;                   /* the first fault */
};

static int conf_set_uint(const struct conf_key *key, const char *value, const char *where, uint32_t *field,
                         struct fault *fault)
{
    unsigned long long v;
    char *end;

    errno = 0;
    v = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || v < key->min || v > key->max)
        return fault_set(fault, CONF_E_VALUE, "%s: %s is '%.64s', must be a number from %u to %u", where,
                         key->name, value, key->min, key->max);
    *field = (uint32_t)v;
    return CONF_OK;
}

static int conf_set_bool(const struct conf_key *key, const char *value, const char *where, bool *field,
                         struct fault *fault)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcasecmp(value, words[i])) {
            *field = i % 2;
            return CONF_OK;
        }
    return fault_set(fault, CONF_E_VALUE, "%s: %s is '%.64s', must be yes or no", where, key->name, value);
}

static int conf_set_choice(const struct conf_key *key, const char *value, const char *where,
                           const char **field, struct fault *fault)
{
    char list[128] = "";

    for (const char *const *choice = key->choices; *choice; choice++) {
        if (!strcmp(*choice, value)) {
            *field = *choice;
            return CONF_OK;
        }
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "", *choice);
    }
    return fault_set(fault, CONF_E_VALUE, "%s: %s is '%.64s', must be one of %s", where, key->name, value,
                     list);
}

static int conf_set_string(const struct conf_key *key, const char *value, const char *where, char **field,
                           struct fault *fault)
{
    char *copy;

    if (!*value)
        return fault_set(fault, CONF_E_VALUE, "%s: %s is empty", where, key->name);
    copy = strdup(value);
    if (!copy)
        return err_origin(-ENOMEM);
    free(*field);
    *field = copy;
    return CONF_OK;
}

int conf_set(const struct conf_key *key, const char *value, const char *where, void *target,
             struct fault *fault)
{
    void *field = (char *)target + key->offset;

    switch (key->type) {
    case CONF_STRING:
        return conf_set_string(key, value, where, field, fault);
    case CONF_UINT:
        return conf_set_uint(key, value, where, field, fault);
    case CONF_BOOL:
        return conf_set_bool(key, value, where, field, fault);
    case CONF_CHOICE:
        return conf_set_choice(key, value, where, field, fault);
    }
    return err_origin(-EINVAL);
}

const struct conf_key *conf_find(const struct conf_key *keys, size_t n_keys, const char *section,
                                 const char *name)
{
    for (size_t i = 0; i < n_keys; i++)
        if (!strcmp(keys[i].section, section) && !strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

/* Levenshtein distance, one row at a time; names are short. */
static size_t conf_distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);

    if (n >= ARRAY_SIZE(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            const char x = a[i] == '-' ? '_' : a[i];
            const size_t replaced = diagonal + (x != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = MIN(replaced, MIN(row[j], diagonal) + 1);
        }
    }
    return row[n];
}

const char *conf_nearest(const struct conf_key *keys, size_t n_keys, const char *name)
{
    const char *best = NULL;
    size_t best_distance =
        3; /* two typing errors and a half of the word right: beyond that a guess misleads */

    for (size_t i = 0; i < n_keys; i++) {
        size_t d = conf_distance(name, keys[i].name);

        if (d < best_distance && d <= strlen(keys[i].name) / 2) {
            best = keys[i].name;
            best_distance = d;
        }
    }
    return best;
}

static bool conf_has_section(const struct conf_reader *reader, const char *section)
{
    for (size_t i = 0; i < reader->n_keys; i++)
        if (!strcmp(reader->keys[i].section, section))
            return true;
    return false;
}

static int conf_unknown_key(struct conf_reader *reader, const char *section, const char *name)
{
    const char *near = conf_nearest(reader->keys, reader->n_keys, name);

    if (!conf_has_section(reader, section))
        return fault_set(reader->fault, CONF_E_KEY, "%s:%d: unknown section [%.64s]", reader->path,
                         reader->line, section);
    if (near)
        return fault_set(reader->fault, CONF_E_KEY, "%s:%d: unknown key '%.64s', did you mean '%s'?",
                         reader->path, reader->line, name, near);
    return fault_set(reader->fault, CONF_E_KEY, "%s:%d: unknown key '%.64s'", reader->path, reader->line,
                     name);
}

static int conf_take(struct conf_reader *reader, const char *section, const char *name, const char *value)
{
    const struct conf_key *key = conf_find(reader->keys, reader->n_keys, section, name);
    char where[300];
    int *seen;

    if (!key)
        return conf_unknown_key(reader, section, name);
    seen = &reader->seen[key - reader->keys];
    if (*seen)
        return fault_set(reader->fault, CONF_E_SYNTAX, "%s:%d: '%s' was already set in line %d", reader->path,
                         reader->line, name, *seen);
    *seen = reader->line;
    snprintf(where, sizeof(where), "%s:%d", reader->path, reader->line);
    return conf_set(key, value, where, reader->target, reader->fault);
}

/* inih's handler: 0 means failure; the first fault is kept and stops the reading (conf_get_line). */
static int conf_on_value(void *user, const char *section, const char *name, const char *value)
{
    struct conf_reader *reader = user;

    if (!reader->r)
        reader->r = conf_take(reader, section, name, value ? value : "");
    return !reader->r;
}

/* inih's fgets: counts lines, and refuses a line that inih would cut without a word. */
static char *conf_get_line(char *line, int size, void *stream)
{
    struct conf_reader *reader = stream;
    size_t n;

    if (reader->r || !fgets(line, size, reader->file))
        return NULL;
    reader->line++;
    n = strlen(line);
    if (n + 1 == (size_t)size && line[n - 1] != '\n') {
        reader->r = fault_set(reader->fault, CONF_E_SYNTAX, "%s:%d: the line is longer than %d bytes",
                              reader->path, reader->line, size - 2);
        return NULL;
    }
    return line;
}

static void conf_fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
}

int conf_read(const char *path, const struct conf_key *keys, size_t n_keys, void *target, struct fault *fault)
{
    _cleanup_(conf_fclosep) FILE *file = fopen(path, "re");
    struct conf_reader reader = {
        .file = file, .path = path, .keys = keys, .n_keys = n_keys, .target = target, .fault = fault};
    int line;

    if (n_keys > CONF_KEYS_MAX)
        return err_origin(-EINVAL);
    if (!file)
        return fault_set(fault, CONF_E_FILE, "%s: %s", path, strerror(errno));
    line = ini_parse_stream(conf_get_line, &reader, conf_on_value, &reader);
    if (reader.r)
        return reader.r;
    if (ferror(file))
        return fault_set(fault, CONF_E_FILE, "%s: %s", path, strerror(EIO));
    if (line < 0)
        return err_origin(-ENOMEM);
    if (line > 0)
        return fault_set(fault, CONF_E_SYNTAX, "%s:%d: neither [section] nor key = value", path, line);
    return CONF_OK;
}
