/* queue.h - who runs next.  Pure: no clock, no I/O; the broker tells it what was served.
 *
 * Between uids: the one with fewest running requests, then the one served least so far (a virtual token
 * counter per uid, "VTC", arXiv 2401.00588), then the lower uid.  Inside a uid: interactive before normal
 * before batch, then first come first served.  So ten requests of one user delay another user's by one, not
 * by ten.  A uid that comes back from idling starts at the level of the least served active one: idling saves
 * nothing up. */
#pragma once

#include <sys/types.h>

#include "daemon/util/list.h"

enum queue_priority { QUEUE_INTERACTIVE, QUEUE_NORMAL, QUEUE_BATCH, QUEUE_PRIORITY_N };

struct queue_account;
struct queue_item { /* embedded in the request; all zero: not in the queue */
    struct list node;
    struct queue_account *account; /* borrowed; NULL: not in the queue */
    enum queue_priority priority;
    bool started;
};

struct queue {
    struct list accounts;
    unsigned n_accounts, n_waiting, n_started;
    uint64_t floor; /* the counter of the least served active uid, never falling */
};

void queue_init(struct queue *queue);
void queue_deinit(struct queue *queue); /* no items are left in it */
int queue_push(struct queue *queue, uid_t uid, enum queue_priority priority,
               struct queue_item *item);                  /* -ENOMEM */
struct queue_item *queue_next(const struct queue *queue); /* who starts next; NULL: nobody waits */
void queue_start(struct queue *queue, struct queue_item *item);
void queue_remove(struct queue *queue, struct queue_item *item); /* waiting or started; safe to call twice */
void queue_charge(struct queue *queue, struct queue_item *item, uint64_t cost);
/* How many would start before it, plus one: 1 for the next, 0 once started.  An estimate as soon as uids
 * compete, since it depends on what the others' requests will cost. */
uint32_t queue_position(const struct queue *queue, const struct queue_item *item);
