/* gateway.c - putting the parts together: start, signals, the end.  See gateway.h. */
#include "gateway.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conn.h"
#include "daemon/util/log.h"
#include "daemon/util/sd.h"
#include "job.h"
#include "upstream.h"

static void gateway_on_reap(int fd, short what, void *arg)
{
    struct gateway *g = arg;
    struct conn *conn;
    struct job *job;

    LIST_FOREACH (job, &g->ended, node)
        job_free(job);
    LIST_FOREACH (conn, &g->conns, node)
        if (conn->dead)
            conn_free(conn);
    if (g->stopping && list_is_empty(&g->conns))
        event_base_loopbreak(g->base);
}

void gateway_reap(struct gateway *g)
{
    loop_defer(g->reap);
}

/* Keys that are no longer there lose their connections at the next request. */
static void gateway_reload(struct gateway *g)
{
    struct keys *keys = NULL;
    struct fault fault = {};
    int r = g->options->keys ? keys_read(g->options->keys, &keys, &fault) : 0;

    if (r) {
        log_warn("the keys stay as they are: %s", r > 0 ? fault.text : strerror(-r));
        return;
    }
    keys_free(g->keys);
    g->keys = keys;
    log_info("%zu keys are known", keys ? keys->n : 0);
}

/* Answers that run may end; a second signal ends them. */
static void gateway_stop(struct gateway *g)
{
    struct conn *conn;

    if (g->stopping) {
        event_base_loopbreak(g->base);
        return;
    }
    g->stopping = true;
    sd_notify_put("STOPPING=1");
    listen_close_all(g);
    LIST_FOREACH (conn, &g->conns, node) {
        conn->closing = true;
        if (!conn->task && !conn_unsent(conn))
            conn_kill(conn);
    }
    gateway_reap(g);
}

static void gateway_on_signal(int signal, short what, void *arg)
{
    struct gateway *g = arg;

    if (signal == SIGHUP)
        gateway_reload(g);
    else
        gateway_stop(g);
}

static int gateway_watch_signals(struct gateway *g)
{
    static const int signals[GATEWAY_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    int r = 0;

    for (int i = 0; i < GATEWAY_SIGNALS && !r; i++) {
        r = loop_event_new(g->base, signals[i], EV_SIGNAL | EV_PERSIST, gateway_on_signal, g, &g->signals[i]);
        if (!r)
            r = loop_watch(g->signals[i]);
    }
    return r;
}

int gateway_init(struct gateway *g, const struct options *options, struct fault *fault)
{
    const uint64_t limits[OWNER_WHATS] = {[OWNER_CONNECTIONS] = options->max_connections,
                                          [OWNER_BYTES] = (uint64_t)options->max_mib << 20,
                                          [OWNER_REQUESTS] = options->max_requests};
    int r;

    *g = (struct gateway){.options = options, .started_s = time(NULL)};
    list_init(&g->conns);
    list_init(&g->links);
    list_init(&g->ended);
    owners_init(&g->owners, limits);
    r = options->keys ? keys_read(options->keys, &g->keys, fault) : 0;
    if (!r)
        r = loop_new(&g->base);
    if (!r)
        r = loop_event_new(g->base, -1, 0, gateway_on_reap, g, &g->reap);
    if (!r)
        r = gateway_watch_signals(g);
    if (!r)
        r = upstream_open(g, fault);
    return r ? r : listen_open_all(g, fault);
}

int gateway_run(struct gateway *g)
{
    char line[1024] = "ready";
    size_t used = strlen(line);

    for (int i = 0; i < g->n_listeners && used < sizeof(line); i++)
        used += (size_t)snprintf(line + used, sizeof(line) - used, " %s", g->listeners[i].name);
    dprintf(STDERR_FILENO, "%s\n", line);
    sd_notify_put("READY=1\nSTATUS=%s", line);
    return event_base_dispatch(g->base) < 0 ? err_origin(-EIO) : 0;
}

void gateway_deinit(struct gateway *g)
{
    struct conn *conn;
    struct job *job;

    if (!g->base) {
        keys_free(g->keys);
        return;
    }
    listen_close_all(g);
    LIST_FOREACH (conn, &g->conns, node) {
        conn_kill(conn);
        conn_free(conn);
    }
    LIST_FOREACH (job, &g->ended, node)
        job_free(job);
    link_close_all(g);
    upstream_close(g);
    for (int i = 0; i < GATEWAY_SIGNALS; i++)
        loop_event_free(&g->signals[i]);
    loop_event_free(&g->reap);
    event_base_free(g->base);
    keys_free(g->keys);
}
