/* gen.h - from options to a request: what ask and chat share. */
#pragma once

#include "client/lib/qwend.h"
#include "code.h"
#include "opt.h"

/* Sets everything but the prompt.  CODE_OK or CODE_USAGE. */
enum code gen_set(qwend_req *req, const struct opt_values *values, struct fault *fault);

/* Is text from the command line UTF-8?  CODE_OK or CODE_USAGE. */
enum code gen_check_args(const struct opt_values *values, char **args, int n, struct fault *fault);
