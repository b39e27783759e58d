/* utf8.h - UTF-8 one character at a time, for the text parts of the model library. */
#pragma once

#include "proto/base.h"

/* The length of the longest prefix of text that is valid UTF-8: n if all of it is (no overlong forms, no
 * surrogates, nothing above U+10FFFF).  A NUL is a character like any other.  text may be NULL where n is 0.
 */
size_t utf8_valid_prefix(const char *text, size_t n);

/* How many bytes a sequence with this first byte has; 0: no sequence starts so. */
static inline int utf8_length(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/* Whether b may follow the first byte: Unicode 16, table 3-7; later bytes may be anything in 80..BF. */
static inline bool utf8_second_fits(uint8_t first, uint8_t b)
{
    uint8_t lo = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t hi = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

    return b >= lo && b <= hi;
}

/* The character at s, which is known to be valid. */
static inline uint32_t utf8_get(const char *s, int *ret_n)
{
    const uint8_t *u = (const uint8_t *)s;

    *ret_n = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    switch (*ret_n) {
    case 1:
        return u[0];
    case 2:
        return (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
    case 3:
        return (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    default:
        return (u[0] & 0x07u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
    }
}

/* Writes cp (a scalar value) to s, at most 4 bytes; returns how many. */
static inline int utf8_put(uint32_t cp, char *s)
{
    if (cp < 0x80) {
        s[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        s[0] = (char)(0xc0 | cp >> 6);
        s[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        s[0] = (char)(0xe0 | cp >> 12);
        s[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        s[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    s[0] = (char)(0xf0 | cp >> 18);
    s[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    s[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    s[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

/* How many bytes at s, at most n, are ASCII from the start on; looks at eight at a time. */
static inline size_t utf8_ascii_prefix(const char *s, size_t n)
{
    size_t i = 0;

    for (uint64_t word; i + sizeof(word) <= n; i += sizeof(word)) {
        __builtin_memcpy(&word, s + i, sizeof(word));
        if (word & 0x8080808080808080u)
            break;
    }
    while (i < n && (uint8_t)s[i] < 0x80)
        i++;
    return i;
}
