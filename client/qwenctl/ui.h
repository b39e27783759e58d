/* ui.h - where words go: the answer to stdout, everything else to stderr; what is a terminal and what may be
 * coloured.
 *
 * Notes (queue, restarts, warnings) are said on a terminal, or anywhere with -v, never with -q.  Errors are
 * always said. */
#pragma once

#include "opt.h"

struct ui {
    bool quiet, verbose, out_tty, err_tty;
    bool color;        /* SGR on stderr */
    bool style;        /* SGR and cursor movement on stdout */
    bool cursor;       /* stderr is a terminal that can go back to the start of a line */
    unsigned progress; /* columns of the progress line that stands there; 0: none does */
    bool hurry;        /* a signal was heard: what stdout does not take at once is dropped */
    char out_last;     /* last byte written to stdout, 0: none */
    char err_last;     /* of text to stderr that is no line of ours */
};

/* Standard output as the reader sees it: 0; UI_E_GONE: nobody reads any more; UI_E_SIGNAL: a signal waits. */
enum { UI_OK, UI_E_GONE, UI_E_SIGNAL };

void ui_init(struct ui *ui, const struct opt_values *values);
void ui_error(struct ui *ui, const char *fmt, ...) _printf_(2, 3); /* "qwenctl: …" */
void ui_note(struct ui *ui, const char *fmt, ...) _printf_(2, 3);  /* the same, if notes are wanted */
/* A note that the next one replaces, cut to the terminal's width as it is then.  Behind text that has not
 * ended its line it is a note like any other: nothing of that may be wiped. */
void ui_progress(struct ui *ui, const char *fmt, ...) _printf_(2, 3);
void ui_progress_end(struct ui *ui);
bool ui_has_progress(const struct ui *ui); /* would such a line be drawn over? */

/* As it stands to a pipe or file, harmless (term.h) on a terminal.  < 0: errno of write(). */
int ui_out(struct ui *ui, const char *text, size_t n);
/* Text of ours that holds sequences on purpose, everything foreign in it made harmless. */
int ui_out_styled(struct ui *ui, const char *text, size_t n);
void ui_err(struct ui *ui, const char *text, size_t n); /* likewise to stderr; who reads it may go away */
