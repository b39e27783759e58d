/* eval_suite.c - a suite's text to items.  See eval_suite.h. */
#include "eval_suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "convo.h"
#include "daemon/model/utf8.h"
#include "eval_csv.h"

enum {
    SUITE_BYTES_MAX = 256 << 20, /* read whole; MATH-500 has 450 KB, GPQA 3 MB */
    SUITE_NAME_MAX = 64,         /* of a family, in bytes: it heads a line of the table */
};

struct suite_reader {
    const char *name; /* of the file, for faults */
    const struct eval_suite_options *options;
    enum eval_format format; /* EVAL_AUTO until the first record */
    struct fault *fault;
    struct eval_suite suite;
    size_t n_records;
};

static void suite_item_deinit(struct eval_item *item)
{
    free(item->id);
    free(item->family);
    eval_goal_deinit(&item->goal);
    chat_text_deinit(&item->prompt);
}

void eval_suite_deinit(struct eval_suite *suite)
{
    for (size_t i = 0; i < suite->n; i++)
        suite_item_deinit(&suite->items[i]);
    free(suite->items);
    *suite = (struct eval_suite){0};
}

static int suite_push(struct eval_suite *suite, const struct eval_item *item)
{
    if (suite->n == suite->cap) {
        const size_t cap = MAX(2 * suite->cap, (size_t)64);
        struct eval_item *grown = reallocarray(suite->items, cap, sizeof(*grown));

        if (!grown)
            return err_origin(-ENOMEM);
        suite->items = grown;
        suite->cap = cap;
    }
    suite->items[suite->n++] = *item;
    return 0;
}

/* Puts "name:line: " before the fault's text. */
static int suite_bad(const struct suite_reader *reader, size_t line_no)
{
    char text[sizeof(reader->fault->text)];

    memcpy(text, reader->fault->text, sizeof(text));
    return fault_set(reader->fault, EVAL_SUITE_E_BAD, "%s:%zu: %s", reader->name, line_no, text);
}

/* records to items */

static int suite_render(const struct chat *chat, struct fault *fault, struct eval_item *item)
{
    item->prompt = CHAT_TEXT_INIT;
    return chat_render(chat, fault, &item->prompt);
}

/* A name that must be there: "id", "family". */
static int suite_name(const struct eval_row *row, const char *key, struct fault *fault, char **ret_name)
{
    size_t n = 0;
    int r = eval_row_find(row, key, ret_name, &n);

    if (r || (*ret_name && n && n <= SUITE_NAME_MAX && strlen(*ret_name) == n))
        return r;
    return fault_set(fault, EVAL_SUITE_E_BAD, "\"%s\" should be a string of 1 to %d bytes", key,
                     SUITE_NAME_MAX);
}

static int suite_goal(struct jtext object, struct fault *fault, struct eval_goal *ret_goal)
{
    struct jtext score, answer, choices = {0};
    char kind[SUITE_NAME_MAX];

    if (!jtext_find(object, "score", &score) || jtext_kind(score) != JTEXT_STRING || score.n > sizeof(kind))
        return fault_set(fault, EVAL_SUITE_E_BAD,
                         "\"score\" should be a string, one of those of docs/EVAL.md");
    if (!jtext_find(object, "answer", &answer))
        return fault_set(fault, EVAL_SUITE_E_BAD, "\"answer\" is missing");
    jtext_find(object, "choices", &choices);
    return eval_goal_new((struct chat_str){kind, jtext_decode(score, kind)}, answer, choices, fault,
                         ret_goal);
}

static int suite_own(const struct suite_reader *reader, const struct eval_row *row, struct eval_item *item)
{
    _cleanup_(convo_deinit) struct convo convo = {0};
    int r = suite_name(row, "id", reader->fault, &item->id);

    if (!row->object.s)
        return fault_set(reader->fault, EVAL_SUITE_E_BAD, "a suite of our own is JSON lines, not CSV");
    if (!r)
        r = suite_name(row, "family", reader->fault, &item->family);
    if (!r)
        r = suite_goal(row->object, reader->fault, &item->goal);
    if (!r)
        r = convo_read(row->object, reader->fault, &convo);
    convo.chat.thinking = reader->options->thinking;
    convo.chat.generation_prompt = true;
    return r ? r : suite_render(&convo.chat, reader->fault, item);
}

static int suite_foreign(const struct suite_reader *reader, const struct eval_row *row,
                         struct eval_item *item)
{
    struct eval_draft draft = {0};
    int r =
        eval_adapt(reader->format, row, reader->options->seed, reader->n_records - 1, reader->fault, &draft);
    const struct chat_message message = {.role = {"user", 4}, .content = {draft.question, draft.n_question}};
    const struct chat chat = {&message, 1, NULL, 0, reader->options->thinking, true};

    if (!r)
        r = suite_render(&chat, reader->fault, item);
    item->id = draft.id;
    item->family = draft.family;
    item->goal = draft.goal;
    free(draft.question);
    if (!r && !item->id && asprintf(&item->id, "%zu", reader->n_records) < 0)
        r = err_origin(-ENOMEM);
    if (!r && !item->family) {
        item->family = strdup(eval_formats[reader->format]);
        r = item->family ? 0 : err_origin(-ENOMEM);
    }
    return r;
}

static bool suite_is_beyond_limit(const struct suite_reader *reader, const char *family)
{
    size_t n = 0;

    for (size_t i = 0; reader->options->limit && i < reader->suite.n; i++)
        n += !strcmp(reader->suite.items[i].family, family);
    return reader->options->limit && n >= reader->options->limit;
}

static int suite_detect(struct suite_reader *reader, const struct eval_row *row)
{
    reader->format = reader->options->format ? reader->options->format : eval_detect(row);
    if (reader->format)
        return 0;
    return fault_set(reader->fault, EVAL_SUITE_E_BAD,
                     "neither \"messages\" and \"score\" nor the fields of GPQA, MATH-500 or HumanEval: "
                     "--format says which it is meant to be");
}

static int suite_record(struct suite_reader *reader, size_t line_no, const struct eval_row *row)
{
    struct eval_item item = {.line_no = line_no};
    int r = reader->format ? 0 : suite_detect(reader, row);

    reader->n_records++;
    if (!r)
        r = reader->format == EVAL_SUITE ? suite_own(reader, row, &item) : suite_foreign(reader, row, &item);
    if (!r && item.goal.kind == EVAL_CODE && !reader->options->run_code)
        r = fault_set(
            reader->fault, EVAL_SUITE_E_BAD,
            "this item is scored by running what the model writes: --run-code allows it, in a sandbox");
    if (!r && !suite_is_beyond_limit(reader, item.family)) {
        r = suite_push(&reader->suite, &item);
        if (!r)
            return 0;
    }
    suite_item_deinit(&item);
    return r > 0 ? suite_bad(reader, line_no) : r;
}

/* text to records */

static int suite_line(struct suite_reader *reader, size_t line_no, struct chat_str line)
{
    struct eval_row row = {0};

    if (!eval_trim(line).n)
        return 0;
    if (jtext_check(line.s, line.n, reader->fault, &row.object))
        return suite_bad(reader, line_no);
    if (jtext_kind(row.object) != JTEXT_OBJECT) {
        fault_set(reader->fault, EVAL_SUITE_E_BAD, "should be a JSON object");
        return suite_bad(reader, line_no);
    }
    return suite_record(reader, line_no, &row);
}

static int suite_json_lines(struct suite_reader *reader, struct chat_str text)
{
    size_t line_no = 0;
    int r = 0;

    for (size_t i = 0, end; !r && i < text.n; i = end + 1) {
        end = eval_find(text, i, "\n");
        r = suite_line(reader, ++line_no, (struct chat_str){text.s + i, end - i});
    }
    return r;
}

static void suite_cells_freep(struct eval_cells **cells)
{
    if (*cells)
        unicode_text_deinit(&(*cells)->text);
    free(*cells);
}

static int suite_csv(struct suite_reader *reader, struct chat_str text)
{
    _cleanup_(suite_cells_freep) struct eval_cells *header = calloc(1, sizeof(*header));
    _cleanup_(suite_cells_freep) struct eval_cells *cells = calloc(1, sizeof(*cells));
    const struct eval_row row = {.header = header, .cells = cells};
    struct eval_csv csv = {.s = text, .line_no = 1};
    int r = header && cells ? eval_csv_next(&csv, reader->fault, header) : err_origin(-ENOMEM);

    while (!r) {
        const size_t line_no = csv.line_no;

        r = eval_csv_next(&csv, reader->fault, cells);
        if (!r && cells->n != header->n)
            r = fault_set(reader->fault, EVAL_CSV_E_BAD, "%zu cells, the first line has %zu", cells->n,
                          header->n);
        if (r == EVAL_CSV_E_BAD)
            return suite_bad(reader, line_no);
        if (!r)
            r = suite_record(reader, line_no, &row);
    }
    return r == EVAL_CSV_END ? 0 : r == EVAL_CSV_E_BAD ? suite_bad(reader, csv.line_no) : r;
}

static int suite_check_text(const struct suite_reader *reader, struct chat_str text)
{
    const size_t good = utf8_valid_prefix(text.s, text.n);
    size_t line_no = 1;

    if (good == text.n)
        return 0;
    for (size_t i = 0; i < good; i++)
        line_no += text.s[i] == '\n';
    fault_set(reader->fault, EVAL_SUITE_E_BAD, "not UTF-8 at byte %zu of the file", good);
    return suite_bad(reader, line_no);
}

int eval_suite_parse(const char *name, struct chat_str text, const struct eval_suite_options *options,
                     struct fault *fault, struct eval_suite *ret_suite)
{
    struct suite_reader reader = {.name = name, .options = options, .fault = fault};
    int r;

    if (eval_has_at(text, 0, "\xef\xbb\xbf")) /* a byte order mark */
        text = (struct chat_str){text.s + 3, text.n - 3};
    r = suite_check_text(&reader, text);
    if (!r)
        r = eval_at(eval_trim(text), 0) == '{' || options->format == EVAL_SUITE
                ? suite_json_lines(&reader, text)
                : suite_csv(&reader, text);
    if (!r && !reader.suite.n)
        r = fault_set(fault, EVAL_SUITE_E_BAD, "%s: no items", name);
    if (r) {
        eval_suite_deinit(&reader.suite);
        return r;
    }
    *ret_suite = reader.suite;
    return 0;
}

/* Reads all of it: it may be a pipe. */
static int suite_read_all(FILE *file, struct fault *fault, const char *path, char **ret_text, size_t *ret_n)
{
    _cleanup_(freep) char *text = NULL;
    size_t n = 0, cap = 0;

    do {
        char *grown;

        if (n == SUITE_BYTES_MAX)
            return fault_set(fault, EVAL_SUITE_E_BAD, "%s: more than %d MiB", path, SUITE_BYTES_MAX >> 20);
        cap = CLAMP(2 * cap, (size_t)1 << 16, (size_t)SUITE_BYTES_MAX);
        grown = realloc(text, cap);
        if (!grown)
            return err_origin(-ENOMEM);
        text = grown;
        n += fread(text + n, 1, cap - n, file);
    } while (n == cap);
    if (ferror(file))
        return fault_set(fault, EVAL_SUITE_E_BAD, "%s: %s", path, strerror(errno));
    *ret_text = steal(&text);
    *ret_n = n;
    return 0;
}

int eval_suite_read(const char *path, const struct eval_suite_options *options, struct fault *fault,
                    struct eval_suite *ret_suite)
{
    _cleanup_(freep) char *text = NULL;
    FILE *file = fopen(path, "re");
    size_t n = 0;
    int r;

    if (!file)
        return fault_set(fault, EVAL_SUITE_E_BAD, "%s: %s", path, strerror(errno));
    r = suite_read_all(file, fault, path, &text, &n);
    fclose(file);
    return r ? r : eval_suite_parse(path, (struct chat_str){text, n}, options, fault, ret_suite);
}
