/* term.h - text from elsewhere on a terminal: shown, never obeyed.
 *
 * A model, a daemon or another user's program name may contain escape sequences; on a terminal these could
 * move the cursor, rename the window or put words into the paste buffer.  So ESC and every other control but
 * \n and \t is shown in caret notation, C1 controls and broken UTF-8 as U+FFFD. */
#pragma once

#include "proto/base.h"

enum { TERM_GROWTH = 3 }; /* a byte becomes at most so many */

/* Writes text[n] to out, which has room for TERM_GROWTH * n bytes; returns how many were written.  text holds
 * whole UTF-8 sequences. */
size_t term_escape(const char *text, size_t n, char *out);
