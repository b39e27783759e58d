/* eval_csv.h - records of a CSV text (RFC 4180: quoted cells may hold commas, line ends and doubled quotes).
 */
#pragma once

#include "daemon/model/chat.h"
#include "daemon/model/unicode.h"

enum { EVAL_CSV_CELLS_MAX = 256 };
struct eval_csv {
    struct chat_str s; /* borrowed */
    size_t i, line_no; /* where the next record begins; lines count from 1 */
};
struct eval_cells {
    struct unicode_text text; /* owned; the cells lie in it */
    size_t begin[EVAL_CSV_CELLS_MAX + 1];
    size_t n;
};
enum { EVAL_CSV_OK, EVAL_CSV_END, EVAL_CSV_E_BAD };

/* Replaces cells by those of the next record; empty lines are passed over.  EVAL_CSV_END, EVAL_CSV_E_BAD
 * (csv->line_no is where), -ENOMEM. */
int eval_csv_next(struct eval_csv *csv, struct fault *fault, struct eval_cells *cells);

static inline struct chat_str eval_cell(const struct eval_cells *cells, size_t i)
{
    return (struct chat_str){cells->text.s + cells->begin[i], cells->begin[i + 1] - cells->begin[i]};
}
