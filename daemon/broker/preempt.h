/* preempt.h - an interactive request that finds no slot takes one from a batch request.
 *
 * The batch request goes back to the head of its queue and later goes on where it was: what it has emitted is
 * forced, as after an engine's death, so no byte of it can change.  What it costs is reading again, so the
 * one that costs least is taken.  It always ends: when it has a slot again it is left alone for ten seconds
 * at least, and until it has got on for as long as reading again took (unless the prefix cache has kept it),
 * so that half of its time is its own. One that is paused for its reader has no use for the slot and is
 * always due.  While batch is behind its share (queue.h) the others keep what they have. */
#pragma once

#include "proto/base.h"

struct broker;
struct queue_item;

struct preempt { /* embedded in the request */
    uint32_t n;
    uint64_t started_ns; /* when it last got a slot */
    uint64_t got_on_ns;  /* its first token since; 0: none yet */
    bool kept;           /* the prefix cache had half of it or more, so little was read again */
};

enum { PREEMPT_GUARD_MS = 10000 }; /* some answers of a person's; with four slots, 24 a minute go first */

/* Pure. */
bool preempt_is_due(const struct preempt *preempt, uint64_t now_ns);

enum { PREEMPT_OK, PREEMPT_E_NONE, PREEMPT_E_LATER };
/* Frees a slot for item.  PREEMPT_E_LATER: a batch request that holds one is not due yet. */
int preempt_for(struct broker *broker, const struct queue_item *item);
