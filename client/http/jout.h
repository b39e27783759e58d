/* jout.h - writing JSON into a buffer, without a tree.  Each call writes a member with the comma it needs.
 *
 *     jout_open(&j, NULL, '{'); jout_text(&j, "role", "user", 4); jout_close(&j, '}');     {"role":"user"}
 *
 * The first failure (no memory, the buffer's cap) sticks in r; whoever sends the text looks at it once. */
#pragma once

#include "proto/buf.h"

struct jout {
    struct buf *buf; /* borrowed */
    bool more;       /* a comma goes before the next member */
    int r;
};

/* key NULL: an element of an array, or the outermost value */
void jout_open(struct jout *j, const char *key, char bracket);
void jout_close(struct jout *j, char bracket);
void jout_text(struct jout *j, const char *key, const char *text,
               size_t n); /* n (size_t)-1: strlen; NULL: null */
void jout_int(struct jout *j, const char *key, int64_t value);
void jout_real(struct jout *j, const char *key,
               double value); /* as short as gives the same float; null: not finite */
void jout_bool(struct jout *j, const char *key, bool value);
void jout_null(struct jout *j, const char *key);
void jout_raw(struct jout *j, const char *key, const char *json, size_t n); /* JSON as it stands */
void jout_bytes(struct jout *j, const char *text, size_t n);                /* outside of JSON: "data: " */

void jout_key_text(struct jout *j, const char *key, const char *head,
                   const char *tail); /* "key":"headtail" */
static inline const char *jout_buf_text(const struct buf *buf)
{
    return buf_size(buf) ? (const char *)buf_head(buf) : "";
}

/* The inside of a JSON string: escaped, whole; broken UTF-8 becomes U+FFFD. */
void jout_escape(struct jout *j, const char *text, size_t n);
