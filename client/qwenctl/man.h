/* man.h - the manual pages of qwenctl in scdoc's language, made of the tables that the help is made of. */
#pragma once

#include <stdio.h>

#include "cmd.h"

void man_put(FILE *out); /* qwenctl(1) */

/* qwenctl-VERB(1).  more: what the page has beyond the help, in scdoc's language, n bytes. */
void man_put_verb(FILE *out, const struct cmd *cmd, const char *more, size_t n);

/* Of a text with a chapter "# VERB" for each verb, that of one; n bytes from what is returned; NULL: none. */
const char *man_find_chapter(const char *text, const char *verb, size_t *ret_n);
