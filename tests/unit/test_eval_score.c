/* test_eval_score.c - which answers the scorers of qwend-probe eval take for right, hostile ones included.
 *
 * Tables of (what is wanted, what was answered, whether it is right); a row that fails prints itself. */
#include "daemon/probe/eval_score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct jtext json(const char *text)
{
    struct fault fault = {0};
    struct jtext value = {0};

    if (text && jtext_check(text, strlen(text), &fault, &value))
        fail_msg("%s: %s", text, fault.text);
    return value;
}

static struct eval_goal goal(const char *kind, const char *answer, const char *choices)
{
    struct fault fault = {0};
    struct eval_goal g;

    if (eval_goal_new(eval_str(kind), json(answer), json(choices), &fault, &g))
        fail_msg("%s %s: %s", kind, answer, fault.text);
    return g;
}

static struct eval_verdict score(const struct eval_goal *g, struct chat_str answer)
{
    struct eval_verdict verdict;

    assert_int_equal(eval_goal_score(g, answer, &verdict), 0);
    return verdict;
}

struct row {
    const char *want, *answer;
    bool right;
};

static void check_rows(const char *kind, const char *choices, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct eval_goal g = goal(kind, rows[i].want, choices);
        struct eval_verdict verdict = score(&g, eval_str(rows[i].answer));

        if (verdict.right != rows[i].right)
            fail_msg("%s: wanted %s, answered \"%s\": %s, read as \"%s\"", kind, rows[i].want, rows[i].answer,
                     verdict.right ? "right" : "wrong", verdict.got);
        eval_goal_deinit(&g);
    }
}

static void test_exact_trims_and_compares_bytes(void **state)
{
    static const struct row rows[] = {
        {"\"tac\"", "tac", true},  {"\"tac\"", " \n\ttac\r\n", true}, {"\"  tac \"", "tac", true},
        {"\"tac\"", "Tac", false}, {"\"tac\"", "tac.", false},        {"\"tac\"", "", false},
        {"\"\"", "  ", true},      {"\"a b\"", "a  b", false},        {"7", "7", true},
        {"7", "7.0", false},       {"\"\\u00e9\"", "\xc3\xa9", true}, {"\"\\u00e9\"", "e\xcc\x81", false},
    };
    struct eval_goal g = goal("exact", "\"a\\u0000b\"", NULL);

    check_rows("exact", NULL, rows, ARRAY_SIZE(rows));
    assert_true(score(&g, (struct chat_str){"a\0b", 3}).right);
    assert_false(score(&g, (struct chat_str){"a\0c", 3}).right);
    assert_false(score(&g, (struct chat_str){"a", 1}).right);
    eval_goal_deinit(&g);
}

static void test_number_takes_the_last_one(void **state)
{
    static const struct row rows[] = {
        {"42", "42", true},
        {"42", "The answer is 42.", true},
        {"42", "42.0", true},
        {"42", "4.2e1", true},
        {"42", "042", true},
        {"42", "It is 41, no: 42", true},
        {"42", "42 and then 43", false},
        {"42", "-42", false},
        {"-42", "= -42", true},
        {"-42",
         "\xe2\x88\x92"
         "42",
         true},
        {"-42", "The sum is (-42)", true},
        {"-42", "-$42", true},
        {"3", "5-3", true},
        {"3", "f(x)-3", true},
        {"1234567", "1,234,567", true},
        {"1234567", "1{,}234{,}567", true},
        {"1234567",
         "1\xe2\x80\xaf"
         "234\xc2\xa0"
         "567",
         true},
        {"\"1,250\"", "1250 m", true},
        {"23", "1,23", true},
        {"4567", "1234,4567", true},
        {"2345", "1,2345", true},
        {"0.5", ".5", true},
        {"0.5", "0,5", false},
        {"0.1", "0.10000000000000000", true},
        {"0.1", "0.10000000000000001", false},
        {"12345678901234567890", "12345678901234567890", true},
        {"12345678901234567890", "12345678901234567891", false},
        {"1e400", "1e400", true},
        {"1e400", "1e401", false},
        {"1e1000000000", "30e999999999999", false},
        {"1e1000000001", "1000e1000000000", true}, /* both are only huge */
        {"0", "-0.00", true},
        {"5", "5km", true},
        {"5", "5 m2", true},
        {"5", "$x_1 = 5$", true},
        {"10", "10^5", true},
        {"10", "10^{5}", true},
        {"2", "2e", true},
        {"50", "50%", true},
        {"24", "2026-11-24", true},
        {"30", "10:30", true},
        {"3", "1.2.3", true},
        {"7", "seven", false},
        {"7", "", false},
        {"7", "H7", false},
        {"7", "**7**", true},
    };

    check_rows("number", NULL, rows, ARRAY_SIZE(rows));
}

static void test_choice_reads_the_letter(void **state)
{
    static const struct row rows[] = {
        {"\"B\"", "B", true},
        {"\"B\"", "b", true},
        {"\"B\"", " (B) ", true},
        {"\"B\"", "**B**", true},
        {"\"B\"", "B.", true},
        {"\"B\"", "B) iron, because A is wood", true},
        {"\"B\"", "b) iron", true},
        {"\"B\"", "The answer is (B)", true},
        {"\"B\"", "The answer is B because A is wood.", true},
        {"\"B\"", "Answer: **B**", true},
        {"\"B\"", "The correct answer is option (b).", true},
        {"\"B\"", "First I said the answer is A. But the answer is B.", true},
        {"\"B\"", "Answer: $\\boxed{B}$", true},
        {"\"B\"", "So \\boxed{\\text{(B)}}, not A.", true},
        {"\"B\"", "I would pick (B) here", true},
        {"\"B\"", "It must be B", true},
        {"\"B\"", "iron", true},
        {"\"B\"", " Iron ", true},
        {"\"B\"", "C", false},
        {"\"B\"", "Answer: A", false},
        {"\"B\"", "The answer is a bit hard to say", false},
        {"\"A\"", "The answer is a bit hard to say", false},
        {"\"A\"", "The answer is a", true},
        {"\"A\"", "The answer is (a) wood", true},
        {"\"A\"", "A cat sat there", false},
        {"\"A\"", "wood", true},
        {"\"B\"", "\\boxed{A, B}", false},
        {"\"B\"", "Basalt", false},
        {"\"B\"", "B's", false},
        {"\"B\"", "", false},
        {"\"C\"", "D) nothing of these. Answer: C", true},
    };
    struct eval_goal g;

    check_rows("choice", "[\"wood\", \"iron\", \"glass\"]", rows, ARRAY_SIZE(rows));
    g = goal("choice", "\"H\"", NULL); /* without choices: as many letters as the answer needs */
    assert_true(score(&g, eval_str("Answer: H")).right);
    assert_false(score(&g, eval_str("Answer: D")).right);
    eval_goal_deinit(&g);
}

static void test_json_compares_values(void **state)
{
    static const struct row rows[] = {
        {"{\"a\": 1, \"b\": [true, null]}", "{\"b\":[true,null],\"a\":1}", true},
        {"{\"a\": 1}", "{\"a\": 1.0}", true},
        {"{\"a\": 1.5}", "{\"a\": 15e-1}", true},
        {"{\"a\": 1}", "{\"a\": \"1\"}", false},
        {"{\"a\": 1}", "{\"a\": true}", false},
        {"{\"a\": 1}", "{\"a\": 1, \"b\": 2}", false},
        {"{\"a\": 1, \"b\": 2}", "{\"a\": 1}", false},
        {"{\"a\": 1}", "{\"a\": 2, \"a\": 1}", false},
        {"{\"a\": {\"b\": [1, {\"c\": 2}]}}", "{\"a\": {\"b\": [1, {\"c\": 2}]}}", true},
        {"{\"a\": {\"b\": [1, {\"c\": 2}]}}", "{\"a\": {\"b\": [1, {\"c\": 3}]}}", false},
        {"[1, 2]", "[1, 2]", true},
        {"[1, 2]", "[2, 1]", false},
        {"[1, 2]", "[1, 2, 3]", false},
        {"{\"a\": 1}", "```json\n{\"a\": 1}\n```", true},
        {"{\"a\": 1}", "Here it is:\n```\n{\"a\":\n 1}\n```\nDone.", true},
        {"{\"a\": 1}", "```\n{\"a\": 1}\n```\n```\n{\"a\": 1}\n```", false},
        {"{\"a\": 1}", "```json\n{\"a\": 1}", false},
        {"{\"a\": 1}", "It is {\"a\": 1}", false},
        {"{\"a\": 1}", "{\"a\": 1", false},
        {"{\"a\": 1}", "", false},
        {"{}", "{}", true},
        {"{\"a\": \"x\\u0000y\"}", "{\"a\": \"x\\u0000y\"}", true},
        {"{\"a\": \"x\\u0000y\"}", "{\"a\": \"x\"}", false},
    };

    check_rows("json", NULL, rows, ARRAY_SIZE(rows));
}

#define CALL(body) "<tool_call>\n<function=weather>\n" body "</function>\n</tool_call>"
#define CITY       "<parameter=city>\nOslo\n</parameter>\n"
#define DAYS       "<parameter=days>\n3\n</parameter>\n"

static void test_tool_reads_the_templates_form(void **state)
{
    static const char want[] = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 3}}";
    static const struct row rows[] = {
        {want, CALL(CITY DAYS), true},
        {want, CALL(DAYS CITY), true},
        {want, "\n\n" CALL(CITY DAYS) "\n", true},
        {want, "I look it up.\n\n" CALL(CITY DAYS), true},
        {want, CALL(CITY DAYS) "\nDone", false},
        {want, CALL(CITY), false},
        {want, CALL(CITY DAYS DAYS), false},
        {want, CALL(CITY CITY), false},
        {want, CALL(CITY DAYS "<parameter=x>\n1\n</parameter>\n"), false},
        {want, CALL(CITY "<parameter=days>\n3.0\n</parameter>\n"), true},
        {want, CALL(CITY "<parameter=days>\n\"3\"\n</parameter>\n"), false},
        {want, CALL("<parameter=city>\noslo\n</parameter>\n" DAYS), false},
        {want, CALL("<parameter=city>Oslo</parameter>" DAYS), true},
        {want, CALL("<parameter=city>\n\nOslo\n</parameter>\n" DAYS), false},
        {want, CALL(CITY DAYS) CALL(CITY DAYS), false},
        {want, "<tool_call>\n<function=clock>\n" CITY DAYS "</function>\n</tool_call>", false},
        {want, "<tool_call>\n<function=weather>\n" CITY DAYS "</function>\n", false},
        {want, "<tool_call>\n<function=weather>\n" CITY "<parameter=days>\n3", false},
        {want, "<tool_call>\n<function=weather", false},
        {want, "<tool_call>", false},
        {want, "{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 3}}", false},
        {want, "", false},
        {"{\"name\": \"weather\", \"arguments\": {}}", CALL(""), true},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": true}}", CALL("<parameter=x>\nTrue\n</parameter>\n"),
         true},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": true}}", CALL("<parameter=x>\ntrue\n</parameter>\n"),
         true},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": true}}", CALL("<parameter=x>\n1\n</parameter>\n"),
         false},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": null}}", CALL("<parameter=x>\nNone\n</parameter>\n"),
         true},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": null}}", CALL("<parameter=x>\n</parameter>\n"),
         false},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": [1, {\"a\": 2}]}}",
         CALL("<parameter=x>\n[1, {\"a\": 2}]\n</parameter>\n"), true},
        {"{\"name\": \"weather\", \"arguments\": {\"x\": \"a\\nb\"}}",
         CALL("<parameter=x>\na\nb\n</parameter>\n"), true},
        {"[{\"name\": \"weather\", \"arguments\": {}}, {\"name\": \"weather\", \"arguments\": {}}]",
         CALL("") "\n" CALL(""), true},
        {"[{\"name\": \"weather\", \"arguments\": {}}, {\"name\": \"weather\", \"arguments\": {}}]", CALL(""),
         false},
    };

    check_rows("tool", NULL, rows, ARRAY_SIZE(rows));
}

static void test_facts_are_looked_for_in_either_case(void **state)
{
    static const char want[] =
        "{\"all\": [[\"daemon\", \"background service\"], [\"unix socket\"]], \"none\": "
        "[\"web server\"]}";
    static const struct row rows[] = {
        {want, "qwend is a Daemon behind a Unix socket.", true},
        {want, "A background\n  service with a UNIX\tSOCKET", true},
        {want, "It is a daemon.", false},
        {want, "A daemon and web server on a unix socket", false},
        {want, "A daemon and Web\nServer on a unix socket", false},
        {want, "", false},
        {"{\"none\": [\"x\"]}", "", true},
        {"{\"none\": [\"x\"]}", "X", false},
        {"{\"all\": [[\"\xc3\xa9t\xc3\xa9\"]]}", "L'\xc3\xa9t\xc3\xa9", true},
    };

    check_rows("facts", NULL, rows, ARRAY_SIZE(rows));
}

static void test_math_compares_spellings(void **state)
{
    static const struct row rows[] = {
        {"\"5\"", "so \\boxed{5}.", true},
        {"\"5\"", "\\boxed{4} no, \\boxed{5}", true},
        {"\"5\"", "\\boxed{5} and \\boxed{6", true},
        {"\"5\"", "it is 5", true},
        {"\"5\"", "\\boxed{6}, that is 5", false},
        {"\"5\"", "\\boxed{\\boxed{5}}", true},
        {"\"5\"", "\\boxed{}", false},
        {"\"5\"", "five", false},
        {"\"\\\\frac{1}{2}\"", "\\boxed{1/2}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{\\dfrac12}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{\\tfrac{1}{2}}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{0.5}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{.50}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{\\frac{2}{4}}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{x = \\frac 12}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{$\\frac{1}{2}$}", true},
        {"\"\\\\frac{1}{2}\"", "\\boxed{-\\frac{1}{2}}", false},
        {"\"-\\\\frac{1}{2}\"", "\\boxed{\\frac{-1}{2}}", true},
        {"\"-0.5\"", "\\boxed{-\\frac12}", true},
        {"\"\\\\frac{1}{3}\"", "\\boxed{0.333}", false},
        {"\"3\\\\frac{1}{2}\"", "\\boxed{3.5}", true},
        {"\"3\\\\frac{1}{2}\"", "\\boxed{\\frac{7}{2}}", true},
        {"\"-3\\\\frac{1}{2}\"", "\\boxed{-3.5}", true},
        {"\"3\\\\frac{1}{2}\"", "\\boxed{\\frac{31}{2}}", false},
        {"\"\\\\frac{1}{0}\"", "\\boxed{\\frac{2}{0}}", false},
        {"\"\\\\frac{x+1}{2}\"", "\\boxed{(x+1)/2}", true},
        {"\"\\\\frac{(x+1)(x-1)}{2}\"", "\\boxed{(x+1)(x-1)/2}", true},
        {"\"\\\\frac{1}{2x}\"", "\\boxed{1/(2x)}", true},
        {"\"\\\\frac{1}{2x}\"", "\\boxed{1/2x}", false},
        {"\"x+1\"", "\\boxed{1+x}", false},
        {"\"\\\\left( 3, \\\\frac{\\\\pi}{2} \\\\right)\"", "\\boxed{(3,\\frac{\\pi}{2})}", true},
        {"\"\\\\left( 3, \\\\frac{\\\\pi}{2} \\\\right)\"", "\\boxed{\\bigl(3,\\, \xcf\x80/2\\bigr)}", true},
        {"\"\\\\sqrt{2}\"", "\\boxed{\\sqrt2}", true},
        {"\"\\\\sqrt[3]{2}\"", "\\boxed{\\sqrt[3] 2}", true},
        {"\"2\\\\sqrt{3}\"", "\\boxed{2\\sqrt{3}}", true},
        {"\"x^2\"", "\\boxed{x^{2}}", true},
        {"\"x^{10}\"", "\\boxed{x^10}", false},
        {"\"90^\\\\circ\"", "\\boxed{90}", true},
        {"\"90\"", "\\boxed{90^{\\circ}}", true},
        {"\"90\"", "\\boxed{90\xc2\xb0}", true},
        {"\"10\\\\%\"", "\\boxed{10}", true},
        {"\"\\\\$5\"", "\\boxed{5}", true},
        {"\"5\"", "\\boxed{5\\text{ cm}^2}", true},
        {"\"5\"", "\\boxed{5 \\mathrm{cm}}", true},
        {"\"\\\\text{Evelyn}\"", "\\boxed{Evelyn}", true},
        {"\"\\\\text{(C)}\"", "\\boxed{C}", true},
        {"\"\\\\text{even}\"", "\\boxed{\\text{odd}}", false},
        {"\"1,234\"", "\\boxed{1234}", true},
        {"\"1{,}234\"", "\\boxed{1,\\!234}", true},
        {"\"12345678901234567890\"", "\\boxed{12345678901234567890.0}", true},
        {"\"12345678901234567890\"", "\\boxed{12345678901234567891}", false},
        {"\"1/123456789\"", "\\boxed{2/246913578}", true},
        {"\"1/1234567890\"", "\\boxed{2/2469135780}", false}, /* beyond nine digits: only as it stands */
        {"\"1/123456789012345678901234567890123456789\"", "\\boxed{1/2}", false},
        {"\"1/0.1234567890123456789012345678901234567\"", "\\boxed{1/2}", false},
        {"\"a \\\\leq b\"", "\\boxed{a \\le b.}", true},
        {"\"\\\\{1, 2\\\\}\"", "\\boxed{\\{1,2\\}}", true},
        {"\"\\\\begin{pmatrix} 1 \\\\\\\\ 2 \\\\end{pmatrix}\"",
         "\\boxed{\\begin{pmatrix}1\\\\2\\end{pmatrix}}", true},
        {"7", "\\boxed{7.}", true},
    };

    check_rows("math", NULL, rows, ARRAY_SIZE(rows));
}

static void test_math_writes_fractions_with_a_slash(void **state)
{
    static const char *const pairs[][2] = {
        {"\\frac{\\frac{1}{2}}{3}", "(1/2)/3"},
        {"\\frac{a}{b+c}", "a/(b+c)"},
        {"\\frac", "/"},
        {"\\frac{}{}", "/"},
        {"\\frac{1}", "1/"},
        {"x^", "x"},
        {"{{{x", "x"},
        {"}}x", "x"},
        {"\\", ""},
        {"\\text", ""},
        {"+5", "5"},
        {"f(x) = 5", "5"},
        {"total = 5", "total=5"},
        {"  a \\quad b ~ c ", "abc"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        char *text = eval_math_normalise(eval_str(pairs[i][0]));

        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
}

static void test_bad_goals_are_refused(void **state)
{
    static const struct {
        const char *kind, *answer, *choices, *text;
    } rows[] = {
        {"exat", "\"a\"", NULL,
         "\"score\" is \"exat\", should be exact, number, choice, json, tool, facts, math or code"},
        {"exact", "[1]", NULL, "\"answer\" should be a string or number"},
        {"exact", "null", NULL, "\"answer\" should be a string or number"},
        {"number", "\"about 5\"", NULL, "\"answer\" should be a number or a string that is one"},
        {"number", "\"\"", NULL, "\"answer\" should be a number or a string that is one"},
        {"choice", "\"AB\"", NULL, "\"answer\" should be one capital letter"},
        {"choice", "\"b\"", NULL, "\"answer\" should be one capital letter"},
        {"choice", "1", NULL, "\"answer\" should be one capital letter"},
        {"choice", "\"C\"", "[\"x\", \"y\"]", "\"answer\" is beyond the 2 choices"},
        {"choice", "\"A\"", "[\"x\"]", "\"choices\" should be an array of 2 to 26 strings"},
        {"choice", "\"A\"", "{}", "\"choices\" should be an array of 2 to 26 strings"},
        {"choice", "\"A\"", "[\"x\", 1]", "\"choices\"[1] should be a string"},
        {"json", "\"a\"", NULL, "\"answer\" should be an object or array"},
        {"json", "{\"a\": 1, \"a\": 2}", NULL, "\"answer\": duplicate object key near '\"a\"'"},
        {"json", "[123456789012345678901234567890]", NULL, "\"answer\": too big integer"},
        {"tool", "{\"name\": \"f\"}", NULL,
         "\"answer\" should be {\"name\": string, \"arguments\": object}, or an array of these"},
        {"tool", "[]", NULL,
         "\"answer\" should be {\"name\": string, \"arguments\": object}, or an array of these"},
        {"facts", "{}", NULL,
         "\"answer\" should be {\"all\": [[strings], ...], \"none\": [strings]}, not both empty"},
        {"facts", "{\"all\": \"x\"}", NULL,
         "\"answer\" should be {\"all\": [[strings], ...], \"none\": [strings]}, not both empty"},
        {"facts", "{\"all\": [\"x\"]}", NULL, "\"all\"[0] should be an array of non-empty strings"},
        {"facts", "{\"all\": [[\"x\"], [\"\"]]}", NULL, "\"all\"[1] should be an array of non-empty strings"},
        {"facts", "{\"none\": [1]}", NULL, "\"none\" should be an array of non-empty strings"},
        {"code", "{\"prompt\": \"x\"}", NULL,
         "\"answer\" should be {\"prompt\": string, \"test\": string, \"entry_point\": string}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fault fault = {0};
        struct eval_goal g;

        assert_int_equal(
            eval_goal_new(eval_str(rows[i].kind), json(rows[i].answer), json(rows[i].choices), &fault, &g),
            EVAL_E_BAD);
        if (strncmp(fault.text, rows[i].text, strlen(rows[i].text)))
            fail_msg("%s %s: %s", rows[i].kind, rows[i].answer, fault.text);
    }
}

/* hostile answers: a megabyte of what each scorer finds hardest; they must end, and be wrong */

enum { HUGE_BYTES = 1 << 20 };

static struct chat_str repeated(char *text, const char *unit)
{
    const size_t n = strlen(unit);

    for (size_t i = 0; i < HUGE_BYTES; i++)
        text[i] = unit[i % n];
    return (struct chat_str){text, HUGE_BYTES};
}

static void test_huge_answers_are_wrong_and_end(void **state)
{
    static const struct {
        const char *kind, *want;
    } goals[] = {{"exact", "\"x\""},
                 {"number", "5"},
                 {"choice", "\"B\""},
                 {"json", "{\"a\": 1}"},
                 {"tool", "{\"name\": \"f\", \"arguments\": {\"a\": 1}}"},
                 {"facts", "{\"all\": [[\"no such thing\"]]}"},
                 {"math", "\"x\""}};
    static const char *const units[] = {
        "(",
        "[",
        "{\"a\":",
        "\\boxed{",
        "\\frac{",
        "}",
        "answer ",
        "A ",
        "```\n",
        "<tool_call>\n<function=f>",
        "<tool_call>\n<function=f>\n<parameter=a>",
        "9",
        "1,234,",
        "-",
        "e",
        " ",
        "\xe2\x88\x92",
        "\xff",
        "\\",
        "no such thin ",
        "\\boxed{x}}",
    };
    char *text = malloc(HUGE_BYTES);

    for (size_t g = 0; g < ARRAY_SIZE(goals); g++) {
        struct eval_goal want = goal(goals[g].kind, goals[g].want, NULL);

        for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
            const bool is_box = !strcmp(goals[g].kind, "math") && !strcmp(units[u], "\\boxed{x}}");

            if (score(&want, repeated(text, units[u])).right != is_box)
                fail_msg("%s: a megabyte of %s", goals[g].kind, units[u]);
        }
        memset(text, 0, HUGE_BYTES);
        assert_false(score(&want, (struct chat_str){text, HUGE_BYTES}).right);
        assert_false(score(&want, (struct chat_str){NULL, 0}).right);
        eval_goal_deinit(&want);
    }
    free(text);
}

static void test_got_is_cut_at_a_whole_character(void **state)
{
    struct eval_goal g = goal("exact", "\"x\"", NULL);
    char text[400];
    struct eval_verdict verdict;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 ? '\xa9' : '\xc3';
    verdict = score(&g, (struct chat_str){text, sizeof(text)});
    assert_int_equal(strlen(verdict.got), EVAL_GOT_BYTES - 2); /* an even number of bytes below 128 */
    eval_goal_deinit(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_trims_and_compares_bytes),
        cmocka_unit_test(test_number_takes_the_last_one),
        cmocka_unit_test(test_choice_reads_the_letter),
        cmocka_unit_test(test_json_compares_values),
        cmocka_unit_test(test_tool_reads_the_templates_form),
        cmocka_unit_test(test_facts_are_looked_for_in_either_case),
        cmocka_unit_test(test_math_compares_spellings),
        cmocka_unit_test(test_math_writes_fractions_with_a_slash),
        cmocka_unit_test(test_bad_goals_are_refused),
        cmocka_unit_test(test_huge_answers_are_wrong_and_end),
        cmocka_unit_test(test_got_is_cut_at_a_whole_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
