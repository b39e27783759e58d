/* attach.c - going on with a request: because the caller asks for it, or because its connection broke under a
 * blocking qwend_next().  A request that is not detachable can be gone on with only if the daemon was started
 * again; whether that is what happened the daemon knows. */
#include <poll.h>
#include <string.h>

#include "conn.h"
#include "proto/status.h"

enum { ATTACH_CREDIT_BYTES_MIN = 64 << 10 }; /* as the protocol has it */

int attach_parse_id(const char *hex, uint8_t ret_id[16])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 32; i++) {
        const char *at =
            hex[i] ? strchr(digits, hex[i] >= 'A' && hex[i] <= 'F' ? hex[i] + 32 : hex[i]) : NULL;

        if (!at)
            return err_origin(-EINVAL);
        ret_id[i / 2] = (uint8_t)(ret_id[i / 2] << 4 | (at - digits));
    }
    return hex[32] ? err_origin(-EINVAL) : 0;
}

/* Text that has arrived and was not taken yet: it is on the account of what was granted before. */
static size_t attach_unread_bytes(const qwend_stream *stream)
{
    struct buf rest = stream->queue; /* a view */
    struct frame frame;
    size_t n = 0;

    while (frame_next(&rest, FRAME_MAX_BYTES, &frame) == FRAME_OK) {
        n += frame.type == MSG_DELTA ? frame.length : 0; /* somewhat more than its text */
        frame_consume(&rest, &frame);
    }
    return n;
}

/* Of a daemon that has not answered yet it is taken for granted. */
static bool attach_is_known(const qwend *q)
{
    for (size_t i = 0; q->welcome && i < q->welcome->n_capabilities; i++)
        if (!strcmp(q->welcome->capabilities[i], "attach"))
            return true;
    return !q->welcome;
}

static int attach_send(qwend_stream *stream)
{
    Qwp__Attach attach = QWP__ATTACH__INIT;
    uint8_t id[16];
    int r = attach_parse_id(stream->id, id);

    if (r)
        return r;
    if (!attach_is_known(stream->q))
        return conn_error(stream->q, -EOPNOTSUPP, "the daemon at %s knows no Attach", stream->q->path);
    attach.has_request_id = attach.has_next_seq = attach.has_credit_bytes = true;
    attach.request_id = (ProtobufCBinaryData){sizeof(id), id};
    attach.next_seq = stream->arrived_seq;
    attach.credit_bytes = ATTACH_CREDIT_BYTES_MIN;
    if (stream->window > attach_unread_bytes(stream) + ATTACH_CREDIT_BYTES_MIN)
        attach.credit_bytes = stream->window - (uint32_t)attach_unread_bytes(stream);
    stream->consumed = 0;
    return conn_put(stream->q, stream->number, MSG_ATTACH, 0, &attach.base);
}

int qwend_attach(qwend *q, const char *request_id, qwend_cb cb, void *user, qwend_stream **ret)
{
    uint8_t id[16];
    qwend_stream *stream;
    int r;

    event_release(q);
    if (attach_parse_id(request_id, id))
        return conn_error(q, -EINVAL, "\"%.40s\" is no request id: 32 hexadecimal digits", request_id);
    r = stream_new(q, cb, user, &stream);
    if (r)
        return r;
    event_hex(&(ProtobufCBinaryData){sizeof(id), id}, stream->id);
    stream_set_window(stream, CONN_CREDIT_BYTES, &(Qwp__Generate){.has_logprobs = true, .logprobs = 20},
                      true);
    r = attach_send(stream);
    if (!r)
        r = conn_flush(q);
    if (r) {
        stream_delete(stream);
        return r;
    }
    *ret = stream;
    return 0;
}

/* again, on a new connection */

/* A question is not gone on with, nor what its caller has given up. */
bool attach_is_wanted(const qwend_stream *stream)
{
    return *stream->id && !stream->over && !stream->cancelled && (stream->detachable || stream->q->restarts);
}

bool attach_may_retry(const qwend_stream *stream)
{
    const qwend *q = stream->q;

    return attach_is_wanted(stream) && q->dead == -EPIPE && !(q->flags & QWEND_NONBLOCK);
}

/* Where nobody listens any more, nobody has kept what is not detachable. */
bool attach_has_detachable(const qwend *q)
{
    for (const qwend_stream *stream = q->streams; stream; stream = stream->next)
        if (attach_is_wanted(stream) && stream->detachable)
            return true;
    return false;
}

void attach_forget(qwend_stream *stream)
{
    freep(&stream->ask_head);
    freep(&stream->ask_body);
}

/* What ended is kept for linger_s, as its last words may have been lost.  They were not; nothing is the worse
 * if this is. */
void attach_let_go(qwend_stream *stream)
{
    qwend *q = stream->q;
    Qwp__Cancel cancel = QWP__CANCEL__INIT;
    uint8_t id[16];

    if (!stream->detachable || !stream->over || stream->cancelled || buf_size(&stream->queue) || q->dead ||
        q->resuming || q->next_number > INT32_MAX || attach_parse_id(stream->id, id))
        return;
    cancel.has_request_id = true;
    cancel.request_id = (ProtobufCBinaryData){sizeof(id), id};
    if (conn_put(q, q->next_number, MSG_CANCEL, 0, &cancel.base))
        return;
    q->next_number += 2; /* its answer is dropped, like any to a stream that was freed */
    (void)conn_flush(q);
}

static int attach_ask_again(qwend_stream *stream)
{
    qwend *q = stream->q;
    ProtobufCMessage *head;
    int r = wire_unpack(&qwp__generate__descriptor, stream->ask_head, stream->n_ask_head, NULL, &head);

    if (r) /* we packed it, so only memory can be short */
        return err_origin(-ENOMEM);
    stream->number = q->next_number;
    q->next_number += 2;
    r = body_send(q, stream->number, (Qwp__Generate *)head, stream->ask_body, stream->n_ask_body);
    wire_free(head);
    return r;
}

int attach_on_frame(qwend_stream *stream, const struct frame *frame)
{
    ProtobufCMessage *error;
    bool is_unknown = false;
    int r;

    if (frame->type == MSG_ERROR &&
        !wire_unpack(&qwp__error__descriptor, frame->body, frame->length, NULL, &error)) {
        is_unknown = ((Qwp__Error *)error)->code == STATUS_UNKNOWN_REQUEST;
        wire_free(error);
    }
    r = is_unknown ? attach_ask_again(stream) : 0;
    if (r || !is_unknown)
        attach_forget(stream);
    return r ? r : is_unknown;
}

static int attach_one(qwend_stream *stream)
{
    int r;

    stream->number = stream->q->next_number;
    stream->q->next_number += 2;
    r = attach_send(stream);
    return r || !stream->cancel_due ? r : qwend_cancel(stream);
}

/* Streams that ended keep no number, so that none of the new connection can be taken for theirs. */
int attach_streams(qwend *q)
{
    qwend_stream *stream, *next;
    Qwp__Error lost = QWP__ERROR__INIT;
    uint8_t body[128];
    int r = 0;

    lost.text = (char *)"the connection to the daemon was lost";
    qwp__error__pack(&lost, body);
    for (stream = q->streams; stream && !r; stream = next) {
        next = stream->next;
        if (attach_is_wanted(stream)) {
            r = attach_one(stream);
            if (stream->dropped)
                stream_delete(stream);
            continue;
        }
        if (!stream->over)
            (void)frame_put(&stream->queue, stream->number, MSG_ERROR, FRAME_END_STREAM, body,
                            qwp__error__get_packed_size(&lost));
        stream->over = true;
        stream->number = 0;
    }
    return r ? r : conn_flush(q);
}

enum { ATTACH_OK, ATTACH_E_REFUSED, ATTACH_E_AGAIN };

/* One try.  REFUSED: nobody listens there; AGAIN: nobody answers, or not to the end. */
static int attach_try(qwend *q, uint64_t deadline_ns)
{
    int r = open_again(q);

    if (r == -ECONNREFUSED || r == -ENOENT)
        return ATTACH_E_REFUSED;
    while (!r && !q->welcome)
        r = conn_wait(q, deadline_ns);
    if (r == -EPIPE || (r == -ETIMEDOUT && conn_now_ns() < deadline_ns))
        return ATTACH_E_AGAIN;
    return r ? r : attach_streams(q);
}

int attach_again(qwend *q)
{
    const uint64_t patience_ns = conn_now_ns() + CONN_PATIENCE_MS * 1000000ull;
    const uint64_t deadline_ns = conn_deadline(q) ? MIN(conn_deadline(q), patience_ns) : patience_ns;
    const struct conn_error first = q->error;
    int r, pause_ms = CONN_RETRY_MS;

    while ((r = attach_try(q, deadline_ns)) > 0) {
        if ((r == ATTACH_E_REFUSED && !attach_has_detachable(q)) || conn_now_ns() >= deadline_ns) {
            q->error = first;
            q->dead = -EPIPE;
            return q->dead;
        }
        poll(NULL, 0, pause_ms);
        pause_ms = MIN(2 * pause_ms, (int)CONN_RETRY_MS_MAX);
    }
    if (r && !q->dead) /* half of the streams may be lost */
        q->dead = r;
    return r;
}
