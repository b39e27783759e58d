/* test_conf_page.c - keys in a manual page, and pages that do not say what the table says; see
 * daemon/util/conf_page.h. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#include <stdio.h>
#include <string.h>

#include "daemon/util/conf_page.h"

struct target {
    char *name, *path;
    const char *colour;
    uint32_t count, cap;
    bool flag;
    uint32_t all, none;
};

static const char *const colours[] = {"red", "light_green", NULL};
static const struct conf_key keys[] = {
    CONF_KEY("main", struct target, name, "name", CONF_STRING, .help = "a [name]"),
    CONF_KEY("main", struct target, path, "path", CONF_STRING, .help = "a path"),
    CONF_KEY("main", struct target, count, "count_s", CONF_UINT, .min = 1, .max = 9, .help = "seconds (3)"),
    CONF_KEY("main", struct target, cap, "cap", CONF_UINT, .min = 1, .max = 9, .help = "a cap"),
    CONF_KEY("main", struct target, colour, "colour", CONF_CHOICE, .choices = colours, .help = "a colour"),
    CONF_KEY("main", struct target, flag, "flag", CONF_BOOL, .help = "a flag"),
};
static const struct conf_key others[] = {
    CONF_KEY("other", struct target, all, "all", CONF_SET, .min = 1, .choices = colours),
    CONF_KEY("other", struct target, none, "none", CONF_SET, .choices = colours),
};
static const struct target defaults = {.path = "/run/x", .colour = "red", .count = 3, .all = 3};
static const struct conf_table tables[] = {{keys, ARRAY_SIZE(keys), &defaults},
                                           {others, ARRAY_SIZE(others), &defaults}};

/* The caller frees. */
static char *put(const char *text, int expected, struct fault *fault)
{
    _cleanup_(conf_fclosep) FILE *in = fmemopen((char *)text, strlen(text), "r");
    char *page = NULL;
    size_t n;
    FILE *out = open_memstream(&page, &n);

    *fault = (struct fault){};
    assert_int_equal(conf_page_put(in, "PAGE", out, tables, ARRAY_SIZE(tables), fault), expected);
    fclose(out);
    return page;
}

static void test_conf_page_puts_range_and_default_behind_the_text(void **state)
{
    static const char text[] = "# MAIN\n"
                               "@key main name\n\tWho. Default: nobody.\n"
                               "@key main path\n\tWhere.\n\n"
                               "@key main count_s\n\tHow long,\n\tin seconds.\n\n"
                               "@key main cap\n\tHow much. Default: no limit.\n\n"
                               "@key main colour\n\tWhich.\n\n"
                               "@key main flag\n\tOr not.\n\n"
                               "# OTHER\n\n"
                               "@key other all\n\tSome.\n\n"
                               "@key other none\n\tAny.";
    static const char expected[] =
        "# MAIN\n"
        "*name* = _TEXT_\n\tWho. Default: nobody.\n"
        "*path* = _TEXT_\n\tWhere.\n\tDefault: /run/x.\n\n"
        "*count\\_s* = _N_\n\tHow long,\n\tin seconds.\n\t1 to 9.\n\tDefault: 3.\n\n"
        "*cap* = _N_\n\tHow much. Default: no limit.\n\t1 to 9.\n\n"
        "*colour* = red \\| light\\_green\n\tWhich.\n\tDefault: red.\n\n"
        "*flag* = yes \\| no\n\tOr not.\n\tDefault: no.\n\n"
        "# OTHER\n\n"
        "*all* = _LIST_\n\tSome.\n\tOf red, light\\_green.\n\tDefault: red,light\\_green.\n\n"
        "*none* = _LIST_\n\tAny.\n\tno, or of red, light\\_green.\n\tDefault: no.\n";
    struct fault fault;
    _cleanup_(freep) char *page = put(text, CONF_PAGE_OK, &fault);

    assert_string_equal(page, expected);
}

static void test_conf_page_puts_options(void **state)
{
    struct fault fault;
    _cleanup_(freep) char *page = put("@options main\nx\n", CONF_PAGE_OK, &fault);

    assert_string_equal(page, "*--name* _TEXT_\n\ta \\[name\\]\n\n*--path* _TEXT_\n\ta path\n\n"
                              "*--count-s* _N_\n\tseconds (3)\n\n*--cap* _N_\n\ta cap\n\n"
                              "*--colour* red \\| light\\_green\n\ta colour\n\n*--flag*\n\ta flag\n\nx\n");
}

static void test_conf_page_refuses_what_the_table_does_not_say(void **state)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"\n@key main nam\n", "PAGE:2: no such key: nam"},
        {"@key name\n", "PAGE:1: should be @key SECTION NAME"},
        {"@keys main\n", "PAGE:1: neither @key nor @options: @keys main"},
        {"@options mains\n", "PAGE:1: no such section: mains"},
        {"@key main path\n\tx\n\n@key main path\n\tx\n", "PAGE:4: a second entry: path"},
        {"@key main name\n\tWho.\n\n", "PAGE:3: no default is told: name"},
        {"@key main cap\n\tHow much.\n", "PAGE:2: no default is told: cap"},
        {"@key main path\n\tDefault: /run/y.\n\n", "PAGE:3: the default is in the table, not here: path"},
        {"@key other all\n\tx\n", "PAGE:2: the page does not have the key: none"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fault fault;
        _cleanup_(freep) char *page = put(cases[i].text, CONF_PAGE_E_TEXT, &fault);

        assert_string_equal(fault.text, cases[i].fault);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf_page_puts_range_and_default_behind_the_text),
        cmocka_unit_test(test_conf_page_puts_options),
        cmocka_unit_test(test_conf_page_refuses_what_the_table_does_not_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
