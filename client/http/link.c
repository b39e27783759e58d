/* link.c - see link.h. */
#include "link.h"

#include <string.h>

#include "client/lib/glue/qwend-libevent.h"
#include "daemon/util/clock.h"
#include "daemon/util/log.h"

struct link {
    struct gateway *g; /* borrowed */
    struct list node, calls;
    qwend *q;
    qwend_libevent *glue;
    int n_calls;
    bool lost; /* its connection is gone: freed when nothing of it is on the stack */
};

/* After anything that may have sent something. */
static void link_watch(struct link *link)
{
    if (qwend_libevent_update(link->glue))
        log_warn("out of memory: a connection to the daemon is not watched as it should be");
}

static void link_free(struct link *link)
{
    list_remove(&link->node);
    qwend_libevent_remove(link->glue);
    qwend_close(link->q);
    free(link);
}

/* Every call hears that it is over.  One that is told may end others, so each time from the front. */
static void link_lose(struct link *link)
{
    const qwend_event event = {.type = QWEND_EV_ERROR, .text = "the connection to the daemon was lost"};

    link->lost = true;
    log_warn("%s: %s; %d calls end, the next one connects again", qwend_socket_path(link->q),
             qwend_error(link->q), link->n_calls);
    while (!list_is_empty(&link->calls)) {
        struct call *call = list_entry(link->calls.next, struct call, node);

        list_remove(&call->node);
        link->n_calls--;
        call->link = NULL;
        qwend_stream_detach(call->stream);
        call->stream = NULL;
        call->on_event(call, &event);
    }
    link_free(link);
}

static void link_on_gone(qwend *q, int error, void *user)
{
    link_lose(user);
}

static int link_open(struct gateway *g, struct link **ret_link, const char **ret_why)
{
    struct link *link;
    int r;

    *ret_why = "the daemon is not reachable";
    if (clock_now_ns() < g->retry_ns)
        return err_origin(-EAGAIN);
    link = calloc(1, sizeof(*link));
    if (!link)
        return err_origin(-ENOMEM);
    r = qwend_open_as(&link->q, g->options->socket, QWEND_NONBLOCK | QWEND_RESUME,
                      "qwend-http " QWEND_VERSION);
    if (r) {
        log_warn("%s; requests are refused with 503", qwend_error(NULL));
        g->retry_ns = clock_now_ns() + LINK_RETRY_MS * 1000000ull;
        free(link);
        return r < 0 ? r : err_origin(-ECONNREFUSED);
    }
    link->g = g;
    list_init(&link->calls);
    list_push(&g->links, &link->node);
    r = qwend_libevent_add(g->base, link->q, link_on_gone, link, &link->glue);
    if (r) {
        link_free(link);
        return r;
    }
    *ret_link = link;
    return 0;
}

static int link_get(struct gateway *g, struct link **ret_link, const char **ret_why)
{
    struct link *link;
    int n = 0;

    LIST_FOREACH (link, &g->links, node) {
        if (!link->lost && link->n_calls < LINK_CALLS) {
            *ret_link = link;
            return 0;
        }
        n++;
    }
    if (n == LINK_MAX) {
        *ret_why = "all connections to the daemon are taken";
        return err_origin(-EBUSY);
    }
    return link_open(g, ret_link, ret_why);
}

static int link_on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    struct call *call = user;

    if (event->type == QWEND_EV_END || event->type == QWEND_EV_ERROR || event->type == QWEND_EV_REPLY) {
        struct link *link = call->link;

        list_remove(&call->node);
        link->n_calls--;
        call->link = NULL;
        call->stream = NULL;
        qwend_stream_free(stream); /* of one that ended nothing is sent */
    }
    call->on_event(call, event);
    return 0;
}

/* The call is under way, or not: r says. */
static int link_began(struct link *link, struct call *call, int r, const char **ret_why)
{
    if (r) {
        *ret_why = qwend_error(link->q);
        return r;
    }
    call->link = link;
    list_push(&link->calls, &call->node);
    link->n_calls++;
    link_watch(link);
    return 0;
}

int link_generate(struct gateway *g, struct call *call, const qwend_req *req, const char **ret_why)
{
    struct link *link;
    int r = link_get(g, &link, ret_why);

    return r ? r
             : link_began(link, call, qwend_generate(link->q, req, link_on_event, call, &call->stream),
                          ret_why);
}

int link_status(struct gateway *g, struct call *call, const char **ret_why)
{
    struct link *link;
    int r = link_get(g, &link, ret_why);

    return r ? r
             : link_began(link, call, qwend_begin_status(link->q, link_on_event, call, &call->stream),
                          ret_why);
}

int link_render(struct gateway *g, struct call *call, const qwend_req *req, const char **ret_why)
{
    struct link *link;
    int r = link_get(g, &link, ret_why);

    return r ? r
             : link_began(link, call, qwend_begin_render(link->q, req, link_on_event, call, &call->stream),
                          ret_why);
}

int link_tokenize(struct gateway *g, struct call *call, const char *text, size_t n, int special,
                  const char **ret_why)
{
    struct link *link;
    int r = link_get(g, &link, ret_why);

    if (r)
        return r;
    r = qwend_begin_tokenize(link->q, text, n, special, link_on_event, call, &call->stream);
    return link_began(link, call, r, ret_why);
}

int link_detokenize(struct gateway *g, struct call *call, const uint32_t *ids, size_t n, const char **ret_why)
{
    struct link *link;
    int r = link_get(g, &link, ret_why);

    if (r)
        return r;
    r = qwend_begin_detokenize(link->q, ids, n, link_on_event, call, &call->stream);
    return link_began(link, call, r, ret_why);
}

void call_end(struct call *call)
{
    struct link *link = call->link;

    if (!link)
        return;
    list_remove(&call->node);
    link->n_calls--;
    call->link = NULL;
    qwend_stream_free(steal(&call->stream));
    if (!link->lost)
        link_watch(link);
}

void call_cancel(struct call *call)
{
    if (!call->link)
        return;
    qwend_cancel(call->stream);
    link_watch(call->link);
}

void call_pause(struct call *call, bool paused)
{
    struct link *link = call->link;

    if (!link)
        return;
    qwend_stream_pause(call->stream, paused);
    if (!link->lost)
        link_watch(link);
}

const char *link_model(const struct gateway *g)
{
    const struct link *link;

    LIST_FOREACH (link, &g->links, node)
        if (qwend_model_name(link->q))
            return qwend_model_name(link->q);
    return NULL;
}

void link_close_all(struct gateway *g)
{
    struct link *link;

    LIST_FOREACH (link, &g->links, node)
        link_free(link);
}
