/* eval_number.c - the last number of an answer, and numbers compared as decimals.  See eval_text.h.
 *
 * Digits are never turned into floating point: 12345678901234567890 and its neighbour differ, 0.1 is 0.10. */
#include "eval_text.h"

#include <stdio.h>
#include <string.h>

static const char number_minus[] = "\xe2\x88\x92"; /* U+2212 */

/* Bytes of a mark between groups of three digits at i: a comma (in LaTeX {,}), a no-break or thin space. */
static size_t number_separator(struct chat_str s, size_t i)
{
    static const char *const marks[] = {",", "{,}", "\xc2\xa0", "\xe2\x80\x89", "\xe2\x80\xaf"};

    for (size_t k = 0; k < ARRAY_SIZE(marks); k++)
        if (eval_has_at(s, i, marks[k]))
            return strlen(marks[k]);
    return 0;
}

static size_t number_skip_digits(struct chat_str s, size_t i)
{
    while (eval_is_digit(eval_at(s, i)))
        i++;
    return i;
}

/* 1,234,567: after one to three digits, groups of exactly three. */
static size_t number_skip_groups(struct chat_str s, size_t i)
{
    for (size_t mark; (mark = number_separator(s, i)) && number_skip_digits(s, i + mark) == i + mark + 3;)
        i += mark + 3;
    return i;
}

/* e+10, if no letter follows: "2e" is two of something. */
static size_t number_skip_exponent(struct chat_str s, size_t i)
{
    size_t digits = i + 1, end;

    if (eval_lower(eval_at(s, i)) != 'e')
        return i;
    if (eval_at(s, digits) == '+' || eval_at(s, digits) == '-')
        digits++;
    end = number_skip_digits(s, digits);
    return end == digits || eval_is_word(eval_at(s, end)) ? i : end;
}

static size_t number_end(struct chat_str s, size_t begin)
{
    size_t i = number_skip_digits(s, begin);

    if (i > begin && i - begin <= 3)
        i = number_skip_groups(s, i);
    if (eval_at(s, i) == '.' && eval_is_digit(eval_at(s, i + 1)))
        i = number_skip_digits(s, i + 1);
    return number_skip_exponent(s, i);
}

/* Where the number whose digits begin at i begins: at its minus, if that is one and not between two things.
 * A dollar sign may stand between them. */
static size_t number_sign(struct chat_str s, size_t i)
{
    const size_t digits = i;
    size_t n = 0;

    if (i && s.s[i - 1] == '$')
        i--;
    if (i && s.s[i - 1] == '-')
        n = 1;
    else if (i >= 3 && !memcmp(s.s + i - 3, number_minus, 3))
        n = 3;
    if (!n || (i > n && (eval_is_word(s.s[i - n - 1]) || s.s[i - n - 1] == ')')))
        return digits;
    return i - n;
}

/* Digits behind a letter (H2, x1), an underscore or a ^ are no number of their own. */
static bool number_is_part(struct chat_str s, size_t i)
{
    const char before = i ? s.s[i - 1] : ' ';

    return eval_is_letter(before) || before == '_' || before == '^' ||
           (before == '{' && i > 1 && (s.s[i - 2] == '^' || s.s[i - 2] == '_'));
}

static bool number_starts(struct chat_str s, size_t i)
{
    return eval_is_digit(s.s[i]) ||
           (s.s[i] == '.' && eval_is_digit(eval_at(s, i + 1)) && !(i && eval_is_digit(s.s[i - 1])));
}

bool eval_number_last(struct chat_str s, struct chat_str *ret_number)
{
    bool found = false;

    for (size_t i = 0, end; i < s.n; i = end) {
        end = i + 1;
        if (!number_starts(s, i))
            continue;
        end = number_end(s, i);
        if (number_is_part(s, i))
            continue;
        const size_t begin = number_sign(s, i);
        *ret_number = (struct chat_str){s.s + begin, end - begin};
        found = true;
    }
    return found;
}

/* canonical text */

struct number {
    bool negative, point;
    char *digits; /* without leading zeros */
    size_t n;
    long exponent;
};

/* Beyond it an exponent is only "huge": equal huge ones stay equal, and sums stay inside a long. */
enum { NUMBER_EXPONENT_MAX = 1000000000 };

static long number_exponent(struct chat_str s, size_t i)
{
    const bool negative = eval_at(s, i) == '-';
    long value = 0;

    if (negative || eval_at(s, i) == '+')
        i++;
    for (; i < s.n; i++)
        value = MIN(value * 10 + (s.s[i] - '0'), (long)NUMBER_EXPONENT_MAX);
    return negative ? -value : value;
}

static void number_read(struct chat_str s, struct number *num)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.s[i];

        if (eval_lower(c) == 'e') {
            num->exponent += number_exponent(s, i + 1);
            return;
        }
        num->negative |= c == '-' || eval_has_at(s, i, number_minus);
        num->point |= c == '.';
        if (!eval_is_digit(c))
            continue;
        num->exponent -= num->point;
        if (num->n || c != '0')
            num->digits[num->n++] = c;
    }
}

char *eval_number_canon(struct chat_str s)
{
    struct number num = {.digits = malloc(s.n + 1)};
    char *text = NULL;

    if (!num.digits)
        return NULL;
    number_read(s, &num);
    while (num.n && num.digits[num.n - 1] == '0') {
        num.n--;
        num.exponent++;
    }
    num.exponent = CLAMP(num.exponent, -(long)NUMBER_EXPONENT_MAX, (long)NUMBER_EXPONENT_MAX);
    if (asprintf(&text, "%s%.*se%ld", num.negative && num.n ? "-" : "", (int)num.n, num.digits,
                 num.n ? num.exponent : 0) < 0)
        text = NULL;
    free(num.digits);
    return text;
}
