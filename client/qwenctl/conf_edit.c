/* conf_edit.c - setting a key of the user's file.  See conf.h.
 *
 * The file is copied line by line; only the last line of that key in that section changes, or one is added at
 * the end of its section. */
#include <string.h>
#include <sys/stat.h>

#include "conf.h"
#include "file.h"

struct conf_place {
    size_t line, n_line; /* bytes: where the key stands; n_line 0: nowhere */
    size_t end;          /* behind the last line of the section that says something */
    bool has_section;
};

static bool conf_is_section(const struct conf_line *line, const char *profile)
{
    char name[CONF_NAME_BYTES + 8];

    snprintf(name, sizeof(name), "profile %s", profile);
    return line->n_value == strlen(name) && !memcmp(line->value, name, line->n_value);
}

static struct conf_place conf_locate(const char *text, size_t n, const char *profile, const char *key)
{
    struct conf_place place = {.has_section = !profile};
    bool inside = !profile;

    for (size_t at = 0, n_line; at < n; at += n_line) {
        const char *end = memchr(text + at, '\n', n - at);
        struct conf_line line;

        n_line = end ? (size_t)(end - text) + 1 - at : n - at;
        if (!conf_line(text + at, n_line, &line))
            continue;
        if (!line.key) {
            inside = profile && conf_is_section(&line, profile);
            place.has_section |= inside;
        }
        if (!inside)
            continue;
        place.end = at + n_line;
        if (line.key && line.n_key == strlen(key) && !memcmp(line.key, key, line.n_key)) {
            place.line = at;
            place.n_line = n_line;
        }
    }
    return place;
}

static void conf_put(FILE *out, const char *text, size_t n, const struct conf_place *place,
                     const char *profile, const char *key, const char *value)
{
    const size_t at = place->n_line ? place->line : place->has_section ? place->end : n;

    fwrite(text, 1, at, out);
    if (at && text[at - 1] != '\n')
        fputc('\n', out);
    if (!place->has_section)
        fprintf(out, "%s[profile %s]\n", n ? "\n" : "", profile);
    if (value)
        fprintf(out, "%s = %s\n", key, value);
    fwrite(text + at + place->n_line, 1, n - at - place->n_line, out);
}

int conf_write(const char *path, const char *profile, const char *key, const char *value, struct fault *fault)
{
    _cleanup_(freep) char *text = NULL, *changed = NULL;
    size_t n = 0, n_changed;
    struct conf_place place;
    FILE *out;
    int r;

    r = file_read(path, CONF_FILE_BYTES, &text, &n);
    if (r == FILE_E_BIG)
        return fault_set(fault, CONF_E_FAULT, "%s is larger than %d KiB", path, CONF_FILE_BYTES >> 10);
    if (r == -ENOENT)
        r = file_make_folders(path);
    if (r)
        return r;
    place = conf_locate(text ? text : "", n, profile, key);
    if (!value && !place.n_line)
        return fault_set(fault, CONF_E_FAULT, "%s is not set in %s", key, path);
    out = open_memstream(&changed, &n_changed);
    if (!out)
        return err_origin(-ENOMEM);
    conf_put(out, text ? text : "", n, &place, profile, key, value);
    if (fclose(out))
        return err_origin(-ENOMEM);
    return file_replace(path, changed, n_changed, 0644);
}
