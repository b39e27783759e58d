/* listener.c - bind, accept, and what to do when no fd is left.  See listener.h. */
#include "listener.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "broker.h"
#include "client.h"
#include "daemon/util/log.h"
#include "daemon/util/loop.h"
#include "daemon/util/peer.h"
#include "daemon/util/sd.h"
#include "proto/frame.h"
#include "proto/status.h"

enum {
    LISTENER_BACKLOG = 512,   /* more than connect in one turn of the loop, even in a flood test */
    LISTENER_ACCEPT_MAX = 16, /* per turn, so that a connect flood does not starve the streams */
    LISTENER_RETRY_MS = 100,  /* after running out of fds; else the loop would spin on a readable listener */
};

static bool listener_has_option(int fd, int option, int wanted)
{
    int value = 0;
    socklen_t size = sizeof(value);

    return !getsockopt(fd, SOL_SOCKET, option, &value, &size) && value == wanted;
}

/* The socket that the broker before an upgrade had bound, if it is still the one to listen on. */
static bool listener_take_own(struct listener *listener, const char *path)
{
    _cleanup_(closep) int fd = sd_take_own_socket();
    struct sockaddr_un address = {};
    socklen_t n = sizeof(address);
    struct bound bound = BOUND_NULL;

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &n) < 0 || strcmp(address.sun_path, path) ||
        lstat(path, &bound.own) < 0)
        return false;
    bound.path = strdup(path);
    if (!bound.path)
        return false;
    bound.fd = steal_fd(&fd);
    listener->bound = bound;
    return true;
}

/* Takes systemd's socket where there is one.  A TCP port would have no identities: SO_PEERCRED calls each of
 * its peers uid 4294967295. */
static int listener_get_socket(struct listener *listener, const char *path, struct fault *fault)
{
    int n, fd = sd_take_socket(&n);

    if (listener_take_own(listener, path))
        return BOUND_OK;
    if (n > 1)
        return fault_set(fault, BOUND_E_PATH, "systemd passed %d sockets, expected one", n);
    if (fd < 0)
        return bound_open(&listener->bound, path, LISTENER_BACKLOG, fault);
    if (!listener_has_option(fd, SO_ACCEPTCONN, 1))
        return fault_set(fault, BOUND_E_PATH, "systemd passed something that is not a listening socket");
    if (!listener_has_option(fd, SO_DOMAIN, AF_UNIX) || !listener_has_option(fd, SO_TYPE, SOCK_STREAM))
        return fault_set(fault, BOUND_E_PATH, "systemd passed a socket that is not a Unix stream socket");
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return err_errno();
    listener->bound.fd = fd;
    return BOUND_OK;
}

/* Says why not, as far as the socket takes it at once, and hangs up. */
static void listener_turn_away(int fd, uint32_t code, const char *text)
{
    _cleanup_(buf_deinit) struct buf buf = BUF_INIT(4096);
    Qwp__Error error = QWP__ERROR__INIT;
    uint8_t body[1024];

    error.has_code = true;
    error.code = code;
    error.text = (char *)text;
    if (status_is_retryable((int)code)) {
        error.has_retry_after_ms = true;
        error.retry_after_ms = 1000;
    }
    if (frame_preface_put(&buf) ||
        frame_put(&buf, 0, MSG_ERROR, FRAME_END_STREAM, body, qwp__error__pack(&error, body)))
        return;
    (void)send(fd, buf_head(&buf), buf_size(&buf), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void listener_log_refused(int fd, int code, const char *text)
{
    struct journal_event event = {.kind = JOURNAL_QUOTA, .code = code};
    struct peer peer;

    event.has_uid = !peer_read(fd, &peer);
    event.uid = event.has_uid ? peer.uid : 0;
    log_event_warn(&event, "connection refused: %s", text);
}

static void listener_admit(struct listener *listener, int fd)
{
    struct fault fault = {};
    int r = client_new(listener->broker, fd, &fault); /* takes fd */

    if (r > 0) {
        listener_turn_away(fd, (uint32_t)r, fault.text);
        listener_log_refused(fd, r, fault.text);
    } else if (r < 0) {
        log_errno(r, "connection dropped");
    }
    if (r) {
        listener->broker->metrics.connections_refused++;
        close(fd);
    }
}

/* No fd is left: gives the spare one up, so that the client hears why, and rests for a moment. */
static void listener_on_exhausted(struct listener *listener)
{
    int fd;

    closep(&listener->spare_fd);
    fd = accept4(listener->bound.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        listener_turn_away(fd, STATUS_QUEUE_FULL, "the service has no file descriptor left");
        close(fd);
    }
    listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    log_warn("no file descriptor left: a connection was refused, the next is taken in %d ms",
             LISTENER_RETRY_MS);
    loop_unwatch(listener->readable);
    loop_arm_ms(listener->retry, LISTENER_RETRY_MS);
}

static void listener_on_readable(int listen_fd, short what, void *arg)
{
    struct listener *listener = arg;

    for (int i = 0; i < LISTENER_ACCEPT_MAX; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            listener_admit(listener, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listener_on_exhausted(listener);
        /* EAGAIN: all taken.  ECONNABORTED and the like concern one client only. */
        return;
    }
}

static void listener_on_retry(int fd, short what, void *arg)
{
    struct listener *listener = arg;

    loop_watch(listener->readable);
}

int listener_open(struct broker *broker, const char *path, struct listener *ret_listener, struct fault *fault)
{
    struct listener *listener = ret_listener;
    int r;

    *listener = (struct listener){.broker = broker, .bound = BOUND_NULL, .spare_fd = -1};
    r = listener_get_socket(listener, path, fault);
    if (r)
        return r;
    listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (listener->spare_fd < 0)
        return err_errno();
    r = loop_event_new(broker->base, listener->bound.fd, EV_READ | EV_PERSIST, listener_on_readable, listener,
                       &listener->readable);
    if (!r)
        r = loop_event_new(broker->base, -1, 0, listener_on_retry, listener, &listener->retry);
    return r ? r : loop_watch(listener->readable);
}

void listener_close(struct listener *listener)
{
    loop_event_free(&listener->readable);
    loop_event_free(&listener->retry);
    bound_close(&listener->bound);
    closep(&listener->spare_fd);
}
