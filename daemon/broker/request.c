/* request.c - the life of a request and its dealings with the engine.  See request.h. */
#include "request.h"

#include <string.h>
#include <sys/random.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"

/* What a request costs its user beside the bytes it brings. */
enum { REQUEST_BYTES = sizeof(struct request) };

static struct request *request_find(struct broker *broker, uint32_t handle)
{
    struct request *request;

    LIST_FOREACH(request, &broker->requests, node)
    if (request->handle == handle)
        return request;
    return NULL;
}

static bool request_is_started(const struct request *request)
{
    return request->state == REQUEST_PREFILL || request->state == REQUEST_DECODE ||
           request->state == REQUEST_REPLAY;
}

unsigned request_n_started(const struct broker *broker)
{
    struct request *request;
    unsigned n = 0;

    LIST_FOREACH(request, &broker->requests, node)
    n += request_is_started(request);
    return n;
}

unsigned request_n_active(const struct broker *broker)
{
    struct request *request;
    unsigned n = 0;

    LIST_FOREACH(request, &broker->requests, node)
    n += request_is_started(request) && !request->stream.paused;
    return n;
}

/* life */

void request_engine_done(struct request *request)
{
    queue_remove(&request->broker->queue, &request->queue_item);
    broker_kick(request->broker);
}

struct request *request_free(struct request *request)
{
    struct client_stream *stream;

    if (!request)
        return NULL;
    stream = client_stream_find(request->client, request->stream_id);
    if (stream && stream->request == request)
        client_stream_close(request->client, request->stream_id);
    if (request->state == REQUEST_UPLOAD)
        request->client->n_input -= request->n_body;
    request_engine_done(request);
    stream_deinit(&request->stream);
    wire_free(request->generate ? &request->generate->base : NULL);
    free(request->body);
    free(request->ids);
    closep(&request->memfd);
    quota_release(&request->request_charge);
    quota_release(&request->bytes_charge);
    list_remove(&request->node);
    broker_on_request_gone(request->broker);
    free(request);
    return NULL;
}

/* The engine forgets it, if it ever heard of it. */
static void request_withdraw(struct request *request)
{
    Qwe__CancelSeq cancel = QWE__CANCEL_SEQ__INIT;

    if (request->state == REQUEST_PREFILL || request->state == REQUEST_DECODE)
        link_put(&request->broker->link, request->handle, MSG_E_CANCEL, &cancel.base, -1);
}

void request_refuse(struct request *request, const Qwp__Error *error)
{
    request_withdraw(request);
    client_put_error(request->client, request->stream_id, error);
    request_free(request);
}

void request_refuse_text(struct request *request, int code, const char *text)
{
    Qwp__Error error = QWP__ERROR__INIT;

    error.has_code = 1;
    error.code = (uint32_t)code;
    error.text = (char *)text;
    request_refuse(request, &error);
}

void request_cancel(struct request *request)
{
    request_withdraw(request);
    request->over_ns = request->over_ns ? request->over_ns : clock_now_ns();
    stream_put_usage(request, QWP__FINISH__FINISH_CANCEL);
    request_free(request);
}

void request_cancel_client(struct client *client)
{
    for (size_t i = 0; i < ARRAY_SIZE(client->streams); i++) {
        struct request *request = client->streams[i].request;

        if (!request)
            continue;
        request_withdraw(request);
        request_free(request);
    }
}

uint32_t request_cancel_matching(struct client *asker, const uint8_t *id)
{
    struct request *request;
    uint32_t n = 0;

    LIST_FOREACH(request, &asker->broker->requests, node)
    {
        const bool own = request->client->peer.uid == asker->peer.uid;

        if (id ? (memcmp(request->id, id, sizeof(request->id)) || (!own && !asker->is_admin)) : !own)
            continue;
        request_cancel(request);
        n++;
    }
    return n;
}

/* opening */

static int request_charge(struct request *request, size_t n_bytes, struct fault *fault)
{
    struct quota *quota = &request->broker->quota;
    const uid_t uid = request->client->peer.uid;
    int r = 0;

    if (!request->request_charge.user) {
        r = quota_charge(quota, uid, QUOTA_REQUESTS, 1, &request->request_charge);
        if (r > 0)
            return fault_set(fault, STATUS_CONCURRENCY, "you have %llu requests, at most %llu now",
                             (unsigned long long)quota_used(quota, uid, QUOTA_REQUESTS),
                             (unsigned long long)quota_share(quota, uid, QUOTA_REQUESTS));
    }
    if (!r && !request->bytes_charge.user)
        r = quota_charge(quota, uid, QUOTA_BYTES, n_bytes, &request->bytes_charge);
    else if (!r)
        r = quota_resize(&request->bytes_charge, n_bytes);
    if (r > 0)
        return fault_set(fault, STATUS_CONCURRENCY, "you hold %llu bytes here, at most %llu now",
                         (unsigned long long)quota_used(quota, uid, QUOTA_BYTES),
                         (unsigned long long)quota_share(quota, uid, QUOTA_BYTES));
    return r < 0 ? fault_set(fault, STATUS_OOM, "the broker is out of memory") : 0;
}

static int request_set_ids(struct request *request, struct fault *fault)
{
    const Qwp__Generate *g = request->generate;
    const Qwp__Sampling *sampling = g->sampling;

    if (g->has_request_id)
        memcpy(request->id, g->request_id.data, sizeof(request->id));
    else if (getrandom(request->id, sizeof(request->id), 0) != sizeof(request->id))
        return fault_set(fault, STATUS_INTERNAL, "no random numbers from the kernel");
    if (sampling && sampling->has_seed)
        request->seed = sampling->seed;
    else if (getrandom(&request->seed, sizeof(request->seed), 0) != sizeof(request->seed))
        return fault_set(fault, STATUS_INTERNAL, "no random numbers from the kernel");
    return 0;
}

static int request_check(struct request *request, const struct frame *frame, struct fault *fault)
{
    uint64_t n;
    int r = policy_check_generate(request->generate, frame->flags, fault);

    if (r)
        return r;
    if (request->broker->draining)
        return fault_set(fault, STATUS_DRAINING, "the service is being stopped");
    if (request->broker->supervise.state == SUPERVISE_FAILED)
        return fault_set(fault, STATUS_ENGINE_LOST, "%s", request->broker->supervise.note);
    if (frame->flags & FRAME_HAS_FD) {
        r = policy_check_memfd(request->memfd, fault, &n);
        if (r)
            return r;
    }
    r = request_set_ids(request, fault);
    return r ? r : request_charge(request, REQUEST_BYTES + frame->length, fault);
}

static enum queue_priority request_priority(const struct request *request)
{
    const Qwp__Generate *g = request->generate;

    if (!g->has_priority)
        return QUEUE_NORMAL;
    return g->priority == QWP__PRIORITY__PRIORITY_INTERACTIVE ? QUEUE_INTERACTIVE
           : g->priority == QWP__PRIORITY__PRIORITY_BATCH     ? QUEUE_BATCH
                                                              : QUEUE_NORMAL;
}

/* The prompt is complete. */
static void request_enqueue(struct request *request)
{
    struct broker *broker = request->broker;

    if (request->state == REQUEST_UPLOAD)
        request->client->n_input -= request->n_body;
    request->state = REQUEST_QUEUED;
    if (queue_push(&broker->queue, request->client->peer.uid, request_priority(request),
                   &request->queue_item)) {
        request_refuse_text(request, STATUS_OOM, "the broker is out of memory");
        return;
    }
    broker->totals.requests++;
    stream_put_accepted(request, queue_position(&broker->queue, &request->queue_item));
    broker_kick(broker);
    broker_status_changed(broker);
}

void request_open(struct client *client, const struct frame *frame, Qwp__Generate *generate)
{
    struct request *request = calloc(1, sizeof(*request));
    struct fault fault = {};

    if (!request) {
        fault_set(&fault, STATUS_OOM, "the broker is out of memory");
        client_refuse(client, frame->stream, &fault);
        client_stream_close(client, frame->stream);
        wire_free(&generate->base);
        return;
    }
    *request = (struct request){.broker = client->broker,
                                .client = client,
                                .stream_id = frame->stream,
                                .handle = broker_new_handle(client->broker),
                                .state = REQUEST_UPLOAD,
                                .generate = generate,
                                .memfd = frame->flags & FRAME_HAS_FD ? sock_claim_fd(&client->sock) : -1,
                                .received_ns = clock_now_ns()};
    list_push(&client->broker->requests, &request->node);
    client_stream_find(client, frame->stream)->request = request;
    stream_init(request);
    fault.code = request_check(request, frame, &fault);
    if (fault.code) {
        request_refuse_text(request, fault.code, fault.text);
        return;
    }
    if (!(frame->flags & FRAME_MORE))
        request_enqueue(request);
}

/* Grows by doubling; what is charged is what is allocated. */
static int request_append_body(struct request *request, const Qwp__Body *body, struct fault *fault)
{
    const size_t n = body->has_data ? body->data.len : 0, want = request->n_body + n;
    size_t cap = MAX(request->cap_body, (size_t)(64 << 10));
    uint8_t *grown;
    int r;

    if (want > POLICY_BODY_BYTES_MAX)
        return fault_set(fault, STATUS_TOO_LONG, "the prompt body has more than %d bytes",
                         POLICY_BODY_BYTES_MAX);
    if (request->client->n_input + n > POLICY_INPUT_BYTES_MAX)
        return fault_set(fault, STATUS_CONCURRENCY,
                         "this connection has %llu bytes of unfinished prompts, at most %d",
                         (unsigned long long)request->client->n_input + n, POLICY_INPUT_BYTES_MAX);
    while (cap < want)
        cap *= 2;
    if (cap > request->cap_body) {
        r = request_charge(request, request->bytes_charge.amount + cap - request->cap_body, fault);
        if (r)
            return r;
        grown = realloc(request->body, cap);
        if (!grown)
            return fault_set(fault, STATUS_OOM, "the broker is out of memory");
        request->body = grown;
        request->cap_body = cap;
    }
    if (n)
        memcpy(request->body + request->n_body, body->data.data, n);
    request->n_body = want;
    request->client->n_input += n;
    return 0;
}

void request_on_body(struct request *request, const struct frame *frame, const Qwp__Body *body)
{
    struct fault fault = {};
    int r = 0;

    if (request->state != REQUEST_UPLOAD)
        r = fault_set(&fault, STATUS_INVALID, "a Body frame behind the end of the prompt");
    else
        r = request_append_body(request, body, &fault);
    if (r)
        request_refuse_text(request, r, fault.text);
    else if (!(frame->flags & FRAME_MORE))
        request_enqueue(request);
}

/* engine */

static void request_submit(struct request *request)
{
    const Qwp__Generate *g = request->generate;
    Qwp__Sampling sampling = QWP__SAMPLING__INIT;
    Qwe__Submit submit = QWE__SUBMIT__INIT;

    if (g->sampling)
        sampling = *g->sampling;
    sampling.has_seed = 1;
    sampling.seed = request->seed;
    submit.sampling = &sampling;
    if (request->memfd < 0) {
        submit.has_body = 1;
        submit.body =
            g->has_body ? g->body : (ProtobufCBinaryData){.data = request->body, .len = request->n_body};
    }
    submit.has_max_tokens = g->has_max_tokens;
    submit.max_tokens = g->max_tokens;
    submit.n_stop = g->n_stop;
    submit.stop = g->stop;
    submit.has_thinking = g->has_thinking;
    submit.thinking = g->thinking;
    submit.has_logprobs = g->has_logprobs;
    submit.logprobs = g->logprobs;
    submit.has_ignore_eos = g->has_ignore_eos;
    submit.ignore_eos = g->ignore_eos;
    submit.n_forced = request->n_ids;
    submit.forced = request->ids;
    submit.has_paused = 1;
    submit.paused = request->stream.paused;
    request->state = REQUEST_PREFILL;
    link_put(&request->broker->link, request->handle, MSG_E_SUBMIT, &submit.base, request->memfd);
    supervise_arm_watchdog(&request->broker->supervise);
}

void request_start_next(struct broker *broker)
{
    struct queue_item *item;

    while (broker->supervise.state == SUPERVISE_READY &&
           broker->queue.n_started < broker->supervise.ready->slots && (item = queue_next(&broker->queue))) {
        struct request *request = list_entry(item, struct request, queue_item);

        queue_start(&broker->queue, item);
        request->started_ns = clock_now_ns();
        stream_put_accepted(request, 0);
        request_submit(request);
    }
}

void request_on_started(struct broker *broker, uint32_t handle, const Qwe__Started *msg)
{
    struct request *request = request_find(broker, handle);

    if (!request)
        return; /* cancelled meanwhile */
    if (!request->has_prompt_tokens) {
        request->has_prompt_tokens = true;
        request->prompt_tokens = msg->prompt_tokens;
        request->cached_tokens = msg->cached_tokens;
        broker->totals.prompt_tokens += msg->prompt_tokens;
        queue_charge(&broker->queue, &request->queue_item, msg->prompt_tokens);
        stream_put_accepted(request, 0);
    }
    if (request->n_replays)
        stream_put_event(request, QWP__EVENT__KIND__RESUMED);
}

/* The replay log grows by doubling, charged before it is allocated. */
static int request_log_ids(struct request *request, const uint32_t *ids, size_t n)
{
    size_t cap = MAX(request->cap_ids, (size_t)256);
    uint32_t *grown;

    while (cap < request->n_ids + n)
        cap *= 2;
    if (cap > request->cap_ids) {
        if (request_charge(request, request->bytes_charge.amount + (cap - request->cap_ids) * sizeof(*ids),
                           NULL))
            return -EDQUOT;
        grown = realloc(request->ids, cap * sizeof(*ids));
        if (!grown)
            return -ENOMEM;
        request->ids = grown;
        request->cap_ids = cap;
    }
    if (n)
        memcpy(request->ids + request->n_ids, ids, n * sizeof(*ids));
    request->n_ids += n;
    return 0;
}

static void request_note_tokens(struct request *request, size_t n)
{
    if (!n)
        return;
    if (!request->first_ns)
        request->first_ns = clock_now_ns();
    request->state = REQUEST_DECODE;
    request->n_deaths = 0;
    request->broker->totals.output_tokens += n;
    queue_charge(&request->broker->queue, &request->queue_item, 2 * n); /* a token made costs two read: VTC */
}

void request_on_emit(struct broker *broker, uint32_t handle, const uint8_t *body, size_t n)
{
    struct request *request = request_find(broker, handle);
    ProtobufCMessage *msg;
    Qwe__Emit *emit;

    if (!request || request->state == REQUEST_OVER)
        return; /* cancelled meanwhile */
    if (wire_unpack(&qwe__emit__descriptor, body, n, NULL, &msg)) {
        request_refuse_text(request, STATUS_OOM, "the broker is out of memory");
        return;
    }
    emit = (Qwe__Emit *)msg;
    if (request_log_ids(request, emit->ids, emit->n_ids)) {
        wire_free(msg);
        request_refuse_text(request, STATUS_CONCURRENCY, "no room left for the record of this answer");
        return;
    }
    request_note_tokens(request, emit->n_ids);
    if (emit->has_finish) {
        request->over_ns = clock_now_ns();
        request->state = REQUEST_OVER;
        request_engine_done(request);
    }
    stream_push(request, emit);
}

void request_on_refused(struct broker *broker, uint32_t handle, const Qwe__Refused *msg)
{
    struct request *request = request_find(broker, handle);
    Qwp__Error error = QWP__ERROR__INIT;

    if (!request)
        return;
    error.has_code = 1;
    error.code = msg->has_code ? msg->code : STATUS_INTERNAL;
    error.text = msg->text;
    error.n_details = msg->n_details;
    error.details = msg->details;
    request->state = REQUEST_OVER; /* the engine has dropped it */
    request_refuse(request, &error);
}

void request_on_engine_death(struct broker *broker)
{
    struct request *request;

    LIST_FOREACH(request, &broker->requests, node)
    {
        if (!request_is_started(request))
            continue;
        if (request->state != REQUEST_REPLAY && ++request->n_deaths >= REQUEST_DEATHS_MAX) {
            request->state = REQUEST_OVER;
            log_err("uid %u: request %u lost, the engine died %d times without a new token",
                    request->client->peer.uid, request->handle, REQUEST_DEATHS_MAX);
            request_refuse_text(request, STATUS_ENGINE_LOST,
                                "the engine died three times without a new token");
            continue;
        }
        if (request->state != REQUEST_REPLAY)
            request->n_replays++;
        request->state = REQUEST_REPLAY;
        stream_put_event(request, QWP__EVENT__KIND__ENGINE_RESTART);
    }
}

void request_replay_all(struct broker *broker)
{
    struct request *request;

    LIST_FOREACH(request, &broker->requests, node)
    if (request->state == REQUEST_REPLAY)
        request_submit(request);
}

void request_fail_all(struct broker *broker, const char *note)
{
    struct request *request;

    LIST_FOREACH(request, &broker->requests, node)
    {
        if (request->state == REQUEST_OVER || request->state == REQUEST_UPLOAD)
            continue;
        request->state = REQUEST_OVER; /* no engine to withdraw it from */
        request_refuse_text(request, STATUS_ENGINE_LOST, note);
    }
}

void request_tell_all(struct broker *broker)
{
    struct request *request;

    LIST_FOREACH(request, &broker->requests, node)
    {
        uint32_t position;

        if (request->state != REQUEST_QUEUED)
            continue;
        position = queue_position(&broker->queue, &request->queue_item);
        if (position != request->told_position || broker->supervise.permille != request->told_permille)
            stream_put_accepted(request, position);
    }
}
