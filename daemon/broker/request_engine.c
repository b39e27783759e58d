/* request_engine.c - a request's life in the engine: submitted, emitting, lost, submitted again.  See
 * request.h. */
#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "proto/status.h"
#include "request.h"

bool request_is_in_engine(const struct request *request)
{
    return request->state == REQUEST_PREFILL || request->state == REQUEST_DECODE;
}

bool request_is_at_work(const struct request *request)
{
    return request_is_in_engine(request) && !request->out.blocked && !request->held;
}

void request_leave_engine(struct request *request)
{
    if (request_is_in_engine(request))
        link_cancel(&request->broker->link, request->handle);
    queue_remove(&request->broker->queue, &request->item);
    broker_kick(request->broker);
}

int request_submit(struct request *request)
{
    Qwe__Submit tail = QWE__SUBMIT__INIT;
    int r;

    tail.has_body = request->memfd < 0;
    tail.body = (ProtobufCBinaryData){.data = buf_head(&request->body), .len = buf_size(&request->body)};
    tail.forced = request->ids;
    tail.n_forced = request->n_ids;
    tail.has_paused = tail.paused = request->out.blocked || request->held;
    tail.has_uid = tail.has_priority = tail.has_weight = true;
    tail.uid = request->uid;
    tail.priority = request->priority;
    tail.weight = queue_weight(&request->item);
    tail.has_ttft_ns = request->ttft_deadline_ms && !request->first_ns;
    tail.ttft_ns = request->received_ns + request->ttft_deadline_ms * 1000000ull;
    r = link_submit(&request->broker->link, request, &tail);
    if (r)
        return r;
    request_journal_submitted(request);
    if (!request->item.started) {
        queue_start(&request->broker->queue, &request->item);
        preempt_start(&request->preempt, clock_now_ns());
        if (!request->first_ns)
            request->submitted_ns = request->preempt.started_ns;
        if (!request->preempt.n)
            metrics_observe(&request_metrics(request)->queue, request->submitted_ns - request->received_ns,
                            1);
        request_tell_accepted(request, 0);
    }
    request->state = REQUEST_PREFILL;
    return 0;
}

void request_pause(struct request *request, bool paused)
{
    if (request->item.parked && !paused) {
        queue_unpark(&request->broker->queue, &request->item);
        broker_kick(request->broker);
    }
    if (!request_is_in_engine(request))
        return;
    if (paused)
        quarantine_clear(request);
    link_pause(&request->broker->link, request->handle, paused || request->held);
    broker_kick(request->broker);
}

/* The handle goes with the slot: what the engine still says under it counts for nothing, and will be said
 * again word for word. */
static void request_leave_slot(struct request *request)
{
    struct broker *broker = request->broker;

    link_preempt(&broker->link, request->handle);
    broker_give_handle(request);
    request->state = REQUEST_PREEMPTED;
    if (request->has_started)
        queue_set_work(&request->item, (double)(request->prompt_tokens + request->n_ids));
    request->preempt.n++;
    broker->totals.preemptions++;
    request_metrics(request)->preemptions++;
}

/* Its reader knows what it waits for.  It pays, so that one who reads a byte at a time does not cost the
 * others more than himself. */
void request_park(struct request *request)
{
    queue_park(&request->broker->queue, &request->item);
    request_leave_slot(request);
    queue_charge(&request->broker->queue, &request->item, REQUEST_BOTHER_TOK);
}

void request_preempt(struct request *request)
{
    queue_requeue(&request->broker->queue, &request->item);
    request_leave_slot(request);
    request->told_ns = 0; /* its new position is news */
    if (!request->client || !request->client->knows_preempt)
        return;
    request_tell_event(request, QWP__EVENT__KIND__PREEMPTED);
    request->preempt_told = true;
}

int request_on_started(struct request *request, const Qwe__Started *started)
{
    uint32_t fresh;

    if (!request_is_in_engine(request))
        return 0;
    preempt_begin(&request->preempt, started->cached_tokens, clock_now_ns());
    request->read_tokens = MIN(started->cached_tokens, started->prompt_tokens);
    if (request->has_started)
        return 0; /* a replay reads the same prompt again; nobody pays twice */
    request->has_started = true;
    request->prompt_tokens = started->prompt_tokens;
    forecast_note_prompt(&request->broker->forecast, request->n_body, started->prompt_tokens);
    request->cached_tokens = MIN(started->cached_tokens, started->prompt_tokens);
    fresh = request->prompt_tokens - request->cached_tokens;
    queue_set_work(&request->item, fresh);
    queue_charge(&request->broker->queue, &request->item, fresh);
    request_charge_tokens(request, fresh);
    request->broker->totals.prompt_tokens += request->prompt_tokens;
    request->broker->totals.cached_tokens += request->cached_tokens;
    request_metrics(request)->prompt_tokens += request->prompt_tokens;
    request_metrics(request)->cached_tokens += request->cached_tokens;
    request_journal_started(request);
    request_tell_accepted(request, 0);
    return 0;
}

/* Of a prompt that is read for the first time: what a replay reads again is of no interest. */
void request_on_read(struct request *request, uint32_t n_tok)
{
    if (request->state != REQUEST_PREFILL || !request->has_started || n_tok <= request->read_tokens)
        return;
    request->read_tokens = MIN(n_tok, request->prompt_tokens);
    if (request->client && request->client->knows_progress)
        request_tell_event(request, QWP__EVENT__KIND__READ);
}

/* Room for n more ids.  > 0: the uid may hold no more. */
static int request_log_reserve(struct request *request, size_t n)
{
    const size_t want = request->n_ids + n;
    const size_t charged = (request->log_charge.amount - request->n_head) / sizeof(*request->ids);
    size_t cap = MAX(request->cap_ids, (size_t)64);
    uint32_t *ids;

    if (want <= request->cap_ids)
        return 0;
    while (cap < want)
        cap *= 2;
    if (want <= charged) { /* nothing more is asked for, since the uid's share may have shrunk meanwhile */
        cap = MIN(cap, charged);
    } else {
        int r = quota_resize(&request->log_charge, cap * sizeof(*ids) + request->n_head);

        if (r)
            return r;
    }
    ids = realloc(request->ids, cap * sizeof(*ids));
    if (!ids)
        return err_origin(-ENOMEM);
    request->ids = ids;
    request->cap_ids = cap;
    return 0;
}

static int request_log_append(struct request *request, const Qwe__Emit *emit, struct fault *fault)
{
    int r = request_log_reserve(request, emit->n_ids);

    if (r < 0)
        return fault_set(fault, STATUS_INTERNAL, "out of memory for the replay log");
    if (r)
        return fault_set(fault, STATUS_CONCURRENCY, "the replay log would exceed what uid %u may hold",
                         request->uid);
    if (emit->n_ids)
        memcpy(request->ids + request->n_ids, emit->ids, emit->n_ids * sizeof(*emit->ids));
    request->n_ids += emit->n_ids;
    return 0;
}

/* The engine counts: it knows which tokens were reasoning, also those that released no text. */
static void request_count(struct request *request, const Qwe__Emit *emit)
{
    if (emit->has_reasoning_tokens)
        request->n_reasoning = emit->reasoning_tokens;
    if (emit->has_answer_tokens)
        request->n_answer = emit->answer_tokens;
    request_charge_tokens(request, emit->n_ids);
    request->broker->totals.output_tokens += emit->n_ids;
    request_metrics(request)->output_tokens += emit->n_ids;
    /* all that run have about one row each in a step */
    queue_charge(&request->broker->queue, &request->item,
                 emit->n_ids *
                     forecast_write_price(&request->broker->forecast, request->broker->queue.n_started));
}

/* When the engine made this: never before it was asked, never in the future. */
static uint64_t request_emit_ns(const struct request *request, const Qwe__Emit *emit)
{
    const uint64_t now_ns = clock_now_ns();

    return emit->has_at_ns ? CLAMP(emit->at_ns, request->submitted_ns, now_ns) : now_ns;
}

/* The engine's last word: the slot is free, though the reader may not have everything yet. */
static int request_take_finish(struct request *request, const Qwe__Emit *emit)
{
    if (emit->stop) {
        request->stop = strdup(emit->stop);
        if (!request->stop)
            return err_origin(-ENOMEM);
    }
    request->finish = emit->finish;
    request->done_ns = request_emit_ns(request, emit);
    request->state = REQUEST_DONE;
    forecast_note_answer(&request->broker->forecast, request->n_ids);
    queue_remove(&request->broker->queue, &request->item);
    broker_kick(request->broker);
    return 0;
}

/* n tokens of one step: to their reader they are n gaps, each its share of the whole one. */
static void request_note_tokens(struct request *request, uint64_t at_ns, size_t n)
{
    struct metrics_class *metrics = request_metrics(request);

    if (!request->first_ns) {
        request->first_ns = at_ns;
        metrics_observe(&metrics->first_token, at_ns - MIN(at_ns, request->received_ns), 1);
        meter_add_span(&request->broker->read, request->submitted_ns, at_ns,
                       request->prompt_tokens - request->cached_tokens);
    } else if (request->last_ns && n) {
        metrics_observe(&metrics->interval, (at_ns - MIN(at_ns, request->last_ns)) / n, n);
    }
    if (n)
        request->last_ns = at_ns;
    meter_add(&request->written, at_ns, (uint32_t)n);
    meter_add(&request->broker->written, at_ns, (uint32_t)n);
}

static void request_note_progress(struct request *request, const Qwe__Emit *emit)
{
    if (emit->n_ids)
        request->idle_deaths = 0;
    if (emit->n_ids && !request->preempt.got_on_ns) {
        request->preempt.got_on_ns = clock_now_ns();
        if (request->preempt.n)
            broker_kick(request->broker); /* it may be what an interactive request waits for */
    }
    if (request->restart_told || request->preempt_told)
        request_tell_event(request, QWP__EVENT__KIND__RESUMED);
    request->restart_told = request->preempt_told = false;
    request->state = REQUEST_DECODE;
    queue_set_work(&request->item, 0);
    request_note_tokens(request, request_emit_ns(request, emit), emit->n_ids);
}

int request_on_emit(struct request *request, const Qwe__Emit *emit, const uint8_t *raw, size_t n_raw)
{
    const size_t max = request->max_tokens ? request->max_tokens : POLICY_TOKENS_MAX;
    struct refusal refusal = {};
    int r = 0;

    if (!request_is_in_engine(request))
        return 0;
    if (request->n_ids + emit->n_ids > max)
        return err_origin(-EBADMSG); /* the engine is out of its mind */
    request_note_progress(request, emit);
    if (request_log_append(request, emit, &refusal.fault) ||
        request_journal_emit(request, raw, n_raw, &refusal)) {
        request_fail_limit(request, &refusal);
        return 0;
    }
    request_count(request, emit);
    quarantine_on_progress(request);
    if (emit->has_finish)
        quarantine_clear(request);
    if (emit->has_finish)
        r = request_take_finish(request, emit);
    if (!r && request->is_score)
        return request_take_scores(request, emit);
    if (!r && stream_push(request, emit, raw, n_raw))
        request_finish_if_done(request);
    return r;
}

/* What it was charged and counted for then is not said twice. */
int request_restore_emit(struct request *request, const Qwe__Emit *emit, const uint8_t *raw, size_t n_raw,
                         struct fault *fault)
{
    int r = request_log_append(request, emit, fault);

    if (r)
        return r;
    if (emit->has_reasoning_tokens)
        request->n_reasoning = emit->reasoning_tokens;
    if (emit->has_answer_tokens)
        request->n_answer = emit->answer_tokens;
    if (emit->n_ids && !request->first_ns)
        request->first_ns = request_emit_ns(request, emit);
    if (emit->has_finish && request_take_finish(request, emit))
        return fault_set(fault, STATUS_INTERNAL, "out of memory");
    return stream_push(request, emit, raw, n_raw) ? 0 : -ESTALE;
}

void request_error_from_refused(const Qwe__Refused *refused, Qwp__Error *error)
{
    error->has_code = true;
    error->code = refused->has_code && refused->code ? refused->code : STATUS_INTERNAL;
    error->text = refused->text ? refused->text : (char *)"the engine refused the request";
    error->details = refused->details;
    error->n_details = refused->n_details;
}

void request_on_refused(struct request *request, const Qwe__Refused *refused)
{
    Qwp__Error error = QWP__ERROR__INIT;

    quarantine_clear(request);
    request_error_from_refused(refused, &error);
    request->state = REQUEST_DONE; /* the engine has forgotten it already */
    request_fail_with(request, &error);
}

void request_on_engine_lost(struct request *request)
{
    struct fault fault;

    if (!request_is_in_engine(request))
        return;
    request->state = REQUEST_REPLAYING;
    if (request->has_started)
        queue_set_work(&request->item, (double)(request->prompt_tokens + request->n_ids));
    request->replays++;
    request_metrics(request)->replays++;
    if (!request->out.blocked) /* a paused one did nothing, so it is not to blame */
        request->idle_deaths++;
    if (request->idle_deaths >= REQUEST_DEATHS_MAX) {
        fault_set(&fault, STATUS_ENGINE_LOST, "the engine died %u times without a new token of this request",
                  request->idle_deaths);
        request->suspect = false;
        request_fail(request, &fault);
        return;
    }
    if (!request->restart_told)
        request_tell_event(request, QWP__EVENT__KIND__ENGINE_RESTART);
    request->restart_told = true;
}
