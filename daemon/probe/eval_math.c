/* eval_math.c - answers in LaTeX, brought to one spelling, and compared.  See eval_score.h.
 *
 * A rewriting of spellings, no algebra: 1/2, \frac{1}{2}, \dfrac12 and 0.5 are equal, x+1 and 1+x are not.
 * docs/EVAL.md lists the rules for people; the conventions are those of the MATH data set (Hendrycks et al.,
 * "Measuring Mathematical Problem Solving With the MATH Dataset", 2021): answers in \boxed{}, units and
 * degree signs without meaning. */
#include <stdio.h>
#include <string.h>

#include "daemon/model/unicode.h"
#include "eval_score.h"

struct math {
    struct chat_str s;
    size_t i;
    struct unicode_text out; /* in owned memory */
    int r;                   /* -ENOMEM, once */
};

static void math_put(struct math *m, struct chat_str s)
{
    if (!m->r)
        m->r = unicode_text_append(&m->out, s.s, s.n);
}

static struct chat_str math_out(const struct math *m)
{
    return (struct chat_str){m->out.s, m->out.n};
}

/* names */

struct math_name {
    const char *from, *to; /* to: "" nothing is written */
};

static const char *math_find(const struct math_name *names, size_t n, struct chat_str name)
{
    for (size_t i = 0; i < n; i++)
        if (eval_equal(name, eval_str(names[i].from)))
            return names[i].to;
    return NULL;
}

/* Commands without arguments that have another spelling. */
static const struct math_name math_commands[] = {
    {"left", ""},         {"right", ""},          {"big", ""},
    {"Big", ""},          {"bigl", ""},           {"bigr", ""},
    {"Bigl", ""},         {"Bigr", ""},           {"bigg", ""},
    {"Bigg", ""},         {"quad", ""},           {"qquad", ""},
    {"displaystyle", ""}, {"textstyle", ""},      {"degree", ""},
    {"circ", "\\circ"},   {"cdot", "*"},          {"times", "*"},
    {"ast", "*"},         {"div", "/"},           {"leq", "\\le"},
    {"leqslant", "\\le"}, {"geq", "\\ge"},        {"geqslant", "\\ge"},
    {"neq", "\\ne"},      {"lbrace", "\\{"},      {"rbrace", "\\}"},
    {"lbrack", "["},      {"rbrack", "]"},        {"lvert", "|"},
    {"rvert", "|"},       {"vert", "|"},          {"colon", ":"},
    {"to", "\\to"},       {"rightarrow", "\\to"},
};
static const struct math_name math_fractions[] = {{"frac", ""}, {"dfrac", ""}, {"tfrac", ""}, {"cfrac", ""}};
/* Commands whose argument counts and not the way it is set. */
static const struct math_name math_fonts[] = {
    {"text", ""},   {"textbf", ""}, {"textit", ""}, {"textrm", ""},       {"mathrm", ""}, {"mathbf", ""},
    {"mathit", ""}, {"mathsf", ""}, {"mbox", ""},   {"operatorname", ""}, {"boxed", ""},  {"fbox", ""},
};
/* Characters beyond ASCII, and one or two within. */
static const struct math_name math_characters[] = {
    {"\xe2\x88\x92", "-"}, /* U+2212 minus */
    {"\xe2\x80\x93", "-"}, /* U+2013 en dash */
    {"\xc2\xb0", ""},      /* degree sign */
    {"\xc2\xa0", ""},      /* no-break space */
    {"\xe2\x80\x89", ""},  /* thin space */
    {"\xe2\x80\xaf", ""},  /* narrow no-break space */
    {"\xc3\x97", "*"},     /* multiplication sign */
    {"\xc2\xb7", "*"},     /* middle dot */
    {"\xe2\x8b\x85", "*"}, /* dot operator */
    {"\xc3\xb7", "/"},     /* division sign */
    {"\xcf\x80", "\\pi"},
    {"\xe2\x88\x9e", "\\infty"},
    {"\xe2\x89\xa4", "\\le"},
    {"\xe2\x89\xa5", "\\ge"},
    {"\xe2\x89\xa0", "\\ne"},
    {"\xc2\xb1", "\\pm"},
    {"$", ""},
    {"~", ""},
    {"%", ""},
};

/* arguments */

static void math_run(struct math *m, char end);

static void math_skip_spaces(struct math *m)
{
    while (eval_is_space(eval_at(m->s, m->i)))
        m->i++;
}

/* One argument, {…} or a single character or command, written; returns where it begins in the output. */
static size_t math_argument(struct math *m)
{
    const size_t begin = m->out.n, from = m->i;

    math_skip_spaces(m);
    if (eval_at(m->s, m->i) == '{') {
        m->i++;
        math_run(m, '}');
    } else if (m->i < m->s.n && m->s.s[m->i] != '}') {
        const size_t n = m->s.n;
        size_t stop = m->i + 1;

        if (m->s.s[m->i] == '\\') {
            while (eval_is_letter(eval_at(m->s, stop)))
                stop++;
            stop += stop == m->i + 1 && stop < n; /* \% and the like */
        }
        while (stop < n && ((uint8_t)m->s.s[stop] & 0xc0) == 0x80)
            stop++;
        m->s.n = stop;
        math_run(m, '\0');
        m->s.n = n;
    }
    if (m->i == from && m->i < m->s.n && m->s.s[m->i] != '}')
        m->i++;
    return begin;
}

/* Whether any of the marks stands outside of brackets, the first byte apart (a sign). */
static bool math_has_outside(struct chat_str s, const char *marks)
{
    int depth = 0;

    for (size_t i = 0; i < s.n; i++) {
        const char c = s.s[i];

        depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
        if (i && depth <= 0 && c && strchr(marks, c))
            return true;
    }
    return false;
}

static bool math_is_bracketed(struct chat_str s)
{
    int depth = 0;

    for (size_t i = 0; i < s.n; i++) {
        depth += (s.s[i] == '(') - (s.s[i] == ')');
        if (!depth)
            return i + 1 == s.n && i > 0;
    }
    return false;
}

/* A denominator needs no brackets if it is a number, one letter, one command, a power of one letter. */
static bool math_is_factor(struct chat_str s)
{
    if (s.n <= 1 || s.s[1] == '^' || math_is_bracketed(s) || (s.s[0] == '\\' && eval_find(s, 1, "\\") == s.n))
        return true;
    for (size_t i = 0; i < s.n; i++)
        if (!eval_is_digit(s.s[i]) && s.s[i] != '.')
            return false;
    return true;
}

/* Whether a part of a fraction is written with a slash as it is: (x+1)/2, 1/(2x). */
static bool math_is_atom(struct chat_str s, bool is_denominator)
{
    return !math_has_outside(s, is_denominator ? "+-/,=*" : "+-/,=") &&
           (!is_denominator || math_is_factor(s));
}

/* Puts brackets around what was written since begin. */
static void math_bracket(struct math *m, size_t begin)
{
    math_put(m, eval_str("()"));
    if (m->r)
        return;
    memmove(m->out.s + begin + 1, m->out.s + begin, m->out.n - 2 - begin);
    m->out.s[begin] = '(';
}

static void math_part(struct math *m, bool is_denominator)
{
    const size_t begin = math_argument(m);

    if (!m->r && !math_is_atom((struct chat_str){m->out.s + begin, m->out.n - begin}, is_denominator))
        math_bracket(m, begin);
}

static void math_fraction(struct math *m)
{
    if (m->out.n && eval_is_digit(m->out.s[m->out.n - 1]))
        math_put(m, eval_str(EVAL_MATH_MIXED));
    math_part(m, false);
    math_put(m, eval_str("/"));
    math_part(m, true);
}

/* \text{ cm} behind a value is a unit and dropped. */
static void math_font(struct math *m, size_t command)
{
    const bool spaced = (command && eval_is_space(m->s.s[command - 1])) || eval_at(m->s, m->i + 1) == ' ';
    const bool is_unit = spaced && m->out.n && eval_at(m->s, m->i) == '{';
    const size_t begin = math_argument(m);

    if (!is_unit)
        return;
    m->out.n = begin;
    if (eval_at(m->s, m->i) == '^') { /* cm^2 */
        m->i++;
        math_argument(m);
        m->out.n = begin;
    }
}

static void math_root(struct math *m)
{
    math_put(m, eval_str("\\sqrt"));
    math_skip_spaces(m);
    if (eval_at(m->s, m->i) == '[') {
        math_put(m, eval_str("["));
        m->i++;
        math_run(m, ']');
        math_put(m, eval_str("]"));
    }
    math_put(m, eval_str("{"));
    math_argument(m);
    math_put(m, eval_str("}"));
}

/* ^ or _: braces only around more than one character; ^\circ is a degree sign. */
static void math_script(struct math *m, const char *mark)
{
    const size_t before = m->out.n;
    size_t begin;
    struct chat_str script;

    math_put(m, eval_str(mark));
    math_put(m, eval_str("{"));
    begin = math_argument(m);
    if (m->r)
        return;
    script = (struct chat_str){m->out.s + begin, m->out.n - begin};
    if (eval_equal(script, eval_str("\\circ")) || !script.n) {
        m->out.n = before;
    } else if (script.n == 1) {
        m->out.s[begin - 1] = script.s[0];
        m->out.n--;
    } else {
        math_put(m, eval_str("}"));
    }
}

/* text */

static void math_symbol(struct math *m)
{
    const char c = eval_at(m->s, m->i);

    if (m->i < m->s.n)
        m->i++;
    if (c == '{' || c == '}' || c == '\\' || c == '|') /* the others are spaces, or $ % ( ) [ ] */
        math_put(m, (struct chat_str){(char[]){'\\', c}, 2});
}

static void math_command(struct math *m)
{
    const size_t command = m->i++, begin = m->i;
    struct chat_str name;
    const char *to;

    while (eval_is_letter(eval_at(m->s, m->i)))
        m->i++;
    name = (struct chat_str){m->s.s + begin, m->i - begin};
    if (!name.n)
        math_symbol(m);
    else if (math_find(math_fractions, ARRAY_SIZE(math_fractions), name))
        math_fraction(m);
    else if (math_find(math_fonts, ARRAY_SIZE(math_fonts), name))
        math_font(m, command);
    else if (eval_equal(name, eval_str("sqrt")))
        math_root(m);
    else if ((to = math_find(math_commands, ARRAY_SIZE(math_commands), name)))
        math_put(m, eval_str(to));
    else
        math_put(m, (struct chat_str){m->s.s + command, m->i - command});
}

static void math_character(struct math *m)
{
    for (size_t k = 0; k < ARRAY_SIZE(math_characters); k++) {
        if (!eval_has_at(m->s, m->i, math_characters[k].from))
            continue;
        math_put(m, eval_str(math_characters[k].to));
        m->i += strlen(math_characters[k].from);
        return;
    }
    math_put(m, m->s.s[m->i] ? (struct chat_str){m->s.s + m->i, 1} : eval_str("?")); /* never a NUL */
    m->i++;
}

/* Up to the end mark, which is taken, or to the end of the text.  Recursion is bounded by EVAL_MATH_BYTES. */
static void math_run(struct math *m, char end)
{
    while (m->i < m->s.n && !m->r) {
        const char c = m->s.s[m->i];

        if (end && c == end) {
            m->i++;
            return;
        }
        if (c == '\\') {
            math_command(m);
        } else if (c == '^' || c == '_') {
            m->i++;
            math_script(m, c == '^' ? "^" : "_");
        } else if (c == '{') {
            m->i++;
            math_run(m, '}');
        } else if (c == '}' || eval_is_space(c)) {
            m->i++;
        } else {
            math_character(m);
        }
    }
}

/* the whole */

/* "x=5" and "f(x)=5" hold 5: what stands before the only equals sign is dropped if it is short. */
static struct chat_str math_right_side(struct chat_str s)
{
    enum { NAME_MAX_BYTES = 4 };
    const size_t at = eval_find(s, 0, "=");

    if (at == s.n || !at || at > NAME_MAX_BYTES || !eval_is_letter(s.s[0]) ||
        eval_find(s, at + 1, "=") != s.n)
        return s;
    return (struct chat_str){s.s + at + 1, s.n - at - 1};
}

static struct chat_str math_strip(struct chat_str s)
{
    s = math_right_side(s);
    while (s.n && strchr(".,;:", s.s[s.n - 1]) && s.s[s.n - 1])
        s.n--;
    if (s.n > 1 && s.s[0] == '+')
        s = (struct chat_str){s.s + 1, s.n - 1};
    if (s.n == 3 && s.s[0] == '(' && eval_is_letter(s.s[1]) && s.s[2] == ')') /* (C): a choice */
        s = (struct chat_str){s.s + 1, 1};
    return s;
}

/* As a string: without NUL bytes. */
static char *math_copy(struct chat_str s)
{
    char *text = malloc(s.n + 1);

    for (size_t i = 0; text && i < s.n; i++)
        text[i] = s.s[i] ? s.s[i] : '?';
    if (text)
        text[s.n] = '\0';
    return text;
}

char *eval_math_normalise(struct chat_str latex)
{
    struct math m = {.s = eval_trim(latex)};
    char *text;

    if (m.s.n > EVAL_MATH_BYTES)
        return math_copy(m.s);
    math_put(&m, eval_str(" ")); /* so that there is a buffer to point into, also while it is empty */
    m.out.n = 0;
    math_run(&m, '\0');
    text = m.r ? NULL : math_copy(math_strip(math_out(&m)));
    unicode_text_deinit(&m.out);
    return text;
}
