/* utf8.c - see utf8.h. */
#include "utf8.h"

/* The length of the whole sequence at s, of which n > 0 bytes are there; 0: wrong or cut short. */
static int utf8_check_one(const char *s, size_t n)
{
    int len = utf8_length((uint8_t)s[0]);

    if (!len || (size_t)len > n || (len > 1 && !utf8_second_fits((uint8_t)s[0], (uint8_t)s[1])))
        return 0;
    for (int k = 2; k < len; k++)
        if (((uint8_t)s[k] & 0xc0) != 0x80)
            return 0;
    return len;
}

size_t utf8_valid_prefix(const char *text, size_t n)
{
    size_t i = 0;

    if (!n)
        return 0; /* text may be NULL, to which not even 0 may be added */
    for (;;) {
        int len;

        i += utf8_ascii_prefix(text + i, n - i);
        while (i < n && (uint8_t)text[i] >= 0x80) {
            len = utf8_check_one(text + i, n - i);
            if (!len)
                return i;
            i += (size_t)len;
        }
        if (i == n)
            return n;
    }
}
