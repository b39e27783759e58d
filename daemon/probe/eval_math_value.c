/* eval_math_value.c - where an answer in LaTeX is, and whether two normalised ones are equal.  See
 * eval_score.h. */
#include <string.h>

#include "eval_score.h"

/* boxes */

/* The brace at i, if there is one that LaTeX would count: "\\{" is a character. */
static char math_brace(struct chat_str s, size_t i)
{
    return (s.s[i] == '{' || s.s[i] == '}') && !(i && s.s[i - 1] == '\\') ? s.s[i] : '\0';
}

/* Where the group that begins at i ends; s.n: it does not. */
static size_t math_group_end(struct chat_str s, size_t i)
{
    for (size_t depth = 1; i < s.n; i++) {
        depth += (size_t)(math_brace(s, i) == '{') - (size_t)(math_brace(s, i) == '}');
        if (!depth)
            break;
    }
    return i;
}

/* Of the groups that have an end the one that begins last.  From the end, in one pass: excess is by how much
 * the closing braces behind i can at most outnumber the opening ones, so a group that begins at i has an end
 * where it is positive. */
bool eval_math_boxed(struct chat_str s, struct chat_str *ret_content)
{
    static const char mark[] = "\\boxed{";
    long excess = 0;

    for (size_t i = s.n; i-- > 0;) {
        if (math_brace(s, i) == '{' && excess > 0 && i + 1 >= sizeof(mark) - 1 &&
            eval_has_at(s, i + 2 - sizeof(mark), mark)) {
            *ret_content = (struct chat_str){s.s + i + 1, math_group_end(s, i + 1) - i - 1};
            return true;
        }
        if (math_brace(s, i))
            excess = (math_brace(s, i) == '}' ? 1 : -1) + MAX(excess, 0l);
    }
    return false;
}

/* values */

struct math_value {
    __int128 top, bottom; /* bottom > 0 */
};

/* Nine digits on either side of the point, so that four of their products fit 128 bits. */
enum { MATH_DIGITS = 9 };

static bool math_decimal(struct chat_str s, size_t *i, struct math_value *ret_value)
{
    struct math_value v = {0, 1};
    size_t n[2] = {0}; /* digits before and behind the point */
    bool point = false;

    for (;; (*i)++) {
        const char c = eval_at(s, *i);

        if (c == '.' && !point && eval_is_digit(eval_at(s, *i + 1))) {
            point = true;
            continue;
        }
        if (!eval_is_digit(c))
            break;
        if (n[point]++ == MATH_DIGITS)
            return false;
        v.top = v.top * 10 + (c - '0');
        v.bottom *= point ? 10 : 1;
    }
    if (n[0] + n[1] == 0)
        return false;
    *ret_value = v;
    return true;
}

/* [-]DECIMAL, [-]DECIMAL/DECIMAL, [-]DECIMAL~DECIMAL/DECIMAL */
static bool math_value(struct chat_str s, struct math_value *ret_value)
{
    const bool negative = eval_at(s, 0) == '-';
    struct math_value whole = {0, 1}, top, bottom = {1, 1};
    size_t i = negative;

    if (!math_decimal(s, &i, &top))
        return false;
    if (eval_at(s, i) == EVAL_MATH_MIXED[0]) {
        whole = top;
        i++;
        if (!math_decimal(s, &i, &top))
            return false;
    }
    if (eval_at(s, i) == '/') {
        i++;
        if (!math_decimal(s, &i, &bottom) || !bottom.top)
            return false;
    }
    if (i != s.n)
        return false;
    /* whole is an integer where there is one: w + (a/b)/(c/d) = (w b c + a d) / (b c) */
    if (whole.bottom != 1 || (whole.top && (top.bottom != 1 || bottom.bottom != 1)))
        return false;
    *ret_value = (struct math_value){whole.top * top.bottom * bottom.top + top.top * bottom.bottom,
                                     top.bottom * bottom.top};
    if (negative)
        ret_value->top = -ret_value->top;
    return true;
}

/* One number and nothing else, however long and with commas: compared as a decimal. */
static bool math_is_number(struct chat_str s, struct chat_str *ret_number)
{
    return eval_number_last(s, ret_number) && eval_equal(s, *ret_number);
}

static int math_equal_numbers(struct chat_str a, struct chat_str b, bool *ret_equal)
{
    _cleanup_(freep) char *x = eval_number_canon(a), *y = eval_number_canon(b);

    if (!x || !y)
        return err_origin(-ENOMEM);
    *ret_equal = !strcmp(x, y);
    return 0;
}

static int math_equal(struct chat_str a, struct chat_str b, bool *ret_equal)
{
    struct math_value x, y;
    struct chat_str p, q;

    *ret_equal = eval_equal(a, b);
    if (*ret_equal)
        return 0;
    if (math_is_number(a, &p) && math_is_number(b, &q))
        return math_equal_numbers(p, q, ret_equal);
    if (math_value(a, &x) && math_value(b, &y))
        *ret_equal = x.top * y.bottom == y.top * x.bottom;
    return 0;
}

int eval_score_math(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict)
{
    _cleanup_(freep) char *got = NULL, *want = NULL;
    struct chat_str found;

    if (!eval_math_boxed(answer, &found) && !eval_number_last(answer, &found)) {
        eval_got(verdict, eval_str("no \\boxed{} and no number"));
        return 0;
    }
    got = eval_math_normalise(found);
    want = eval_math_normalise(eval_json_str(goal->answer));
    if (!got || !want)
        return err_origin(-ENOMEM);
    eval_got(verdict, found);
    return math_equal(eval_str(got), eval_str(want), &verdict->right);
}
