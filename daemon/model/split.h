/* split.h - cuts text into the pieces that are merged separately: the `qwen35` regular expression, by hand.
 *
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+ | \p{N} | ?[^\s\p{L}\p{M}\p{N}]+[\r\n]* |
 *   \s*[\r\n]+ | \s+(?!\S) | \s+
 *
 * The first alternative that matches wins (source: pre_tokenizer of the models' tokenizer.json). */
#pragma once

#include "proto/base.h"

/* The end of the piece that starts at i < n.  text is valid UTF-8; its end counts as the end of the text. */
size_t split_next(const char *text, size_t n, size_t i);
