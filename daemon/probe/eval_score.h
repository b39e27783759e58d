/* eval_score.h - what an answer should be, and whether it is: the scorers of qwend-probe eval.
 *
 * Pure: no I/O, no state.  What each kind accepts is written in docs/EVAL.md; the answer is any bytes. */
#pragma once

#include <jansson.h>

#include "daemon/model/jtext.h"
#include "eval_text.h"

enum eval_kind {
    EVAL_EXACT,
    EVAL_NUMBER,
    EVAL_CHOICE,
    EVAL_JSON,
    EVAL_TOOL,
    EVAL_FACTS,
    EVAL_MATH,
    EVAL_CODE, /* scored by running it: eval_code.h */
    EVAL_N_KINDS
};

struct eval_goal {
    enum eval_kind kind;
    json_t *answer;  /* owned.  exact, choice, math: the string; number: its canonical text; else as given */
    json_t *choices; /* owned, strings, or NULL */
};
enum { EVAL_OK, EVAL_E_BAD = 120 };

/* kind: the suite's name of it; choices: s NULL where there are none.  EVAL_E_BAD: the fault names the member
 * and what it should be; -ENOMEM.  *ret_goal is written on success. */
int eval_goal_new(struct chat_str kind, struct jtext answer, struct jtext choices, struct fault *fault,
                  struct eval_goal *ret_goal);
void eval_goal_deinit(struct eval_goal *goal);

enum { EVAL_GOT_BYTES = 128 };
struct eval_verdict {
    bool right;
    char got[EVAL_GOT_BYTES]; /* what was read out of the answer, cut; or why nothing was */
};
/* 0, -ENOMEM.  Not for EVAL_CODE. */
int eval_goal_score(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *ret_verdict);

/* The scorers that have a file of their own; same contract. */
enum { EVAL_CHOICES_MAX = 26 };
int eval_choice_count(const struct eval_goal *goal); /* how many letters a choice has */
int eval_score_choice(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict);
int eval_score_tool(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict);
int eval_score_math(const struct eval_goal *goal, struct chat_str answer, struct eval_verdict *verdict);

void eval_got(struct eval_verdict *verdict, struct chat_str text); /* cut at a whole character */
struct chat_str eval_json_str(const json_t *string);               /* borrowed */
/* Equal values: objects in any order of keys, numbers by value (1 and 1.0). */
bool eval_json_equal(const json_t *a, const json_t *b);

/* What eval_score_math() compares.  At most EVAL_MATH_BYTES are normalised: no answer of this kind is longer,
 * and what is is compared as it stands.  malloc'ed; NULL: no memory. */
enum { EVAL_MATH_BYTES = 1000 };
#define EVAL_MATH_MIXED "~" /* what it puts between 3 and 1/2 for 3\frac{1}{2} */
char *eval_math_normalise(struct chat_str latex);
/* The contents of the last \boxed{} that has an end; false: none. */
bool eval_math_boxed(struct chat_str answer, struct chat_str *ret_content);
