/* preempt.c - whose slot somebody else has more use for.  See preempt.h. */
#include "preempt.h"

#include "broker.h"
#include "daemon/util/clock.h"
#include "request.h"

void preempt_start(struct preempt *preempt, uint64_t now_ns)
{
    preempt->started_ns = now_ns;
    preempt->got_on_ns = 0;
}

/* More than ever before is cached: what it had read when it was stopped. */
void preempt_begin(struct preempt *preempt, uint32_t n_cached, uint64_t now_ns)
{
    if (preempt->n && n_cached > preempt->cached && !preempt->got_on_ns)
        preempt->got_on_ns = now_ns;
    preempt->cached = MAX(preempt->cached, n_cached);
}

uint64_t preempt_due_ns(const struct preempt *preempt)
{
    if (!preempt->n)
        return 0;
    return preempt->got_on_ns ? 2 * preempt->got_on_ns - preempt->started_ns : UINT64_MAX;
}

/* The engine reads a user's prompts one after the other (sched.h), so one behind another that is being read
 * has nothing to lose. */
static bool preempt_has_begun(const struct request *request)
{
    const struct request *other;

    if (request->preempt.got_on_ns)
        return true;
    LIST_FOREACH (other, &request->broker->requests, node)
        if (request_is_in_engine(other) && other->item.account == request->item.account &&
            other->item.priority == request->item.priority && !other->preempt.got_on_ns &&
            other->preempt.started_ns < request->preempt.started_ns)
            return false;
    return true;
}

/* owed: batch is behind its share. */
static bool preempt_may(const struct request *request, bool owed, uint64_t now_ns)
{
    return !owed && (preempt_due_ns(&request->preempt) <= now_ns || !preempt_has_begun(request));
}

/* Tokens that have to be read again; a prompt that the engine has not taken in yet costs nothing. */
static uint64_t preempt_cost(const struct request *request)
{
    return request->has_started && preempt_has_begun(request) ? request->prompt_tokens + request->n_ids : 0;
}

bool preempt_is_idle(const struct request *request)
{
    return request->out.blocked && request_is_in_engine(request);
}

/* Of those that get nowhere with their slots, the one that costs least. */
static struct request *preempt_find_idle(struct broker *broker)
{
    struct request *request, *victim = NULL;

    LIST_FOREACH (request, &broker->requests, node)
        if (preempt_is_idle(request) && (!victim || preempt_cost(request) < preempt_cost(victim)))
            victim = request;
    return victim;
}

int preempt_for(struct broker *broker, const struct queue_item *item, uint64_t *ret_due_ns)
{
    const bool owed = queue_is_owed(&broker->queue, QUEUE_BATCH);
    const uint64_t now_ns = clock_now_ns();
    struct request *request, *victim = NULL;
    int r = PREEMPT_E_NONE;

    *ret_due_ns = UINT64_MAX;
    if (list_entry(item, struct request, item)->out.blocked)
        return PREEMPT_E_NONE; /* it would get nowhere either */
    victim = preempt_find_idle(broker);
    if (victim) {
        request_park(victim);
        return PREEMPT_OK;
    }
    if (item->priority != QUEUE_INTERACTIVE)
        return PREEMPT_E_NONE;
    LIST_FOREACH (request, &broker->requests, node) {
        if (!request_is_in_engine(request) || request->item.priority != QUEUE_BATCH)
            continue;
        if (!preempt_may(request, owed, now_ns)) {
            r = PREEMPT_E_LATER;
            *ret_due_ns = MIN(*ret_due_ns, MAX(preempt_due_ns(&request->preempt), now_ns));
        } else if (!victim || preempt_cost(request) < preempt_cost(victim)) {
            victim = request;
        }
    }
    if (!victim)
        return r;
    request_preempt(victim);
    return PREEMPT_OK;
}
