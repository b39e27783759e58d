/* term.c - harmless text.  See term.h. */
#include "term.h"

#include <string.h>

#include "client/lib/qwend.h"

static const char term_replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static size_t term_control(unsigned char c, char *out)
{
    out[0] = '^';
    out[1] = (char)(c ^ 0x40); /* ESC is ^[, DEL is ^? */
    return 2;
}

/* One character at text: how many bytes it has, and what to write for it. */
static size_t term_one(const char *text, size_t n, char *out, size_t *n_out)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t k = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if ((p[0] < ' ' && p[0] != '\n' && p[0] != '\t') || p[0] == 0x7f) {
        *n_out = term_control(p[0], out);
        return 1;
    }
    if (k > n || qwend_utf8_valid(text, k) != k)
        k = 0;
    if (!k || (p[0] == 0xc2 && p[1] < 0xa0)) {
        memcpy(out, term_replacement, 3);
        *n_out = 3;
        return k ? k : 1;
    }
    memcpy(out, text, k);
    *n_out = k;
    return k;
}

size_t term_escape(const char *text, size_t n, char *out)
{
    size_t done = 0, n_out = 0, k;

    while (done < n) {
        done += term_one(text + done, n - done, out + n_out, &k);
        n_out += k;
    }
    return n_out;
}
