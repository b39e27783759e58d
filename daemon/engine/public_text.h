/* public_text.h - what an administrator publishes, to the token ids that a request begins with. */
#pragma once

#include "prompt.h"

/* text [n], and a NUL behind it: a system message; or, if it begins with '{', a JSON object with "system"
 * (text), "tools" (array of objects, as in a Prompt), or both.  The ids are those of a chat with these up to
 * the end of its first turn.  0, a status code with its fault, < 0. */
int public_encode(const struct tokenizer *tokenizer, const char *text, size_t n, struct fault *fault,
                  struct token_ids *ret_ids);
