/* normalise.h - agents that change the head of their prompt with each request, so that nothing behind it
 * could be reused.
 *
 * A hybrid model's state can be taken up at checkpoints of an unchanged beginning only: one changed byte in
 * the system message costs a whole prompt.  What is known to change always is cut out, or moved to the end of
 * the last turn.  What changes sometimes (a date, the state of a repository) stays where it is as long
 * as it does not: moving it costs a little in each turn.  So the heads seen last are remembered, as hashes.
 */
#pragma once

#include "ask.h"
#include "gateway.h"

/* Bits of the rules that applied; 0: nothing was changed.  owner: whose heads these are. */
unsigned normalise_turns(struct ask *ask, struct normalise_memory *memory, const char *owner);
/* The same if the configuration wants it; the first time that a rule applies is logged. */
void normalise(struct gateway *g, struct ask *ask, const char *owner);
