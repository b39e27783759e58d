/* eval_choice.c - which letter an answer to a multiple-choice question names.  See eval_score.h.
 *
 * The rules, first that finds a letter (docs/EVAL.md says them to people): \boxed{}; the last "answer is X"
 * or the like; the answer is nothing but a letter, or starts with one that is marked; the last marked letter;
 * the last capital that stands alone; the text of a choice. */
#include <string.h>

#include "eval_score.h"

enum {
    CHOICE_SEVERAL = -2,
    CHOICE_LETTERS_MIN = 5, /* A to E where nothing says how many choices there are */
    CHOICE_LEAD_MAX = 80, /* bytes between "answer" and the letter: "Answer: **the correct option is (B)**" */
};

struct choice {
    struct chat_str s;
    int n_letters;
};

/* 0..n_letters-1, or -1: no letter of a choice in either case at i. */
static int choice_letter(const struct choice *c, size_t i)
{
    const char letter = eval_lower(eval_at(c->s, i));

    return letter >= 'a' && letter < 'a' + c->n_letters ? letter - 'a' : -1;
}

static bool choice_stands_alone(const struct choice *c, size_t i)
{
    const char after = eval_at(c->s, i + 1);

    return !(i && eval_is_word(c->s.s[i - 1])) && !eval_is_word(after) && after != '\'';
}

static size_t choice_skip_spaces(const struct choice *c, size_t i)
{
    while (eval_is_space(eval_at(c->s, i)))
        i++;
    return i;
}

/* "a" and "A" may be the article, "i" and "I" the pronoun, and any small letter a variable: not where a word
 * follows. */
static bool choice_may_be_word(const struct choice *c, size_t i)
{
    const size_t next = choice_skip_spaces(c, i + 1);
    const char letter = c->s.s[i];

    return (letter == 'A' || letter == 'I' || letter >= 'a') && next > i + 1 &&
           eval_is_word(eval_at(c->s, next));
}

/* Behind it a mark of its own: "B)" "B." "B:" "B**" "B]", but not "B.x". */
static bool choice_is_marked(const struct choice *c, size_t i)
{
    const char after = eval_at(c->s, i + 1);

    if (after == '.' || after == ':')
        return !eval_is_word(eval_at(c->s, i + 2));
    return after == ')' || after == ']' || (after == '*' && i && c->s.s[i - 1] == '*');
}

/* \boxed{}, with or without \text{} and brackets inside.  CHOICE_SEVERAL: two letters, none was chosen. */
static int choice_boxed(const struct choice *c)
{
    struct choice box = *c;
    int found = -1;

    if (!eval_math_boxed(c->s, &box.s))
        return -1;
    for (size_t i = 0; i < box.s.n; i++) {
        if (choice_letter(&box, i) < 0 || !choice_stands_alone(&box, i) || (i && box.s.s[i - 1] == '\\'))
            continue;
        if (found >= 0)
            return CHOICE_SEVERAL;
        found = choice_letter(&box, i);
    }
    return found;
}

static bool choice_is_mark(char ch, const char *marks)
{
    return eval_is_space(ch) || (ch && strchr(marks, ch));
}

/* Behind "answer": the words and marks that may stand before the letter. */
static size_t choice_skip_lead(const struct choice *c, size_t i)
{
    static const char *const words[] = {"is",      "was",    "be",       "would",  "should",
                                        "must",    "letter", "option",   "choice", "answer",
                                        "correct", "the",    "therefore"};

    const size_t end = MIN(c->s.n, i + CHOICE_LEAD_MAX);

    for (size_t before = c->s.n; before != i && i < end;) {
        before = i;
        while (i < end && choice_is_mark(c->s.s[i], "*_`(\"'$[{:="))
            i++;
        for (size_t k = 0; k < ARRAY_SIZE(words); k++)
            if (eval_has_at_fold(c->s, i, words[k]) && !eval_is_word(eval_at(c->s, i + strlen(words[k]))))
                i += strlen(words[k]);
    }
    return i;
}

static int choice_said(const struct choice *c)
{
    static const char *const leads[] = {"answer", "option", "choice"};
    int found = -1;

    for (size_t i = 0; i < c->s.n; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(leads); k++) {
            const size_t end = i + strlen(leads[k]);
            size_t at;

            if (!eval_has_at_fold(c->s, i, leads[k]) || (i && eval_is_word(c->s.s[i - 1])))
                continue;
            at = choice_skip_lead(c, end);
            if (at > end && choice_letter(c, at) >= 0 && choice_stands_alone(c, at) &&
                (!choice_may_be_word(c, at) || choice_is_marked(c, at)))
                found = choice_letter(c, at);
        }
    }
    return found;
}

/* "B", "(b)", "**B**", and "B) because ..." */
static int choice_first(const struct choice *c)
{
    size_t i = 0, end;

    while (i < c->s.n && choice_is_mark(c->s.s[i], "*_`(\"'["))
        i++;
    if (choice_letter(c, i) < 0 || !choice_stands_alone(c, i))
        return -1;
    for (end = i + 1; end < c->s.n && choice_is_mark(c->s.s[end], "*_`).\"']:");)
        end++;
    return end == c->s.n || choice_is_marked(c, i) ? choice_letter(c, i) : -1;
}

static int choice_last(const struct choice *c, bool marked)
{
    for (size_t i = c->s.n; i-- > 0;) {
        if (choice_letter(c, i) < 0 || !choice_stands_alone(c, i))
            continue;
        if (marked ? choice_is_marked(c, i) : c->s.s[i] < 'a' && !choice_may_be_word(c, i))
            return choice_letter(c, i);
    }
    return -1;
}

static int choice_by_text(const struct choice *c, const json_t *choices)
{
    for (size_t i = 0; i < json_array_size(choices); i++)
        if (eval_equal_fold(eval_trim(c->s), eval_trim(eval_json_str(json_array_get(choices, i)))))
            return (int)i;
    return -1;
}

int eval_choice_count(const struct eval_goal *goal)
{
    const int right = json_string_value(goal->answer)[0] - 'A', n = (int)json_array_size(goal->choices);

    return n ? n : MAX(CHOICE_LETTERS_MIN, right + 1);
}

int eval_score_choice(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict)
{
    const int right = json_string_value(goal->answer)[0] - 'A';
    const struct choice c = {answer, eval_choice_count(goal)};
    int found = choice_by_text(&c, goal->choices);

    if (found == -1)
        found = choice_boxed(&c);
    if (found == -1)
        found = choice_said(&c);
    if (found == -1)
        found = choice_first(&c);
    if (found == -1)
        found = choice_last(&c, true);
    if (found == -1)
        found = choice_last(&c, false);
    verdict->right = found == right;
    eval_got(verdict,
             found < 0 ? eval_str("no letter") : (struct chat_str){(char[]){(char)('A' + found)}, 1});
    return 0;
}
