/* utf8.c - is this text UTF-8?  See qwend_utf8_valid() in qwend.h.
 *
 * Well-formed as table 3-7 of the Unicode standard has it: shortest form, no surrogates, nothing above
 * U+10FFFF. */
#include "conn.h"

/* Bytes of the well-formed sequence at the head of p[n], 0: there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
    size_t want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    uint8_t lo = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t hi = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

    if (!want || want > n || !p[0])
        return 0;
    for (size_t i = 1; i < want; i++, lo = 0x80, hi = 0xbf)
        if (p[i] < lo || p[i] > hi)
            return 0;
    return want;
}

size_t qwend_utf8_valid(const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t done = 0;

    while (done < n) {
        size_t k = utf8_sequence(p + done, n - done);

        if (!k)
            break;
        done += k;
    }
    return done;
}
