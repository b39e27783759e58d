/* uplink.c - the engine's end of the socketpair to the broker.  See uplink.h. */
#include "uplink.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

enum {
    UPLINK_IN_BYTES =
        FRAME_MAX_BYTES_ENGINE + FRAME_HEADER_BYTES + (64 << 10), /* the largest frame, and a read more */
    UPLINK_READ_BYTES = 64 << 10,
    UPLINK_OUT_BYTES = 4 << 20,
    UPLINK_OUT_READY_BYTES = 256 << 10, /* taken at start: what one step of many sequences can fill */
};

int uplink_init(struct uplink *up, int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    uint8_t *tail;
    int r;

    *up = (struct uplink){0};
    sock_init(&up->sock, fd, UPLINK_IN_BYTES, UPLINK_OUT_BYTES);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        r = err_errno();
    else
        r = buf_reserve(&up->sock.out, UPLINK_OUT_READY_BYTES, &tail);
    if (r)
        uplink_deinit(up);
    return r;
}

void uplink_deinit(struct uplink *up)
{
    sock_deinit(&up->sock);
}

static int uplink_wait(struct uplink *up, short events, int wait_ms)
{
    struct pollfd pfd = {.fd = up->sock.fd, .events = events};

    if (poll(&pfd, 1, wait_ms) < 0 && errno != EINTR)
        return err_errno();
    return 0;
}

static bool uplink_has_frame(const struct uplink *up)
{
    struct frame frame;

    return up->greeted && frame_next(&up->sock.in, FRAME_MAX_BYTES_ENGINE, &frame) != FRAME_E_AGAIN;
}

/* An fd that was received belongs to the frame that is still incomplete.  Until that one is whole nothing
 * behind it may be read: the next frame could bring an fd of its own, and only one is kept. */
static size_t uplink_n_want(const struct uplink *up)
{
    const size_t have = buf_size(&up->sock.in);
    struct frame frame;

    if (!up->sock.n_in_fds)
        return UPLINK_READ_BYTES;
    if (have < FRAME_HEADER_BYTES)
        return FRAME_HEADER_BYTES - have;
    (void)frame_next(&up->sock.in, FRAME_MAX_BYTES_ENGINE,
                     &frame); /* for its length; not whole, as the caller knows */
    return MIN((size_t)UPLINK_READ_BYTES, FRAME_HEADER_BYTES + (size_t)frame.length - have);
}

/* SOCK_OK and SOCK_E_AGAIN are both fine; what is left goes out at the next chance. */
static int uplink_flush(struct uplink *up)
{
    int r = sock_flush(&up->sock);

    return r == SOCK_E_EOF ? UPLINK_E_EOF : r < 0 ? r : 0;
}

static int uplink_read(struct uplink *up, bool *ret_any)
{
    int r;

    *ret_any = true;
    if (uplink_has_frame(up))
        return 0; /* to be taken first */
    r = sock_read(&up->sock, uplink_n_want(up));
    if (r == SOCK_E_EOF)
        return UPLINK_E_EOF;
    if (r == SOCK_E_FDS)
        return err_origin(-EBADMSG); /* the broker sends one fd a frame and claims none back */
    *ret_any = r == SOCK_OK;
    return r < 0 ? r : 0;
}

int uplink_drain(struct uplink *up)
{
    int r;

    while (!(r = uplink_flush(up)) && buf_size(&up->sock.out))
        if ((r = uplink_wait(up, POLLOUT, -1)))
            break;
    return r;
}

int uplink_pump(struct uplink *up, int wait_ms)
{
    bool any = false;
    int r;

    for (;;) {
        r = uplink_flush(up);
        if (!r)
            r = uplink_read(up, &any);
        if (r || any || !wait_ms)
            return r;
        r = uplink_wait(up, POLLIN | (buf_size(&up->sock.out) ? POLLOUT : 0), wait_ms);
        if (r)
            return r;
        wait_ms = MIN(wait_ms, 0); /* a time is waited for once */
    }
}

static int uplink_greet(struct uplink *up)
{
    struct buf *in = &up->sock.in;
    int r;

    if (buf_size(in) < FRAME_PREFACE_BYTES)
        return UPLINK_E_AGAIN;
    up->greeted = true;
    if (frame_preface_next(in) != FRAME_OK)
        return 0; /* none: frames follow at once */
    r = frame_preface_put(&up->sock.out);
    sock_appended(&up->sock);
    return r;
}

int uplink_next(struct uplink *up, struct frame *ret_frame)
{
    int r;

    if (!up->greeted) {
        r = uplink_greet(up);
        if (r)
            return r;
    }
    r = frame_next(&up->sock.in, FRAME_MAX_BYTES_ENGINE, ret_frame);
    if (r == FRAME_E_AGAIN)
        return UPLINK_E_AGAIN;
    return r ? err_origin(-EBADMSG) : 0;
}

void uplink_consume(struct uplink *up, const struct frame *frame)
{
    frame_consume(&up->sock.in, frame);
}

static int uplink_append(struct uplink *up, uint32_t stream, uint16_t type, uint16_t flags,
                         const ProtobufCMessage *message)
{
    const size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *body;
    int r;

    if (n > FRAME_MAX_BYTES)
        return err_origin(-EMSGSIZE); /* callers bound what they say */
    while ((r = frame_open(&up->sock.out, stream, type, flags, n, &body)) == BUF_E_FULL) {
        r = uplink_wait(up, POLLOUT, -1);
        if (!r)
            r = uplink_flush(up);
        if (r)
            return r;
    }
    if (r)
        return r;
    protobuf_c_message_pack(message, body);
    sock_appended(&up->sock);
    return 0;
}

int uplink_put(struct uplink *up, uint32_t stream, uint16_t type, const ProtobufCMessage *message)
{
    return uplink_append(up, stream, type, 0, message);
}

int uplink_put_fd(struct uplink *up, uint32_t stream, uint16_t type, const ProtobufCMessage *message, int fd)
{
    _cleanup_(closep) int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return err_errno();
    if (sock_put_fd(&up->sock, copy))
        return err_origin(-ENOBUFS); /* two a life are sent */
    copy = -1;
    return uplink_append(up, stream, type, FRAME_HAS_FD, message);
}
