/* conn.c - the socket of a connection: buffered writes with passed fds, reads, frames, waiting.  See conn.h.
 *
 * The socket is always non-blocking; a blocking call is a loop of poll() and conn_step().  EINTR is retried,
 * a closed peer is -EPIPE and never a signal. */
#include "conn.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

uint64_t conn_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int conn_fail(qwend *q, int r, const char *fmt, ...)
{
    va_list ap;

    if (q->dead)
        return q->dead;
    q->dead = r;
    q->error = (struct conn_error){};
    va_start(ap, fmt);
    vsnprintf(q->error.text, sizeof(q->error.text), fmt, ap);
    va_end(ap);
    return r;
}

int conn_error(qwend *q, int r, const char *fmt, ...)
{
    va_list ap;

    q->error = (struct conn_error){};
    va_start(ap, fmt);
    vsnprintf(q->error.text, sizeof(q->error.text), fmt, ap);
    va_end(ap);
    return r;
}

void conn_error_from(struct conn_error *error, const Qwp__Error *message)
{
    *error = (struct conn_error){
        .code = message->has_code ? (int)message->code : 0,
        .retry_after_ms = message->retry_after_ms,
    };
    snprintf(error->text, sizeof(error->text), "%s",
             message->text ? message->text : "the daemon gave no reason");
}

/* out */

static int conn_out_full(qwend *q, size_t n)
{
    return conn_error(q, -ENOBUFS, "%zu bytes wait to be sent to the daemon already, %zu more are too many",
                      buf_size(&q->out), n);
}

int conn_put(qwend *q, uint32_t stream, uint16_t type, uint16_t flags, const ProtobufCMessage *message)
{
    _cleanup_(freep) uint8_t *body = NULL;
    size_t n = protobuf_c_message_get_packed_size(message);
    int r;

    if (q->dead)
        return q->dead;
    if (n > q->frame_bytes)
        return conn_error(q, -EMSGSIZE, "%s of %zu bytes: the daemon takes at most %u in one message",
                          msg_type_name(type), n, q->frame_bytes);
    body = malloc(n + 1); /* + 1: an empty message has no bytes */
    if (!body)
        return err_origin(-ENOMEM);
    protobuf_c_message_pack(message, body);
    r = frame_put(&q->out, stream, type, flags, body, n);
    return r > 0 ? conn_out_full(q, n) : r;
}

int conn_put_fd(qwend *q, uint32_t stream, uint16_t type, uint16_t flags, const ProtobufCMessage *message,
                int *fd)
{
    uint64_t at = q->n_out + buf_size(&q->out);
    int r;

    if (q->n_pass == ARRAY_SIZE(q->pass))
        return conn_out_full(q, 0);
    r = conn_put(q, stream, type, flags | FRAME_HAS_FD, message);
    if (r)
        return r;
    q->pass[q->n_pass++] = (struct conn_pass){at, steal_fd(fd)};
    return 0;
}

/* The next sendmsg(): up to the next byte that carries an fd, or from it with the fd. */
static ssize_t conn_send_once(qwend *q)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {};
    struct iovec iov = {buf_head(&q->out), buf_size(&q->out)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    size_t next = 0;

    if (q->n_pass && q->pass[0].at == q->n_out) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &q->pass[0].fd, sizeof(int));
        next = 1;
    }
    if (q->n_pass > next)
        iov.iov_len = MIN(iov.iov_len, (size_t)(q->pass[next].at - q->n_out));
    return sendmsg(q->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void conn_on_sent(qwend *q, size_t n)
{
    if (q->n_pass && q->pass[0].at == q->n_out) {
        closep(&q->pass[0].fd);
        memmove(q->pass, q->pass + 1, --q->n_pass * sizeof(q->pass[0]));
    }
    q->n_out += n;
    buf_consume(&q->out, n);
}

int conn_flush(qwend *q)
{
    while (!q->dead && q->fd >= 0 && buf_size(&q->out)) {
        ssize_t n = conn_send_once(q);

        if (n > 0)
            conn_on_sent(q, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        else if (errno == EPIPE || errno == ECONNRESET)
            return 0; /* the daemon may have said why before it closed: reading finds that, then the end */
        else if (errno != EINTR)
            return conn_fail(q, err_errno(), "sending to %s: %s", q->path, strerror(errno));
    }
    return q->dead;
}

/* in */

static int conn_unpack(qwend *q, const ProtobufCMessageDescriptor *type, const struct frame *frame,
                       ProtobufCMessage **ret_message)
{
    struct fault fault = {};
    int r;

    r = wire_unpack(type, frame->body, frame->length, &fault, ret_message);
    if (r > 0)
        return conn_fail(q, -EPROTO, "%s from %s: %s", msg_type_name(frame->type), q->path, fault.text);
    return r;
}

/* Limits of a daemon that leaves them out are the defaults of conn.h. */
static void conn_take_limits(qwend *q, const Qwp__Limits *limits)
{
    if (limits->frame_bytes)
        q->frame_bytes = MIN(limits->frame_bytes, (uint32_t)FRAME_MAX_BYTES);
    if (limits->streams)
        q->n_streams_max = MIN(limits->streams, (uint32_t)CONN_STREAMS);
    if (limits->body_bytes)
        q->body_bytes = limits->body_bytes;
    if (limits->credit_bytes)
        q->credit_bytes_max = MIN(limits->credit_bytes, (uint32_t)CONN_CREDIT_BYTES_MAX);
}

static int conn_on_welcome(qwend *q, const struct frame *frame)
{
    ProtobufCMessage *message;
    const Qwp__Limits *limits;
    int r;

    r = conn_unpack(q, &qwp__welcome__descriptor, frame, &message);
    if (r)
        return r;
    q->welcome = (Qwp__Welcome *)message;
    if (q->welcome->version != 1)
        return conn_fail(q, -EPROTO, "%s speaks minor version %u of QWP/1, this library only 1", q->path,
                         q->welcome->version);
    for (size_t k = 0; k < q->welcome->n_capabilities; k++)
        q->restarts |= !strcmp(q->welcome->capabilities[k], "restart");
    limits = q->welcome->limits;
    if (limits)
        conn_take_limits(q, limits);
    if (!q->resuming)
        return 0;
    q->resuming = false;
    return attach_streams(q);
}

static int conn_on_fatal(qwend *q, const struct frame *frame)
{
    ProtobufCMessage *message;
    int r;

    r = conn_unpack(q, &qwp__error__descriptor, frame, &message);
    if (r)
        return r;
    stream_on_fatal(q, frame);
    conn_error_from(&q->error, (Qwp__Error *)message);
    wire_free(message);
    q->dead = -EPIPE;
    return q->dead;
}

static int conn_on_ping(qwend *q, const struct frame *frame)
{
    ProtobufCMessage *message;
    Qwp__Pong pong = QWP__PONG__INIT;
    int r;

    r = conn_unpack(q, &qwp__ping__descriptor, frame, &message);
    if (r)
        return r;
    pong.has_opaque = ((Qwp__Ping *)message)->has_opaque;
    pong.opaque = ((Qwp__Ping *)message)->opaque;
    wire_free(message);
    return conn_put(q, 0, MSG_PONG, 0, &pong.base);
}

void conn_forget_welcome(qwend *q)
{
    wire_free((ProtobufCMessage *)q->welcome);
    wire_free((ProtobufCMessage *)q->served);
    q->welcome = NULL;
    q->served = NULL;
}

/* What cannot be read of it is as good as lost, which it may be. */
static int conn_on_served(qwend *q, const struct frame *frame)
{
    ProtobufCMessage *message;
    int r = wire_unpack(&qwp__served__descriptor, frame->body, frame->length, NULL, &message);

    if (r)
        return MIN(r, 0);
    wire_free((ProtobufCMessage *)q->served);
    q->served = (Qwp__Served *)message;
    return 0;
}

/* Stream 0: the connection itself.  Types of later versions have the top bit set and are skipped. */
static int conn_on_frame(qwend *q, const struct frame *frame)
{
    if (frame->flags & FRAME_HAS_FD)
        return conn_fail(q, -EPROTO, "%s passed an fd with %s", q->path, msg_type_name(frame->type));
    if (frame->type & 0x8000)
        return frame->type == MSG_SERVED && !frame->stream ? conn_on_served(q, frame) : 0;
    if (frame->stream == 0 && frame->type == MSG_ERROR)
        return conn_on_fatal(q, frame);
    if (!q->welcome && (frame->stream || frame->type != MSG_WELCOME))
        return conn_fail(q, -EPROTO, "%s answered Hello with %s", q->path, msg_type_name(frame->type));
    if (frame->stream)
        return stream_on_frame(q, frame);
    switch (frame->type) {
    case MSG_WELCOME:
        if (q->welcome)
            break;
        return conn_on_welcome(q, frame);
    case MSG_PING:
        return conn_on_ping(q, frame);
    case MSG_PONG:
    case MSG_EVENT: /* of the service as a whole; what it means for a stream is said on the stream */
        return 0;
    default:
        break;
    }
    return conn_fail(q, -EPROTO, "%s sent %s (%u), which does not belong here", q->path,
                     msg_type_name(frame->type), frame->type);
}

static int conn_process(qwend *q)
{
    struct frame frame;
    int r;

    if (!q->preface_seen) {
        r = frame_preface_next(&q->in);
        if (r == FRAME_E_AGAIN)
            return 0;
        if (r)
            return conn_fail(q, -EPROTO, "what listens on %s is not qwend: it does not speak QWP/1", q->path);
        q->preface_seen = true;
    }
    while (!q->dead) {
        uint32_t number;

        r = frame_next(&q->in, FRAME_MAX_BYTES, &frame);
        if (r == FRAME_E_AGAIN)
            return 0;
        if (r)
            return conn_fail(q, -EPROTO, "%s sent a frame with %s", q->path,
                             r == FRAME_E_TOO_BIG ? "more than 1 MiB" : "unknown flags");
        number = frame.stream;
        r = conn_on_frame(q, &frame);
        frame_consume(&q->in, &frame);
        stream_drain(q, number); /* after the frame was consumed: a callback may call us again */
        if (r)
            return r;
    }
    return q->dead;
}

static int conn_fill(qwend *q)
{
    uint8_t *tail;
    ssize_t n;
    int r;

    r = buf_reserve(&q->in, CONN_READ_BYTES, &tail);
    if (r)
        return r < 0 ? r : err_origin(-ENOBUFS);
    do
        n = recv(q->fd, tail, CONN_READ_BYTES, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return -EAGAIN;
    if (n < 0 && errno != ECONNRESET)
        return conn_fail(q, err_errno(), "reading from %s: %s", q->path, strerror(errno));
    if (n <= 0)
        return conn_fail(q, -EPIPE, "the daemon at %s closed the connection", q->path);
    buf_commit(&q->in, (size_t)n);
    return 0;
}

int conn_step(qwend *q)
{
    int r;

    if (q->dead)
        return q->dead;
    r = conn_flush(q);
    if (r)
        return r;
    r = conn_fill(q);
    if (r == -EAGAIN && !q->welcome && conn_now_ns() >= q->hello_deadline_ns)
        return conn_fail(q, -ETIMEDOUT, "the daemon at %s does not answer", q->path);
    if (r)
        return r;
    r = conn_process(q);
    if (r)
        return r;
    return conn_flush(q); /* what the frames made us say: Pong, Credit */
}

uint64_t conn_deadline(const qwend *q)
{
    return q->timeout_ms < 0 ? 0 : conn_now_ns() + (uint64_t)q->timeout_ms * 1000000u;
}

/* Milliseconds until the deadline, rounded up, so that a wait never ends just before it. */
static int conn_left_ms(uint64_t deadline_ns)
{
    uint64_t now = conn_now_ns();

    return now >= deadline_ns ? 0 : (int)MIN(CEIL_DIV(deadline_ns - now, 1000000u), (uint64_t)INT32_MAX);
}

int conn_wait(qwend *q, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = q->fd, .events = qwend_events(q)};
    int n, r;

    if (q->dead)
        return q->dead;
    if (!q->welcome && (!deadline_ns || deadline_ns > q->hello_deadline_ns))
        deadline_ns = q->hello_deadline_ns;
    n = poll(&pollfd, 1, deadline_ns ? conn_left_ms(deadline_ns) : -1);
    if (n < 0 && errno != EINTR)
        return err_errno();
    r = conn_step(q);
    if (r == -EAGAIN && n == 0)
        return conn_error(q, -ETIMEDOUT, "no answer from %s within %d ms", q->path, q->timeout_ms);
    return r == -EAGAIN ? 0 : r;
}

/* event loop */

int qwend_fd(const qwend *q)
{
    return q->fd;
}

short qwend_events(const qwend *q)
{
    return (short)(q->fd < 0 ? 0 : buf_size(&q->out) ? POLLIN | POLLOUT : POLLIN);
}

int qwend_timeout_ms(const qwend *q)
{
    if (q->welcome || q->dead)
        return -1;
    return conn_left_ms(q->fd < 0 ? q->resume_at_ns : q->hello_deadline_ns);
}

int qwend_dispatch(qwend *q, short revents)
{
    int r;

    r = revents & POLLNVAL ? err_origin(-EBADF) : resume_step(q);
    return r == -EAGAIN ? 0 : r;
}

int qwend_set_timeout(qwend *q, int timeout_ms)
{
    if (timeout_ms < -1)
        return err_origin(-EINVAL);
    q->timeout_ms = timeout_ms;
    return 0;
}
