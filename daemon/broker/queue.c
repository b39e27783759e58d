/* queue.c - fair order across uids.  See queue.h. */
#include "queue.h"

#include <assert.h>
#include <math.h>

/* Counters of idle uids are kept up to this many, so that going idle for a moment does not reset one. */
enum { QUEUE_IDLE_ACCOUNTS_MAX = 1024 };
/* What a request costs before one has ended (a page to read and a paragraph to write), and how much of each
 * new one is believed: the mean follows some twenty requests. */
static const double queue_expected_first = 500, queue_smooth = 1.0 / 16;
/* Of what is served while others wait: interactive, normal, batch.  As in the engine's sched.c, which shares
 * out the steps; here it is slots. */
static const double queue_shares[QUEUE_PRIORITY_N] = {0, 0.3, 0.1};
/* How far a band may be ahead of its share or behind it, in prompt tokens: the rest is forgotten.  Ahead, it
 * waits until the others were served ten times as much, so only some requests' worth. */
static const double queue_owed_min = -4000, queue_owed_max = 20000;

struct queue_account {
    struct list node;
    uint64_t owner; /* a uid, or an account of one: account.h */
    uint32_t weight;
    double counter;                                                /* cost served, at QUEUE_WEIGHT */
    unsigned n_waiting, n_started, n_parked, n_later, max_running; /* max_running 0: no cap */
    unsigned n_band[QUEUE_PRIORITY_N];                             /* of n_waiting */
    double work[QUEUE_PRIORITY_N];                                 /* of what waits and what runs */
    struct list waiting[QUEUE_PRIORITY_N];
};

void queue_init(struct queue *queue)
{
    *queue = (struct queue){.expected = queue_expected_first};
    list_init(&queue->accounts);
    list_init(&queue->later);
}

static void queue_account_free(struct queue *queue, struct queue_account *account)
{
    list_remove(&account->node);
    queue->n_accounts--;
    free(account);
}

void queue_deinit(struct queue *queue)
{
    struct queue_account *account;

    LIST_FOREACH (account, &queue->accounts, node)
        queue_account_free(queue, account);
}

static bool queue_account_is_active(const struct queue_account *account)
{
    return account->n_waiting || account->n_started || account->n_parked || account->n_later;
}

/* Makes room when too many uids have come and gone: the least served idle one loses least by being forgotten.
 */
static void queue_forget_one(struct queue *queue)
{
    struct queue_account *account, *least = NULL;

    LIST_FOREACH (account, &queue->accounts, node)
        if (!queue_account_is_active(account) && (!least || account->counter < least->counter))
            least = account;
    if (least)
        queue_account_free(queue, least);
}

static struct queue_account *queue_account_get(struct queue *queue, uint64_t owner)
{
    struct queue_account *account;

    LIST_FOREACH (account, &queue->accounts, node)
        if (account->owner == owner)
            return account;
    if (queue->n_accounts >= QUEUE_IDLE_ACCOUNTS_MAX)
        queue_forget_one(queue);
    account = calloc(1, sizeof(*account));
    if (!account)
        return NULL;
    account->owner = owner;
    account->weight = QUEUE_WEIGHT;
    for (int i = 0; i < QUEUE_PRIORITY_N; i++)
        list_init(&account->waiting[i]);
    list_push(&queue->accounts, &account->node);
    queue->n_accounts++;
    return account;
}

/* The least served of those that wait; where nobody waits, of those that run. */
static void queue_lift_floor(struct queue *queue)
{
    const struct queue_account *account;
    double least = INFINITY;

    LIST_FOREACH (account, &queue->accounts, node)
        if (queue->n_waiting ? account->n_waiting : account->n_started)
            least = MIN(least, account->counter);
    if (!isinf(least))
        queue->floor = MAX(queue->floor, least);
}

/* +1 or -1 of those that wait. */
static void queue_count_waiting(struct queue *queue, const struct queue_item *item, int n)
{
    struct queue_account *account = item->account;

    account->n_waiting += (unsigned)n;
    account->n_band[item->priority] += (unsigned)n;
    queue->n_waiting += (unsigned)n;
    queue->n_band[item->priority] += (unsigned)n;
}

static void queue_wait_last(struct queue *queue, struct queue_item *item)
{
    struct queue_account *account = item->account;

    queue_lift_floor(queue);
    if (!account->n_waiting)
        account->counter = MAX(account->counter, queue->floor);
    list_push(&account->waiting[item->priority], &item->node);
    queue_count_waiting(queue, item, 1);
}

static void queue_wait_later(struct queue *queue, struct queue_item *item)
{
    list_push(&queue->later, &item->node);
    item->later = true;
    item->account->n_later++;
    queue->n_later++;
}

static void queue_leave_later(struct queue *queue, struct queue_item *item)
{
    list_remove(&item->node);
    item->later = false;
    item->account->n_later--;
    queue->n_later--;
}

int queue_push(struct queue *queue, uint64_t owner, enum queue_priority priority, struct queue_item *item)
{
    struct queue_account *account = queue_account_get(queue, owner);

    assert(!item->account);
    if (!account)
        return err_origin(-ENOMEM);
    *item = (struct queue_item){.account = account, .priority = priority};
    if (queue->closed)
        queue_wait_later(queue, item);
    else
        queue_wait_last(queue, item);
    return 0;
}

void queue_close(struct queue *queue)
{
    queue->closed = true;
}

void queue_open(struct queue *queue)
{
    struct queue_item *item;

    queue->closed = false;
    LIST_FOREACH (item, &queue->later, node) {
        queue_leave_later(queue, item);
        queue_wait_last(queue, item);
    }
}

void queue_set_weight(struct queue_item *item, uint32_t weight)
{
    assert(weight && weight <= QUEUE_WEIGHT_MAX);
    item->account->weight = weight;
}

uint32_t queue_weight(const struct queue_item *item)
{
    return item->account ? item->account->weight : QUEUE_WEIGHT;
}

double queue_counter(const struct queue_item *item)
{
    return item->account ? item->account->counter : 0;
}

/* The counter with n more starts, each taken for an average request. */
static double queue_account_served(const struct queue *queue, const struct queue_account *account, unsigned n)
{
    return account->counter +
           (account->n_started + n) * queue->expected * QUEUE_WEIGHT / (double)account->weight;
}

/* True if a, after n_a more starts, is to be served before b after n_b more starts. */
static bool queue_account_precedes(const struct queue *queue, const struct queue_account *a, unsigned n_a,
                                   const struct queue_account *b, unsigned n_b)
{
    const double served_a = queue_account_served(queue, a, n_a),
                 served_b = queue_account_served(queue, b, n_b);

    return served_a != served_b ? served_a < served_b : a->owner < b->owner;
}

/* Whose turn it is: a band that is owed a request's worth, or the first that has one. */
static int queue_band(const struct queue *queue)
{
    int band = -1;

    for (int b = QUEUE_PRIORITY_N - 1; b >= 0; b--)
        if (queue->n_band[b])
            band = b;
    for (int b = 0; b < QUEUE_PRIORITY_N; b++)
        if (queue->n_band[b] && queue->owed[b] >= queue->expected)
            return b;
    return band;
}

/* Half of what makes it its turn, so that what it is given is not taken away at once. */
bool queue_is_owed(const struct queue *queue, enum queue_priority priority)
{
    return queue->owed[priority] > queue->expected / 2;
}

void queue_set_max_running(struct queue_item *item, unsigned max_running)
{
    item->account->max_running = max_running;
}

static struct queue_item *queue_next_of(const struct queue *queue, int band)
{
    const struct queue_account *account, *best = NULL;

    LIST_FOREACH (account, &queue->accounts, node) {
        if (!account->n_band[band] || (account->max_running && account->n_started >= account->max_running))
            continue;
        if (!best || queue_account_precedes(queue, account, 0, best, 0))
            best = account;
    }
    return best ? list_entry(best->waiting[band].next, struct queue_item, node) : NULL;
}

struct queue_item *queue_next(const struct queue *queue)
{
    const int band = queue_band(queue);
    struct queue_item *item = band < 0 ? NULL : queue_next_of(queue, band);

    /* all of that band may run no more at a time: the slot is not left empty for them */
    for (int b = 0; !item && b < QUEUE_PRIORITY_N; b++)
        item = queue_next_of(queue, b);
    return item;
}

static void queue_leave_waiting(struct queue *queue, struct queue_item *item)
{
    list_remove(&item->node);
    queue_count_waiting(queue, item, -1);
}

void queue_start(struct queue *queue, struct queue_item *item)
{
    assert(item->account && !item->started);
    queue_leave_waiting(queue, item);
    item->started = true;
    item->account->n_started++;
    queue->n_started++;
}

static void queue_leave_started(struct queue *queue, struct queue_item *item)
{
    item->started = false;
    item->account->n_started--;
    queue->n_started--;
}

static void queue_wait_first(struct queue *queue, struct queue_item *item)
{
    list_push(item->account->waiting[item->priority].next, &item->node); /* before the first */
    queue_count_waiting(queue, item, 1);
}

void queue_requeue(struct queue *queue, struct queue_item *item)
{
    assert(item->account && item->started);
    queue_leave_started(queue, item);
    queue_wait_first(queue, item);
}

void queue_park(struct queue *queue, struct queue_item *item)
{
    assert(item->account && item->started);
    queue_leave_started(queue, item);
    item->parked = true;
    item->account->n_parked++;
}

void queue_unpark(struct queue *queue, struct queue_item *item)
{
    assert(item->account && item->parked);
    item->parked = false;
    item->account->n_parked--;
    queue_wait_first(queue, item);
}

void queue_remove(struct queue *queue, struct queue_item *item)
{
    if (!item->account)
        return;
    if (item->started || item->parked)
        queue->expected += queue_smooth * (MAX(item->cost, 1.0) - queue->expected);
    if (item->started) {
        queue_leave_started(queue, item);
    } else if (item->parked) {
        item->account->n_parked--;
    } else if (item->later) {
        queue_leave_later(queue, item);
    } else {
        queue_leave_waiting(queue, item);
        if (!queue->n_band[item->priority]) /* who was owed it gave up */
            queue->owed[item->priority] = MIN(queue->owed[item->priority], 0.0);
    }
    queue_set_work(item, 0);
    *item = (struct queue_item){};
}

void queue_set_work(struct queue_item *item, double tok)
{
    if (!item->account)
        return;
    item->account->work[item->priority] += tok - item->work;
    item->work = tok;
}

double queue_work_ahead(const struct queue *queue, const struct queue_item *item)
{
    const struct queue_account *own = item->account, *account;
    double tok = 0;

    LIST_FOREACH (account, &queue->accounts, node) {
        const double share = item->work * account->weight / own->weight;

        for (int b = 0; b < (int)item->priority; b++)
            tok += account->work[b];
        tok += account == own ? own->work[item->priority] - item->work
                              : MIN(account->work[item->priority], share);
    }
    return tok;
}

/* What a band is served pays off what it is owed; it gets ahead of its share only while others wait. */
static double queue_pay(const struct queue *queue, int band, double cost)
{
    const double owed = queue->owed[band];

    if (queue->n_waiting > queue->n_band[band])
        return owed + (queue_shares[band] - 1) * cost;
    return MIN(owed, MAX(owed - cost, 0.0));
}

static void queue_charge_bands(struct queue *queue, enum queue_priority priority, double cost)
{
    for (int b = 0; b < QUEUE_PRIORITY_N; b++) {
        double owed = queue->owed[b];

        if (b == (int)priority)
            owed = queue_pay(queue, b, cost);
        else if (queue->n_band[b])
            owed += queue_shares[b] * cost;
        queue->owed[b] = CLAMP(owed, queue_owed_min, queue_owed_max);
    }
}

void queue_charge(struct queue *queue, struct queue_item *item, double cost)
{
    if (!item->account)
        return;
    item->cost += cost;
    item->account->counter += cost * QUEUE_WEIGHT / item->account->weight;
    queue_charge_bands(queue, item->priority, cost);
    queue_lift_floor(queue);
}

/* How many stand before the item in that list. */
static unsigned queue_rank(const struct list *list, const struct queue_item *item)
{
    const struct queue_item *other;
    unsigned n = 0;

    LIST_FOREACH (other, list, node) {
        if (other == item)
            break;
        n++;
    }
    return n;
}

/* Of those that wait, how many are in a band above. */
static unsigned queue_n_above(const unsigned *n_band, enum queue_priority priority)
{
    unsigned n = 0;

    for (int b = 0; b < (int)priority; b++)
        n += n_band[b];
    return n;
}

uint32_t queue_position(const struct queue *queue, const struct queue_item *item)
{
    const struct queue_account *own = item->account, *account;
    unsigned rank, own_before, n;

    if (!own || item->started || item->parked)
        return 0;
    if (item->later)
        return queue->n_waiting + queue_rank(&queue->later, item) + 1;
    rank = queue_rank(&own->waiting[item->priority], item);
    own_before = queue_n_above(own->n_band, item->priority) + rank;
    n = 1 + queue_n_above(queue->n_band, item->priority) + rank;
    LIST_FOREACH (account, &queue->accounts, node) {
        const unsigned before = queue_n_above(account->n_band, item->priority);
        unsigned ahead = 0;

        while (account != own && ahead < account->n_band[item->priority] &&
               queue_account_precedes(queue, account, before + ahead, own, own_before))
            ahead++;
        n += ahead;
    }
    return n;
}
