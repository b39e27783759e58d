/* test_stop.c - stop strings: nothing of one is shown, and nothing is held longer than needed. */
#include "daemon/engine/stop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PUSH_MAX = 64 };

struct run {
    char text[512];
    int found;
};

/* Pushes text in pieces of n bytes and ends the stream. */
static struct run stop_run(char *const *strings, size_t n_strings, const char *text, size_t n)
{
    const size_t all = strlen(text);
    struct run out = {0};
    struct stop s;
    const char *shown;
    size_t n_shown;

    assert_int_equal(stop_init(&s, strings, n_strings, PUSH_MAX, NULL), 0);
    for (size_t i = 0; i < all; i += n) {
        stop_push(&s, text + i, MIN(n, all - i), &shown, &n_shown);
        strncat(out.text, shown, n_shown);
    }
    stop_flush(&s, &shown, &n_shown);
    if (n_shown)
        strncat(out.text, shown, n_shown);
    out.found = s.found;
    stop_deinit(&s);
    return out;
}

static void check(char *const *strings, size_t n_strings, const char *text, const char *want, int found)
{
    for (size_t n = 1; n <= MIN(strlen(text), (size_t)PUSH_MAX); n++) {
        const struct run r = stop_run(strings, n_strings, text, n);

        if (strcmp(r.text, want) || r.found != found)
            fail_msg("\"%s\" by %zu: \"%s\", stop %d", text, n, r.text, r.found);
    }
}

#define CHECK(text, want, found, ...)                                                                        \
    check((char *[]){__VA_ARGS__}, ARRAY_SIZE(((char *[]){__VA_ARGS__})), text, want, found)

static void test_stop_ends_before_the_string_however_it_is_cut(void **state)
{
    CHECK("one\n\ntwo", "one", 0, "\n\n");
    CHECK("END", "", 0, "END");
    CHECK("aaab", "a", 0, "aab");
    CHECK("ababac!", "ab", 0, "abac");
    CHECK("no stop here", "no stop here", -1, "STOP", "halt");
    CHECK("held to the end: STO", "held to the end: STO", -1, "STOP");
}

static void test_stop_of_several_takes_the_first_to_end_then_the_longest(void **state)
{
    CHECK("x abcd", "x a", 1, "abcd", "bc");
    CHECK("x abc", "x ", 1, "bc", "abc");
    CHECK("x abc", "x ", 0, "abc", "c");
}

static void test_stop_keeps_utf8_whole(void **state)
{
    char *const strings[] = {"\u00e9\u00e8"};
    struct stop s;
    const char *text;
    size_t n;

    assert_int_equal(stop_init(&s, strings, 1, PUSH_MAX, NULL), 0);
    stop_push(&s, "a\u00e9", 3, &text, &n); /* é may begin the stop string: both bytes stay */
    assert_int_equal(n, 1);
    stop_push(&s, "\u00ea", 2, &text, &n); /* shares its first byte with è */
    assert_int_equal(n, 4);
    assert_memory_equal(text, "\u00e9\u00ea", 4);
    stop_deinit(&s);
}

static void test_stop_holds_no_more_than_the_longest_prefix(void **state)
{
    char *const strings[] = {"Observation:"};
    struct stop s;
    const char *text;
    size_t n;

    assert_int_equal(stop_init(&s, strings, 1, PUSH_MAX, NULL), 0);
    stop_push(&s, "The Obs", 7, &text, &n);
    assert_int_equal(n, 4);
    stop_push(&s, "erver", 5, &text, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(text, "Observer", 8);
    stop_deinit(&s);
}

static void test_stop_of_the_longest_kind_works(void **state)
{
    char longest[STOP_BYTES_MAX + 1] = {0}, text[2 * STOP_BYTES_MAX] = {0};
    char *const strings[] = {longest};

    memset(longest, 'z', STOP_BYTES_MAX);
    memset(text, 'z', STOP_BYTES_MAX + 44);
    check(strings, 1, text, "", 0);
    text[STOP_BYTES_MAX - 1] = 0; /* one short */
    check(strings, 1, text, text, -1);
}

static void check_refused(char *const *strings, size_t n, const char *text)
{
    struct fault fault;
    struct stop s;

    assert_int_equal(stop_init(&s, strings, n, PUSH_MAX, &fault), STOP_E_INVALID);
    assert_string_equal(fault.text, text);
}

static void test_stop_init_refuses_what_is_out_of_bounds(void **state)
{
    char *const seventeen[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9",
                               "a", "b", "c", "d", "e", "f", "g", "h"},
                *const empty[] = {"a", ""};
    char longer[STOP_BYTES_MAX + 2] = {0};
    char *const too_long[] = {longer};

    memset(longer, 'z', sizeof(longer) - 1);
    check_refused(seventeen, 17, "17 stop strings, at most 16 are allowed");
    check_refused(empty, 2, "stop[1] is empty");
    check_refused(too_long, 1, "stop[0] has 257 bytes, at most 256 are allowed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_ends_before_the_string_however_it_is_cut),
        cmocka_unit_test(test_stop_of_several_takes_the_first_to_end_then_the_longest),
        cmocka_unit_test(test_stop_keeps_utf8_whole),
        cmocka_unit_test(test_stop_holds_no_more_than_the_longest_prefix),
        cmocka_unit_test(test_stop_of_the_longest_kind_works),
        cmocka_unit_test(test_stop_init_refuses_what_is_out_of_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
