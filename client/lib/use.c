/* use.c - another model instead of the one that is served: asked for, and followed to its end.
 *
 * Only the newest progress is kept for a caller, as of a watch; the answer replaces it. */
#include <string.h>

#include "conn.h"

int qwend_use(qwend *q, const char *path, qwend_cb cb, void *user, qwend_stream **ret)
{
    Qwp__Use question = QWP__USE__INIT;
    const size_t n = strlen(path);
    qwend_stream *stream;
    int r;

    event_release(q);
    if (*path != '/')
        return conn_error(q, -EINVAL, "\"%.200s\" does not begin at the root", path);
    if (qwend_utf8_valid(path, n) != n)
        return conn_error(q, -EILSEQ, "the path is not UTF-8 from byte %zu on", qwend_utf8_valid(path, n));
    question.model_path = (char *)path;
    r = stream_new(q, cb, user, &stream);
    if (r)
        return r;
    stream->reply = MSG_USED;
    stream->watches = true;
    r = conn_put(q, stream->number, MSG_USE, 0, &question.base);
    if (!r)
        r = conn_flush(q);
    if (r) {
        stream_delete(stream);
        return r;
    }
    *ret = stream;
    return 0;
}

static const char *use_stage_name(Qwp__UseProgress__Stage stage)
{
    static const char *const names[] = {"unknown", "checking", "draining", "loading", "returning"};

    return names[stage <= QWP__USE_PROGRESS__STAGE__RETURNING ? stage : 0];
}

int qwend_status_served(qwend *q, qwend_served *ret)
{
    const Qwp__StatusReply *reply = (const Qwp__StatusReply *)q->held;
    const Qwp__UseProgress *progress;

    if (!reply || reply->base.descriptor != &qwp__status_reply__descriptor)
        return conn_error(q, -EINVAL, "the last call was not qwend_status()");
    progress = reply->use;
    *ret = (qwend_served){.path = reply->model_path ? reply->model_path : "",
                          .next_path = progress && reply->use_path ? reply->use_path : "",
                          .next_stage = progress ? use_stage_name(progress->stage) : "",
                          .next_left = progress ? progress->left : 0,
                          .next_permille = progress ? progress->load_permille : 0};
    return 0;
}

int use_progress(const Qwp__UseProgress *message, qwend_event *event)
{
    event->type = QWEND_EV_USE;
    event->text = use_stage_name(message->stage);
    event->n = strlen(event->text);
    event->position = message->left;
    event->loading = message->stage >= QWP__USE_PROGRESS__STAGE__LOADING;
    event->load_permille = message->load_permille;
    return 1;
}
