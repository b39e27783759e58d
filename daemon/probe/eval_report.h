/* eval_report.h - what an evaluation found: counts by family, as a table or as JSON; progress meanwhile. */
#pragma once

#include "eval_run.h"

struct eval_family {
    const char *name; /* borrowed from the suite */
    int64_t n, n_right, n_cut;
    int64_t n_reasoning, n_answer; /* tokens */
    struct eval_kl kl;
};
struct eval_report {
    struct eval_family *families; /* owned, in the suite's order */
    size_t n_families;
    struct eval_family all;
    size_t n_items; /* of the suite */
    double seconds;
    const char *model, *reference, *suite; /* borrowed; reference NULL: answers were scored */
    const struct probe_model *pm;          /* borrowed */
    const struct sample_params *sampling;  /* borrowed */
    bool thinking, interrupted, by_score;
    int max_tokens;
};
int eval_report_init(struct eval_report *report, const struct eval_suite *suite); /* 0, -ENOMEM */
void eval_report_deinit(struct eval_report *report);
void eval_report_add(struct eval_report *report, const struct eval_item *item, const struct eval_done *done,
                     bool right);

/* Wilson's score interval of a share, 95 % (E. B. Wilson, "Probable Inference", JASA 22, 1927).  n > 0. */
void eval_wilson(int64_t n_right, int64_t n, double *ret_lo, double *ret_hi);

void eval_report_print(const struct eval_report *report);     /* stdout */
int eval_report_print_json(const struct eval_report *report); /* 0 or an exit status */

/* One line on stderr, if that is a terminal, at most ten times a second. */
struct eval_progress {
    bool on;
    double start_s, shown_s;
    int64_t n_tok;
    size_t n_done, n_items;
};
double eval_now_s(void);
void eval_progress_start(struct eval_progress *p, size_t n_items);
void eval_progress_show(struct eval_progress *p);
void eval_progress_clear(const struct eval_progress *p);
