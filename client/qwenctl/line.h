/* line.h - a line of input: with editing and history on a terminal (libedit), as it stands otherwise. */
#pragma once

#include "proto/base.h"

struct line;
enum { LINE_OK, LINE_E_END, LINE_E_SIGNAL };

/* history: file that is read now and written at the end, 0600 in a folder made 0700; NULL: none.  edit: both
 * ends of the conversation are a terminal. */
int line_open(bool edit, const char *history, struct line **ret_line);
/* *ret_text without its newline, borrowed until the next call.  LINE_OK, LINE_E_END (Ctrl-D, end of file),
 * LINE_E_SIGNAL (Ctrl-C), negative errno. */
int line_read(struct line *line, const char *prompt, const char **ret_text, size_t *ret_n);
struct line *line_close(struct line *line); /* saves the history; NULL allowed; returns NULL */

/* $XDG_STATE_HOME/qwend/chat_history, by default below ~/.local/state; the caller frees.  NULL: there is no
 * home. */
char *line_history_path(void);
