/* jtext.c - JSON text as slices of itself.  See jtext.h. */
#include "jtext.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* The longest spelling of a name that jtext_find() is asked for: 26 characters, all as \uXXXX, and the
 * quotes. */
enum { JTEXT_NAME_MAX = 160 };

/* check */

struct jtext_cursor {
    const char *start, *at, *end;
    struct fault *fault;
};

static int jtext_bad(const struct jtext_cursor *c, const char *what)
{
    return fault_set(c->fault, JTEXT_E_INVALID, "not JSON: %s at byte %zu", what, (size_t)(c->at - c->start));
}

static void jtext_skip_space(struct jtext_cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static int jtext_hex(char ch)
{
    return ch >= '0' && ch <= '9'   ? ch - '0'
           : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
           : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                    : -1;
}

/* The four digits behind "\u"; -1: they are not there. */
static int jtext_unit(const char *s, size_t n)
{
    int unit = 0;

    if (n < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = jtext_hex(s[i]);

        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool jtext_is_high(int unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool jtext_is_low(int unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

static int jtext_check_escape(struct jtext_cursor *c)
{
    const size_t n = (size_t)(c->end - c->at);
    int unit;

    if (n < 2 || !strchr("\"\\/bfnrtu", c->at[1]) || !c->at[1])
        return jtext_bad(c, "unknown escape");
    if (c->at[1] != 'u') {
        c->at += 2;
        return 0;
    }
    unit = jtext_unit(c->at + 2, n - 2);
    if (unit < 0)
        return jtext_bad(c, "\\u without four hexadecimal digits");
    if (jtext_is_low(unit))
        return jtext_bad(c, "second half of a surrogate pair without the first");
    if (jtext_is_high(unit)) {
        if (n < 12 || c->at[6] != '\\' || c->at[7] != 'u' || !jtext_is_low(jtext_unit(c->at + 8, n - 8)))
            return jtext_bad(c, "first half of a surrogate pair without the second");
        c->at += 6;
    }
    c->at += 6;
    return 0;
}

static int jtext_check_string(struct jtext_cursor *c)
{
    int r = 0;

    c->at++;
    while (!r && c->at < c->end && *c->at != '"') {
        if ((uint8_t)*c->at < 0x20)
            return jtext_bad(c, "control character in a string");
        if (*c->at == '\\')
            r = jtext_check_escape(c);
        else
            c->at++;
    }
    if (r)
        return r;
    if (c->at == c->end)
        return jtext_bad(c, "string without an end");
    c->at++;
    return 0;
}

static size_t jtext_skip_digits(struct jtext_cursor *c)
{
    const char *from = c->at;

    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return (size_t)(c->at - from);
}

static int jtext_check_number(struct jtext_cursor *c)
{
    const char *digits;
    size_t n;

    if (*c->at == '-')
        c->at++;
    digits = c->at;
    n = jtext_skip_digits(c);
    if (!n || (n > 1 && *digits == '0'))
        return jtext_bad(c, n ? "number that starts with 0" : "value expected");
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!jtext_skip_digits(c))
            return jtext_bad(c, "number without digits behind the point");
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
            c->at++;
        if (!jtext_skip_digits(c))
            return jtext_bad(c, "number without an exponent behind the e");
    }
    return 0;
}

static int jtext_check_word(struct jtext_cursor *c, const char *word)
{
    const size_t n = strlen(word);

    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n))
        return jtext_bad(c, "value expected");
    c->at += n;
    return 0;
}

static int jtext_check_value(struct jtext_cursor *c, int depth);

static int jtext_check_member(struct jtext_cursor *c, bool is_object, int depth)
{
    int r;

    if (is_object) {
        jtext_skip_space(c);
        if (c->at == c->end || *c->at != '"')
            return jtext_bad(c, "key expected");
        r = jtext_check_string(c);
        if (r)
            return r;
        jtext_skip_space(c);
        if (c->at == c->end || *c->at != ':')
            return jtext_bad(c, "':' expected");
        c->at++;
    }
    return jtext_check_value(c, depth);
}

static int jtext_check_container(struct jtext_cursor *c, int depth)
{
    const bool is_object = *c->at++ == '{';
    const char close = is_object ? '}' : ']';
    int r;

    if (depth == JTEXT_DEPTH_MAX)
        return jtext_bad(c, "nested deeper than 64");
    jtext_skip_space(c);
    if (c->at < c->end && *c->at == close) {
        c->at++;
        return 0;
    }
    for (;;) {
        r = jtext_check_member(c, is_object, depth + 1);
        if (r)
            return r;
        jtext_skip_space(c);
        if (c->at < c->end && *c->at == close) {
            c->at++;
            return 0;
        }
        if (c->at == c->end || *c->at != ',')
            return jtext_bad(c, is_object ? "',' or '}' expected" : "',' or ']' expected");
        c->at++;
    }
}

static int jtext_check_value(struct jtext_cursor *c, int depth)
{
    jtext_skip_space(c);
    if (c->at == c->end)
        return jtext_bad(c, "value expected");
    switch (*c->at) {
    case '{':
    case '[':
        return jtext_check_container(c, depth);
    case '"':
        return jtext_check_string(c);
    case 't':
        return jtext_check_word(c, "true");
    case 'f':
        return jtext_check_word(c, "false");
    case 'n':
        return jtext_check_word(c, "null");
    default:
        return jtext_check_number(c);
    }
}

int jtext_check(const char *text, size_t n, struct fault *fault, struct jtext *ret_value)
{
    struct jtext_cursor c = {text, text, text + n, fault};
    const char *start;
    size_t n_valid = utf8_valid_prefix(text, n);
    int r;

    if (n_valid < n) {
        c.at += n_valid;
        return jtext_bad(&c, "not UTF-8");
    }
    jtext_skip_space(&c);
    start = c.at;
    r = jtext_check_value(&c, 0);
    if (r)
        return r;
    *ret_value = (struct jtext){start, (size_t)(c.at - start)};
    jtext_skip_space(&c);
    return c.at < c.end ? jtext_bad(&c, "more text behind the value") : JTEXT_OK;
}

/* walk: of text that was checked */

enum jtext_kind jtext_kind(struct jtext value)
{
    switch (value.s[0]) {
    case '{':
        return JTEXT_OBJECT;
    case '[':
        return JTEXT_ARRAY;
    case '"':
        return JTEXT_STRING;
    case 't':
        return JTEXT_TRUE;
    case 'f':
        return JTEXT_FALSE;
    case 'n':
        return JTEXT_NULL;
    default:
        return JTEXT_NUMBER;
    }
}

static const char *jtext_end_of_string(const char *s)
{
    for (s++; *s != '"'; s++)
        if (*s == '\\')
            s++;
    return s + 1;
}

static const char *jtext_end_of(const char *s, const char *end)
{
    int depth = 0;

    do {
        if (*s == '"') {
            s = jtext_end_of_string(s);
            continue;
        }
        depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
        s++;
    } while (depth > 0);
    /* a number or word goes on to the next mark; a string or container has ended */
    if (s[-1] == '"' || s[-1] == '}' || s[-1] == ']')
        return s;
    while (s < end && !strchr(",]} \t\r\n", *s))
        s++;
    return s;
}

static struct jtext jtext_take(struct jtext container, size_t *cursor)
{
    const char *end = container.s + container.n, *at = container.s + *cursor, *stop;

    while (strchr(" \t\r\n,:", *at))
        at++;
    stop = jtext_end_of(at, end);
    *cursor = (size_t)(stop - container.s);
    return (struct jtext){at, (size_t)(stop - at)};
}

bool jtext_next(struct jtext container, size_t *cursor, struct jtext *ret_key, struct jtext *ret_value)
{
    const char *at;

    if (!*cursor)
        *cursor = 1; /* behind the bracket */
    at = container.s + *cursor;
    while (strchr(" \t\r\n,", *at))
        at++;
    if (*at == ']' || *at == '}')
        return false;
    if (container.s[0] == '{')
        *ret_key = jtext_take(container, cursor);
    *ret_value = jtext_take(container, cursor);
    return true;
}

bool jtext_find(struct jtext object, const char *key, struct jtext *ret_value)
{
    const size_t n_key = strlen(key);
    struct jtext name, value;
    bool found = false;

    for (size_t cursor = 0; jtext_next(object, &cursor, &name, &value);) {
        char text[JTEXT_NAME_MAX];

        if (name.n > sizeof(text) || jtext_decode(name, text) != n_key || memcmp(text, key, n_key))
            continue;
        *ret_value = value;
        found = true;
    }
    return found;
}

static char jtext_unescape(char ch)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *p = strchr(from, ch);

    return p && ch ? to[p - from] : ch;
}

int jtext_decode_char(const char **s, char *text)
{
    uint32_t cp;

    if (**s != '\\') {
        *text = *(*s)++;
        return 1;
    }
    if ((*s)[1] != 'u') {
        *text = jtext_unescape((*s)[1]);
        *s += 2;
        return 1;
    }
    cp = (uint32_t)jtext_unit(*s + 2, 4);
    *s += 6;
    if (jtext_is_high((int)cp)) {
        cp = 0x10000 + ((cp - 0xd800) << 10) + ((uint32_t)jtext_unit(*s + 2, 4) - 0xdc00);
        *s += 6;
    }
    return utf8_put(cp, text);
}

size_t jtext_decode(struct jtext string, char *text)
{
    const char *s = string.s + 1, *end = string.s + string.n - 1;
    size_t n = 0;

    while (s < end)
        n += (size_t)jtext_decode_char(&s, text + n);
    return n;
}

/* members */

struct jtext_name { /* what a key stands for, and which member it belongs to */
    const char *s;
    size_t n, place;
};

static int jtext_compare_names(const void *a, const void *b)
{
    const struct jtext_name *x = a, *y = b;
    int order = memcmp(x->s, y->s, MIN(x->n, y->n));

    if (!order)
        order = (x->n > y->n) - (x->n < y->n);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Gives the first of equal names the last one's value and empties the others.  By sorting: an object of a
 * megabyte may have a hundred thousand members. */
static int jtext_unite(struct jtext_member *members, size_t n, size_t n_bytes)
{
    _cleanup_(freep) struct jtext_name *names = malloc(MAX(n, (size_t)1) * sizeof(*names));
    _cleanup_(freep) char *text = malloc(n_bytes + 1);
    size_t used = 0, first = 0;

    if (!names || !text)
        return err_origin(-ENOMEM);
    for (size_t i = 0; i < n; i++) {
        names[i] = (struct jtext_name){text + used, jtext_decode(members[i].key, text + used), i};
        used += names[i].n;
    }
    qsort(names, n, sizeof(*names), jtext_compare_names);
    for (size_t i = 1; i < n; i++) {
        if (names[i].n != names[first].n || memcmp(names[i].s, names[first].s, names[i].n)) {
            first = i;
            continue;
        }
        members[names[first].place].value = members[names[i].place].value;
        members[names[i].place].key.s = NULL;
    }
    return 0;
}

int jtext_members(struct jtext object, struct jtext_member **ret_members, size_t *ret_n)
{
    _cleanup_(freep) struct jtext_member *members = NULL;
    struct jtext_member m;
    size_t n = 0, kept = 0;
    int r;

    for (size_t cursor = 0; jtext_next(object, &cursor, &m.key, &m.value);)
        n++;
    members = malloc(MAX(n, (size_t)1) * sizeof(*members));
    if (!members)
        return err_origin(-ENOMEM);
    n = 0;
    for (size_t cursor = 0; jtext_next(object, &cursor, &m.key, &m.value);)
        members[n++] = m;
    r = n > 1 ? jtext_unite(members, n, object.n) : 0;
    if (r)
        return r;
    for (size_t i = 0; i < n; i++)
        if (members[i].key.s)
            members[kept++] = members[i];
    *ret_n = kept;
    *ret_members = steal(&members);
    return 0;
}
