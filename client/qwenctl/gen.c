/* gen.c - options of a request.  See gen.h. */
#include "gen.h"

#include <string.h>

#include "input.h"

enum code gen_check_args(const struct opt_values *values, char **args, int n, struct fault *fault)
{
    enum code code = CODE_OK;

    for (int i = 0; !code && i < n; i++)
        code = input_check("the text of the command line", args[i], strlen(args[i]), fault);
    for (size_t i = 0; !code && i < values->stop.n; i++)
        code = input_check("--stop", values->stop.items[i], strlen(values->stop.items[i]), fault);
    if (!code && values->system)
        code = input_check("--system", values->system, strlen(values->system), fault);
    return code;
}

static int gen_set_ints(qwend_req *req, const struct opt_values *values)
{
    const struct {
        qwend_opt opt;
        struct opt_int from;
    } ints[] = {
        {QWEND_OPT_THINKING, values->thinking},
        {QWEND_OPT_MAX_TOKENS, values->max_tokens},
        {QWEND_OPT_TOP_K, values->top_k},
        {QWEND_OPT_SEED, values->seed},
        {QWEND_OPT_LOGPROBS, values->logprobs},
        {QWEND_OPT_PRIORITY, values->priority},
        {QWEND_OPT_DEADLINE_MS, values->deadline_ms},
    };
    int r = values->detach ? qwend_req_set_i(req, QWEND_OPT_DETACHABLE, 1) : 0;

    for (size_t i = 0; !r && i < ARRAY_SIZE(ints); i++)
        if (ints[i].from.given)
            r = qwend_req_set_i(req, ints[i].opt, ints[i].from.value);
    return r;
}

static int gen_set_reals(qwend_req *req, const struct opt_values *values)
{
    const struct {
        qwend_opt opt;
        struct opt_real from;
    } reals[] = {
        {QWEND_OPT_TEMPERATURE, values->temp},
        {QWEND_OPT_TOP_P, values->top_p},
        {QWEND_OPT_MIN_P, values->min_p},
        {QWEND_OPT_REPEAT_PENALTY, values->repeat_penalty},
        {QWEND_OPT_PRESENCE_PENALTY, values->presence_penalty},
        {QWEND_OPT_FREQUENCY_PENALTY, values->frequency_penalty},
    };
    int r = 0;

    for (size_t i = 0; !r && i < ARRAY_SIZE(reals); i++)
        if (reals[i].from.given)
            r = qwend_req_set_f(req, reals[i].opt, reals[i].from.value);
    return r;
}

enum code gen_set(qwend_req *req, const struct opt_values *values, struct fault *fault)
{
    int r;

    for (size_t i = 0; i < values->stop.n; i++) {
        if (!*values->stop.items[i])
            return (enum code)fault_set(fault, CODE_USAGE, "--stop needs some text");
        r = qwend_req_set_s(req, QWEND_OPT_STOP, values->stop.items[i], (size_t)-1);
        if (r)
            return (enum code)fault_set(fault, code_of_errno(r), "--stop: %s", strerror(-r));
    }
    r = gen_set_ints(req, values);
    if (!r)
        r = gen_set_reals(req, values);
    if (r) /* the option table has the same ranges as the library */
        return (enum code)fault_set(fault, code_of_errno(r), "an option has a value that cannot be: %s",
                                    strerror(-r));
    return CODE_OK;
}
