/* preempt.h - an interactive request that finds no slot takes one from a batch request.
 *
 * The batch request goes back to the head of its queue and later goes on where it was: what it has emitted is
 * forced, as after an engine's death, so no byte of it can change.  What it costs is reading again, so the
 * one that costs least is taken.  It always ends: after a preemption it is left alone until it has made a new
 * token and has run for a minute, after the second for two, then four, so that repeating takes at most as
 * long as getting on.
 * One that is paused for its reader has no use for the slot and is always due. */
#pragma once

#include "proto/base.h"

struct broker;
struct queue_item;

struct preempt { /* embedded in the request */
    uint32_t n;
    size_t n_ids;        /* emitted when it last happened */
    uint64_t started_ns; /* when it last got a slot */
};

enum { PREEMPT_GUARD_S = 60, PREEMPT_GUARD_MAX_S = 3600 };

/* Pure.  n_ids: emitted by now. */
bool preempt_is_due(const struct preempt *preempt, size_t n_ids, uint64_t now_ns);

enum { PREEMPT_OK, PREEMPT_E_NONE, PREEMPT_E_LATER };
/* Frees a slot for item.  PREEMPT_E_LATER: a batch request that holds one is not due yet. */
int preempt_for(struct broker *broker, const struct queue_item *item);
