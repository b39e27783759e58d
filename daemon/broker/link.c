/* link.c - the broker's end of the socketpair to its engine.  See link.h. */
#include "link.h"

#include <fcntl.h>

#include "broker.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "proto/frame.h"
#include "proto/wire.h"
#include "request.h"
#include "textop.h"

enum {
    LINK_IN_BYTES = FRAME_HEADER_BYTES + FRAME_MAX_BYTES + (128 << 10), /* one frame and a read more */
    LINK_READ_BYTES = 128 << 10,
    LINK_READS_MAX = 8, /* per turn of the loop, so that clients get theirs */
    /* Prompts are charged to their users before they come here; this only bounds a mistake. */
    LINK_OUT_BYTES = 1 << 30,
};

static void link_on_readable(int fd, short what, void *arg);
static void link_on_writable(int fd, short what, void *arg);

void link_init(struct broker *broker, struct link *link)
{
    *link = (struct link){.broker = broker};
    sock_init(&link->sock, -1, LINK_IN_BYTES, LINK_OUT_BYTES);
}

int link_open(struct link *link, int fd)
{
    struct event_base *base = link->broker->base;
    int r;

    link_close(link);
    sock_init(&link->sock, fd, LINK_IN_BYTES, LINK_OUT_BYTES);
    link->last_frame_ns = clock_now_ns();
    link->eof = false;
    r = loop_event_new(base, fd, EV_READ | EV_PERSIST, link_on_readable, link, &link->readable);
    if (!r)
        r = loop_event_new(base, fd, EV_WRITE, link_on_writable, link, &link->writable);
    if (!r)
        r = loop_watch(link->readable);
    if (r)
        link_close(link);
    return r;
}

void link_close(struct link *link)
{
    loop_event_free(&link->readable);
    loop_event_free(&link->writable);
    sock_deinit(&link->sock);
}

/* in */

static void link_dispatch(struct link *link, const struct frame *frame, const ProtobufCMessage *msg)
{
    struct broker *broker = link->broker;

    link->last_frame_ns = clock_now_ns();
    switch (frame->type) {
    case MSG_E_LOADING:
        supervise_on_loading(&broker->supervise, (const Qwe__Loading *)msg);
        break;
    case MSG_E_READY:
        supervise_on_ready(&broker->supervise, frame->body, frame->length);
        break;
    case MSG_E_FAILED:
        supervise_on_failed(&broker->supervise, (const Qwe__Failed *)msg);
        break;
    case MSG_E_STARTED:
        request_on_started(broker, frame->stream, (const Qwe__Started *)msg);
        break;
    case MSG_E_EMIT:
        supervise_on_step(&broker->supervise);
        request_on_emit(broker, frame->stream, frame->body, frame->length);
        break;
    case MSG_E_REFUSED:
        if (!textop_on_refused(broker, frame->stream, (const Qwe__Refused *)msg))
            request_on_refused(broker, frame->stream, (const Qwe__Refused *)msg);
        break;
    case MSG_E_TEXT_REPLY:
        textop_on_reply(broker, frame->stream, (const Qwe__TextReply *)msg);
        break;
    case MSG_E_BEAT:
        supervise_on_step(&broker->supervise);
        break;
    default:
        log_err("engine: a %s frame, which is not an answer; it is replaced", msg_type_name(frame->type));
        supervise_kill(&broker->supervise);
    }
}

static bool link_take_frame(struct link *link)
{
    struct fault fault = {};
    struct frame frame;
    ProtobufCMessage *msg;
    const ProtobufCMessageDescriptor *type;
    int r = frame_next(&link->sock.in, FRAME_MAX_BYTES, &frame);

    if (r == FRAME_E_AGAIN)
        return false;
    type = r ? NULL : wire_message_type(frame.type);
    if (!type) {
        log_err("engine: not our protocol; it is replaced");
        supervise_kill(&link->broker->supervise);
        return false;
    }
    r = wire_unpack(type, frame.body, frame.length, &fault, &msg);
    if (r) {
        log_err("engine: %s; it is replaced", r > 0 ? fault.text : "out of memory");
        supervise_kill(&link->broker->supervise);
        return false;
    }
    link_dispatch(link, &frame, msg);
    wire_free(msg);
    if (!link_is_open(link))
        return false;
    frame_consume(&link->sock.in, &frame);
    return true;
}

/* One read and all whole frames in it; false: nothing more for now. */
static bool link_read(struct link *link)
{
    int r = sock_read(&link->sock, LINK_READ_BYTES);

    if (r && r != SOCK_E_FULL) {
        if (r == SOCK_E_EOF)
            link->eof = true;
        return false;
    }
    while (link_take_frame(link))
        ;
    return link_is_open(link);
}

static void link_on_readable(int fd, short what, void *arg)
{
    struct link *link = arg;

    for (int i = 0; i < LINK_READS_MAX && link_read(link); i++)
        ;
    if (link->eof && link_is_open(link)) {
        loop_unwatch(link->readable);
        supervise_kill(
            &link->broker->supervise); /* it may live on without its socket; SIGCHLD says when it is gone */
    }
}

void link_drain(struct link *link)
{
    while (link_is_open(link) && !link->eof && link_read(link))
        ;
}

/* out */

static void link_on_writable(int fd, short what, void *arg)
{
    struct link *link = arg;
    int r = sock_flush(&link->sock);

    if (r == SOCK_E_AGAIN)
        loop_watch(link->writable);
    /* the peer's end is noticed by reading */
}

void link_put(struct link *link, uint32_t handle, uint16_t type, const ProtobufCMessage *msg, int fd)
{
    const size_t n = protobuf_c_message_get_packed_size(msg);
    _cleanup_(closep) int copy = -1;
    uint8_t *body;
    int r = 0;

    if (!link_is_open(link))
        return; /* the request is replayed when the next one is there */
    if (fd >= 0) {
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        r = copy < 0 ? err_errno() : sock_put_fd(&link->sock, copy);
        if (!r)
            copy = -1; /* taken */
    }
    if (!r && n > FRAME_MAX_BYTES_ENGINE)
        r = err_origin(-EMSGSIZE);
    if (!r)
        r = frame_open(&link->sock.out, handle, type, fd >= 0 ? FRAME_HAS_FD : 0, n, &body);
    if (r) {
        log_err("engine: a %s for it could not be queued; it is replaced", msg_type_name(type));
        supervise_kill(&link->broker->supervise);
        return;
    }
    protobuf_c_message_pack(msg, body);
    sock_appended(&link->sock);
    loop_defer(link->writable);
}
