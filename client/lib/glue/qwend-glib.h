/* qwend-glib.h - a connection of libqwend in a GLib main loop.
 *
 *     qwend_open(&q, NULL, QWEND_NONBLOCK | QWEND_RESUME);
 *     source = qwend_glib_source_new(q, on_gone, user);
 *     g_source_attach(source, NULL);
 *     qwend_generate(q, req, on_event, user, &stream);
 *     g_main_loop_run(loop);
 *
 * Link with glib-2.0.  g_source_destroy() and g_source_unref() before qwend_close(), and neither from a
 * callback of a stream. */
#ifndef QWEND_GLIB_H
#define QWEND_GLIB_H

#include <glib.h>
#include <poll.h>
#include <qwend.h>

/* The connection is gone for good (the negative errno of qwend_dispatch()); its source has been destroyed. */
typedef void (*qwend_glib_gone)(qwend *q, int error, void *user);

typedef struct {
    GSource source;
    qwend *q;     /* borrowed */
    gpointer tag; /* of the fd, NULL: there is none */
    int fd;
    qwend_glib_gone gone;
    void *user;
} qwend_glib;

/* Before each wait: what the connection wants now. */
static inline gboolean qwend_glib_prepare(GSource *source, gint *ret_timeout)
{
    qwend_glib *glue = (qwend_glib *)source;
    int fd = qwend_fd(glue->q);
    short wanted = qwend_events(glue->q);
    GIOCondition condition = (GIOCondition)((wanted & POLLIN ? G_IO_IN | G_IO_HUP | G_IO_ERR : 0) |
                                            (wanted & POLLOUT ? G_IO_OUT : 0));

    if (glue->tag && fd != glue->fd) {
        g_source_remove_unix_fd(source, glue->tag);
        glue->tag = NULL;
    }
    if (glue->tag)
        g_source_modify_unix_fd(source, glue->tag, condition);
    else if (fd >= 0)
        glue->tag = g_source_add_unix_fd(source, fd, condition);
    glue->fd = fd;
    *ret_timeout = qwend_timeout_ms(glue->q);
    return *ret_timeout == 0;
}

static inline gboolean qwend_glib_check(GSource *source)
{
    qwend_glib *glue = (qwend_glib *)source;

    return (glue->tag && g_source_query_unix_fd(source, glue->tag)) || qwend_timeout_ms(glue->q) == 0;
}

static inline gboolean qwend_glib_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    qwend_glib *glue = (qwend_glib *)source;
    int happened = glue->tag ? (int)g_source_query_unix_fd(source, glue->tag) : 0;
    int r = qwend_dispatch(
        glue->q, (short)((happened & G_IO_OUT ? POLLOUT : 0) | (happened & ~G_IO_OUT ? POLLIN : 0)));

    (void)callback, (void)data;
    if (r >= 0)
        return G_SOURCE_CONTINUE;
    g_source_destroy(source);
    if (glue->gone)
        glue->gone(glue->q, r, glue->user);
    return G_SOURCE_REMOVE;
}

/* A source that is yours to attach and to unref.  gone may be NULL. */
static inline GSource *qwend_glib_source_new(qwend *q, qwend_glib_gone gone, void *user)
{
    static GSourceFuncs functions = {
        qwend_glib_prepare, qwend_glib_check, qwend_glib_dispatch, NULL, NULL, NULL};
    GSource *source = g_source_new(&functions, sizeof(qwend_glib));
    qwend_glib *glue = (qwend_glib *)source;

    glue->q = q;
    glue->tag = NULL;
    glue->fd = -1;
    glue->gone = gone;
    glue->user = user;
    return source;
}

#endif
