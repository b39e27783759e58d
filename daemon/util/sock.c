/* sock.c - recvmsg, sendmsg and SCM_RIGHTS.  See sock.h. */
#include "sock.h"

#include <string.h>
#include <sys/socket.h>

enum {
    SOCK_FDS_READ_MAX = 4
}; /* room for a few in one message, so that too many are seen and closed, not truncated */

void sock_init(struct sock *sock, int fd, size_t max_in, size_t max_out)
{
    *sock = (struct sock){.fd = fd, .in = BUF_INIT(max_in), .out = BUF_INIT(max_out)};
}

void sock_deinit(struct sock *sock)
{
    closep(&sock->fd);
    sock_drop_fds(sock);
    for (int i = 0; i < sock->n_out_fds; i++)
        closep(&sock->out_fds[i].fd);
    sock->n_out_fds = 0;
    buf_deinit(&sock->in);
    buf_deinit(&sock->out);
}

int sock_claim_fd(struct sock *sock)
{
    int fd;

    if (!sock->n_in_fds)
        return -1;
    fd = sock->in_fds[0];
    memmove(sock->in_fds, sock->in_fds + 1, (size_t)--sock->n_in_fds * sizeof(fd));
    return fd;
}

void sock_drop_fds(struct sock *sock)
{
    while (sock->n_in_fds)
        close(sock_claim_fd(sock));
}

/* Keeps what it has room for; closes the rest and says so. */
static int sock_take_fds(struct sock *sock, struct msghdr *msg)
{
    int r = msg->msg_flags & MSG_CTRUNC ? SOCK_E_FDS : SOCK_OK;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (sock->n_in_fds < SOCK_IN_FDS_MAX) {
                sock->in_fds[sock->n_in_fds++] = fd;
            } else {
                close(fd);
                r = SOCK_E_FDS;
            }
        }
    }
    return r;
}

int sock_read(struct sock *sock, size_t n_want)
{
    union {
        struct cmsghdr header; /* for alignment */
        char bytes[CMSG_SPACE(SOCK_FDS_READ_MAX * sizeof(int))];
    } control;
    uint8_t *tail;
    ssize_t n;
    int r;

    r = buf_reserve(&sock->in, n_want, &tail);
    if (r)
        return r < 0 ? r : SOCK_E_FULL;
    struct iovec iov = {.iov_base = tail, .iov_len = n_want};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    n = recvmsg(sock->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return SOCK_E_AGAIN;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return SOCK_E_EOF;
    if (n < 0)
        return err_errno();
    buf_commit(&sock->in, (size_t)n);
    return sock_take_fds(sock, &msg);
}

/* Sends up to n bytes from the head of out, with fd unless it is -1. */
static ssize_t sock_send(struct sock *sock, size_t n, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {};
    struct iovec iov = {.iov_base = buf_head(&sock->out), .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
    }
    return sendmsg(sock->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int sock_flush(struct sock *sock)
{
    while (buf_size(&sock->out)) {
        size_t n = buf_size(&sock->out);
        int fd = -1;
        ssize_t sent;

        if (sock->n_out_fds && sock->out_fds[0].at == sock->n_sent)
            fd = sock->out_fds[0].fd;
        /* A send may not run past the byte that the next fd belongs to. */
        if (sock->n_out_fds > (fd >= 0))
            n = MIN(n, (size_t)(sock->out_fds[fd >= 0].at - sock->n_sent));
        sent = sock_send(sock, n, fd);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS))
            return SOCK_E_AGAIN;
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return SOCK_E_EOF;
        if (sent < 0)
            return err_errno();
        if (fd >= 0) {
            close(fd);
            memmove(sock->out_fds, sock->out_fds + 1, (size_t)--sock->n_out_fds * sizeof(*sock->out_fds));
        }
        buf_consume(&sock->out, (size_t)sent);
        sock->n_sent += (uint64_t)sent;
    }
    return SOCK_OK;
}

int sock_put_fd(struct sock *sock, int fd)
{
    if (sock->n_out_fds == SOCK_OUT_FDS_MAX)
        return SOCK_E_FULL;
    sock_appended(sock);
    sock->out_fds[sock->n_out_fds].at = sock->n_put;
    sock->out_fds[sock->n_out_fds++].fd = fd;
    return SOCK_OK;
}
