/* stream.c - the life of a stream: opened, fed by frames, emptied by qwend_next() or a callback, ended,
 * freed.
 *
 * A stream counts as live until the daemon sent END_STREAM for it.  Freeing a live one cancels it; frames
 * that arrive for it later are recognised by their number (odd and below next_number) and dropped. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "conn.h"

/* What may wait in a stream's queue: per granted byte of text a Delta of one byte with its header (under 48
 * bytes), with log-probabilities 32 bytes for the token and each alternative; and 1 MiB for frames that carry
 * no text. */
static size_t stream_queue_max(uint32_t window, const Qwp__Generate *head)
{
    size_t per_byte = 48 + (head->has_logprobs ? 32 * (1 + (size_t)head->logprobs) : 0);

    return MIN(window * per_byte, (size_t)256 << 20) + FRAME_MAX_BYTES + FRAME_HEADER_BYTES;
}

void stream_set_window(qwend_stream *stream, uint32_t window, const Qwp__Generate *head, bool detachable)
{
    const uint32_t again = detachable ? window : stream->q->restarts ? CONN_CREDIT_BYTES : 0;

    stream->window = window;
    stream->detachable = detachable;
    /* what was not taken yet when a connection broke stays, and this much is granted anew */
    stream->queue.max = stream_queue_max(window + again, head);
}

int stream_new(qwend *q, qwend_cb cb, void *user, qwend_stream **ret_stream)
{
    size_t n_live = 0;
    qwend_stream *stream;

    if (q->dead)
        return q->dead;
    if (q->fd < 0)
        return conn_error(q, -EAGAIN, "the connection to the daemon is being made again");
    for (stream = q->streams; stream; stream = stream->next)
        n_live += !stream->over;
    if (n_live >= q->n_streams_max)
        return conn_error(q, -EBUSY, "%zu streams are open on this connection, the daemon allows %u", n_live,
                          q->n_streams_max);
    if (q->next_number > INT32_MAX)
        return conn_error(q, -EBUSY, "this connection has used up its stream numbers, open another");
    stream = calloc(1, sizeof(*stream));
    if (!stream)
        return err_origin(-ENOMEM);
    stream->q = q;
    stream->number = q->next_number;
    stream->queue = BUF_INIT(FRAME_HEADER_BYTES + FRAME_MAX_BYTES);
    stream->channel = QWP__CHANNEL__CHANNEL_ANSWER;
    stream->cb = cb;
    stream->user = user;
    stream->next = q->streams;
    q->streams = stream;
    q->next_number += 2;
    *ret_stream = stream;
    return 0;
}

static qwend_stream *stream_find(qwend *q, uint32_t number)
{
    for (qwend_stream *stream = q->streams; stream; stream = stream->next)
        if (stream->number == number)
            return stream;
    return NULL;
}

int stream_on_frame(qwend *q, const struct frame *frame)
{
    qwend_stream *stream = stream_find(q, frame->stream);
    int r;

    if (!stream && frame->stream % 2 && frame->stream < q->next_number)
        return 0; /* freed by the caller while the daemon was still answering */
    if (!stream || stream->over)
        return conn_fail(q, -EPROTO, "%s sent %s on stream %u, which is not open", q->path,
                         msg_type_name(frame->type), frame->stream);
    if (stream->ask_head) {
        r = attach_on_frame(stream, frame);
        if (r)
            return MIN(r, 0);
    }
    if (stream->watches)
        buf_consume(&stream->queue, buf_size(&stream->queue));
    r = frame_put(&stream->queue, frame->stream, frame->type, frame->flags, frame->body, frame->length);
    if (r > 0)
        return conn_fail(q, -EPROTO, "%s sent more on stream %u than it was granted", q->path, frame->stream);
    if (r < 0)
        return r;
    stream->arrived_seq += frame->type == MSG_DELTA;
    stream->over = frame->flags & FRAME_END_STREAM;
    return 0;
}

void stream_on_fatal(qwend *q, const struct frame *frame)
{
    for (qwend_stream *stream = q->streams; stream; stream = stream->next) {
        if (stream->over)
            continue;
        /* No room or no memory: the caller learns of the end from the dead connection instead. */
        (void)frame_put(&stream->queue, stream->number, MSG_ERROR, FRAME_END_STREAM, frame->body,
                        frame->length);
        stream->over = true;
    }
}

/* The next event of the queue: 1; 0 if there is none; or negative. */
static int stream_pop(qwend_stream *stream, qwend_event *ret_event)
{
    struct frame frame;
    int r;

    while (frame_next(&stream->queue, FRAME_MAX_BYTES, &frame) == FRAME_OK) {
        r = event_from_frame(stream, &frame, ret_event);
        frame_consume(&stream->queue, &frame);
        if (r)
            return r;
    }
    return 0;
}

/* Grants again what was taken, in halves of the window: one Credit for many Deltas, and never a stalled
 * stream. */
static int stream_credit(qwend_stream *stream, size_t n)
{
    Qwp__Credit credit = QWP__CREDIT__INIT;
    int r;

    stream->consumed += (uint32_t)n;
    if (stream->over || stream->cancelled || stream->reply || stream->q->dead || !stream->number ||
        stream->consumed < MAX(stream->window / 2, 1u))
        return 0;
    credit.has_bytes = true;
    credit.bytes = stream->consumed;
    r = conn_put(stream->q, stream->number, MSG_CREDIT, 0, &credit.base);
    if (!r)
        stream->consumed = 0;
    return r;
}

void stream_delete(qwend_stream *stream)
{
    qwend_stream **p = &stream->q->streams;

    while (*p != stream)
        p = &(*p)->next;
    *p = stream->next;
    attach_forget(stream);
    buf_deinit(&stream->queue);
    free(stream);
}

static void stream_drain_one(qwend_stream *stream)
{
    qwend *q = stream->q;
    qwend_event event;
    int r;

    stream->in_cb = true;
    while (!stream->dying && !stream->paused && (r = stream_pop(stream, &event)) != 0) {
        size_t n = event.n;

        if (r < 0) {
            conn_fail(q, r, "stream %u: %s", stream->number, strerror(-r));
            buf_consume(&stream->queue, buf_size(&stream->queue));
            break;
        }
        if (stream->cb(stream, &event, stream->user) && !stream->dying)
            qwend_cancel(stream);
        if (!stream->dying)
            stream_credit(stream, n);
    }
    stream->in_cb = false;
    if (stream->dying && !resume_drop(stream))
        stream_delete(stream);
}

void stream_drain(qwend *q, uint32_t number)
{
    qwend_stream *stream = q->streams;

    while (stream) {
        if (!stream->cb || stream->in_cb || stream->paused || !buf_size(&stream->queue) ||
            (number && stream->number != number)) {
            stream = stream->next;
            continue;
        }
        stream_drain_one(stream);
        stream = q->streams; /* from the start: a callback may have opened and freed any of them */
    }
}

void qwend_stream_pause(qwend_stream *stream, int paused)
{
    stream->paused = paused != 0;
    if (!stream->paused && stream->cb && !stream->in_cb)
        stream_drain_one(stream);
}

/* running */

static int stream_id_draw(qwend_stream *stream, uint8_t id[16])
{
    ProtobufCBinaryData data = {16, id};
    ssize_t n;

    do
        n = getrandom(id, 16, 0);
    while (n < 0 && errno == EINTR);
    if (n != 16)
        return n < 0 ? err_errno() : err_origin(-EIO);
    event_hex(&data, stream->id);
    return 0;
}

/* Takes the body. */
static int stream_keep_ask(qwend_stream *stream, const Qwp__Generate *head, uint8_t **body, size_t n_body)
{
    stream->n_ask_head = qwp__generate__get_packed_size(head);
    stream->ask_head = malloc(stream->n_ask_head);
    if (!stream->ask_head)
        return err_origin(-ENOMEM);
    qwp__generate__pack(head, stream->ask_head);
    stream->ask_body = steal(body);
    stream->n_ask_body = n_body;
    return 0;
}

static int stream_send(qwend_stream *stream, const qwend_req *req)
{
    qwend *q = stream->q;
    Qwp__Generate head = *req_generate(req);
    _cleanup_(freep) uint8_t *body = NULL;
    uint8_t id[16];
    size_t n_body;
    int r;

    r = stream_id_draw(stream, id);
    if (r)
        return r;
    r = req_pack_body(q, req, &body, &n_body);
    if (r)
        return r;
    /* an Attach may have to grant 64 KiB beside what is still unread of the window */
    stream_set_window(stream,
                      MIN(head.has_credit_bytes ? head.credit_bytes : CONN_CREDIT_BYTES,
                          head.detachable ? q->credit_bytes_max / 2 : q->credit_bytes_max),
                      &head, head.detachable);
    head.has_request_id = head.has_credit_bytes = true;
    head.request_id = (ProtobufCBinaryData){sizeof(id), id};
    head.credit_bytes = stream->window;
    r = body_send(q, stream->number, &head, body, n_body);
    if (!r && (q->restarts || head.detachable))
        r = stream_keep_ask(stream, &head, &body, n_body);
    if (r)
        return r;
    return conn_flush(q);
}

int qwend_generate(qwend *q, const qwend_req *req, qwend_cb cb, void *user, qwend_stream **ret)
{
    qwend_stream *stream;
    int r;

    event_release(q);
    r = stream_new(q, cb, user, &stream);
    if (r)
        return r;
    r = stream_send(stream, req);
    if (r) {
        stream_delete(stream);
        return r;
    }
    *ret = stream;
    return 0;
}

int qwend_next(qwend_stream *stream, qwend_event *ret)
{
    qwend *q = stream->q;
    uint64_t deadline_ns = conn_deadline(q);
    int r;

    if (stream->cb)
        return conn_error(q, -EINVAL, "this stream has a callback: qwend_next() has nothing to give");
    event_release(q);
    for (;;) {
        r = stream_pop(stream, ret);
        if (r > 0)
            stream_credit(stream, ret->n); /* fails only with the connection, which the next call says */
        if (r || stream->over)
            return r;
        r = q->flags & QWEND_NONBLOCK ? resume_step(q) : conn_wait(q, deadline_ns);
        /* What arrived together with the end of the connection is still delivered. */
        if (r && !buf_size(&stream->queue)) {
            if (attach_may_retry(stream))
                r = attach_again(q);
            if (r)
                return r;
        }
    }
}

int qwend_cancel(qwend_stream *stream)
{
    Qwp__Cancel cancel = QWP__CANCEL__INIT;
    int r;

    if (stream->over || stream->cancelled)
        return 0;
    if (!stream->number) { /* once there is a connection to say it on */
        stream->cancel_due = true;
        return 0;
    }
    r = conn_put(stream->q, stream->number, MSG_CANCEL, 0, &cancel.base);
    if (r)
        return r;
    stream->cancelled = true;
    return conn_flush(stream->q);
}

void qwend_stream_free(qwend_stream *stream)
{
    if (!stream)
        return;
    if (*stream->id || stream->watches) /* a unary call that was given up has nothing to cancel */
        qwend_cancel(stream);
    attach_let_go(stream);
    if (stream->in_cb)
        stream->dying = true;
    else if (!resume_drop(stream))
        stream_delete(stream);
}

void qwend_stream_detach(qwend_stream *stream)
{
    if (stream->in_cb)
        stream->dying = true;
    else
        stream_delete(stream);
}

const char *qwend_stream_id(const qwend_stream *stream)
{
    return stream->id;
}
