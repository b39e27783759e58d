/* preempt.c - an interactive request that finds no slot takes one from a batch request.  See preempt.h. */
#include "preempt.h"

#include "broker.h"
#include "daemon/util/clock.h"
#include "request.h"

bool preempt_is_due(const struct preempt *preempt, uint64_t now_ns)
{
    const uint64_t again_ns = preempt->got_on_ns - preempt->started_ns;

    if (!preempt->n)
        return true;
    return preempt->got_on_ns &&
           now_ns - preempt->started_ns >= MAX(2 * again_ns, PREEMPT_GUARD_MS * 1000000ull);
}

/* Tokens that have to be read again; a prompt that the engine has not taken in yet costs nothing. */
static uint64_t preempt_cost(const struct request *request)
{
    return request->has_started ? request->prompt_tokens + request->n_ids : 0;
}

int preempt_for(struct broker *broker, const struct queue_item *item)
{
    const bool owed = queue_is_owed(&broker->queue, QUEUE_BATCH);
    const uint64_t now_ns = clock_now_ns();
    struct request *request, *victim = NULL;
    int r = PREEMPT_E_NONE;

    if (item->priority != QUEUE_INTERACTIVE)
        return PREEMPT_E_NONE;
    LIST_FOREACH (request, &broker->requests, node) {
        if (!request_is_in_engine(request) || request->item.priority != QUEUE_BATCH)
            continue;
        /* a paused one gets nowhere with its slot, so it is not left alone */
        if (!request->out.blocked && (owed || !preempt_is_due(&request->preempt, now_ns)))
            r = PREEMPT_E_LATER;
        else if (!victim || preempt_cost(request) < preempt_cost(victim))
            victim = request;
    }
    if (!victim)
        return r;
    request_preempt(victim);
    return PREEMPT_OK;
}
