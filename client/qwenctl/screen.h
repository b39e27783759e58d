/* screen.h - the whole terminal for a while: alternate screen, keys one by one, and everything as it was
 * after.
 *
 * No curses: three escape sequences and termios are all that a table needs. */
#pragma once

#include <termios.h>

#include "proto/base.h"

struct screen {
    struct termios saved;
    bool has_keys; /* stdin is a terminal, and saved holds how it was */
    bool is_open;
};

int screen_open(struct screen *screen);   /* stdout is a terminal; 0 or negative errno */
void screen_close(struct screen *screen); /* safe to call twice */
void screen_size(int *ret_columns, int *ret_rows);
int screen_put(const char *text, size_t n); /* as it stands; 0 or negative errno, -EINTR: a signal waits */
int screen_key(void);                       /* the next one; -1: none is there, -2: stdin has ended */
