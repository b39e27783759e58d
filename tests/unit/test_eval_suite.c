/* test_eval_suite.c - suites read whole, the published sets' shapes, and refusals that say where. */
#include "daemon/probe/eval_code.h"
#include "daemon/probe/eval_csv.h"
#include "daemon/probe/eval_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *golden;

static struct eval_suite read_golden(const char *file, const struct eval_suite_options *options)
{
    struct fault fault = {0};
    struct eval_suite suite;
    char path[4096];

    snprintf(path, sizeof(path), "%s/eval/%s", golden, file);
    if (eval_suite_read(path, options, &fault, &suite))
        fail_msg("%s", fault.text);
    return suite;
}

static bool prompt_has(const struct eval_item *item, const char *text)
{
    return memmem(item->prompt.text, item->prompt.n, text, strlen(text));
}

static void expect_prompt(const struct eval_item *item, const char *text)
{
    if (!prompt_has(item, text))
        fail_msg("%s: not \"%s\" in \"%.*s\"", item->id, text, (int)item->prompt.n, item->prompt.text);
}

static void test_own_form_is_rendered_by_the_template(void **state)
{
    struct eval_suite on = read_golden("items.jsonl", &(struct eval_suite_options){.thinking = true});
    struct eval_suite off = read_golden("items.jsonl", &(struct eval_suite_options){.thinking = false});

    assert_int_equal(on.n, 9);
    assert_string_equal(on.items[0].id, "exact-1");
    assert_string_equal(on.items[0].family, "word");
    assert_int_equal(on.items[8].line_no, 9);
    expect_prompt(&on.items[0],
                  "<|im_start|>user\nSpell cat backwards.<|im_end|>\n<|im_start|>assistant\n<think>\n");
    expect_prompt(&off.items[0], "<|im_start|>assistant\n<think>\n\n</think>\n\n");
    expect_prompt(&on.items[4], "<|im_start|>system\nAnswer with JSON.<|im_end|>");
    expect_prompt(&on.items[5], "{\"type\": \"function\", \"function\": {\"name\": \"weather\"");
    expect_prompt(&on.items[8], "<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\nAnd one more?");
    eval_suite_deinit(&on);
    eval_suite_deinit(&off);
}

static void test_limit_counts_by_family(void **state)
{
    struct eval_suite suite = read_golden("known.jsonl", &(struct eval_suite_options){.limit = 1});

    assert_int_equal(suite.n, 2);
    assert_string_equal(suite.items[0].id, "never-1");
    assert_string_equal(suite.items[1].id, "always-1");
    eval_suite_deinit(&suite);
}

/* GPQA */

static const char *gpqa_right_text(const struct eval_item *item)
{
    const char letter = json_string_value(item->goal.answer)[0];

    return json_string_value(json_array_get(item->goal.choices, (size_t)(letter - 'A')));
}

static void test_gpqa_keeps_the_right_choice_through_the_shuffle(void **state)
{
    bool moved = false;
    int at[4] = {0};

    for (uint64_t seed = 0; seed < 64; seed++) {
        struct eval_suite suite =
            read_golden("gpqa.csv", &(struct eval_suite_options){.seed = seed, .thinking = true});
        const struct eval_item *item = &suite.items[0];

        assert_int_equal(suite.n, 2);
        assert_string_equal(item->id, "rec1");
        assert_string_equal(item->family, "Chemistry");
        assert_int_equal(item->goal.kind, EVAL_CHOICE);
        assert_string_equal(gpqa_right_text(item), "Mercury");
        assert_string_equal(gpqa_right_text(&suite.items[1]), "Two");
        at[json_string_value(item->goal.answer)[0] - 'A']++;
        moved |=
            strcmp(json_string_value(item->goal.answer), json_string_value(suite.items[1].goal.answer)) != 0;
        eval_suite_deinit(&suite);
    }
    assert_true(moved); /* each item has an order of its own */
    for (int i = 0; i < 4; i++)
        assert_in_range(at[i], 6, 26); /* of 64; 16 is the mean, the bounds are 3 deviations away */
}

static void test_gpqa_prompt_lists_the_choices(void **state)
{
    struct eval_suite suite = read_golden("gpqa.csv", &(struct eval_suite_options){.seed = 1});
    const struct eval_item *item = &suite.items[0];
    const json_t *choices = item->goal.choices;
    char text[400];

    assert_int_equal(item->line_no, 2);
    assert_int_equal(suite.items[1].line_no, 5); /* behind a record of three lines */
    snprintf(text, sizeof(text),
             "Which of these, at room temperature,\nis a \"liquid\" metal?\n\nA) %s\nB) %s\nC) %s\nD) %s\n\n",
             json_string_value(json_array_get(choices, 0)), json_string_value(json_array_get(choices, 1)),
             json_string_value(json_array_get(choices, 2)), json_string_value(json_array_get(choices, 3)));
    expect_prompt(item, text);
    expect_prompt(item, ") Copper\n"); /* trimmed */
    eval_suite_deinit(&suite);
}

static void test_gpqa_reads_json_lines_too(void **state)
{
    static const char text[] =
        "{\"Question\": \"Q?\", \"Correct Answer\": \"yes\", \"Incorrect Answer 1\": \"a\", "
        "\"Incorrect Answer 2\": \"b\", \"Incorrect Answer 3\": \"c\"}\n";
    const struct eval_suite_options options = {.seed = 5};
    struct fault fault = {0};
    struct eval_suite suite;

    assert_int_equal(eval_suite_parse("x", eval_str(text), &options, &fault, &suite), 0);
    assert_string_equal(gpqa_right_text(&suite.items[0]), "yes");
    assert_string_equal(suite.items[0].id, "1");
    assert_string_equal(suite.items[0].family, "gpqa");
    eval_suite_deinit(&suite);
}

/* MATH-500 and HumanEval */

static void test_math500_asks_for_a_box(void **state)
{
    struct eval_suite suite = read_golden("math500.jsonl", &(struct eval_suite_options){.thinking = true});
    struct eval_verdict verdict;

    assert_int_equal(suite.n, 2);
    assert_string_equal(suite.items[0].id, "test/prealgebra/own-1.json");
    assert_string_equal(suite.items[1].family, "Algebra");
    expect_prompt(&suite.items[0], "put your final answer within \\boxed{}.<|im_end|>");
    assert_int_equal(eval_goal_score(&suite.items[1].goal, eval_str("\\boxed{(-2,2)}"), &verdict), 0);
    assert_true(verdict.right);
    eval_suite_deinit(&suite);
}

static void test_humaneval_needs_leave_to_run_code(void **state)
{
    const struct eval_suite_options options = {.run_code = false};
    struct fault fault = {0};
    struct eval_suite suite;
    char path[4096];

    snprintf(path, sizeof(path), "%s/eval/humaneval.jsonl", golden);
    assert_int_equal(eval_suite_read(path, &options, &fault, &suite), EVAL_SUITE_E_BAD);
    assert_non_null(
        strstr(fault.text, "humaneval.jsonl:1: this item is scored by running what the model writes"));
}

static void expect_program(const struct eval_item *item, const char *answer, const char *want)
{
    char *program;
    size_t n;

    assert_int_equal(eval_code_program(&item->goal, eval_str(answer), &program, &n), 0);
    if (n != strlen(want) || memcmp(program, want, n))
        fail_msg("%.*s", (int)n, program);
    free(program);
}

static void test_humaneval_programs_join_prompt_and_answer(void **state)
{
    struct eval_suite suite = read_golden("humaneval.jsonl", &(struct eval_suite_options){.run_code = true});
    const struct eval_item *item = &suite.items[1];
    const char *prompt = json_string_value(json_object_get(item->goal.answer, "prompt"));
    const char *test = json_string_value(json_object_get(item->goal.answer, "test"));
    char want[2000];

    assert_string_equal(item->id, "Own/1");
    expect_prompt(item, "```python\ndef double(x):");
    snprintf(want, sizeof(want), "%s\n\ndef quadruple(x):\n    return 4 * x\n\n%s\n\ncheck(quadruple)\n",
             prompt, test);
    expect_program(
        item, "Sure:\n```python\nx = 1\n```\n```python\ndef quadruple(x):\n    return 4 * x\n```\n", want);
    expect_program(item, "def quadruple(x):\n    return 4 * x", want);
    snprintf(want, sizeof(want), "%s    return 4 * x\n\n%s\n\ncheck(quadruple)\n", prompt, test);
    expect_program(item, "    return 4 * x", want);
    expect_program(item, "```\n    return 4 * x\n```", want);
    eval_suite_deinit(&suite);
}

static void test_humaneval_answers_are_run(void **state)
{
    static const struct {
        const char *answer, *got;
    } rows[] = {
        {"```python\ndef quadruple(x):\n    return double(double(x))\n```", "passed"},
        {"    return double(double(x))\n", "passed"},
        {"    return 3 * x\n", "AssertionError"},
        {"    return y\n", "NameError: name 'y' is not defined"},
        {"import os\nos._exit(0)\n", "ended with status 0 before the test's end"},
        {"", "AssertionError"},
    };
    struct eval_suite suite = read_golden("humaneval.jsonl", &(struct eval_suite_options){.run_code = true});

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fault fault = {0};
        struct eval_verdict verdict;
        int r = eval_code_score(&suite.items[1].goal, eval_str(rows[i].answer), &fault, &verdict);

        if (r == EVAL_SANDBOX_E_NONE) {
            eval_suite_deinit(&suite);
            print_message("%s\n", fault.text);
            skip();
        }
        assert_int_equal(r, 0);
        assert_string_equal(verdict.got, rows[i].got);
        assert_int_equal(verdict.right, !strcmp(rows[i].got, "passed"));
    }
    eval_suite_deinit(&suite);
}

/* refusals */

#define GOOD                                                                                                 \
    "{\"id\":\"a\",\"family\":\"f\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"                   \
    "\"score\":\"exact\",\"answer\":\"y\"}\n"

static void test_bad_suites_are_refused_with_file_and_line(void **state)
{
    static const struct {
        const char *text, *why;
        enum eval_format format;
    } rows[] = {
        {"", "s: no items", EVAL_AUTO},
        {"\n\n", "s: no items", EVAL_SUITE},
        {GOOD "{\n", "s:2: not JSON: key expected at byte 1", EVAL_AUTO},
        {GOOD "\n\n[1]\n", "s:4: should be a JSON object", EVAL_AUTO},
        {"{\"a\": 1}\n", "s:1: neither \"messages\" and \"score\" nor the fields of GPQA", EVAL_AUTO},
        {",\n,\n", "s:2: neither \"messages\"", EVAL_AUTO},
        {"a,b\n1,2\n", "s:2: neither \"messages\"", EVAL_AUTO},
        {"{}", "s:1: \"id\" should be a string of 1 to 64 bytes", EVAL_SUITE},
        {GOOD "{\"id\":\"\"}", "s:2: \"id\" should be a string of 1 to 64 bytes", EVAL_AUTO},
        {GOOD "{\"id\":\"a\\u0000\"}", "s:2: \"id\" should be", EVAL_AUTO},
        {GOOD "{\"id\":\"a\"}", "s:2: \"family\" should be a string of 1 to 64 bytes", EVAL_AUTO},
        {GOOD "{\"id\":\"a\",\"family\":\"b\"}", "s:2: \"score\" should be a string", EVAL_AUTO},
        {GOOD "{\"id\":\"a\",\"family\":\"b\",\"score\":\"exact\"}", "s:2: \"answer\" is missing", EVAL_AUTO},
        {GOOD "{\"id\":\"a\",\"family\":\"b\",\"score\":\"exact\",\"answer\":\"x\"}",
         "s:2: \"messages\" should be an array", EVAL_AUTO},
        {GOOD "{\"id\":\"a\",\"family\":\"b\",\"score\":\"exact\",\"answer\":\"x\",\"messages\":[1]}",
         "s:2: message 0 should be an object", EVAL_AUTO},
        {GOOD "{\"id\":\"a\",\"family\":\"b\",\"score\":\"exact\",\"answer\":\"x\",\"messages\":[]}",
         "s:2: No messages provided.", EVAL_AUTO},
        {GOOD "\xff\n", "s:2: not UTF-8 at byte", EVAL_AUTO},
        {"{\"Question\":\"q\",\"Correct Answer\":\" \"}",
         "s:1: \"Correct Answer\" should be a text that is not empty", EVAL_AUTO},
        {"{\"Question\":\"q\",\"Correct Answer\":\"a\"}",
         "s:1: \"Incorrect Answer 1\" should be a text that is not empty", EVAL_AUTO},
        {"{\"problem\":\"q\",\"answer\":5}", "s:1: \"answer\" should be a text that is not empty", EVAL_AUTO},
        {"{\"problem\":\"q\\u0000\",\"answer\":\"5\"}", "s:1: \"problem\" has a NUL character", EVAL_AUTO},
        {"{\"prompt\":\"q\",\"entry_point\":\"f\"}", "s:1: \"test\" should be a text that is not empty",
         EVAL_AUTO},
        {"problem,answer\n\"a\nb\",c\nd\n", "s:4: 1 cells, the first line has 2", EVAL_AUTO},
        {"Question,Correct Answer\n\"a\nb,c\n", "s:2: a quoted cell without an end", EVAL_AUTO},
        {"Question,Correct Answer\n\"a\"b,c\n", "s:2: text behind a quoted cell", EVAL_AUTO},
        {"messages,score\n1,2\n", "s:2: a suite of our own is JSON lines, not CSV", EVAL_AUTO},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct eval_suite_options options = {.format = rows[i].format};
        struct fault fault = {0};
        struct eval_suite suite;

        assert_int_equal(eval_suite_parse("s", eval_str(rows[i].text), &options, &fault, &suite),
                         EVAL_SUITE_E_BAD);
        if (strncmp(fault.text, rows[i].why, strlen(rows[i].why)))
            fail_msg("\"%s\": %s", rows[i].text, fault.text);
    }
}

static void test_missing_files_are_named(void **state)
{
    const struct eval_suite_options options = {0};
    struct fault fault = {0};
    struct eval_suite suite;

    assert_int_equal(eval_suite_read("/none.jsonl", &options, &fault, &suite), EVAL_SUITE_E_BAD);
    assert_string_equal(fault.text, "/none.jsonl: No such file or directory");
    assert_int_equal(eval_suite_read("/", &options, &fault, &suite), EVAL_SUITE_E_BAD);
    assert_string_equal(fault.text, "/: Is a directory");
}

static void test_a_suite_may_come_with_a_byte_order_mark_and_crlf(void **state)
{
    const struct eval_suite_options options = {0};
    struct fault fault = {0};
    struct eval_suite suite;

    assert_int_equal(
        eval_suite_parse("s", eval_str("\xef\xbb\xbf" GOOD "\r\n" GOOD), &options, &fault, &suite), 0);
    assert_int_equal(suite.n, 2);
    assert_int_equal(suite.items[1].line_no, 3);
    eval_suite_deinit(&suite);
}

/* CSV */

static void test_csv_follows_rfc_4180(void **state)
{
    struct eval_csv csv = {.s = eval_str("a,\"b\"\"c\",\r\n\r\n\"x\r\ny\",,z"), .line_no = 1};
    struct eval_cells cells = {0};
    struct fault fault = {0};

    assert_int_equal(eval_csv_next(&csv, &fault, &cells), EVAL_CSV_OK);
    assert_int_equal(cells.n, 3);
    assert_true(eval_equal(eval_cell(&cells, 0), eval_str("a")));
    assert_true(eval_equal(eval_cell(&cells, 1), eval_str("b\"c")));
    assert_int_equal(eval_cell(&cells, 2).n, 0);
    assert_int_equal(eval_csv_next(&csv, &fault, &cells), EVAL_CSV_OK);
    assert_int_equal(cells.n, 3);
    assert_true(eval_equal(eval_cell(&cells, 0), eval_str("x\r\ny")));
    assert_true(eval_equal(eval_cell(&cells, 2), eval_str("z")));
    assert_int_equal(csv.line_no, 4);
    assert_int_equal(eval_csv_next(&csv, &fault, &cells), EVAL_CSV_END);
    unicode_text_deinit(&cells.text);
}

static void test_csv_refuses_too_many_cells(void **state)
{
    char text[EVAL_CSV_CELLS_MAX + 2];
    struct eval_cells cells = {0};
    struct fault fault = {0};

    memset(text, ',', sizeof(text));
    struct eval_csv csv = {.s = {text, EVAL_CSV_CELLS_MAX - 1}, .line_no = 1};
    assert_int_equal(eval_csv_next(&csv, &fault, &cells), EVAL_CSV_OK);
    assert_int_equal(cells.n, EVAL_CSV_CELLS_MAX);
    csv = (struct eval_csv){.s = {text, EVAL_CSV_CELLS_MAX}, .line_no = 1};
    assert_int_equal(eval_csv_next(&csv, &fault, &cells), EVAL_CSV_E_BAD);
    assert_string_equal(fault.text, "more than 256 cells");
    unicode_text_deinit(&cells.text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_form_is_rendered_by_the_template),
        cmocka_unit_test(test_limit_counts_by_family),
        cmocka_unit_test(test_gpqa_keeps_the_right_choice_through_the_shuffle),
        cmocka_unit_test(test_gpqa_prompt_lists_the_choices),
        cmocka_unit_test(test_gpqa_reads_json_lines_too),
        cmocka_unit_test(test_math500_asks_for_a_box),
        cmocka_unit_test(test_humaneval_needs_leave_to_run_code),
        cmocka_unit_test(test_humaneval_programs_join_prompt_and_answer),
        cmocka_unit_test(test_humaneval_answers_are_run),
        cmocka_unit_test(test_bad_suites_are_refused_with_file_and_line),
        cmocka_unit_test(test_missing_files_are_named),
        cmocka_unit_test(test_a_suite_may_come_with_a_byte_order_mark_and_crlf),
        cmocka_unit_test(test_csv_follows_rfc_4180),
        cmocka_unit_test(test_csv_refuses_too_many_cells),
    };

    if (argc != 2)
        return 2;
    golden = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
