/* json.h - writing JSON to a FILE, without a tree.  Each call writes a member with the comma it needs.
 *
 *     json_open(j, NULL, '{'); json_text(j, "e", "text", 4); json_close(j, '}');     {"e":"text"} */
#pragma once

#include <stdio.h>

#include "proto/base.h"

struct json {
    FILE *file; /* borrowed */
    bool more;  /* a comma goes before the next member */
};

/* key NULL: an element of an array, or the outermost value */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
/* Escaped: quotes, backslash, all controls (C1 too, so that a terminal stays safe); broken UTF-8 becomes
 * U+FFFD. */
void json_text(struct json *json, const char *key, const char *text, size_t n); /* n (size_t)-1: strlen */
void json_uint(struct json *json, const char *key, uint64_t value);
void json_real(struct json *json, const char *key, double value, int digits); /* null if it is not finite */
void json_bool(struct json *json, const char *key, bool value);
