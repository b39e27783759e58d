/* log.h - one event, one line, at the place that decides: who (uid, request), what, what next.
 *
 * warn: degraded and continuing; err: a request or a process was lost.  Prompts, answers and token ids are
 * never logged. Lines go to stderr with a "<3>"-style priority prefix when stderr is the journal
 * (JOURNAL_STREAM), plain otherwise. */
#pragma once

#include "journal.h"

void log_init(const char *program, bool verbose);
/* Events go to the journal's own socket at path from here on, if stderr is the journal; what it does not take
 * is a line on stderr, as without it. */
void log_open_journal(const char *path);
void log_close(void);
void log_debug(const char *fmt, ...) _printf_(1, 2);
void log_info(const char *fmt, ...) _printf_(1, 2);
void log_warn(const char *fmt, ...) _printf_(1, 2);
void log_err(const char *fmt, ...) _printf_(1, 2);
/* The same, for the events of journal.h. */
void log_event_info(const struct journal_event *event, const char *fmt, ...) _printf_(2, 3);
void log_event_warn(const struct journal_event *event, const char *fmt, ...) _printf_(2, 3);
void log_event_err(const struct journal_event *event, const char *fmt, ...) _printf_(2, 3);
/* "…: Connection refused (link.c:120)": what went wrong, from a negative errno and err_place(). */
void log_errno(int r, const char *fmt, ...) _printf_(2, 3);
