/* queue.c - fair order across uids.  See queue.h. */
#include "queue.h"

#include <assert.h>

/* Counters of idle uids are kept up to this many, so that going idle for a moment does not reset one. */
enum { QUEUE_IDLE_ACCOUNTS_MAX = 1024 };

struct queue_account {
    struct list node;
    uid_t uid;
    uint64_t counter; /* tokens served, weighted by their cost */
    unsigned n_waiting, n_started;
    struct list waiting[QUEUE_PRIORITY_N];
};

void queue_init(struct queue *queue)
{
    *queue = (struct queue){};
    list_init(&queue->accounts);
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
    return account->n_waiting || account->n_started;
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

static struct queue_account *queue_account_get(struct queue *queue, uid_t uid)
{
    struct queue_account *account;

    LIST_FOREACH (account, &queue->accounts, node)
        if (account->uid == uid)
            return account;
    if (queue->n_accounts >= QUEUE_IDLE_ACCOUNTS_MAX)
        queue_forget_one(queue);
    account = calloc(1, sizeof(*account));
    if (!account)
        return NULL;
    account->uid = uid;
    for (int i = 0; i < QUEUE_PRIORITY_N; i++)
        list_init(&account->waiting[i]);
    list_push(&queue->accounts, &account->node);
    queue->n_accounts++;
    return account;
}

static void queue_lift_floor(struct queue *queue)
{
    const struct queue_account *account;
    uint64_t least = UINT64_MAX;

    LIST_FOREACH (account, &queue->accounts, node)
        if (queue_account_is_active(account))
            least = MIN(least, account->counter);
    if (least != UINT64_MAX)
        queue->floor = MAX(queue->floor, least);
}

int queue_push(struct queue *queue, uid_t uid, enum queue_priority priority, struct queue_item *item)
{
    struct queue_account *account = queue_account_get(queue, uid);

    assert(!item->account);
    if (!account)
        return err_origin(-ENOMEM);
    queue_lift_floor(queue);
    if (!queue_account_is_active(account))
        account->counter = MAX(account->counter, queue->floor);
    *item = (struct queue_item){.account = account, .priority = priority};
    list_push(&account->waiting[priority], &item->node);
    account->n_waiting++;
    queue->n_waiting++;
    return 0;
}

/* True if a, after n_a more starts, is to be served before b after n_b more starts. */
static bool queue_account_precedes(const struct queue_account *a, unsigned n_a, const struct queue_account *b,
                                   unsigned n_b)
{
    if (a->n_started + n_a != b->n_started + n_b)
        return a->n_started + n_a < b->n_started + n_b;
    if (a->counter != b->counter)
        return a->counter < b->counter;
    return a->uid < b->uid;
}

static struct queue_item *queue_account_first(const struct queue_account *account)
{
    for (int i = 0; i < QUEUE_PRIORITY_N; i++)
        if (!list_is_empty(&account->waiting[i]))
            return list_entry(account->waiting[i].next, struct queue_item, node);
    return NULL;
}

struct queue_item *queue_next(const struct queue *queue)
{
    const struct queue_account *account, *best = NULL;

    LIST_FOREACH (account, &queue->accounts, node)
        if (account->n_waiting && (!best || queue_account_precedes(account, 0, best, 0)))
            best = account;
    return best ? queue_account_first(best) : NULL;
}

static void queue_leave_waiting(struct queue *queue, struct queue_item *item)
{
    list_remove(&item->node);
    item->account->n_waiting--;
    queue->n_waiting--;
}

void queue_start(struct queue *queue, struct queue_item *item)
{
    assert(item->account && !item->started);
    queue_leave_waiting(queue, item);
    item->started = true;
    item->account->n_started++;
    queue->n_started++;
}

void queue_remove(struct queue *queue, struct queue_item *item)
{
    if (!item->account)
        return;
    if (item->started) {
        item->account->n_started--;
        queue->n_started--;
    } else {
        queue_leave_waiting(queue, item);
    }
    *item = (struct queue_item){};
}

void queue_charge(struct queue *queue, struct queue_item *item, uint64_t cost)
{
    if (item->account)
        item->account->counter += cost;
    queue_lift_floor(queue);
}

/* How many of the same uid are served before the item. */
static unsigned queue_rank(const struct queue_item *item)
{
    const struct queue_account *account = item->account;
    const struct queue_item *other;
    unsigned n = 0;

    for (int i = 0; i <= (int)item->priority; i++)
        LIST_FOREACH (other, &account->waiting[i], node) {
            if (other == item)
                return n;
            n++;
        }
    return n;
}

uint32_t queue_position(const struct queue *queue, const struct queue_item *item)
{
    const struct queue_account *own = item->account, *account;
    unsigned rank, n = 1;

    if (!own || item->started)
        return 0;
    rank = queue_rank(item);
    n += rank;
    LIST_FOREACH (account, &queue->accounts, node) {
        unsigned ahead = 0;

        /* at most rank + own starts + 1 rounds, so cheap however long the other's queue is */
        while (account != own && ahead < account->n_waiting &&
               queue_account_precedes(account, ahead, own, rank))
            ahead++;
        n += ahead;
    }
    return n;
}
