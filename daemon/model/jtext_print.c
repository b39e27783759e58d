/* jtext_print.c - JSON as Python writes it: json.dumps(ensure_ascii=False) and str().  See jtext.h. */
#include "jtext.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* strings */

static int jtext_put(jtext_put_fn put, void *user, const char *s)
{
    return put(user, s, strlen(s));
}

/* What Python's json writes for a byte of a string that cannot stand for itself; NULL: it can. */
static const char *jtext_escape(char ch, char code[7])
{
    switch (ch) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if ((uint8_t)ch >= 0x20)
            return NULL;
        snprintf(code, 7, "\\u%04x", (unsigned)(uint8_t)ch);
        return code;
    }
}

static int jtext_print_char(const char *s, int n, jtext_put_fn put, void *user)
{
    char code[7];
    const char *escape = n == 1 ? jtext_escape(*s, code) : NULL;

    return escape ? jtext_put(put, user, escape) : put(user, s, (size_t)n);
}

int jtext_print_text(const char *text, size_t n, jtext_put_fn put, void *user)
{
    int r = jtext_put(put, user, "\"");

    for (size_t i = 0, run; !r && i < n; i += run) {
        char code[7];

        for (run = 0; i + run < n && !jtext_escape(text[i + run], code);)
            run++;
        if (run) {
            r = put(user, text + i, run);
        } else {
            r = jtext_print_char(text + i, 1, put, user);
            run = 1;
        }
    }
    return r ? r : jtext_put(put, user, "\"");
}

static int jtext_print_string(struct jtext value, bool quoted, jtext_put_fn put, void *user)
{
    const char *s = value.s + 1, *end = value.s + value.n - 1;
    char text[4];
    int r = quoted ? jtext_put(put, user, "\"") : 0;

    while (!r && s < end) {
        int n = jtext_decode_char(&s, text);

        r = quoted ? jtext_print_char(text, n, put, user) : put(user, text, (size_t)n);
    }
    return r || !quoted ? r : jtext_put(put, user, "\"");
}

/* numbers */

/* Adds one to the last digit of "d.ddde+xx"; nines only: stays as it is. */
static void jtext_bump(char *sci)
{
    char *p = strchr(sci, 'e') - 1;

    for (; p > sci && (*p == '9' || *p == '.'); p--)
        if (*p == '9')
            *p = '0';
    if (*p < '9')
        ++*p;
}

/* Writes x with this many digits behind the point so that it reads back as x; false: that is too few.  The
 * nearest decimal may fail where the next one up does not: below a power of two doubles lie twice as close.
 */
static bool jtext_try_digits(double x, int precision, char sci[40])
{
    snprintf(sci, 40, "%.*e", precision, x);
    if (strtod(sci, NULL) == x)
        return true;
    jtext_bump(sci);
    return strtod(sci, NULL) == x;
}

/* The fewest digits that read back as x >= 0, without the point; returns how many.  ret_exponent: of the
 * first one. Any 15 digits survive a double, so that fewer need no trial but for subnormals, which hold less.
 */
static int jtext_shortest_digits(double x, char digits[24], int *ret_exponent)
{
    int n = 0, precision = x < DBL_MIN ? 0 : 14;
    char sci[40];

    while (precision < 17 && !jtext_try_digits(x, precision, sci))
        precision++;
    for (const char *p = sci; *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *ret_exponent = atoi(strchr(sci, 'e') + 1);
    return n;
}

/* Python's repr(float): plain between 1e-4 and 1e16. */
static int jtext_print_float(double x, bool as_str, jtext_put_fn put, void *user)
{
    const char *sign = signbit(x) ? "-" : "";
    char digits[24], text[48];
    int n, exponent;

    if (isinf(x)) {
        snprintf(text, sizeof(text), "%s%s", sign, as_str ? "inf" : "Infinity");
        return jtext_put(put, user, text);
    }
    n = jtext_shortest_digits(fabs(x), digits, &exponent);
    if (exponent < -4 || exponent >= 16)
        snprintf(text, sizeof(text), "%s%c%s%.*se%c%02d", sign, digits[0], n > 1 ? "." : "", n - 1,
                 digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        snprintf(text, sizeof(text), "%s0.%.*s%.*s", sign, -exponent - 1, "000", n, digits);
    else if (n > exponent + 1)
        snprintf(text, sizeof(text), "%s%.*s.%.*s", sign, exponent + 1, digits, n - exponent - 1,
                 digits + exponent + 1);
    else
        snprintf(text, sizeof(text), "%s%.*s%.*s.0", sign, n, digits, exponent + 1 - n, "0000000000000000");
    return jtext_put(put, user, text);
}

static int jtext_print_number(struct jtext value, bool as_str, jtext_put_fn put, void *user)
{
    _cleanup_(freep) char *text = NULL;

    if (!memchr(value.s, '.', value.n) && !memchr(value.s, 'e', value.n) && !memchr(value.s, 'E', value.n))
        return value.n == 2 && !memcmp(value.s, "-0", 2) ? jtext_put(put, user, "0")
                                                         : put(user, value.s, value.n);
    text = strndup(value.s, value.n);
    if (!text)
        return err_origin(-ENOMEM);
    return jtext_print_float(strtod(text, NULL), as_str, put, user);
}

/* containers */

static int jtext_print_array(struct jtext value, jtext_put_fn put, void *user)
{
    struct jtext key, item;
    int r = jtext_put(put, user, "[");

    for (size_t cursor = 0, i = 0; !r && jtext_next(value, &cursor, &key, &item); i++) {
        if (i)
            r = jtext_put(put, user, ", ");
        if (!r)
            r = jtext_print(item, put, user);
    }
    return r ? r : jtext_put(put, user, "]");
}

static int jtext_print_object(struct jtext value, jtext_put_fn put, void *user)
{
    _cleanup_(freep) struct jtext_member *members = NULL;
    size_t n = 0;
    int r = jtext_members(value, &members, &n);

    if (!r)
        r = jtext_put(put, user, "{");
    for (size_t i = 0; !r && i < n; i++) {
        if (i)
            r = jtext_put(put, user, ", ");
        if (!r)
            r = jtext_print_string(members[i].key, true, put, user);
        if (!r)
            r = jtext_put(put, user, ": ");
        if (!r)
            r = jtext_print(members[i].value, put, user);
    }
    return r ? r : jtext_put(put, user, "}");
}

int jtext_print(struct jtext value, jtext_put_fn put, void *user)
{
    switch (jtext_kind(value)) {
    case JTEXT_STRING:
        return jtext_print_string(value, true, put, user);
    case JTEXT_NUMBER:
        return jtext_print_number(value, false, put, user);
    case JTEXT_ARRAY:
        return jtext_print_array(value, put, user);
    case JTEXT_OBJECT:
        return jtext_print_object(value, put, user);
    default:
        return put(user, value.s, value.n);
    }
}

int jtext_print_str(struct jtext value, jtext_put_fn put, void *user)
{
    switch (jtext_kind(value)) {
    case JTEXT_STRING:
        return jtext_print_string(value, false, put, user);
    case JTEXT_NUMBER:
        return jtext_print_number(value, true, put, user);
    case JTEXT_TRUE:
        return jtext_put(put, user, "True");
    case JTEXT_FALSE:
        return jtext_put(put, user, "False");
    case JTEXT_NULL:
        return jtext_put(put, user, "None");
    default:
        return jtext_print(value, put, user);
    }
}
