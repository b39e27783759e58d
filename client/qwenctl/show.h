/* show.h - the answer as text: what a person reads and what a pipe carries.
 *
 * stdout is the answer alone, byte for byte in a pipe.  Reasoning goes where --show-thinking says; by default
 * dimmed to stderr where both are terminals, and nowhere else. */
#pragma once

#include "run.h"

struct show {
    int thinking;    /* enum opt_show, never OPT_SHOW_AUTO */
    bool end_line;   /* the answer ends with a newline even in a pipe (chat: answers follow each other) */
    bool in_thought; /* reasoning was written last, and is dimmed */
    char thought_last;
};

void show_init(struct show *show, const struct ui *ui, const struct opt_values *values);
int show_event(struct run *run, struct show *show, const qwend_event *event); /* as a run_sink */
