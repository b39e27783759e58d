/* unicode.h - what the tokenizer and the chat template ask about characters, and normal form C.
 *
 * Versions are the reference's, not the system's (see gen_unicode.py): token ids must not change with a
 * distribution's Unicode library, therefore the tables are our own. */
#pragma once

#include "proto/base.h"

/* General categories L*, M*, N*; the property White_Space; everything else, unassigned code points included.
 */
enum unicode_class { UNICODE_OTHER, UNICODE_LETTER, UNICODE_MARK, UNICODE_NUMBER, UNICODE_SPACE };
enum unicode_class unicode_class(uint32_t cp);

/* Python's str.isspace(): White_Space and U+001C..U+001F. */
bool unicode_is_python_space(uint32_t cp);

/* A growing text; what unicode_nfc_append() writes to. */
struct unicode_text {
    char *s;
    size_t n, cap;
}; /* s owned */
void unicode_text_deinit(struct unicode_text *text);
int unicode_text_append(struct unicode_text *text, const char *s, size_t n); /* 0, -ENOMEM */

/* Appends the NFC of s, which is valid UTF-8.  Linear in n but for the sorting of marks, n log n.  0,
 * -ENOMEM. */
int unicode_nfc_append(struct unicode_text *text, const char *s, size_t n);
