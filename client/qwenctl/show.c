/* show.c - the answer as text.  See show.h. */
#include "show.h"

#include <string.h>

void show_init(struct show *show, const struct ui *ui, const struct opt_values *values)
{
    *show = (struct show){.thinking = values->show_thinking};
    if (show->thinking == OPT_SHOW_AUTO)
        show->thinking = ui->out_tty && ui->err_tty && !ui->quiet ? OPT_SHOW_STDERR : OPT_SHOW_NONE;
    if (values->extract) {
        show->extracts = true;
        show->fence.language = values->extract;
    } else if (ui->style && !values->raw) {
        show->md = md_new(); /* without memory for it the answer is shown as it stands */
    }
}

void show_deinit(struct show *show)
{
    fence_deinit(&show->fence);
    show->md = md_free(show->md);
}

bool show_misses_block(const struct show *show)
{
    return show->extracts && !show->fence.found;
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
    ui_err(run->ui, gap, strlen(gap));
    return 0;
}

static int show_out(void *arg, const char *text, size_t n)
{
    return ui_out(arg, text, n);
}

static int show_styled(void *arg, const char *text, size_t n)
{
    return ui_out_styled(arg, text, n);
}

static int show_answer(struct run *run, struct show *show, const qwend_event *event)
{
    int r = show_thought_end(run, show);

    if (r)
        return r;
    if (show->extracts)
        return fence_feed(&show->fence, event->text, event->n, show_out, run->ui);
    if (show->md)
        return md_feed(show->md, event->text, event->n, show_styled, run->ui);
    return ui_out(run->ui, event->text, event->n);
}

/* What is left, and the end of the last line. */
static int show_end(struct run *run, struct show *show)
{
    int r = show_thought_end(run, show);

    if (!r && show->extracts)
        r = fence_end(&show->fence, show_out, run->ui);
    if (!r && show->md)
        r = md_end(show->md, show_styled, run->ui);
    if (!r && (run->ui->out_tty || show->end_line) && run->ui->out_last && run->ui->out_last != '\n' &&
        run->stop != RUN_SIGNAL)
        r = ui_out(run->ui, "\n", 1);
    return r;
}

int show_event(struct run *run, struct show *show, const qwend_event *event)
{
    switch (event->type) {
    case QWEND_EV_REASONING:
        return show_thought(run, show, event);
    case QWEND_EV_ANSWER:
    case QWEND_EV_TOOL_CALL:
        return show_answer(run, show, event);
    case QWEND_EV_RESTART:
    case QWEND_EV_PREEMPTED:
    case QWEND_EV_RESUMED:
        if (show->md)
            md_disturb(show->md); /* a note may stand behind the text now */
        return 0;
    case QWEND_EV_END:
    case QWEND_EV_ERROR:
        return show_end(run, show);
    default:
        return 0;
    }
}
