/* test_conf.c - the key table against good and bad text; see daemon/util/conf.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/util/conf.h"

struct target {
    char *name;
    const char *colour;
    uint32_t count;
    bool flag;
    uint32_t set;
};

static const char *const colours[] = {"red", "green", NULL};
static const char *const others[] = {"theirs", "class *", NULL};
static const struct conf_key keys[] = {
    {"main", "name", CONF_STRING, offsetof(struct target, name)},
    {"main", "count", CONF_UINT, offsetof(struct target, count), 2, 4000000000u},
    {"main", "long_flag", CONF_BOOL, offsetof(struct target, flag)},
    {"other", "colour", CONF_CHOICE, offsetof(struct target, colour), .choices = colours},
    {"other", "some", CONF_SET, offsetof(struct target, set), .min = 1, .choices = colours},
    {"other", "any", CONF_SET, offsetof(struct target, set), .choices = colours},
};

/* Reads text as a file; the path is replaced by FILE in the fault. */
static int read_text(const char *text, struct target *target, struct fault *fault)
{
    char path[] = "/tmp/qwend-test-conf-XXXXXX", *at;
    int fd = mkstemp(path), r;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    *fault = (struct fault){};
    r = conf_read(path, keys, ARRAY_SIZE(keys), others, target, fault);
    at = strstr(fault->text, path);
    if (at)
        memmove(at, at + strlen(path), strlen(at + strlen(path)) + 1);
    unlink(path);
    return r;
}

static void test_conf_read_sets_every_type(void **state)
{
    struct target target = {};
    struct fault fault;

    assert_int_equal(read_text("# a comment\n[main]\nname = a b ; inline\ncount=4000000000\nlong_flag : yes\n"
                               "\n[other]\n; nothing\ncolour = green\n",
                               &target, &fault),
                     CONF_OK);
    assert_string_equal(target.name, "a b");
    assert_string_equal(target.colour, "green");
    assert_int_equal(target.count, 4000000000u);
    assert_true(target.flag);
    free(target.name);
}

static void test_conf_read_sets_lists_of_words(void **state)
{
    static const struct {
        const char *text;
        uint32_t set;
    } rows[] = {
        {"[other]\nsome = red\n", 1},    {"[other]\nsome = green\n", 2}, {"[other]\nsome = green , red\n", 3},
        {"[other]\nany = red,red\n", 1}, {"[other]\nany = no\n", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct target target = {.set = 9};
        struct fault fault;

        assert_int_equal(read_text(rows[i].text, &target, &fault), CONF_OK);
        assert_int_equal(target.set, rows[i].set);
    }
}

static void test_conf_read_passes_over_sections_of_others(void **state)
{
    struct target target = {};
    struct fault fault;

    assert_int_equal(read_text("[theirs]\nx = 1\n[class a b]\ny = 2\n[main]\ncount = 5\n", &target, &fault),
                     CONF_OK);
    assert_int_equal(target.count, 5);
}

static void make_file(const char *folder, const char *name)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void test_conf_files_find_sorts_the_folder(void **state)
{
    static const char *const made[] = {"x.conf.d/b.conf", "x.conf.d/a.conf", "x.conf.d/10.conf",
                                       "x.conf.d/.c.conf", "x.conf.d/d.conf.bak"};
    static const char *const wanted[] = {"x.conf", "x.conf.d/10.conf", "x.conf.d/a.conf", "x.conf.d/b.conf"};
    char folder[] = "/tmp/qwend-test-conf-XXXXXX", path[200], command[200];
    struct conf_files files;
    struct fault fault;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/x.conf.d", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < ARRAY_SIZE(made); i++)
        make_file(folder, made[i]);
    path[strlen(path) - 2] = '\0';
    assert_int_equal(conf_files_find(path, false, &files, &fault), CONF_OK);
    assert_int_equal(files.n, 3); /* there is no x.conf yet */
    conf_files_deinit(&files);
    assert_int_equal(conf_files_find(path, true, &files, &fault), CONF_OK);
    assert_int_equal(files.n, ARRAY_SIZE(wanted));
    for (size_t i = 0; i < files.n; i++)
        assert_string_equal(files.paths[i] + strlen(folder) + 1, wanted[i]);
    conf_files_deinit(&files);
    for (int i = 0; i < CONF_FILES_MAX; i++) {
        snprintf(path, sizeof(path), "x.conf.d/many%d.conf", i);
        make_file(folder, path);
    }
    snprintf(path, sizeof(path), "%s/x.conf", folder);
    assert_int_equal(conf_files_find(path, true, &files, &fault), CONF_E_FILE);
    assert_non_null(strstr(fault.text, "more than 63 configuration files"));
    conf_files_deinit(&files);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void test_conf_read_leaves_what_is_not_named(void **state)
{
    struct target target = {.count = 7, .colour = "red"};
    struct fault fault;

    assert_int_equal(read_text("", &target, &fault), CONF_OK);
    assert_int_equal(target.count, 7);
    assert_string_equal(target.colour, "red");
    assert_null(target.name);
}

static void test_conf_read_names_line_and_key_of_each_mistake(void **state)
{
    static const struct {
        const char *text;
        int r;
        const char *words;
    } rows[] = {
        {"[main]\ncont = 3\n", CONF_E_KEY, ":2: unknown key 'cont', did you mean 'count'?"},
        {"[main]\nlong-flag = 3\n", CONF_E_KEY, ":2: unknown key 'long-flag', did you mean 'long_flag'?"},
        {"[main]\nxyz = 3\n", CONF_E_KEY, ":2: unknown key 'xyz'"},
        {"[mian]\nname = 3\n", CONF_E_KEY, ":2: unknown section [mian]"},
        {"name = 3\n", CONF_E_KEY, ":1: unknown section []"},
        {"[other]\n\ncolour = blue\n", CONF_E_VALUE, ":3: colour is 'blue', must be one of red, green"},
        {"[main]\ncount = 1\n", CONF_E_VALUE, ":2: count is '1', must be a number from 2 to 4000000000"},
        {"[main]\ncount = 4000000001\n", CONF_E_VALUE, ":2: count is"},
        {"[main]\ncount = 99999999999999999999\n", CONF_E_VALUE, ":2: count is"},
        {"[main]\ncount = -3\n", CONF_E_VALUE, ":2: count is '-3'"},
        {"[main]\ncount = 3x\n", CONF_E_VALUE, ":2: count is '3x'"},
        {"[main]\ncount =\n", CONF_E_VALUE, ":2: count is ''"},
        {"[main]\nname =\n", CONF_E_VALUE, ":2: name is empty"},
        {"[main]\nlong_flag = maybe\n", CONF_E_VALUE, ":2: long_flag is 'maybe', must be yes or no"},
        {"[main]\ncount = 3\ncount = 4\n", CONF_E_SYNTAX, ":3: 'count' was already set in line 2"},
        {"[main]\ncount = 3\n 4\n", CONF_E_SYNTAX, ":3: 'count' was already set in line 2"},
        {"[other]\nsome = blue\n", CONF_E_VALUE, ":2: some is 'blue', must be a list of red, green"},
        {"[other]\nsome = red,\n", CONF_E_VALUE, ":2: some is 'red,', must be"},
        {"[other]\nsome = red green\n", CONF_E_VALUE, ":2: some is 'red green', must be"},
        {"[other]\nsome =\n", CONF_E_VALUE, ":2: some is ''"},
        {"[other]\nsome = no\n", CONF_E_VALUE, ":2: some is 'no'"},
        {"[other]\nany = yes\n", CONF_E_VALUE, ":2: any is 'yes', must be no, or a list of red, green"},
        {"[class]\nx = 3\n", CONF_E_KEY, ":2: unknown section [class]"},
        {"[main]\nhello\n", CONF_E_SYNTAX, ":2: neither [section] nor key = value"},
        {"[main\n", CONF_E_SYNTAX, ":1: neither"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct target target = {};
        struct fault fault;
        int r = read_text(rows[i].text, &target, &fault);

        if (r != rows[i].r || !strstr(fault.text, rows[i].words) || fault.code != r)
            fail_msg("%s: %d '%s', expected %d '%s'", rows[i].text, r, fault.text, rows[i].r, rows[i].words);
        free(target.name);
    }
}

static void test_conf_read_refuses_a_line_that_would_be_cut(void **state)
{
    char text[400] = "[main]\nname = ";
    struct target target = {};
    struct fault fault;

    memset(text + strlen(text), 'x', 300);
    assert_int_equal(read_text(text, &target, &fault), CONF_E_SYNTAX);
    assert_non_null(strstr(fault.text, ":2: the line is longer than"));
    assert_null(target.name);
}

static void test_conf_read_says_when_there_is_no_file(void **state)
{
    struct target target = {};
    struct fault fault;

    assert_int_equal(conf_read("/nonexistent/x", keys, ARRAY_SIZE(keys), NULL, &target, &fault), CONF_E_FILE);
    assert_string_equal(fault.text, "/nonexistent/x: No such file or directory");
    assert_int_equal(conf_read("/", keys, ARRAY_SIZE(keys), NULL, &target, &fault), CONF_E_FILE);
}

static void test_conf_nearest_guesses_only_what_is_near(void **state)
{
    assert_string_equal(conf_nearest(keys, ARRAY_SIZE(keys), "colur"), "colour");
    assert_string_equal(conf_nearest(keys, ARRAY_SIZE(keys), "nmae"), "name");
    assert_null(conf_nearest(keys, ARRAY_SIZE(keys), "something"));
    assert_null(conf_nearest(keys, ARRAY_SIZE(keys), ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf_read_sets_every_type),
        cmocka_unit_test(test_conf_read_sets_lists_of_words),
        cmocka_unit_test(test_conf_read_passes_over_sections_of_others),
        cmocka_unit_test(test_conf_files_find_sorts_the_folder),
        cmocka_unit_test(test_conf_read_leaves_what_is_not_named),
        cmocka_unit_test(test_conf_read_names_line_and_key_of_each_mistake),
        cmocka_unit_test(test_conf_read_refuses_a_line_that_would_be_cut),
        cmocka_unit_test(test_conf_read_says_when_there_is_no_file),
        cmocka_unit_test(test_conf_nearest_guesses_only_what_is_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
