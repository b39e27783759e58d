/* sig.h - SIGINT and SIGTERM as something to poll for; SIGPIPE as an error of write().
 *
 * Before sig_listen() they end the program as they do any other.  After it the first one asks and is
 * remembered, the second ends the program at once.  Handlers belong to the process, so this module is the one
 * of qwenctl that has state of its own. */
#pragma once

#include "proto/base.h"

int sig_init(void);          /* SIGPIPE is ignored from here on; 0 or negative errno */
int sig_listen(void);        /* somebody polls; 0 or negative errno */
int sig_fd(void);            /* readable while a signal waits */
int sig_pending(void);       /* SIGINT, SIGTERM, or 0 */
int sig_listen_resize(void); /* SIGWINCH makes the fd readable too; 0 or negative errno */
void sig_take_resize(void);  /* it was seen */
void sig_clear(void); /* the signal was dealt with (chat: one answer was cancelled): listens for the next */
