/* listen.c - where the gateway listens: Unix sockets, whose peers the kernel knows, and TCP on the loopback,
 * whose peers show a key.
 *
 * Other addresses are refused: keys and prompts would go over a network in plain text.  A TLS proxy on the
 * same machine takes that. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conn.h"
#include "daemon/util/log.h"

enum { LISTEN_BACKLOG = 128, LISTEN_ACCEPT_MAX = 16, LISTEN_REST_MS = 100 };

static void listen_on_exhausted(struct gateway *g)
{
    log_warn("no file descriptor left: the next connection is taken in %d ms", LISTEN_REST_MS);
    for (int i = 0; i < g->n_listeners; i++)
        loop_unwatch(g->listeners[i].readable);
    loop_arm_ms(g->rest, LISTEN_REST_MS);
}

static void listen_on_rest(int fd, short what, void *arg)
{
    struct gateway *g = arg;

    for (int i = 0; i < g->n_listeners; i++)
        loop_watch(g->listeners[i].readable);
}

static void listen_on_readable(int listen_fd, short what, void *arg)
{
    struct listener *listener = arg;
    const int one = 1;
    int r;

    for (int i = 0; i < LISTEN_ACCEPT_MAX; i++) {
        const int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                listen_on_exhausted(listener->gateway);
            return; /* EAGAIN: all taken; others concern one client only */
        }
        if (listener->is_tcp)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        r = conn_new(listener->gateway, fd, listener->is_tcp);
        if (r < 0)
            log_errno(r, "connection dropped");
        else if (r)
            log_warn("%s: a connection is refused: its user has as many as he may", listener->name);
    }
}

/* Everybody may connect where each is a user of his own to the daemon; else only who we are. */
static int listen_unix(struct gateway *g, struct listener *listener, const char *path, struct fault *fault)
{
    const mode_t mode = g->options->accounts ? 0666 : 0600;
    const mode_t mask = umask(0177);
    int r = bound_open(&listener->bound, path, LISTEN_BACKLOG, fault);

    umask(mask);
    if (r)
        return r < 0 ? r : LISTEN_E_INVALID;
    if (chmod(path, mode) < 0)
        return err_errno();
    snprintf(listener->name, sizeof(listener->name), "unix:%s", path);
    return LISTEN_OK;
}

/* "127.0.0.1:8080", "[::1]:8080"; port 0: any. */
static int listen_parse(const char *word, struct sockaddr_storage *ret_address, socklen_t *ret_n,
                        struct fault *fault)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;
    const char *colon = strrchr(word, ':');
    char host[64], *end;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    const bool is_6 = *word == '[';
    size_t n = colon ? (size_t)(colon - word) : 0;

    if (!colon || n >= sizeof(host) || colon[1] < '0' || colon[1] > '9' || *end || port > 65535 ||
        (is_6 && (n < 2 || word[n - 1] != ']')))
        return fault_set(fault, LISTEN_E_INVALID, "listen: '%.64s' is neither unix:PATH nor ADDRESS:PORT",
                         word);
    memset(ret_address, 0, sizeof(*ret_address));
    snprintf(host, sizeof(host), "%.*s", (int)(is_6 ? n - 2 : n), word + is_6);
    if (is_6 && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr)) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *ret_n = sizeof(*in6);
        return LISTEN_OK;
    }
    if (!is_6 && inet_pton(AF_INET, host, &in4->sin_addr) == 1 && ntohl(in4->sin_addr.s_addr) >> 24 == 127) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t)port);
        *ret_n = sizeof(*in4);
        return LISTEN_OK;
    }
    return fault_set(
        fault, LISTEN_E_INVALID,
        "listen: '%.64s' is not a loopback address (127.0.0.0/8, [::1]): put a TLS proxy in front", word);
}

static int listen_port(int fd)
{
    struct sockaddr_storage address = {};
    socklen_t n = sizeof(address);

    getsockname(fd, (struct sockaddr *)&address, &n);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static int listen_tcp(struct gateway *g, struct listener *listener, const char *word, struct fault *fault)
{
    struct sockaddr_storage address;
    _cleanup_(closep) int fd = -1;
    const int one = 1;
    socklen_t n = 0;
    int r;

    if (!g->keys)
        return fault_set(fault, LISTEN_E_INVALID,
                         "listen: '%.64s' needs keys = FILE: over TCP nobody is known without one", word);
    r = listen_parse(word, &address, &n, fault);
    if (r)
        return r;
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, n) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return fault_set(fault, LISTEN_E_INVALID, "listen: '%.64s': %s", word, strerror(errno));
    snprintf(listener->name, sizeof(listener->name), "%.*s:%d", (int)(strrchr(word, ':') - word), word,
             listen_port(fd));
    listener->is_tcp = true;
    listener->bound.fd = steal_fd(&fd);
    return LISTEN_OK;
}

static int listen_open(struct gateway *g, const char *word, struct fault *fault)
{
    struct listener *listener = &g->listeners[g->n_listeners];
    int r;

    if (g->n_listeners == GATEWAY_LISTENERS)
        return fault_set(fault, LISTEN_E_INVALID, "listen: more than %d places", GATEWAY_LISTENERS);
    *listener = (struct listener){.gateway = g, .bound = BOUND_NULL};
    g->n_listeners++;
    r = strncmp(word, "unix:", 5) ? listen_tcp(g, listener, word, fault)
                                  : listen_unix(g, listener, word + 5, fault);
    if (!r)
        r = loop_event_new(g->base, listener->bound.fd, EV_READ | EV_PERSIST, listen_on_readable, listener,
                           &listener->readable);
    return r ? r : loop_watch(listener->readable);
}

int listen_open_all(struct gateway *g, struct fault *fault)
{
    const char *at = g->options->listen;
    char word[160];
    size_t n;
    int r = loop_event_new(g->base, -1, 0, listen_on_rest, g, &g->rest);

    for (; !r && (n = options_word(&at)) > 0; at += n) {
        if (n >= sizeof(word))
            return fault_set(fault, LISTEN_E_INVALID, "listen: '%.64s' is too long", at);
        snprintf(word, sizeof(word), "%.*s", (int)n, at);
        r = listen_open(g, word, fault);
    }
    return r;
}

void listen_close_all(struct gateway *g)
{
    for (int i = 0; i < g->n_listeners; i++) {
        loop_event_free(&g->listeners[i].readable);
        bound_close(&g->listeners[i].bound);
    }
    g->n_listeners = 0;
    loop_event_free(&g->rest);
}
