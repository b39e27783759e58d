/* text.h - what the verbs of the text parts share: lines as slices of their own text, a vocabulary.
 *
 * Lines are not read as values (daemon/model/jtext.h): the digits of a large integer in a call's arguments
 * reach the prompt as they stand. */
#pragma once

#include "probe.h"

#include "daemon/model/jtext.h"
#include "daemon/model/tokenizer.h"

/* One JSON object per line of stdin; empty lines are passed over.  on_line returns 0 to go on, else an exit
 * status. */
typedef int (*text_line_fn)(void *user, size_t line_no, struct jtext object);
int text_each_line(text_line_fn on_line, void *user);

void text_print_member(const char *key, const char *s, size_t n); /* {"key": "s"} and a line end */

/* The tokenizer of a model, or of a file with nothing but a vocabulary.  0 or an exit status. */
int text_open(const char *path, struct tokenizer **ret_tokenizer);
