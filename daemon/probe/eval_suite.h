/* eval_suite.h - a file of questions with the answers that are wanted, read and checked whole before
 * anything is asked.
 *
 * Formats (docs/EVAL.md): our own, one JSON object a line; and, by their fields, the published GPQA, MATH-500
 * and HumanEval sets, as JSON lines or CSV, which are turned into questions of the kinds choice, math and
 * code. */
#pragma once

#include "eval_score.h"

struct eval_item {
    size_t line_no;
    char *id, *family;       /* owned */
    struct eval_goal goal;   /* owned */
    struct chat_text prompt; /* owned: rendered, with the generation prompt */
};
struct eval_suite {
    struct eval_item *items; /* owned, [n], in the file's order */
    size_t n, cap;
};

enum eval_format { EVAL_AUTO, EVAL_SUITE, EVAL_GPQA, EVAL_MATH500, EVAL_HUMANEVAL, EVAL_N_FORMATS };
extern const char *const eval_formats[EVAL_N_FORMATS];
struct eval_suite_options {
    enum eval_format format;
    bool thinking;
    bool run_code; /* else an item that needs it is refused */
    size_t limit;  /* items of each family, the first ones; 0: all */
    uint64_t seed; /* of the order of GPQA's choices */
};
enum { EVAL_SUITE_E_BAD = 130 };

/* EVAL_SUITE_E_BAD: the fault starts with "path:line: " where a line is wrong.  < 0: no memory. */
int eval_suite_read(const char *path, const struct eval_suite_options *options, struct fault *fault,
                    struct eval_suite *ret_suite);
/* The same from text, which is borrowed for the call; name is for faults. */
int eval_suite_parse(const char *name, struct chat_str text, const struct eval_suite_options *options,
                     struct fault *fault, struct eval_suite *ret_suite);
void eval_suite_deinit(struct eval_suite *suite);

/* What the adapters make of one record. */
struct eval_row {
    struct jtext object;             /* s NULL: the record is one of a CSV text */
    const struct eval_cells *header; /* borrowed */
    const struct eval_cells *cells;  /* borrowed */
};
/* A field as text, malloc'ed; *ret_text NULL: the record has no such field, or it is no string.  0, -ENOMEM.
 */
int eval_row_find(const struct eval_row *row, const char *name, char **ret_text, size_t *ret_n);

struct eval_draft {
    char *id, *family, *question; /* owned; id and family may be NULL: the adapter's name is used */
    size_t n_question;
    struct eval_goal goal; /* owned */
};
/* Of the formats other than our own.  EVAL_SUITE_E_BAD: the fault names the field; -ENOMEM. */
int eval_adapt(enum eval_format format, const struct eval_row *row, uint64_t seed, size_t index,
               struct fault *fault, struct eval_draft *draft);
enum eval_format eval_detect(const struct eval_row *row); /* EVAL_AUTO: none of them */
