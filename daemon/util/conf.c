/* conf.c - the key table meets INI text.  See conf.h. */
#include "conf.h"

#include <dirent.h>
#include <ini.h>
#include <string.h>
#include <strings.h>

struct conf_walker {
    FILE *file;
    struct conf_place place; /* line: being read; inih does not tell its handler */
    conf_value_fn *on_value;
    void *arg;
    struct fault *fault;
    int r; /* the first fault */
};

struct conf_reader {
    const struct conf_key *keys;
    size_t n_keys;
    const char *const *others;
    void *target;
    int seen[CONF_KEYS_MAX]; /* line that set the key; 0: none yet */
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

static int conf_refuse_choice(const struct conf_key *key, const char *value, const char *where,
                              const char *what, struct fault *fault)
{
    char list[128] = "";

    for (const char *const *choice = key->choices; *choice; choice++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "", *choice);
    return fault_set(fault, CONF_E_VALUE, "%s: %s is '%.64s', must be %s %s", where, key->name, value, what,
                     list);
}

static int conf_set_choice(const struct conf_key *key, const char *value, const char *where,
                           const char **field, struct fault *fault)
{
    for (const char *const *choice = key->choices; *choice; choice++)
        if (!strcmp(*choice, value)) {
            *field = *choice;
            return CONF_OK;
        }
    return conf_refuse_choice(key, value, where, "one of", fault);
}

/* The bit of the n bytes at word; 0: not one of the choices. */
static uint32_t conf_choice_bit(const struct conf_key *key, const char *word, size_t n)
{
    for (size_t i = 0; key->choices[i]; i++)
        if (strlen(key->choices[i]) == n && !strncmp(key->choices[i], word, n))
            return 1u << i;
    return 0;
}

static int conf_set_set(const struct conf_key *key, const char *value, const char *where, uint32_t *field,
                        struct fault *fault)
{
    const char *what = key->min ? "a list of" : "no, or a list of";
    uint32_t set = 0;

    if (!key->min && !strcmp(value, "no")) {
        *field = 0;
        return CONF_OK;
    }
    for (const char *at = value;; at++) {
        const size_t n_blank = strspn(at, " \t"), n = strcspn(at + n_blank, ", \t");
        const uint32_t bit = conf_choice_bit(key, at + n_blank, n);

        at += n_blank + n;
        at += strspn(at, " \t");
        if (!bit || (*at && *at != ','))
            return conf_refuse_choice(key, value, where, what, fault);
        set |= bit;
        if (!*at)
            break;
    }
    *field = set;
    return CONF_OK;
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
    case CONF_SET:
        return conf_set_set(key, value, where, field, fault);
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

static bool conf_has_section(const struct conf_key *keys, size_t n_keys, const char *section)
{
    for (size_t i = 0; i < n_keys; i++)
        if (!strcmp(keys[i].section, section))
            return true;
    return false;
}

int conf_refuse_key(const struct conf_key *keys, size_t n_keys, const struct conf_place *place,
                    struct fault *fault)
{
    const char *near = conf_nearest(keys, n_keys, place->name);

    if (!conf_has_section(keys, n_keys, place->section))
        return fault_set(fault, CONF_E_KEY, "%s:%d: unknown section [%.64s]", place->path, place->line,
                         place->section);
    if (near)
        return fault_set(fault, CONF_E_KEY, "%s:%d: unknown key '%.64s', did you mean '%s'?", place->path,
                         place->line, place->name, near);
    return fault_set(fault, CONF_E_KEY, "%s:%d: unknown key '%.64s'", place->path, place->line, place->name);
}

/* walking */
/* inih's handler: 0 means failure; the first fault is kept and stops the reading (conf_get_line). */
static int conf_on_value(void *user, const char *section, const char *name, const char *value)
{
    struct conf_walker *walker = user;

    walker->place.section = section;
    walker->place.name = name;
    if (!walker->r)
        walker->r = walker->on_value(walker->arg, &walker->place, value ? value : "", walker->fault);
    return !walker->r;
}

/* inih's fgets: counts lines, and refuses a line that inih would cut without a word. */
static char *conf_get_line(char *line, int size, void *stream)
{
    struct conf_walker *walker = stream;
    size_t n;

    if (walker->r || !fgets(line, size, walker->file))
        return NULL;
    walker->place.line++;
    n = strlen(line);
    if (n + 1 == (size_t)size && line[n - 1] != '\n') {
        walker->r = fault_set(walker->fault, CONF_E_SYNTAX, "%s:%d: the line is longer than %d bytes",
                              walker->place.path, walker->place.line, size - 2);
        return NULL;
    }
    return line;
}

int conf_walk(FILE *file, const char *path, conf_value_fn *on_value, void *arg, struct fault *fault)
{
    struct conf_walker walker = {
        .file = file, .place = {.path = path}, .on_value = on_value, .arg = arg, .fault = fault};
    const int line = ini_parse_stream(conf_get_line, &walker, conf_on_value, &walker);

    if (walker.r)
        return walker.r;
    if (ferror(file))
        return fault_set(fault, CONF_E_FILE, "%s: %s", path, strerror(EIO));
    if (line < 0)
        return err_origin(-ENOMEM);
    if (line > 0)
        return fault_set(fault, CONF_E_SYNTAX, "%s:%d: neither [section] nor key = value", path, line);
    return CONF_OK;
}

/* reading */
static bool conf_is_others(const struct conf_reader *reader, const char *section)
{
    for (const char *const *other = reader->others; other && *other; other++) {
        const size_t n = strlen(*other);

        if ((*other)[n - 1] == '*' ? !strncmp(section, *other, n - 1) : !strcmp(section, *other))
            return true;
    }
    return false;
}

static int conf_take(void *arg, const struct conf_place *place, const char *value, struct fault *fault)
{
    struct conf_reader *reader = arg;
    const struct conf_key *key = conf_find(reader->keys, reader->n_keys, place->section, place->name);
    char where[300];
    int *seen;

    if (conf_is_others(reader, place->section))
        return CONF_OK;
    if (!key)
        return conf_refuse_key(reader->keys, reader->n_keys, place, fault);
    seen = &reader->seen[key - reader->keys];
    if (*seen)
        return fault_set(fault, CONF_E_SYNTAX, "%s:%d: '%s' was already set in line %d", place->path,
                         place->line, place->name, *seen);
    *seen = place->line;
    snprintf(where, sizeof(where), "%s:%d", place->path, place->line);
    return conf_set(key, value, where, reader->target, fault);
}

int conf_read(const char *path, const struct conf_key *keys, size_t n_keys, const char *const *others,
              void *target, struct fault *fault)
{
    _cleanup_(conf_fclosep) FILE *file = fopen(path, "re");
    struct conf_reader reader = {.keys = keys, .n_keys = n_keys, .others = others, .target = target};

    if (n_keys > CONF_KEYS_MAX)
        return err_origin(-EINVAL);
    if (!file)
        return fault_set(fault, CONF_E_FILE, "%s: %s", path, strerror(errno));
    return conf_walk(file, path, conf_take, &reader, fault);
}

/* files */
static int conf_files_add(struct conf_files *files, const char *folder, const char *name, struct fault *fault)
{
    if (files->n == CONF_FILES_MAX)
        return fault_set(fault, CONF_E_FILE, "%s: more than %d configuration files", folder,
                         CONF_FILES_MAX - 1);
    if (asprintf(&files->paths[files->n], "%s%s%s", folder, *name ? "/" : "", name) < 0) {
        files->paths[files->n] = NULL;
        return err_origin(-ENOMEM);
    }
    files->n++;
    return CONF_OK;
}

static int conf_is_dropin(const struct dirent *entry)
{
    const size_t n = strlen(entry->d_name);

    return entry->d_name[0] != '.' && n > 5 && !strcmp(entry->d_name + n - 5, ".conf");
}

static int conf_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int conf_files_add_folder(struct conf_files *files, const char *folder, struct fault *fault)
{
    struct dirent **entries;
    const int n = scandir(folder, &entries, conf_is_dropin, conf_by_name);
    int r = CONF_OK;

    if (n < 0 && errno == ENOENT)
        return CONF_OK;
    if (n < 0)
        return fault_set(fault, CONF_E_FILE, "%s: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!r)
            r = conf_files_add(files, folder, entries[i]->d_name, fault);
        free(entries[i]);
    }
    free(entries);
    return r;
}

int conf_files_find(const char *path, bool must_exist, struct conf_files *files, struct fault *fault)
{
    _cleanup_(freep) char *folder = NULL;
    int r = CONF_OK;

    *files = (struct conf_files){};
    if (asprintf(&folder, "%s.d", path) < 0) {
        folder = NULL;
        return err_origin(-ENOMEM);
    }
    if (must_exist || access(path, F_OK) == 0)
        r = conf_files_add(files, path, "", fault);
    return r ? r : conf_files_add_folder(files, folder, fault);
}

void conf_files_deinit(struct conf_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->paths[i]);
    files->n = 0;
}
