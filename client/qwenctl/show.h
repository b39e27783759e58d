/* show.h - the answer as text: what a person reads and what a pipe carries.
 *
 * stdout is the answer alone, byte for byte in a pipe, laid out as Markdown on a terminal (md.h), or with
 * --extract the lines of its first code block.  Reasoning goes where --show-thinking says; by default dimmed
 * to stderr where both are terminals, and nowhere else. */
#pragma once

#include "fence.h"
#include "md.h"
#include "run.h"

struct show {
    int thinking;    /* enum opt_show, never OPT_SHOW_AUTO */
    bool end_line;   /* the answer ends with a newline even in a pipe (chat: answers follow each other) */
    bool in_thought; /* reasoning was written last, and is dimmed */
    char thought_last;
    bool extracts; /* only the code block of fence is shown */
    struct fence fence;
    struct md *md; /* NULL: as it stands */
};

void show_init(struct show *show, const struct ui *ui, const struct opt_values *values);
void show_deinit(struct show *show);
int show_event(struct run *run, struct show *show, const qwend_event *event); /* as a run_sink */
bool show_misses_block(const struct show *show); /* was a block wanted that never came? */
