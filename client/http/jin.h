/* jin.h - JSON that came from outside: bounded before it becomes a tree, and read with a refusal that names
 * the place.
 *
 * jansson is strict (UTF-8, no NUL, no duplicate keys), but a tree takes many times the text: "[[],[],...", 3
 * bytes a value, 130 bytes of memory.  So depth and number of values are counted in the text first. */
#pragma once

#include <jansson.h>

#include "refusal.h"

enum { JIN_DEPTH = 64, JIN_VALUES = 1 << 17 };

static inline void jin_decrefp(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* An object, or a status code with the refusal.  *ret_root is the caller's to json_decref(). */
int jin_load(const char *text, size_t n, json_t **ret_root, struct refusal *refusal);

int jin_bool(const json_t *value, const char *param, bool *ret, struct refusal *refusal);
int jin_int(const json_t *value, const char *param, int64_t lo, int64_t hi, int64_t *ret,
            struct refusal *refusal);
int jin_real(const json_t *value, const char *param, double lo, double hi, double *ret,
             struct refusal *refusal);
int jin_text(const json_t *value, const char *param, const char **ret, size_t *ret_n,
             struct refusal *refusal);
/* Token ids; *ret_ids is the caller's to free, never NULL. */
int jin_ids(const json_t *value, const char *param, uint32_t **ret_ids, size_t *ret_n,
            struct refusal *refusal);
int jin_array(const json_t *value, const char *param, size_t max, struct refusal *refusal);
int jin_object(const json_t *value, const char *param, struct refusal *refusal);
