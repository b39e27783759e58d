/* eval_adapt.c - records of GPQA, MATH-500 and HumanEval as questions.  See eval_suite.h.
 *
 * Field names as the published files have them: GPQA's gpqa_*.csv, MATH-500's test.jsonl, HumanEval.jsonl.
 * The sets are not part of this project. */
#include "eval_csv.h"
#include "eval_suite.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/engine/sample.h"

const char *const eval_formats[EVAL_N_FORMATS] = {
    [EVAL_AUTO] = "auto",       [EVAL_SUITE] = "suite",         [EVAL_GPQA] = "gpqa",
    [EVAL_MATH500] = "math500", [EVAL_HUMANEVAL] = "humaneval",
};

static bool eval_row_cell(const struct eval_row *row, const char *name, struct chat_str *ret_cell)
{
    for (size_t i = 0; i < MIN(row->header->n, row->cells->n); i++) {
        if (!eval_equal(eval_trim(eval_cell(row->header, i)), eval_str(name)))
            continue;
        *ret_cell = eval_cell(row->cells, i);
        return true;
    }
    return false;
}

int eval_row_find(const struct eval_row *row, const char *name, char **ret_text, size_t *ret_n)
{
    struct chat_str cell = {0};
    struct jtext value = {0};
    char *text;

    *ret_text = NULL;
    if (row->object.s && (!jtext_find(row->object, name, &value) || jtext_kind(value) != JTEXT_STRING))
        return 0;
    if (!row->object.s && !eval_row_cell(row, name, &cell))
        return 0;
    text = malloc(MAX(value.n, cell.n) + 1);
    if (!text)
        return err_origin(-ENOMEM);
    if (row->object.s)
        cell.n = jtext_decode(value, text);
    else if (cell.n)
        memcpy(text, cell.s, cell.n);
    text[cell.n] = '\0';
    *ret_text = text;
    *ret_n = cell.n;
    return 0;
}

/* A field that must be there and not be empty. */
static int eval_row_get(const struct eval_row *row, const char *name, struct fault *fault, char **ret_text)
{
    size_t n = 0;
    int r = eval_row_find(row, name, ret_text, &n);

    if (!r && (!*ret_text || !eval_trim((struct chat_str){*ret_text, n}).n))
        r = fault_set(fault, EVAL_SUITE_E_BAD, "\"%s\" should be a text that is not empty", name);
    if (!r && strlen(*ret_text) != n)
        r = fault_set(fault, EVAL_SUITE_E_BAD, "\"%s\" has a NUL character", name);
    return r;
}

static bool eval_row_has(const struct eval_row *row, const char *name)
{
    struct chat_str cell;
    struct jtext value;

    return row->object.s ? jtext_find(row->object, name, &value) : eval_row_cell(row, name, &cell);
}

enum eval_format eval_detect(const struct eval_row *row)
{
    static const struct {
        enum eval_format format;
        const char *fields[2];
    } signs[] = {{EVAL_SUITE, {"messages", "score"}},
                 {EVAL_GPQA, {"Question", "Correct Answer"}},
                 {EVAL_HUMANEVAL, {"prompt", "entry_point"}},
                 {EVAL_MATH500, {"problem", "answer"}}};

    for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
        if (eval_row_has(row, signs[i].fields[0]) && eval_row_has(row, signs[i].fields[1]))
            return signs[i].format;
    return EVAL_AUTO;
}

static int eval_draft_question(struct eval_draft *draft, const char *fmt, ...) _printf_(2, 3);
static int eval_draft_question(struct eval_draft *draft, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&draft->question, fmt, ap);
    va_end(ap);
    if (n < 0) {
        draft->question = NULL;
        return err_origin(-ENOMEM);
    }
    draft->n_question = (size_t)n;
    return 0;
}

/* GPQA */

enum { GPQA_CHOICES = 4 };
struct gpqa {
    char *question, *choices[GPQA_CHOICES]; /* owned; choices[0] is the right one */
    int order[GPQA_CHOICES];                /* which choice stands at A, B, C, D */
};

static void gpqa_deinit(struct gpqa *g)
{
    free(g->question);
    for (int i = 0; i < GPQA_CHOICES; i++)
        free(g->choices[i]);
}

static int gpqa_read(const struct eval_row *row, struct fault *fault, struct gpqa *g)
{
    static const char *const names[GPQA_CHOICES] = {"Correct Answer", "Incorrect Answer 1",
                                                    "Incorrect Answer 2", "Incorrect Answer 3"};
    int r = eval_row_get(row, "Question", fault, &g->question);

    for (int i = 0; i < GPQA_CHOICES && !r; i++)
        r = eval_row_get(row, names[i], fault, &g->choices[i]);
    return r;
}

/* Fisher and Yates, from one Philox block: the order depends on the seed and on the item's place only. */
static void gpqa_shuffle(struct gpqa *g, uint64_t seed, size_t index)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)((uint64_t)index >> 32), 0, 0};
    uint32_t random[4];

    philox4x32(counter, key, random);
    for (int i = 0; i < GPQA_CHOICES; i++)
        g->order[i] = i;
    for (int i = GPQA_CHOICES - 1; i > 0; i--) {
        const int j = (int)(((uint64_t)random[i] * (uint64_t)(i + 1)) >> 32), kept = g->order[i];

        g->order[i] = g->order[j];
        g->order[j] = kept;
    }
}

static const char *gpqa_at(const struct gpqa *g, int place)
{
    const struct chat_str s = eval_trim(eval_str(g->choices[g->order[place]]));

    g->choices[g->order[place]][s.s + s.n - g->choices[g->order[place]]] = '\0';
    return s.s;
}

static int gpqa_goal(const struct gpqa *g, struct eval_goal *goal)
{
    goal->kind = EVAL_CHOICE;
    goal->choices = json_array();
    for (int i = 0; i < GPQA_CHOICES; i++) {
        if (!g->order[i])
            goal->answer = json_stringn((char[]){(char)('A' + i)}, 1);
        json_array_append_new(goal->choices, json_string(gpqa_at(g, i)));
    }
    return goal->answer && json_array_size(goal->choices) == GPQA_CHOICES ? 0 : err_origin(-ENOMEM);
}

static int gpqa_adapt(const struct eval_row *row, uint64_t seed, size_t index, struct fault *fault,
                      struct eval_draft *draft)
{
    _cleanup_(gpqa_deinit) struct gpqa g = {0};
    size_t n;
    int r = gpqa_read(row, fault, &g);

    if (r)
        return r;
    gpqa_shuffle(&g, seed, index);
    r = gpqa_goal(&g, &draft->goal);
    if (!r)
        r = eval_row_find(row, "Record ID", &draft->id, &n);
    if (!r)
        r = eval_row_find(row, "High-level domain", &draft->family, &n);
    if (r)
        return r;
    return eval_draft_question(
        draft,
        "%s\n\nA) %s\nB) %s\nC) %s\nD) %s\n\nEnd with a line \"Answer: X\", where X is the letter of "
        "the right choice.",
        eval_trim(eval_str(g.question)).s, gpqa_at(&g, 0), gpqa_at(&g, 1), gpqa_at(&g, 2), gpqa_at(&g, 3));
}

/* MATH-500 */

static int math500_adapt(const struct eval_row *row, struct fault *fault, struct eval_draft *draft)
{
    _cleanup_(freep) char *problem = NULL, *answer = NULL;
    size_t n;
    int r = eval_row_get(row, "problem", fault, &problem);

    if (!r)
        r = eval_row_get(row, "answer", fault, &answer);
    if (!r)
        r = eval_row_find(row, "unique_id", &draft->id, &n);
    if (!r)
        r = eval_row_find(row, "subject", &draft->family, &n);
    if (r)
        return r;
    draft->goal = (struct eval_goal){.kind = EVAL_MATH, .answer = json_string(answer)};
    if (!draft->goal.answer)
        return err_origin(-ENOMEM);
    /* the sentence that the models' card recommends for problems of this kind */
    return eval_draft_question(
        draft, "%s\n\nPlease reason step by step, and put your final answer within \\boxed{}.", problem);
}

/* HumanEval */

static int humaneval_adapt(const struct eval_row *row, struct fault *fault, struct eval_draft *draft)
{
    _cleanup_(freep) char *prompt = NULL, *test = NULL, *entry = NULL;
    size_t n;
    int r = eval_row_get(row, "prompt", fault, &prompt);

    if (!r)
        r = eval_row_get(row, "test", fault, &test);
    if (!r)
        r = eval_row_get(row, "entry_point", fault, &entry);
    if (!r)
        r = eval_row_find(row, "task_id", &draft->id, &n);
    if (r)
        return r;
    draft->goal = (struct eval_goal){
        .kind = EVAL_CODE,
        .answer = json_pack("{s:s, s:s, s:s}", "prompt", prompt, "test", test, "entry_point", entry)};
    if (!draft->goal.answer)
        return err_origin(-ENOMEM);
    return eval_draft_question(draft,
                               "Complete this Python function. Answer with the whole function in one "
                               "```python block.\n\n```python\n%s\n```",
                               prompt);
}

int eval_adapt(enum eval_format format, const struct eval_row *row, uint64_t seed, size_t index,
               struct fault *fault, struct eval_draft *draft)
{
    if (format == EVAL_GPQA)
        return gpqa_adapt(row, seed, index, fault, draft);
    if (format == EVAL_MATH500)
        return math500_adapt(row, fault, draft);
    return humaneval_adapt(row, fault, draft);
}
