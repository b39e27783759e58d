/* link.c - frames to and from the engine.  See link.h. */
#include "link.h"

#include <fcntl.h>
#include <string.h>

#include "broker.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/wire.h"
#include "request.h"
#include "textop.h"

enum {
    LINK_IN_BYTES = FRAME_HEADER_BYTES + FRAME_MAX_BYTES_ENGINE + (256 << 10),
    LINK_OUT_BYTES = 2 * FRAME_MAX_BYTES_ENGINE, /* one Submit under way while the next is packed */
    LINK_RESERVE_BYTES = 1 << 20,                /* tens of thousands of Cancel, Pause and Resume */
    LINK_READ_BYTES = 64 << 10,
    LINK_READ_MAX_BYTES = 1 << 20,
};

struct link_call {
    struct link *link;
    const struct frame *frame;
    ProtobufCMessage *msg; /* checked; the handler may take it and leave NULL */
    int fd;                /* likewise, -1; what came with the frame */
};

/* handlers: 0, or < 0 if no sane engine would send this */
static int link_on_loading(struct link_call *call)
{
    return supervise_on_loading(&call->link->broker->supervise, (Qwe__Loading *)call->msg);
}

static int link_on_ready(struct link_call *call)
{
    Qwe__Ready *ready = (Qwe__Ready *)call->msg;

    call->msg = NULL;
    return supervise_on_ready(&call->link->broker->supervise, ready);
}

static int link_on_weights(struct link_call *call)
{
    return supervise_on_weights(&call->link->broker->supervise, (Qwe__Weights **)&call->msg, &call->fd);
}

static int link_on_failed(struct link_call *call)
{
    return supervise_on_failed(&call->link->broker->supervise, (Qwe__Failed *)call->msg);
}

static int link_on_beat(struct link_call *call)
{
    struct broker *broker = call->link->broker;
    const Qwe__Beat *beat = (Qwe__Beat *)call->msg;

    broker->supervise.cache_used_bytes = beat->cache_used_bytes;
    broker->supervise.cache_dir_used_bytes = beat->cache_dir_used_bytes;
    for (size_t i = 0; i + 1 < beat->n_reading; i += 2) {
        struct request *request = broker_find_request(broker, beat->reading[i]);

        if (request)
            request_on_read(request, beat->reading[i + 1]);
    }
    if (beat->has_read_ns && beat->has_step_ns)
        forecast_note_beat(&broker->forecast, beat->read_ns, beat->step_ns);
    supervise_on_progress(&broker->supervise, true);
    return 0;
}

/* The engine answers each Submit in turn with Started or Refused. */
static void link_note_answer(struct link_call *call)
{
    if (call->frame->stream != call->link->unread)
        return;
    call->link->unread = 0;
    broker_kick(call->link->broker);
}

static int link_on_started(struct link_call *call)
{
    struct request *request = broker_find_request(call->link->broker, call->frame->stream);

    link_note_answer(call);
    supervise_on_progress(&call->link->broker->supervise, false);
    return request ? request_on_started(request, (Qwe__Started *)call->msg) : 0;
}

static int link_on_emit(struct link_call *call)
{
    struct request *request = broker_find_request(call->link->broker, call->frame->stream);

    supervise_on_progress(&call->link->broker->supervise, true);
    if (!request)
        return 0; /* cancelled meanwhile */
    return request_on_emit(request, (Qwe__Emit *)call->msg, call->frame->body, call->frame->length);
}

static int link_on_refused(struct link_call *call)
{
    struct request *request = broker_find_request(call->link->broker, call->frame->stream);
    const Qwe__Refused *refused = (Qwe__Refused *)call->msg;

    link_note_answer(call);
    supervise_on_progress(&call->link->broker->supervise, false);
    if (quarantine_on_answer(call->link->broker, call->frame->stream))
        return 0;
    if (request && request_is_in_engine(request))
        request_on_refused(request, refused);
    else
        textop_on_refused(call->link->broker, call->frame->stream, refused);
    return 0;
}

static int link_on_published(struct link_call *call)
{
    supervise_on_progress(&call->link->broker->supervise, false);
    return publish_on_published(call->link->broker, call->frame->stream, (Qwe__Published *)call->msg);
}

static int link_on_text_reply(struct link_call *call)
{
    supervise_on_progress(&call->link->broker->supervise, false);
    if (quarantine_on_answer(call->link->broker, call->frame->stream))
        return 0;
    return textop_on_reply(call->link->broker, call->frame->stream, (Qwe__TextReply *)call->msg);
}

static const struct link_row {
    uint16_t type;
    int (*handler)(struct link_call *call);
    uint16_t flags; /* allowed */
} link_table[] = {
    {MSG_E_LOADING, link_on_loading, 0}, {MSG_E_WEIGHTS, link_on_weights, FRAME_HAS_FD},
    {MSG_E_READY, link_on_ready, 0},     {MSG_E_FAILED, link_on_failed, 0},
    {MSG_E_STARTED, link_on_started, 0}, {MSG_E_EMIT, link_on_emit, 0},
    {MSG_E_REFUSED, link_on_refused, 0}, {MSG_E_TEXT_REPLY, link_on_text_reply, 0},
    {MSG_E_BEAT, link_on_beat, 0},       {MSG_E_PUBLISHED, link_on_published, 0},
};

static void link_stop(struct link *link)
{
    link->is_broken = true;
    loop_unwatch(link->readable);
    loop_unwatch(link->writable);
}

static void link_break(struct link *link, const char *why)
{
    if (link->is_broken)
        return;
    link_stop(link);
    supervise_kill(&link->broker->supervise, why);
}

static int link_handle(struct link *link, const struct frame *frame)
{
    struct link_call call = {.link = link, .frame = frame, .fd = -1};
    struct fault fault;
    int r = -EBADMSG;

    if (frame->flags & FRAME_HAS_FD)
        call.fd = sock_claim_fd(&link->sock);

    for (size_t i = 0; i < ARRAY_SIZE(link_table); i++) {
        if (link_table[i].type != frame->type)
            continue;
        if ((frame->flags & ~link_table[i].flags) ||
            wire_unpack(wire_message_type(frame->type), frame->body, frame->length, &fault, &call.msg))
            break;
        r = link_table[i].handler(&call);
        wire_free(call.msg);
    }
    closep(&call.fd);
    return r;
}

static void link_take_frames(struct link *link)
{
    struct frame frame;
    int r;

    while (!link->is_broken) {
        r = frame_next(&link->sock.in, FRAME_MAX_BYTES_ENGINE, &frame);
        if (r == FRAME_E_AGAIN)
            return;
        if (!r)
            r = link_handle(link, &frame);
        if (r)
            link_break(link, "it sent what is not in engine.proto");
        else
            frame_consume(&link->sock.in, &frame);
    }
}

static size_t link_read_size(const struct link *link)
{
    struct frame frame;

    if (buf_size(&link->sock.in) < FRAME_HEADER_BYTES ||
        frame_next(&link->sock.in, FRAME_MAX_BYTES_ENGINE, &frame) != FRAME_E_AGAIN)
        return LINK_READ_BYTES;
    return CLAMP(FRAME_HEADER_BYTES + frame.length - buf_size(&link->sock.in), LINK_READ_BYTES,
                 LINK_READ_MAX_BYTES);
}

static int link_read(struct link *link)
{
    int r = sock_read(&link->sock, link_read_size(link));

    if (r == SOCK_OK)
        link_take_frames(link);
    return r;
}

static void link_on_readable(int fd, short what, void *arg)
{
    struct link *link = arg;
    int r = link_read(link);

    if (r == SOCK_E_EOF) {
        link_stop(link);
        supervise_on_eof(&link->broker->supervise);
    } else if (r && r != SOCK_E_AGAIN) {
        link_break(link, "its socket cannot be read");
    }
}

void link_drain(struct link *link)
{
    while (link_is_open(link))
        if (link_read(link))
            return;
}

static void link_on_writable(int fd, short what, void *arg)
{
    struct link *link = arg;
    int r;

    if (!link_is_open(link))
        return;
    r = sock_flush(&link->sock);
    if (r == SOCK_E_AGAIN) {
        loop_watch(link->writable);
        return;
    }
    /* An engine that died is noticed by reading, when all it still said has been heard. */
    if (r == SOCK_OK)
        buf_deinit(&link->sock.out);
    broker_kick(link->broker); /* there is room again */
}

int link_open(struct link *link, struct broker *broker, int fd)
{
    int r;

    *link = (struct link){.broker = broker};
    sock_init(&link->sock, -1, LINK_IN_BYTES, LINK_OUT_BYTES);
    r = loop_event_new(broker->base, fd, EV_READ | EV_PERSIST, link_on_readable, link, &link->readable);
    if (!r)
        r = loop_event_new(broker->base, fd, EV_WRITE, link_on_writable, link, &link->writable);
    if (!r)
        r = loop_watch(link->readable);
    if (r) {
        link_close(link);
        return r;
    }
    link->sock.fd = fd;
    return 0;
}

void link_close(struct link *link)
{
    loop_event_free(&link->readable);
    loop_event_free(&link->writable);
    sock_deinit(&link->sock);
    link->sock.fd = -1;
}

/* Opens a frame of n bytes and starts sending; limit leaves room for the small ones. */
static int link_append(struct link *link, size_t limit, uint32_t handle, uint16_t type, uint16_t flags,
                       size_t n, uint8_t **ret_body)
{
    int r;

    if (!link_is_open(link) || buf_size(&link->sock.out) + FRAME_HEADER_BYTES + n > limit)
        return LINK_E_FULL;
    r = frame_open(&link->sock.out, handle, type, flags, n, ret_body);
    if (r)
        return r < 0 ? r : LINK_E_FULL;
    sock_appended(&link->sock);
    loop_defer(link->writable);
    return LINK_OK;
}

int link_put(struct link *link, uint32_t handle, uint16_t type, const ProtobufCMessage *msg)
{
    const size_t n = protobuf_c_message_get_packed_size(msg);
    uint8_t *body;
    int r = link_append(link, LINK_OUT_BYTES - LINK_RESERVE_BYTES, handle, type, 0, n, &body);

    if (!r)
        protobuf_c_message_pack(msg, body);
    return r;
}

/* The next byte that is put carries a copy of fd. */
static int link_attach_fd(struct link *link, int fd)
{
    _cleanup_(closep) int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return err_errno();
    if (sock_put_fd(&link->sock, copy))
        return LINK_E_FULL;
    copy = -1;
    return LINK_OK;
}

int link_put_fd(struct link *link, uint32_t handle, uint16_t type, const ProtobufCMessage *msg, int fd)
{
    const size_t n = protobuf_c_message_get_packed_size(msg);
    uint8_t *body;
    int r = link_attach_fd(link, fd);

    if (!r)
        r = link_append(link, LINK_OUT_BYTES - LINK_RESERVE_BYTES, handle, type, FRAME_HAS_FD, n, &body);
    if (!r)
        protobuf_c_message_pack(msg, body);
    return r;
}

int link_put_packed(struct link *link, uint32_t handle, uint16_t type, const void *body, size_t n_bytes)
{
    uint8_t *tail;
    int r = link_append(link, LINK_OUT_BYTES - LINK_RESERVE_BYTES, handle, type, 0, n_bytes, &tail);

    if (!r)
        memcpy(tail, body, n_bytes);
    return r;
}

int link_submit(struct link *link, struct request *request, const Qwe__Submit *tail)
{
    const size_t n = request->n_head + qwe__submit__get_packed_size(tail);
    const uint16_t flags = request->memfd >= 0 ? FRAME_HAS_FD : 0;
    uint8_t *body;
    int r;

    if (link->sock.n_out_fds == SOCK_OUT_FDS_MAX ||
        buf_size(&link->sock.out) + FRAME_HEADER_BYTES + n > LINK_OUT_BYTES - LINK_RESERVE_BYTES)
        return LINK_E_FULL;
    if (flags) {
        r = link_attach_fd(link, request->memfd);
        if (r)
            return r;
    }
    r = link_append(link, LINK_OUT_BYTES - LINK_RESERVE_BYTES, request->handle, MSG_E_SUBMIT, flags, n,
                    &body);
    if (r) { /* out of memory, or the engine just died: an fd without its frame must not be sent */
        link_break(link, "no memory to talk to it");
        return r;
    }
    memcpy(body, request->head, request->n_head);
    qwe__submit__pack(tail, body + request->n_head);
    link->unread = request->handle;
    link->unread_uid = request->uid;
    link->unread_left = false;
    return LINK_OK;
}

static void link_put_small(struct link *link, uint32_t handle, uint16_t type)
{
    uint8_t *body;

    if (link_is_open(link) && link_append(link, LINK_OUT_BYTES, handle, type, 0, 0, &body))
        link_break(link, "it does not read");
}

void link_cancel(struct link *link, uint32_t handle)
{
    link->unread_left |= handle == link->unread;
    link_put_small(link, handle, MSG_E_CANCEL);
}

void link_preempt(struct link *link, uint32_t handle)
{
    link_put_small(link, handle, MSG_E_PREEMPT);
}

void link_pause(struct link *link, uint32_t handle, bool paused)
{
    link_put_small(link, handle, paused ? MSG_E_PAUSE : MSG_E_RESUME);
}
