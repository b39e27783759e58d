/* map_record.c - a record of NDJSON or CSV as fields.  See map.h. */
#include <jansson.h>
#include <string.h>

#include "map.h"

void map_record_deinit(struct map_record *record)
{
    freep(&record->text);
    freep(&record->path);
    json_decref(record->value);
    *record = (struct map_record){};
}

void map_columns_free(struct json_t *columns)
{
    json_decref(columns);
}

int map_record_parse_json(struct map_record *record, struct fault *fault)
{
    json_error_t error;

    record->value = json_loadb(record->text, record->n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (record->value)
        return MAP_OK;
    return fault_set(fault, MAP_E_BAD, "not JSON: %s (column %d)", error.text, error.column);
}

/* One field of a row, at text[*at] of [n]; *ret_more: another follows.  Quotes are taken off in place. */
static int csv_field(char *text, size_t n, size_t *at, char **ret_field, size_t *ret_n, bool *ret_more,
                     struct fault *fault)
{
    size_t i = *at, out = *at;
    const bool quoted = i < n && text[i] == '"';

    *ret_field = text + i;
    if (quoted) {
        for (i++; i < n && (text[i] != '"' || (i + 1 < n && text[i + 1] == '"')); i++) {
            i += text[i] == '"';
            text[out++] = text[i];
        }
        if (i++ >= n)
            return fault_set(fault, MAP_E_BAD, "a quoted field does not end");
    } else {
        for (; i < n && text[i] != ','; i++)
            if (text[i] == '"')
                return fault_set(fault, MAP_E_BAD, "a quote within a field that does not begin with one");
        out = i;
    }
    if (i < n && text[i] != ',')
        return fault_set(fault, MAP_E_BAD, "text behind the closing quote of a field");
    *ret_n = (size_t)(text + out - *ret_field);
    *ret_more = i < n;
    *at = i + 1;
    return MAP_OK;
}

static json_t *csv_row(const struct map_record *record, struct fault *fault)
{
    _cleanup_(freep) char *copy = strndup(record->text, record->n);
    json_t *row = json_array();
    size_t at = 0, n = 0;
    bool more = true;
    char *field;

    if (!copy || !row)
        fault_set(fault, -ENOMEM, "out of memory");
    while (copy && row && more) {
        if (csv_field(copy, record->n, &at, &field, &n, &more, fault) ||
            json_array_append_new(row, json_stringn(field, n)) || json_array_size(row) > MAP_FIELDS) {
            if (json_array_size(row) > MAP_FIELDS)
                fault_set(fault, MAP_E_BAD, "more than %d columns", MAP_FIELDS);
            json_decref(row);
            return NULL;
        }
    }
    return row;
}

int map_record_parse_csv(struct map_record *record, const struct json_t *columns, struct json_t **ret_columns,
                         struct fault *fault)
{
    json_t *row = csv_row(record, fault);
    const size_t n = json_array_size(row), n_columns = json_array_size(columns);
    int r = MAP_OK;

    if (!row)
        return MAP_E_BAD;
    if (!columns) {
        *ret_columns = row;
        return MAP_OK;
    }
    if (n != n_columns)
        r = fault_set(fault, MAP_E_BAD, "%zu fields where the first line names %zu", n, n_columns);
    record->value = r ? NULL : json_object();
    for (size_t i = 0; !r && i < n; i++)
        if (json_object_set(record->value, json_string_value(json_array_get(columns, i)),
                            json_array_get(row, i)))
            r = fault_set(fault, MAP_E_BAD, "out of memory");
    json_decref(row);
    return r;
}

/* "3" of an array is its fourth element. */
static json_t *record_step(json_t *value, const char *name)
{
    char *end;
    unsigned long index;

    if (json_is_object(value))
        return json_object_get(value, name);
    if (!json_is_array(value) || *name < '0' || *name > '9')
        return NULL;
    index = strtoul(name, &end, 10);
    return *end ? NULL : json_array_get(value, index);
}

static int record_copy(const char *text, size_t n, char **ret_text, size_t *ret_n, struct fault *fault)
{
    char *copy = malloc(n + 1);

    if (!copy)
        return fault_set(fault, -ENOMEM, "out of memory");
    memcpy(copy, text, n);
    copy[n] = 0;
    *ret_text = copy;
    *ret_n = n;
    return MAP_OK;
}

int map_record_field(const struct map_record *record, char *const *names, size_t n, char **ret_text,
                     size_t *ret_n, struct fault *fault)
{
    json_t *value = record->value;

    if (!n || (!value && n == 1 && !strcmp(names[0], "text")))
        return record_copy(record->text, record->n, ret_text, ret_n, fault);
    if (record->path && n == 1 && !strcmp(names[0], "path"))
        return record_copy(record->path, strlen(record->path), ret_text, ret_n, fault);
    for (size_t i = 0; i < n; i++) {
        value = record_step(value, names[i]);
        if (!value)
            return fault_set(fault, MAP_E_BAD, "there is no field .%s%s", n > 1 && i ? "… ." : "", names[i]);
    }
    if (json_is_string(value))
        return record_copy(json_string_value(value), json_string_length(value), ret_text, ret_n, fault);
    *ret_text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    *ret_n = *ret_text ? strlen(*ret_text) : 0;
    return *ret_text ? MAP_OK : fault_set(fault, -ENOMEM, "out of memory");
}
