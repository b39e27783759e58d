/* preempt.h - whose slot somebody else has more use for: one that waits for its reader gives its own to
 * anybody, a batch request to an interactive one.
 *
 * Whoever waits for his reader gets nowhere with a slot, so readers that never read cost the others nothing.
 * He is parked, and waits at the head of his queue once he is read again.
 *
 * The batch request goes back to the head of its queue and later goes on where it was: what it has emitted is
 * forced, as after an engine's death, so no byte of it can change.  What it costs is reading again, or a step
 * or two where the prefix cache has kept it, so the one that costs least is taken.  It always ends: when it
 * has a slot again it is left alone until it has got on for as long as it took to get back to where it was,
 * so half of its time is its own.  While batch is behind its share (queue.h) the others keep what they have.
 */
#pragma once

#include "proto/base.h"

struct broker;
struct request;
struct queue_item;

struct preempt { /* embedded in the request */
    uint32_t n;
    uint32_t cached;     /* most of its tokens that the prefix cache has had when it began */
    uint64_t started_ns; /* when it last got a slot */
    uint64_t
        got_on_ns; /* when it was back where it was: its first token since, or all was kept; 0: not yet */
};

/* Pure.  It has a slot (again); it may begin behind n_cached tokens; when it may be stopped, UINT64_MAX while
 * that is not known yet. */
void preempt_start(struct preempt *preempt, uint64_t now_ns);
void preempt_begin(struct preempt *preempt, uint32_t n_cached, uint64_t now_ns);
uint64_t preempt_due_ns(const struct preempt *preempt);

/* Holds a slot and waits for its reader. */
bool preempt_is_idle(const struct request *request);

enum { PREEMPT_OK, PREEMPT_E_NONE, PREEMPT_E_LATER };
/* Frees a slot for item.  PREEMPT_E_LATER: a batch request that holds one is not due yet, the first of them
 * at *ret_due_ns. */
int preempt_for(struct broker *broker, const struct queue_item *item, uint64_t *ret_due_ns);
