/* split.c - see split.h.  Each alternative is one function: the end of its match at i, or 0 for none. */
#include "split.h"

#include "unicode.h"
#include "utf8.h"

struct split_text {
    const char *s;
    size_t n;
};
struct split_char {
    uint32_t cp;
    int len;
    enum unicode_class class;
}; /* len 0: end of the text */

static struct split_char split_get(const struct split_text *t, size_t i)
{
    struct split_char c = {0};

    if (i < t->n) {
        c.cp = utf8_get(t->s + i, &c.len);
        c.class = unicode_class(c.cp);
    }
    return c;
}

static bool split_is_newline(struct split_char c)
{
    return c.cp == '\r' || c.cp == '\n';
}

static bool split_is_word(struct split_char c)
{
    return c.class == UNICODE_LETTER || c.class == UNICODE_MARK;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d).  U+017F, the long s, is the only letter that folds to one of these. */
static size_t split_contraction(const struct split_text *t, size_t i)
{
    struct split_char a, b;

    if (t->s[i] != '\'')
        return 0;
    a = split_get(t, i + 1);
    switch (a.cp | 0x20) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return a.cp < 0x80 ? i + 2 : 0;
    }
    if (a.cp == 0x17f)
        return i + 1 + (size_t)a.len;
    b = split_get(t, i + 1 + (size_t)a.len);
    switch ((a.cp | 0x20) << 8 | (b.cp | 0x20)) {
    case 'r' << 8 | 'e':
    case 'v' << 8 | 'e':
    case 'l' << 8 | 'l':
        return a.cp < 0x80 && b.cp < 0x80 ? i + 3 : 0;
    }
    return 0;
}

/* [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+ */
static size_t split_word(const struct split_text *t, size_t i)
{
    struct split_char c = split_get(t, i);
    struct split_char next = split_get(t, i + (size_t)c.len);
    bool leads =
        !split_is_newline(c) && c.class != UNICODE_LETTER && c.class != UNICODE_NUMBER && split_is_word(next);

    if (!leads && !split_is_word(c))
        return 0;
    i += (size_t)c.len;
    while (c = split_get(t, i), split_is_word(c))
        i += (size_t)c.len;
    return i;
}

/* \p{N} */
static size_t split_number(const struct split_text *t, size_t i)
{
    struct split_char c = split_get(t, i);

    return c.class == UNICODE_NUMBER ? i + (size_t)c.len : 0;
}

/*  ?[^\s\p{L}\p{M}\p{N}]+[\r\n]* */
static size_t split_symbols(const struct split_text *t, size_t i)
{
    struct split_char c;
    size_t first;

    if (t->s[i] == ' ')
        i++;
    first = i;
    while (c = split_get(t, i), c.len && c.class == UNICODE_OTHER)
        i += (size_t)c.len;
    if (i == first)
        return 0;
    while (i < t->n && (t->s[i] == '\r' || t->s[i] == '\n'))
        i++;
    return i;
}

/* \s*[\r\n]+ | \s+(?!\S) | \s+: up to the last line end of the white space; else without its last character,
 * which is left to what follows; else all of it.  Called at white space only. */
static size_t split_space(const struct split_text *t, size_t i)
{
    size_t newline = 0, last = i, first = i;
    struct split_char c;

    while (c = split_get(t, i), c.class == UNICODE_SPACE) {
        last = i;
        i += (size_t)c.len;
        if (split_is_newline(c))
            newline = i;
    }
    if (newline)
        return newline;
    return i < t->n && last > first ? last : i;
}

size_t split_next(const char *text, size_t n, size_t i)
{
    const struct split_text t = {text, n};
    size_t end = split_contraction(&t, i);

    if (!end)
        end = split_word(&t, i);
    if (!end)
        end = split_number(&t, i);
    if (!end)
        end = split_symbols(&t, i);
    if (!end)
        end = split_space(&t, i);
    return end;
}
