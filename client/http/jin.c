/* jin.c - see jin.h. */
#include "jin.h"

#include <stdio.h>

/* Counts brackets and commas outside of strings.  What is no JSON may pass: the parser refuses that. */
static int jin_scan(const char *text, size_t n, struct refusal *refusal)
{
    size_t depth = 0, n_values = 1;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        const char c = text[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        if (c == '[' || c == '{') {
            n_values++;
            if (++depth > JIN_DEPTH)
                return refuse(refusal, 400, "invalid_json", NULL, "the body's JSON is nested deeper than %d",
                              JIN_DEPTH);
        } else if ((c == ']' || c == '}') && depth) {
            depth--;
        } else if (c == ',' && ++n_values > JIN_VALUES) {
            return refuse(refusal, 400, "invalid_json", NULL, "the body's JSON has more than %d values",
                          JIN_VALUES);
        }
    }
    return 0;
}

static const char *jin_fault(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return "it is not UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string holds the character U+0000, which no prompt can have";
    case json_error_duplicate_key:
        return "an object has the same key twice";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_out_of_memory:
        return "out of memory";
    default:
        return "syntax";
    }
}

int jin_load(const char *text, size_t n, json_t **ret_root, struct refusal *refusal)
{
    json_error_t error;
    json_t *root;
    int r = jin_scan(text, n, refusal);

    if (r)
        return r;
    if (!n)
        return refuse(refusal, 400, "invalid_json", NULL,
                      "the request has no body; it must be a JSON object");
    root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return refuse(refusal, 400, "invalid_json", NULL, "the body is not JSON at line %d, column %d: %s",
                      error.line, error.column, jin_fault(&error));
    if (!json_is_object(root)) {
        json_decref(root);
        return refuse(refusal, 400, "invalid_json", NULL, "the body must be a JSON object");
    }
    *ret_root = root;
    return 0;
}

static const char *jin_type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean",    [JSON_NULL] = "null"};

    return value ? names[json_typeof(value)] : "missing";
}

static int jin_refuse_type(const json_t *value, const char *param, const char *wanted,
                           struct refusal *refusal)
{
    return refuse(refusal, 400, "invalid_type", param, "%s is %s, must be %s", param, jin_type_name(value),
                  wanted);
}

int jin_bool(const json_t *value, const char *param, bool *ret, struct refusal *refusal)
{
    if (!json_is_boolean(value))
        return jin_refuse_type(value, param, "a boolean", refusal);
    *ret = json_is_true(value);
    return 0;
}

int jin_int(const json_t *value, const char *param, int64_t lo, int64_t hi, int64_t *ret,
            struct refusal *refusal)
{
    if (!json_is_integer(value))
        return jin_refuse_type(value, param, "an integer", refusal);
    if (json_integer_value(value) < lo || json_integer_value(value) > hi)
        return refuse(refusal, 400, "invalid_value", param, "%s is %lld, must be from %lld to %lld", param,
                      (long long)json_integer_value(value), (long long)lo, (long long)hi);
    *ret = json_integer_value(value);
    return 0;
}

int jin_real(const json_t *value, const char *param, double lo, double hi, double *ret,
             struct refusal *refusal)
{
    if (!json_is_number(value))
        return jin_refuse_type(value, param, "a number", refusal);
    if (!(json_number_value(value) >= lo && json_number_value(value) <= hi))
        return refuse(refusal, 400, "invalid_value", param, "%s is %g, must be from %g to %g", param,
                      json_number_value(value), lo, hi);
    *ret = json_number_value(value);
    return 0;
}

int jin_text(const json_t *value, const char *param, const char **ret, size_t *ret_n, struct refusal *refusal)
{
    if (!json_is_string(value))
        return jin_refuse_type(value, param, "a string", refusal);
    *ret = json_string_value(value);
    *ret_n = json_string_length(value);
    return 0;
}

int jin_array(const json_t *value, const char *param, size_t max, struct refusal *refusal)
{
    if (!json_is_array(value))
        return jin_refuse_type(value, param, "an array", refusal);
    if (json_array_size(value) > max)
        return refuse(refusal, 400, "invalid_value", param, "%s has %zu elements, at most %zu are taken",
                      param, json_array_size(value), max);
    return 0;
}

int jin_object(const json_t *value, const char *param, struct refusal *refusal)
{
    return json_is_object(value) ? 0 : jin_refuse_type(value, param, "an object", refusal);
}

int jin_ids(const json_t *value, const char *param, uint32_t **ret_ids, size_t *ret_n,
            struct refusal *refusal)
{
    uint32_t *ids;
    json_t *id;
    char place[96];
    int64_t number;
    size_t i;
    int r = jin_array(value, param, JIN_VALUES, refusal);

    if (r)
        return r;
    ids = malloc((json_array_size(value) + 1) * sizeof(*ids));
    if (!ids)
        return refuse(refusal, 503, "out_of_memory", NULL, "out of memory");
    json_array_foreach((json_t *)value, i, id)
    {
        snprintf(place, sizeof(place), "%.60s[%zu]", param, i);
        r = jin_int(id, place, 0, UINT32_MAX, &number, refusal);
        if (r) {
            free(ids);
            return r;
        }
        ids[i] = (uint32_t)number;
    }
    *ret_ids = ids;
    *ret_n = json_array_size(value);
    return 0;
}
