/* qwend-sd-event.h - a connection of libqwend in an sd-event loop.
 *
 *     qwend_open(&q, NULL, QWEND_NONBLOCK | QWEND_RESUME);
 *     qwend_sd_event_add(event, q, on_gone, user, &glue);
 *     qwend_generate(q, req, on_event, user, &stream);
 *     sd_event_loop(event);
 *
 * Link with libsystemd.  Remove the glue before qwend_close(), and neither from a callback of a stream. */
#ifndef QWEND_SD_EVENT_H
#define QWEND_SD_EVENT_H

#include <errno.h>
#include <poll.h>
#include <qwend.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

typedef struct qwend_sd_event qwend_sd_event;
/* The connection is gone for good (the negative errno of qwend_dispatch()); it is watched no more. */
typedef void (*qwend_sd_event_gone)(qwend *q, int error, void *user);

struct qwend_sd_event {
    qwend *q; /* borrowed */
    sd_event_source *io, *timer;
    qwend_sd_event_gone gone;
    void *user;
};

static inline void qwend_sd_event_remove(qwend_sd_event *glue)
{
    if (!glue)
        return;
    sd_event_source_disable_unref(glue->io);
    sd_event_source_disable_unref(glue->timer);
    free(glue);
}

static inline int qwend_sd_event_dispatch(qwend_sd_event *glue, short revents)
{
    int r = qwend_dispatch(glue->q, revents);

    if (r >= 0)
        return 0;
    sd_event_source_set_enabled(glue->io, SD_EVENT_OFF);
    sd_event_source_set_enabled(glue->timer, SD_EVENT_OFF);
    if (glue->gone)
        glue->gone(glue->q, r, glue->user); /* which may remove the glue */
    return 0;
}

static inline int qwend_sd_event_on_io(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    (void)source, (void)fd;
    return qwend_sd_event_dispatch(
        (qwend_sd_event *)user,
        (short)((revents & EPOLLOUT ? POLLOUT : 0) | (revents & ~(uint32_t)EPOLLOUT ? POLLIN : 0)));
}

static inline int qwend_sd_event_on_timer(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source, (void)usec;
    return qwend_sd_event_dispatch((qwend_sd_event *)user, 0);
}

/* Before each wait: what the connection wants now. */
static inline int qwend_sd_event_prepare(sd_event_source *source, void *user)
{
    qwend_sd_event *glue = (qwend_sd_event *)user;
    int fd = qwend_fd(glue->q), timeout_ms = qwend_timeout_ms(glue->q), r = 0;
    short events = qwend_events(glue->q);
    uint64_t now = 0;

    if (fd >= 0) {
        r = sd_event_source_set_io_fd(glue->io, fd);
        if (r >= 0)
            r = sd_event_source_set_io_events(glue->io, (events & POLLIN ? EPOLLIN : 0u) |
                                                            (events & POLLOUT ? EPOLLOUT : 0u));
    }
    if (r >= 0)
        r = sd_event_source_set_enabled(glue->io, fd >= 0 ? SD_EVENT_ON : SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_now(sd_event_source_get_event(source), CLOCK_MONOTONIC, &now);
    if (r >= 0)
        r = sd_event_source_set_time(source, timeout_ms < 0 ? UINT64_MAX : now + (uint64_t)timeout_ms * 1000);
    return r < 0 ? r : 0;
}

/* 0, or a negative errno.  gone may be NULL. */
static inline int qwend_sd_event_add(sd_event *event, qwend *q, qwend_sd_event_gone gone, void *user,
                                     qwend_sd_event **ret)
{
    qwend_sd_event *glue = (qwend_sd_event *)calloc(1, sizeof(*glue));
    int r;

    if (!glue)
        return -ENOMEM;
    glue->q = q;
    glue->gone = gone;
    glue->user = user;
    r = sd_event_add_io(event, &glue->io, qwend_fd(q), EPOLLIN, qwend_sd_event_on_io, glue);
    if (r >= 0)
        r = sd_event_add_time(event, &glue->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, qwend_sd_event_on_timer,
                              glue);
    if (r >= 0)
        r = sd_event_source_set_enabled(glue->timer, SD_EVENT_ON);
    if (r >= 0)
        r = sd_event_source_set_prepare(glue->timer, qwend_sd_event_prepare);
    if (r < 0) {
        qwend_sd_event_remove(glue);
        return r;
    }
    *ret = glue;
    return 0;
}

#endif
