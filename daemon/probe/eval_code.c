/* eval_code.c - answers that are Python functions.  See eval_code.h. */
#include "eval_code.h"

#include <stdio.h>
#include <string.h>

#include "daemon/model/unicode.h"

/* Whether "def NAME" followed by "(" stands at the start of a line. */
static bool eval_code_defines(struct chat_str code, struct chat_str name)
{
    for (size_t i = 0; i < code.n; i = eval_find(code, i, "\n") + 1) {
        const size_t at = i + 4;

        if (eval_has_at(code, i, "def ") && at + name.n < code.n && !memcmp(code.s + at, name.s, name.n) &&
            (code.s[at + name.n] == '(' || code.s[at + name.n] == ' '))
            return true;
    }
    return false;
}

/* The fenced block that defines the function; else the first; else the whole answer, as it stands: it may be
 * the body of the function that the prompt begins, whose indentation counts. */
static struct chat_str eval_code_find(struct chat_str answer, struct chat_str name)
{
    struct chat_str block, first = {0};
    size_t cursor = 0;

    while (eval_next_fence(answer, &cursor, &block)) {
        if (eval_code_defines(block, name))
            return block;
        if (!first.s)
            first = block;
    }
    return first.s ? first : answer;
}

int eval_code_program(const struct eval_goal *goal, struct chat_str answer, char **ret_program, size_t *ret_n)
{
    const struct chat_str name = eval_json_str(json_object_get(goal->answer, "entry_point"));
    const struct chat_str prompt = eval_json_str(json_object_get(goal->answer, "prompt"));
    const struct chat_str code = eval_code_find(answer, name);
    /* A prompt is itself a function whose body is its documentation, so a whole function may follow it, which
     * replaces it; the rest of a body continues it. */
    const struct chat_str parts[] = {prompt,
                                     eval_str(eval_code_defines(code, name) ? "\n\n" : ""),
                                     code,
                                     eval_str("\n\n"),
                                     eval_json_str(json_object_get(goal->answer, "test")),
                                     eval_str("\n\ncheck("),
                                     name,
                                     eval_str(")\n")};
    struct unicode_text text = {0};
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(parts) && !r; i++)
        r = unicode_text_append(&text, parts[i].s, parts[i].n);
    if (r) {
        unicode_text_deinit(&text);
        return r;
    }
    *ret_program = text.s;
    *ret_n = text.n;
    return 0;
}

static void eval_code_say(const struct eval_sandbox_result *result, struct eval_verdict *verdict)
{
    const struct chat_str output = eval_trim((struct chat_str){result->output, result->n_output});
    char text[64];
    size_t last = output.n;

    if (result->passed) {
        eval_got(verdict, eval_str("passed"));
        return;
    }
    if (result->end == EVAL_SANDBOX_TIMEOUT)
        snprintf(text, sizeof(text), "stopped: took too long");
    else if (result->end == EVAL_SANDBOX_SIGNAL)
        snprintf(text, sizeof(text), "killed by signal %d", result->status);
    else
        snprintf(text, sizeof(text), "ended with status %d before the test's end", result->status);
    eval_got(verdict, eval_str(text));
    if (result->end != EVAL_SANDBOX_EXIT || !output.n)
        return;
    while (last && output.s[last - 1] != '\n') /* of a back-trace the last line names the error */
        last--;
    eval_got(verdict, (struct chat_str){output.s + last, output.n - last});
}

int eval_code_score(const struct eval_goal *goal, struct chat_str answer, struct fault *fault,
                    struct eval_verdict *ret_verdict)
{
    _cleanup_(eval_sandbox_result_deinit) struct eval_sandbox_result result = {0};
    _cleanup_(freep) char *program = NULL;
    struct eval_verdict verdict = {0};
    size_t n = 0;
    int r = eval_code_program(goal, answer, &program, &n);

    if (!r)
        r = eval_sandbox_run((struct chat_str){program, n}, &EVAL_SANDBOX_LIMITS, fault, &result);
    if (r)
        return r;
    verdict.right = result.passed;
    eval_code_say(&result, &verdict);
    *ret_verdict = verdict;
    return 0;
}
