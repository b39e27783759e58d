/* begin.c - the questions of call.c for an event loop: sent at once, answered by one event. */
#include <string.h>

#include "conn.h"

static int begin(qwend *q, uint16_t type, uint16_t reply, const ProtobufCMessage *question, qwend_cb cb,
                 void *user, qwend_stream **ret)
{
    qwend_stream *stream;
    int r = stream_new(q, cb, user, &stream);

    if (r)
        return r;
    stream->reply = reply;
    r = conn_put(q, stream->number, type, FRAME_END_STREAM, question);
    if (!r)
        r = conn_flush(q);
    if (r) {
        stream_delete(stream);
        return r;
    }
    *ret = stream;
    return 0;
}

int qwend_begin_tokenize(qwend *q, const char *text, size_t n, int special, qwend_cb cb, void *user,
                         qwend_stream **ret)
{
    Qwp__Tokenize question = QWP__TOKENIZE__INIT;
    _cleanup_(freep) char *copy = NULL;
    int r;

    event_release(q);
    r = call_ask_tokenize(q, text, n, special, &question, &copy);
    return r ? r : begin(q, MSG_TOKENIZE, MSG_TOKENS, &question.base, cb, user, ret);
}

int qwend_begin_detokenize(qwend *q, const uint32_t *ids, size_t n, qwend_cb cb, void *user,
                           qwend_stream **ret)
{
    Qwp__Detokenize question = QWP__DETOKENIZE__INIT;

    event_release(q);
    question.n_ids = n;
    question.ids = (uint32_t *)ids;
    return begin(q, MSG_DETOKENIZE, MSG_TEXT, &question.base, cb, user, ret);
}

int qwend_begin_render(qwend *q, const qwend_req *req, qwend_cb cb, void *user, qwend_stream **ret)
{
    Qwp__Render question = QWP__RENDER__INIT;
    _cleanup_(freep) uint8_t *body = NULL;
    int r;

    event_release(q);
    r = call_ask_render(q, req, &question, &body);
    return r ? r : begin(q, MSG_RENDER, MSG_TEXT, &question.base, cb, user, ret);
}

int qwend_begin_status(qwend *q, qwend_cb cb, void *user, qwend_stream **ret)
{
    const Qwp__Status question = QWP__STATUS__INIT;

    event_release(q);
    return begin(q, MSG_STATUS, MSG_STATUS_REPLY, &question.base, cb, user, ret);
}

const ProtobufCMessageDescriptor *begin_descriptor(const qwend_stream *stream, uint16_t type)
{
    if (type == MSG_ERROR)
        return &qwp__error__descriptor;
    if (type == MSG_USE_PROGRESS && stream->reply == MSG_USED)
        return &qwp__use_progress__descriptor;
    if (type != stream->reply)
        return NULL;
    return type == MSG_TOKENS ? &qwp__tokens__descriptor
           : type == MSG_TEXT ? &qwp__text__descriptor
           : type == MSG_USED ? &qwp__used__descriptor
                              : &qwp__status_reply__descriptor;
}

int begin_reply(qwend_stream *stream, uint16_t type, qwend_event *event)
{
    qwend *q = stream->q;
    const ProtobufCMessage *reply = q->held;
    int r = 0;

    event->type = QWEND_EV_REPLY;
    if (type == MSG_TOKENS) {
        event->ids = ((const Qwp__Tokens *)reply)->ids;
        event->n_ids = ((const Qwp__Tokens *)reply)->n_ids;
    } else if (type == MSG_TEXT) {
        r = event_text(q, &((const Qwp__Text *)reply)->text, event);
    } else if (type == MSG_USED) {
        event->text = ((const Qwp__Used *)reply)->text;
        event->n = event->text ? strlen(event->text) : 0;
    } else {
        r = call_status(q, (const Qwp__StatusReply *)reply, &q->status);
        event->status = &q->status;
    }
    return r ? r : 1;
}
