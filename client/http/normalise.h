/* normalise.h - agents that change the head of their prompt with each request, so that nothing behind it
 * could be reused.
 *
 * A hybrid model's state can be taken up at checkpoints of an unchanged beginning only: one changed byte in
 * the system message costs a whole prompt.  What is known to change is cut out, or moved to the end of the
 * last user turn. */
#pragma once

#include "ask.h"
#include "gateway.h"

enum { NORMALISE_RULES = 2 };

/* Bits of the rules that applied; 0: nothing was changed. */
unsigned normalise_turns(struct ask *ask);
/* The same if the configuration wants it; the first time that a rule applies is logged. */
void normalise(struct gateway *g, struct ask *ask);
