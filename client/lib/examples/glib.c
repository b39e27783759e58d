/* glib.c - libqwend in a GLib main loop; sd-event and libevent look alike, see client/lib/glue.
 *
 *     cc glib.c $(pkg-config --cflags --libs qwend glib-2.0) && ./a.out "Why is the sky blue?" */
#include <qwend-glib.h>
#include <stdio.h>

static int on_event(qwend_stream *stream, const qwend_event *event, void *user)
{
    if (event->type == QWEND_EV_ANSWER)
        g_print("%s", event->text);
    if (event->type == QWEND_EV_ERROR)
        g_printerr("refused with %d: %s\n", event->code, event->text);
    if (event->type == QWEND_EV_END || event->type == QWEND_EV_ERROR)
        g_main_loop_quit(user);
    return 0;
}

static void on_gone(qwend *q, int error, void *user)
{
    g_printerr("%s\n", qwend_error(q));
    g_main_loop_quit(user);
}

int main(int argc, char **argv)
{
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    qwend_req *req = qwend_req_new();
    qwend_stream *stream;
    GSource *source;
    qwend *q;

    if (qwend_open(&q, NULL, QWEND_NONBLOCK | QWEND_RESUME)) {
        g_printerr("%s\n", qwend_error(NULL));
        return 1;
    }
    source = qwend_glib_source_new(q, on_gone, loop);
    g_source_attach(source, NULL);
    if (req && !qwend_req_message(req, QWEND_USER, argc > 1 ? argv[1] : "Say hello.", (size_t)-1) &&
        !qwend_generate(q, req, on_event, loop, &stream))
        g_main_loop_run(loop);
    qwend_req_free(req);
    g_source_destroy(source);
    g_source_unref(source);
    qwend_close(q);
    g_main_loop_unref(loop);
    g_print("\n");
    return 0;
}
