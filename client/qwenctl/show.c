/* show.c - the answer as text.  See show.h. */
#include "show.h"

#include <string.h>

void show_init(struct show *show, const struct ui *ui, const struct opt_values *values)
{
    *show = (struct show){.thinking = values->show_thinking};
    if (show->thinking == OPT_SHOW_AUTO)
        show->thinking = ui->out_tty && ui->err_tty && !ui->quiet ? OPT_SHOW_STDERR : OPT_SHOW_NONE;
}

static int show_thought(struct run *run, struct show *show, const qwend_event *event)
{
    if (show->thinking == OPT_SHOW_NONE || !event->n)
        return 0;
    show->thought_last = event->text[event->n - 1];
    if (show->thinking == OPT_SHOW_STDOUT) {
        show->in_thought = true;
        return ui_out(run->ui, event->text, event->n);
    }
    if (!show->in_thought) {
        ui_progress_end(run->ui);
        if (run->ui->color)
            fputs("\033[2m", stderr);
    }
    show->in_thought = true;
    ui_err(run->ui, event->text, event->n);
    return 0;
}

/* One empty line between reasoning and answer, where both can be seen together. */
static int show_thought_end(struct run *run, struct show *show)
{
    const char *gap = show->thought_last == '\n' ? "\n" : "\n\n";

    if (!show->in_thought)
        return 0;
    show->in_thought = false;
    if (show->thinking == OPT_SHOW_STDOUT)
        return ui_out(run->ui, gap, strlen(gap));
    if (run->ui->color)
        fputs("\033[0m", stderr);
    fputs(gap, stderr);
    fflush(stderr);
    return 0;
}

int show_event(struct run *run, struct show *show, const qwend_event *event)
{
    int r;

    switch (event->type) {
    case QWEND_EV_REASONING:
        return show_thought(run, show, event);
    case QWEND_EV_ANSWER:
    case QWEND_EV_TOOL_CALL:
        r = show_thought_end(run, show);
        return r ? r : ui_out(run->ui, event->text, event->n);
    case QWEND_EV_END:
    case QWEND_EV_ERROR:
        r = show_thought_end(run, show);
        if (!r && (run->ui->out_tty || show->end_line) && run->ui->out_last && run->ui->out_last != '\n' &&
            run->stop != RUN_SIGNAL)
            r = ui_out(run->ui, "\n", 1);
        return r;
    default:
        return 0;
    }
}
