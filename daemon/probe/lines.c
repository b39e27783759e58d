/* lines.c - JSON lines for qwend-probe.  See probe.h. */
#include "probe.h"

#include <string.h>

static int probe_on_text(char *text, size_t n, size_t line_no, probe_line_fn on_line, void *user)
{
    json_error_t error;
    json_t *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    int status;

    if (!object)
        return probe_error("line %zu: not JSON: %s (column %d)", line_no, error.text, error.column);
    if (json_is_object(object))
        status = on_line(user, line_no, object);
    else
        status = probe_error("line %zu: should be a JSON object", line_no);
    json_decref(object);
    return status;
}

int probe_each_line(probe_line_fn on_line, void *user)
{
    char *text = NULL;
    size_t cap = 0, line_no = 0;
    ssize_t n;
    int status = 0;

    while (!status && (n = getline(&text, &cap, stdin)) >= 0) {
        line_no++;
        if (strspn(text, " \t\r\n") < (size_t)n)
            status = probe_on_text(text, (size_t)n, line_no, on_line, user);
    }
    free(text);
    if (!status && ferror(stdin))
        return probe_error("standard input: %s", strerror(errno));
    return status;
}

static int probe_check_int(const json_t *value, size_t line_no, const char *key, int lo, int hi)
{
    if (!json_is_integer(value))
        return probe_error("line %zu: \"%s\" should be made of integers in [%d, %d]", line_no, key, lo, hi);
    json_int_t v = json_integer_value(value);
    if (v < lo || v > hi)
        return probe_error("line %zu: \"%s\" has %" JSON_INTEGER_FORMAT ", should be in [%d, %d]", line_no,
                           key, v, lo, hi);
    return 0;
}

int probe_get_ints(const json_t *object, size_t line_no, const char *key, int lo, int hi, int **ret_values,
                   size_t *ret_n)
{
    const json_t *array = json_object_get(object, key);
    size_t n = json_array_size(array);
    _cleanup_(freep) int *values = NULL;

    if (!json_is_array(array) || !n)
        return probe_error("line %zu: \"%s\" should be an array of at least one integer", line_no, key);
    values = calloc(n, sizeof(*values));
    if (!values)
        return probe_error("line %zu: no memory for %zu integers", line_no, n);
    for (size_t i = 0; i < n; i++) {
        int r = probe_check_int(json_array_get(array, i), line_no, key, lo, hi);
        if (r)
            return r;
        values[i] = (int)json_integer_value(json_array_get(array, i));
    }
    *ret_values = steal(&values);
    *ret_n = n;
    return 0;
}

int probe_get_int(const json_t *object, size_t line_no, const char *key, int lo, int hi, int *ret_value)
{
    const json_t *value = json_object_get(object, key);
    int r;

    if (!value)
        return probe_error("line %zu: \"%s\" is missing", line_no, key);
    r = probe_check_int(value, line_no, key, lo, hi);
    if (r)
        return r;
    *ret_value = (int)json_integer_value(value);
    return 0;
}
