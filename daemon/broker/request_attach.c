/* request_attach.c - a request and its reader part, and another reader comes.  See request.h,
 * docs/PROTOCOL.md §4. */
#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "proto/status.h"
#include "request.h"

/* Nobody reads it: it may go on as far as its credit and its history reach, then it waits linger_s. */
static void request_detach(struct request *request)
{
    client_stream_close(request->client, request->stream);
    request->client = NULL;
    request->stream = 0;
    stream_on_detach(request);
}

/* Its last word was sent, but may be lost with the connection that it is on its way through. */
void request_finish(struct request *request)
{
    if (!request_is_detachable(request) || request->broker->draining)
        request_free(request);
    else if (request->client)
        request_detach(request);
    else
        request_linger(request);
}

/* Nobody wants it any more. */
static void request_leave(struct request *request)
{
    request_metrics(request)->left += !request->ended;
    request_free(request);
}

void request_on_client_gone(struct request *request)
{
    if (request->detachable && !request_is_receiving(request))
        request_detach(request);
    else
        request_leave(request);
}

void request_linger(struct request *request)
{
    loop_arm_ms(request->out.slow, request->broker->options->linger_s * 1000ull);
}

void request_on_linger_end(struct request *request)
{
    log_info("uid %u: a %s request is dropped: nobody attached to it within %u s", request->uid,
             request->orphan ? "restored" : "detached", request->broker->options->linger_s);
    request_leave(request);
}

/* The error that ended it may be asked for again, like an answer. */
static void request_keep_error(struct request *request, const Qwp__Error *error)
{
    const size_t n = qwp__error__get_packed_size(error);

    request->error = malloc(n + 1);
    if (!request->error) {
        request_free(request);
        return;
    }
    request->n_error = qwp__error__pack(error, request->error);
    request_leave_engine(request);
    request->state = REQUEST_DONE;
    stream_drop_held(request);
    request_finish(request);
}

void request_fail_with(struct request *request, const Qwp__Error *error)
{
    if (!request->ended)
        metrics_on_code(request_metrics(request), (int)error->code);
    request->ended = true;
    request_journal_ended(request, error);
    if (request->client)
        client_put_error(request->client, request->stream, error);
    if (request_is_detachable(request) && !request_is_receiving(request) && !request->broker->draining)
        request_keep_error(request, error);
    else
        request_free(request);
}

/* attach */
static struct request *request_find(struct broker *broker, uid_t uid, const ProtobufCBinaryData *id)
{
    struct request *request;

    LIST_FOREACH (request, &broker->requests, node)
        if (request->uid == uid && request_is_detachable(request) && !request_is_receiving(request) &&
            !memcmp(request->id, id->data, POLICY_ID_BYTES))
            return request;
    return NULL;
}

static int request_check_attach(struct client *client, const Qwp__Attach *attach, struct fault *fault,
                                struct request **ret_request)
{
    struct request *request;
    int r = policy_check_attach(attach, fault);

    if (r)
        return r;
    request = request_find(client->broker, client->peer.uid, &attach->request_id);
    if (!request)
        return fault_set(fault, STATUS_UNKNOWN_REQUEST,
                         "no request of yours that could be gone on with has this id");
    if (!stream_seek(request, attach->next_seq))
        return fault_set(fault, STATUS_RESUME_GAP, "Delta %llu cannot be sent: %llu to %llu are kept",
                         (unsigned long long)attach->next_seq,
                         (unsigned long long)request->out.history.first_seq,
                         (unsigned long long)request->out.seq);
    *ret_request = request;
    return 0;
}

static void request_take_over(struct request *request)
{
    struct fault fault;

    if (!request->client)
        return;
    fault_set(&fault, STATUS_CANCELLED, "another connection has attached to this request");
    client_refuse(request->client, request->stream, &fault);
    client_stream_close(request->client, request->stream);
}

void request_attach(struct client *client, struct client_stream *stream, const Qwp__Attach *attach)
{
    struct request *request = NULL;
    struct fault fault;

    if (request_check_attach(client, attach, &fault, &request)) {
        client_refuse(client, stream->id, &fault);
        client_stream_close(client, stream->id);
        return;
    }
    request_take_over(request);
    request->orphan = false;
    request->client = client;
    request->stream = stream->id;
    stream->request = request;
    request_tell_accepted(request, queue_position(&client->broker->queue, &request->item));
    if (request->restart_told)
        request_tell_event(request, QWP__EVENT__KIND__ENGINE_RESTART);
    stream_on_attach(request, attach->has_credit_bytes ? attach->credit_bytes : POLICY_CREDIT_BYTES_DEFAULT);
}
