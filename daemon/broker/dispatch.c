/* dispatch.c - frames of a client to the functions that handle them.  See dispatch.h, docs/PROTOCOL.md §2-4.
 */
#include "dispatch.h"

#include <stdio.h>
#include <string.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/status.h"
#include "proto/wire.h"
#include "report.h"
#include "request.h"
#include "textop.h"

enum { DISPATCH_VERSION = 1, DISPATCH_IGNORABLE = 0x8000 };

enum dispatch_stream {
    DISPATCH_CONNECTION, /* stream 0 */
    DISPATCH_NEW,        /* opens one */
    DISPATCH_LIVE,       /* one that is open; frames for one that just ended are ignored */
    DISPATCH_LIVE_OR_NEW,
};

/* msg is the handler's: it frees it or keeps it. */
typedef void (*dispatch_fn)(struct client *client, const struct frame *frame, ProtobufCMessage *msg);

static void dispatch_hello(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_ping(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_pong(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_generate(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_body(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_credit(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_cancel(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_text(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_status(struct client *client, const struct frame *frame, ProtobufCMessage *msg);
static void dispatch_list(struct client *client, const struct frame *frame, ProtobufCMessage *msg);

static const struct dispatch_row {
    uint16_t type, flags; /* flags that it may have beside END_STREAM */
    unsigned states;
    enum dispatch_stream stream;
    dispatch_fn handle;
} dispatch_table[] = {
    {MSG_HELLO, 0, CLIENT_HELLO, DISPATCH_CONNECTION, dispatch_hello},
    {MSG_PING, 0, CLIENT_READY, DISPATCH_CONNECTION, dispatch_ping},
    {MSG_PONG, 0, CLIENT_READY, DISPATCH_CONNECTION, dispatch_pong},
    {MSG_GENERATE, FRAME_HAS_FD | FRAME_MORE, CLIENT_READY, DISPATCH_NEW, dispatch_generate},
    {MSG_BODY, FRAME_MORE, CLIENT_READY, DISPATCH_LIVE, dispatch_body},
    {MSG_CREDIT, 0, CLIENT_READY, DISPATCH_LIVE, dispatch_credit},
    {MSG_CANCEL, 0, CLIENT_READY, DISPATCH_LIVE_OR_NEW, dispatch_cancel},
    {MSG_TOKENIZE, 0, CLIENT_READY, DISPATCH_NEW, dispatch_text},
    {MSG_DETOKENIZE, 0, CLIENT_READY, DISPATCH_NEW, dispatch_text},
    {MSG_RENDER, 0, CLIENT_READY, DISPATCH_NEW, dispatch_text},
    {MSG_STATUS, 0, CLIENT_READY, DISPATCH_NEW, dispatch_status},
    {MSG_LIST_REQUESTS, 0, CLIENT_READY, DISPATCH_NEW, dispatch_list},
};

static const struct dispatch_row *dispatch_find(uint16_t type)
{
    for (size_t i = 0; i < ARRAY_SIZE(dispatch_table); i++)
        if (dispatch_table[i].type == type)
            return &dispatch_table[i];
    return NULL;
}

/* handlers */

static void dispatch_hello(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    const Qwp__Hello *hello = (const Qwp__Hello *)msg;
    const uint32_t min = hello->has_version_min ? hello->version_min : DISPATCH_VERSION;
    const uint32_t max = hello->has_version_max ? hello->version_max : min;
    Qwp__Error error = QWP__ERROR__INIT;
    Qwp__Detail details[] = {QWP__DETAIL__INIT, QWP__DETAIL__INIT}, *ptrs[] = {&details[0], &details[1]};

    snprintf(client->name, sizeof(client->name), "%s", hello->client ? hello->client : "");
    for (char *p = client->name; *p; p++)
        if ((uint8_t)*p < 0x20 || (uint8_t)*p >= 0x7f)
            *p = '?'; /* it is shown on terminals and in the journal */
    wire_free(msg);
    if (min <= DISPATCH_VERSION && max >= DISPATCH_VERSION) {
        client->state = CLIENT_READY;
        loop_unwatch(client->deadline);
        report_put_welcome(client, DISPATCH_VERSION);
        return;
    }
    error.has_code = 1;
    error.code = STATUS_VERSION;
    error.text = "no version of the protocol in common";
    details[0].key = "min";
    details[1].key = "max";
    details[0].value = details[1].value = "1";
    error.n_details = ARRAY_SIZE(ptrs);
    error.details = ptrs;
    client_put_error(client, 0, &error);
    client->state = CLIENT_CLOSING;
    if (client->dead)
        return;
    loop_unwatch(client->readable);
    loop_arm_ms(client->deadline, CLIENT_FLUSH_MS);
}

static void dispatch_ping(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    const Qwp__Ping *ping = (const Qwp__Ping *)msg;
    Qwp__Pong pong = QWP__PONG__INIT;

    pong.has_opaque = ping->has_opaque;
    pong.opaque = ping->opaque;
    wire_free(msg);
    client_put(client, 0, MSG_PONG, 0, &pong.base);
}

static void dispatch_pong(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    wire_free(msg);
}

static void dispatch_generate(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    request_open(client, frame, (Qwp__Generate *)msg);
}

static void dispatch_body(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    struct client_stream *stream = client_stream_find(client, frame->stream);

    if (stream->request)
        request_on_body(stream->request, frame, (const Qwp__Body *)msg);
    else
        client_fail(client, STATUS_BAD_MESSAGE, "a Body frame on a stream that takes no prompt");
    wire_free(msg);
}

static void dispatch_credit(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    struct client_stream *stream = client_stream_find(client, frame->stream);
    const Qwp__Credit *credit = (const Qwp__Credit *)msg;
    struct fault fault = {};
    int r;

    if (stream->request) {
        r = policy_check_credit(stream->request->stream.credit, credit, &fault);
        if (r)
            request_refuse_text(stream->request, r, fault.text);
        else
            stream_add_credit(stream->request, credit->bytes);
    }
    wire_free(msg);
}

static void dispatch_cancel_others(struct client *client, const struct frame *frame,
                                   const Qwp__Cancel *cancel)
{
    Qwp__Cancelled cancelled = QWP__CANCELLED__INIT;
    struct fault fault = {};

    if (cancel->has_request_id && cancel->request_id.len != POLICY_ID_BYTES)
        fault_set(&fault, STATUS_INVALID, "request_id has %zu bytes, must be %d", cancel->request_id.len,
                  POLICY_ID_BYTES);
    else if (cancel->has_request_id == (cancel->has_mine && cancel->mine))
        fault_set(&fault, STATUS_INVALID, "Cancel on a new stream needs either request_id or mine");
    if (fault.code) {
        client_refuse(client, frame->stream, &fault);
        return;
    }
    cancelled.has_n_cancelled = 1;
    cancelled.n_cancelled =
        request_cancel_matching(client, cancel->has_request_id ? cancel->request_id.data : NULL);
    if (cancel->has_request_id && !cancelled.n_cancelled) {
        fault_set(&fault, STATUS_UNKNOWN_REQUEST, "there is no such request of yours");
        client_refuse(client, frame->stream, &fault);
        return;
    }
    client_put(client, frame->stream, MSG_CANCELLED, FRAME_END_STREAM, &cancelled.base);
}

static void dispatch_cancel(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    struct client_stream *stream = client_stream_find(client, frame->stream);

    if (stream->request) {
        request_cancel(stream->request);
    } else if (stream->textop) {
        textop_cancel(stream->textop);
    } else {
        dispatch_cancel_others(client, frame, (const Qwp__Cancel *)msg);
        client_stream_close(client, frame->stream);
    }
    wire_free(msg);
}

static void dispatch_text(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    textop_open(client, frame, msg);
}

static void dispatch_status(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    wire_free(msg);
    report_put_status(client, frame->stream);
    client_stream_close(client, frame->stream);
}

static void dispatch_list(struct client *client, const struct frame *frame, ProtobufCMessage *msg)
{
    wire_free(msg);
    report_put_requests(client, frame->stream);
    client_stream_close(client, frame->stream);
}

/* checks */

static void dispatch_fail(struct client *client, const struct frame *frame, int code, const char *what)
{
    char text[300];

    snprintf(text, sizeof(text), "%s on stream %u: %s", msg_type_name(frame->type), frame->stream, what);
    client_fail(client, code, text);
}

/* > 0: go on; 0: the frame is to be ignored; < 0: the connection was closed. */
static int dispatch_stream(struct client *client, const struct frame *frame, const struct dispatch_row *row)
{
    const bool is_live = client_stream_find(client, frame->stream);
    struct fault fault = {};

    if (row->stream == DISPATCH_CONNECTION) {
        if (!frame->stream)
            return 1;
        dispatch_fail(client, frame, STATUS_BAD_STREAM, "belongs on stream 0");
        return -1;
    }
    if (row->stream != DISPATCH_NEW && is_live)
        return 1;
    if (row->stream == DISPATCH_LIVE && frame->stream % 2 && frame->stream <= client->last_stream)
        return 0; /* the stream ended while this was under way */
    /* A late Cancel cannot be told from one on a used number by its stream; it has no fields, the other kind
     * has. */
    if (row->stream == DISPATCH_LIVE_OR_NEW && frame->stream % 2 && frame->stream <= client->last_stream)
        return 0;
    if (row->stream == DISPATCH_LIVE || !(frame->stream % 2) || frame->stream <= client->last_stream) {
        dispatch_fail(client, frame, STATUS_BAD_STREAM,
                      row->stream == DISPATCH_LIVE ? "no such stream is open"
                                                   : "not odd and higher than the last");
        return -1;
    }
    client->last_stream = frame->stream;
    if (client_stream_open(client, frame->stream))
        return 1;
    fault_set(&fault, STATUS_CONCURRENCY, "%u streams are open on this connection, at most %d",
              client->n_streams, POLICY_STREAMS_MAX);
    if (frame->flags & FRAME_HAS_FD)
        closep(&client->sock.in_fd);
    client_refuse(client, frame->stream, &fault);
    return 0;
}

void dispatch_frame(struct client *client, const struct frame *frame)
{
    const struct dispatch_row *row = dispatch_find(frame->type);
    struct fault fault = {};
    ProtobufCMessage *msg;
    int r;

    if (!row && frame->type & DISPATCH_IGNORABLE)
        return;
    if (!row)
        return dispatch_fail(client, frame, STATUS_BAD_MESSAGE, "a type that clients do not send");
    if (!(row->states & client->state))
        return dispatch_fail(client, frame, STATUS_BAD_MESSAGE,
                             client->state == CLIENT_HELLO ? "Hello comes first" : "Hello was said already");
    if (frame->flags & ~(row->flags | FRAME_END_STREAM))
        return dispatch_fail(client, frame, STATUS_BAD_MESSAGE, "a flag that this type cannot have");
    if (frame->flags & FRAME_HAS_FD && client->sock.in_fd < 0)
        return dispatch_fail(client, frame, STATUS_BAD_MESSAGE, "HAS_FD without a file descriptor");
    if (dispatch_stream(client, frame, row) <= 0)
        return;
    r = wire_unpack(wire_message_type(frame->type), frame->body, frame->length, &fault, &msg);
    if (r)
        return client_fail(client, STATUS_BAD_MESSAGE, r > 0 ? fault.text : "out of memory");
    row->handle(client, frame, msg);
}
