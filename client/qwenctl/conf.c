/* conf.c - reading the configuration.  See conf.h. */
#include "conf.h"

#include <ctype.h>
#include <string.h>

#include "file.h"
#include "guess.h"

char *conf_user_path(void)
{
    return file_home("XDG_CONFIG_HOME", ".config", "qwenctl.conf");
}

void conf_deinit(struct conf *conf)
{
    for (size_t i = 0; i < conf->n; i++) {
        free(conf->entries[i].value);
        free(conf->entries[i].profile);
        free(conf->entries[i].origin);
    }
    free(conf->entries);
    *conf = (struct conf){};
}

int conf_find_key(const char *name, size_t n, const struct opt **ret_opt, struct fault *fault)
{
    const struct opt *table;
    const char *best = NULL;
    char word[CONF_NAME_BYTES];
    size_t n_table;

    snprintf(word, sizeof(word), "%.*s", (int)MIN(n, sizeof(word) - 1), name);
    table = opt_table(&n_table);
    for (size_t i = 0; i < n_table; i++) {
        if (!table[i].conf)
            continue;
        if (strlen(table[i].name) == n && !memcmp(table[i].name, name, n)) {
            *ret_opt = &table[i];
            return CONF_OK;
        }
        guess_offer(word, table[i].name, &best);
    }
    return fault_set(fault, CONF_E_FAULT, "unknown key \"%s\"%s%s%s", word, best ? ": did you mean " : "",
                     best ? best : "", best ? "?" : " (qwenctl help settings lists them)");
}

static void conf_trim(const char **text, size_t *n)
{
    while (*n && isspace((unsigned char)**text)) {
        (*text)++;
        (*n)--;
    }
    while (*n && isspace((unsigned char)(*text)[*n - 1]))
        (*n)--;
}

bool conf_line(const char *text, size_t n, struct conf_line *ret_line)
{
    struct conf_line line = {};
    const char *equals;

    conf_trim(&text, &n);
    if (!n || *text == '#' || *text == ';')
        return false;
    equals = memchr(text, '=', n);
    if (*text == '[' && text[n - 1] == ']') {
        line.value = text + 1;
        line.n_value = n - 2;
    } else {
        line.key = text;
        line.n_key = equals ? (size_t)(equals - text) : n;
        line.value = equals ? equals + 1 : text + n;
        line.n_value = n - line.n_key - (equals != NULL);
        conf_trim(&line.key, &line.n_key);
    }
    conf_trim(&line.value, &line.n_value);
    *ret_line = line;
    return true;
}

/* "[profile NAME]": its name, or NULL */
static char *conf_section(const struct conf_line *line)
{
    static const char word[] = "profile ";
    const size_t n = sizeof(word) - 1;

    if (line->n_value <= n || memcmp(line->value, word, n) || line->n_value - n >= CONF_NAME_BYTES)
        return NULL;
    return strndup(line->value + n, line->n_value - n);
}

static int conf_add(struct conf *conf, const struct conf_entry *entry)
{
    if (conf->n == conf->cap) {
        const size_t cap = conf->cap ? 2 * conf->cap : 16;
        struct conf_entry *entries = realloc(conf->entries, cap * sizeof(*entries));

        if (!entries)
            return err_origin(-ENOMEM);
        conf->entries = entries;
        conf->cap = cap;
    }
    conf->entries[conf->n++] = *entry;
    return CONF_OK;
}

/* One line of a file.  Its value is tried on scratch, so that a mistake is found whatever the verb is. */
static int conf_take(struct conf *conf, const struct conf_line *line, const char *profile, const char *path,
                     int number, struct fault *fault)
{
    struct opt_values scratch = {};
    struct conf_entry entry = {};
    struct fault why = {};
    int r;

    r = conf_find_key(line->key, line->n_key, &entry.opt, &why);
    if (!r && !line->n_value)
        r = fault_set(&why, CONF_E_FAULT, "%s needs \"= value\"", entry.opt->name);
    if (r)
        return fault_set(fault, CONF_E_FAULT, "%s:%d: %s", path, number, why.text);
    entry.value = strndup(line->value, line->n_value);
    entry.profile = profile ? strdup(profile) : NULL;
    if (!entry.value || (profile && !entry.profile) || asprintf(&entry.origin, "%s:%d", path, number) < 0)
        r = err_origin(-ENOMEM);
    if (!r && opt_assign(&scratch, entry.opt, entry.value, &why))
        r = fault_set(fault, CONF_E_FAULT, "%s: %s", entry.origin, why.text);
    if (!r)
        r = conf_add(conf, &entry);
    if (r) {
        free(entry.value);
        free(entry.profile);
        free(entry.origin);
    }
    return r;
}

int conf_parse(struct conf *conf, const char *path, const char *text, size_t n, struct fault *fault)
{
    _cleanup_(freep) char *profile = NULL;
    int r = CONF_OK, number = 0;

    for (size_t n_line; n && !r; text += n_line, n -= n_line) {
        const char *end = memchr(text, '\n', n);
        struct conf_line line;

        n_line = end ? (size_t)(end - text) + 1 : n;
        number++;
        if (!conf_line(text, n_line, &line))
            continue;
        if (line.key) {
            r = conf_take(conf, &line, profile, path, number, fault);
            continue;
        }
        free(profile);
        profile = conf_section(&line);
        if (!profile)
            r = fault_set(fault, CONF_E_FAULT, "%s:%d: the only sections are [profile NAME], not [%.*s]",
                          path, number, (int)MIN(line.n_value, (size_t)40), line.value);
    }
    return r;
}

static int conf_read(struct conf *conf, const char *path, struct fault *fault)
{
    _cleanup_(freep) char *text = NULL;
    size_t n;
    int r;

    r = file_read(path, CONF_FILE_BYTES, &text, &n);
    if (r == -ENOENT || r == -ENOTDIR)
        return CONF_OK;
    if (r == FILE_E_BIG)
        return fault_set(fault, CONF_E_FAULT, "%s is larger than %d KiB", path, CONF_FILE_BYTES >> 10);
    if (r)
        return fault_set(fault, CONF_E_FAULT, "%s: %s", path, strerror(-r));
    return conf_parse(conf, path, text, n, fault);
}

int conf_load(const char *machine, const char *user, struct conf *ret_conf, struct fault *fault)
{
    struct conf conf = {};
    int r;

    r = conf_read(&conf, machine, fault);
    if (!r && user)
        r = conf_read(&conf, user, fault);
    if (r) {
        conf_deinit(&conf);
        return r;
    }
    *ret_conf = conf;
    return CONF_OK;
}

int conf_load_all(struct conf *ret_conf, struct fault *fault)
{
    _cleanup_(freep) char *user = conf_user_path();

    return conf_load(QWENCTL_SYSCONF "/qwenctl.conf", user, ret_conf, fault);
}

/* values */

/* QWENCTL_MAX_TOKENS; the socket's is the library's own, so that all programs hear it. */
static void conf_env_name(const struct opt *opt, char out[CONF_NAME_BYTES])
{
    if (!strcmp(opt->name, "socket")) {
        snprintf(out, CONF_NAME_BYTES, "QWEND_SOCKET");
        return;
    }
    snprintf(out, CONF_NAME_BYTES, "QWENCTL_%s", opt->name);
    for (char *p = out; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

static const struct conf_entry *conf_last(const struct conf *conf, const struct opt *opt, const char *profile)
{
    for (size_t i = conf->n; i-- > 0;) {
        const struct conf_entry *entry = &conf->entries[i];

        if (entry->opt == opt &&
            (profile ? entry->profile && !strcmp(entry->profile, profile) : !entry->profile))
            return entry;
    }
    return NULL;
}

const char *conf_get(const struct conf *conf, const struct opt *opt, const char *profile,
                     char ret_origin[static 400])
{
    const struct conf_entry *entry = NULL;
    char name[CONF_NAME_BYTES];
    const char *value;

    conf_env_name(opt, name);
    value = getenv(name);
    if (value && *value) {
        snprintf(ret_origin, 400, "$%s", name);
        return value;
    }
    if (profile)
        entry = conf_last(conf, opt, profile);
    if (!entry)
        entry = conf_last(conf, opt, NULL);
    if (!entry)
        return NULL;
    snprintf(ret_origin, 400, "%s", entry->origin);
    return entry->value;
}

const char *conf_profile(const struct conf *conf, const struct opt_values *values)
{
    const struct opt *opt;
    char origin[400];

    if (values->profile)
        return *values->profile ? values->profile : NULL;
    return conf_find_key("profile", strlen("profile"), &opt, NULL) ? NULL : conf_get(conf, opt, NULL, origin);
}

static int conf_check_profile(const struct conf *conf, const char *profile, struct fault *fault)
{
    const char *best = NULL;

    for (size_t i = 0; i < conf->n; i++) {
        const char *name = conf->entries[i].profile;

        if (name && !strcmp(name, profile))
            return CONF_OK;
        if (name)
            guess_offer(profile, name, &best);
    }
    return fault_set(fault, CONF_E_FAULT, "no configuration has a [profile %.40s]%s%s%s", profile,
                     best ? ": did you mean " : "", best ? best : "", best ? "?" : "");
}

int conf_apply(const struct conf *conf, uint64_t verb, struct opt_values *values, struct fault *fault)
{
    const char *profile = conf_profile(conf, values);
    const struct opt *table;
    size_t n;
    int r = profile ? conf_check_profile(conf, profile, fault) : CONF_OK;

    table = opt_table(&n);
    for (size_t i = 0; !r && i < n; i++) {
        struct fault why = {};
        char origin[400];
        const char *value;

        if (!table[i].conf || !(table[i].verbs & verb))
            continue;
        value = conf_get(conf, &table[i], profile, origin);
        if (value && opt_assign(values, &table[i], value, &why))
            r = fault_set(fault, CONF_E_FAULT, "%s: %s", origin, why.text);
    }
    return r;
}
