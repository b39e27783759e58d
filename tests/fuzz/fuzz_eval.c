/* fuzz_eval.c - libFuzzer target: suites of questions, answers to their items, and LaTeX.
 *
 * The first byte picks the format; the rest up to a line "---" is the suite's text, what follows is an answer
 * that each item is scored with.  What must hold: a suite is refused with a fault or has items with a name, a
 * rendered prompt and a goal; an item is right with its own answer where that is its text (exact, number);
 * whether an answer is right does not change when it is scored again; normalised LaTeX has no NUL, and a
 * number's canonical text is that of an equal number. */
#include <assert.h>
#include <string.h>

#include "daemon/model/utf8.h"
#include "daemon/probe/eval_code.h"
#include "daemon/probe/eval_suite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void fuzz_score(const struct eval_item *item, struct chat_str answer)
{
    struct eval_verdict once, twice;

    if (item->goal.kind == EVAL_CODE) {
        char *program = NULL;
        size_t n_program = 0;

        assert(!eval_code_program(&item->goal, answer, &program, &n_program) && n_program);
        free(program);
        return;
    }
    assert(!eval_goal_score(&item->goal, answer, &once) && !eval_goal_score(&item->goal, answer, &twice));
    assert(once.right == twice.right && !strcmp(once.got, twice.got));
    assert(utf8_valid_prefix(once.got, strlen(once.got)) == strlen(once.got));
    if (item->goal.kind == EVAL_EXACT) {
        assert(!eval_goal_score(&item->goal, eval_json_str(item->goal.answer), &once) && once.right);
    } else if (item->goal.kind == EVAL_NUMBER && json_string_length(item->goal.answer) > 2) {
        /* "e0" is how zero is written, which is no number to read */
        assert(!eval_goal_score(&item->goal, eval_json_str(item->goal.answer), &once) && once.right);
    }
}

static void fuzz_suite(enum eval_format format, struct chat_str text, struct chat_str answer)
{
    const struct eval_suite_options options = {
        .format = format, .thinking = true, .run_code = true, .seed = 1};
    struct eval_suite suite;
    struct fault fault = {0};

    if (eval_suite_parse("s", text, &options, &fault, &suite)) {
        assert(!strncmp(fault.text, "s:", 2));
        return;
    }
    for (size_t i = 0; i < suite.n; i++) {
        const struct eval_item *item = &suite.items[i];

        assert(item->id && item->family && item->prompt.n && item->goal.answer && item->line_no);
        fuzz_score(item, answer);
    }
    eval_suite_deinit(&suite);
}

static void fuzz_text(struct chat_str answer)
{
    struct chat_str found;
    char *latex = eval_math_normalise(answer);

    assert(latex);
    free(latex);
    if (eval_math_boxed(answer, &found))
        assert(found.s >= answer.s && found.s + found.n < answer.s + answer.n && found.s[found.n] == '}');
    if (eval_number_last(answer, &found)) {
        char *once = eval_number_canon(found), *twice;

        assert(once && found.n && found.s >= answer.s && found.s + found.n <= answer.s + answer.n);
        if (eval_number_last(eval_str(once), &found) && found.n == strlen(once)) {
            twice = eval_number_canon(found);
            assert(twice && !strcmp(once, twice));
            free(twice);
        }
        free(once);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char border[] = "\n---\n";
    char *exact = malloc(n + !n); /* so that reading one byte too far is seen */
    struct chat_str all, answer;
    size_t at;

    assert(exact);
    if (n) {
        memcpy(exact, data, n);
        all = (struct chat_str){exact + 1, n - 1};
        at = eval_find(all, 0, border);
        answer = at < all.n
                     ? (struct chat_str){all.s + at + sizeof(border) - 1, all.n - at - sizeof(border) + 1}
                     : (struct chat_str){all.s, 0};
        fuzz_suite((enum eval_format)(data[0] % EVAL_N_FORMATS), (struct chat_str){all.s, at}, answer);
        fuzz_text(all);
    }
    free(exact);
    return 0;
}
