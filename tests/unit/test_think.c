/* test_think.c - the border between reasoning and answer, for every way of cutting the text. */
#include "daemon/engine/think.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct parts {
    char reasoning[256], answer[256];
};

static void parts_add(struct parts *p, const struct think_run *run)
{
    strncat(run->answer ? p->answer : p->reasoning, run->s, run->n);
}

static void push(struct think *t, const char *s, size_t n, struct parts *p)
{
    struct think_run run;

    while (think_next(t, &s, &n, &run))
        parts_add(p, &run);
    assert_int_equal(n, 0);
}

/* Pushes text in pieces of n bytes, watching the text, and ends the stream. */
static struct parts split(const char *text, size_t n)
{
    struct parts p = {0};
    struct think_run run;
    struct think t;

    think_init(&t, true, true);
    for (size_t i = 0, all = strlen(text); i < all; i += n)
        push(&t, text + i, MIN(n, all - i), &p);
    if (think_flush(&t, &run))
        parts_add(&p, &run);
    return p;
}

static void check_split(const char *text, const char *reasoning, const char *answer)
{
    for (size_t n = 1; n <= strlen(text); n++) {
        const struct parts p = split(text, n);

        if (strcmp(p.reasoning, reasoning) || strcmp(p.answer, answer))
            fail_msg("\"%s\" by %zu: \"%s\" and \"%s\"", text, n, p.reasoning, p.answer);
    }
}

static void test_think_by_text_splits_however_it_is_cut(void **state)
{
    check_split("I see.\n</think>\n\nYes.", "I see.\n", "Yes.");
    check_split("</think>Yes.", "", "Yes.");
    check_split("a</think>\nb", "a", "b");
    check_split("a</think>\n\n\nb\n\n", "a", "\nb\n\n");
    check_split("a < b <</</think</</think> ok", "a < b <</</think</", " ok");
    check_split("a</think>x</think>\n\ny", "a", "x</think>\n\ny");
    check_split("a</think>\n\n", "a", "");
}

static void test_think_that_never_closes_is_all_reasoning(void **state)
{
    check_split("still thinking </thin", "still thinking </thin", "");
    check_split("<", "<", "");
}

static void test_think_close_by_token_leaves_the_letters_alone(void **state)
{
    struct parts p = {0};
    struct think t;

    think_init(&t, true, false);
    push(&t, "the mark is </think>\n\n so", 25, &p);
    think_close(&t);
    push(&t, "\n", 1, &p);
    push(&t, "\nHi", 3, &p);
    think_close(&t); /* a second one changes nothing */
    push(&t, "\n", 1, &p);
    assert_string_equal(p.reasoning, "the mark is </think>\n\n so");
    assert_string_equal(p.answer, "Hi\n");
}

static void test_think_off_answers_at_once(void **state)
{
    struct parts p = {0};
    struct think t;

    think_init(&t, false, true);
    push(&t, "\n\n<think></think>x", 18, &p);
    assert_string_equal(p.answer, "\n\n<think></think>x");
    assert_string_equal(p.reasoning, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_think_by_text_splits_however_it_is_cut),
        cmocka_unit_test(test_think_that_never_closes_is_all_reasoning),
        cmocka_unit_test(test_think_close_by_token_leaves_the_letters_alone),
        cmocka_unit_test(test_think_off_answers_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
