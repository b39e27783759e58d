/* jtext.h - JSON text checked once, then walked as slices of itself, and printed the way Python prints it.
 *
 * For tool descriptions and call arguments, where key order, the digits of large integers and the spelling of
 * numbers reach the model: a parser that makes values of them would lose these.  jtext_check() accepts RFC
 * 8259 with a depth bound; everything else takes slices that passed it and cannot fail on their content. */
#pragma once

#include "proto/base.h"

enum { JTEXT_DEPTH_MAX = 64 };
enum { JTEXT_OK, JTEXT_E_INVALID = 100 };

struct jtext { /* the text of one value, without the white space around it; borrowed */
    const char *s;
    size_t n;
};
enum jtext_kind {
    JTEXT_NULL,
    JTEXT_TRUE,
    JTEXT_FALSE,
    JTEXT_NUMBER,
    JTEXT_STRING,
    JTEXT_ARRAY,
    JTEXT_OBJECT
};

/* The fault names the byte and what is wrong there, never the text. */
int jtext_check(const char *text, size_t n, struct fault *fault, struct jtext *ret_value);

enum jtext_kind jtext_kind(struct jtext value);

/* Walks an array or object: *cursor starts at 0.  ret_key is the key's string with its quotes; unchanged for
 * arrays. */
bool jtext_next(struct jtext container, size_t *cursor, struct jtext *ret_key, struct jtext *ret_value);
/* The members of an object as Python's dict has them: each name once, where it first stood, with its last
 * value. malloc'ed.  0, -ENOMEM. */
struct jtext_member {
    struct jtext key, value;
};
int jtext_members(struct jtext object, struct jtext_member **ret_members, size_t *ret_n);
/* The last member of that name (as Python's dict keeps it); false: none. */
bool jtext_find(struct jtext object, const char *key, struct jtext *ret_value);

/* The bytes that a string stands for, at most value.n of them, into text; returns how many. */
size_t jtext_decode(struct jtext string, char *text);

/* One step of it: what stands at *s between a string's quotes, a byte as it is or an escape's whole
 * character, into text, which has room for 4 bytes; returns how many and advances *s. */
int jtext_decode_char(const char **s, char *text);

/* put returns 0 or an error, which ends the printing and is returned; else 0, -ENOMEM. */
typedef int (*jtext_put_fn)(void *user, const char *s, size_t n);
int jtext_print(struct jtext value, jtext_put_fn put, void *user); /* json.dumps(value, ensure_ascii=False) */
int jtext_print_str(struct jtext value, jtext_put_fn put,
                    void *user); /* str(value): strings bare, True, None */
int jtext_print_text(const char *text, size_t n, jtext_put_fn put,
                     void *user); /* UTF-8 as a quoted JSON string */
