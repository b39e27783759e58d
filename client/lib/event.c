/* event.c - what a frame of a generate stream means: one qwend_event, lent to the caller until its next call.
 *
 * The unpacked message stays in q->held, text is copied once to be NUL-terminated, log-probabilities get one
 * block. */
#include <stdio.h>
#include <string.h>

#include "conn.h"

void event_release(qwend *q)
{
    wire_free(q->held);
    q->held = NULL;
    free(q->held_block);
    q->held_block = NULL;
}

void event_hex(const ProtobufCBinaryData *id, char ret_hex[33])
{
    for (size_t i = 0; i < 16; i++)
        sprintf(ret_hex + 2 * i, "%02x", i < id->len ? id->data[i] : 0);
}

int event_text(qwend *q, const ProtobufCBinaryData *text, qwend_event *event)
{
    int r;

    buf_consume(&q->held_text, buf_size(&q->held_text));
    r = buf_append(&q->held_text, text->data, text->len);
    if (!r)
        r = buf_append(&q->held_text, "", 1);
    if (r)
        return r < 0 ? r : err_origin(-ENOBUFS);
    event->text = (const char *)buf_head(&q->held_text);
    event->n = text->len;
    return 0;
}

/* One block: the n entries, then all their alternatives. */
static int event_logprobs(qwend *q, const Qwp__Delta *delta, qwend_event *event)
{
    size_t n_top = 0, n = delta->n_logprobs;
    qwend_logprob *entries;
    qwend_alternative *top;

    if (!n)
        return 0;
    for (size_t i = 0; i < n; i++)
        n_top += delta->logprobs[i]->n_top;
    q->held_block = calloc(1, n * sizeof(*entries) + n_top * sizeof(*top));
    if (!q->held_block)
        return err_origin(-ENOMEM);
    entries = q->held_block;
    top = (qwend_alternative *)(entries + n);
    for (size_t i = 0; i < n; i++) {
        const Qwp__TokenLogprob *from = delta->logprobs[i];

        entries[i].token =
            (qwend_alternative){from->id, from->logprob, (char *)from->text.data, from->text.len};
        entries[i].top = top;
        entries[i].n_top = from->n_top;
        for (size_t k = 0; k < from->n_top; k++, top++)
            *top = (qwend_alternative){from->top[k]->id, from->top[k]->logprob,
                                       (char *)from->top[k]->text.data, from->top[k]->text.len};
    }
    event->logprobs = entries;
    event->n_logprobs = n;
    return 0;
}

static int event_delta(qwend_stream *stream, const Qwp__Delta *delta, qwend_event *event)
{
    static const qwend_event_type types[] = {
        [QWP__CHANNEL__CHANNEL_REASONING] = QWEND_EV_REASONING,
        [QWP__CHANNEL__CHANNEL_ANSWER] = QWEND_EV_ANSWER,
        [QWP__CHANNEL__CHANNEL_TOOL_CALL] = QWEND_EV_TOOL_CALL,
    };
    qwend *q = stream->q;
    int r;

    if (!delta->has_seq || delta->seq != stream->next_seq)
        return conn_fail(q, -EPROTO, "%s: piece %llu of stream %u came where %llu was due", q->path,
                         (unsigned long long)delta->seq, stream->number,
                         (unsigned long long)stream->next_seq);
    stream->next_seq++;
    if (delta->has_channel) /* wire_check() lets declared channels pass only */
        stream->channel = (int)delta->channel;
    else if (delta->text.len)
        return conn_fail(q, -EPROTO, "%s: text of stream %u without a channel", q->path, stream->number);
    if (!delta->text.len && !delta->n_ids && !delta->n_logprobs)
        return 0;
    event->type = types[stream->channel];
    event->ids = delta->ids;
    event->n_ids = delta->n_ids;
    r = event_text(q, &delta->text, event);
    if (!r)
        r = event_logprobs(q, delta, event);
    return r ? r : 1;
}

static int event_accepted(qwend_stream *stream, const Qwp__Accepted *accepted, qwend_event *event)
{
    event->position = accepted->position;
    event->loading = accepted->loading;
    event->load_permille = accepted->load_permille;
    event->prompt_tokens = accepted->prompt_tokens;
    event->cached_tokens = accepted->cached_tokens;
    event->type = QWEND_EV_QUEUED;
    if (accepted->position || accepted->loading)
        return 1;
    if (!accepted->has_prompt_tokens || stream->started)
        return 0;
    stream->started = true;
    event->type = QWEND_EV_STARTED;
    return 1;
}

static int event_event(const Qwp__Event *message, qwend_event *event)
{
    event->text = message->text;
    event->n = message->text ? strlen(message->text) : 0;
    event->from_token = message->kind == QWP__EVENT__KIND__READ ? message->read_tokens : message->from_token;
    event->prompt_tokens = message->prompt_tokens;
    if (message->kind == QWP__EVENT__KIND__ENGINE_RESTART)
        event->type = QWEND_EV_RESTART;
    else if (message->kind == QWP__EVENT__KIND__RESUMED)
        event->type = QWEND_EV_RESUMED;
    else if (message->kind == QWP__EVENT__KIND__PREEMPTED)
        event->type = QWEND_EV_PREEMPTED;
    else if (message->kind == QWP__EVENT__KIND__READ)
        event->type = QWEND_EV_READ;
    else
        return 0; /* draining: this stream is served to its end */
    return 1;
}

static int event_usage(qwend_stream *stream, const Qwp__Usage *message, qwend_event *event)
{
    stream->q->usage = (qwend_usage){
        .prompt_tokens = message->prompt_tokens,
        .cached_tokens = message->cached_tokens,
        .reasoning_tokens = message->reasoning_tokens,
        .answer_tokens = message->answer_tokens,
        .replays = message->replays,
        .preemptions = message->preemptions,
        .queue_ms = message->queue_ms,
        .prefill_ms = message->prefill_ms,
        .decode_ms = message->decode_ms,
        .finish = (qwend_finish)message->finish, /* the numbers are those of the protocol */
        .seed = message->seed,
        .stop = message->stop,
        .backend = message->backend,
        .warnings = (const char *const *)message->warnings,
        .n_warnings = message->n_warnings,
    };
    event->type = QWEND_EV_END;
    event->usage = &stream->q->usage;
    return 1;
}

static int event_error(qwend *q, const Qwp__Error *message, qwend_event *event)
{
    const char **details = NULL;

    conn_error_from(&q->error, message);
    if (message->n_details) {
        details = q->held_block = calloc(2 * message->n_details, sizeof(*details));
        if (!details)
            return err_origin(-ENOMEM);
    }
    for (size_t i = 0; i < message->n_details; i++) {
        details[2 * i] = message->details[i]->key ? message->details[i]->key : "";
        details[2 * i + 1] = message->details[i]->value ? message->details[i]->value : "";
    }
    event->type = QWEND_EV_ERROR;
    event->code = q->error.code;
    event->retry_after_ms = q->error.retry_after_ms;
    event->text = q->error.text;
    event->n = strlen(q->error.text);
    event->details = details;
    event->n_details = message->n_details;
    return 1;
}

/* What may come on a stream of qwend_subscribe(). */
static const ProtobufCMessageDescriptor *event_watch_descriptor(uint16_t type)
{
    switch (type) {
    case MSG_SAMPLE:
        return &qwp__sample__descriptor;
    case MSG_CANCELLED:
        return &qwp__cancelled__descriptor;
    case MSG_ERROR:
        return &qwp__error__descriptor;
    default:
        return NULL;
    }
}

static const ProtobufCMessageDescriptor *event_descriptor(uint16_t type)
{
    switch (type) {
    case MSG_ACCEPTED:
        return &qwp__accepted__descriptor;
    case MSG_DELTA:
        return &qwp__delta__descriptor;
    case MSG_EVENT:
        return &qwp__event__descriptor;
    case MSG_USAGE:
        return &qwp__usage__descriptor;
    case MSG_ERROR:
        return &qwp__error__descriptor;
    default:
        return NULL;
    }
}

static int event_make(qwend_stream *stream, uint16_t type, qwend_event *event)
{
    const ProtobufCMessage *message = stream->q->held;

    if (stream->reply && type == stream->reply)
        return begin_reply(stream, type, event);
    switch (type) {
    case MSG_ACCEPTED:
        return event_accepted(stream, (const Qwp__Accepted *)message, event);
    case MSG_DELTA:
        return event_delta(stream, (const Qwp__Delta *)message, event);
    case MSG_EVENT:
        return event_event((const Qwp__Event *)message, event);
    case MSG_USAGE:
        return event_usage(stream, (const Qwp__Usage *)message, event);
    case MSG_SAMPLE:
        return watch_sample(stream->q, (const Qwp__Sample *)message, event);
    case MSG_USE_PROGRESS:
        return use_progress((const Qwp__UseProgress *)message, event);
    case MSG_CANCELLED:
        event->type = QWEND_EV_END;
        return 1;
    default:
        return event_error(stream->q, (const Qwp__Error *)message, event);
    }
}

int event_from_frame(qwend_stream *stream, const struct frame *frame, qwend_event *ret_event)
{
    const ProtobufCMessageDescriptor *descriptor = stream->reply     ? begin_descriptor(stream, frame->type)
                                                   : stream->watches ? event_watch_descriptor(frame->type)
                                                                     : event_descriptor(frame->type);
    bool last = frame->type == MSG_USAGE || frame->type == MSG_ERROR || frame->type == MSG_CANCELLED ||
                (stream->reply && frame->type == stream->reply);
    qwend *q = stream->q;
    qwend_event event = {.request_id = stream->id};
    struct fault fault = {};
    int r;

    if (!descriptor || last != !!(frame->flags & FRAME_END_STREAM))
        return conn_fail(q, -EPROTO, "%s sent %s%s on stream %u", q->path, msg_type_name(frame->type),
                         last ? " without END_STREAM" : " where it does not belong", frame->stream);
    event_release(q);
    r = wire_unpack(descriptor, frame->body, frame->length, &fault, &q->held);
    if (r > 0)
        return conn_fail(q, -EPROTO, "%s from %s: %s", msg_type_name(frame->type), q->path, fault.text);
    if (r < 0)
        return r;
    r = event_make(stream, frame->type, &event);
    if (r > 0)
        *ret_event = event;
    return r;
}
