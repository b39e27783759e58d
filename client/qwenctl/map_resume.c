/* map_resume.c - what an earlier run has left in a journal.  See map_journal.c. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "map.h"

static enum code resume_refuse(const struct map_journal *journal, uint64_t n, const char *why,
                               struct fault *fault)
{
    return (enum code)fault_set(fault, CODE_USAGE, "%.300s, line %llu: %s", journal->path,
                                (unsigned long long)n, why);
}

static enum code resume_line(struct map_journal *journal, const char *line, size_t n, uint64_t number,
                             bool mixed, struct fault *fault)
{
    json_t *value = json_loadb(line, n, 0, NULL);
    const char *key = json_string_value(json_object_get(value, "_key"));
    const char *hash = json_string_value(json_object_get(value, "_h"));
    enum code code = CODE_OK;

    if (!key || !hash)
        code = resume_refuse(journal, number, "no line of a journal of qwenctl map", fault);
    else if (!mixed && strcmp(hash, journal->hash))
        code = resume_refuse(
            journal, number,
            "made with another template, other options or another model; --mixed goes on in spite of it",
            fault);
    else if (map_keys_add(&journal->done, key) < 0)
        code = (enum code)fault_set(fault, CODE_FAILED, "%.300s: more than %d records", journal->path,
                                    MAP_RECORDS_MAX);
    journal->n_kept += !code;
    json_decref(value);
    return code;
}

enum code map_resume_read(struct map_journal *journal, FILE *file, bool mixed, off_t *ret_end,
                          struct fault *fault)
{
    _cleanup_(freep) char *line = NULL;
    enum code code = CODE_OK;
    size_t cap = 0;
    uint64_t number = 0;
    ssize_t n;

    *ret_end = 0;
    while (!code && (n = getline(&line, &cap, file)) > 0) {
        if (line[n - 1] != '\n')
            break; /* torn: a record that was not finished */
        code = resume_line(journal, line, (size_t)n, ++number, mixed, fault);
        *ret_end += n;
    }
    if (!code && ferror(file))
        code = (enum code)fault_set(fault, CODE_FAILED, "reading %.300s: %s", journal->path, strerror(errno));
    return code;
}
