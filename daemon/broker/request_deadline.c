/* request_deadline.c - a request that is too late: refused before it waits in vain, or ended.  See request.h.
 */
#include <inttypes.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "daemon/util/loop.h"
#include "proto/status.h"
#include "request.h"

/* How far beyond the deadline a forecast must lie: it is an expectation, and a try that may succeed is worth
 * more than a refusal that was not needed. */
static const double request_deadline_slack = 1.2;
enum { REQUEST_RETRY_MS_MIN = 100, REQUEST_RETRY_MS_MAX = 3600 * 1000 };

/* Until when there must be a first token; 0: none is set. */
static uint32_t request_first_ms(const struct request *request)
{
    return request->ttft_deadline_ms ? request->ttft_deadline_ms : request->deadline_ms;
}

/* Of the answers that run, what is left on average. */
static double request_left_tok(const struct broker *broker)
{
    const struct request *request;
    double tok = 0;
    unsigned n = 0;

    LIST_FOREACH (request, &broker->requests, node)
        if (request->item.started) {
            tok += forecast_left_tok(&broker->forecast,
                                     request->max_tokens ? request->max_tokens - request->n_ids : 0);
            n++;
        }
    return n ? tok / n : 0;
}

/* As preempt_for() would find one. */
static bool request_takes_slot(const struct request *request)
{
    const bool interactive = request->item.priority == QUEUE_INTERACTIVE;
    const struct request *other;

    LIST_FOREACH (other, &request->broker->requests, node)
        if (preempt_is_idle(other) ||
            (interactive && request_is_in_engine(other) && other->item.priority == QUEUE_BATCH))
            return true;
    return false;
}

static double request_forecast_ns(const struct request *request)
{
    const struct broker *broker = request->broker;
    const struct forecast_work work = {
        .own_tok = request->item.work,
        .ahead_tok = queue_work_ahead(&broker->queue, &request->item),
        .left_tok = request_left_tok(broker),
        .n_slots = supervise_slots(&broker->supervise),
        .n_running = broker->queue.n_started,
        .n_ahead = queue_position(&broker->queue, &request->item) - 1,
        .takes_slot = request_takes_slot(request),
    };

    return forecast_ttft_ns(&broker->forecast, &work);
}

static int request_refuse_deadline(const struct request *request, double expected_ms, struct refusal *refusal)
{
    const uint32_t first_ms = request_first_ms(request);

    refusal->used = (uint64_t)expected_ms;
    refusal->limit = first_ms;
    refusal->names[0] = "expected_ms";
    refusal->names[1] = "deadline_ms";
    refusal->retry_after_ms =
        (uint32_t)CLAMP(expected_ms - first_ms, (double)REQUEST_RETRY_MS_MIN, (double)REQUEST_RETRY_MS_MAX);
    return fault_set(&refusal->fault, STATUS_DEADLINE_UNMEETABLE,
                     "the first token is expected after %.0f ms, the deadline is %u ms", expected_ms,
                     first_ms);
}

/* Its tokens so far are delivered; what the reader has not taken yet goes on being offered. */
static void request_end_late(struct request *request)
{
    struct broker *broker = request->broker;

    if (request_is_in_engine(request))
        link_cancel(&broker->link, request->handle);
    queue_remove(&broker->queue, &request->item);
    request->state = REQUEST_DONE;
    request->finish = QWP__FINISH__FINISH_DEADLINE;
    request->done_ns = clock_now_ns();
    request_journal_ended(request, NULL);
    broker_kick(broker);
    request_finish_if_done(request);
}

static void request_fail_late(struct request *request, uint64_t passed_ms)
{
    struct refusal refusal = {.used = passed_ms, .limit = request_first_ms(request)};

    refusal.names[0] = "waited_ms";
    refusal.names[1] = "deadline_ms";
    fault_set(&refusal.fault, STATUS_DEADLINE, "no token after %" PRIu64 " ms, the deadline was %u ms",
              passed_ms, request_first_ms(request));
    request_fail_limit(request, &refusal);
}

static void request_on_deadline(int fd, short what, void *arg)
{
    struct request *request = arg;
    const uint64_t passed_ms = (clock_now_ns() - request->received_ns) / 1000000;
    const uint32_t due_ms = request->n_ids ? request->deadline_ms : request_first_ms(request);

    if (request->state == REQUEST_DONE || !due_ms)
        return;
    if (passed_ms < due_ms) /* the first token was in time */
        loop_arm_ms(request->deadline, due_ms - passed_ms);
    else if (request->n_ids)
        request_end_late(request);
    else
        request_fail_late(request, passed_ms);
}

static int request_arm_deadline(struct request *request, uint64_t ms)
{
    int r = loop_event_new(request->broker->base, -1, 0, request_on_deadline, request, &request->deadline);

    return r ? r : loop_arm_ms(request->deadline, ms);
}

/* It may be late already: then the timer says so at once. */
int request_restore_deadline(struct request *request)
{
    return request_first_ms(request) ? request_arm_deadline(request, 0) : 0;
}

int request_begin_deadline(struct request *request, struct refusal *refusal)
{
    const uint32_t first_ms = request_first_ms(request);
    double expected_ms;

    if (!first_ms)
        return 0;
    expected_ms = request_forecast_ns(request) / 1e6;
    if (expected_ms > first_ms * request_deadline_slack)
        return request_refuse_deadline(request, expected_ms, refusal);
    return request_arm_deadline(request, first_ms);
}
