/* test_jtext.c - JSON text checked, walked, and printed as Python prints it.  Expected texts are
 * Python 3.11's own. */
#include "daemon/model/jtext.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct sink {
    char s[4096];
    size_t n;
};

static int sink_put(void *user, const char *s, size_t n)
{
    struct sink *sink = user;

    assert_true(sink->n + n < sizeof(sink->s));
    memcpy(sink->s + sink->n, s, n);
    sink->n += n;
    sink->s[sink->n] = '\0';
    return 0;
}

static struct jtext check(const char *text)
{
    struct fault fault = {0};
    struct jtext value = {0};

    if (jtext_check(text, strlen(text), &fault, &value))
        fail_msg("%s: %s", text, fault.text);
    return value;
}

static void test_print_equals_python(void **state)
{
    static const struct {
        const char *in, *dumps, *str; /* str NULL: as dumps */
    } cases[] = {
        {" { \"b\" : 1 ,\t\"a\":[ ] } ", "{\"b\": 1, \"a\": []}", NULL},
        {"[1,[2,{}],\"x\"]", "[1, [2, {}], \"x\"]", NULL},
        {"true", "true", "True"},
        {"false", "false", "False"},
        {"null", "null", "None"},
        {"[true,null]", "[true, null]", NULL},
        {"123456789012345678901234567890", "123456789012345678901234567890", NULL},
        {"-0", "0", NULL},
        {"-0.0", "-0.0", NULL},
        {"1e5", "100000.0", NULL},
        {"1E+16", "1e+16", NULL},
        {"123456789.0", "123456789.0", NULL},
        {"0.0001", "0.0001", NULL},
        {"0.00001", "1e-05", NULL},
        {"1e22", "1e+22", NULL},
        {"0.1", "0.1", NULL},
        {"0.30000000000000004", "0.30000000000000004", NULL},
        {"4.94e-324", "5e-324", NULL},
        {"2.2250738585072014e-308", "2.2250738585072014e-308", NULL},
        {"1e400", "Infinity", "inf"},
        {"-1e400", "-Infinity", "-inf"},
        {"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u007f\\u00e9\"",
         "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\xc3\xa9\"", "a\"\\/\b\f\n\r\t\x01\x7f\xc3\xa9"},
        {"\"\\ud83d\\udc4d \\u2028\"", "\"\xf0\x9f\x91\x8d \xe2\x80\xa8\"", "\xf0\x9f\x91\x8d \xe2\x80\xa8"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sink dumps = {.n = 0}, str = {.n = 0};
        struct jtext value = check(cases[i].in);

        assert_int_equal(jtext_print(value, sink_put, &dumps), 0);
        assert_int_equal(jtext_print_str(value, sink_put, &str), 0);
        assert_string_equal(dumps.s, cases[i].dumps);
        assert_string_equal(str.s, cases[i].str ? cases[i].str : cases[i].dumps);
    }
}

/* Powers of two: below them doubles lie twice as close, so that the nearest short decimal may not read back.
 */
static void test_print_finds_the_shortest_digits_of_powers_of_two(void **state)
{
    static const char *const shortest[] = {
        "6.256509672447191e-148",  "5.896816288783659e+166", "7.678447687145631e-239",
        "5.986310706507379e+51",   "9007199254740992.0",     "1.1754943508222875e-38",
        "1.7976931348623157e+308",
    };

    for (size_t i = 0; i < ARRAY_SIZE(shortest); i++) {
        struct sink sink = {.n = 0};
        char exact[64];

        snprintf(exact, sizeof(exact), "%.25e", strtod(shortest[i], NULL));
        assert_int_equal(jtext_print(check(exact), sink_put, &sink), 0);
        assert_string_equal(sink.s, shortest[i]);
    }
}

static void test_print_reads_numbers_of_any_length(void **state)
{
    char text[2000];
    struct sink sink = {.n = 0};

    memset(text, '0', sizeof(text));
    memcpy(text, "0.", 2);
    memcpy(text + 1000, "25e1001", 8); /* 998 zeros before the 25 */
    assert_int_equal(jtext_print(check(text), sink_put, &sink), 0);
    assert_string_equal(sink.s, "250.0");
}

static void test_print_keeps_the_last_of_equal_names_in_the_first_place(void **state)
{
    static const char text[] = "{\"b\":1,\"a\":{\"x\":1,\"x\":2},\"b\":2,\"\\u0061\":3,\"ab\":4,\"b\":5}";
    struct jtext_member *members;
    struct sink sink = {.n = 0};
    struct jtext found;
    size_t n;

    assert_int_equal(jtext_print(check(text), sink_put, &sink), 0);
    assert_string_equal(sink.s, "{\"b\": 5, \"a\": 3, \"ab\": 4}");
    assert_int_equal(jtext_members(check(text), &members, &n), 0);
    assert_int_equal(n, 3);
    free(members);
    assert_true(jtext_find(check(text), "a", &found));
    assert_memory_equal(found.s, "3", 1);
    assert_false(jtext_find(check(text), "c", &found));
}

static void test_find_knows_a_name_by_any_spelling(void **state)
{
    static const char name[] = "add_generation_prompt";
    char text[200] = "{\"";
    struct jtext found;

    for (const char *p = name; *p; p++)
        snprintf(text + strlen(text), 7, "\\u%04x", (uint8_t)*p);
    strcat(text, "\":7}");
    assert_true(jtext_find(check(text), name, &found));
    assert_memory_equal(found.s, "7", 1);
}

static void test_check_names_what_is_wrong_and_where(void **state)
{
    static const struct {
        const char *in, *fault;
    } cases[] = {
        {"", "value expected at byte 0"},
        {"{\"a\":}", "value expected at byte 5"},
        {"{\"a\" 1}", "':' expected at byte 5"},
        {"{\"a\":1,}", "key expected at byte 7"},
        {"{a:1}", "key expected at byte 1"},
        {"[1 2]", "',' or ']' expected at byte 3"},
        {"{\"a\":1 \"b\":2}", "',' or '}' expected at byte 7"},
        {"[1,", "value expected at byte 3"},
        {"01", "starts with 0"},
        {"-", "value expected"},
        {"1.", "behind the point"},
        {"1e", "behind the e"},
        {"+1", "value expected"},
        {"NaN", "value expected"},
        {"Infinity", "value expected"},
        {"tru", "value expected"},
        {"\"abc", "string without an end"},
        {"\"\x01\"", "control character"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12g4\"", "four hexadecimal"},
        {"\"\\ud800\"", "without the second"},
        {"\"\\ud800\\u0041\"", "without the second"},
        {"\"\\udc00\"", "without the first"},
        {"1 1", "more text behind the value at byte 2"},
        {"\"\xff\"", "not UTF-8 at byte 1"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fault fault = {0};
        struct jtext value;

        assert_int_equal(jtext_check(cases[i].in, strlen(cases[i].in), &fault, &value), JTEXT_E_INVALID);
        if (!strstr(fault.text, cases[i].fault))
            fail_msg("%s: \"%s\", should have \"%s\"", cases[i].in, fault.text, cases[i].fault);
    }
}

static void test_check_refuses_what_is_too_deep(void **state)
{
    char text[2 * JTEXT_DEPTH_MAX + 3];
    struct fault fault = {0};
    struct sink sink = {.n = 0};
    struct jtext value;

    memset(text, '[', JTEXT_DEPTH_MAX);
    memset(text + JTEXT_DEPTH_MAX, ']', JTEXT_DEPTH_MAX);
    assert_int_equal(jtext_check(text, 2 * JTEXT_DEPTH_MAX, &fault, &value), JTEXT_OK);
    assert_int_equal(jtext_print(value, sink_put, &sink), 0);
    assert_int_equal(sink.n, 2 * JTEXT_DEPTH_MAX);
    memset(text, '[', JTEXT_DEPTH_MAX + 1);
    memset(text + JTEXT_DEPTH_MAX + 1, ']', JTEXT_DEPTH_MAX + 1);
    assert_int_equal(jtext_check(text, 2 * JTEXT_DEPTH_MAX + 2, &fault, &value), JTEXT_E_INVALID);
    assert_non_null(strstr(fault.text, "nested deeper than 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_equals_python),
        cmocka_unit_test(test_print_finds_the_shortest_digits_of_powers_of_two),
        cmocka_unit_test(test_print_reads_numbers_of_any_length),
        cmocka_unit_test(test_print_keeps_the_last_of_equal_names_in_the_first_place),
        cmocka_unit_test(test_find_knows_a_name_by_any_spelling),
        cmocka_unit_test(test_check_names_what_is_wrong_and_where),
        cmocka_unit_test(test_check_refuses_what_is_too_deep),
    };

    return cmocka_run_group_tests_name("jtext", tests, NULL, NULL);
}
