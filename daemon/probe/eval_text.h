/* eval_text.h - slices of answers that the scorers of qwend-probe eval share.  Bytes, not characters: an
 * answer may be anything a model said, NUL bytes and wrong UTF-8 included. */
#pragma once

#include "daemon/model/chat.h"

static inline bool eval_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline char eval_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}
static inline bool eval_is_letter(char c)
{
    return eval_lower(c) >= 'a' && eval_lower(c) <= 'z';
}
static inline bool eval_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
/* Part of a word, for "does a word end here": any byte of a character beyond ASCII counts. */
static inline bool eval_is_word(char c)
{
    return eval_is_digit(c) || eval_is_letter(c) || c == '_' || (uint8_t)c >= 0x80;
}

static inline struct chat_str eval_str(const char *s)
{
    return (struct chat_str){s, __builtin_strlen(s)};
}
static inline char eval_at(struct chat_str s, size_t i) /* NUL beyond the end */
{
    return i < s.n ? s.s[i] : '\0';
}
struct chat_str eval_trim(struct chat_str s); /* ASCII white space, both ends */
bool eval_equal(struct chat_str a, struct chat_str b);
bool eval_equal_fold(struct chat_str a, struct chat_str b); /* ASCII letters in either case */
/* Whether word stands at s.s[i]. */
bool eval_has_at(struct chat_str s, size_t i, const char *word);
bool eval_has_at_fold(struct chat_str s, size_t i, const char *word); /* word in lower case */
/* Where word starts, from i on; s.n: nowhere. */
size_t eval_find(struct chat_str s, size_t i, const char *word);

/* The next block between lines that start with ``` (CommonMark's fenced code block), from *cursor on, which
 * is moved behind it; without the fences and the line end before the closing one.  A block without an end is
 * none. */
bool eval_next_fence(struct chat_str s, size_t *cursor, struct chat_str *ret_block);

/* numbers */
/* The last number of a text, with its sign; false: there is none.  See docs/EVAL.md for what is read. */
bool eval_number_last(struct chat_str s, struct chat_str *ret_number);
/* Equal numbers have equal canonical texts ("-12e-1" for -1.20): decimal digits, no rounding.  number is one
 * that eval_number_last() found.  malloc'ed; NULL: no memory. */
char *eval_number_canon(struct chat_str number);
