/* guess.h - "did you mean": the known word that is nearest to a mistyped one. */
#pragma once

#include "proto/base.h"

/* Edits (insert, delete, replace, swap neighbours) from a to b; words of more than 63 bytes are far from
 * everything. */
unsigned guess_distance(const char *a, const char *b);

/* Keeps the nearer of *best and candidate; starts with *best NULL.  Only what is near enough to be meant
 * counts: at most two edits, and fewer than half of the word. */
void guess_offer(const char *word, const char *candidate, const char **best);
