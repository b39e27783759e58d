/* md_columns.c - how wide characters are.  See md_paint.h. */
#include <wchar.h>

#include "client/lib/qwend.h"
#include "md_paint.h"

unsigned md_columns_of(const char *text, size_t n, size_t *ret_bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    const size_t k = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    wchar_t c = p[0] < 0x80 ? p[0] : p[0] & (0x7f >> k);
    int width;

    if (k > n || qwend_utf8_valid(text, k) != k) {
        *ret_bytes = 1;
        return 1;
    }
    for (size_t i = 1; i < k; i++)
        c = c << 6 | (p[i] & 0x3f);
    width = wcwidth(c);
    *ret_bytes = k;
    return width < 0 ? 1 : (unsigned)width; /* a locale without UTF-8 knows no widths */
}
