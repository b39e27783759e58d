/* eval_score.c - goals, and the short scorers: exact, number, JSON, facts.  See eval_score.h. */
#include "eval_score.h"

#include <stdio.h>
#include <string.h>

#include "daemon/model/utf8.h"

static const char *const eval_kinds[] = {
    [EVAL_EXACT] = "exact", [EVAL_NUMBER] = "number", [EVAL_CHOICE] = "choice", [EVAL_JSON] = "json",
    [EVAL_TOOL] = "tool",   [EVAL_FACTS] = "facts",   [EVAL_MATH] = "math",     [EVAL_CODE] = "code"};

void eval_got(struct eval_verdict *verdict, struct chat_str text)
{
    size_t n = MIN(text.n, sizeof(verdict->got) - 1);

    n = utf8_valid_prefix(text.s, n);
    if (n)
        memcpy(verdict->got, text.s, n);
    verdict->got[n] = '\0';
}

static void eval_got_note(struct eval_verdict *verdict, const char *note)
{
    eval_got(verdict, eval_str(note));
}

struct chat_str eval_json_str(const json_t *string)
{
    return (struct chat_str){json_string_value(string), json_string_length(string)};
}

/* JSON values */

static bool eval_json_equal_array(const json_t *a, const json_t *b)
{
    const size_t n = json_array_size(a);

    if (n != json_array_size(b))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!eval_json_equal(json_array_get(a, i), json_array_get(b, i)))
            return false;
    return true;
}

static bool eval_json_equal_object(const json_t *a, const json_t *b)
{
    if (json_object_size(a) != json_object_size(b))
        return false;
    for (void *it = json_object_iter((json_t *)a); it; it = json_object_iter_next((json_t *)a, it)) {
        const json_t *other = json_object_get(b, json_object_iter_key(it));

        if (!other || !eval_json_equal(json_object_iter_value(it), other))
            return false;
    }
    return true;
}

bool eval_json_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    switch (json_typeof(a)) {
    case JSON_OBJECT:
        return eval_json_equal_object(a, b);
    case JSON_ARRAY:
        return eval_json_equal_array(a, b);
    default:
        return json_equal(a, b);
    }
}

/* goals */

static int eval_bad(struct fault *fault, const char *want)
{
    return fault_set(fault, EVAL_E_BAD, "\"answer\" should be %s", want);
}

/* A string or number becomes the string of its own text: its digits as they stand. */
static json_t *eval_goal_text(struct jtext answer)
{
    _cleanup_(freep) char *text = NULL;

    if (jtext_kind(answer) == JTEXT_NUMBER)
        return json_stringn(answer.s, answer.n);
    text = malloc(answer.n);
    return text ? json_stringn(text, jtext_decode(answer, text)) : NULL;
}

static int eval_goal_number(struct eval_goal *goal, struct fault *fault)
{
    const struct chat_str text = eval_trim(eval_json_str(goal->answer));
    struct chat_str number;
    _cleanup_(freep) char *canon = NULL;

    if (!eval_number_last(text, &number) || !eval_equal(text, number))
        return eval_bad(fault, "a number or a string that is one");
    canon = eval_number_canon(number);
    json_decref(goal->answer);
    goal->answer = canon ? json_string(canon) : NULL;
    return goal->answer ? 0 : err_origin(-ENOMEM);
}

static int eval_goal_choices(struct eval_goal *goal, struct jtext choices, struct fault *fault)
{
    const struct chat_str letter = eval_json_str(goal->answer);
    size_t n;

    if (letter.n != 1 || letter.s[0] < 'A' || letter.s[0] > 'Z')
        return eval_bad(fault, "one capital letter");
    if (!choices.s)
        return 0;
    goal->choices = json_loadb(choices.s, choices.n, JSON_ALLOW_NUL, NULL);
    n = json_array_size(goal->choices);
    if (n < 2 || n > 26)
        return fault_set(fault, EVAL_E_BAD, "\"choices\" should be an array of 2 to 26 strings");
    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(goal->choices, i)))
            return fault_set(fault, EVAL_E_BAD, "\"choices\"[%zu] should be a string", i);
    if ((size_t)(letter.s[0] - 'A') >= n)
        return fault_set(fault, EVAL_E_BAD, "\"answer\" is beyond the %zu choices", n);
    return 0;
}

static bool eval_is_call(const json_t *call)
{
    return json_is_object(call) && json_is_string(json_object_get(call, "name")) &&
           json_is_object(json_object_get(call, "arguments"));
}

static int eval_goal_tool(const struct eval_goal *goal, struct fault *fault)
{
    static const char want[] = "{\"name\": string, \"arguments\": object}, or an array of these";
    const size_t n = json_array_size(goal->answer);

    if (!json_is_array(goal->answer))
        return eval_is_call(goal->answer) ? 0 : eval_bad(fault, want);
    for (size_t i = 0; i < n; i++)
        if (!eval_is_call(json_array_get(goal->answer, i)))
            return eval_bad(fault, want);
    return n ? 0 : eval_bad(fault, want);
}

static bool eval_is_strings(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_string_length(json_array_get(array, i)))
            return false;
    return json_array_size(array) > 0;
}

static int eval_goal_facts(const struct eval_goal *goal, struct fault *fault)
{
    const json_t *all = json_object_get(goal->answer, "all"), *none = json_object_get(goal->answer, "none");

    if ((!json_array_size(all) && !json_array_size(none)) || (all && !json_is_array(all)) ||
        (none && !json_is_array(none)))
        return eval_bad(fault, "{\"all\": [[strings], ...], \"none\": [strings]}, not both empty");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!eval_is_strings(json_array_get(all, i)))
            return fault_set(fault, EVAL_E_BAD, "\"all\"[%zu] should be an array of non-empty strings", i);
    if (json_array_size(none) && !eval_is_strings(none))
        return fault_set(fault, EVAL_E_BAD, "\"none\" should be an array of non-empty strings");
    return 0;
}

static int eval_goal_code(const struct eval_goal *goal, struct fault *fault)
{
    static const char *const keys[] = {"prompt", "test", "entry_point"};

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (!json_string_length(json_object_get(goal->answer, keys[i])))
            return eval_bad(fault, "{\"prompt\": string, \"test\": string, \"entry_point\": string}");
    return 0;
}

/* Reads the value as what the kind wants. */
static int eval_goal_value(struct eval_goal *goal, struct jtext answer, struct fault *fault)
{
    const bool is_text = jtext_kind(answer) == JTEXT_STRING;
    const bool is_tree = jtext_kind(answer) == JTEXT_OBJECT || jtext_kind(answer) == JTEXT_ARRAY;
    const bool wants_tree = goal->kind == EVAL_JSON || goal->kind == EVAL_TOOL || goal->kind == EVAL_FACTS ||
                            goal->kind == EVAL_CODE;
    json_error_t error;

    if (wants_tree) {
        if (!is_tree)
            return eval_bad(fault, "an object or array");
        goal->answer = json_loadb(answer.s, answer.n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
        return goal->answer ? 0 : fault_set(fault, EVAL_E_BAD, "\"answer\": %s", error.text);
    }
    if (!is_text && (jtext_kind(answer) != JTEXT_NUMBER || goal->kind == EVAL_CHOICE))
        return eval_bad(fault, goal->kind == EVAL_CHOICE ? "one capital letter" : "a string or number");
    goal->answer = eval_goal_text(answer);
    return goal->answer ? 0 : err_origin(-ENOMEM);
}

static int eval_goal_check(struct eval_goal *goal, struct jtext choices, struct fault *fault)
{
    switch (goal->kind) {
    case EVAL_NUMBER:
        return eval_goal_number(goal, fault);
    case EVAL_CHOICE:
        return eval_goal_choices(goal, choices, fault);
    case EVAL_TOOL:
        return eval_goal_tool(goal, fault);
    case EVAL_FACTS:
        return eval_goal_facts(goal, fault);
    case EVAL_CODE:
        return eval_goal_code(goal, fault);
    default:
        return 0;
    }
}

int eval_goal_new(struct chat_str kind, struct jtext answer, struct jtext choices, struct fault *fault,
                  struct eval_goal *ret_goal)
{
    struct eval_goal goal = {.kind = 0};
    int r;

    while (goal.kind < EVAL_N_KINDS && !eval_equal(kind, eval_str(eval_kinds[goal.kind])))
        goal.kind++;
    if (goal.kind == EVAL_N_KINDS)
        return fault_set(
            fault, EVAL_E_BAD,
            "\"score\" is \"%.*s\", should be exact, number, choice, json, tool, facts, math or code",
            (int)MIN(kind.n, (size_t)40), kind.s);
    r = eval_goal_value(&goal, answer, fault);
    if (!r)
        r = eval_goal_check(&goal, choices, fault);
    if (r) {
        eval_goal_deinit(&goal);
        return r;
    }
    *ret_goal = goal;
    return 0;
}

void eval_goal_deinit(struct eval_goal *goal)
{
    json_decref(goal->answer);
    json_decref(goal->choices);
    *goal = (struct eval_goal){0};
}

/* scorers */

static int eval_score_exact(const struct eval_goal *goal, struct chat_str answer,
                            struct eval_verdict *verdict)
{
    answer = eval_trim(answer);
    eval_got(verdict, answer);
    verdict->right = eval_equal(answer, eval_trim(eval_json_str(goal->answer)));
    return 0;
}

static int eval_score_number(const struct eval_goal *goal, struct chat_str answer,
                             struct eval_verdict *verdict)
{
    _cleanup_(freep) char *canon = NULL;
    struct chat_str number;

    if (!eval_number_last(answer, &number)) {
        eval_got_note(verdict, "no number");
        return 0;
    }
    eval_got(verdict, number);
    canon = eval_number_canon(number);
    if (!canon)
        return err_origin(-ENOMEM);
    verdict->right = !strcmp(canon, json_string_value(goal->answer));
    return 0;
}

/* The whole answer, or the only fenced block in it. */
static json_t *eval_json_of(struct chat_str answer)
{
    const size_t flags = JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    struct chat_str block, second;
    size_t cursor = 0;
    json_t *value;

    answer = eval_trim(answer);
    value = answer.n ? json_loadb(answer.s, answer.n, flags, NULL) : NULL;
    if (value || !eval_next_fence(answer, &cursor, &block) || eval_next_fence(answer, &cursor, &second))
        return value;
    return json_loadb(block.s, block.n, flags, NULL);
}

static int eval_score_json(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict)
{
    json_t *value = eval_json_of(answer);

    eval_got(verdict, eval_trim(answer));
    if (!value)
        eval_got_note(verdict, "no JSON");
    verdict->right = value && eval_json_equal(value, goal->answer);
    json_decref(value);
    return 0;
}

/* facts */

/* ASCII letters in lower case, each run of white space one space; so that a fact may be wrapped over a line.
 * text has room for s.n. */
static size_t eval_fold(struct chat_str s, char *text)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (!eval_is_space(s.s[i]))
            text[n++] = eval_lower(s.s[i]);
        else if (!i || !eval_is_space(s.s[i - 1]))
            text[n++] = ' ';
    }
    return n;
}

struct eval_folded {
    char *s; /* owned */
    size_t n;
    bool no_memory;
};

static struct eval_folded eval_fold_new(struct chat_str s)
{
    struct eval_folded f = {.s = malloc(s.n + 1)};

    f.no_memory = !f.s;
    if (f.s)
        f.n = eval_fold(s, f.s);
    return f;
}

/* The first of the strings that occurs in the answer; NULL: none. */
static const json_t *eval_find_fact(struct eval_folded *answer, const json_t *strings)
{
    const json_t *found = NULL;

    for (size_t i = 0; i < json_array_size(strings) && !found; i++) {
        struct eval_folded fact = eval_fold_new(eval_json_str(json_array_get(strings, i)));

        answer->no_memory |= fact.no_memory;
        if (fact.s && memmem(answer->s, answer->n, fact.s, fact.n))
            found = json_array_get(strings, i);
        free(fact.s);
    }
    return found;
}

static void eval_got_fact(struct eval_verdict *verdict, const char *what, const json_t *fact)
{
    char text[EVAL_GOT_BYTES];
    const int n = snprintf(text, sizeof(text), "%s%s", what, json_string_value(fact));

    eval_got(verdict, (struct chat_str){text, MIN((size_t)n, sizeof(text) - 1)});
}

static int eval_score_facts(const struct eval_goal *goal, struct chat_str text, struct eval_verdict *verdict)
{
    const json_t *all = json_object_get(goal->answer, "all"), *none = json_object_get(goal->answer, "none");
    struct eval_folded answer = eval_fold_new(text);
    const json_t *wrong = answer.s ? eval_find_fact(&answer, none) : NULL;

    verdict->right = answer.s && !wrong;
    if (wrong)
        eval_got_fact(verdict, "has: ", wrong);
    for (size_t i = 0; verdict->right && i < json_array_size(all); i++) {
        const json_t *strings = json_array_get(all, i);

        verdict->right = eval_find_fact(&answer, strings) != NULL;
        if (!verdict->right)
            eval_got_fact(verdict, "lacks: ", json_array_get(strings, 0));
    }
    free(answer.s);
    return answer.no_memory ? err_origin(-ENOMEM) : 0;
}

int eval_goal_score(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *ret_verdict)
{
    static int (*const scorers[])(const struct eval_goal *, struct chat_str, struct eval_verdict *) = {
        [EVAL_EXACT] = eval_score_exact, [EVAL_NUMBER] = eval_score_number, [EVAL_CHOICE] = eval_score_choice,
        [EVAL_JSON] = eval_score_json,   [EVAL_TOOL] = eval_score_tool,     [EVAL_FACTS] = eval_score_facts,
        [EVAL_MATH] = eval_score_math};
    struct eval_verdict verdict = {0};
    int r = scorers[goal->kind](goal, answer, &verdict);

    if (r)
        return r;
    *ret_verdict = verdict;
    return 0;
}
