/* qwend-libevent.h - a connection of libqwend in a libevent loop.
 *
 *     qwend_open(&q, NULL, QWEND_NONBLOCK | QWEND_RESUME);
 *     qwend_libevent_add(base, q, on_gone, user, &glue);
 *     qwend_generate(q, req, on_event, user, &stream);
 *     qwend_libevent_update(glue);
 *     event_base_dispatch(base);
 *
 * libevent 2.1 says nothing before it waits, so call qwend_libevent_update() after anything that may have
 * sent something from outside of a callback of a stream.  Link with libevent_core.  Remove the glue before
 * qwend_close(), and neither from a callback of a stream. */
#ifndef QWEND_LIBEVENT_H
#define QWEND_LIBEVENT_H

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <qwend.h>
#include <stdlib.h>

typedef struct qwend_libevent qwend_libevent;
/* The connection is gone for good (the negative errno of qwend_dispatch()); it is watched no more. */
typedef void (*qwend_libevent_gone)(qwend *q, int error, void *user);

struct qwend_libevent {
    qwend *q;                 /* borrowed */
    struct event_base *base;  /* borrowed */
    struct event *io, *timer; /* io NULL: there is no fd */
    int fd;
    short events;
    qwend_libevent_gone gone;
    void *user;
};

static inline void qwend_libevent_remove(qwend_libevent *glue)
{
    if (!glue)
        return;
    if (glue->io)
        event_free(glue->io);
    if (glue->timer)
        event_free(glue->timer);
    free(glue);
}

static inline void qwend_libevent_on(evutil_socket_t fd, short what, void *user);

/* What the connection wants now: 0 or -ENOMEM. */
static inline int qwend_libevent_update(qwend_libevent *glue)
{
    int fd = qwend_fd(glue->q), timeout_ms = qwend_timeout_ms(glue->q);
    short wanted = qwend_events(glue->q);
    short events = (short)(EV_PERSIST | (wanted & POLLIN ? EV_READ : 0) | (wanted & POLLOUT ? EV_WRITE : 0));
    struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    if (fd != glue->fd || events != glue->events) {
        if (glue->io)
            event_free(glue->io);
        glue->io = fd < 0 ? NULL : event_new(glue->base, fd, events, qwend_libevent_on, glue);
        glue->fd = fd;
        glue->events = events;
        if (fd >= 0 && (!glue->io || event_add(glue->io, NULL)))
            return -ENOMEM;
    }
    if (timeout_ms < 0)
        return event_del(glue->timer) ? -ENOMEM : 0;
    return event_add(glue->timer, &timeout) ? -ENOMEM : 0;
}

static inline void qwend_libevent_on(evutil_socket_t fd, short what, void *user)
{
    qwend_libevent *glue = (qwend_libevent *)user;
    int r = qwend_dispatch(glue->q, (short)((what & EV_READ ? POLLIN : 0) | (what & EV_WRITE ? POLLOUT : 0)));

    (void)fd;
    if (r >= 0)
        r = qwend_libevent_update(glue);
    if (r >= 0)
        return;
    if (glue->io)
        event_del(glue->io);
    event_del(glue->timer);
    if (glue->gone)
        glue->gone(glue->q, r, glue->user); /* which may remove the glue */
}

/* 0, or a negative errno.  gone may be NULL. */
static inline int qwend_libevent_add(struct event_base *base, qwend *q, qwend_libevent_gone gone, void *user,
                                     qwend_libevent **ret)
{
    qwend_libevent *glue = (qwend_libevent *)calloc(1, sizeof(*glue));
    int r = -ENOMEM;

    if (!glue)
        return r;
    glue->q = q;
    glue->base = base;
    glue->fd = -1;
    glue->gone = gone;
    glue->user = user;
    glue->timer = event_new(base, -1, 0, qwend_libevent_on, glue);
    if (glue->timer)
        r = qwend_libevent_update(glue);
    if (r < 0) {
        qwend_libevent_remove(glue);
        return r;
    }
    *ret = glue;
    return 0;
}

#endif
