/* request_tell.c - Accepted, Event and Usage: what a client hears about its request beside the text.  See
 * request.h. */
#include "broker.h"
#include "client.h"
#include "daemon/util/clock.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "request.h"

static void request_fill_accepted(const struct request *request, uint32_t position, Qwp__Accepted *accepted)
{
    const struct supervise *supervise = &request->broker->supervise;

    accepted->has_request_id = true;
    accepted->request_id = (ProtobufCBinaryData){.data = (uint8_t *)request->id, .len = POLICY_ID_BYTES};
    accepted->has_position = true;
    accepted->position = position;
    accepted->has_prompt_tokens = accepted->has_cached_tokens = request->has_started;
    accepted->prompt_tokens = request->prompt_tokens;
    accepted->cached_tokens = request->cached_tokens;
    accepted->has_loading = accepted->has_load_permille = supervise->state == SUPERVISE_LOADING;
    accepted->loading = true;
    accepted->load_permille = supervise->load_permille;
    accepted->has_linger_s = request->detachable;
    accepted->linger_s = request->broker->options->linger_s;
}

void request_tell_accepted(struct request *request, uint32_t position)
{
    Qwp__Accepted accepted = QWP__ACCEPTED__INIT;

    if (request->is_score || !request->client)
        return; /* one question, one answer; or nobody to hear it */
    request_fill_accepted(request, position, &accepted);
    client_put(request->client, request->stream, MSG_ACCEPTED, 0, &accepted.base);
    request->told_position = position;
    request->told_permille = request->broker->supervise.load_permille;
    request->told_ns = clock_now_ns();
}

bool request_tell_position(struct request *request, uint64_t now_ns)
{
    const struct supervise *supervise = &request->broker->supervise;
    const bool loading = supervise->state == SUPERVISE_LOADING;
    const uint32_t position = queue_position(&request->broker->queue, &request->item);

    if ((request->state != REQUEST_QUEUED && request->state != REQUEST_PREEMPTED) || request->item.parked)
        return false;
    if (request->told_ns && request->told_position == position &&
        (!loading || request->told_permille == supervise->load_permille))
        return false;
    if (request->told_ns && now_ns - request->told_ns < REQUEST_TELL_MS * 1000000ull)
        return true;
    request_tell_accepted(request, position);
    return false;
}

/* Nobody depends on hearing it, so it may not use the reserve that Usage and Error need. */
void request_tell_event(struct request *request, Qwp__Event__Kind kind)
{
    Qwp__Event event = QWP__EVENT__INIT;

    if (request->is_score || !request->client)
        return;
    event.has_kind = true;
    event.kind = kind;
    event.has_from_token = kind == QWP__EVENT__KIND__RESUMED;
    event.from_token = (uint32_t)request->n_ids;
    event.has_read_tokens = event.has_prompt_tokens = kind == QWP__EVENT__KIND__READ;
    event.read_tokens = request->read_tokens;
    event.prompt_tokens = request->prompt_tokens;
    (void)client_offer(request->client, request->stream, MSG_EVENT, 0, &event.base);
}

static double request_span_ms(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns && to_ns > from_ns ? clock_ms(to_ns - from_ns) : 0;
}

void request_put_usage(struct request *request)
{
    const Qwe__Ready *ready = request->broker->supervise.ready;
    const uint64_t submitted_ns = request->submitted_ns ? request->submitted_ns : request->done_ns;
    const uint64_t first_ns = request->first_ns ? request->first_ns : request->done_ns;
    Qwp__Usage usage = QWP__USAGE__INIT;

    if (!request->ended)
        metrics_on_finish(request_metrics(request), request->finish);
    request->ended = true;
    if (!request->client)
        return;
    usage.has_prompt_tokens = usage.has_cached_tokens = request->has_started;
    usage.prompt_tokens = request->prompt_tokens;
    usage.cached_tokens = request->cached_tokens;
    usage.has_reasoning_tokens = usage.has_answer_tokens = true;
    usage.reasoning_tokens = request->n_reasoning;
    usage.answer_tokens = request->n_answer;
    usage.has_queue_ms = usage.has_prefill_ms = usage.has_decode_ms = true;
    usage.queue_ms = request_span_ms(request->received_ns, submitted_ns);
    usage.prefill_ms = request_span_ms(request->submitted_ns, first_ns);
    usage.decode_ms = request_span_ms(request->first_ns, request->done_ns);
    usage.has_finish = true;
    usage.finish = request->finish;
    usage.stop = request->stop;
    usage.has_replays = usage.has_preemptions = true;
    usage.replays = request->replays;
    usage.preemptions = request->preempt.n;
    usage.has_seed = true;
    usage.seed = request->seed;
    usage.has_request_id = true;
    usage.request_id = (ProtobufCBinaryData){.data = request->id, .len = POLICY_ID_BYTES};
    if (ready) {
        usage.backend = ready->backend;
        usage.warnings = ready->warnings;
        usage.n_warnings = ready->n_warnings;
    }
    client_put(request->client, request->stream, MSG_USAGE, FRAME_END_STREAM, &usage.base);
}

/* What ended it while nobody read. */
static void request_put_kept_error(struct request *request)
{
    ProtobufCMessage *error = NULL;
    struct fault fault;

    if (wire_unpack(&qwp__error__descriptor, request->error, request->n_error, &fault, &error)) {
        fault_set(&fault, STATUS_INTERNAL, "out of memory for the error that ended the request");
        client_refuse(request->client, request->stream, &fault);
        return;
    }
    client_put_error(request->client, request->stream, (Qwp__Error *)error);
    wire_free(error);
}

void request_finish_if_done(struct request *request)
{
    if (request->state != REQUEST_DONE || !stream_is_delivered(&request->out))
        return;
    if (request->client && request->error)
        request_put_kept_error(request);
    else
        request_put_usage(request);
    request_finish(request);
}
