/* test_qwenctl_conf.c - the configuration of qwenctl: which layer goes first, what is refused and where, and
 * that setting a key leaves the rest of a file alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/qwenctl/conf.h"
#include "client/qwenctl/file.h"

static char folder[64], machine[100], user[100];
static struct conf conf;
static struct fault fault;

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "%s/qwenctl-conf-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(machine, sizeof(machine), "%s/machine", folder);
    snprintf(user, sizeof(user), "%s/user", folder);
    unsetenv("QWENCTL_COLOR");
    unsetenv("QWENCTL_PROFILE");
    return 0;
}

static int teardown(void **state)
{
    unlink(machine);
    unlink(user);
    return rmdir(folder);
}

static void put(const char *path, const char *text)
{
    assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static int load(const char *of_machine, const char *of_user)
{
    fault = (struct fault){};
    put(machine, of_machine);
    put(user, of_user);
    return conf_load(machine, user, &conf, &fault);
}

static int apply(struct opt_values *values)
{
    fault = (struct fault){};
    return conf_apply(&conf, OPT_ASK, values, &fault);
}

static void test_conf_user_goes_before_machine(void **state)
{
    struct opt_values values = {};

    assert_int_equal(load("max-tokens = 1\ntemp=0.5\n", " max-tokens=2 # not a comment here\n"),
                     CONF_E_FAULT);
    assert_int_equal(load("max-tokens = 1\ntemp=0.5\n", "# comment\n; another\n\n max-tokens  =  2 \n"),
                     CONF_OK);
    assert_int_equal(apply(&values), CONF_OK);
    assert_int_equal(values.max_tokens.value, 2);
    assert_true(values.temp.value == 0.5);
    conf_deinit(&conf);
}

static void test_conf_environment_goes_before_files_and_arguments_before_all(void **state)
{
    char *argv[] = {"qwenctl", "ask", "-n3", "--no-think"}, *args[4];
    struct opt_values values = {};
    int n;

    assert_int_equal(load("max-tokens = 1\ncolor = never\nquiet = yes\nthink = on\n", ""), CONF_OK);
    assert_int_equal(opt_parse(4, argv, OPT_ASK, &values, args, &n, &fault), OPT_OK);
    setenv("QWENCTL_COLOR", "always", 1);
    assert_int_equal(apply(&values), CONF_OK);
    assert_int_equal(values.max_tokens.value, 3);
    assert_int_equal(values.color, OPT_COLOR_ALWAYS);
    assert_true(values.quiet);
    assert_true(values.thinking.given && values.thinking.value == 0); /* --no-think is the same field */
    assert_true(opt_is_given(&values, "max-tokens") && !opt_is_given(&values, "color"));
    setenv("QWENCTL_COLOR", "red", 1);
    values = (struct opt_values){};
    assert_int_equal(apply(&values), CONF_E_FAULT);
    assert_string_equal(fault.text, "$QWENCTL_COLOR: --color is auto, always or never, not \"red\"");
    unsetenv("QWENCTL_COLOR");
    conf_deinit(&conf);
}

static void test_conf_profile_goes_before_what_is_outside(void **state)
{
    struct opt_values values = {.profile = "quick"};

    assert_int_equal(
        load("[profile quick]\ntemp = 0.25\nmax-tokens = 7\n",
             "temp = 1\nmax-tokens = 8\n[profile quick]\nmax-tokens = 9\n[profile slow]\ntemp = 0\n"),
        CONF_OK);
    assert_int_equal(apply(&values), CONF_OK);
    assert_int_equal(values.max_tokens.value, 9);
    assert_true(values.temp.value == 0.25);
    values = (struct opt_values){.profile = "qick"};
    assert_int_equal(apply(&values), CONF_E_FAULT);
    assert_non_null(strstr(fault.text, "no configuration has a [profile qick]: did you mean quick?"));
    values = (struct opt_values){};
    setenv("QWENCTL_PROFILE", "slow", 1);
    assert_int_equal(apply(&values), CONF_OK);
    assert_true(values.temp.value == 0 && values.max_tokens.value == 8);
    values = (struct opt_values){.profile = ""}; /* none, whatever the environment says */
    assert_int_equal(apply(&values), CONF_OK);
    assert_true(values.temp.value == 1);
    unsetenv("QWENCTL_PROFILE");
    conf_deinit(&conf);
}

static void test_conf_holds_for_verbs_that_have_the_option(void **state)
{
    struct opt_values values = {};

    assert_int_equal(load("max-tokens = 5\ncolor = never\n", ""), CONF_OK);
    assert_int_equal(conf_apply(&conf, OPT_STATUS, &values, &fault), CONF_OK);
    assert_false(values.max_tokens.given);
    assert_int_equal(values.color, OPT_COLOR_NEVER);
    conf_deinit(&conf);
}

static void test_conf_faults_name_file_and_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"color = never\nmax-token = 5\n", "user:2: unknown key \"max-token\": did you mean max-tokens?"},
        {"\n\ntemp = hot\n", "user:3: --temp needs a number, not \"hot\""},
        {"quiet = perhaps\n", "user:1: quiet is yes or no, not \"perhaps\""},
        {"temp\n", "user:1: temp needs \"= value\""},
        {"temp =\n", "user:1: temp needs \"= value\""},
        {"json = yes\n", "user:1: unknown key \"json\""}, /* no option for a configuration */
        {"[quick]\n", "user:1: the only sections are [profile NAME], not [quick]"},
        {"[profile ]\n", "user:1: the only sections are"},
        {"think = 200\n", "user:1: --think=200: the engine has no budget"},
    };
    char *big = malloc(CONF_FILE_BYTES + 2);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(load("", cases[i].text), CONF_E_FAULT);
        if (!strstr(fault.text, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", fault.text, cases[i].says);
    }
    memset(big, '\n', CONF_FILE_BYTES + 1);
    big[CONF_FILE_BYTES + 1] = 0;
    assert_int_equal(load("", big), CONF_E_FAULT);
    assert_non_null(strstr(fault.text, "is larger than 256 KiB"));
    big[CONF_FILE_BYTES] = 0;
    assert_int_equal(load("", big), CONF_OK);
    conf_deinit(&conf);
    free(big);
    unlink(user);
    assert_int_equal(conf_load(machine, user, &conf, &fault), CONF_OK); /* none is no fault */
    conf_deinit(&conf);
    assert_int_equal(conf_load(machine, folder, &conf, &fault), CONF_E_FAULT);
    assert_non_null(strstr(fault.text, "Is a directory"));
}

static void check_write(const char *before, const char *profile, const char *key, const char *value,
                        const char *after)
{
    char *text;
    size_t n;

    if (before)
        put(user, before);
    else
        unlink(user);
    assert_int_equal(conf_write(user, profile, key, value, &fault), CONF_OK);
    assert_int_equal(file_read(user, 10000, &text, &n), FILE_OK);
    assert_string_equal(text, after);
    free(text);
}

static void test_conf_write_leaves_the_rest_alone(void **state)
{
    check_write(NULL, NULL, "temp", "1", "temp = 1\n");
    check_write(NULL, "p", "temp", "1", "[profile p]\ntemp = 1\n");
    check_write("# c\ntemp = 0\n# d\n", NULL, "temp", "1", "# c\ntemp = 1\n# d\n");
    check_write("temp = 0\ntemp = 0.5", NULL, "temp", "1", "temp = 0\ntemp = 1\n"); /* the last one holds */
    check_write("[profile p]\ntemp = 0\n", NULL, "temp", "1", "temp = 1\n[profile p]\ntemp = 0\n");
    check_write("a\n[profile p]\nx\n\n[profile q]\ny\n", "p", "temp", "1",
                "a\n[profile p]\nx\ntemp = 1\n\n[profile q]\ny\n");
    check_write("a", "p", "temp", "1", "a\n\n[profile p]\ntemp = 1\n");
    check_write("color = never\ntemp = 0\n", NULL, "temp", NULL, "color = never\n");
    assert_int_equal(conf_write(user, NULL, "temp", NULL, &fault), CONF_E_FAULT);
    assert_non_null(strstr(fault.text, "temp is not set in"));
}

static void test_conf_write_keeps_a_link(void **state)
{
    char *text;
    size_t n;

    unlink(user);
    put(machine, "temp = 0\n");
    assert_int_equal(symlink(machine, user), 0);
    assert_int_equal(conf_write(user, NULL, "temp", "1", &fault), CONF_OK);
    assert_int_equal(file_read(machine, 10000, &text, &n), FILE_OK);
    assert_string_equal(text, "temp = 1\n");
    free(text);
}

static void test_file_names_are_never_paths(void **state)
{
    char longer[66];

    memset(longer, 'a', 65);
    longer[65] = 0;
    assert_true(file_is_name("plan-2.b_C"));
    assert_true(file_is_name(longer + 1));
    assert_false(file_is_name(longer));
    assert_false(file_is_name(""));
    assert_false(file_is_name(".."));
    assert_false(file_is_name(".hidden"));
    assert_false(file_is_name("-q"));
    assert_false(file_is_name("a/b"));
    assert_false(file_is_name("a b"));
    assert_false(file_is_name("caf\xc3\xa9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf_user_goes_before_machine),
        cmocka_unit_test(test_conf_environment_goes_before_files_and_arguments_before_all),
        cmocka_unit_test(test_conf_profile_goes_before_what_is_outside),
        cmocka_unit_test(test_conf_holds_for_verbs_that_have_the_option),
        cmocka_unit_test(test_conf_faults_name_file_and_line),
        cmocka_unit_test(test_conf_write_leaves_the_rest_alone),
        cmocka_unit_test(test_conf_write_keeps_a_link),
        cmocka_unit_test(test_file_names_are_never_paths),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
