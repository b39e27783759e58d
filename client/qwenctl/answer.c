/* answer.c - one answer as text or as JSON, for the verbs that have one. */
#include "cmd.h"
#include "record.h"
#include "run.h"
#include "show.h"

static int answer_show(struct run *run, const qwend_event *event)
{
    return show_event(run, run->user, event);
}

static int answer_record(struct run *run, const qwend_event *event)
{
    return record_event(run, run->user, event);
}

static enum code answer_go(struct run *run, const qwend_req *req, const char *attach_id)
{
    return attach_id ? run_attach(run, attach_id) : run_request(run, req);
}

enum code answer_run(const struct cmd_args *args, qwend *q, const qwend_req *req, const char *attach_id,
                     struct fault *fault)
{
    const struct opt_values *values = args->values;
    struct run run = {.ui = args->ui, .q = q, .values = values};
    struct record record;
    struct show show;
    enum code code;

    if (!values->json && !values->ndjson) {
        show_init(&show, run.ui, values);
        run.sink = answer_show;
        run.user = &show;
        return answer_go(&run, req, attach_id);
    }
    if (record_init(&record, values->json))
        return (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    run.sink = answer_record;
    run.user = &record;
    code = answer_go(&run, req, attach_id);
    record_deinit(&record);
    return code;
}
