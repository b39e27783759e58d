/* answer.c - one answer.  See answer.h. */
#include "answer.h"

#include "record.h"
#include "run.h"
#include "show.h"

struct answer_sink {
    const struct answer *answer;
    struct show show;
    struct record record;
};

static void answer_copy(const struct answer *answer, const qwend_event *event)
{
    if (answer->copy && event->type == QWEND_EV_ANSWER)
        fwrite(event->text, 1, event->n, answer->copy);
}

static int answer_show(struct run *run, const qwend_event *event)
{
    struct answer_sink *sink = run->user;

    answer_copy(sink->answer, event);
    return show_event(run, &sink->show, event);
}

static int answer_record(struct run *run, const qwend_event *event)
{
    struct answer_sink *sink = run->user;

    answer_copy(sink->answer, event);
    return record_event(run, &sink->record, event);
}

static enum code answer_go(struct run *run, const struct answer *answer)
{
    return answer->attach_id ? run_attach(run, answer->attach_id) : run_request(run, answer->req);
}

static enum code answer_as_text(struct run *run, const struct answer *answer, struct answer_sink *sink)
{
    enum code code;

    show_init(&sink->show, run->ui, run->values);
    if (answer->plain)
        sink->show.md = md_free(sink->show.md);
    run->sink = answer_show;
    run->hides_thinking = sink->show.thinking == OPT_SHOW_NONE;
    code = answer_go(run, answer);
    if ((code == CODE_OK || code == CODE_CUT) && show_misses_block(&sink->show)) {
        ui_error(run->ui, "the answer has no code block%s%s", *run->values->extract ? " of " : "",
                 run->values->extract);
        code = CODE_NO;
    }
    show_deinit(&sink->show);
    return code;
}

enum code answer_run(const struct answer *answer, struct fault *fault)
{
    const struct opt_values *values = answer->args->values;
    struct answer_sink sink = {.answer = answer};
    struct run run = {.ui = answer->args->ui, .q = answer->q, .values = values, .user = &sink};
    enum code code;

    if (!values->json && !values->ndjson)
        return answer_as_text(&run, answer, &sink);
    if (record_init(&sink.record, values->json))
        return (enum code)fault_set(fault, CODE_FAILED, "out of memory");
    run.sink = answer_record;
    run.hides_thinking = values->json;
    code = answer_go(&run, answer);
    record_deinit(&sink.record);
    return code;
}
