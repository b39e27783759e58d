/* queue.h - who runs next.  Pure: no clock, no I/O; the broker tells it what was served.
 *
 * The band first: interactive before normal before batch, whoever asks.  A lower band that waits is owed a
 * share of what is served, and once that makes a request's worth it goes first, so it never starves.  Within
 * a band the uid that was served least over its weight (a virtual token counter per uid, "VTC", arXiv
 * 2401.00588), where a request that runs counts at once as what one costs on average: so ten requests of one
 * user delay another user's by one, not by ten.  Then the lower uid; inside a uid first come first served.  A
 * uid that had nothing waiting starts at the level of the least served one that has: idling saves nothing up.
 *
 * While the queue is closed (another model is about to be served) what is pushed waits behind all of it, in
 * the order it came, until the queue is opened again: queue_next() and the floor do not see it. */
#pragma once

#include <sys/types.h>

#include "daemon/util/list.h"

enum queue_priority { QUEUE_INTERACTIVE, QUEUE_NORMAL, QUEUE_BATCH, QUEUE_PRIORITY_N };
enum { QUEUE_WEIGHT = 100, QUEUE_WEIGHT_MAX = 10000 }; /* the usual one */

struct queue_account;
struct queue_item { /* embedded in the request; all zero: not in the queue */
    struct list node;
    struct queue_account *account; /* borrowed; NULL: not in the queue */
    enum queue_priority priority;
    bool started, parked, later;
    double cost; /* charged so far */
    double work; /* prompt tokens that are to be read for it */
};

struct queue {
    struct list accounts;
    struct list later; /* struct queue_item, oldest first */
    bool closed;
    unsigned n_accounts, n_waiting, n_started, n_later;
    unsigned n_band[QUEUE_PRIORITY_N]; /* of those that wait */
    double floor;                      /* the counter of the least served uid that waits, never falling */
    double expected;                   /* what a request costs: a smoothed mean of those that ended */
    double owed[QUEUE_PRIORITY_N];     /* cost that a band is behind its share */
};

void queue_init(struct queue *queue);
void queue_deinit(struct queue *queue); /* no items are left in it */
static inline unsigned queue_n_waiting(const struct queue *queue)
{
    return queue->n_waiting + queue->n_later;
}
int queue_push(struct queue *queue, uint64_t owner, enum queue_priority priority,
               struct queue_item *item); /* -ENOMEM */
void queue_close(struct queue *queue);
void queue_open(struct queue *queue);
struct queue_item *queue_next(const struct queue *queue); /* who starts next; NULL: nobody waits */
/* Of the item's owner: how many may be started at a time, until it is set again; 0: no cap. */
void queue_set_max_running(struct queue_item *item, unsigned max_running);
void queue_start(struct queue *queue, struct queue_item *item);
void queue_requeue(struct queue *queue,
                   struct queue_item *item); /* one that was started waits again, first */
/* One that was started can do nothing with a slot: it neither runs nor waits until it waits again, first. */
void queue_park(struct queue *queue, struct queue_item *item);
void queue_unpark(struct queue *queue, struct queue_item *item);
void queue_remove(struct queue *queue, struct queue_item *item); /* in whatever state; safe to call twice */
/* Has the band its slots because it was behind its share? */
bool queue_is_owed(const struct queue *queue, enum queue_priority priority);
void queue_charge(struct queue *queue, struct queue_item *item, double cost); /* in prompt tokens */
/* Of the item's uid, 1 to QUEUE_WEIGHT_MAX: for all it has and will have, until it is set again. */
void queue_set_weight(struct queue_item *item, uint32_t weight);
uint32_t queue_weight(const struct queue_item *item);
double queue_counter(const struct queue_item *item); /* of its uid: cost over weight */
/* What is to be read for the item, until it is said again: an estimate, the true number, 0. */
void queue_set_work(struct queue_item *item, double tok);
/* Of what is to be read for others, as much as counts before the item's own: all of the bands above, all of
 * its uid in its band, and of other uids in its band what their weight makes of its own while it is read. */
double queue_work_ahead(const struct queue *queue, const struct queue_item *item);
/* How many would start before it, plus one: 1 for the next, 0 once started or while parked.  An estimate as
 * soon as uids compete, since it depends on what the others' requests will cost. */
uint32_t queue_position(const struct queue *queue, const struct queue_item *item);
