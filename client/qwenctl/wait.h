/* wait.h - what a person sees while nothing comes yet: what is waited for, and, if it takes longer, that it
 * goes on.
 *
 * One line of stderr, on a terminal that can draw over it; it is gone before the first text (ui.h).  Anywhere
 * else it is said once, where notes are wanted.  Whoever polls asks for the time until the next drawing, and
 * gives a turn. */
#pragma once

#include "ui.h"

struct wait {
    struct ui *ui; /* borrowed */
    char text[200], more[64];
    uint64_t since_ns, draw_ns; /* of this text; when it is drawn next */
    unsigned frame;
    bool is_on;
};

void wait_init(struct wait *wait, struct ui *ui);
/* Something else is waited for.  after_ms: for how long it is not said, 0: it is at once. */
void wait_say(struct wait *wait, unsigned after_ms, const char *fmt, ...) _printf_(3, 4);
/* The same, unless it stands there already. */
void wait_go_on(struct wait *wait, unsigned after_ms, const char *text);
/* More is known of what is waited for: drawn at the next turn, and its time goes on.  Nothing where nothing
 * is said. */
void wait_add(struct wait *wait, const char *fmt, ...) _printf_(2, 3);
void wait_end(struct wait *wait);
int wait_timeout_ms(const struct wait *wait); /* as for poll(); -1: nothing to draw */
void wait_turn(struct wait *wait);
