/* eval_csv.c - records of a CSV text.  See eval_csv.h. */
#include "eval_csv.h"

#include "eval_text.h"

static int eval_csv_put(struct eval_cells *cells, struct eval_csv *csv)
{
    csv->line_no += csv->s.s[csv->i] == '\n';
    return unicode_text_append(&cells->text, csv->s.s + csv->i++, 1);
}

/* Behind the opening quote, up to and with the closing one. */
static int eval_csv_quoted(struct eval_csv *csv, struct fault *fault, struct eval_cells *cells)
{
    int r = 0;

    while (!r && csv->i < csv->s.n) {
        if (csv->s.s[csv->i] == '"') {
            csv->i++;
            if (eval_at(csv->s, csv->i) != '"')
                return 0;
        }
        r = eval_csv_put(cells, csv);
    }
    return r ? r : fault_set(fault, EVAL_CSV_E_BAD, "a quoted cell without an end");
}

static bool eval_csv_at_end(const struct eval_csv *csv)
{
    const char c = eval_at(csv->s, csv->i);

    return csv->i >= csv->s.n || c == '\n' || (c == '\r' && eval_at(csv->s, csv->i + 1) == '\n');
}

static int eval_csv_cell(struct eval_csv *csv, struct fault *fault, struct eval_cells *cells)
{
    int r = 0;

    if (eval_at(csv->s, csv->i) == '"') {
        csv->i++;
        r = eval_csv_quoted(csv, fault, cells);
        if (!r && !eval_csv_at_end(csv) && csv->s.s[csv->i] != ',')
            r = fault_set(fault, EVAL_CSV_E_BAD, "text behind a quoted cell");
        return r;
    }
    while (!r && !eval_csv_at_end(csv) && csv->s.s[csv->i] != ',')
        r = eval_csv_put(cells, csv);
    return r;
}

static void eval_csv_skip_line_end(struct eval_csv *csv)
{
    csv->i += eval_at(csv->s, csv->i) == '\r';
    if (eval_at(csv->s, csv->i) != '\n')
        return;
    csv->i++;
    csv->line_no++;
}

int eval_csv_next(struct eval_csv *csv, struct fault *fault, struct eval_cells *cells)
{
    int r;

    while (csv->i < csv->s.n && eval_csv_at_end(csv))
        eval_csv_skip_line_end(csv);
    if (csv->i >= csv->s.n)
        return EVAL_CSV_END;
    r = unicode_text_append(&cells->text, " ", 1); /* so that empty cells point somewhere too */
    if (r)
        return r;
    cells->text.n = 0;
    for (cells->n = 0;; csv->i++) {
        if (cells->n == EVAL_CSV_CELLS_MAX)
            return fault_set(fault, EVAL_CSV_E_BAD, "more than %d cells", EVAL_CSV_CELLS_MAX);
        cells->begin[cells->n] = cells->text.n;
        r = eval_csv_cell(csv, fault, cells);
        if (r)
            return r;
        cells->begin[++cells->n] = cells->text.n;
        if (eval_csv_at_end(csv))
            break;
    }
    eval_csv_skip_line_end(csv);
    return EVAL_CSV_OK;
}
