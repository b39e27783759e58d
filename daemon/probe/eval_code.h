/* eval_code.h - answers that are Python functions: the program that tests one, and its verdict. */
#pragma once

#include "eval_sandbox.h"
#include "eval_score.h"

/* The task's prompt, the code of the answer, the task's test, and the call of it.  malloc'ed. */
int eval_code_program(const struct eval_goal *goal, struct chat_str answer, char **ret_program,
                      size_t *ret_n);
/* 0; EVAL_SANDBOX_E_NONE and < 0 as eval_sandbox_run(). */
int eval_code_score(const struct eval_goal *goal, struct chat_str answer, struct fault *fault,
                    struct eval_verdict *ret_verdict);
