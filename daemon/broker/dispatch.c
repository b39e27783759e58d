/* dispatch.c - the table of what may be said when, and the small answers.  See dispatch.h, docs/PROTOCOL.md
 * §2-3. */
#include "dispatch.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "broker.h"
#include "client.h"
#include "engine.pb-c.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "report.h"
#include "request.h"
#include "textop.h"
#include "watch.h"

enum { DISPATCH_VERSION = 1 }; /* of QWP/1 */

enum dispatch_place {
    ON_CONNECTION, /* stream 0 */
    ON_NEW,        /* opens a stream */
    ON_LIVE,       /* a stream that was opened; ignored once we ended it */
    ON_NEW_OR_LIVE,
};

struct dispatch_call {
    struct client *client;
    const struct frame *frame;
    struct client_stream *stream; /* NULL on the connection */
    ProtobufCMessage *msg;        /* checked */
};

static void dispatch_on_hello(struct dispatch_call *call);
static void dispatch_on_ping(struct dispatch_call *call);
static void dispatch_on_pong(struct dispatch_call *call);
static void dispatch_on_generate(struct dispatch_call *call);
static void dispatch_on_score(struct dispatch_call *call);
static void dispatch_on_body(struct dispatch_call *call);
static void dispatch_on_credit(struct dispatch_call *call);
static void dispatch_on_cancel(struct dispatch_call *call);
static void dispatch_on_attach(struct dispatch_call *call);
static void dispatch_on_tokenize(struct dispatch_call *call);
static void dispatch_on_detokenize(struct dispatch_call *call);
static void dispatch_on_render(struct dispatch_call *call);
static void dispatch_on_status(struct dispatch_call *call);
static void dispatch_on_list(struct dispatch_call *call);
static void dispatch_on_subscribe(struct dispatch_call *call);
static void dispatch_on_admin(struct dispatch_call *call);
static void dispatch_on_use(struct dispatch_call *call);

/* What may be said when is data.  Anything else is answered with the reason, then closed. */
static const struct dispatch_row {
    uint16_t type;
    unsigned states; /* enum client_state */
    enum dispatch_place place;
    uint16_t flags; /* allowed beside END_STREAM */
    void (*handler)(struct dispatch_call *call);
} dispatch_table[] = {
    {MSG_HELLO, CLIENT_HELLO, ON_CONNECTION, 0, dispatch_on_hello},
    {MSG_PING, CLIENT_READY, ON_CONNECTION, 0, dispatch_on_ping},
    {MSG_PONG, CLIENT_READY, ON_CONNECTION, 0, dispatch_on_pong},
    {MSG_GENERATE, CLIENT_READY, ON_NEW, FRAME_MORE | FRAME_HAS_FD, dispatch_on_generate},
    {MSG_SCORE, CLIENT_READY, ON_NEW, FRAME_MORE | FRAME_HAS_FD, dispatch_on_score},
    {MSG_BODY, CLIENT_READY, ON_LIVE, FRAME_MORE, dispatch_on_body},
    {MSG_CREDIT, CLIENT_READY, ON_LIVE, 0, dispatch_on_credit},
    {MSG_CANCEL, CLIENT_READY, ON_NEW_OR_LIVE, 0, dispatch_on_cancel},
    {MSG_ATTACH, CLIENT_READY, ON_NEW, 0, dispatch_on_attach},
    {MSG_TOKENIZE, CLIENT_READY, ON_NEW, 0, dispatch_on_tokenize},
    {MSG_DETOKENIZE, CLIENT_READY, ON_NEW, 0, dispatch_on_detokenize},
    {MSG_RENDER, CLIENT_READY, ON_NEW, FRAME_MORE, dispatch_on_render},
    {MSG_STATUS, CLIENT_READY, ON_NEW, 0, dispatch_on_status},
    {MSG_LIST_REQUESTS, CLIENT_READY, ON_NEW, 0, dispatch_on_list},
    {MSG_SUBSCRIBE, CLIENT_READY, ON_NEW, 0, dispatch_on_subscribe},
    {MSG_ADMIN, CLIENT_READY, ON_NEW, 0, dispatch_on_admin},
    {MSG_USE, CLIENT_READY, ON_NEW, 0, dispatch_on_use},
};

/* connection */
static void dispatch_keep_name(struct client *client, const char *name)
{
    snprintf(client->name, sizeof(client->name), "%s", name ? name : "");
    for (char *p = client->name; *p; p++)
        if (!isprint((unsigned char)*p))
            *p = '?'; /* also what snprintf() cut inside of a character */
}

static bool dispatch_has_capability(const Qwp__Hello *hello, const char *name)
{
    for (size_t i = 0; i < hello->n_capabilities; i++)
        if (!strcmp(hello->capabilities[i], name))
            return true;
    return false;
}

static void dispatch_refuse_version(struct client *client, const Qwp__Hello *hello)
{
    Qwp__Error error = QWP__ERROR__INIT;
    Qwp__Detail min = QWP__DETAIL__INIT, max = QWP__DETAIL__INIT, *details[] = {&min, &max};

    min.key = (char *)"min";
    max.key = (char *)"max";
    min.value = max.value = (char *)"1";
    error.has_code = true;
    error.code = STATUS_VERSION;
    error.text = (char *)"no version of QWP/1 in common: this qwend speaks version 1";
    error.details = details;
    error.n_details = ARRAY_SIZE(details);
    client_put_error(client, 0, &error);
    client_close_after_flush(client);
}

static void dispatch_on_hello(struct dispatch_call *call)
{
    const Qwp__Hello *hello = (Qwp__Hello *)call->msg;
    const uint32_t min = hello->has_version_min ? hello->version_min : DISPATCH_VERSION;
    const uint32_t max = hello->has_version_max ? hello->version_max : min;

    if (min > DISPATCH_VERSION || max < DISPATCH_VERSION) {
        dispatch_refuse_version(call->client, hello);
        return;
    }
    dispatch_keep_name(call->client, hello->client);
    call->client->knows_preempt = dispatch_has_capability(hello, "preempt");
    call->client->knows_progress = dispatch_has_capability(hello, "progress");
    client_welcome(call->client);
    report_welcome(call->client);
}

static void dispatch_on_ping(struct dispatch_call *call)
{
    const Qwp__Ping *ping = (Qwp__Ping *)call->msg;
    Qwp__Pong pong = QWP__PONG__INIT;

    pong.has_opaque = ping->has_opaque;
    pong.opaque = ping->opaque;
    client_put(call->client, 0, MSG_PONG, 0, &pong.base);
}

static void dispatch_on_pong(struct dispatch_call *call)
{
    /* We never ping, and a Pong too many harms nobody. */
}

/* generation */
/* The fd of a frame that has one; false: it did not come. */
static bool dispatch_claim_memfd(struct dispatch_call *call, int *ret_memfd)
{
    if (!(call->frame->flags & FRAME_HAS_FD))
        return true;
    *ret_memfd = sock_claim_fd(&call->client->sock);
    if (*ret_memfd < 0)
        client_fail(call->client, STATUS_BAD_MESSAGE, "a frame announces a file descriptor, none came");
    return *ret_memfd >= 0;
}

static void dispatch_on_generate(struct dispatch_call *call)
{
    _cleanup_(closep) int memfd = -1;

    if (dispatch_claim_memfd(call, &memfd))
        request_open(call->client, call->stream, (Qwp__Generate *)call->msg, call->frame->flags, &memfd,
                     false);
}

static void dispatch_on_score(struct dispatch_call *call)
{
    _cleanup_(closep) int memfd = -1;

    if (dispatch_claim_memfd(call, &memfd))
        request_open_score(call->client, call->stream, (Qwp__Score *)call->msg, call->frame->flags, &memfd);
}

static void dispatch_on_body(struct dispatch_call *call)
{
    const Qwp__Body *body = (Qwp__Body *)call->msg;
    const bool more = call->frame->flags & FRAME_MORE;

    if (call->stream->request && request_is_receiving(call->stream->request))
        request_on_body(call->stream->request, body->data.data, body->data.len, more);
    else if (call->stream->textop && textop_is_receiving(call->stream->textop))
        textop_on_body(call->stream->textop, body->data.data, body->data.len, more);
    else
        client_fail(call->client, STATUS_BAD_MESSAGE, "a Body frame on a stream whose prompt is complete");
}

static void dispatch_on_credit(struct dispatch_call *call)
{
    if (call->stream->request)
        stream_on_credit(call->stream->request, (Qwp__Credit *)call->msg);
    else
        client_fail(call->client, STATUS_BAD_MESSAGE, "Credit on a stream without a Generate");
}

static void dispatch_cancel_many(struct dispatch_call *call, const Qwp__Cancel *cancel)
{
    struct client *client = call->client;
    const uint32_t id = call->frame->stream;
    Qwp__Cancelled cancelled = QWP__CANCELLED__INIT;
    struct fault fault;

    client_stream_close(client, id);
    if (cancel->has_request_id == (cancel->has_mine && cancel->mine)) {
        fault_set(&fault, STATUS_INVALID, "Cancel on a new stream names either request_id or mine");
        client_refuse(client, id, &fault);
        return;
    }
    cancelled.has_n_cancelled = true;
    if (cancel->has_request_id)
        cancelled.n_cancelled = request_cancel_id(client, cancel->request_id.data, cancel->request_id.len);
    else
        cancelled.n_cancelled = request_cancel_uid(client);
    if (cancel->has_request_id && !cancelled.n_cancelled) {
        fault_set(&fault, STATUS_UNKNOWN_REQUEST, "no such request of yours is queued or running");
        client_refuse(client, id, &fault);
        return;
    }
    client_put(client, id, MSG_CANCELLED, FRAME_END_STREAM, &cancelled.base);
}

static void dispatch_on_cancel(struct dispatch_call *call)
{
    struct client_stream *stream = call->stream;

    if (stream->request)
        request_cancel(stream->request);
    else if (stream->textop)
        textop_cancel(stream->textop);
    else if (stream->watch)
        watch_cancel(stream->watch);
    else if (stream->use)
        use_cancel(stream->use);
    else
        dispatch_cancel_many(call, (Qwp__Cancel *)call->msg);
}

static void dispatch_on_attach(struct dispatch_call *call)
{
    request_attach(call->client, call->stream, (Qwp__Attach *)call->msg);
}

/* text */
static void dispatch_on_tokenize(struct dispatch_call *call)
{
    Qwe__TextOp op = QWE__TEXT_OP__INIT;

    op.tokenize = (Qwp__Tokenize *)call->msg;
    textop_open(call->client, call->stream, &op, MSG_TOKENIZE, false);
}

static void dispatch_on_detokenize(struct dispatch_call *call)
{
    Qwe__TextOp op = QWE__TEXT_OP__INIT;

    op.detokenize = (Qwp__Detokenize *)call->msg;
    textop_open(call->client, call->stream, &op, MSG_DETOKENIZE, false);
}

static void dispatch_on_render(struct dispatch_call *call)
{
    Qwe__TextOp op = QWE__TEXT_OP__INIT;

    op.render = (Qwp__Render *)call->msg;
    textop_open(call->client, call->stream, &op, MSG_RENDER, call->frame->flags & FRAME_MORE);
}

/* looking at the service */
static void dispatch_on_status(struct dispatch_call *call)
{
    client_stream_close(call->client, call->frame->stream);
    report_status(call->client, call->frame->stream);
}

static void dispatch_on_list(struct dispatch_call *call)
{
    client_stream_close(call->client, call->frame->stream);
    report_requests(call->client, call->frame->stream);
}

static void dispatch_on_subscribe(struct dispatch_call *call)
{
    watch_open(call->client, call->stream, (Qwp__Subscribe *)call->msg);
}

static void dispatch_on_admin(struct dispatch_call *call)
{
    client_stream_close(call->client, call->frame->stream);
    admin_do(call->client, call->frame->stream, (Qwp__Admin *)call->msg);
}

static void dispatch_on_use(struct dispatch_call *call)
{
    use_open(call->client, call->stream, (Qwp__Use *)call->msg);
}

/* rules */
static void dispatch_fail(struct client *client, int code, const struct frame *frame, const char *what)
{
    char text[sizeof(((struct fault *)0)->text)];

    snprintf(text, sizeof(text), "%s (type %u) on stream %u: %.400s", msg_type_name(frame->type), frame->type,
             frame->stream, what);
    client_fail(client, code, text);
}

static const struct dispatch_row *dispatch_find(struct client *client, const struct frame *frame)
{
    for (size_t i = 0; i < ARRAY_SIZE(dispatch_table); i++) {
        const struct dispatch_row *row = &dispatch_table[i];
        const uint16_t flags = frame->flags & (uint16_t)~FRAME_END_STREAM;

        if (row->type != frame->type)
            continue;
        if (!(row->states & client->state))
            dispatch_fail(client, STATUS_BAD_MESSAGE, frame,
                          client->state == CLIENT_HELLO ? "Hello must come first" : "Hello was already said");
        else if (flags & ~row->flags)
            dispatch_fail(client, STATUS_BAD_MESSAGE, frame, "it may not have HAS_FD or MORE");
        else if ((flags & FRAME_MORE) && (frame->flags & FRAME_END_STREAM))
            dispatch_fail(client, STATUS_BAD_MESSAGE, frame, "MORE and END_STREAM exclude each other");
        else
            return row;
        return NULL;
    }
    if (!(frame->type & 0x8000))
        dispatch_fail(client, STATUS_BAD_MESSAGE, frame, "not a message that a client sends");
    return NULL;
}

/* NULL: refused on that stream. */
static struct client_stream *dispatch_open_stream(struct client *client, uint32_t id)
{
    const struct policy_ask ask = {.op = POLICY_OP_STREAM};
    const struct policy_usage usage = {.n_streams = client->n_streams};
    struct refusal refusal = {};

    if (!policy_check(client->class, &ask, &usage, &refusal))
        return client_stream_open(client, id);
    client_refuse_limit(client, id, &refusal);
    return NULL;
}

/* Finds or opens the stream that the frame is for.  False: the frame is not to be handled. */
static bool dispatch_take_stream(struct client *client, const struct frame *frame, enum dispatch_place place,
                                 struct client_stream **ret_stream)
{
    const uint32_t id = frame->stream;
    const bool is_new = id % 2 == 1 && id > client->last_stream;

    *ret_stream = NULL;
    if (place == ON_CONNECTION) {
        if (id)
            dispatch_fail(client, STATUS_BAD_STREAM, frame, "belongs on stream 0");
        return !id;
    }
    if (is_new && place != ON_LIVE) {
        client->last_stream = id;
        *ret_stream = dispatch_open_stream(client, id);
        return *ret_stream;
    }
    if (place == ON_NEW || id % 2 == 0 || is_new) {
        dispatch_fail(client, STATUS_BAD_STREAM, frame,
                      place == ON_LIVE ? "there is no such stream"
                                       : "a new stream needs an odd, higher number");
        return false;
    }
    *ret_stream = client_stream_find(client, id);
    if (*ret_stream && (*ret_stream)->ended) {
        dispatch_fail(client, STATUS_BAD_STREAM, frame, "the client ended this stream");
        return false;
    }
    return *ret_stream; /* none: we ended it before the client knew */
}

/* Of a frame that is skipped, or whose stream was refused. */
static void dispatch_drop_fd(struct client *client, const struct frame *frame)
{
    _cleanup_(closep) _unused_ int fd = frame->flags & FRAME_HAS_FD ? sock_claim_fd(&client->sock) : -1;
}

void dispatch_frame(struct client *client, const struct frame *frame)
{
    struct dispatch_call call = {.client = client, .frame = frame};
    const struct dispatch_row *row = dispatch_find(client, frame);
    struct fault fault = {};
    int r;

    if (!row) {
        dispatch_drop_fd(client, frame);
        return;
    }
    r = wire_unpack(wire_message_type(frame->type), frame->body, frame->length, &fault, &call.msg);
    if (r) {
        dispatch_fail(client, STATUS_BAD_MESSAGE, frame, r < 0 ? "out of memory" : fault.text);
        return;
    }
    if (dispatch_take_stream(client, frame, row->place, &call.stream)) {
        if (call.stream && (frame->flags & FRAME_END_STREAM))
            call.stream->ended = true;
        row->handler(&call);
    } else {
        dispatch_drop_fd(client, frame);
    }
    wire_free(call.msg);
}
