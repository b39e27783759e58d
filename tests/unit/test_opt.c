/* test_opt.c - the option table of qwenctl: parsing, ranges, and that the help shows every option. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/qwenctl/opt.h"

static struct opt_values values;
static char *args[32];
static int n_args;
static struct fault fault;

static int parse(const char *first, ...)
{
    char *argv[33] = {"qwenctl"};
    int argc = 1;
    va_list ap;

    va_start(ap, first);
    for (const char *word = first; word; word = va_arg(ap, const char *))
        argv[argc++] = (char *)word;
    va_end(ap);
    fault = (struct fault){};
    return opt_parse(argc, argv, OPT_ASK, &values, args, &n_args, &fault);
}

static void test_opt_every_form_of_a_value_is_the_same(void **state)
{
    assert_int_equal(parse("-n5", NULL), OPT_OK);
    assert_int_equal(values.max_tokens.value, 5);
    assert_int_equal(parse("-n", "6", NULL), OPT_OK);
    assert_int_equal(values.max_tokens.value, 6);
    assert_int_equal(parse("--max-tokens=7", NULL), OPT_OK);
    assert_int_equal(values.max_tokens.value, 7);
    assert_int_equal(parse("--max-tokens", "8", NULL), OPT_OK);
    assert_int_equal(values.max_tokens.value, 8);
    assert_int_equal(parse("-qvn9", NULL), OPT_OK);
    assert_int_equal(values.max_tokens.value, 9);
    assert_true(values.quiet && values.verbose);
}

static void test_opt_words_and_options_mix_until_two_dashes(void **state)
{
    assert_int_equal(parse("ask", "-q", "-", "a b", "--", "-q", "--x", NULL), OPT_OK);
    assert_int_equal(n_args, 5);
    assert_string_equal(args[1], "-");
    assert_string_equal(args[2], "a b");
    assert_string_equal(args[3], "-q");
    assert_string_equal(args[4], "--x");
}

static void test_opt_each_kind_of_value_arrives(void **state)
{
    assert_int_equal(parse("--temp=0.5", "--presence-penalty", "-1", "--seed=18446744073709551615",
                           "--stop=a", "--stop=", "--think", "--color=never", "--show-thinking=stdout",
                           "--priority=batch", "--timeout=1.5m", "--system=S", "--raw", NULL),
                     OPT_OK);
    assert_true(values.temp.given && values.temp.value == 0.5);
    assert_true(values.presence_penalty.value == -1);
    assert_int_equal((uint64_t)values.seed.value, UINT64_MAX);
    assert_int_equal(values.stop.n, 2);
    assert_string_equal(values.stop.items[1], "");
    assert_true(values.thinking.given && values.thinking.value == 1);
    assert_int_equal(values.color, OPT_COLOR_NEVER);
    assert_int_equal(values.show_thinking, OPT_SHOW_STDOUT);
    assert_int_equal(values.priority.value, 3);
    assert_int_equal(values.timeout_ms.value, 90000);
    assert_string_equal(values.system, "S");
    assert_true(values.raw && !values.usage);
    assert_int_equal(parse("--think", "--no-think", NULL), OPT_OK); /* the last one stands */
    assert_int_equal(values.thinking.value, 0);
}

static void test_opt_faults_name_what_is_wrong(void **state)
{
    static const struct {
        const char *word, *value, *says;
    } cases[] = {
        {"--temprature", NULL, "unknown option --temprature"},
        {"--tmp", NULL, "did you mean --temp?"},
        {"--max-token=3", NULL, "did you mean --max-tokens?"},
        {"-Z", NULL, "unknown option -Z"},
        {"--quiet=1", NULL, "--quiet takes no value"},
        {"--temp", NULL, "--temp needs a value: X"},
        {"-n", NULL, "-n needs a value: N"},
        {"--temp", "hot", "--temp needs a number, not \"hot\""},
        {"--temp", "nan", "--temp is 0 to 100"},
        {"--temp", "101", "--temp is 0 to 100, not 101"},
        {"--top-p", "1.5", "--top-p is 0 to 1"},
        {"-n", "0", "--max-tokens is 1 to 2147483647"},
        {"-n", "2.5", "whole number"},
        {"-n", "5x", "whole number"},
        {"--seed", "-1", "--seed is 0 to 18446744073709551615"},
        {"--seed", "18446744073709551616", "--seed is 0 to"},
        {"--timeout", "5y", "a time like"},
        {"--timeout", "", "a time like"},
        {"--color", "red", "auto, always or never, not \"red\""},
        {"--priority", "high", "interactive, normal or batch"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(parse(cases[i].word, cases[i].value, NULL), OPT_E_USAGE);
        if (!strstr(fault.text, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].word, fault.text, cases[i].says);
    }
}

static void test_opt_lists_are_bounded(void **state)
{
    assert_int_equal(parse("--stop=1", "--stop=2", "--stop=3", "--stop=4", "--stop=5", "--stop=6", "--stop=7",
                           "--stop=8", NULL),
                     OPT_OK);
    assert_int_equal(values.stop.n, OPT_LIST_MAX);
    assert_int_equal(parse("--stop=1", "--stop=2", "--stop=3", "--stop=4", "--stop=5", "--stop=6", "--stop=7",
                           "--stop=8", "--stop=9", NULL),
                     OPT_E_USAGE);
    assert_non_null(strstr(fault.text, "8 times"));
}

static void test_opt_of_another_verb_is_refused(void **state)
{
    assert_int_equal(parse("status", "--temp=1", NULL), OPT_OK);
    assert_int_equal(opt_check_verb(&values, OPT_ASK, "ask", &fault), OPT_OK);
    assert_int_equal(opt_check_verb(&values, OPT_STATUS, "status", &fault), OPT_E_USAGE);
    assert_string_equal(fault.text, "status has no option --temp");
}

static void test_opt_spells_as_people_read(void **state)
{
    static const struct {
        struct opt opt;
        const char *wanted;
    } cases[] = {{{.name = "raw"}, "    --raw"},
                 {{.name = "quiet", .letter = 'q'}, "-q, --quiet"},
                 {{.name = "max-tokens", .letter = 'n', .arg = "N"}, "-n, --max-tokens N"},
                 {{.name = "think", .arg = "X", .optional = true}, "    --think[=X]"}};
    char out[60];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(opt_spell(&cases[i].opt, out, sizeof(out)), strlen(cases[i].wanted));
        assert_string_equal(out, cases[i].wanted);
    }
}

static void test_opt_value_that_may_be_left_out(void **state)
{
    assert_int_equal(parse("--think", "off", NULL), OPT_OK); /* a word of its own is none */
    assert_int_equal(values.thinking.value, 1);
    assert_string_equal(args[0], "off");
    assert_int_equal(parse("--think=off", NULL), OPT_OK);
    assert_true(values.thinking.given && values.thinking.value == 0);
    assert_int_equal(parse("--think=auto", NULL), OPT_OK);
    assert_false(values.thinking.given);
    assert_int_equal(parse("--think=1000", NULL), OPT_E_USAGE);
    assert_non_null(strstr(fault.text, "no budget"));
}

static void test_opt_finds_the_verb_among_options(void **state)
{
    static const struct {
        const char *words[6];
        int at;
    } cases[] = {
        {{"ask"}, 1},
        {{"-q", "ask"}, 2},
        {{"-n", "5", "ask"}, 3},
        {{"-n5", "ask"}, 2},
        {{"-qn", "5", "ask"}, 3},
        {{"--socket", "s", "ask"}, 3},
        {{"--socket=s", "ask"}, 2},
        {{"--think", "ask"}, 2},
        {{"--", "ask"}, 2},
        {{"--nonsense", "ask"}, 2},
        {{"--help"}, 0},
        {{"--socket"}, 0},
        {{"--"}, 0},
        {{"-"}, 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *argv[8] = {"qwenctl"};
        int argc = 1;

        while (cases[i].words[argc - 1]) {
            argv[argc] = (char *)cases[i].words[argc - 1];
            argc++;
        }
        assert_int_equal(opt_verb_at(argc, argv), cases[i].at);
    }
}

static void test_opt_duration_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"500ms", 500}, {"2", 2000}, {"0.5s", 500}, {"2m", 120000}, {"1h", 3600000}, {"0", 0}};
    int64_t ms;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(opt_duration(cases[i].text, &ms), OPT_OK);
        assert_int_equal(ms, cases[i].ms);
    }
    assert_int_equal(opt_duration("-1s", &ms), OPT_E_USAGE);
    assert_int_equal(opt_duration("nan", &ms), OPT_E_USAGE);
    assert_int_equal(opt_duration("1 s", &ms), OPT_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opt_every_form_of_a_value_is_the_same),
        cmocka_unit_test(test_opt_words_and_options_mix_until_two_dashes),
        cmocka_unit_test(test_opt_each_kind_of_value_arrives),
        cmocka_unit_test(test_opt_faults_name_what_is_wrong),
        cmocka_unit_test(test_opt_lists_are_bounded),
        cmocka_unit_test(test_opt_of_another_verb_is_refused),
        cmocka_unit_test(test_opt_spells_as_people_read),
        cmocka_unit_test(test_opt_value_that_may_be_left_out),
        cmocka_unit_test(test_opt_finds_the_verb_among_options),
        cmocka_unit_test(test_opt_duration_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
